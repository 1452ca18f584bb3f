"""Finds steps, which are lasting changes of level, in the times of many runs.

The method is seeded binary segmentation (Kovács et al., Biometrika 110, 2023): the statistic is
Student's t of every split of many overlapping intervals of runs. For the p-value, the order of the
runs is shuffled for all cases together and the largest statistic among all cases is taken (Westfall
and Young, 1993). So the p-value is adjusted for all cases, and a disturbance of all cases of one
run counts once. One or two runs that differ from the rest are not a step; a slow drift appears as
one step or several.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
from scipy import stats

from bench.comparing.noise import ALPHA, LEAST
from bench.comparing.timing import Timing
from bench.ledger.folders import RunFolder

Values = npt.NDArray[np.float64]

SHUFFLES = 1999
FEWEST_RUNS = 8
"""With fewer runs even a clean step may have a p-value above 0.05: 4 of 8 is 1 order in 35."""
FEWEST_AFTER = 3
"""One or two runs may be outliers, so a step needs a third run that agrees."""
FEWEST_STRETCH = 6
"""Fewest runs in an interval that is searched."""
OUTLIER = 2.5
"""A run is an outlier if it lies this many times `run_noise` beyond all others."""
PRIOR_DF = 4
"""Degrees of freedom of the noise that the other cases show; they raise very small variances."""


@dataclass(frozen=True)
class Step:
    """A lasting change of level.

    Attributes:
        at: index of the first run after the step.
        ratio: time after over time before.
        interval_95: interval of the ratio, with the place of the step taken as known.
        p_adjusted: p-value, adjusted for all cases.
    """

    at: int
    ratio: float
    interval_95: tuple[float, float]
    p_adjusted: float


@dataclass
class Trend:
    """The times of one case over the runs of one machine.

    Attributes:
        case: id of the case.
        runs: the runs that timed it, oldest first.
        timings: its time in each of them.
        steps: the steps in its times, oldest first; `at` is an index into `runs`.
    """

    case: str
    runs: list[RunFolder]
    timings: list[Timing]
    steps: list[Step] = field(default_factory=list)

    @property
    def logs(self) -> Values:
        """Return ln of the median time of the main process, which every run has."""
        return np.array([t.logs[0] for t in self.timings])

    def level(self, begin: int, end: int) -> float:
        """Return the median time in s of the runs `begin` to `end` - 1."""
        return math.exp(float(np.median(self.logs[begin:end])))


def run_noise(logs: Values) -> float:
    """Return the standard deviation of a run: the width of the narrowest half of the series.

    If the series has two levels, that half lies on one of them. The order of the runs has no
    influence. The narrowest half is narrower than the central half of a normal distribution, which
    is 1.349 standard deviations wide, so its width is used undivided.
    """
    values, half = np.sort(logs), len(logs) // 2
    widths = values[half - 1 :] - values[: len(values) - half + 1]
    return max(LEAST, float(widths.min()))


def ordinary(logs: Values, sigma: float) -> npt.NDArray[np.int64]:
    """Return the indices without one or two outliers at each end of the sorted series.

    Outliers then neither look like a step nor hide one; the runs after a step stay, because they
    are at least three. The order of the runs has no influence, so that shuffled series are treated
    like the observed one.
    """
    order, reach = np.argsort(logs), OUTLIER * sigma
    gaps = np.diff(logs[order]) > reach
    begin = max((k for k in range(1, FEWEST_AFTER) if gaps[k - 1 : k].any()), default=0)
    end = max((k for k in range(1, FEWEST_AFTER) if gaps[-k : len(gaps) - k + 1].any()), default=0)
    return np.sort(order[begin : len(order) - end])


def stretches(n: int) -> list[tuple[int, int]]:
    """Return the seeded intervals (begin, end) of n runs; lengths fall by the root of 2."""
    intervals = {(0, n)}
    layer = 1
    while (length := math.ceil(n * 2 ** (-layer / 2))) >= FEWEST_STRETCH:
        count = 2 * math.ceil(2 ** (layer / 2)) - 1
        intervals |= {
            (b, b + length) for b in np.linspace(0, n - length, count).round().astype(int)
        }
        layer += 1
    return sorted((int(begin), int(end)) for begin, end in intervals)


def scan(values: Values, sigma: float) -> tuple[Values, npt.NDArray[np.int64]]:
    """Return the strongest split of each row over all seeded intervals.

    Args:
        values: (rows, n), ln of times.
        sigma: prior standard deviation of a value.

    Returns:
        The strength of the split: Student's t as a standard normal value (Wallace, Ann. Math.
        Statist. 30, 1959), squared, so that intervals of all lengths are comparable. And its place:
        the index of the first value after the split. Both (rows,).
    """
    rows, n = values.shape
    best, place = np.full(rows, -np.inf), np.zeros(rows, dtype=np.int64)
    for begin, end in stretches(n):
        part = values[:, begin:end]
        size = end - begin
        before = np.arange(FEWEST_AFTER, size - FEWEST_AFTER + 1)
        centred = part - part.mean(axis=1, keepdims=True)
        sums = np.cumsum(centred, axis=1)[:, before - 1]
        # Sum of squares between the two sides of each split, then within them.
        between = sums**2 * size / (before * (size - before))
        total = (centred**2).sum(axis=1, keepdims=True)
        df = size - 2 + PRIOR_DF
        error = (total - between + PRIOR_DF * sigma**2) / df
        squares = np.log1p(between / error / df) * df * ((8 * df + 1) / (8 * df + 3)) ** 2
        split = squares.argmax(axis=1)
        strength = squares[np.arange(rows), split]
        better = strength > best
        best = np.where(better, strength, best)
        place = np.where(better, begin + before[split], place)
    return best, place


def find_steps(runs: Sequence[RunFolder], trends: list[Trend], n_groups: int = 1) -> None:
    """Find the steps of all trends of one machine and store them in the trends.

    Args:
        runs: all runs of the machine, oldest first.
        trends: its trends.
        n_groups: number of machines, for which the p-values are adjusted as well.
    """
    position = {id(run): i for i, run in enumerate(runs)}
    keys = np.random.default_rng(0).random((SHUFFLES, len(runs)))
    own = [run_noise(trend.logs) for trend in trends]
    usual = float(np.median(own)) if own else LEAST
    kept = [ordinary(trend.logs, max(s, usual)) for trend, s in zip(trends, own, strict=True)]
    series = [trend.logs[chosen] for trend, chosen in zip(trends, kept, strict=True)]
    columns = [
        [position[id(trend.runs[k])] for k in chosen]
        for trend, chosen in zip(trends, kept, strict=True)
    ]
    cuts: list[dict[int, float]] = [{} for _ in trends]
    open_parts = [(i, 0, len(values)) for i, values in enumerate(series)]
    # Each pass tests all open parts with one set of shuffles, and splits them where p <= ALPHA.
    while open_parts := [part for part in open_parts if part[2] - part[1] >= FEWEST_RUNS]:
        largest = np.full(SHUFFLES, -np.inf)
        seen = []
        for i, begin, end in open_parts:
            values = series[i][begin:end]
            strength, place = scan(values[None], usual)
            seen.append((float(strength[0]), begin + int(place[0])))
            shuffled = values[np.argsort(keys[:, columns[i][begin:end]], axis=1)]
            largest = np.maximum(largest, scan(shuffled, usual)[0])
        halves = []
        for (i, begin, end), (strength_seen, at) in zip(open_parts, seen, strict=True):
            beaten = int(np.sum(largest >= strength_seen - 1e-9))
            p_value = min(1.0, n_groups * (1 + beaten) / (1 + SHUFFLES))
            if p_value <= ALPHA:
                cuts[i][at] = p_value
                halves += [(i, begin, at), (i, at, end)]
        open_parts = halves
    for trend, values, chosen, places in zip(trends, series, kept, cuts, strict=True):
        steps = [_step(values, places, at) for at in sorted(places)]
        trend.steps = [replace(step, at=int(chosen[step.at])) for step in steps]


def _step(values: Values, places: dict[int, float], at: int) -> Step:
    """Return the step at one cut, between the levels that reach to the neighbouring cuts."""
    edges = [0, *sorted(places), len(values)]
    index = edges.index(at)
    before, after = values[edges[index - 1] : at], values[at : edges[index + 1]]
    gap = float(np.median(after) - np.median(before))
    rest = np.concatenate([before - np.median(before), after - np.median(after)])
    df = len(rest) - 2
    variance = max(float((rest**2).sum()) / df, LEAST**2)
    # The median of n normal values has at most pi / 2 times the variance of their mean.
    error = math.sqrt(math.pi / 2 * variance * (1 / len(before) + 1 / len(after)))
    half = float(stats.t.ppf(0.975, df)) * error
    return Step(at, math.exp(gap), (math.exp(gap - half), math.exp(gap + half)), places[at])
