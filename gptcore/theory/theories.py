"""Which theory belongs to which sampler.

Legend as in `expectations`: N tokens, windows of T inputs, K draws.
"""

from collections.abc import Callable
from typing import Any, Protocol

from gptcore.sampling.base import Sampler
from gptcore.sampling.low_discrepancy import Golden
from gptcore.sampling.samplers import ShuffledAcrossEpochs
from gptcore.theory.avoidance import (
    Independent,
    Permuted,
    Pooled,
    SameOrder,
    golden_gaps,
    van_der_corput_gaps,
)
from gptcore.theory.evenly import EvenTheory
from gptcore.theory.in_order import BufferTheory, InOrderTheory
from gptcore.theory.lattice import LatticeTheory, Missed, Visits
from gptcore.theory.phases import PhaseTheory
from gptcore.theory.ring import RingTheory
from gptcore.theory.strata import StratifiedTheory


class Theory(Protocol):
    """The formulas of one sampler, for windows that show `width` items in a row (`lattice`)."""

    def missed(self, draws: int, width: int) -> Missed:
        """Return how many items of all rows are expected to be missed."""

    def never(self, width: int) -> int:
        """Return how many items of all rows no draw can show."""

    def visits(self, draws: int) -> Visits:
        """Return the other expectations."""


def _independent(sampler: Sampler) -> LatticeTheory:
    return LatticeTheory(sampler, Independent)


def _permuted(sampler: Sampler) -> LatticeTheory:
    epoch = sampler.draws_per_epoch or 1
    return LatticeTheory(sampler, lambda n, draws: Permuted(n, draws, epoch))


def _same_order(sampler: Sampler) -> LatticeTheory:
    epoch = sampler.draws_per_epoch or 1
    return LatticeTheory(sampler, lambda n, draws: SameOrder(n, draws, epoch))


def _pooled(sampler: ShuffledAcrossEpochs) -> LatticeTheory:
    order, epochs = sampler.draws_per_order, sampler.shuffle_epochs
    return LatticeTheory(sampler, lambda n, draws: Pooled(n, draws, order, epochs))


def _rechunked(sampler: Any) -> Theory:
    return RingTheory(sampler) if sampler.joins else PhaseTheory(sampler)


def _golden(sampler: Golden) -> EvenTheory:
    return EvenTheory(sampler, golden_gaps)


def _van_der_corput(sampler: Golden) -> EvenTheory:
    return EvenTheory(sampler, van_der_corput_gaps)


# To add a theory, write a class, or a function that returns one of these, and add a line here.
THEORIES: dict[str, Callable[[Any], Theory]] = {
    "random_replacement": _independent,
    "sequential": InOrderTheory,
    "shuffled_blocks": _permuted,
    "shuffled_once": _same_order,
    "shuffled_across_epochs": _pooled,
    "rechunked_documents": _rechunked,
    "rechunked_once": _rechunked,
    "random_distinct": _permuted,
    "grid_replacement": _independent,
    "random_phase_blocks": PhaseTheory,
    "stratified": StratifiedTheory,
    "golden": _golden,
    "van_der_corput": _van_der_corput,
    "overlapping_stride": _permuted,
    "block_buffer_shuffle": BufferTheory,
    "t_plus_1_stride": InOrderTheory,
    "shift_in_block": InOrderTheory,
}


def theory_of(sampler: Sampler) -> Theory:
    """Return the theory of a sampler.

    Raises:
        ValueError: it has none.
    """
    if sampler.name not in THEORIES:
        raise ValueError(
            f"sampler {sampler.name!r} has no theory: add a line to THEORIES in "
            "gptcore/theory/theories.py, whose methods may return None"
        )
    return THEORIES[sampler.name](sampler)
