"""Finds steps, which are lasting changes of level, in the times of many runs.

For every shape of dependence between runs (`bench.comparing.dependence`) the runs are made
independent, and each change of level is tested by generalised least squares. For the p-value, the
order of the residuals is shuffled for all cases together and the largest statistic among all cases
is taken (Westfall and Young, 1993). So the p-value is adjusted for all cases, and a disturbance of
all cases of one run counts once. A step is reported where the largest p-value over the plausible
shapes is small. Then the parts before and after it are searched in the same way.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import optimize, special, stats

from bench.comparing.dependence import (
    FEWEST_AFTER,
    SHAPES,
    Design,
    Positions,
    Values,
    design,
    is_too_strong,
    plausible,
    residuals,
)
from bench.comparing.noise import ALPHA, LEAST
from bench.comparing.timing import Timing
from bench.ledger.folders import RunFolder

SHUFFLES = 999
FEWEST_RUNS = 8
"""With fewer runs even a clean step may have a p-value above 0.05: 4 of 8 is 1 order in 35."""
OUTLIER = 3.0
"""A run is an outlier if it lies this many times `run_noise` beyond all others."""
PRIOR_DF, MOST_PRIOR_DF = 4.0, 60.0
"""Degrees of freedom of the noise that the other cases show; they raise very small variances."""
FEWEST_CASES = 6
"""With fewer cases PRIOR_DF is not estimated from how much their variances differ."""
POWER = 0.9
"""The detectable change is found with this probability."""


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
        detectable: ratio of the lasting change in the middle of the runs that would be found with
            probability POWER; None with too few runs.
        unclear: whether the runs depend on each other too strongly for any step to be told.
    """

    case: str
    runs: list[RunFolder]
    timings: list[Timing]
    steps: list[Step] = field(default_factory=list)
    detectable: float | None = None
    unclear: bool = False

    @property
    def logs(self) -> Values:
        """Return ln of the time in each run: the mean over its processes."""
        return np.array([np.mean(t.logs) for t in self.timings])

    def level(self, begin: int, end: int) -> float:
        """Return the median time in s of the runs `begin` to `end` - 1."""
        return math.exp(float(np.median(self.logs[begin:end])))


