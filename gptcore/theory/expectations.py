"""Exact expectations of what a sampler shows, before anything runs.

Legend: N tokens, windows of T inputs, M = N - T starts, K draws, targets j = 1, …, N - 1. With
several segments, the first token of each is no target, M is the sum of their N_i - T, and j counts
inside a segment. A target is an **edge** target if it is closer than T to an end of its segment,
min(j, N_i - j) < T; all others are interior targets. A value without a known formula is None.
"""

import bisect
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol, Unpack

from gptcore.checks import check_fraction, check_whole
from gptcore.sampling.base import Sampler, SamplerOptions
from gptcore.sampling.low_discrepancy import Golden, VanDerCorput
from gptcore.sampling.samplers import make_sampler
from gptcore.theory.avoidance import (
    Independent,
    Permuted,
    golden_gaps,
    van_der_corput_gaps,
)
from gptcore.theory.evenly import EvenTheory
from gptcore.theory.in_order import BufferTheory, InOrderTheory
from gptcore.theory.lattice import LatticeTheory, Missed, Visits
from gptcore.theory.phases import PhaseTheory
from gptcore.theory.strata import StratifiedTheory


@dataclass(frozen=True)
class Expectation:
    """Expected values of the metrics of `Coverage`; None where no exact theory is known.

    Attributes:
        missed_targets: targets in no window.
        missed_edge: missed edge targets.
        missed_interior: missed interior targets.
        sd_missed_targets: standard deviation of missed_targets.
        missed_inputs: tokens that are an input of no window; the last token of each segment does
            not count.
        repeated_windows: draws minus distinct starts.
        gaps: missed targets in a row, with shown targets of the same segment on both sides.
        visits_mean: windows per target; the same for all seeds.
        visits_sd: root of the expected population variance, over targets, of the visits.
        visits_dispersion: that variance / visits_mean.
        alignment_coverage: start coverage, distinct starts / M.
        never_targets: tokens that no draw can show as a target: the first token of each segment,
            and what the grid, drop_last or labels shifted inside the block always leave out.
    """

    missed_targets: float | None
    missed_edge: float | None
    missed_interior: float | None
    sd_missed_targets: float | None
    missed_inputs: float | None
    repeated_windows: float | None
    gaps: float | None
    visits_mean: float | None
    visits_sd: float | None
    visits_dispersion: float | None
    alignment_coverage: float | None
    never_targets: int


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


def _golden(sampler: Golden) -> EvenTheory:
    return EvenTheory(sampler, golden_gaps)


def _van_der_corput(sampler: Golden) -> EvenTheory:
    return EvenTheory(sampler, van_der_corput_gaps)


# To add a theory, write a class, or a function that returns one of these, and add a line here.
THEORIES: dict[str, Callable[[Any], Theory]] = {
    "random_replacement": _independent,
    "sequential": InOrderTheory,
    "shuffled_blocks": _permuted,
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
            "gptcore/theory/expectations.py, whose methods may return None"
        )
    return THEORIES[sampler.name](sampler)


def expect(name: str, *, draws: int, **options: Unpack[SamplerOptions]) -> Expectation:
    """Return the exact expectations for `draws` draws of the sampler called `name`.

    Args:
        name: a key of `THEORIES`.
        draws: K.
        **options: those of `make_sampler`.

    Raises:
        ValueError: there is no such sampler, or an argument is out of range.
    """
    return expect_of(make_sampler(name, **options), draws)


def expect_of(sampler: Sampler, draws: int) -> Expectation:
    """Return the exact expectations, over all seeds, for `draws` draws of this sampler.

    Raises:
        ValueError: `draws` is out of range, or the sampler has no theory.
    """
    draws = check_whole("draws", draws)
    theory = theory_of(sampler)
    width = sampler.targets_per_window
    targets = sampler.n_tokens - len(sampler.segments)
    missed, visits = _missed_targets(sampler, theory, draws), theory.visits(draws)
    inputs = theory.missed(draws, sampler.block_size)
    mean, variance = draws * width / targets, visits.variance
    return Expectation(
        missed_targets=sum(missed),
        missed_edge=missed.edge,
        missed_interior=missed.interior,
        sd_missed_targets=visits.sd_missed,
        missed_inputs=sum(inputs),
        repeated_windows=max(0.0, draws - visits.distinct),  # less than 0 only by rounding
        gaps=visits.gaps,
        visits_mean=mean,
        visits_sd=None if variance is None else math.sqrt(variance),
        visits_dispersion=None if variance is None else variance / mean,
        alignment_coverage=visits.distinct / sampler.n_starts,
        never_targets=len(sampler.segments) + _never_targets(sampler, theory),
    )


def _missed_targets(sampler: Sampler, theory: Theory, draws: int) -> Missed:
    missed = theory.missed(draws, sampler.targets_per_window)
    return Missed(missed.edge + _beyond_rows(sampler), missed.interior)


def _never_targets(sampler: Sampler, theory: Theory) -> int:
    return theory.never(sampler.targets_per_window) + _beyond_rows(sampler)


def _beyond_rows(sampler: Sampler) -> int:
    """Return how many targets no start shows because windows have fewer targets than inputs."""
    return (sampler.block_size - sampler.targets_per_window) * len(sampler.segments)


def expected_pair_coverage(sampler: Sampler, lag: int, draws: int) -> float:
    """Return the expected share of token pairs (i, i + h) that some window holds.

    A window holds T + 1 tokens, its inputs and its last target. So T + 1 - h starts hold a pair.
    Both tokens lie in one segment.

    Args:
        sampler: where the windows come from.
        lag: h, from 1 to T.
        draws: K.

    Raises:
        ValueError: h or K is out of range.
    """
    lag = check_whole("lag", lag, at_most=sampler.block_size)
    draws = check_whole("draws", draws)
    pairs = sampler.n_tokens - lag * len(sampler.segments)
    missed = theory_of(sampler).missed(draws, sampler.block_size + 1 - lag)
    return 1 - sum(missed) / pairs


