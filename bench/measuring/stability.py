"""Can a time be believed? Each case is stable, noisy or drifting, with the reason and a remedy.

"noisy": rounds differ so much that their median is not known well. "drifting": the time depends on
when it was measured, so that no number of rounds makes one time of it. Everything here is a pure
function of the times; ranks and medians are used throughout, because times have long upper tails.

A case of independent rounds is called drifting by chance in at most 2 % (trend) + 2 % (level) + 1 %
(processes) of cases, whatever their distribution. An effect must also be large enough to matter:
at least TREND, LEVEL or DISAGREEMENT, below.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
from scipy import stats

from gptcore.checks import check_number

Floats = npt.NDArray[np.float64]

FEWEST_ROUNDS = 5
"""Of fewer, no order of the times is rare and their range is no interval worth the name."""
HALF_WIDTH = 0.05
"""Of the 95 % interval of the median, over the median. It is the slowdown that a comparison of two
runs has to find; an interval as wide as that finds nothing."""
ROBUST_CV = 0.10
"""1.4826 * median absolute deviation over the median. Matrix products on an idle machine stay below
3 %; with another program on half the cores they reach 10 % and more."""
OUTLIER = 1.5
"""A round of more than this times the median was interrupted …"""
OUTLIER_SHARE = 0.05
"""… and this share of such rounds, two at least, says that interruptions are the rule."""
TREND_P, LEVEL_P, PROCESS_P = 0.02, 0.02, 0.01
"""At five rounds the smallest p of a trend is 2 / 5! = 0.017, so that a lower threshold would
never see one; together they stay at 5 %."""
TREND, LEVEL = 0.05, 0.05
"""Smallest change over the rounds that matters: no more is asked of their median."""
DISAGREEMENT = 0.05
"""Between process medians: up to 5 % from one process to the next is usual (memory layout)."""
REFERENCE = 0.05
"""Change of the fixed matrix product. It explains what the rounds show and decides nothing: on
shared machines its level was seen to jump by 25 % every few seconds, which rounds average."""
NULL_SIZE = 20_000  # orders drawn for the level test: at p = 0.02 its error is 0.001


@dataclass(frozen=True)
class Stability:
    """A verdict on one case.

    Attributes:
        verdict: "stable", "noisy" or "drifting"; drifting where both hold.
        reasons: one sentence each, with the number.
        remedies: what a person can do, in the order of the reasons, each once.
    """

    verdict: str
    reasons: tuple[str, ...] = ()
    remedies: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Sign:
    """One thing found."""

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
        times_s: every round of the main process, in order.
        warmup_s: the calls before them; they explain a fall, and decide nothing.
        reference_s: time of a fixed matrix product [before, after] the case; it explains what the
            rounds show, and decides nothing.
        load_before: load average before, for the advice.
        load_after: the same after.
        cores: CPUs that could be used, for the advice.
        process_time_s: median of each process, the main one first.
        process_rounds: fewest rounds behind one of these medians; as many as `times_s` if None.

    Raises:
        ValueError: a time is not positive and finite, or there is none.
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
    if reference_s is not None and signs:  # it explains, and decides nothing
        signs += _reference(_checked(reference_s, "reference"), busy)
    return Stability(
        verdict,
        tuple(sign.reason for sign in signs),
        tuple(dict.fromkeys(sign.remedy for sign in signs)),
    )


def median_interval(times_s: Sequence[float]) -> tuple[float, float] | None:
    """Return the 95 % interval of the median by order statistics; None below 6 rounds.

    No distribution is assumed: the median of what is measured lies below the k-th smallest round
    with the chance that fewer than k of n coins show heads.

    Returns:
        The k-th smallest and k-th largest round, k being the largest for which the interval still
        holds the median with a chance of at least 95 %.
    """
    rank = int(stats.binom.ppf(0.025, len(times_s), 0.5))
    if rank < 1:
        return None
    ordered = sorted(times_s)
    return ordered[rank - 1], ordered[-rank]


def quantile(times_s: Sequence[float], q: float) -> float | None:
    """Return the q-quantile (linear between rounds), or None where the rounds cannot show it.

    The rule: with a chance of 95 %, at least one round lies beyond the quantile, on its outer side.
    That takes n >= ln 0.05 / ln max(q, 1 - q) rounds: 59 for q = 0.95, 299 for q = 0.99.

    Raises:
        ValueError: q is not between 0 and 1.
    """
    check_number("q", q, "(0, 1)")
    if len(times_s) < math.log(0.05) / math.log(max(q, 1 - q)):
        return None
    return float(np.quantile(np.asarray(times_s, dtype=np.float64), q))


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
    """Return low, high and confidence for the median: at five rounds their range, at 93.75 %."""
    found = median_interval(times.tolist())
    if found:
        return *found, 0.95
    return float(times.min()), float(times.max()), 1 - 2.0 ** (1 - times.size)


def _spread(times: Floats, busy: str) -> list[_Sign]:
    """Return what is wrong with the rounds as a heap."""
    n, median = times.size, float(np.median(times))
    if n < FEWEST_ROUNDS:
        reason = f"{n} rounds cannot show how much rounds differ: {FEWEST_ROUNDS} are the fewest"
        return [_Sign("noisy", reason, "run longer (--suite=study) or give the case more rounds")]
    signs = []
    low, high, confidence = _interval(times)
    half = (high - low) / 2 / median
    if half > HALF_WIDTH:
        reason = (
            f"the median of {n} rounds is known to ±{_percent(half)} only "
            f"({100 * confidence:.3g} % interval); at most ±{_percent(HALF_WIDTH)} is wanted"
        )
        remedy = "run longer (--suite=study): four times the rounds halve the interval"
        signs.append(_Sign("noisy", reason, remedy))
    cv = 1.4826 * float(np.median(np.abs(times - median))) / median
    if cv > ROBUST_CV:
        wanted = f"at most {_percent(ROBUST_CV)} is wanted"
        reason = f"rounds spread over {_percent(cv)} (robust CV; {wanted})"
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
    """Return a trend or a change of level, whichever describes the rounds better."""
    if times.size < FEWEST_ROUNDS:
        return []
    found = [sign for sign in (_trend(times), _level(times)) if sign]
    if not found:
        return []
    _, direction, reason = min(found)
    if direction == "falls":
        calls = f" (it ended after {warmup_rounds} calls)" if warmup_rounds else ""
        return [_Sign("drifting", reason, f"warm up longer{calls}, or run the case again")]
    if direction == "rises":
        remedy = "let the machine cool, or fix the CPU governor to performance"
        return [_Sign("drifting", reason, remedy)]
    remedy = "something began or ended in between: see what, and measure again"
    return [_Sign("drifting", reason, remedy)]


def _trend(times: Floats) -> tuple[float, str, str] | None:
    """Return misfit, direction and reason of a trend, None without one.

    Mann-Kendall's test, exact for few rounds, and Theil-Sen's line; the misfit is the sum of the
    distances from it.
    """
    rounds = np.arange(times.size, dtype=np.float64)
    p = float(stats.kendalltau(rounds, times).pvalue)
    if not p <= TREND_P:  # nan where all rounds are equal
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
    """Return misfit, "steps" and reason of one change of level, None without one.

    Pettitt, Appl. Statist. 28 (1979): the largest |U| over all places of the step, U being the sum
    of the ranks before it less its expectation. The p-value is the share of random orders that
    reach as much, so it holds for any distribution of independent rounds. The misfit is the sum of
    the distances from the medians before and after, at the place where that is least.
    """
    u = np.abs(_rank_sums(stats.rankdata(times)[None]))[0]
    null = _level_null(times.size)
    p = float((1 + np.sum(null >= u.max() - 1e-9)) / (1 + null.size))
    if p > LEVEL_P:
        return None
    # The ranks find that there is a step; the place that fits best is where it is.
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
    """Return whether processes differ by more than their own rounds explain.

    The largest difference of two of k medians is compared with its standard error, taken from the
    interval of the main process and widened for medians of fewer rounds, by a t test for all
    k (k - 1) / 2 pairs (Bonferroni).
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
    if share <= DISAGREEMENT or spread <= allowed:
        return []
    reason = (
        f"{k} processes differ by {_percent(share, 1)}, and their rounds explain "
        f"{_percent(allowed / float(np.median(medians)), 1)} at most"
    )
    remedy = "pin the threads (leave OMP_NUM_THREADS unset) and compare more processes"
    return [_Sign("drifting", reason, remedy)]


def _reference(reference: Floats, busy: str) -> list[_Sign]:
    """Return whether the machine itself changed while the case ran."""
    change = float(reference[-1] / reference[0]) - 1
    if max(change, 1 / (1 + change) - 1) <= REFERENCE:
        return []
    word = "slower" if change > 0 else "faster"
    reason = (
        f"a fixed matrix product was {_percent(abs(change), 1)} {word} after the case than before: "
        "the machine changed"
    )
    return [_Sign("drifting", reason, busy)]
