"""How much a time varies between two runs of unchanged code, and what is tested against that.

Times are kept as logarithms, so that a ratio is a difference. The difference of one case is
d = mean ln(time in NEW) - mean ln(time in BASE) over processes. Two things change it although the
code is the same.

The first is chance between processes. The variance of a case is its own, or, if that is larger, its
own drawn towards those of the other cases (moderated t: Smyth, Stat. Appl. Genet. Mol. Biol. 3,
2004). The larger one is taken because a suite mixes quiet and noisy cases, and a prior fitted to
both calls the noisy ones slower (Phipson et al., Ann. Appl. Stat. 10, 2016). If the changes of the
cases spread more than their processes explain, the rest is added as a random effect.

The second is the machine, which does not have the same speed an hour later. Runs are few, so no
variance shows that part; it is bounded instead. A difference is tested against that bound, and not
against zero (TREAT: McCarthy and Smyth, Bioinformatics 25, 2009), so all cases may move by the
bound at once and still no more than ALPHA of whole comparisons has a false verdict. The bound of a
case is UNSEEN plus the larger change of its two references; a change common to all cases counts as
the machine's up to MOST_COMMON.

Where the rounds of two runs were interleaved, the ratio is taken inside each round. The machine
cancels there, so the bound is 0 and the test is the paired t test.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import optimize, special, stats

from bench.comparing.timing import Timing

CONFIDENCE = 0.95
ALPHA = 0.05
POWER = 0.8
"""Probability with which a slowdown of `Difference.detectable` is found."""
UNSEEN = math.log(1.05)
"""Change of the machine's speed (of ln time) that no reference may see."""
MOST_COMMON = math.log(1.1)
"""Change common to the cases that may still be the machine's."""
FLOOR = 0.01
"""Least standard deviation (of ln time) between processes if few cases were timed in several."""
LONE, LONE_DF = 0.03, 4.0
"""Least standard deviation (of ln time) between processes, and most degrees of freedom, of a case
that was timed in one process on each side: other kinds of work do not show how noisy it is."""
LEAST = 0.001
"""Least standard deviation (of ln time) between processes, even if the few timed agree better."""
MOST_SPREAD = 0.03
"""Largest standard deviation of the random effect, so that real changes do not hide themselves."""
LOW = 0.16
"""Quantile of the median that is taken for its expectation: it adds a standard error to the spread
of the random effect, which few cases show badly."""
FEWEST_SPREAD = 5
"""Fewest cases whose changes are taken to show a spread."""
ENOUGH_CASES = 6
"""Fewest cases from which the spread of their variances is estimated."""


@dataclass(frozen=True)
class Part:
    """One part of a variance, with its degrees of freedom."""

    variance: float
    df: float

    def times(self, factor: float) -> Part:
        """Return the variance multiplied by `factor`, with the same degrees of freedom."""
        return Part(self.variance * factor, self.df)


Ceiling = tuple[float, Part]
"""ln(ceiling of NEW / ceiling of BASE) and its variance."""


@dataclass(frozen=True)
class Prior:
    """Prior distribution of the variance of a case: scaled inverse chi-square."""

    variance: float
    df: float
    pooled: bool = False
    """Whether all cases share one variance, so that a case's own is part of it already."""

    def moderate(self, own: Part | None) -> Part:
        """Return the variance of a case: its own or, if larger, its own drawn to the others'."""
        if own is None:
            return Part(max(self.variance, LONE**2), min(self.df, LONE_DF))
        if self.pooled:
            return Part(max(self.variance, own.variance), self.df)
        df = self.df + own.df
        drawn = (self.df * self.variance + own.df * own.variance) / df
        return Part(max(drawn, own.variance), df)


def pooled_variance(samples: Iterable[Sequence[float]]) -> Part | None:
    """Return the variance inside several samples; None if each has one value."""
    logs = [values for values in samples if len(values) > 1]
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
        return replace(pooled, variance=max(pooled.variance, FLOOR**2))
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
class Difference:
    """ln(time in NEW / time in BASE), with what may change it although the code is the same.

    Attributes:
        d: the difference.
        parts: the parts of its variance; the first comes from the processes.
        bound: how far the machine alone may move d.
        rounds_share: share of the variance that comes from the rounds of single processes.
    """

    d: float
    parts: tuple[Part, ...]
    bound: float = 0.0
    rounds_share: float = 0.0

    @property
    def error(self) -> float:
        """Return the standard error of d."""
        return math.sqrt(sum(part.variance for part in self.parts))

    @property
    def df(self) -> float:
        """Return the degrees of freedom of `error` (Welch and Satterthwaite)."""
        total = sum(part.variance for part in self.parts)
        inverse = sum((part.variance / total) ** 2 / part.df for part in self.parts if total)
        return 1 / inverse if inverse else math.inf

    @property
    def interval(self) -> tuple[float, float]:
        """Return the 95 % interval of what the code changed."""
        half = float(stats.t.ppf((1 + CONFIDENCE) / 2, self.df)) * self.error + self.bound
        return self.d - half, self.d + half

    @property
    def p_value(self) -> float:
        """Return the p-value of "the code changed the time by nothing", at the worst bound."""
        return self._p_value(abs(self.d))

    def _p_value(self, size: float) -> float:
        ends = [(size - self.bound) / self.error, (size + self.bound) / self.error]
        return min(1.0, float(np.sum(stats.t.sf(ends, self.df))))

    def detectable(self, level: float) -> float:
        """Return the ln slowdown whose p-value is at most `level` with probability POWER.

        A repetition has another standard error as well. This is the normal approximation to the
        noncentral t distribution (Johnson and Welch, Biometrika 31, 1940).
        """
        most = self.bound + float(stats.t.isf(level / 2, self.df)) * self.error
        called = optimize.brentq(lambda x: self._p_value(x) - level, self.bound, most * 1.001)
        errors = (float(called) - self.bound) / self.error
        spread = math.sqrt(1 + errors**2 / (2 * self.df))
        return float(called) + float(stats.norm.ppf(POWER)) * spread * self.error


