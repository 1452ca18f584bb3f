"""Statistics of paired comparisons, on scipy.stats, and the interval of a mean over a text.

The unit of replication is a seed: two variants run on the same seeds, and everything is computed
on the differences of their losses. Inside one text it is a run of neighbouring tokens; of times
taken in turns it is a stretch of neighbouring pairs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from gptcore.checks import check_number, check_whole

MAX_SIGN_FLIP_PAIRS = 20
"""2^20 sign patterns are enumerated in a blink; more pairs are refused, not sampled."""

RESAMPLES = 2000
FEWEST_BLOCKS = 4  # below that, a resampled text is little more than the text itself

FEWEST_PAIRS = 6
"""Of timings: three blocks of two pairs, and two degrees of freedom."""
TRIMMED = 0.25
"""Share of the log-ratios that is left out at each end."""
MOST_STRETCHES = 8
"""A stretch of neighbouring pairs is an eighth of all: the more pairs, the longer the dependence
that it can hold."""
RESAMPLED_VALUES = 250_000
"""More pairs are resampled less often (never below 200 times), so that time stays bounded."""


@dataclass(frozen=True)
class PairedComparison:
    """The differences of n pairs, summed up.

    Attributes:
        n: number of pairs.
        mean: mean difference.
        sd: standard deviation of the differences, divisor n - 1.
        low: lower end of the t interval for the mean.
        high: its upper end.
        p_value: exact two-sided sign-flip test of "the differences are symmetric about 0"; its
            smallest possible value is 2 / 2^n.
        p_equivalence: two one-sided t tests (Schuirmann 1987): the larger p; small means that the
            mean lies within the margin.
    """

    n: int
    mean: float
    sd: float
    low: float
    high: float
    p_value: float
    p_equivalence: float


def compare_pairs(
    differences: Sequence[float], *, margin: float, confidence: float = 0.95
) -> PairedComparison:
    """Compare two variants over paired differences.

    Args:
        differences: a - b for each pair, at least two.
        margin: greatest mean difference that counts as none, in the unit of the differences.
        confidence: of the interval.

    Raises:
        ValueError: fewer than 2 or more than 20 pairs, a value that is not finite, or a margin
            that is not positive.
    """
    values = np.asarray(differences, dtype=np.float64)
    if values.ndim != 1 or not 2 <= values.size <= MAX_SIGN_FLIP_PAIRS:
        raise ValueError(f"{values.size} pairs: give 2 to {MAX_SIGN_FLIP_PAIRS} differences")
    if not np.isfinite(values).all():
        raise ValueError("a difference is not finite: leave out runs that diverged, and say so")
    check_number("margin", margin, "(0, inf)")
    sd, n = float(values.std(ddof=1)), values.size
    error = sd / math.sqrt(n)
    mean, low, high = t_interval(values, confidence=confidence)
    return PairedComparison(
        n=n,
        mean=mean,
        sd=sd,
        low=low,
        high=high,
        p_value=sign_flip_p(values),
        p_equivalence=_tost_p(mean, error, n - 1, margin),
    )


def t_interval(
    values: npt.NDArray[np.float64], *, confidence: float = 0.95
) -> tuple[float, float, float]:
    """Return the mean of independent `values` (n,) and the ends of Student's interval of it.

    Raises:
        ValueError: fewer than 2 values, or one is not finite.
    """
    if values.ndim != 1 or values.size < 2 or not np.isfinite(values).all():
        raise ValueError(f"values of shape {values.shape}: give a row of at least 2, all finite")
    mean, error = float(values.mean()), float(values.std(ddof=1)) / math.sqrt(values.size)
    half = float(stats.t.ppf((1 + confidence) / 2, values.size - 1)) * error
    return mean, mean - half, mean + half


def _tost_p(mean: float, error: float, degrees: int, margin: float) -> float:
    if error == 0:
        return 0.0 if abs(mean) < margin else 1.0
    return float(stats.t.sf((margin - abs(mean)) / error, degrees))


def sign_flip_p(differences: Sequence[float] | npt.NDArray[np.float64]) -> float:
    """Return the exact two-sided p-value of the mean over all 2^n sign patterns.

    A pattern as extreme as the one seen, up to rounding, counts as such.
    """
    values = np.abs(np.asarray(differences, dtype=np.float64))
    sums = np.zeros(1)
    for value in values:
        sums = np.concatenate([sums + value, sums - value])
    observed = abs(float(np.sum(differences)))
    tolerance = 1e-12 * float(values.sum())
    return float(np.mean(np.abs(sums) >= observed - tolerance))


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values adjusted for their number, in the same order (Holm 1979)."""
    order = np.argsort(p_values, kind="stable")
    factors = len(p_values) - np.arange(len(p_values))
    adjusted = np.maximum.accumulate(np.asarray(p_values, dtype=np.float64)[order] * factors)
    result = np.empty(len(p_values))
    result[order] = np.minimum(adjusted, 1.0)
    return [float(p) for p in result]


