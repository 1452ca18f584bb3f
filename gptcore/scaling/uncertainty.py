"""The uncertainty of a scaling law: refits without a run, bootstraps of runs, profiles.

The unit of replication is a run: the checkpoints of one run share its seed, so many of them tell
little more than a few.
"""

from __future__ import annotations

import math

import numpy as np
import scipy

from gptcore.scaling import solver
from gptcore.scaling.solver import ALL, NAMES, Data, Floats, Mask
from gptcore.scaling.tables import Ints, Points

MOST_GROUPS = 40
FEWEST_RUNS = 3  # fewer runs are cut into pieces
PIECES = 8
PROFILE_VALUES = 17
PROFILE_TOLERANCE = 1e-5  # of the objective; the ends of the interval keep four digits


def leave_out_groups(points: Points) -> Ints:
    """Return for each point the group that is left out with it.

    A group is a run; more than 40 runs are distributed over 40 groups. One or two runs are cut into
    eight groups of consecutive checkpoints.
    """
    if points.n_runs >= FEWEST_RUNS:
        order = np.random.default_rng(0).permutation(points.n_runs)
        few = points.n_runs <= MOST_GROUPS
        return points.run if few else order[points.run] % MOST_GROUPS
    groups = np.zeros(len(points.run), dtype=np.int64)
    each = PIECES // points.n_runs
    for run in range(points.n_runs):
        rows = np.flatnonzero(points.run == run)
        groups[rows] = run * each + np.arange(len(rows)) * each // len(rows)
    return np.unique(groups, return_inverse=True)[1]


def leave_out(
    points: Points, data: Data, theta: Floats, *, delta: float, free: Mask = ALL
) -> Floats:
    """Refit without each group of points in turn (the jackknife over runs).

    Returns:
        (G, 6): for each group the weight (G - 1) / G of its squared deviation in a variance, and
        theta. With too few points to leave any out, (0, 6).
    """
    groups = leave_out_groups(points)
    count = int(groups.max()) + 1
    if count < 2 or len(points.loss) - np.bincount(groups).max() < free.sum():
        return np.empty((0, 6))
    weights = (groups[None] != np.arange(count)[:, None]).astype(np.float64)
    starts = np.repeat(theta[None], count, axis=0)
    refits, _ = solver.polish(starts, data, weights, delta=delta, free=free)
    return np.column_stack([np.full(count, (count - 1) / count), refits])


def bootstrap(
    points: Points,
    data: Data,
    theta: Floats,
    *,
    delta: float,
    free: Mask = ALL,
    count: int = 1000,
    seed: int = 0,
) -> Floats:
    """Refit to `count` samples of the runs, drawn with replacement.

    Returns:
        The thetas, (count, 5).
    """
    runs = points.n_runs
    drawn = np.random.default_rng(seed).multinomial(runs, np.full(runs, 1 / runs), size=count)
    weights = drawn[:, points.run].astype(np.float64)
    starts = np.repeat(theta[None], count, axis=0)
    return solver.polish(starts, data, weights, delta=delta, free=free)[0]


def noise_sd(data: Data, theta: Floats, n_free: int) -> float | None:
    """Return the `robust_sd` of ln L about the law."""
    residuals = data.log_loss - solver.log_prediction(theta[None], data.x, data.z)[0]
    return robust_sd(residuals, n_free)


def robust_sd(residuals: Floats, n_free: int) -> float | None:
    """Return the robust standard deviation of M residuals: 1.4826 median |r|.

    It is multiplied by sqrt(M / (M - p)) for the p fitted parameters; it is None if M <= p.
    """
    spare = len(residuals) - n_free
    if spare < 1:
        return None
    return float(1.4826 * np.median(np.abs(residuals)) * math.sqrt(len(residuals) / spare))


