"""Exact expectations of what a sampler shows, before anything runs.

Legend: N tokens, windows of T inputs, M = N - T starts, K draws, targets j = 1, …, N - 1. With
several segments, the first token of each is no target, M is the sum of their N_i - T, and j counts
inside a segment. Where windows join segments, first tokens (j = 0) are targets too, and M = N. A
target is an **edge** target if it is closer than T to an end of its segment, min(j, N_i - j) < T;
all others are interior targets. A value without a known formula is None.
"""

import bisect
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Unpack

from gptcore.checks import check_fraction, check_whole
from gptcore.sampling.base import Sampler, SamplerOptions
from gptcore.sampling.low_discrepancy import VanDerCorput
from gptcore.sampling.samplers import ShuffledAcrossEpochs, make_sampler
from gptcore.theory.avoidance import golden_gaps, van_der_corput_gaps
from gptcore.theory.lattice import LatticeTheory, Missed
from gptcore.theory.ring import RingTheory
from gptcore.theory.strata import StratifiedTheory
from gptcore.theory.theories import THEORIES, Theory, theory_of

__all__ = [
    "THEORIES",
    "Expectation",
    "draws_for_full_cover",
    "expect",
    "expect_of",
    "expected_batch_overlap",
    "expected_context_coverage",
    "expected_pair_coverage",
    "lower_bound_of_expected_full_cover",
    "steps_for_coverage",
    "theory_of",
]


@dataclass(frozen=True)
class Expectation:
    """Expected values of the metrics of `Coverage`; None where no exact theory is known.

    Attributes:
        missed_targets: targets in no window.
        missed_edge: missed edge targets.
        missed_interior: missed interior targets.
        sd_missed_targets: standard deviation of missed_targets.
        missed_inputs: tokens that are an input of no window; the last token of each segment counts
            only where windows join segments.
        repeated_windows: draws minus distinct starts.
        gaps: missed targets in a row, with shown targets of the same segment on both sides.
        visits_mean: windows per target; the same for all seeds.
        visits_sd: root of the expected population variance, over targets, of the visits.
        visits_dispersion: that variance / visits_mean.
        alignment_coverage: start coverage, distinct starts / M.
        never_targets: tokens that no draw can show as a target: the first token of each segment,
            unless windows join segments, and what the grid, drop_last or labels shifted inside the
            block always leave out.
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
    missed, visits = _missed_targets(sampler, theory, draws), theory.visits(draws)
    # Where windows join segments, inputs and targets are alike.
    inputs = missed if sampler.joins else theory.missed(draws, sampler.block_size)
    mean = draws * sampler.targets_per_window / sampler.n_targets
    variance = visits.variance
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
        never_targets=sampler.n_tokens - sampler.n_targets + _never_targets(sampler, theory),
    )


def _missed_targets(sampler: Sampler, theory: Theory, draws: int) -> Missed:
    missed = theory.missed(draws, sampler.targets_per_window)
    beyond: float = _beyond_rows(sampler)
    if isinstance(theory, RingTheory):  # the first tokens of segments are targets too
        beyond += len(sampler.segments) * theory.unseen(draws, sampler.block_size)
    return Missed(missed.edge + beyond, missed.interior)


def _never_targets(sampler: Sampler, theory: Theory) -> int:
    return theory.never(sampler.targets_per_window) + _beyond_rows(sampler)


def _beyond_rows(sampler: Sampler) -> int:
    """Return how many targets no start shows because windows have fewer targets than inputs."""
    return (sampler.block_size - sampler.targets_per_window) * len(sampler.segments)


def _count_items(sampler: Sampler, width: int) -> int:
    """Return the items of all rows: w in a row are in each window of T + 1 tokens of a segment."""
    beyond = sampler.block_size + 1 - width
    return sum(max(0, len(part) - beyond) for part in sampler.segments)


def expected_pair_coverage(sampler: Sampler, lag: int, draws: int) -> float | None:
    """Return the expected share of token pairs (i, i + h) that some window holds.

    A window holds T + 1 tokens, its inputs and its last target. So T + 1 - h starts hold a pair.
    Both tokens lie in one segment; the share is None where no segment is so long.

    Args:
        sampler: where the windows come from.
        lag: h, from 1 to T.
        draws: K.

    Raises:
        ValueError: h or K is out of range.
    """
    lag = check_whole("lag", lag, at_most=sampler.block_size)
    draws = check_whole("draws", draws)
    width = sampler.block_size + 1 - lag
    pairs = _count_items(sampler, width)
    return 1 - sum(theory_of(sampler).missed(draws, width)) / pairs if pairs else None


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
    shown = _count_items(sampler, width) - sum(theory_of(sampler).missed(draws, width))
    return shown / sampler.n_targets


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
    targets = sampler.n_targets
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
    epoch = sampler.draws_per_order
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
    targets = sampler.n_targets
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
    epoch = sampler.draws_per_epoch
    if sampler.joins:
        return epoch if epoch and epoch * sampler.block_size == sampler.n_tokens else None
    if epoch != n or sampler.name == "stratified":
        return None
    # A block that comes E times in a pool has come when all but E - 1 members are drawn.
    times = sampler.shuffle_epochs if isinstance(sampler, ShuffledAcrossEpochs) else 1
    return (n - 1) * times + 1


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