def verdict(ratio: float, low: float, high: float, *, margin: float) -> str:
    """Say what a ratio of times new / base with its interval means, given a margin.

    Args:
        ratio: the estimate.
        low: lower end of its interval.
        high: its upper end.
        margin: relative difference that counts as none, as in 0.03.

    Returns:
        "slower", "faster", "same" (the whole interval lies within the margin) or "ambiguous".
    """
    if low > 1 and ratio > 1 + margin:
        return "slower"
    if high < 1 and ratio < 1 / (1 + margin):
        return "faster"
    return "same" if 1 / (1 + margin) <= low <= high <= 1 + margin else "ambiguous"


def mean_interval(
    losses: npt.NDArray[np.floating], *, block_len: int, seed: int = 0
) -> tuple[float, float] | None:
    """Return a 95 % interval of the mean of dependent values, by moving-block bootstrap.

    Künsch, Ann. Statist. 17 (1989): texts are rebuilt from random runs of neighbouring values, so
    that the dependence inside a run is kept. A run is `block_len` values, which has to be at least
    the context length T, or n ** (1/3) where that is more. The interval is the 2.5 % and 97.5 %
    quantiles, moved so that its resamples are centred on the mean of `losses`. It is about this
    text, not about other texts, and with few runs it is too narrow.

    Args:
        losses: (n,), in the order of the text.
        block_len: fewest values in a run, at least 1.
        seed: of the resampling.

    Returns:
        Lower and upper end, or None when n is less than 4 runs.
    """
    check_whole("block_len", block_len)
    check_whole("seed", seed, at_least=0)
    n = len(losses)
    length = max(block_len, math.ceil(n ** (1 / 3)))
    if n < FEWEST_BLOCKS * length:
        return None
    sums = np.concatenate([[0.0], np.cumsum(losses, dtype=np.float64)])
    n_full, rest = divmod(n, length)
    generator = np.random.default_rng(seed)
    starts = generator.integers(0, n - length + 1, size=(RESAMPLES, n_full + 1))
    lengths = np.array([length] * n_full + [rest])
    means = (sums[starts + lengths] - sums[starts]).sum(axis=1) / n
    expected_run = (sums[length:] - sums[:-length]).mean() / length
    ends = np.quantile(means - expected_run, [0.025, 0.975]) + sums[-1] / n
    return float(ends[0]), float(ends[1])


@dataclass(frozen=True)
class TimeRatio:
    """How many times as long b takes as a, with its 95 % interval."""

    ratio: float
    low: float
    high: float