def intervals(
    values: Floats, weights: Floats, refits: Floats, drawn: Floats | None
) -> tuple[dict[str, float | None], dict[str, tuple[float, float] | None]]:
    """Return the standard deviation and 95 % interval of E, A, B, alpha, beta.

    If there are bootstraps, the interval is given by their quantiles. Otherwise it comes from the
    refits without a run, as a normal interval; for A and B it is normal in the logarithm.

    Args:
        values: (5,) the estimates.
        weights: (R,) the weights of the squared deviations of the refits.
        refits: (R, 5) the parameters of the refits.
        drawn: (K, 5) the parameters of the bootstraps, or None.
    """
    sd: dict[str, float | None] = dict.fromkeys(NAMES)
    ends: dict[str, tuple[float, float] | None] = dict.fromkeys(NAMES)
    # A and B of a law far from its pivots overflow; what is not finite is left out below.
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        if drawn is not None:
            low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
            spread = drawn.std(axis=0, ddof=1)
        elif len(refits):
            spread = np.sqrt(weights @ (refits - values) ** 2)
            low, high = values - 1.96 * spread, values + 1.96 * spread
            factor = np.exp(1.96 * np.sqrt(weights @ np.log(refits / values) ** 2))
            low[1:3], high[1:3] = values[1:3] / factor[1:3], values[1:3] * factor[1:3]
        else:
            return sd, ends
    for index, name in enumerate(NAMES):
        numbers = float(spread[index]), float(low[index]), float(high[index])
        if all(map(math.isfinite, numbers)):
            sd[name], ends[name] = numbers[0], (max(0.0, numbers[1]), numbers[2])
    return sd, ends


def profile(
    points: Points, data: Data, theta: Floats, name: str, *, delta: float, free: Mask = ALL
) -> tuple[float, float] | None:
    """Return the 95 % profile interval of an exponent, or None where the profile is flat.

    The exponent is held at values from a quarter of the estimate to four times it, and the other
    parameters are refitted. A value is inside if 2 (F - F_min) / s is below the chi-square
    quantile, with s = sum psi^2 / sum psi' (Heritier & Ronchetti 1994); the points of a run count
    as one. The profile is flat if the smallest or the largest value tried is inside.

    Args:
        points: the points; the number of their runs is used.
        data: the same points for the solver.
        theta: (5,) the best fit.
        name: "alpha" or "beta".
        delta: where Huber's loss turns linear.
        free: (5,) which parameters move.
    """
    index = NAMES.index(name)
    values = theta[index] * np.geomspace(0.25, 4, PROFILE_VALUES)
    starts = np.repeat(theta[None], len(values), axis=0)
    starts[:, index] = values
    # F at each value of the exponent, all other free parameters refitted.
    ones = np.ones(len(data.x))
    moving = free & (np.arange(5) != index)
    _, held = solver.polish(
        starts, data, ones, delta=delta, free=moving, tolerance=PROFILE_TOLERANCE
    )
    # The limit of F, from the robust scale s of the best fit.
    residuals = data.log_loss - solver.log_prediction(theta[None], data.x, data.z)[0]
    best = float(solver.huber_sum(residuals, ones, delta))
    near = max(1, int((np.abs(residuals) < delta).sum()))
    scale = float((np.clip(residuals, -delta, delta) ** 2).sum()) / near
    limit = best + scipy.stats.chi2.ppf(0.95, 1) / 2 * scale * len(data.x) / points.n_runs
    inside = np.flatnonzero(held <= limit)
    if not len(inside) or inside[0] == 0 or inside[-1] == len(values) - 1:
        return (float(theta[index]),) * 2 if not len(inside) else None
    low, high = (
        _crossing(values[i : i + 2], held[i : i + 2], limit) for i in (inside[0] - 1, inside[-1])
    )
    return low, high


def _crossing(values: Floats, held: Floats, limit: float) -> float:
    """Return where a profile reaches the limit between two values, by linear interpolation."""
    share = (limit - held[0]) / (held[1] - held[0])
    return float(values[0] + share * (values[1] - values[0]))
