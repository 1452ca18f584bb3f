"""How much of a loss's variance each factor of training brings: initial weights, order, test part.

Runs are fully crossed: every level of a factor meets every level of all others, once (Bouthillier
et al. 2021, arXiv:2103.03098, on the sources of variance of a benchmark). The model is the
random-effects analysis of variance without replication. With two factors,

    loss[i, j] = mean + a[i] + b[j] + e[i, j],

where e holds what both factors do together and what is left over, which single runs cannot tell
apart. With more factors there is a term for every set of factors, and the term of all of them holds
the rest.

The mean square of a set of factors estimates a sum of variances, so each variance is a sum of mean
squares with signs. The estimates have no bias and can lie below 0. The intervals are generalised
confidence intervals (Weerahandi, "Generalized confidence intervals", JASA 88, 1993): each mean
square is divided by a draw of chi-squared over its degrees of freedom, and the quantiles of what
follows are the ends. They suppose that all effects are normal.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy

from gptcore.checks import as_array, check_number
from gptcore.paired import LEVEL
from gptcore.power import POWER

DRAWS, DRAWS_SEED = 20_000, 0
"""Draws behind an interval; the same ones each time, so that an interval can be computed again."""
Factors = tuple[str, ...]
Axes = tuple[int, ...]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Component:
    """The part of the variance that one set of factors brings beyond what each of them does alone.

    Attributes:
        factors: the set; that of all factors holds the rest as well.
        levels: the number of levels of each of these.
        variance: its estimate without bias, in squared units of the loss; it can lie below 0, which
            says that these runs show none of it.
        sd: the square root of `variance`, 0 where that is below 0.
        low, high: the interval of the standard deviation.
        share: `variance` over the sum of all variances, those below 0 counted as 0; None where all
            runs are alike.
        share_low, share_high: the interval of the share.
        detectable: the standard deviation that a test of this factor finds in 80 % of the cases at
            the 5 % level, if that of the rest is as estimated; None for the rest itself, for more
            than two factors, and where the rest shows no variance.
    """

    factors: Factors
    levels: tuple[int, ...]
    variance: float
    sd: float
    low: float
    high: float
    share: float | None
    share_low: float | None
    share_high: float | None
    detectable: float | None


def variance_components(
    losses: npt.ArrayLike, factors: Sequence[str], *, confidence: float = 0.95
) -> list[Component]:
    """Return the variance that each set of factors brings, single factors first.

    Args:
        losses: one run for each combination of levels; axis i of the array is that of factor i.
        factors: the names of the axes, two or more.
        confidence: the confidence level of the intervals.

    Raises:
        ValueError: the number of axes is not that of the factors, a factor has one level, or a loss
            is not finite.
    """
    values = _checked(losses, factors)
    tail = (1 - check_number("confidence", confidence, "(0, 1)")) / 2
    means = _mean_squares(values)
    parts = np.array([_variances(means, axes, values.shape) for axes in means])
    kept = parts.clip(min=0)
    total = kept.sum(axis=0)
    shares = np.divide(kept, total, out=np.full_like(kept, math.nan), where=total > 0)
    return [
        Component(
            factors=tuple(factors[i] for i in axes),
            levels=tuple(values.shape[i] for i in axes),
            variance=float(parts[row, 0]),
            sd=math.sqrt(kept[row, 0]),
            low=_quantile(np.sqrt(kept[row, 1:]), tail),
            high=_quantile(np.sqrt(kept[row, 1:]), 1 - tail),
            **_share_of(shares[row], tail),
            detectable=_detectable(axes, values.shape, kept[-1, 0]),
        )
        for row, axes in enumerate(means)
    ]


def _checked(losses: npt.ArrayLike, factors: Sequence[str]) -> Floats:
    values: Floats = as_array("losses", losses, np.float64)
    if values.ndim != len(factors) or values.ndim < 2 or min(values.shape) < 2:
        raise ValueError(
            f"losses of shape {values.shape} for {len(factors)} factors: give one axis for each of "
            "two or more factors, and at least 2 levels of each"
        )
    if not np.isfinite(values).all():
        raise ValueError("a loss is not finite: train that run again, or leave out its whole level")
    return values


def _mean_squares(values: Floats) -> dict[Axes, Floats]:
    """Return set of axes → its mean square, followed by DRAWS values that it is as likely to be."""
    rng = np.random.default_rng(DRAWS_SEED)
    found = {}
    for n in range(1, values.ndim + 1):
        for axes in itertools.combinations(range(values.ndim), n):
            degrees = math.prod(values.shape[i] - 1 for i in axes)
            divisors = np.append(degrees, rng.chisquare(degrees, DRAWS))
            found[axes] = _sum_of_squares(values, axes) / divisors
    return found


def _sum_of_squares(values: Floats, axes: Axes) -> float:
    """Return the sum of squares of the effect of these axes beyond those of fewer of them."""
    effect = values
    for axis in range(values.ndim):
        mean = effect.mean(axis=axis, keepdims=True)
        effect = effect - mean if axis in axes else mean
    return float((effect**2).sum()) * values.size / effect.size


def _variances(means: dict[Axes, Floats], axes: Axes, shape: tuple[int, ...]) -> Floats:
    """Return the variance of a set of axes from the mean squares of all sets that contain it."""
    others = math.prod(n for i, n in enumerate(shape) if i not in axes)
    signed = [
        (-1) ** (len(more) - len(axes)) * mean for more, mean in means.items() if {*axes} <= {*more}
    ]
    return np.sum(signed, axis=0) / others  # type: ignore[no-any-return]


def _share_of(shares: Floats, tail: float) -> dict[str, float | None]:
    if not np.isfinite(shares[0]):
        return dict.fromkeys(("share", "share_low", "share_high"))
    return {
        "share": float(shares[0]),
        "share_low": _quantile(shares[1:], tail),
        "share_high": _quantile(shares[1:], 1 - tail),
    }


def _quantile(values: Floats, q: float) -> float:
    return float(np.quantile(values, q))


def _detectable(axes: Axes, shape: tuple[int, ...], rest: float) -> float | None:
    """Return the standard deviation of a factor that its F test finds in 80 % of the cases."""
    if len(shape) > 2 or len(axes) > 1 or not rest:
        return None
    above, below = shape[axes[0]] - 1, math.prod(n - 1 for n in shape)
    # F is (1 + n * variance / rest) times a draw of F, where n runs share a level.
    needed = scipy.stats.f.isf(LEVEL, above, below) / scipy.stats.f.isf(POWER, above, below)
    return math.sqrt((needed - 1) * rest * shape[axes[0]] / math.prod(shape))
