"""The interval of a median, and quantiles, without an assumption about the distribution."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy import stats

from gptcore.checks import check_number


def median_interval(times_s: Sequence[float]) -> tuple[float, float] | None:
    """Return the 95 % interval of the median by order statistics; None below 6 rounds.

    No distribution is assumed: the probability that the true median lies below the k-th smallest
    round is that of fewer than k heads in n tosses of a coin.

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