def expected_context_coverage(sampler: Sampler, context: int, draws: int) -> float:
    """Return the expected share of targets shown at least once with m or more tokens of context.

    The k-th target of a window has k tokens of context. The first m - 1 targets of a segment never
    have m tokens of context.

    Args:
        sampler: where the windows come from.
        context: m, from 1 to the targets of a window.
        draws: K.

    Raises:
        ValueError: m or K is out of range.
    """
    context = check_whole("context", context, at_most=sampler.targets_per_window)
    draws = check_whole("draws", draws)
    width = sampler.targets_per_window - context + 1
    items = sampler.n_starts + (width - 1) * len(sampler.segments)
    missed = theory_of(sampler).missed(draws, width)
    return (items - sum(missed)) / (sampler.n_tokens - len(sampler.segments))


def expected_batch_overlap(
    sampler: Sampler, batch_size: int, draws: int | None = None
) -> float | None:
    """Return the expected share of a batch's targets that repeat others of the same batch.

    It is None where batches are not all alike: where K draws have batches that go on from one epoch
    to the next.

    Args:
        sampler: where the windows come from.
        batch_size: B.
        draws: K; unless it is given, batches of all epochs count.

    Raises:
        ValueError: B or K is not a positive whole number.
    """
    batch_size = check_whole("batch_size", batch_size)
    theory = theory_of(sampler)
    if sampler.name not in ("random_replacement", "grid_replacement", "golden"):
        if not _inside_epochs(sampler, batch_size, draws):
            return None
        if not isinstance(theory, LatticeTheory | StratifiedTheory):
            return 0.0  # an epoch is a grid, whose windows do not overlap
    targets = sampler.n_tokens - len(sampler.segments)
    shown = targets - sum(theory.missed(batch_size, sampler.block_size))
    return max(0.0, 1 - shown / (batch_size * sampler.block_size))


def _inside_epochs(sampler: Sampler, batch_size: int, draws: int | None) -> bool:
    """Return whether no batch of the first K draws goes on from one epoch to the next.

    The epochs of van der Corput's sequence are its runs of 2^k draws, which are alike.
    """
    if isinstance(sampler, VanDerCorput):
        return batch_size & (batch_size - 1) == 0 or draws == batch_size
    if sampler.drop_last and sampler.batch_size == batch_size:
        return True
    epoch = sampler.draws_per_epoch
    if epoch is not None and epoch % batch_size == 0:
        return True
    if epoch is None:  # the epochs of RandomPhaseBlocks are of two lengths
        epoch = sampler.n_starts // sampler.block_size
    return draws is not None and check_whole("draws", draws) <= epoch


def steps_for_coverage(
    name: str,
    *,
    fractions: Iterable[float] = (0.5, 0.9, 0.99, 0.999),
    **options: Unpack[SamplerOptions],
) -> dict[float, int | None]:
    """Return, for each fraction, the fewest steps expected to show that share of the targets.

    None stands for never. The options are those of `make_sampler`; a step is `batch_size` draws.

    Raises:
        ValueError: as in `expect`, or a fraction is outside (0, 1).
    """
    sampler = make_sampler(name, **options)
    theory = theory_of(sampler)
    targets = sampler.n_tokens - len(sampler.segments)
    # After 800·M draws, the miss probability of anything that can be shown is 0 as a double.
    last_step = -(-800 * sampler.n_starts // sampler.batch_size)

    def covered(step: int) -> float:
        missed = sum(_missed_targets(sampler, theory, step * sampler.batch_size))
        return (targets - missed) / targets

    steps: dict[float, int | None] = {}
    for fraction in fractions:
        check_fraction("coverage fraction", fraction)
        step = 1 + bisect.bisect_left(range(1, last_step + 1), fraction, key=covered)
        steps[fraction] = step if step <= last_step else None
    return steps


def draws_for_full_cover(sampler: Sampler) -> int | None:
    """Return the fewest draws that show every target for any seed; None if no number does.

    The last target of a segment is shown by one start alone. So low-discrepancy draws need gaps no
    longer than 1/M, and independent or stratified draws guarantee nothing.
    """
    theory = theory_of(sampler)
    if _never_targets(sampler, theory):
        return None
    n = sampler.lattice.total
    if sampler.name in ("golden", "van_der_corput"):
        gaps = golden_gaps if sampler.name == "golden" else van_der_corput_gaps

        def hits_all(draws: int) -> bool:
            return max(length for length, number in gaps(draws) if number) * n <= 2**64

        # The longest gap of K points is at most 2/K, so fewer than 2.5·M draws are enough.
        return bisect.bisect_left(range(5 * n), True, lo=1, key=hits_all)
    complete = sampler.draws_per_epoch == n and sampler.name != "stratified"
    return n if complete else None


def lower_bound_of_expected_full_cover(sampler: Sampler) -> float | None:
    """Return a lower bound of the expected number of independent draws that show every target.

    All e starts at the ends of segments must be drawn, which is expected to take
    n·(1 + 1/2 + … + 1/e) draws: 1.5·M for one segment. None for samplers whose draws are not
    independent, and where the grid never shows the end of a segment.
    """
    theory = theory_of(sampler)
    if sampler.name not in ("random_replacement", "grid_replacement") or theory.never(
        sampler.block_size
    ):
        return None
    ends = sum(min(2, starts) for starts in sampler.lattice.counts)
    return sampler.lattice.total * math.fsum(1 / k for k in range(1, ends + 1))
