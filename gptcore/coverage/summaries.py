"""Visits of every target → curves, histograms and profiles for tables and figures."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from gptcore.checks import as_array, check_whole
from gptcore.coverage.tally import Counts
from gptcore.coverage.visits import Coverage, histogram
from gptcore.sampling.base import Sampler
from gptcore.sampling.windows import Pieces
from gptcore.theory.expectations import Expectation


def z_scores(coverage: Coverage, expectation: Expectation) -> dict[str, float | None]:
    """Return (observed - expected) / sd of each metric with a known sd; None where the sd is 0."""
    expected, sd = expectation.missed_targets, expectation.sd_missed_targets
    if expected is None or not sd:
        return {"missed_targets": None}
    return {"missed_targets": (coverage.missed_targets - expected) / sd}


def coverage_curve(
    sampler: Sampler, *, steps: Sequence[int], batch_size: int
) -> npt.NDArray[np.float64]:
    """Return the share of targets shown by the end of each of `steps`, float64 of shape (n,).

    Args:
        sampler: where the windows come from.
        steps: numbers of steps, 1 or more and strictly increasing.
        batch_size: B, draws per step.

    Raises:
        ValueError: steps are empty or do not increase, or a count is not positive.
    """
    batch_size = check_whole("batch_size", batch_size)
    steps = np.atleast_1d(as_array("steps", steps)).tolist()
    ends = [check_whole("steps", step) * batch_size for step in steps]
    begins = [0, *ends[:-1]]
    if not ends or any(end <= begin for begin, end in zip(begins, ends, strict=True)):
        raise ValueError(f"steps are {list(steps)}: give at least one, in increasing order")
    base = sampler.block_size + 1
    seen = np.empty(0, dtype=np.int64)  # the distinct runs of targets, each as one number
    shares = []
    for begin, end in zip(begins, ends, strict=True):
        first, last = _targets(sampler.pieces(begin, end - begin), sampler)
        seen = np.unique(np.concatenate([seen, first * base + last - first]))
        first, length = np.divmod(seen, base)
        shares.append(count_union(first, first + length) / sampler.n_targets)
    return np.array(shares)


def count_targets(pieces: Pieces, sampler: Sampler) -> int:
    """Return how many targets these pieces show at least once."""
    return count_union(*_targets(pieces, sampler))


def count_pairs(pieces: Pieces, lag: int) -> int:
    """Return how many pairs of tokens (i, i + h) lie in some piece; each has length - h of them."""
    return count_union(pieces.start, pieces.start + pieces.length - lag)


def count_union(begin: Counts, end: Counts) -> int:
    """Return the size of the union of the numbers begin, …, end - 1; some may be empty."""
    if (begin[1:] < begin[:-1]).any():
        order = np.argsort(begin, kind="stable")
        begin, end = begin[order], end[order]
    reach = np.maximum.accumulate(end)
    first = np.maximum(begin, np.concatenate([begin[:1], reach[:-1]]))
    return int(np.maximum(0, end - first).sum())


def _targets(pieces: Pieces, sampler: Sampler) -> tuple[Counts, Counts]:
    """Return where the targets of each piece begin and end, as the sampler shows them."""
    begin, end = pieces.targets()
    return begin, end - (sampler.block_size - sampler.targets_per_window)


def visits_by_position(coverage: Coverage, bins: int = 100) -> dict[str, list[float]]:
    """Return the visits along the text, in bins of nearly equal width, as columns of a table.

    A bin has the targets bin_start, …, bin_stop - 1; `missed` of them have no visit. With several
    segments, the targets of all segments are counted in a row, from 1.

    Raises:
        ValueError: `bins` is not a whole number from 1 to the number of targets.
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
    """Return how many `targets` have each number of `visits` that occurs, as columns of a table."""
    visits, targets = histogram(coverage.runs)
    return {"visits": visits.tolist(), "targets": targets.tolist()}
