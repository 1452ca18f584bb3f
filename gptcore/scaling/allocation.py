"""How the best size grows with compute: IsoFLOP parabolas, and the same by a law.

Approach 2 of Hoffmann et al. 2022 (arXiv:2203.15556) fits, at each level of compute, a parabola to
the loss in ln N. The minima follow N ~ C^a. A parabola is symmetric and the loss is not, so its
minimum is pulled towards the middle of the sizes where these are narrow or off-centre (docs/results
/extrapolation.py measures it). The fitted law gives a = beta / (alpha + beta), which is approach 3.
Where the two disagree, at least one of them is wrong.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gptcore.scaling.fitting import fit
from gptcore.scaling.law import ScalingLaw
from gptcore.scaling.planning import FLOPS_PER_PARAM_TOKEN
from gptcore.scaling.solver import Floats

if TYPE_CHECKING:
    import pandas as pd


SAME_LEVEL = 0.05  # runs whose ln C differs by no more than this spent the same compute
WIDEST_LEVEL = 0.2  # a chain of such runs that spans more is a trajectory, and no level
FEWEST_ON_PARABOLA = 4
FEW_ON_PARABOLA = 5  # with four sizes, one is left to show the error
NARROW = 4.0  # factor between the smallest and the largest size of a level
FEWEST_ON_A_SIDE = 2  # sizes below the best one, and above it
APART = 0.08  # exponents so far apart give sizes 20 % apart at ten times the compute
SIGNIFICANT = 0.05
Z95 = 1.96

DOUBTS = {
    "outside": "the least loss at or beyond the end of their sizes, and are left out: add sizes "
    "beyond that end",
    "off-centre": "fewer than two sizes on one side of the best one, which pulls it towards the "
    "middle of the sizes: add sizes on that side",
    "narrow": f"sizes that span less than a factor of {NARROW:g}, which leaves the curvature to "
    "noise: add smaller and larger sizes",
    "few": "only four sizes, one more than a parabola has parameters: add sizes",
    "flat": "a curvature that noise alone could give (one-sided test at 5 %): add sizes farther "
    "from the best one, or seeds",
}


class Level(NamedTuple):
    """The runs of one level of compute: ln C, ln N and the mean loss of each size, (n,)."""

    log_compute: float
    x: Floats
    y: Floats

    @property
    def residual(self) -> float:
        """The sum of squares about the parabola."""
        return float(((self.y - np.polyval(self.curve(), self.x - self.x.mean())) ** 2).sum())

    def curve(self) -> Floats:
        """Return c, b, a of c u^2 + b u + a, where u is ln N less its mean."""
        return np.asarray(np.polyfit(self.x - self.x.mean(), self.y, 2))

    def covariance(self) -> Floats:
        """Return the covariance of c, b, a for residuals of variance 1, (3, 3)."""
        design = np.vander(self.x - self.x.mean(), 3)
        return np.asarray(np.linalg.inv(design.T @ design))


def isoflop(table: pd.DataFrame) -> dict[str, Any]:
    """Fit a parabola of the loss in ln N at each level of compute, and a line through their minima.

    Runs whose ln C differs by at most 0.05 belong to one level. A level needs 4 sizes and a minimum
    between them. The interval of the exponent takes the larger of two errors: that of the minima,
    by the delta method from the residuals of all parabolas, and their scatter about the line.

    Args:
        table: a checked table; rows with the same size at one level count by their mean.

    Returns:
        `levels` (list of `flops, params, tokens, loss, n_sizes, doubts`), `exponent`, a of N ~ C^a,
        and `exponent_interval_95`, both None with fewer than two levels, and `warnings`.
    """
    levels = _levels(table)
    spare = sum(len(level.x) - 3 for level in levels)
    variance = sum(level.residual for level in levels) / spare if levels else 0.0
    rows, doubts = [], []
    for level in levels:
        row = _minimum(level, variance, spare)
        doubts.append(row["doubts"])
        if "outside" not in row["doubts"]:
            rows.append(row)
    exponent, ends = _exponent(rows, spare)
    return {
        "levels": [{k: v for k, v in row.items() if k != "sd"} for row in rows],
        "exponent": exponent,
        "exponent_interval_95": ends,
        "warnings": [
            f"{count} of {len(levels)} levels of compute "
            f"{'has' if count == 1 else 'have'} {DOUBTS[kind]}"
            for kind in DOUBTS
            if (count := sum(kind in found for found in doubts))
        ],
    }


def _levels(table: pd.DataFrame) -> list[Level]:
    compute = FLOPS_PER_PARAM_TOKEN * table["params"] * table["tokens_seen"]
    ordered = table.assign(log_compute=np.log(compute)).sort_values("log_compute")
    number = (ordered["log_compute"].diff() > SAME_LEVEL).cumsum()
    levels = []
    for _, rows in ordered.groupby(number):
        means = rows.groupby("params")[["loss", "log_compute"]].mean()
        spread = float(rows["log_compute"].max() - rows["log_compute"].min())
        if len(means) >= FEWEST_ON_PARABOLA and spread <= WIDEST_LEVEL:
            x = np.log(means.index.to_numpy(dtype=np.float64))
            levels.append(Level(float(means["log_compute"].mean()), x, means["loss"].to_numpy()))
    return levels


def _minimum(level: Level, variance: float, spare: int) -> dict[str, Any]:
    """Return the best run of a level, the standard deviation of its ln N, and what is doubtful."""
    from scipy.stats import t

    curve, slope, base = map(float, level.curve())
    best = float(level.x.mean()) - slope / (2 * curve) if curve > 0 else math.inf
    if not level.x.min() < best < level.x.max():
        return {"doubts": ["outside"]}
    covariance = variance * level.covariance()
    gradient = np.array([slope / (2 * curve**2), -1 / (2 * curve), 0.0])
    sides = int((level.x < best).sum()), int((level.x > best).sum())
    limit = float(t.ppf(1 - SIGNIFICANT, spare)) * math.sqrt(covariance[0, 0])
    found = {
        "off-centre": min(sides) < FEWEST_ON_A_SIDE,
        "narrow": float(level.x.max() - level.x.min()) < math.log(NARROW),
        "few": len(level.x) < FEW_ON_PARABOLA,
        "flat": curve < limit,
    }
    flops = math.exp(level.log_compute)
    return {
        "flops": flops,
        "params": math.exp(best),
        "tokens": flops / FLOPS_PER_PARAM_TOKEN / math.exp(best),
        "loss": base - slope**2 / (4 * curve),
        "n_sizes": len(level.x),
        "doubts": [kind for kind, is_so in found.items() if is_so],
        "sd": math.sqrt(float(gradient @ covariance @ gradient)),
    }


def _exponent(rows: list[dict[str, Any]], spare: int) -> tuple[float | None, list[float] | None]:
    """Return the slope of ln N over ln C through the minima, and its 95 % interval."""
    from scipy.stats import t

    if len(rows) < 2:
        return None, None
    u = np.log([row["flops"] for row in rows])
    x = np.log([row["params"] for row in rows])
    u = u - u.mean()
    weights = u / (u @ u)
    exponent = float(weights @ x)
    of_minima = float(np.linalg.norm(weights * [row["sd"] for row in rows]))
    half = float(t.ppf(0.975, spare)) * of_minima
    if len(rows) > 2:
        left = x - x.mean() - exponent * u
        scatter = math.sqrt(float(left @ left) / (len(rows) - 2) / float(u @ u))
        half = max(half, float(t.ppf(0.975, len(rows) - 2)) * scatter)
    return exponent, [exponent - half, exponent + half]


def exponent_of(law: ScalingLaw) -> tuple[float | None, list[float] | None]:
    """Return a = beta / (alpha + beta) of a law and its 95 % interval; None if not identified."""
    if {"alpha", "beta"} & {*law.unidentified}:
        return None, None
    exponent = float(law.theta[4] / (law.theta[3] + law.theta[4]))
    if not len(law.replicates):
        return exponent, None
    moved = law.replicates[:, 5] / (law.replicates[:, 4] + law.replicates[:, 5]) - exponent
    half = Z95 * math.sqrt(float(law.replicates[:, 0] @ moved**2))
    return exponent, [max(0.0, exponent - half), min(1.0, exponent + half)]


def compare_with_law(parabolas: dict[str, Any], table: pd.DataFrame) -> dict[str, Any]:
    """Fit a law to the same table, and say whether its exponent is that of the parabolas.

    Args:
        parabolas: what `isoflop` returned.
        table: of one family, as in `fit`.

    Returns:
        `law_exponent`, `law_exponent_interval_95` (None where the law does not identify it) and
        `warnings`.
    """
    law = fit(table, bootstraps=0)
    exponent, ends = exponent_of(law)
    return {
        "law_exponent": exponent,
        "law_exponent_interval_95": ends,
        "warnings": disagreement(law, parabolas),
    }


def disagreement(law: ScalingLaw, parabolas: dict[str, Any]) -> list[str]:
    """Return a warning if law and parabolas give exponents that differ.

    The difference is no noise if it exceeds the root of the sum of the squared half widths of the
    95 % intervals. Both come from one table, and errors that they share make the test err to
    silence. So a difference of 0.08 or more is told as well, and that noise could explain it.
    """
    (by_law, of_law), by_curve = exponent_of(law), parabolas["exponent"]
    of_curve = parabolas["exponent_interval_95"]
    if by_law is None or by_curve is None or of_law is None or of_curve is None:
        return []
    halves = [(ends[1] - ends[0]) / 2 for ends in (of_law, of_curve)]
    told, apart = abs(by_law - by_curve) > math.hypot(*halves), abs(by_law - by_curve) >= APART
    if not told and not apart:
        return []
    reason = (
        "at least one of them does not describe these runs"
        if told
        else "noise could explain the difference, and it changes the best size"
    )
    return [
        f"the law says that the best size grows as FLOPs to the power {by_law:.3f} "
        f"({of_law[0]:.3f} to {of_law[1]:.3f}), and the parabolas of equal compute say "
        f"{by_curve:.3f} ({of_curve[0]:.3f} to {of_curve[1]:.3f}): {reason}; believe neither "
        "beyond the sizes trained, and train two sizes at a larger budget to see which holds"
    ]


def refitted_sizes(law: ScalingLaw, flops: float) -> Floats:
    """Return draws of the best N for a budget, (K,), from the refits of the law.

    ln N is taken as normal, with the variance that the refits show; the draws are its quantiles.
    """
    from scipy.special import ndtri

    if not len(law.replicates):
        return np.empty(0)
    theta = np.vstack([law.theta, law.replicates[:, 1:]])
    if (theta[:, 1:] <= 0).any():
        return np.empty(0)
    _, a, b, alpha, beta = theta.T
    free = math.log(flops / FLOPS_PER_PARAM_TOKEN / law.pivot_params) - math.log(law.pivot_tokens)
    x = (np.log(alpha * a / (beta * b)) + beta * free) / (alpha + beta)
    sd = math.sqrt(float(law.replicates[:, 0] @ (x[1:] - x[0]) ** 2))
    quantiles = ndtri((np.arange(1000) + 0.5) / 1000)
    return np.asarray(law.pivot_params * np.exp(x[0] + sd * quantiles))


def intervals_of_best(sizes: Floats, flops: float) -> dict[str, list[float] | None]:
    """Return the 95 % intervals of the best N and of its D, from draws of the best N."""
    names = ("params_interval_95", "tokens_interval_95")
    if not len(sizes):
        return dict.fromkeys(names)
    low, high = map(float, np.quantile(sizes, (0.025, 0.975)))
    ends = [low, high], [flops / FLOPS_PER_PARAM_TOKEN / n for n in (high, low)]
    return dict(zip(names, ends, strict=True))
