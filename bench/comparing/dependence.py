"""How the runs of a history may depend on each other, and what the data say about it.

A shape is the covariance of the runs of one case, up to its scale. Runs close in time are alike: a
disturbance of the machine fades over some runs (autoregression of order 1), or its speed wanders (a
random walk below independent noise). A short history cannot tell these from a step by estimating
one number, so a step has to stand out under every shape that the data leave plausible (Berger and
Boos, J. Am. Statist. Assoc. 89, 1994).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy import special

Values = npt.NDArray[np.float64]
Positions = tuple[int, ...]

FEWEST_AFTER = 3
"""One or two runs may be outliers, so a level needs three runs."""
IMPLAUSIBLE = 0.1
"""A shape is left out where its probability is below this share of the most probable one's."""
PRIOR_CASES = 0.5
"""Each shape counts as if this many other cases had it, so that a few cases exclude none."""


def _fading(correlation: float) -> Callable[[Values], Values]:
    return lambda at: correlation ** np.abs(at[:, None] - at)


def _wandering(step: float) -> Callable[[Values], Values]:
    """Return noise of variance 1 on a random walk whose steps have standard deviation `step`."""
    return lambda at: np.eye(len(at)) + step**2 * np.minimum(at[:, None], at)


SHAPES = {
    "independent": _fading(0.0),
    "fading 0.3": _fading(0.3),
    "fading 0.6": _fading(0.6),
    "wandering 0.25": _wandering(0.25),
    "wandering 0.35": _wandering(0.35),
}
"""Under these a step of some size can be told from chance."""
TOO_STRONG = {"fading 0.9": _fading(0.9), "wandering 1": _wandering(1.0)}
"""Under these a lasting change is nothing unusual."""


@dataclass(frozen=True)
class Design:
    """What a shape makes of a history of n runs, once its runs are made independent (whitened).

    Attributes:
        whiten: (n, n), the matrix that makes the runs independent, with variance 1.
        flat: (n,), the direction of a constant level.
        changes: (K, n), the direction of every change of level, orthogonal to `flat`.
        sizes: (K,), the length of a change of 1.
        places: (K, 2), the first run of the changed level, and the first run after it.
        lasting: the number of changes that last to the end; they come first.
        log_volume: what the determinants add to the restricted log-likelihood.
    """

    whiten: Values
    flat: Values
    changes: Values
    sizes: Values
    places: npt.NDArray[np.int64]
    lasting: int
    log_volume: float


def changes_of(n: int) -> npt.NDArray[np.int64]:
    """Return (begin, end) of the changes of level that are tried in n runs.

    The first ones last to the end. The others come back (Olshen et al., Biostatistics 5, 2004);
    their lengths grow by the root of 2, and they are shifted by a quarter of their length (Kovács
    et al., Biometrika 110, 2023).
    """
    least, found = FEWEST_AFTER, []
    length = float(least)
    while round(length) <= n - 2 * least:
        size = round(length)
        found += [(b, b + size) for b in range(least, n - least - size + 1, max(1, size // 4))]
        length *= 2**0.5
    return np.array([(b, n) for b in range(least, n - least + 1)] + found)


@lru_cache(maxsize=256)
def design(shape: str, positions: Positions) -> Design:
    """Return the design of a shape for the runs at `positions`, counted from 0."""
    covariance = (SHAPES | TOO_STRONG)[shape](np.array(positions, dtype=np.float64))
    whiten = np.linalg.inv(np.linalg.cholesky(covariance))
    n, places = len(positions), changes_of(len(positions))
    flat = whiten.sum(axis=1)
    length = float(np.linalg.norm(flat))
    flat = flat / length
    inside = (places[:, :1] <= np.arange(n)) & (np.arange(n) < places[:, 1:])
    changes = inside.astype(np.float64) @ whiten.T
    changes -= np.outer(changes @ flat, flat)
    sizes = np.linalg.norm(changes, axis=1)
    volume = float(np.log(np.diag(whiten)).sum() - np.log(length))
    lasting = n - 2 * FEWEST_AFTER + 1
    return Design(whiten, flat, changes / sizes[:, None], sizes, places, lasting, volume)


def residuals(model: Design, values: Values) -> Values:
    """Return whitened `values` without their level."""
    white: Values = model.whiten @ values
    return white - model.flat * (model.flat @ white)


def evidence(shape: str, positions: Positions, values: Values, *, steps: bool) -> float:
    """Return the log-likelihood of a shape with level and scale unknown (REML).

    With `steps`, it is the mean of two models: no change, and one change at an unknown place, whose
    size has a unit-information prior (Zellner's g = n). A step then does not pass for dependence.
    """
    model, n = design(shape, positions), len(values)
    rest = residuals(model, values)
    power, total = -(n - 1) / 2, float(rest @ rest)
    level = float(power * np.log(total))
    if steps:
        left = total - n / (n + 1) * (model.changes @ rest) ** 2
        change = special.logsumexp(power * np.log(left)) - np.log(len(left)) - np.log1p(n) / 2
        level = float(np.logaddexp(level, change) - np.log(2))
    return model.log_volume + level


def plausible(
    series: Sequence[tuple[Positions, Values]], independent: float
) -> npt.NDArray[np.bool_]:
    """Return which shapes the data of each case leave plausible, (shapes, cases).

    The other cases tell how common each shape is (empirical Bayes, a mixture fitted by EM); they
    count as `independent` cases, because cases of the same runs are disturbed by the same things.
    """
    log = np.array([[evidence(name, *case, steps=True) for case in series] for name in SHAPES])
    likelihood = np.exp(log - log.max(axis=0))
    share, worth = np.full((len(SHAPES), 1), 1 / len(SHAPES)), independent / len(series)
    for _ in range(30):
        belief = likelihood * share
        belief /= belief.sum(axis=0)
        share = PRIOR_CASES + worth * belief.sum(axis=1, keepdims=True)
        share /= share.sum()
    others = PRIOR_CASES + worth * (belief.sum(axis=1, keepdims=True) - belief)
    belief = likelihood * others
    kept: npt.NDArray[np.bool_] = belief >= IMPLAUSIBLE * belief.max(axis=0)
    return kept


def is_too_strong(positions: Positions, values: Values, levels: Values, cuts: int) -> bool:
    """Return whether stronger dependence explains a series better than SHAPES and its steps do.

    Each step costs 3/2 ln n (the modified BIC of Zhang and Siegmund, Biometrics 63, 2007). A factor
    of 3 in probability decides, as Kass and Raftery (J. Am. Statist. Assoc. 90, 1995) advise.

    Args:
        positions: the runs, counted from 0.
        values: (n,), ln of times.
        levels: (n,), the levels between the steps that were found.
        cuts: the number of these steps.
    """
    stronger = max(evidence(name, positions, values, steps=False) for name in TOO_STRONG)
    inside = max(evidence(name, positions, values - levels, steps=not cuts) for name in SHAPES)
    return bool(stronger > inside - 1.5 * cuts * np.log(len(values)) + np.log(3))
