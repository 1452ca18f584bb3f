"""Steps in the times of many runs: changes of level that stay.

A step is looked for by seeded binary segmentation (Kovács et al., Biometrika 110, 2023): Student's
t of every split of many overlapping stretches of runs. Its p-value comes from shuffling the order
of the runs, all cases together, and taking the largest statistic among all cases (Westfall and
Young, 1993), so it holds for all of them, and what hits every case of a run at once counts once.
One run or two that stand alone are no step; a drift comes out as one step or several.
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
"""With fewer, even a clean step has a p-value above 0.05: 4 of 8 runs are 1 order in 35."""
FEWEST_AFTER = 3
"""One run, or two, may be outliers; a step is a step when the third agrees."""
FEWEST_STRETCH = 6
OUTLIER = 2.5
"""A run is an outlier if it is this many times `run_noise` beyond all others."""
PRIOR_DF = 4
"""Runs' worth of trust in the noise that the other cases show; it tames tiny variances."""


@dataclass(frozen=True)
class Step:
    """A change of level.

    Attributes:
        at: index of the first run after it.
        ratio: time after over time before.
        interval_95: of that ratio, the place of the step taken as known.
        p_adjusted: among all cases.
    """

    at: int
    ratio: float
    interval_95: tuple[float, float]
    p_adjusted: float


@dataclass
class Trend:
    """One case over the runs of one machine.

    Attributes:
        case: its id.
        runs: those that timed it, oldest first.
        timings: its times in them.
        steps: those found, oldest first; `at` counts in `runs`.
    """

    case: str
    runs: list[RunFolder]
    timings: list[Timing]
    steps: list[Step] = field(default_factory=list)

    @property
    def logs(self) -> Values:
        """Return the logs of the medians of the main process: every run has that."""
        return np.array([t.logs[0] for t in self.timings])

    def level(self, begin: int, end: int) -> float:
        """Return the time in s at which the runs from `begin` to before `end` stand."""
        return math.exp(float(np.median(self.logs[begin:end])))


def run_noise(logs: Values) -> float:
    """Return the standard deviation of a run, from the narrowest half of the series.

    Where there are two levels that half lies on one of them, and order plays no part in it. It is
    the narrowest of several, hence less wide than half of a normal distribution (1.349).
    """
    values, half = np.sort(logs), len(logs) // 2
    widths = values[half - 1 :] - values[: len(values) - half + 1]
    return max(LEAST, float(widths.min()))


def ordinary(logs: Values, sigma: float) -> npt.NDArray[np.int64]:
    """Return the indices of the series without one or two runs beyond all others, at each end.

    Wild runs then neither look like a step nor hide one, while the three runs or more after a step
    stand together. Their order plays no part in it, so that shuffled series are like the one seen.
    """
    order, reach = np.argsort(logs), OUTLIER * sigma
    gaps = np.diff(logs[order]) > reach
    begin = max((k for k in range(1, FEWEST_AFTER) if gaps[k - 1 : k].any()), default=0)
    end = max((k for k in range(1, FEWEST_AFTER) if gaps[-k : len(gaps) - k + 1].any()), default=0)
    return np.sort(order[begin : len(order) - end])


def stretches(n: int) -> list[tuple[int, int]]:
    """Return the seeded intervals of n runs: (begin, end), lengths falling by the root of 2."""
    found = {(0, n)}
    layer = 1
    while (length := math.ceil(n * 2 ** (-layer / 2))) >= FEWEST_STRETCH:
        count = 2 * math.ceil(2 ** (layer / 2)) - 1
        found |= {(b, b + length) for b in np.linspace(0, n - length, count).round().astype(int)}
        layer += 1
    return sorted((int(begin), int(end)) for begin, end in found)


def scan(values: Values, sigma: float) -> tuple[Values, npt.NDArray[np.int64]]:
    """Return the strongest split of each row, over all stretches.

    Args:
        values: (rows, n) logs of times.
        sigma: standard deviation that is likely before these are seen.

    Returns:
        Its strength, the square of Student's t as a standard normal value (Wallace, Ann. Math.
        Statist. 30, 1959), so that stretches of all lengths compare; and its place, the index of
        the first value after it. Both (rows,).
    """
    rows, n = values.shape
    best, place = np.full(rows, -np.inf), np.zeros(rows, dtype=np.int64)
    for begin, end in stretches(n):
        part = values[:, begin:end]
        size = end - begin
        before = np.arange(FEWEST_AFTER, size - FEWEST_AFTER + 1)
        centred = part - part.mean(axis=1, keepdims=True)
        sums = np.cumsum(centred, axis=1)[:, before - 1]
        # The gap between the means is sums * size / (before * after), in size.
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


def find_steps(runs: Sequence[RunFolder], found: list[Trend], n_groups: int = 1) -> None:
    """Fill in the steps of all trends of one machine.

    Args:
        runs: all runs of that machine, oldest first.
        found: its trends.
        n_groups: number of machines, for which p-values are adjusted, too.
    """
    position = {id(run): i for i, run in enumerate(runs)}
    keys = np.random.default_rng(0).random((SHUFFLES, len(runs)))
    own = [run_noise(trend.logs) for trend in found]
    usual = float(np.median(own)) if own else LEAST
    kept = [ordinary(trend.logs, max(s, usual)) for trend, s in zip(found, own, strict=True)]
    series = [trend.logs[chosen] for trend, chosen in zip(found, kept, strict=True)]
    columns = [
        [position[id(trend.runs[k])] for k in chosen]
        for trend, chosen in zip(found, kept, strict=True)
    ]
    cuts: list[dict[int, float]] = [{} for _ in found]
    open_parts = [(i, 0, len(values)) for i, values in enumerate(series)]
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
    for trend, values, chosen, places in zip(found, series, kept, cuts, strict=True):
        steps = [_step(values, places, at) for at in sorted(places)]
        trend.steps = [replace(step, at=int(chosen[step.at])) for step in steps]


def _step(values: Values, places: dict[int, float], at: int) -> Step:
    """Return the step at one cut; its size is between the levels up to the cuts beside it."""
    edges = [0, *sorted(places), len(values)]
    index = edges.index(at)
    before, after = values[edges[index - 1] : at], values[at : edges[index + 1]]
    gap = float(np.median(after) - np.median(before))
    rest = np.concatenate([before - np.median(before), after - np.median(after)])
    df = len(rest) - 2
    variance = max(float((rest**2).sum()) / df, LEAST**2)
    # A median of n normal values has up to pi / 2 times the variance of their mean.
    error = math.sqrt(math.pi / 2 * variance * (1 / len(before) + 1 / len(after)))
    half = float(stats.t.ppf(0.975, df)) * error
    return Step(at, math.exp(gap), (math.exp(gap - half), math.exp(gap + half)), places[at])