def run_noise(logs: Values) -> float:
    """Return the standard deviation of a run: the width of the narrowest third of the series.

    If the series has two levels, that third lies on one of them. The order of the runs has no
    influence. The narrowest third of a normal sample is 0.6 to 0.9 standard deviations wide, and
    twice that where it is two thirds of one of two levels.
    """
    values, third = np.sort(logs), min(len(logs), max(4, len(logs) // 3))
    widths = values[third - 1 :] - values[: len(values) - third + 1]
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


@dataclass(frozen=True)
class _Part:
    """A stretch of one series without a step so far."""

    trend: int
    begin: int
    positions: Positions
    logs: Values

    @property
    def end(self) -> int:
        return self.begin + len(self.logs)

    def cut(self, begin: int, end: int) -> _Part:
        """Return the runs `begin` to `end` - 1 of this part."""
        return _Part(
            self.trend, self.begin + begin, self.positions[begin:end], self.logs[begin:end]
        )


def prior_df(variances: Values, df: int) -> float:
    """Return how many degrees of freedom the variances of the other cases are worth.

    The less the logarithms of the variances differ, the more (Smyth, Stat. Appl. Genet. Mol. Biol.
    3, 2004). Their spread is taken from the quartiles, which a few cases with a step do not change.
    """
    if len(variances) < FEWEST_CASES:
        return PRIOR_DF
    low, high = np.quantile(np.log(variances), [0.25, 0.75])
    excess = ((high - low) / 1.349) ** 2 - special.polygamma(1, df / 2)
    if excess <= special.polygamma(1, MOST_PRIOR_DF / 2):
        return MOST_PRIOR_DF
    found = optimize.brentq(lambda x: special.polygamma(1, x) - excess, 1e-3, MOST_PRIOR_DF)
    return max(PRIOR_DF, 2 * float(found))


def strengths(model: Design, rows: Values, usual: float, df_prior: float) -> Values:
    """Return the strength of the strongest change in each row.

    It is Student's t as a standard normal value (Wallace, Ann. Math. Statist. 30, 1959), squared,
    so that series of all lengths are comparable. Changes that come back are many, so they are
    charged for their number, and lasting changes are found as well as without them.

    Args:
        model: the shape of the dependence.
        rows: (rows, n), whitened residuals, perhaps shuffled.
        usual: the variance of a residual in the other cases.
        df_prior: the degrees of freedom that `usual` is worth.

    Returns:
        (rows,).
    """
    total = (rows**2).sum(axis=1) - (rows @ model.flat) ** 2
    squares = (rows @ model.changes.T) ** 2
    df = rows.shape[1] - 2 + df_prior

    def strength(best: Values) -> Values:
        error = (total - best + df_prior * usual) / df
        scaled: Values = np.log1p(best / error / df) * df * ((8 * df + 1) / (8 * df + 3)) ** 2
        return scaled

    lasting, others = np.split(squares, [model.lasting], axis=1)
    best = strength(lasting.max(axis=1))
    if not others.shape[1]:
        return best
    charge = max(0.0, 2 * math.log(others.shape[1] / model.lasting))
    return np.maximum(best, strength(others.max(axis=1)) - charge)


def _p_values(parts: Sequence[_Part], keys: Values, independent: float) -> tuple[Values, Values]:
    """Return the p-value of a change in each part, and the detectable change of its level.

    Args:
        parts: the stretches to be searched.
        keys: (SHUFFLES, runs), random numbers whose order shuffles the runs.
        independent: how many independent cases the parts are worth.

    Returns:
        The largest p-value over the plausible shapes, and ln of the detectable ratio; each (parts,)
    """
    kept = plausible([(part.positions, part.logs) for part in parts], independent)
    orders = [np.argsort(keys[:, part.positions], axis=1) for part in parts]
    p_value, detectable = np.zeros(len(parts)), np.zeros(len(parts))
    for shape, is_kept in zip(SHAPES, kept, strict=True):
        models = [design(shape, part.positions) for part in parts]
        rests = [residuals(m, part.logs) for m, part in zip(models, parts, strict=True)]
        variances = np.array([rest @ rest / (len(rest) - 1) for rest in rests])
        usual = float(np.median(variances))
        df_prior = prior_df(variances, int(np.median([len(r) for r in rests])) - 1)
        seen, largest = np.empty(len(parts)), np.full(SHUFFLES, -np.inf)
        for i, (model, rest, order) in enumerate(zip(models, rests, orders, strict=True)):
            seen[i] = strengths(model, rest[None], usual, df_prior)[0]
            largest = np.maximum(largest, strengths(model, rest[order], usual, df_prior))
        beaten = (largest >= seen[:, None] - 1e-9).sum(axis=1)
        p_value = np.where(is_kept, np.maximum(p_value, (1 + beaten) / (1 + SHUFFLES)), p_value)
        # A step makes dependence plausible, so the stated size holds under every shape.
        detectable = np.maximum(detectable, _detectable(models, rests, seen, largest, df_prior))
    return p_value, detectable


def _detectable(
    models: Sequence[Design],
    rests: Sequence[Values],
    seen: Values,
    largest: Values,
    df_prior: float,
) -> Values:
    """Return ln of the ratio that each part would show with probability POWER, under one shape."""
    limit = max(0.0, float(np.quantile(largest, 1 - ALPHA)))
    sizes = []
    for model, rest, strength in zip(models, rests, seen, strict=True):
        step = float(np.max((model.changes @ rest) ** 2)) if strength > limit else 0.0
        variance = (float(rest @ rest) - step) / (len(rest) - 1 - (step > 0))
        df = len(rest) - 2 + df_prior
        needed = math.sqrt(df * math.expm1(limit / df)) + float(stats.norm.ppf(POWER))
        sizes.append(needed * max(LEAST, math.sqrt(variance)) / model.sizes[model.lasting // 2])
    return np.array(sizes)


def _independent(series: Sequence[tuple[Positions, Values]], n_runs: int) -> float:
    """Return how many independent cases the series are worth, from their correlations."""
    table = pd.DataFrame(index=range(n_runs), columns=range(len(series)), dtype=float)
    for i, (positions, values) in enumerate(series):
        table.loc[list(positions), i] = values
    correlation = np.nan_to_num(table.corr(min_periods=FEWEST_RUNS).to_numpy(), nan=1.0)
    return float(len(series) ** 2 / (correlation**2).sum())


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
    whole = [
        _Part(i, 0, tuple(position[id(trend.runs[k])] for k in chosen), trend.logs[chosen])
        for i, (trend, chosen) in enumerate(zip(trends, kept, strict=True))
    ]
    cuts: list[dict[int, float]] = [{} for _ in trends]
    parts = [part for part in whole if len(part.logs) >= FEWEST_RUNS]
    worth = _independent([(p.positions, p.logs) for p in parts], len(runs)) if parts else 1.0
    share = worth / max(1, len(parts))
    # Each pass tests all open parts with one set of shuffles, and splits them where p <= ALPHA.
    while parts:
        p_values, detectable = _p_values(parts, keys, max(1.0, share * len(parts)))
        halves = []
        for part, p_value, size in zip(parts, n_groups * p_values, detectable, strict=True):
            trend = trends[part.trend]
            trend.detectable = trend.detectable or math.exp(size)
            if p_value > ALPHA:
                continue
            edges = _place(part)
            cuts[part.trend] |= {part.begin + edge: float(p_value) for edge in edges}
            halves += [part.cut(*ends) for ends in pairwise([0, *edges, len(part.logs)])]
        parts = [part for part in halves if len(part.logs) >= FEWEST_RUNS]
    for trend, part, chosen, places in zip(trends, whole, kept, cuts, strict=True):
        _conclude(trend, part, chosen, places)


def _place(part: _Part) -> list[int]:
    """Return where the change of a part begins and, if it comes back, ends: by least squares."""
    model = design("independent", part.positions)
    best = int(np.argmax((model.changes @ residuals(model, part.logs)) ** 2))
    return [int(place) for place in model.places[best] if place < len(part.logs)]


def _conclude(
    trend: Trend, part: _Part, chosen: npt.NDArray[np.int64], places: dict[int, float]
) -> None:
    """Store the steps at `places` in the trend, unless dependence explains them as well."""
    if len(part.logs) < FEWEST_RUNS:
        return
    places = _refined(part.logs, places)
    edges = [0, *sorted(places), len(part.logs)]
    levels = np.concatenate([np.full(e - b, np.median(part.logs[b:e])) for b, e in pairwise(edges)])
    trend.unclear = is_too_strong(part.positions, part.logs, levels, len(places))
    if not trend.unclear:
        steps = [_step(part.logs, places, at) for at in sorted(places)]
        trend.steps = [replace(step, at=int(chosen[step.at])) for step in steps]


def _refined(values: Values, places: dict[int, float]) -> dict[int, float]:
    """Return the places moved to where two levels between their neighbours fit best."""
    edges = [0, *sorted(places), len(values)]
    refined = {}
    for k, p_value in enumerate((places[at] for at in sorted(places)), start=1):
        begin, end = edges[k - 1], edges[k + 1]
        among = range(begin + FEWEST_AFTER, end - FEWEST_AFTER + 1)
        edges[k] = min(among, key=lambda at: _within(values, begin, at, end), default=edges[k])
        refined[edges[k]] = p_value
    return refined


def _within(values: Values, begin: int, at: int, end: int) -> float:
    """Return the sum of squares about the two levels of `begin` … `at` … `end`."""
    sides = values[begin:at], values[at:end]
    return float(sum(((side - side.mean()) ** 2).sum() for side in sides))


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
