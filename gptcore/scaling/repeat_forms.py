"""Three forms of what repeated text is worth to a model of one size, judged on held-out cells.

A cell has U unique tokens that are seen in D tokens, so R = D / U - 1 is the number of repetitions.
All forms have the law of fresh text L = E + B D^-beta. They differ in what repeats add to it:

- exponential: D' = U (1 + R_D (1 - exp(-R / R_D))) in place of D (Muennighoff et al. 2023,
  arXiv:2305.16264);
- bounded: D' = U (1 + R / (1 + R / R_D)), which has the same slope at 0 and the same bound, and
  comes to it more slowly;
- additive: C R^kappa is added to the loss, so that it may rise with the number of passes.

E, B and C are linear, so a fit is a linear least-squares fit of relative errors at each point of a
grid of the two other parameters. It has no starting point, and it finds no local minimum.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gptcore.paired import compare_pairs
from gptcore.stats import holm

Floats = npt.NDArray[np.float64]
FORMS = ("exponential", "bounded", "additive")
FEWEST_CELLS = 8  # the widest form has 5 parameters
BETA = np.geomspace(0.03, 2.0, 48)
WORTH = np.geomspace(0.1, 1000.0, 48)  # R_D
KAPPA = np.geomspace(0.1, 3.0, 48)


@dataclass(frozen=True)
class Judged:
    """How well one form predicts cells that it was not fitted to.

    Attributes:
        predicted: (n,) the loss of each cell, from a fit to all others.
        error: mean absolute relative error of these.
        error_most_passes: the same of the cells with the most passes, from a fit to all cells with
            fewer passes; None if too few are left.
        closest: the number of cells that no other form predicts better.
        p_adjusted: sign-flip test over the cells of the errors against those of the form with the
            least mean error, adjusted for all pairs of forms (Holm); None for that form itself.
    """

    predicted: Floats
    error: float
    error_most_passes: float | None
    closest: int
    p_adjusted: float | None


def judge(
    unique: Sequence[float], passes: Sequence[float], loss: Sequence[float]
) -> dict[str, Judged]:
    """Fit each form to all cells but one, in turn, and to those of fewer passes.

    Args:
        unique: (n,) U, tokens.
        passes: (n,) D / U, at least 1.
        loss: (n,) nats/token, means over seeds.

    Raises:
        ValueError: there are fewer than 8 cells, or a number is out of its range.
    """
    u, r, y = (np.asarray(each, dtype=np.float64) for each in (unique, passes, loss))
    if len(y) < FEWEST_CELLS:
        raise ValueError(f"{len(y)} cells: three forms of the law need at least {FEWEST_CELLS}")
    if not (u.min() > 0 and r.min() >= 1 and y.min() > 0):
        raise ValueError("cells need positive unique tokens and losses, and at least one pass")
    fewer = r < r.max()
    others = ~np.eye(len(y), dtype=bool)
    predicted, beyond = {}, dict[str, float | None]()
    for name in FORMS:
        columns = _columns(name, u / np.exp(np.log(u).mean()), r - 1) / y[:, None]
        told = [_fit(columns, kept)[i] for i, kept in enumerate(others)]
        predicted[name] = np.array(told)
        enough = fewer.sum() >= FEWEST_CELLS
        beyond[name] = _mean_error(_fit(columns, fewer)[~fewer]) if enough else None
    errors = {name: np.abs(each - 1) for name, each in predicted.items()}
    p_values, least = _against_best(errors), np.min(list(errors.values()), axis=0)
    return {
        name: Judged(
            predicted[name] * y,
            _mean_error(predicted[name]),
            beyond[name],
            int((error == least).sum()),
            p_values[name],
        )
        for name, error in errors.items()
    }


def _columns(name: str, u: Floats, repeats: Floats) -> Floats:
    """Return what E, B and C are multiplied by at each point of the grid: (points, n, 2 or 3)."""
    tokens = u * (1 + repeats) * np.ones((len(KAPPA), 1))
    if name != "additive":
        r = WORTH[:, None]
        more = -r * np.expm1(-repeats / r) if name == "exponential" else repeats / (1 + repeats / r)
        tokens = u * (1 + more)
    power = tokens ** -BETA[:, None, None]  # (beta, R_D or kappa, n)
    columns = [np.ones_like(power), power]
    if name == "additive":
        columns.append(np.broadcast_to(repeats ** KAPPA[:, None], power.shape))
    return np.stack(columns, axis=-1).reshape(-1, len(u), len(columns))


def _fit(columns: Floats, kept: npt.NDArray[np.bool_]) -> Floats:
    """Return all cells' predicted over measured loss, (n,), by the best fit to the kept ones.

    No coefficient may be negative: the last columns are left out where they would be.
    """
    best, found = np.inf, np.ones(columns.shape[1])
    for k in range(columns.shape[2], 0, -1):
        some = columns[:, kept, :k]
        squares = np.einsum("gnj,gnk->gjk", some, some) + 1e-12 * np.eye(k)
        theta = np.linalg.solve(squares, some.sum(axis=1)[..., None])
        errors = ((some @ theta)[..., 0] - 1) ** 2
        sums = np.where((theta[..., 0] >= 0).all(axis=1), errors.sum(axis=1), np.inf)
        if sums.min() < best:
            best, point = float(sums.min()), int(sums.argmin())
            found = (columns[point, :, :k] @ theta[point])[:, 0]
    return found


def _mean_error(ratios: Floats) -> float:
    return float(np.abs(ratios - 1).mean())


def _against_best(errors: dict[str, Floats]) -> dict[str, float | None]:
    best = min(errors, key=lambda name: float(errors[name].mean()))
    pairs = list(itertools.combinations(errors, 2))
    tested = holm([compare_pairs(list(errors[a] - errors[b])).p_value for a, b in pairs])
    by_pair = {frozenset(pair): p for pair, p in zip(pairs, tested, strict=True)}
    return {name: by_pair.get(frozenset((name, best))) for name in errors}
