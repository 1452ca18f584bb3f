"""Solve for R_D and R_N, many fits at once, and find the profile interval of R_D.

Shapes: K fits of the M runs of several passes. logs (K, 2) holds ln R_D and ln R_N, and theta
(K, 5) the law of one pass of each fit.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
import scipy

from gptcore.scaling import solver
from gptcore.scaling.law import ScalingLaw
from gptcore.scaling.repetition import log_losses
from gptcore.scaling.solver import Floats, Mask

STARTS = np.log(list(itertools.product((0.5, 2.0, 8.0, 30.0, 120.0), repeat=2)))
LOGS = (-5.0, 12.0)  # the range of ln R_D and ln R_N
STEPS = 60
SHIFT = 1e-4  # of a logarithm, for derivatives
AT_ONCE = 100  # fits, so that their arrays stay in the cache
PROFILE_LOGS = np.log(np.geomspace(0.05, 20, 25))


@dataclass(frozen=True)
class Repeats:
    """The M runs of several passes: their law of one pass, N, D, U and ln L, each (M,)."""

    law: ScalingLaw
    params: Floats
    tokens: Floats
    unique: Floats
    log_loss: Floats

    @property
    def one_size(self) -> bool:
        """Whether all runs have one N, so that R_N cannot be told."""
        return bool(self.params.min() == self.params.max())

    def only(self, kept: Mask) -> Repeats:
        """Return the runs that are `kept`."""
        arrays = (self.params, self.tokens, self.unique, self.log_loss)
        return Repeats(self.law, *(values[kept] for values in arrays))

    def residuals(self, logs: Floats, theta: Floats) -> Floats:
        """Return ln L less its prediction, (K, M), for ln R_D and ln R_N (K, 2), theta (K, 5)."""
        repeats = np.exp(logs)
        if self.one_size:
            repeats[:, 1] = np.inf
        seen = self.params, self.tokens, self.unique
        return self.log_loss - log_losses(self.law, theta, repeats, *seen)


def solve(runs: Repeats, theta: Floats, delta: float) -> tuple[Floats, float]:
    """Return the best ln R_D and ln R_N, (2,), and the sum of Huber's losses there."""
    starts, ones = STARTS.copy(), np.ones((1, len(runs.log_loss)))
    thetas = np.repeat(theta[None], len(starts), axis=0)
    for width in (100 * delta, 10 * delta, delta):
        starts, values = polish(runs, starts, thetas, ones, width)
    best = int(np.argmin(values))
    return starts[best], float(values[best])


def polish(
    runs: Repeats,
    logs: Floats,
    theta: Floats,
    weights: Floats,
    delta: float,
    *,
    hold_d: bool = False,
) -> tuple[Floats, Floats]:
    """Improve K fits of ln R_D and ln R_N, by damped reweighted least squares.

    Args:
        runs: the M runs.
        logs: (K, 2) the starts.
        theta: (K, 5) the laws of one pass.
        weights: (K, M), or (1, M) for all fits.
        delta: where Huber's loss turns linear.
        hold_d: whether R_D stays.

    Returns:
        The logs (K, 2) and the objectives (K,).
    """
    weights = np.broadcast_to(weights, (len(logs), len(runs.log_loss)))
    parts = [slice(i, i + AT_ONCE) for i in range(0, len(logs), AT_ONCE)]
    done = [_polish(runs, logs[p], theta[p], weights[p], delta, hold_d=hold_d) for p in parts]
    return np.concatenate([d[0] for d in done]), np.concatenate([d[1] for d in done])


def _polish(
    runs: Repeats, logs: Floats, theta: Floats, weights: Floats, delta: float, *, hold_d: bool
) -> tuple[Floats, Floats]:
    logs = logs.copy()
    residual = runs.residuals(logs, theta)
    value, damping = solver.huber_sum(residual, weights, delta), np.full(len(logs), 1e-2)
    for _ in range(STEPS):
        move = _step(runs, logs, theta, residual, weights, damping, delta, hold_d=hold_d)
        tried = np.clip(logs + move, *LOGS)
        tried_residual = runs.residuals(tried, theta)
        tried_value = solver.huber_sum(tried_residual, weights, delta)
        fell = tried_value < value
        small = value - tried_value <= 1e-10 * value
        logs[fell], residual[fell] = tried[fell], tried_residual[fell]
        value[fell] = tried_value[fell]
        damping = np.clip(damping * np.where(fell, 0.2, 6.0), 1e-9, 1e9)
        if (small & (fell | (damping > 1e6))).all():
            break
    return logs, value


def _step(
    runs: Repeats,
    logs: Floats,
    theta: Floats,
    residual: Floats,
    weights: Floats,
    damping: Floats,
    delta: float,
    *,
    hold_d: bool,
) -> Floats:
    """Return the damped step of reweighted least squares, (K, 2), at most 1 in each logarithm."""
    moved = [runs.residuals(logs + shift, theta) for shift in SHIFT * np.eye(2)]
    slopes = (np.stack(moved) - residual) / SHIFT  # (2, K, M)
    if hold_d:
        slopes[0] = 0
    bent = weights * np.minimum(1, delta / np.maximum(np.abs(residual), 1e-300))
    matrix = np.einsum("ikm,km,jkm->kij", slopes, bent, slopes)
    gradient = np.einsum("ikm,km,km->ki", slopes, bent, residual)
    scale = damping[:, None] * np.maximum(np.einsum("kii->ki", matrix), 1e-12) + 1e-12
    step = np.linalg.solve(matrix + scale[:, :, None] * np.eye(2), -gradient[..., None])[..., 0]
    return np.asarray(np.clip(step, -1, 1))


def profile_of(
    runs: Repeats, logs: Floats, objective: float, delta: float
) -> tuple[float, float] | None:
    """Return the 95 % profile interval of R_D, as `uncertainty.profile` does for an exponent.

    The law of one pass is held. None where a twentieth of R_D or twenty times R_D is inside.
    """
    held = np.column_stack([logs[0] + PROFILE_LOGS, np.full(len(PROFILE_LOGS), logs[1])])
    theta = np.repeat(runs.law.theta[None], len(held), axis=0)
    residuals = runs.residuals(logs[None], theta[:1])[0]
    _, values = polish(runs, held, theta, np.ones((1, len(residuals))), delta, hold_d=True)
    near = max(1, int((np.abs(residuals) < delta).sum()))
    scale = float((np.clip(residuals, -delta, delta) ** 2).sum()) / near
    limit = objective + scipy.stats.chi2.ppf(0.95, 1) / 2 * scale
    inside = np.flatnonzero(values <= limit)
    if not len(inside) or inside[0] == 0 or inside[-1] == len(values) - 1:
        return None
    ends = []
    for i in (int(inside[0]) - 1, int(inside[-1])):
        share = (limit - values[i]) / (values[i + 1] - values[i])
        ends.append(math.exp(held[i, 0] + share * (held[i + 1, 0] - held[i, 0])))
    return ends[0], ends[1]
