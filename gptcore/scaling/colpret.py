"""The fit of Choshen, Zhang & Andreas 2025 (arXiv:2410.11840), to reproduce their numbers.

They fit L = exp(e) + exp(a) / N^alpha + exp(b) / D^beta by least squares to every loss after 10^10
tokens, with scipy's `curve_fit`. It starts from the parameters of the data-constrained law of
Muennighoff et al. 2023. The preset is there to compare with: it tries a single start, and counts
every checkpoint as one measurement.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from gptcore.scaling.law import ScalingLaw, law_from
from gptcore.scaling.solver import NAMES, Floats

if TYPE_CHECKING:
    import pandas as pd


BURN_IN_TOKENS = 1e10
START = {"a": 6.255414, "b": 7.3049974, "e": 0.6254804, "alpha": 0.3526596, "beta": 0.3526596}
NO_INTERVALS = (
    "the fit of Choshen et al. 2025 (colpret) has no intervals; fit without the preset to get them"
)


def fit_colpret(table: pd.DataFrame, *, notes: Sequence[str] = ()) -> ScalingLaw:
    """Fit a checked table by the recipe of Choshen et al. 2025.

    If no row has more than 10^10 tokens, all rows are used, and a warning says so.

    Raises:
        ValueError: there are fewer rows than parameters, or `curve_fit` does not converge.
    """
    rows, doubts = table[table["tokens_seen"] > BURN_IN_TOKENS], [*notes, NO_INTERVALS]
    if rows.empty:
        rows = table
        doubts.append("no row has more than 1e10 tokens: the recipe's burn-in is left out")
    if len(rows) < len(START):
        raise ValueError(
            f"{len(rows)} rows for {len(START)} parameters: the preset needs more rows with over "
            "1e10 tokens; fit without it"
        )
    n, d, loss = (rows[c].to_numpy(dtype=np.float64) for c in ("params", "tokens_seen", "loss"))
    started = time.perf_counter()
    a, b, e, alpha, beta = _curve_fit(n, d, loss)
    law = law_from(float(np.exp(e)), float(np.exp(a)), float(np.exp(b)), alpha, beta)
    return replace(
        law,
        objective=float(((law.loss(n, d) - loss) ** 2).sum()),
        n_points=len(rows),
        n_models=int(rows["run"].nunique()),
        params_range=(float(n.min()), float(n.max())),
        tokens_range=(float(d.min()), float(d.max())),
        sd=dict.fromkeys(NAMES),
        interval_95=dict.fromkeys(NAMES),
        warnings=tuple(doubts),
        seconds=time.perf_counter() - started,
    )


def _curve_fit(n: Floats, d: Floats, loss: Floats) -> list[float]:
    """Return a, b, e, alpha and beta by scipy's method, or by `dogbox` where that fails."""
    from scipy.optimize import OptimizeWarning, curve_fit

    def law(_: Floats, a: float, b: float, e: float, alpha: float, beta: float) -> Floats:
        return np.asarray(np.exp(e) + np.exp(a) / n**alpha + np.exp(b) / d**beta)

    start = list(START.values())
    bounds = ([-np.inf, -np.inf, -np.inf, 0.0, 0.0], np.inf)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore", OptimizeWarning)  # of a covariance that is not used
        for options in ({}, {"x_scale": start, "method": "dogbox"}):
            try:
                parameters, _ = curve_fit(law, n, loss, p0=start, bounds=bounds, **options)
            except RuntimeError:  # the method did not converge
                continue
            return list(map(float, parameters))
    raise ValueError("the preset's fit does not converge: fit without it")
