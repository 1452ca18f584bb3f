"""Judges whether the time of a case is reliable: stable, noisy or drifting, with a remedy.

"noisy" means that rounds differ so much that their median is not known well. "drifting" means that
the time depends on when it was measured, so that more rounds do not help. All functions here depend
on the times alone. They use ranks and medians, because times have long upper tails.

If rounds are independent, a case is called drifting by chance in at most 5 % of cases, whatever the
distribution: 2 % by the trend, 2 % by the level and 1 % by the processes. The effect must also be
large enough to matter: at least TREND, LEVEL or DISAGREEMENT.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
from scipy import stats

from bench.measuring.order_statistics import median_interval

Floats = npt.NDArray[np.float64]

FEWEST_ROUNDS = 5
"""With fewer rounds no order is rare, and their range is not an interval of the median."""
HALF_WIDTH = 0.05
"""Largest half width of the 95 % interval of the median, over the median. A comparison of two runs
has to find slowdowns of this size, which a wider interval does not show."""
ROBUST_CV = 0.10
"""Largest robust coefficient of variation: 1.4826 * median absolute deviation over the median. For
matrix products it is below 3 % on an idle machine, and above 10 % if another program uses half of
the cores."""
OUTLIER = 1.5
"""A round that takes more than this times the median is an outlier."""
OUTLIER_SHARE = 0.05
"""Largest share of outliers; a single outlier is always allowed."""
TREND_P, LEVEL_P, PROCESS_P = 0.02, 0.02, 0.01
"""Largest p-values of an effect. The smallest p of a trend over five rounds is 2 / 5! = 0.017, so a
lower threshold could never find one."""
TREND, LEVEL = 0.05, 0.05
"""Smallest change over the rounds that matters; it equals the allowed error of the median."""
DISAGREEMENT = 0.05
"""Smallest difference between process medians that matters: memory layout causes up to 5 %."""
REFERENCE = 0.05
"""Smallest change of the reference product that is reported. It is an explanation only and does not
change the verdict: on shared machines it can jump by 25 % every few seconds, while rounds average
over such jumps."""
NULL_SIZE = 20_000  # orders drawn for the level test: at p = 0.02 its error is 0.001


@dataclass(frozen=True)
class Stability:
    """The verdict on one case.

    Attributes:
        verdict: "stable", "noisy" or "drifting"; "drifting" if both hold.
        reasons: one sentence each, with its number.
        remedies: what a person can do, in the order of the reasons, without repetition.
    """

    verdict: str
    reasons: tuple[str, ...] = ()
    remedies: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Sign:
    """One reason for a verdict other than "stable"."""

    kind: str
    reason: str
    remedy: str


def stability(
    times_s: Sequence[float],
    *,
    warmup_s: Sequence[float] | None = None,
    reference_s: Sequence[float] | None = None,
    load_before: float | None = None,
    load_after: float | None = None,
    cores: int | None = None,
    process_time_s: Sequence[float] | None = None,
    process_rounds: int | None = None,
) -> Stability:
    """Judge the rounds of one case.

    Args:
        times_s: seconds of every round, in order; of several processes with equal medians.
        warmup_s: seconds of the warm-up calls, which may explain a fall of the times.
        reference_s: seconds of the reference product, first before and last after the case, which
            may explain what the rounds show.
        load_before: load average before the case, for the remedy.
        load_after: load average after the case, for the remedy.
        cores: number of CPUs that could be used, for the remedy.
        process_time_s: median seconds of each process.
        process_rounds: fewest rounds behind one of these medians; None for as many as `times_s`.

    Raises:
        ValueError: there is no time, or one that is not positive and finite.
    """
    times = _checked(times_s, "round")
    busy = _busy(load_before, load_after, cores)
    signs = [
        *_spread(times, busy),
        *_order(times, len(warmup_s) if warmup_s else 0),
    ]
    if process_time_s is not None:
        medians = _checked(process_time_s, "process")
        signs += _processes(times, medians, process_rounds or times.size)
    kinds = {sign.kind for sign in signs}
    verdict = "drifting" if "drifting" in kinds else "noisy" if kinds else "stable"
    if reference_s is not None and signs:  # an explanation, which does not change the verdict
        signs += _reference(_checked(reference_s, "reference"), busy)
    return Stability(
        verdict,
        tuple(sign.reason for sign in signs),
        tuple(dict.fromkeys(sign.remedy for sign in signs)),
    )


def _checked(values: Sequence[float], name: str) -> Floats:
    times = np.asarray(values, dtype=np.float64)
    if times.ndim != 1 or not times.size:
        raise ValueError(f"no {name} was timed: give one time in seconds for each")
    if not (np.isfinite(times) & (times > 0)).all():
        worst = times[~(np.isfinite(times) & (times > 0))][0]
        raise ValueError(f"a {name} took {worst} s: a time must be positive and finite")
    return times


def _percent(share: float, digits: int = 0) -> str:
    return f"{100 * share:.{digits}f} %"


def _busy(before: float | None, after: float | None, cores: int | None) -> str:
    """Say what else a person should stop; the load average holds the load of this run, too."""
    known = [
        f"{when} was {load:.1f}"
        for when, load in (("before", before), ("after", after))
        if load is not None
    ]
    if not known:
        return "close other programs and measure again"
    on = f" on {cores} cores" if cores else ""
    return f"close other programs: load {' and '.join(known)}{on} (this run's own is part of it)"


def _interval(times: Floats) -> tuple[float, float, float]:
    """Return low, high and confidence for the median; for five rounds, their range (93.75 %)."""
    interval = median_interval(times.tolist())
    if interval:
        return *interval, 0.95
    return float(times.min()), float(times.max()), 1 - 2.0 ** (1 - times.size)


def _spread(times: Floats, busy: str) -> list[_Sign]:
    """Return what is wrong with the spread of the rounds, without their order."""
    n, median = times.size, float(np.median(times))
    if n < FEWEST_ROUNDS:
        reason = (
            f"{n} rounds cannot show how much rounds differ: at least {FEWEST_ROUNDS} are needed"
        )
        return [_Sign("noisy", reason, "run longer (--suite=study) or give the case more rounds")]
    signs = []
    low, high, confidence = _interval(times)
    half = (high - low) / 2 / median
    if half > HALF_WIDTH:
        reason = (
            f"the median of {n} rounds is known only to ±{_percent(half, 1)} "
            f"({100 * confidence:.3g} % interval); it should be at most ±{_percent(HALF_WIDTH)}"
        )
        remedy = "run longer (--suite=study): four times the rounds halve the interval"
        signs.append(_Sign("noisy", reason, remedy))
    cv = 1.4826 * float(np.median(np.abs(times - median))) / median
    if cv > ROBUST_CV:
        reason = (
            f"the robust coefficient of variation of the rounds is {_percent(cv)}; it should be at "
            f"most {_percent(ROBUST_CV)}"
        )
        signs.append(_Sign("noisy", reason, busy))
    slow = int(np.sum(times > OUTLIER * median))
    if slow >= 2 and slow > OUTLIER_SHARE * n:
        worst = float(times.max()) / median
        reason = (
            f"{slow} of {n} rounds took more than {OUTLIER:g} times the median, the slowest "
            f"{worst:.1f} times"
        )
        signs.append(_Sign("noisy", reason, busy))
    return signs


def _order(times: Floats, warmup_rounds: int) -> list[_Sign]:
    """Return a trend or a change of level, whichever fits the rounds better."""
    if times.size < FEWEST_ROUNDS:
        return []
    fits = [fit for fit in (_trend(times), _level(times)) if fit]
    if not fits:
        return []
    _, direction, reason = min(fits)
    if direction == "falls":
        calls = f" (it ended after {warmup_rounds} calls)" if warmup_rounds else ""
        return [_Sign("drifting", reason, f"warm up longer{calls}, or run the case again")]
    if direction == "rises":
        remedy = "let the machine cool, or fix the CPU governor to performance"
        return [_Sign("drifting", reason, remedy)]
    remedy = "find out what started or ended on the machine in between, and measure again"
    return [_Sign("drifting", reason, remedy)]


def _trend(times: Floats) -> tuple[float, str, str] | None:
    """Return misfit, direction and reason of a trend, or None if there is no trend.

    The test is Mann-Kendall's (exact for few rounds), and the line is Theil-Sen's. The misfit is
    the sum of the distances from the line.
    """
    rounds = np.arange(times.size, dtype=np.float64)
    p = float(stats.kendalltau(rounds, times).pvalue)
    if not p <= TREND_P:  # NaN if all rounds are equal
        return None
    slope, intercept, _, _ = stats.theilslopes(times, rounds)
    change = float(slope * (times.size - 1) / np.median(times))
    if abs(change) <= TREND:
        return None
    direction = "rises" if change > 0 else "falls"
    reason = (
        f"the time {direction} by {_percent(abs(change), 1)} over {times.size} rounds "
        f"(Mann-Kendall p = {p:.2g})"
    )
    return float(np.abs(times - intercept - slope * rounds).sum()), direction, reason


def _level(times: Floats) -> tuple[float, str, str] | None:
    """Return misfit, "steps" and reason of one change of level, or None if there is none.

    The statistic is Pettitt's (Appl. Statist. 28, 1979): the largest |U| over all places of the
    step, where U is the sum of the ranks before it less its expectation. The p-value is the share
    of random orders with at least this statistic, so it holds for any distribution of independent
    rounds. The misfit is the sum of the distances from the medians before and after the step, at
    the place where that sum is smallest.
    """
    u = np.abs(_rank_sums(stats.rankdata(times)[None]))[0]
    null = _level_null(times.size)
    p = float((1 + np.sum(null >= u.max() - 1e-9)) / (1 + null.size))
    if p > LEVEL_P:
        return None
    # The ranks show that there is a step; its place is where the misfit is smallest.
    misfit, place = min((_misfit(times, place), place) for place in range(1, times.size))
    before, after = times[:place], times[place:]
    change = float(np.median(after) / np.median(before)) - 1
    if abs(change) <= LEVEL:
        return None
    reason = (
        f"from round {before.size + 1} of {times.size} on the time is {_percent(abs(change), 1)} "
        f"{'slower' if change > 0 else 'faster'} (change of level, p = {p:.2g})"
    )
    return misfit, "steps", reason


def _misfit(times: Floats, place: int) -> float:
    return sum(float(np.abs(part - np.median(part)).sum()) for part in np.split(times, [place]))


def _rank_sums(ranks: Floats) -> Floats:
    """Return the centred sums of the first 1 … n - 1 ranks; (orders, n) → (orders, n - 1)."""
    n = ranks.shape[1]
    sums: Floats = np.cumsum(ranks - (n + 1) / 2, axis=1)[:, :-1]
    return sums


@cache
def _level_null(n: int) -> Floats:
    """Return the statistic of NULL_SIZE random orders of n rounds."""
    generator = np.random.default_rng(n)
    parts = []
    for _ in range(NULL_SIZE // 1_000):  # a thousand at a time: 200 rounds take 1.6 MB
        ranks = np.tile(np.arange(1.0, n + 1), (1_000, 1))
        parts.append(np.abs(_rank_sums(generator.permuted(ranks, axis=1))).max(axis=1))
    return np.concatenate(parts)


def _processes(times: Floats, medians: Floats, rounds: int) -> list[_Sign]:
    """Return a sign if processes differ by more than the spread of their rounds explains.

    Processes that differ by less are noisy, where their medians lie so far apart that the median
    of the case is not known to HALF_WIDTH.

    A t test, adjusted for all k (k - 1) / 2 pairs (Bonferroni), compares the largest difference of
    two of the k medians with its standard error. The standard error comes from the interval of the
    rounds and is larger for medians of fewer rounds.
    """
    k, n = medians.size, times.size
    if k < 2 or n < FEWEST_ROUNDS:
        return []
    low, high, confidence = _interval(times)
    error = (high - low) / 2 / float(stats.norm.ppf((1 + confidence) / 2))
    error *= math.sqrt(n / min(n, rounds))
    spread = float(medians.max() - medians.min())
    share = spread / float(np.median(medians))
    allowed = float(stats.t.isf(PROCESS_P / (k * (k - 1)), n - 1)) * math.sqrt(2) * error
    if spread <= allowed:
        if share <= 2 * HALF_WIDTH:
            return []
        reason = (
            f"the medians of {k} processes lie {_percent(share, 1)} apart; they should lie at most "
            f"{_percent(2 * HALF_WIDTH)} apart"
        )
        return [_Sign("noisy", reason, "measure more processes (--suite=study)")]
    if share <= DISAGREEMENT:
        return []
    reason = (
        f"{k} processes differ by {_percent(share, 1)}, but their rounds explain at most "
        f"{_percent(allowed / float(np.median(medians)), 1)}"
    )
    remedy = "pin the threads (leave OMP_NUM_THREADS unset) and compare more processes"
    return [_Sign("drifting", reason, remedy)]


def _reference(reference: Floats, busy: str) -> list[_Sign]:
    """Return a sign if the machine itself changed while the case ran."""
    change = float(reference[-1] / reference[0]) - 1
    if max(change, 1 / (1 + change) - 1) <= REFERENCE:
        return []
    word = "slower" if change > 0 else "faster"
    reason = (
        f"a fixed matrix product was {_percent(abs(change), 1)} {word} after the case than before: "
        "the machine changed"
    )
    return [_Sign("drifting", reason, busy)]
