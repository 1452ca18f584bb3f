"""Paired comparisons of training runs: one test, and the intervals that belong to it.

The unit is a seed: both variants run on the same seeds, and the statistics are those of the
differences d_1 … d_n. The test flips signs (Fisher 1935). If two variants are alike, exchanging
their labels within a pair changes nothing, so that each d_i is as likely as -d_i, however skewed
or heavy-tailed the losses are. Flipping the signs of the pairs in a set A moves the sum to or
beyond its other side exactly where the mean over A is at most 0. The means over all sets A are
therefore the ends of the intervals that belong to the test (Hartigan, "Using subsample values as
typical values", JASA 64, 1969): they hold the centre of symmetric differences exactly.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy

from gptcore.checks import as_row, check_number
from gptcore.stats import share_interval, t_interval

MAX_EXACT_PAIRS = 20
"""Up to 20 pairs all 2^n sets are enumerated; with more, DRAWN_SETS of them are used."""
DRAWN_SETS = 2**17
"""The empty set, drawn sets, and the complements of all these. A test of drawn sets holds its level
exactly if the observed pattern counts as one of them (Phipson and Smyth 2010); so do Hartigan's
intervals."""
SETS_SEED = 0
LEVEL = 0.05
"""A claim is made where its adjusted p-value is at most this."""
FAR = 5.0
"""A pair is far from the others beyond 5 robust standard deviations from their median. The usual
3.5 (Iglewicz and Hoaglin, "How to detect and handle outliers", 1993) is for larger samples: it
flags 14 % of samples of eight normal values, and 5 flags 4 %."""
Sets = tuple[npt.NDArray[np.float64], npt.NDArray[np.intp]]
"""The sum of the differences over each set of pairs, and its size."""


@dataclass(frozen=True)
class PairedComparison:
    """A summary of the differences of n pairs; an end is None where n pairs bound nothing.

    Attributes:
        n: the number of pairs.
        mean: the mean difference.
        sd: the standard deviation of the differences, with divisor n - 1.
        low, high: the interval of the mean that belongs to the sign-flip test: at 95 %, it excludes
            0 exactly where `p_value` is at most 0.05.
        t_low, t_high: Student's interval of the mean.
        median: the median difference.
        median_low, median_high: its interval from order statistics, which holds for differences of
            any distribution with at least the confidence level.
        share_below: the share of pairs whose difference is below 0; a difference of 0 counts half.
            It estimates the probability that of one more pair the first has the lower value.
        share_low, share_high: the exact interval of that probability (`stats.share_interval`).
        p_value: the two-sided p-value of the sign-flip test; it is at least 2 / 2^n, or 2 / 2^17
            where sets are drawn.
        p_equivalence: the larger p-value of the two one-sided sign-flip tests against the margin
            (Schuirmann 1987); None without a margin.
        equal_low, equal_high: the interval that belongs to `p_equivalence`: its level is
            1 - 2 * 0.05, and it lies within the margin exactly where `p_equivalence` is at most
            0.05.
        far: the places in `differences` of pairs that lie far from the median.
    """

    n: int
    mean: float
    sd: float
    low: float | None
    high: float | None
    t_low: float
    t_high: float
    median: float
    median_low: float | None
    median_high: float | None
    share_below: float
    share_low: float
    share_high: float
    p_value: float
    p_equivalence: float | None
    equal_low: float | None
    equal_high: float | None
    far: tuple[int, ...]

    @property
    def tests_disagree(self) -> bool:
        """Whether exactly one of the sign-flip test and the t test excludes 0."""
        flips = self.low is not None and self.high is not None and not self.low <= 0 <= self.high
        return flips == (self.t_low <= 0 <= self.t_high)


def compare_pairs(
    differences: Sequence[float], *, margin: float | None = None, confidence: float = 0.95
) -> PairedComparison:
    """Compare two variants over paired differences.

    Args:
        differences: a - b for each pair, at least 2.
        margin: the largest mean difference that counts as equal, in the unit of the differences;
            None if there is none, and no equality to claim.
        confidence: the confidence level of the intervals.

    Raises:
        ValueError: fewer than 2 pairs, a value that is not finite, or a margin that is not
            positive.
    """
    values = as_row("differences", differences)
    if values.size < 2:
        raise ValueError(f"{values.size} pairs: give at least 2 differences")
    if margin is not None:
        margin = check_number("margin", margin, "(0, inf)")
    mean, t_low, t_high = t_interval(values, confidence=confidence)
    sets = _sets(values)
    low, high = _set_interval(sets, check_number("confidence", confidence, "(0, 1)"))
    equal_low, equal_high = _set_interval(sets, 1 - 2 * LEVEL)
    median, median_low, median_high = median_interval(values, confidence=confidence)
    below, ties = int((values < 0).sum()), int((values == 0).sum())
    share_low, share_high = share_interval(below, values.size, ties=ties, confidence=confidence)
    return PairedComparison(
        n=values.size,
        mean=mean,
        sd=float(values.std(ddof=1)),
        low=low,
        high=high,
        t_low=t_low,
        t_high=t_high,
        median=median,
        median_low=median_low,
        median_high=median_high,
        share_below=(below + ties / 2) / values.size,
        share_low=share_low,
        share_high=share_high,
        p_value=_set_p(values, sets),
        p_equivalence=None if margin is None else _equivalence_p(values, sets, margin),
        equal_low=equal_low,
        equal_high=equal_high,
        far=_far(values),
    )


def sign_flip_p(differences: Sequence[float] | npt.NDArray[np.float64]) -> float:
    """Return the two-sided p-value of the mean of differences that are symmetric about 0.

    The p-value is the share of sign patterns whose sum is at least as far from 0 as the observed
    sum: of all 2^n patterns up to 20 pairs, of 2^17 of them beyond. Sums that differ only by
    rounding count as equal.

    Raises:
        ValueError: the differences are not finite numbers.
    """
    values = as_row("differences", differences)
    return _set_p(values, _sets(values))


def sign_flip_interval(
    differences: Sequence[float] | npt.NDArray[np.float64], *, confidence: float = 0.95
) -> tuple[float | None, float | None]:
    """Return the shifts that the two-sided sign-flip test does not reject (Hartigan 1969).

    Its ends are the k-th lowest and the k-th highest mean over a set of pairs, where k / 2^n is the
    level of one side. Both are None where n pairs are too few for any end (5 at 95 %).

    Raises:
        ValueError: the differences are not finite numbers.
    """
    values = as_row("differences", differences)
    return _set_interval(_sets(values), check_number("confidence", confidence, "(0, 1)"))


def median_interval(
    values: npt.NDArray[np.float64], *, confidence: float = 0.95
) -> tuple[float, float | None, float | None]:
    """Return the median of `values` (n,) and two of them that bound it whatever the distribution.

    The ends are order statistics: the number of values below the median is binomial (the sign
    test). They are None where n values are too few for any end (5 at 95 %).
    """
    ordered, n = np.sort(values), len(values)
    # The most values that may lie beyond each end: the binomial tail of fewer has less than the
    # level of one side.
    rank = int(scipy.stats.binom.ppf((1 - confidence) / 2, n, 0.5))
    ends = (float(ordered[rank - 1]), float(ordered[n - rank])) if rank else (None, None)
    return float(np.median(values)), *ends


def _sets(values: npt.NDArray[np.float64]) -> Sets:
    """Return the sum over each set of pairs, and its size; the first set is the empty one."""
    sums, counts = np.zeros(1), np.zeros(1, dtype=np.intp)
    if values.size <= MAX_EXACT_PAIRS:
        for value in values:  # each value doubles the number of sets
            sums, counts = (
                np.concatenate([sums, sums + value]),
                np.concatenate([counts, counts + 1]),
            )
        return sums, counts
    generator, half = np.random.default_rng(SETS_SEED), DRAWN_SETS // 2
    sums, counts = np.zeros(DRAWN_SETS), np.zeros(DRAWN_SETS, dtype=np.intp)
    for value in values:
        inside = generator.integers(0, 2, half, dtype=np.int8)
        inside[0] = 0
        inside = np.concatenate([inside, 1 - inside])
        sums += inside * value
        counts += inside
    return sums, counts


def _set_p(values: npt.NDArray[np.float64], sets: Sets) -> float:
    total = float(values.sum())
    tolerance = 1e-12 * float(np.abs(values).sum())
    return float(np.mean(np.abs(total - 2 * sets[0]) >= abs(total) - tolerance))


def _set_interval(sets: Sets, confidence: float) -> tuple[float | None, float | None]:
    sums, counts = sets
    k = math.floor((1 - confidence) / 2 * sums.size + 1e-9)
    if k < 1:
        return None, None
    means = sums[counts > 0] / counts[counts > 0]
    ordered = np.partition(means, (k - 1, means.size - k))
    return float(ordered[k - 1]), float(ordered[means.size - k])


def _equivalence_p(values: npt.NDArray[np.float64], sets: Sets, margin: float) -> float:
    """Return the larger one-sided p-value of the tests that the centre is -margin or +margin."""
    sums, counts = sets
    slack = 1e-12 * (float(np.abs(values).sum()) + margin * values.size)
    # A set is as extreme as the observed signs where its mean is on the other side of the margin.
    above = float(np.mean(sums <= -margin * counts + slack))
    below = float(np.mean(sums >= margin * counts - slack))
    return max(above, below)


def _far(values: npt.NDArray[np.float64]) -> tuple[int, ...]:
    distances = np.abs(values - np.median(values))
    scale = 1.4826 * float(np.median(distances))
    return tuple(int(i) for i in np.flatnonzero(distances > FAR * scale)) if scale else ()
