"""Statistics of paired comparisons, on scipy.stats, and the interval of a mean over a text.

The unit of replication is a seed: two variants run on the same seeds, and everything is computed
on the differences of their losses. Inside one text it is a run of neighbouring tokens.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from gptcore.tokens import check_whole

MAX_SIGN_FLIP_PAIRS = 20
"""2^20 sign patterns are enumerated in a blink; more pairs are refused, not sampled."""

RESAMPLES = 2000
FEWEST_BLOCKS = 4  # below that, a resampled text is little more than the text itself


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
    if not 0 < margin < math.inf:
        raise ValueError(f"margin is {margin}: give a positive number")
    mean, sd, n = float(values.mean()), float(values.std(ddof=1)), values.size
    error = sd / math.sqrt(n)
    half = float(stats.t.ppf((1 + confidence) / 2, n - 1)) * error
    return PairedComparison(
        n=n,
        mean=mean,
        sd=sd,
        low=mean - half,
        high=mean + half,
        p_value=sign_flip_p(values),
        p_equivalence=_tost_p(mean, error, n - 1, margin),
    )


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
