"""What paired runs can find: the smallest p-value of a design, and the power of its two tests.

The tests are those of `gptcore.paired`: sign flips for a difference, and two one-sided sign flips
for equality to within a margin. The level of a claim is 0.05 over the number of claims of the
experiment, at which Holm's procedure begins.
"""

from __future__ import annotations

import functools
import math

import numpy as np
import numpy.typing as npt
import scipy

from gptcore.checks import check_number, check_whole
from gptcore.paired import DRAWN_SETS, LEVEL, MAX_EXACT_PAIRS, SETS_SEED

POWER = 0.8
MOST_SIMULATED_PAIRS, SIMULATED = 12, 4000
"""Up to 12 pairs power is simulated, with 4,000 samples; with more, it is that of a t test."""


def smallest_p(n: int, n_claims: int) -> float:
    """Return the smallest p-value that n pairs can reach, adjusted for `n_claims` by Holm.

    Raises:
        ValueError: there is no pair or claim.
    """
    n, n_claims = check_whole("n", n), check_whole("n_claims", n_claims)
    least = 2.0 ** (1 - n) if n <= MAX_EXACT_PAIRS else 2 / DRAWN_SETS
    return min(1.0, n_claims * least)


def pairs_needed(n_claims: int) -> int:
    """Return the fewest pairs whose `smallest_p` is at most 0.05.

    Raises:
        ValueError: there is no claim.
    """
    return math.ceil(1 + math.log2(check_whole("n_claims", n_claims) / LEVEL))


def check_design(n: int, n_claims: int) -> None:
    """Refuse an experiment that can find no difference of any size.

    Raises:
        ValueError: the smallest adjusted p-value of n pairs is above 0.05.
    """
    least = smallest_p(n, n_claims)
    if least > LEVEL:
        raise ValueError(
            f"{n} paired seeds and {n_claims} claims can find no difference of any size: the "
            f"smallest adjusted p-value is {least:.2g}, above {LEVEL:g}; give at least "
            f"{pairs_needed(n_claims)} seeds, or make fewer claims"
        )


def detectable_difference(sd: float, n: int, *, n_tests: int = 1) -> float | None:
    """Return the mean difference that n pairs find in about 80 % of the cases, None for none.

    The value is that of the sign-flip test at 0.05 / `n_tests`, the level at which Holm's procedure
    begins, for normal differences.

    Args:
        sd: the standard deviation of the differences.
        n: the number of pairs.
        n_tests: the number of claims that are adjusted for.

    Raises:
        ValueError: a number is negative or none, or there is no pair or test.
    """
    sd, n = check_number("sd", sd, "[0, inf)"), check_whole("n", n)
    n_tests = check_whole("n_tests", n_tests)
    return None if smallest_p(n, n_tests) > LEVEL else sd * _detectable_sds(n, LEVEL / n_tests)


def detectable_margin(sd: float, n: int, *, n_tests: int = 1) -> float | None:
    """Return the margin to which n pairs of alike variants are shown equal in about 80 % of cases.

    The value is that of the two one-sided sign-flip tests at 0.05 / `n_tests`, for normal
    differences with the mean 0. It is None for a design that `check_design` refuses, because it has
    no verdict, although the one-sided tests need one pair fewer.

    Args:
        sd: the standard deviation of the differences.
        n: the number of pairs.
        n_tests: the number of claims that are adjusted for.

    Raises:
        ValueError: a number is negative or none, or there is no pair or test.
    """
    sd, n = check_number("sd", sd, "[0, inf)"), check_whole("n", n)
    n_tests = check_whole("n_tests", n_tests)
    if smallest_p(n, n_tests) > LEVEL:
        return None
    return sd * _detectable_margin_sds(n, LEVEL / n_tests)


@functools.cache
def _detectable_sds(n: int, level: float) -> float:
    """Return the detectable difference in standard deviations.

    Few pairs have few p-values, so the test is coarser than a t test at its level. There the power
    is simulated: the test rejects where few enough sets have a mean on the other side of 0.
    """
    if n > MOST_SIMULATED_PAIRS:
        beyond, scale = scipy.stats.t.isf(level / 2, n - 1), math.sqrt(n)
        return float(
            scipy.optimize.brentq(
                lambda sds: scipy.stats.nct.sf(beyond, n - 1, sds * scale) - POWER, 0.0, 10.0
            )
        )
    # A shift is found where it moves the k-th lowest mean over a set of pairs above 0.
    return float(-np.quantile(_simulated_ends(n, level / 2)[:, 0], 1 - POWER))


@functools.cache
def _detectable_margin_sds(n: int, level: float) -> float:
    """Return the detectable margin in standard deviations.

    Equality is shown where the interval that belongs to its test lies within the margin.
    """
    if n > MOST_SIMULATED_PAIRS:  # Student's interval
        rng, draws = np.random.default_rng(SETS_SEED), 100 * SIMULATED
        means = rng.standard_normal(draws) / math.sqrt(n)
        errors = np.sqrt(rng.chisquare(n - 1, draws) / (n - 1) / n)
        reached = abs(means) + scipy.stats.t.isf(level, n - 1) * errors
    else:
        reached = abs(_simulated_ends(n, level)).max(axis=1)
    return float(np.quantile(reached, POWER))


@functools.cache
def _simulated_ends(n: int, level: float) -> npt.NDArray[np.float64]:
    """Return the interval's ends (SIMULATED, 2) of n normal differences, `level` on each side."""
    noise = np.random.default_rng(SETS_SEED).standard_normal((SIMULATED, n))
    sets = ((np.arange(1, 2**n)[:, None] >> np.arange(n)) & 1).astype(np.float64)
    sets /= sets.sum(axis=1, keepdims=True)
    k = math.floor(level * 2**n + 1e-9)
    ends = (k - 1, len(sets) - k)
    return np.array([np.partition(sets @ row, ends)[list(ends)] for row in noise])
