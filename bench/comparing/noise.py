"""How much the time of a case varies though nothing changed, and what a difference is worth.

Times are kept as logarithms, so that a ratio is a difference. For one case it is d = log(median in
NEW) - log(median in BASE), and the variance of d has two parts. Rounds: how well the rounds of one
process fix its median (`median_variance`). Between: what changes from process to process and from
hour to hour though the code is the same; the larger of
  - processes: the variance of the medians of fresh processes. Each case's own is drawn towards what
    the others show (moderated t: Smyth, Stat. Appl. Genet. Mol. Biol. 3, 2004); a case timed in one
    process gets the others'. Where no case has several, the spread of all d about their median
    stands in, and FLOOR at least;
  - machine: how a fixed matrix product, timed beside every case, varied over both runs, and how
    much it moved beside this case.
Intervals and p-values are Student's, with Welch and Satterthwaite's degrees of freedom.
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
"""Standard deviation (log) between processes, at least, where no case was timed in several."""
LEAST = 0.001
"""No two processes are taken to agree better than this, however alike the few that were timed."""
FEWEST_MOVED = 5
ENOUGH_CASES = 6
"""From here on it can be told how much variances differ from case to case."""
ENOUGH_PROCESSES = 3
"""From here on the medians of processes alone say how well their median is known."""
MAD_EFFICIENCY = 0.37
"""Of the median of absolute deviations, for the variance of normal values."""


def spread(values: Sequence[float]) -> float:
    """Return the standard deviation as the median of absolute deviations sees it."""
    center = statistics.median(values)
    return 1.4826 * statistics.median([abs(v - center) for v in values])


@dataclass(frozen=True)
class Part:
    """A part of a variance and its degrees of freedom."""

    variance: float
    df: float

    def times(self, factor: float) -> Part:
        """Return the same for a value multiplied by the root of `factor`."""
        return Part(self.variance * factor, self.df)


@dataclass(frozen=True)
class Prior:
    """Scaled inverse chi-square: what is known of a variance before a case's own is seen."""

    variance: float
    df: float
    pooled: bool = False
    """All cases are taken to have one variance: what a case shows itself is part of it already."""

    def moderate(self, own: Part | None) -> Part:
        """Return the variance of a case, its own drawn towards the others'."""
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
    """Fit the prior from which the cases' variances come (moments of log s2; Smyth 2004, 6.2).

    How much variances differ from case to case is itself known badly from a few cases: two standard
    errors are added, and n cases that differ count as n degrees of freedom at most.
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
    """What varies between two runs of the same code.

    Attributes:
        own: case → variance between its processes; None for one process.
        prior: that variance in any case.
        machine: variance of the machine's own speed at one time; None if it was not followed.
    """

    own: Mapping[str, Part | None]
    prior: Prior
    machine: Part | None
    assumed: bool
    """No case was timed in several processes: `prior` is a stand-in."""

    def between(self, case: str, base: Timing, new: Timing, processes: int) -> list[Part]:
        """Return the part of the variance of d between processes, and the machine's if known."""
        found = self.prior.moderate(self.own.get(case))
        least = Part(max(found.variance, LEAST**2), found.df)
        parts = [least.times(2 * median_factor(processes))]
        if self.machine is not None:
            machine = self.machine.times(2)
            if base.reference is not None and new.reference is not None:
                moved = (new.reference - base.reference) ** 2
                machine = Part(max(machine.variance, moved), machine.df)
            parts.append(machine)
        return parts


def median_factor(n: int) -> float:
    """Return the variance of the median of n values over that of one; for n > 2 its limit."""
    return 1 / n if n <= 2 else math.pi / (2 * n)


def noise(base: Mapping[str, Timing], new: Mapping[str, Timing]) -> Noise:
    """Estimate what varies between two runs from the cases of both."""
    own = {
        case: process_variance(t for t in (base.get(case), new.get(case)) if t)
        for case in {**base, **new}
    }
    parts = [part for part in own.values() if part]
    prior = fit_prior(parts) if parts else stand_in(base, new)
    return Noise(own, prior, machine_variance([base, new]), assumed=not parts)


def stand_in(base: Mapping[str, Timing], new: Mapping[str, Timing]) -> Prior:
    """Return what has to do for the variance between processes where no case shows it.

    If the ratios of many cases lie apart, either all changed by different amounts or the machine is
    not steady; without fresh processes nobody can tell, so the spread counts as noise.
    """
    moved = [new[c].center(1) - base[c].center(1) for c in base.keys() & new.keys()]
    if len(moved) >= FEWEST_MOVED and (sd := spread(moved) / math.sqrt(2)) > FLOOR:
        return Prior(sd**2, MAD_EFFICIENCY * (len(moved) - 1))
    return Prior(FLOOR**2, math.inf)


def machine_variance(runs: Sequence[Mapping[str, Timing]]) -> Part | None:
    """Return the variance of the reference product's log time over cases and runs.

    It is taken about one centre a device, so that a run on a slower machine widens every interval.
    The degrees of freedom are those of a variance that is as uncertain as this robust one.
    """
    residuals = [
        value for run in centred(runs) for t in run.values() if (value := t.reference) is not None
    ]
    if len(residuals) < 2:
        return None
    variance = (1.4826 * statistics.median(map(abs, residuals))) ** 2
    return Part(variance, max(1.0, MAD_EFFICIENCY * (len(residuals) - 1)))


def centred(runs: Sequence[Mapping[str, Timing]]) -> list[dict[str, Timing]]:
    """Return runs with the reference product less its median over all of them, for each device."""
    known: dict[str, list[float]] = {}
    for run in runs:
        for t in run.values():
            if t.reference is not None:
                known.setdefault(t.device, []).append(t.reference)
    centers = {device: statistics.median(values) for device, values in known.items()}
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
    """log(time in NEW / time in BASE), with its interval."""

    d: float
    low: float
    high: float
    p_value: float
    rounds_share: float
    """Share of the variance that more rounds would reduce."""


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
        noise: of the two runs.
        ceiling: log of NEW's ceiling over BASE's, with its variance, where shares of ceilings are
            compared: time x ceiling instead of time.

    Returns:
        The difference; None where neither rounds nor processes show how much it varies.
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
    # The first part alone may have few degrees of freedom, which a sum would hide.
    return widest(
        [student(d, rounds, [part, *shares]) for part in between] + [student(d, [], between[:1])]
    )


def widest(found: Sequence[Difference]) -> Difference:
    """Return what holds under each of several views of one difference: the widest of them."""
    low, high = min(x.low for x in found), max(x.high for x in found)
    p_value = max(x.p_value for x in found)
    return dataclasses.replace(found[0], low=low, high=high, p_value=p_value)


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
