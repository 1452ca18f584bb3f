"""Statistics of paired comparisons, on scipy.stats.

Two kinds of data have two units of replication. For losses of two variants it is the seed: both
variants run on the same seeds, and the statistics are those of the differences. For times measured
in turns it is a stretch of neighbouring pairs. Losses on one text are in `gptcore.intervals`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy

from gptcore.checks import as_array, as_row, check_number, check_whole

RESAMPLES = 2000
FEWEST_PAIRS = 6
"""The fewest timed pairs with an interval: three blocks of two pairs, two degrees of freedom."""
TRIMMED = 0.25  # the share of the log-ratios that the trimmed mean leaves out at each end
MOST_STRETCHES = 8
"""With more pairs a stretch is longer, so it preserves dependence over a longer time."""
RESAMPLED_VALUES = 250_000  # with more pairs there are fewer resamples, but at least 200


def t_interval(
    values: npt.NDArray[np.float64], *, confidence: float = 0.95
) -> tuple[float, float, float]:
    """Return the mean of independent `values` (n,) and the ends of Student's interval of it.

    Raises:
        ValueError: fewer than 2 values, or one is not finite.
    """
    values = as_row("values", values)
    confidence = check_number("confidence", confidence, "(0, 1)")
    if values.size < 2:
        raise ValueError(f"{values.size} values: give at least 2")
    mean, error = float(values.mean()), float(values.std(ddof=1)) / math.sqrt(values.size)
    half = float(scipy.stats.t.ppf((1 + confidence) / 2, values.size - 1)) * error
    return mean, mean - half, mean + half


def share_interval(
    wins: int, n: int, *, ties: int = 0, confidence: float = 0.95
) -> tuple[float, float]:
    """Return the exact interval of the probability of a win (Clopper and Pearson 1934).

    A tie is half a win. The interval allows for both cases: the lower end counts ties as losses,
    the upper end as wins.

    Args:
        wins: the number of wins in `n` independent trials.
        n: the number of trials, at least 1.
        ties: the number of trials that were neither won nor lost.
        confidence: the confidence level, which the interval holds at least.

    Raises:
        ValueError: a number is negative, or there are more wins and ties than trials.
    """
    n, wins = check_whole("n", n), check_whole("wins", wins, at_least=0)
    most = wins + check_whole("ties", ties, at_least=0)
    if most > n:
        raise ValueError(f"{wins} wins and {ties} ties of {n} trials: they must be at most {n}")
    tail = (1 - check_number("confidence", confidence, "(0, 1)")) / 2
    low = scipy.stats.beta.ppf(tail, wins, n - wins + 1) if wins else 0.0
    high = scipy.stats.beta.isf(tail, most + 1, n - most) if most < n else 1.0
    return float(low), float(high)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values adjusted for their number, in the same order (Holm 1979).

    Raises:
        ValueError: they are not finite numbers.
    """
    given = as_row("p-values", p_values)
    order = np.argsort(given, kind="stable")
    adjusted = np.maximum.accumulate(given[order] * (given.size - np.arange(given.size)))
    result = np.empty(given.size)
    result[order] = np.minimum(adjusted, 1.0)
    return [float(p) for p in result]


def verdict(ratio: float, low: float, high: float, *, margin: float) -> str:
    """Return the verdict on a ratio of times new / base, given its interval and a margin.

    Args:
        ratio: the estimated ratio.
        low: the lower end of its interval.
        high: the upper end of its interval.
        margin: the relative difference that counts as equal, for example 0.03.

    Returns:
        "slower" or "faster" (the ratio is beyond the margin and its interval excludes 1), "same"
        (the whole interval is within the margin) or "ambiguous" (neither).

    Raises:
        ValueError: the margin is negative or none, or another value is no number.
    """
    margin = check_number("margin", margin, "[0, inf)")
    ratio, low, high = map(float, as_array("ratios", [ratio, low, high], np.float64))
    if low > 1 and ratio > 1 + margin:
        return "slower"
    if high < 1 and ratio < 1 / (1 + margin):
        return "faster"
    return "same" if 1 / (1 + margin) <= low <= high <= 1 + margin else "ambiguous"


@dataclass(frozen=True)
class TimeRatio:
    """The ratio of the time of b to that of a, with its 95 % interval."""

    ratio: float
    low: float
    high: float