def ratio_of_pairs(
    a_time_s: Sequence[float], b_time_s: Sequence[float], a_first: Sequence[bool], *, seed: int = 0
) -> TimeRatio | None:
    """Return the ratio b / a of interleaved pairs with its 95 % block-bootstrap interval.

    The order alternates (AB, BA, AB, …), so that what makes the second of a pair slower, and a
    drift over the run, shift the log-ratios of one order up and of the other down by as much. The
    estimate is the mean of the two orders' trimmed means, a quarter left out at each end: times
    have long upper tails, and a quarter of the pairs may be disturbed. Its standard error comes
    from a circular block bootstrap (Politis and Romano 1992) over stretches of neighbouring
    pairs, which depend on each other; the interval takes Student's quantile for k - 1 degrees of
    freedom and the factor sqrt(k / (k - 1)), k being the number of stretches (as Efron and
    Tibshirani 1993 advise for small samples, chapter 12). Percentile intervals of so few
    are too narrow. It covers the time of these two in this process, not in others.

    Args:
        a_time_s: (n,), time of a in each pair, in order.
        b_time_s: (n,), the same of b.
        a_first: (n,), whether a ran before b; the values must alternate.
        seed: of the resampling.

    Returns:
        The ratio, or None below 6 pairs, which support no interval. An odd last pair is left out.

    Raises:
        ValueError: the lengths differ, a time is not positive and finite, or the order does not
            alternate.
    """
    check_whole("seed", seed, at_least=0)
    a, b = (np.asarray(times, dtype=np.float64) for times in (a_time_s, b_time_s))
    order = np.asarray(a_first, dtype=np.bool_)
    if not a.ndim == 1 or not a.shape == b.shape == order.shape:
        raise ValueError(f"{a.size} times of a, {b.size} of b, {order.size} orders: give as many")
    if not (np.isfinite(a) & np.isfinite(b) & (a > 0) & (b > 0)).all():
        raise ValueError("a time is not positive and finite: time the pair again")
    if (order[1:] == order[:-1]).any():
        raise ValueError("the order of the pairs must alternate: AB, BA, AB, …")
    if a.size < FEWEST_PAIRS:
        return None
    n_blocks = a.size // 2
    # (2, n_blocks): the log-ratios of either order, in time.
    ratios = np.log(b[: 2 * n_blocks] / a[: 2 * n_blocks]).reshape(n_blocks, 2).T
    centre = float(_trimmed_mean(ratios).mean())
    length = math.ceil(n_blocks / MOST_STRETCHES)
    k = n_blocks / length
    error = _bootstrap_error(ratios, length, seed) * math.sqrt(k / (k - 1))
    half = float(stats.t.ppf(0.975, k - 1)) * error
    return TimeRatio(*(math.exp(centre + shift) for shift in (0.0, -half, half)))


def _trimmed_mean(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the mean over the last axis without TRIMMED of the values at each end."""
    n = values.shape[-1]
    cut = int(TRIMMED * n)
    ordered = np.partition(values, (cut, n - cut - 1))
    mean: npt.NDArray[np.float64] = ordered[..., cut : n - cut].mean(axis=-1)
    return mean


def _bootstrap_error(ratios: npt.NDArray[np.float64], length: int, seed: int) -> float:
    """Return the standard deviation of the estimate over texts of circular blocks.

    Args:
        ratios: (2, n), log-ratios of either order.
        length: of a block.
        seed: of the resampling.
    """
    n = ratios.shape[1]
    generator = np.random.default_rng(seed)
    resamples = min(max(RESAMPLED_VALUES // n, 200), RESAMPLES)
    estimates = []
    rows = max(1, RESAMPLED_VALUES // n)  # at a time: memory stays bounded, too
    for done in range(0, resamples, rows):
        shape = (min(rows, resamples - done), math.ceil(n / length), 1)
        blocks = (generator.integers(0, n, shape) + np.arange(length)) % n
        chosen = blocks.reshape(shape[0], -1)[:, :n]
        estimates.append(sum(_trimmed_mean(order[chosen]) for order in ratios) / 2)
    return float(np.concatenate(estimates).std(ddof=1))
