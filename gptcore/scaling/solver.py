"""The optimiser of scaling laws: starts by variable projection, then Newton steps for many fits.

L(N, D) = E + A / N^alpha + B / D^beta. N and D are divided by pivots (their geometric means N0 and
D0), so that a = A / N0^alpha and b = B / D0^beta are losses, as E is, and the five unknowns have
similar scales. `polish` improves K fits of M points at once: the same points from several starts,
with a parameter held, or with other weights (a bootstrap). `solve` puts both parts together.

Shapes: theta (K, 5) holds E, a, b, alpha and beta; x = ln(N / N0), z = ln(D / D0) and log_loss are
(M,).
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

DELTA = 1e-3  # where Huber's loss of ln L turns linear
NAMES = ("E", "A", "B", "alpha", "beta")
EXPONENTS = (0.01, 3.0)
LOWER = np.array([0.0, 0.0, 0.0, EXPONENTS[0], EXPONENTS[0]])
UPPER = np.array([np.inf, np.inf, np.inf, EXPONENTS[1], EXPONENTS[1]])
ALL = np.ones(5, dtype=np.bool_)

GRID = np.geomspace(0.02, 2.5, 28)
MAX_STEPS = 300
STILL = 6  # a fit ends after so many steps in which the objective does not fall
AT_ONCE = 2**15  # the most values in one (K, M) array, so that a few of them stay in the cache


@dataclass(frozen=True)
class Data:
    """The points that the solver fits: ln(N / N0), ln(D / D0) and ln L, each (M,)."""

    x: Floats
    z: Floats
    log_loss: Floats


def log_prediction(theta: Floats, x: Floats, z: Floats) -> Floats:
    """Return ln L, (K, M)."""
    e, a, b, alpha, beta = (theta[:, i, None] for i in range(5))
    with np.errstate(over="ignore", divide="ignore"):
        return np.log(e + a * np.exp(-alpha * x) + b * np.exp(-beta * z))


def huber_sum(residuals: Floats, weights: Floats, delta: float) -> Floats:
    """Return the weighted sum of Huber's loss over the last axis.

    Huber's loss of r is r^2 / 2 up to |r| = delta, and delta (|r| - delta / 2) beyond.
    """
    size = np.abs(residuals)
    inside = np.minimum(size, delta)
    with np.errstate(invalid="ignore"):
        return np.asarray((weights * inside * (size - inside / 2)).sum(axis=-1))


def project(data: Data, usable: Mask) -> list[Floats]:
    """Return starts: the local minima over a grid of exponents, each with its best E, a, b >= 0.

    For given exponents the problem is linear least squares with E, a, b >= 0. It is solved exactly
    by trying the seven sets of positive coefficients. Residuals are relative to the loss.

    Args:
        data: the points.
        usable: (3,) which of E, a and b may be positive.

    Returns:
        Up to four starts, (5,), the best first.
    """
    # The three columns of the design, divided by the loss: 1, N^-alpha and D^-beta.
    scaled = np.exp(-data.log_loss)
    p = np.exp(-np.outer(GRID, data.x)) * scaled  # (g, M)
    q = np.exp(-np.outer(GRID, data.z)) * scaled
    ones = np.ones(len(scaled))  # the loss divided by itself
    # The normal equations for every pair of exponents: X'X (g, g, 3, 3) and X'y (g, g, 3).
    g = len(GRID)
    gram = np.empty((g, g, 3, 3))
    gram[..., 0, 0] = scaled @ scaled
    gram[..., 0, 1] = gram[..., 1, 0] = (p @ scaled)[:, None]
    gram[..., 0, 2] = gram[..., 2, 0] = (q @ scaled)[None, :]
    gram[..., 1, 1] = (p * p).sum(1)[:, None]
    gram[..., 2, 2] = (q * q).sum(1)[None, :]
    gram[..., 1, 2] = gram[..., 2, 1] = p @ q.T
    moment = np.empty((g, g, 3))
    moment[..., 0] = scaled @ ones
    moment[..., 1] = (p @ ones)[:, None]
    moment[..., 2] = (q @ ones)[None, :]
    best, coefficients = _nonnegative(gram, moment, usable)
    # Keep the pairs whose objective is at most that of their eight neighbours on the grid.
    padded = np.pad(best, 1, constant_values=np.inf)
    shifts = [s for s in itertools.product((0, 1, 2), repeat=2) if s != (1, 1)]
    lowest = np.all([best <= padded[i : i + g, j : j + g] for i, j in shifts], axis=0)
    rows = np.argwhere(lowest)
    rows = rows[np.argsort(best[lowest], kind="stable")][:4]
    return [np.array([*coefficients[i, j], GRID[i], GRID[j]]) for i, j in rows]


def _nonnegative(gram: Floats, moment: Floats, usable: Mask) -> tuple[Floats, Floats]:
    """Solve min |X c - y|^2 with c >= 0 from X'X and X'y; what is not usable stays 0.

    Columns are scaled to length 1 and a little is added to the diagonal, so that no system is
    singular where columns agree, as those of size and tokens do at D = 20 N.

    Returns:
        The part of the sum of squares that depends on c, (g, g), and c, (g, g, 3).
    """
    length = np.sqrt(np.maximum(np.einsum("...ii->...i", gram), 1e-300))
    gram = gram / (length[..., :, None] * length[..., None, :])
    moment = moment / length
    best = np.full(gram.shape[:-2], np.inf)
    chosen = np.zeros(moment.shape)
    for used in itertools.product((False, True), repeat=3):
        index = np.flatnonzero(used)
        if not index.size or not usable[index].all():
            continue
        part = gram[..., index[:, None], index] + 1e-12 * np.eye(index.size)
        solution = np.linalg.solve(part, moment[..., index, None])[..., 0]
        value = -(solution * moment[..., index]).sum(-1)
        better = (solution >= 0).all(-1) & (value < best)
        best[better] = value[better]
        full = np.zeros(moment.shape)
        full[..., index] = solution
        chosen[better] = full[better]
    return best, chosen / length


def polish(
    theta: Floats,
    data: Data,
    weights: Floats,
    *,
    delta: float,
    free: Mask = ALL,
    tolerance: float = 1e-9,
) -> tuple[Floats, Floats]:
    """Minimise Huber's loss of ln L over the free parameters, K fits at once.

    The method is Newton's with the exact Hessian. It is damped towards the step of reweighted least
    squares, which majorises the objective, and projected on the bounds. The objective never rises.

    Args:
        theta: (K, 5) starts inside the bounds.
        data: the points.
        weights: (M,) or (K, M).
        delta: where Huber's loss turns linear; inf is least squares.
        free: (5,) which parameters move.
        tolerance: a relative fall of the objective up to this one counts as none; six such steps
            in a row end a fit.

    Returns:
        theta (K, 5) and the objectives (K,).
    """
    if not len(theta):
        return theta.copy(), np.empty(0)
    points = len(data.x)
    size = max(1, AT_ONCE // points)
    weights = np.broadcast_to(weights, (len(theta), points))
    done = [
        _polish(theta[i : i + size].copy(), data, weights[i : i + size], delta, free, tolerance)
        for i in range(0, len(theta), size)
    ]
    return np.concatenate([d[0] for d in done]), np.concatenate([d[1] for d in done])


def _polish(
    theta: Floats, data: Data, weights: Floats, delta: float, free: Mask, tolerance: float
) -> tuple[Floats, Floats]:
    x, z, log_loss = data.x, data.z, data.log_loss
    value = huber_sum(log_loss - log_prediction(theta, x, z), weights, delta)
    damping = np.full(len(theta), 1e-2)
    still = np.zeros(len(theta), dtype=np.int64)
    active = np.arange(len(theta))
    for _ in range(MAX_STEPS):
        now, w = theta[active], weights[active]
        gradient, newton, majoriser = _derivatives(now, data, w, delta)
        # A parameter at a bound is held if the objective falls beyond that bound.
        held = ~free | ((now <= LOWER) & (gradient > 0)) | ((now >= UPPER) & (gradient < 0))
        # Solve for the damped Newton step and project it on the bounds.
        matrix = newton + damping[active, None, None] * majoriser
        step = _solve(matrix, np.where(held, 0.0, -gradient), held)
        moved = np.clip(now + step, LOWER, UPPER)
        # Accept the step if the objective falls, and damp less; otherwise damp more.
        moved_value = huber_sum(log_loss - log_prediction(moved, x, z), w, delta)
        fell = moved_value < value[active]
        small = value[active] - moved_value <= tolerance * value[active]
        index = active[fell]
        theta[index], value[index] = moved[fell], moved_value[fell]
        damping[active] = np.clip(damping[active] * np.where(fell, 0.2, 6.0), 1e-9, 1e12)
        still[active] = np.where(fell & ~small, 0, still[active] + 1)
        active = active[(still[active] < STILL) & (damping[active] < 1e8)]
        if not active.size:
            break
    return theta, value


def _solve(matrix: Floats, right: Floats, held: Mask) -> Floats:
    """Solve each system over its free unknowns, scaled to a unit diagonal."""
    both = held[:, :, None] | held[:, None, :]
    matrix = np.where(both, 0.0, matrix) + held[:, :, None] * np.eye(5)
    scale = 1 / np.sqrt(np.maximum(np.abs(np.einsum("kii->ki", matrix)), 1e-300))
    scaled = matrix * scale[:, :, None] * scale[:, None, :] + 1e-13 * np.eye(5)
    try:
        step = np.linalg.solve(scaled, (right * scale)[..., None])[..., 0]
    except np.linalg.LinAlgError:  # one singular matrix stops all of them
        step = np.einsum("kij,kj->ki", np.linalg.pinv(scaled), right * scale)
    return np.asarray(step * scale)


def _derivatives(
    theta: Floats, data: Data, weights: Floats, delta: float
) -> tuple[Floats, Floats, Floats]:
    """Return the gradient (K, 5), the Hessian and that of the majoriser, both (K, 5, 5)."""
    x, z, log_loss = data.x, data.z, data.log_loss
    e, a, b, alpha, beta = (theta[:, i, None] for i in range(5))
    p, q = np.exp(-alpha * x), np.exp(-beta * z)
    inverse = 1 / (e + a * p + b * q)
    jacobian = np.stack(
        [inverse, p * inverse, q * inverse, -a * x * p * inverse, -b * z * q * inverse], axis=1
    )  # (K, 5, M)
    # `pull` is the derivative of each point's loss by its residual, `near` the second derivative.
    residual = log_loss + np.log(inverse)
    size = np.abs(residual)
    pull = weights * np.clip(residual, -delta, delta)
    gradient = -np.einsum("kim,km->ki", jacobian, pull)
    near = weights * (size < delta)
    newton = (jacobian * (near + pull)[:, None]) @ jacobian.transpose(0, 2, 1)
    # Add the second derivatives of the prediction; those that no exponent takes part in are 0.
    curl = pull * inverse
    for i, j, term in (
        (1, 3, x * p),
        (3, 3, -a * x * x * p),
        (2, 4, z * q),
        (4, 4, -b * z * z * q),
    ):
        newton[:, i, j] += (curl * term).sum(1)
        if i != j:
            newton[:, j, i] += (curl * term).sum(1)
    # The weights of iteratively reweighted least squares: 1 inside delta, delta / |r| beyond.
    bent = weights * np.minimum(1.0, delta / np.maximum(size, 1e-300))
    majoriser = (jacobian * bent[:, None]) @ jacobian.transpose(0, 2, 1)
    return gradient, newton, majoriser


def solve(
    data: Data, *, delta: float, free: Mask = ALL, held: Floats | None = None
) -> tuple[Floats, float]:
    """Return the best fit over all starts.

    Args:
        data: the points, all with weight 1.
        delta: where Huber's loss turns linear.
        free: (5,) which parameters move.
        held: (5,) the values of those that do not.

    Returns:
        theta (5,) and the objective.
    """
    held = np.zeros(5) if held is None else held
    starts = _around(np.array(project(data, (free | (held > 0))[:3])))
    starts, ones = np.where(free, starts, held), np.ones(len(data.x))
    # Begin with least squares, and narrow Huber's delta step by step.
    starts, _ = polish(starts, data, ones, delta=math.inf, free=free)
    candidates = []
    for width in (100 * delta, 30 * delta, 10 * delta, 3 * delta):
        starts, _ = polish(starts, data, ones, delta=width, free=free)
        candidates.append(_distinct(starts))
    # Polish the fits of every width with the delta asked for, and take the best.
    thetas, values = polish(
        np.concatenate(candidates), data, ones, delta=delta, free=free, tolerance=1e-13
    )
    best = int(np.argmin(values))
    return thetas[best], float(values[best])


def _around(starts: Floats) -> Floats:
    """Return the starts, and the best one with each exponent times 0.8, 1 or 1.25."""
    factors = np.array([f for f in itertools.product((0.8, 1.0, 1.25), repeat=2) if f != (1, 1)])
    near = np.repeat(starts[:1], len(factors), axis=0)
    near[:, 3:] *= factors
    return np.concatenate([starts, near])


def _distinct(thetas: Floats) -> Floats:
    """Return the thetas, and of those that are equal to six digits only one."""
    _, index = np.unique(np.round(thetas, 6), axis=0, return_index=True)
    return thetas[np.sort(index)]
