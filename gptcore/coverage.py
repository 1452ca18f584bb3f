"""What a series of draws showed the model: which targets, how often, at which alignments.

N tokens, windows of T inputs, M = N - T starts. All counts are over the targets j = 1, …, N - 1;
edge targets are those closer than T to an end of the text, min(j, N - j) < T, as in `theory`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from gptcore.samplers import Sampler, Starts, count_starts
from gptcore.theory import Expectation
from gptcore.tokens import check_whole

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Coverage:
    """What a series of draws showed.

    Attributes:
        n_tokens: N.
        block_size: T.
        draws: K.
        epochs: λ = K·T / (N - 1), epoch-equivalents.
        missed_targets: targets in no window.
        missed_edge: those closer than T to an end of the text.
        missed_interior: the others.
        repeated_windows: draws minus distinct starts.
        visits_mean: windows per target.
        visits_sd: population standard deviation of the visits over targets.
        visits_min: fewest visits of a target.
        visits_max: most visits of a target.
        visits_gini: Gini coefficient of the visits; 0 where all targets have the same.
        gaps: maximal runs of missed targets with shown targets on both sides.
        longest_gap: length of the longest run of missed targets, runs at the ends included.
        alignment_coverage: distinct starts / M.
        visits: int64 of shape (N - 1,), the visits of targets 1, …, N - 1.
    """

    n_tokens: int
    block_size: int
    draws: int
    epochs: float
    missed_targets: int
    missed_edge: int
    missed_interior: int
    repeated_windows: int
    visits_mean: float
    visits_sd: float
    visits_min: int
    visits_max: int
    visits_gini: float
    gaps: int
    longest_gap: int
    alignment_coverage: float
    visits: Counts = field(repr=False, compare=False)

    def as_dict(self) -> dict[str, int | float]:
        """Return the numbers by name, without `visits`."""
        return {name: value for name, value in vars(self).items() if name != "visits"}


def measure_coverage(starts: Starts | Sequence[int], *, n_tokens: int, block_size: int) -> Coverage:
    """Return the coverage of windows with the given starts.

    Args:
        starts: integers of shape (K,), each in [0, M - 1].
        n_tokens: N.
        block_size: T.

    Raises:
        ValueError: N <= T, no draws, or a start that is not an integer in range.
    """
    n_starts = count_starts(n_tokens, block_size)
    starts = check_starts(starts, n_starts)
    draws_of_start = np.bincount(starts, minlength=n_starts)
    visits = _count_visits(draws_of_start, block_size)
    distinct = int(np.count_nonzero(draws_of_start))
    missed = len(visits) - int(np.count_nonzero(visits))
    interior = visits[block_size - 1 : n_starts]
    missed_interior = len(interior) - int(np.count_nonzero(interior))
    gaps, longest_gap = _measure_gaps(visits)
    epochs = len(starts) * int(block_size) / len(visits)
    return Coverage(
        n_tokens=int(n_tokens),
        block_size=int(block_size),
        draws=len(starts),
        epochs=epochs,
        missed_targets=missed,
        missed_edge=missed - missed_interior,
        missed_interior=missed_interior,
        repeated_windows=len(starts) - distinct,
        visits_mean=epochs,
        visits_sd=float(visits.std()),
        visits_min=int(visits.min()),
        visits_max=int(visits.max()),
        visits_gini=_gini(visits),
        gaps=gaps,
        longest_gap=longest_gap,
        alignment_coverage=distinct / n_starts,
        visits=visits,
    )


def check_starts(starts: Starts | Sequence[int], n_starts: int) -> Starts:
    """Return starts as int64 of shape (K,).

    Raises:
        ValueError: they are not flat, empty, not integers, or outside [0, n_starts).
    """
    array: npt.NDArray[Any] = np.asarray(starts)
    if array.ndim != 1 or array.size == 0:
        raise ValueError(f"starts have shape {array.shape}: give a flat sequence, not empty")
    if array.dtype.kind not in "iu":
        raise ValueError(f"starts are {array.dtype}: give integers")
    low, high = array.min(), array.max()
    if low < 0 or high >= n_starts:
        raise ValueError(
            f"starts go from {low} to {high}: they must lie in [0, {n_starts}), "
            "so that each window and its last target are inside the text"
        )
    return array.astype(np.int64, copy=False)


def z_scores(coverage: Coverage, expectation: Expectation) -> dict[str, float | None]:
    """Return (observed - expected) / sd of each metric with an exact sd; None where that is 0."""
    expected, sd = expectation.missed_targets, expectation.sd_missed_targets
    if expected is None or not sd:
        return {"missed_targets": None}
    return {"missed_targets": (coverage.missed_targets - expected) / sd}


def coverage_curve(
    sampler: Sampler, *, steps: Sequence[int], batch_size: int
) -> npt.NDArray[np.float64]:
    """Return the share of targets shown by the end of each of `steps`, float64 of shape (n,).

    Each draw is made once.

    Args:
        sampler: where the windows come from.
        steps: numbers of steps, 1 or more and strictly increasing.
        batch_size: B, draws per step.

    Raises:
        ValueError: steps are empty or do not increase, or a count is not positive.
    """
    batch_size = check_whole("batch_size", batch_size)
    ends = [check_whole("steps", step) * batch_size for step in steps]
    begins = [0, *ends[:-1]]
    if not ends or any(end <= begin for begin, end in zip(begins, ends, strict=True)):
        raise ValueError(f"steps are {list(steps)}: give at least one, in increasing order")
    drawn = np.zeros(sampler.n_starts, dtype=np.int64)
    shares = []
    for begin, end in zip(begins, ends, strict=True):
        drawn[sampler.starts(begin, end - begin)] = 1
        visits = _count_visits(drawn, sampler.block_size)
        shares.append(np.count_nonzero(visits) / len(visits))
    return np.array(shares)


def visits_by_position(coverage: Coverage, bins: int = 100) -> dict[str, list[float]]:
    """Return the visits along the text, in bins of nearly equal width, as columns.

    Targets bin_start, …, bin_stop - 1 have visits_mean, visits_min and visits_max; `missed` of
    them have none.

    Raises:
        ValueError: `bins` is not a whole number from 1 to N - 1.
    """
    visits = coverage.visits
    bins = check_whole("bins", bins)
    if bins > len(visits):
        raise ValueError(f"bins is {bins} and there are {len(visits)} targets: use fewer bins")
    edges = np.array([i * len(visits) // bins for i in range(bins + 1)])
    first = edges[:-1]
    return {
        "bin_start": (first + 1).tolist(),
        "bin_stop": (edges[1:] + 1).tolist(),
        "visits_mean": (np.add.reduceat(visits, first) / np.diff(edges)).tolist(),
        "visits_min": np.minimum.reduceat(visits, first).tolist(),
        "visits_max": np.maximum.reduceat(visits, first).tolist(),
        "missed": np.add.reduceat(visits == 0, first, dtype=np.int64).tolist(),
    }


def visits_histogram(coverage: Coverage) -> dict[str, list[int]]:
    """Return how many `targets` have each number of `visits` that occurs, as columns."""
    targets = np.bincount(coverage.visits)
    visits = np.flatnonzero(targets)
    return {"visits": visits.tolist(), "targets": targets[visits].tolist()}


def _count_visits(draws_of_start: Counts, block_size: int) -> Counts:
    """Return visits per target from draws per start: +1 from s + 1 on, -1 from s + T + 1 on."""
    n_starts = len(draws_of_start)
    change = np.zeros(n_starts + block_size, dtype=np.int64)
    change[:n_starts] += draws_of_start
    change[block_size:] -= draws_of_start
    return np.cumsum(change[:-1])


def _measure_gaps(visits: Counts) -> tuple[int, int]:
    """Return the number of internal gaps, and the longest run of missed targets anywhere."""
    shown = np.flatnonzero(visits)
    inside = np.diff(shown) - 1
    ends = int(shown[0]), len(visits) - 1 - int(shown[-1])
    return int(np.count_nonzero(inside)), max(*ends, int(inside.max(initial=0)))


def _gini(visits: Counts) -> float:
    """Return Σ_i (2i - n - 1)·x_i / (n·Σ x) over the sorted visits, summed value by value."""
    targets = np.bincount(visits).astype(np.float64)
    above = np.cumsum(targets)
    weights = targets * np.arange(len(targets))
    return float(weights @ (2 * above - targets - len(visits)) / (len(visits) * weights.sum()))