def ratio_of_pairs(
    a_time_s: Sequence[float], b_time_s: Sequence[float], a_first: Sequence[bool], *, seed: int = 0
) -> TimeRatio | None:
    """Return the ratio b / a of interleaved pairs with its 95 % block-bootstrap interval.

    The order alternates (AB, BA, AB, …). An effect of coming second, or a drift over the run, then
    shifts the log-ratios of one order up and those of the other down by the same amount. The
    estimate is the mean of the two orders' trimmed means, which leave out a quarter at each end:
    times have long upper tails, and up to a quarter of the pairs may be disturbed.

    The standard error comes from a circular block bootstrap (Politis and Romano 1992) over
    stretches of neighbouring pairs, because neighbours depend on each other. Percentile intervals
    of few stretches are too narrow. With k stretches the interval therefore uses Student's quantile
    for k - 1 degrees of freedom and the factor sqrt(k / (k - 1)), as Efron and Tibshirani (1993,
    chapter 12) advise for small samples. The interval describes a and b in this process only.

    Args:
        a_time_s: (n,), the time of a in each pair, in order.
        b_time_s: (n,), the time of b in each pair.
        a_first: (n,), whether a ran before b; the values must alternate.
        seed: the seed of the resampling.

    Returns:
        The ratio, or None for fewer than 6 pairs, which support no interval. If the number of
        pairs is odd, the last pair is left out.

    Raises:
        ValueError: the lengths differ, a time is not positive and finite, or the order does not
            alternate.
    """
    seed = check_whole("seed", seed, at_least=0)
    ratios = _log_ratios(a_time_s, b_time_s, a_first)
    n_blocks = ratios.shape[1]
    if 2 * n_blocks < FEWEST_PAIRS:
        return None
    centre = float(_trimmed_mean(ratios).mean())
    length = math.ceil(n_blocks / MOST_STRETCHES)
    k = n_blocks / length
    error = _bootstrap_error(ratios, length, seed) * math.sqrt(k / (k - 1))
    half = float(scipy.stats.t.ppf(0.975, k - 1)) * error
    return TimeRatio(*(math.exp(centre + shift) for shift in (0.0, -half, half)))


def log_ratio_of_pairs(
    a_time_s: Sequence[float], b_time_s: Sequence[float], a_first: Sequence[bool]
) -> float:
    """Return ln of the ratio that `ratio_of_pairs` estimates; two pairs are enough for it."""
    return float(_trimmed_mean(_log_ratios(a_time_s, b_time_s, a_first)).mean())


def _log_ratios(
    a_time_s: Sequence[float], b_time_s: Sequence[float], a_first: Sequence[bool]
) -> npt.NDArray[np.float64]:
    """Return (2, n // 2): ln(b / a) of the pairs AB and of the pairs BA, in order."""
    a, b = (as_array("times", times, np.float64) for times in (a_time_s, b_time_s))
    order = as_array("a_first", a_first, np.bool_)
    if not a.ndim == 1 or not a.shape == b.shape == order.shape:
        raise ValueError(f"{a.size} times of a, {b.size} of b, {order.size} orders: give n of each")
    if not (np.isfinite(a) & np.isfinite(b) & (a > 0) & (b > 0)).all():
        raise ValueError("a time is not positive and finite: time the pair again")
    if (order[1:] == order[:-1]).any():
        raise ValueError("the order of the pairs must alternate: AB, BA, AB, …")
    n_blocks = a.size // 2
    ratios: npt.NDArray[np.float64] = np.log(b[: 2 * n_blocks] / a[: 2 * n_blocks])
    return ratios.reshape(n_blocks, 2).T


def _trimmed_mean(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the mean over the last axis without TRIMMED of the values at each end."""
    n = values.shape[-1]
    cut = int(TRIMMED * n)
    ordered = np.partition(values, (cut, n - cut - 1))
    mean: npt.NDArray[np.float64] = ordered[..., cut : n - cut].mean(axis=-1)
    return mean


def _bootstrap_error(ratios: npt.NDArray[np.float64], length: int, seed: int) -> float:
    """Return the standard deviation of the estimate over circular block resamples.

    Args:
        ratios: (2, n), the log-ratios of the two orders.
        length: the length of a block.
        seed: the seed of the resampling.
    """
    n = ratios.shape[1]
    generator = np.random.default_rng(seed)
    resamples = min(max(RESAMPLED_VALUES // n, 200), RESAMPLES)
    estimates = []
    rows = max(1, RESAMPLED_VALUES // n)  # resamples made at a time, which bounds the memory
    for done in range(0, resamples, rows):
        shape = (min(rows, resamples - done), math.ceil(n / length), 1)
        blocks = (generator.integers(0, n, shape) + np.arange(length)) % n
        chosen = blocks.reshape(shape[0], -1)[:, :n]
        estimates.append(sum(_trimmed_mean(order[chosen]) for order in ratios) / 2)
    return float(np.concatenate(estimates).std(ddof=1))
