"""The variance of a time between runs of unchanged code, and intervals that include it.

Times are kept as logarithms, so that a ratio is a difference. The difference of one case is
d = ln(median in NEW) - ln(median in BASE). Its variance is the sum of two parts.

The first part is the uncertainty of each median, from the rounds of one process
(`median_variance`). The second part is what varies between processes and over hours although the
code is the same. It is the larger of two estimates:
  - processes: the variance between the medians of new processes. The variance of each case is
    shrunk towards those of the others (moderated t: Smyth, Stat. Appl. Genet. Mol. Biol. 3, 2004);
    a case timed in one process takes the variance of the others. If no case was timed in several
    processes, the spread of all d about their median is used, and at least FLOOR;
  - machine: the variance of a fixed matrix product, timed beside every case, over both runs, or its
    change beside this case if that is larger.
Intervals and p-values come from Student's t with the degrees of freedom of Welch and Satterthwaite.
"""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special, stats

from bench.comparing.timing import Timing

CONFIDENCE = 0.95
ALPHA = 0.05
FLOOR = 0.01
"""Least standard deviation (of ln time) between processes if no case was timed in several."""
LEAST = 0.001
"""Least standard deviation (of ln time) between processes, even if the few timed agree better."""
FEWEST_MOVED = 5
"""Fewest cases whose ratios are taken to show a spread."""
ENOUGH_CASES = 6
"""Fewest cases from which the spread of their variances is estimated."""
ENOUGH_PROCESSES = 3
"""With so many processes, their medians alone give the uncertainty of their common median."""
MAD_EFFICIENCY = 0.37
"""Efficiency of the median absolute deviation as an estimate of the variance of normal values."""


def spread(values: Sequence[float]) -> float:
    """Return the standard deviation, estimated from the median absolute deviation."""
    center = statistics.median(values)
    return 1.4826 * statistics.median([abs(v - center) for v in values])


@dataclass(frozen=True)
class Part:
    """One part of a variance, with its degrees of freedom."""

    variance: float
    df: float

    def times(self, factor: float) -> Part:
        """Return the variance multiplied by `factor`, with the same degrees of freedom."""
        return Part(self.variance * factor, self.df)


@dataclass(frozen=True)
class Prior:
    """Prior distribution of the variance of a case: scaled inverse chi-square."""

    variance: float
    df: float
    pooled: bool = False
    """Whether all cases share one variance, so that a case's own is part of it already."""

    def moderate(self, own: Part | None) -> Part:
        """Return the variance of a case: its own estimate, shrunk towards that of the others."""
        if own is None or self.pooled:
            return Part(self.variance, self.df)
        df = self.df + own.df
        if math.isinf(df):
            return Part(self.variance, df)
        return Part((self.df * self.variance + own.df * own.variance) / df, df)


def process_variance(timings: Iterable[Timing]) -> Part | None:
    """Return the variance between the processes of one case, pooled over runs."""
    logs = [t.logs for t in timings if len(t.logs) > 1]
    df = sum(len(values) - 1 for values in logs)
    if not df:
        return None
    squares = sum((len(values) - 1) * statistics.variance(values) for values in logs)
    return Part(max(squares / df, LEAST**2), df)


def fit_prior(parts: list[Part]) -> Prior:
    """Fit the prior distribution to the variances of the cases (moments of ln s²; Smyth 2004, 6.2).

    A few cases show badly how much variances differ. So two standard errors are added to that
    spread, and n cases give the prior at most n degrees of freedom.
    """
    df = np.array([part.df for part in parts])
    variances = np.array([part.variance for part in parts])
    pooled = Prior(float(np.sum(df * variances) / df.sum()), float(df.sum()), pooled=True)
    if len(parts) < ENOUGH_CASES:
        return dataclasses.replace(pooled, variance=max(pooled.variance, FLOOR**2))
    e = np.log(variances) - special.digamma(df / 2) + np.log(df / 2)
    upper = float(np.var(e, ddof=1)) * (1 + 2 * math.sqrt(2 / (len(parts) - 1)))
    excess = upper - float(np.mean(special.polygamma(1, df / 2)))
    if excess <= 0:
        return pooled
    prior_df = min(2 * _trigamma_inverse(excess), len(parts))
    shift = float(special.digamma(prior_df / 2)) - math.log(prior_df / 2)
    return Prior(math.exp(float(e.mean()) + shift), prior_df)


def _trigamma_inverse(value: float) -> float:
    """Solve trigamma(x) = value by Newton's method on 1 / trigamma, which is nearly linear."""
    x = 0.5 + 1 / value
    for _ in range(50):
        tri = float(special.polygamma(1, x))
        x += tri * (1 - tri / value) / float(special.polygamma(2, x))
    return x


@dataclass(frozen=True)
class Noise:
    """The variances between two runs of the same code.

    Attributes:
        own: case → variance between its processes; None if it was timed in one process.
        prior: prior distribution of that variance.
        machine: variance of the speed of the machine; None if it was not measured.
        assumed: whether `prior` is assumed because no case was timed in several processes.
    """

    own: Mapping[str, Part | None]
    prior: Prior
    machine: Part | None
    assumed: bool

    def between(self, case: str, base: Timing, new: Timing, processes: int) -> list[Part]:
        """Return the variance of d between processes, and that of the machine if it is known."""
        own = self.prior.moderate(self.own.get(case))
        least = Part(max(own.variance, LEAST**2), own.df)
        parts = [least.times(2 * median_factor(processes))]
        if self.machine is not None:
            machine = self.machine.times(2)
            if base.reference is not None and new.reference is not None:
                moved = (new.reference - base.reference) ** 2
                machine = Part(max(machine.variance, moved), machine.df)
            parts.append(machine)
        return parts