@dataclass(frozen=True)
class Noise:
    """What varies between two runs of the same code.

    Attributes:
        prior: prior distribution of the variance between processes.
        assumed: whether `prior` is assumed because no case was timed in several processes.
        paired: whether the rounds of the two runs were interleaved.
        spread: variance of the random effect of a case.
        common: the change that all cases share, of either sign.
    """

    prior: Prior
    assumed: bool
    paired: bool = False
    spread: Part = Part(0.0, math.inf)
    common: float = 0.0


def noise(
    base: Mapping[str, Timing],
    new: Mapping[str, Timing],
    *,
    paired: bool = False,
    ceilings: Mapping[str, Ceiling] | None = None,
) -> Noise:
    """Estimate what varies between two runs, from the cases of both.

    Args:
        base: case → its time in BASE.
        new: case → its time in NEW.
        paired: whether the rounds of the two runs were interleaved.
        ceilings: case → its ceilings, if shares of these are compared; the others are left out.
    """
    both = [case for case in base if case in new and (ceilings is None or case in ceilings)]
    own = [_own(base[case], new[case], paired=paired) for case in both]
    parts = [part for part in own if part]
    prior = fit_prior(parts) if parts else Prior(LONE**2, LONE_DF)
    start = Noise(prior, assumed=not parts, paired=paired)
    if paired:
        return start
    known = [difference(base[c], new[c], start, (ceilings or {}).get(c)) for c in both]
    differences = [each for each in known if each]
    common, spread = _random_effect(differences, MOST_SPREAD if parts else math.inf)
    return replace(start, common=common, spread=spread)


def _own(base: Timing, new: Timing, *, paired: bool) -> Part | None:
    """Return the variance of one process of a case, or of one round if the rounds are paired."""
    return pooled_variance([_ratios(base, new)] if paired else [base.logs, new.logs])


def _ratios(base: Timing, new: Timing) -> list[float]:
    return [now - old for old, now in zip(base.logs, new.logs, strict=False)]


def _random_effect(differences: Sequence[Difference], most: float) -> tuple[float, Part]:
    """Return the common change, and the variance of the cases about it that is not explained.

    The method is Paule and Mandel's (1982) with medians in place of sums: the variance is that at
    which the squared standardized changes have the median of F(1, df), less its standard error. So
    up to half of the cases may have changed without widening the intervals of all.
    """
    none = Part(0.0, math.inf)
    d = np.array([each.d for each in differences])
    if len(d) < FEWEST_SPREAD:
        return float(np.median(d)) if len(d) else 0.0, none
    common = float(np.median(d))
    variances = np.array([each.error**2 for each in differences])
    df = float(np.median([each.df for each in differences]))
    wanted = float(stats.f.ppf(stats.beta.ppf(LOW, (len(d) + 1) / 2, (len(d) + 1) / 2), 1, df))
    squares = (d - common) ** 2 * len(d) / (len(d) - 1)

    def excess(variance: float) -> float:
        return float(np.median(squares / (variances + variance))) - wanted

    if excess(0.0) <= 0:
        return common, none
    variance = optimize.brentq(excess, 0.0, float(np.max(squares)) / wanted)
    return common, Part(min(variance, most**2), len(d) - 1.0)


def difference(
    base: Timing, new: Timing, noise: Noise, ceiling: Ceiling | None = None
) -> Difference | None:
    """Compare one case.

    Args:
        base: its time in BASE.
        new: its time in NEW.
        noise: what varies between the two runs.
        ceiling: its ceilings, if shares of them (time x ceiling) are compared instead of times.

    Returns:
        The difference; None if neither rounds nor processes show its variance.
    """
    own = noise.prior.moderate(_own(base, new, paired=noise.paired))
    if noise.paired:
        ratios = _ratios(base, new)
        if len(ratios) < 2:
            return None
        return Difference(statistics.fmean(ratios), (own.times(1 / len(ratios)),))
    n_base, n_new = len(base.logs), len(new.logs)
    rounds: list[Part] = []
    if min(n_base, n_new) == 1:  # the medians of several processes contain what their rounds add
        if base.within is None or new.within is None:
            return None
        rounds = [Part(base.within, base.within_df), Part(new.within, new.within_df)]
    d = statistics.fmean(new.logs) - statistics.fmean(base.logs)
    parts = [own.times(1 / n_base + 1 / n_new), noise.spread, *rounds]
    if ceiling:
        d, parts = d + ceiling[0], [*parts, ceiling[1]]
    parts = [part for part in parts if part.variance > 0]
    share = sum(part.variance for part in rounds) / sum(part.variance for part in parts)
    bound = max(UNSEEN + base.moved(new), min(abs(noise.common), MOST_COMMON))
    return Difference(d, tuple(parts), bound, share)


def centred(run: Mapping[str, Timing]) -> dict[str, Timing]:
    """Return a run whose reference times are relative to their medians on each device."""
    known: dict[tuple[str, str], list[float]] = {}
    for t in run.values():
        for name, value in t.references.items():
            known.setdefault((t.device, name), []).append(value)
    centers = {key: statistics.median(values) for key, values in known.items()}

    def shifted(t: Timing, name: str) -> float | None:
        value = t.references.get(name)
        return None if value is None else value - centers[t.device, name]

    return {
        case: replace(t, reference=shifted(t, "reference"), memory=shifted(t, "memory"))
        for case, t in run.items()
    }
