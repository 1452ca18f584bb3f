"""Statistics of paired comparisons, on scipy.stats, and the interval of a mean over a text.

Three kinds of data have three units of replication. For losses of two variants it is the seed:
both variants run on the same seeds, and the statistics are those of the differences. For losses on
one text it is a block of neighbouring tokens. For times measured in turns it is a stretch of
neighbouring pairs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy

from gptcore.checks import as_array, as_row, check_number, check_whole

MAX_SIGN_FLIP_PAIRS = 20
"""The sign-flip test is exact: all 2^n sign patterns are enumerated, so more pairs are refused."""

RESAMPLES = 2000
RESAMPLED_AT_ONCE = 2**20  # blocks that are drawn at once, in whole resamples
FEWEST_BLOCKS = 4  # resamples of fewer blocks hardly differ from the text itself
FEWEST_PAIRS = 6
"""The fewest timed pairs with an interval: three blocks of two pairs, two degrees of freedom."""
TRIMMED = 0.25  # the share of the log-ratios that the trimmed mean leaves out at each end
MOST_STRETCHES = 8
"""With more pairs a stretch is longer, so it preserves dependence over a longer time."""
RESAMPLED_VALUES = 250_000  # with more pairs there are fewer resamples, but at least 200


@dataclass(frozen=True)
class PairedComparison:
    """A summary of the differences of n pairs.

    Attributes:
        n: the number of pairs.
        mean: the mean difference.
        sd: the standard deviation of the differences, with divisor n - 1.
        low: the lower end of the t interval of the mean.
        high: the upper end of that interval.
        p_value: the p-value of the exact two-sided sign-flip test, whose hypothesis is that the
            differences are symmetric about 0; it is at least 2 / 2^n.
        p_equivalence: the larger p-value of the two one-sided t tests (Schuirmann 1987); a small
            one shows that the mean lies within the margin.
        equal_low: the lower end of the interval that belongs to `p_equivalence`: its level is
            1 - 2 * 0.05, and it lies within the margin where `p_equivalence` < 0.05.
        equal_high: the upper end of that interval.
    """

    n: int
    mean: float
    sd: float
    low: float
    high: float
    p_value: float
    p_equivalence: float
    equal_low: float
    equal_high: float


def compare_pairs(
    differences: Sequence[float], *, margin: float, confidence: float = 0.95
) -> PairedComparison:
    """Compare two variants over paired differences.

    Args:
        differences: a - b for each pair, 2 to 20 pairs.
        margin: the largest mean difference that counts as equal, in the unit of the differences.
        confidence: the confidence level of the interval.

    Raises:
        ValueError: fewer than 2 or more than 20 pairs, a value that is not finite, or a margin
            that is not positive.
    """
    values = as_row("differences", differences)
    if not 2 <= values.size <= MAX_SIGN_FLIP_PAIRS:
        raise ValueError(f"{values.size} pairs: give 2 to {MAX_SIGN_FLIP_PAIRS} differences")
    margin = check_number("margin", margin, "(0, inf)")
    sd, n = float(values.std(ddof=1)), values.size
    error = sd / math.sqrt(n)
    mean, low, high = t_interval(values, confidence=confidence)
    _, equal_low, equal_high = t_interval(values, confidence=0.9)
    return PairedComparison(
        n=n,
        mean=mean,
        sd=sd,
        low=low,
        high=high,
        p_value=sign_flip_p(values),
        p_equivalence=_tost_p(mean, error, n - 1, margin),
        equal_low=equal_low,
        equal_high=equal_high,
    )


def detectable_difference(sd: float, n: int, *, n_tests: int = 1) -> float | None:
    """Return the mean difference that n pairs find in about 80 % of the cases, None for none.

    The p-value of `sign_flip_p` is at least 2 / 2^n. Where that, times the tests that `holm`
    adjusts for, is above 0.05, no difference of any size can be found. Otherwise the value is that
    of a t test at 0.05 / `n_tests`, which is close to the sign-flip test for normal differences.

    Args:
        sd: the standard deviation of the differences.
        n: the number of pairs.
        n_tests: the number of comparisons that are adjusted for.

    Raises:
        ValueError: a number is negative or none, or there is no pair or test.
    """
    sd, n = check_number("sd", sd, "[0, inf)"), check_whole("n", n)
    n_tests = check_whole("n_tests", n_tests)
    level = 0.05 / n_tests
    if 2.0 ** (1 - n) > level:
        return None
    quantiles = scipy.stats.t.ppf([1 - level / 2, 0.8], n - 1)
    return float(quantiles.sum()) * sd / math.sqrt(n)


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


def _tost_p(mean: float, error: float, degrees: int, margin: float) -> float:
    if error == 0:
        return 0.0 if abs(mean) < margin else 1.0
    return float(scipy.stats.t.sf((margin - abs(mean)) / error, degrees))


def sign_flip_p(differences: Sequence[float] | npt.NDArray[np.float64]) -> float:
    """Return the exact two-sided p-value of the mean over all 2^n sign patterns.

    The p-value is the share of patterns whose sum is at least as far from 0 as the observed sum.
    Sums that differ only by rounding count as equal.

    Raises:
        ValueError: the differences are not finite numbers, or more than MAX_SIGN_FLIP_PAIRS.
    """
    given = as_row("differences", differences)
    if given.size > MAX_SIGN_FLIP_PAIRS:
        raise ValueError(f"{given.size} pairs: give at most {MAX_SIGN_FLIP_PAIRS} differences")
    values = np.abs(given)
    sums = np.zeros(1)  # of every sign pattern so far: each value doubles their number
    for value in values:
        sums = np.concatenate([sums + value, sums - value])
    observed = abs(float(given.sum()))
    tolerance = 1e-12 * float(values.sum())
    return float(np.mean(np.abs(sums) >= observed - tolerance))


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


def mean_interval(
    losses: npt.NDArray[np.floating], *, block_len: int, seed: int = 0
) -> tuple[float, float] | None:
    """Return a 95 % interval of the mean of dependent values, by moving-block bootstrap.

    Künsch, Ann. Statist. 17 (1989): each resample joins random blocks of neighbouring values, which
    preserves the dependence inside a block. A block has `block_len` values, or n ** (1/3) if that
    is more; give at least the context length T. The ends of the interval are the 2.5 % and 97.5 %
    quantiles of the resampled means, shifted so that these are centred on the mean of `losses`.
    The interval describes this text, not other texts. With few blocks it is too narrow.

    Args:
        losses: (n,), in the order of the text.
        block_len: the smallest length of a block, at least 1.
        seed: the seed of the resampling.

    Returns:
        The lower and the upper end, or None if n is less than 4 blocks.
    """
    block_len, seed = check_whole("block_len", block_len), check_whole("seed", seed, at_least=0)
    losses = as_row("losses", losses)
    n = len(losses)
    length = max(block_len, math.ceil(n ** (1 / 3)))
    if n < FEWEST_BLOCKS * length:
        return None
    # The sum of any block is a difference of two cumulative sums.
    sums = np.concatenate([[0.0], np.cumsum(losses, dtype=np.float64)])
    n_full, rest = divmod(n, length)
    generator = np.random.default_rng(seed)
    lengths = np.array([length] * n_full + [rest])
    means = np.empty(RESAMPLES)
    for part in np.array_split(means, math.ceil(RESAMPLES * len(lengths) / RESAMPLED_AT_ONCE)):
        starts = generator.integers(0, n - length + 1, size=(len(part), len(lengths)))
        part[:] = (sums[starts + lengths] - sums[starts]).sum(axis=1) / n
    # Values near the ends of the text are in fewer blocks, so the resamples have another mean.
    expected_run = (sums[length:] - sums[:-length]).mean() / length
    ends = np.quantile(means - expected_run, [0.025, 0.975]) + sums[-1] / n
    return float(ends[0]), float(ends[1])


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