def median_factor(n: int) -> float:
    """Return the variance of the median of n values over that of one; for n > 2 the limit."""
    return 1 / n if n <= 2 else math.pi / (2 * n)


def noise(base: Mapping[str, Timing], new: Mapping[str, Timing]) -> Noise:
    """Estimate the variances between two runs from the cases of both."""
    own = {
        case: process_variance(t for t in (base.get(case), new.get(case)) if t)
        for case in {**base, **new}
    }
    parts = [part for part in own.values() if part]
    prior = fit_prior(parts) if parts else assumed_prior(base, new)
    return Noise(own, prior, machine_variance([base, new]), assumed=not parts)


def assumed_prior(base: Mapping[str, Timing], new: Mapping[str, Timing]) -> Prior:
    """Return the variance between processes that is assumed if no case was timed in several.

    If the ratios of many cases differ, either each case changed by another amount or the machine is
    not steady. Without new processes the two cannot be separated, so the spread counts as noise.
    """
    moved = [new[c].center(1) - base[c].center(1) for c in base.keys() & new.keys()]
    if len(moved) >= FEWEST_MOVED and (sd := spread(moved) / math.sqrt(2)) > FLOOR:
        return Prior(sd**2, MAD_EFFICIENCY * (len(moved) - 1))
    return Prior(FLOOR**2, math.inf)


def machine_variance(runs: Sequence[Mapping[str, Timing]]) -> Part | None:
    """Return the variance of the ln time of the reference product over cases and runs.

    Deviations are taken from one centre for each device, so that a run on a slower machine widens
    every interval. The degrees of freedom allow for the lower efficiency of the robust estimate.
    """
    residuals = [
        value for run in centred(runs) for t in run.values() if (value := t.reference) is not None
    ]
    if len(residuals) < 2:
        return None
    variance = (1.4826 * statistics.median(map(abs, residuals))) ** 2
    return Part(variance, max(1.0, MAD_EFFICIENCY * (len(residuals) - 1)))


def centred(runs: Sequence[Mapping[str, Timing]]) -> list[dict[str, Timing]]:
    """Return runs whose reference times are relative to the median over all runs of the device."""
    references: dict[str, list[float]] = {}
    for run in runs:
        for t in run.values():
            if t.reference is not None:
                references.setdefault(t.device, []).append(t.reference)
    centers = {device: statistics.median(values) for device, values in references.items()}
    return [
        {
            name: t
            if t.reference is None
            else dataclasses.replace(t, reference=t.reference - centers[t.device])
            for name, t in run.items()
        }
        for run in runs
    ]


@dataclass(frozen=True)
class Difference:
    """ln(time in NEW / time in BASE) with its interval."""

    d: float
    low: float
    high: float
    p_value: float
    rounds_share: float
    """Share of the variance that comes from the rounds, which more rounds would reduce."""


def difference(
    case: str,
    base: Timing,
    new: Timing,
    noise: Noise,
    ceiling: tuple[float, Part] | None = None,
) -> Difference | None:
    """Compare one case.

    Args:
        case: its id.
        base: its time in BASE.
        new: its time in NEW.
        noise: the variances between the two runs.
        ceiling: ln(ceiling of NEW / ceiling of BASE) and its variance, if shares of the ceilings
            (time x ceiling) are compared instead of times.

    Returns:
        The difference; None if neither rounds nor processes show its variance.
    """
    processes = min(len(base.logs), len(new.logs))
    rounds: list[Part] = []
    if processes < ENOUGH_PROCESSES:
        if base.within is None or new.within is None:
            return None
        rounds = [
            Part(base.within / processes, base.within_df),
            Part(new.within / processes, new.within_df),
        ]
    d = new.center(processes) - base.center(processes)
    shares = []
    if ceiling:
        d += ceiling[0]
        shares = [ceiling[1]]
    between = noise.between(case, base, new, processes)
    # The first part alone may have few degrees of freedom, which its sum with others would hide.
    return widest(
        [student(d, rounds, [part, *shares]) for part in between] + [student(d, [], between[:1])]
    )


def widest(estimates: Sequence[Difference]) -> Difference:
    """Return one difference with the widest interval and the largest p-value of its estimates."""
    low, high = min(x.low for x in estimates), max(x.high for x in estimates)
    p_value = max(x.p_value for x in estimates)
    return dataclasses.replace(estimates[0], low=low, high=high, p_value=p_value)


def student(d: float, rounds: Sequence[Part], others: Sequence[Part]) -> Difference:
    """Return the interval and two-sided p-value of d, whose variance is the sum of its parts."""
    parts = [part for part in (*rounds, *others) if part.variance > 0]
    variance = sum(part.variance for part in parts)
    inverse = sum((part.variance / variance) ** 2 / part.df for part in parts)
    df = 1 / inverse if inverse else math.inf
    error = math.sqrt(variance)
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, df)) * error
    p_value = float(2 * stats.t.sf(abs(d) / error, df))
    share = sum(part.variance for part in rounds) / variance
    return Difference(d, d - half, d + half, p_value, share)
