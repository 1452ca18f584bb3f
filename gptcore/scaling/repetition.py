"""Scaling laws of repeated text: how much is a token worth that the model has seen before?

Muennighoff et al. 2023 (arXiv:2305.16264) replace D and N by effective numbers. With U unique
tokens and R = D / U - 1 repetitions, D' = U + U R_D (1 - exp(-R / R_D)). With the best size U_N for
U tokens and R' = N / U_N - 1, N' = U_N + U_N R_N (1 - exp(-R' / R_N)). Training on random windows
of one book repeats it, so these laws also apply to runs of the samplers.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gptcore.checks import check_number
from gptcore.reading import MOST_JSON_BYTES, parse_json, read_text
from gptcore.scaling import solver
from gptcore.scaling.fitting import fit_points
from gptcore.scaling.law import ScalingLaw, law_from
from gptcore.scaling.planning import FLOPS_PER_PARAM_TOKEN, Allocation, allocate
from gptcore.scaling.solver import DELTA, Floats
from gptcore.scaling.tables import check_table, make_points

if TYPE_CHECKING:
    import pandas as pd


ONE_PASS = 1.001  # epochs; published token counts are rounded
GRID = np.geomspace(0.5, 200, 60)
GRID_POINTS = 601  # sizes tried for an allocation
LEAST_LOG = -5  # the least ln R_D and ln R_N
FEWEST_REPEATED = 3


@dataclass(frozen=True)
class RepeatedLaw:
    """A law of single passes, and the worth of repeated tokens.

    Attributes:
        law: the law fitted to the runs of one pass.
        R_D: the number of repetitions after which a repeated token is worth 1 / e of a new one.
        R_N: the same for parameters beyond the best size for the unique tokens. It is infinite, so
            that all parameters count, if the repeated runs have one size.
        objective: the sum of Huber's losses of the second stage.
        n_repeated: the number of runs of the second stage.
        warnings: what is doubtful.
    """

    law: ScalingLaw
    R_D: float
    R_N: float
    objective: float = 0.0
    n_repeated: int = 0
    warnings: tuple[str, ...] = ()

    @classmethod
    def from_dict(cls, law: ScalingLaw, saved: Mapping[str, Any]) -> RepeatedLaw | None:
        """Return `law` with the R_D and R_N of a saved law; None if it has none.

        Raises:
            ValueError: R_D or R_N is not a positive number.
        """
        if saved.get("R_D") is None and saved.get("R_N") is None:
            return None
        repeats_d, repeats_n = saved.get("R_D"), saved.get("R_N")
        return cls(
            law,
            check_number("R_D", repeats_d, "(0, inf)"),  # type: ignore[arg-type]
            math.inf if repeats_n is None else check_number("R_N", repeats_n, "(0, inf)"),
        )

    def loss(
        self, params: Floats | float, tokens: Floats | float, unique_tokens: Floats | float
    ) -> Floats:
        """Return the predicted loss, nats per token."""
        return self.law.loss(
            *effective(self.law, params, tokens, unique_tokens, self.R_D, self.R_N)
        )

    def as_dict(self) -> dict[str, Any]:
        """Return the results of the second stage, for JSON."""
        return {
            "R_D": self.R_D,
            "R_N": None if np.isinf(self.R_N) else self.R_N,
            "repeated_objective": self.objective,
            "n_repeated": self.n_repeated,
        }


def read_laws(path: Path) -> tuple[ScalingLaw, RepeatedLaw | None]:
    """Read a law from a file, and the same with the worth of repeated tokens if it has that too.

    Args:
        path: the output of `gptcore scale fit --json`, or an object with E, A, B, alpha and beta,
            and maybe R_D and R_N.

    Raises:
        ValueError: it is neither.
    """
    text = read_text(path, at_most=MOST_JSON_BYTES)
    try:
        saved = parse_json(text, "its text")
        if not isinstance(saved, dict):
            raise ValueError("give an object with E, A, B, alpha and beta")
        if "state" in saved or "objective" in saved:
            law = ScalingLaw.from_dict(saved)
        else:
            law = law_from(*(saved.get(name) for name in solver.NAMES))  # type: ignore[arg-type]
        return law, RepeatedLaw.from_dict(law, saved)
    except ValueError as error:
        raise ValueError(f"{path} is not a law: {error}") from None


def allocate_repeated(repeated: RepeatedLaw, flops: float, unique_tokens: float) -> Allocation:
    """Return N and D with 6 N D = flops and the least loss, where the text has `unique_tokens`.

    The best N is searched on a grid over twelve powers of ten around that of a single pass, and
    refined there. With repeats, no power law gives the best size, so `exponent` is None.

    Raises:
        ValueError: a number is not positive, or the law does not identify both exponents.
    """
    from scipy.optimize import minimize_scalar

    unique_tokens = check_number("unique_tokens", unique_tokens, "(0, inf)")
    once = allocate(repeated.law, flops)
    if once.tokens <= unique_tokens:
        return once

    def loss(log_params: float) -> float:
        params = math.exp(log_params)
        return float(repeated.loss(params, flops / FLOPS_PER_PARAM_TOKEN / params, unique_tokens))

    grid = math.log(once.params) + np.linspace(-1, 1, GRID_POINTS) * math.log(1e6)
    best = min(range(1, GRID_POINTS - 1), key=lambda i: loss(float(grid[i])))
    found = minimize_scalar(loss, bounds=(grid[best - 1], grid[best + 1]), method="bounded")
    params = math.exp(found.x)
    tokens = flops / FLOPS_PER_PARAM_TOKEN / params
    return Allocation(params, tokens, float(found.fun), None, None)


def effective(
    law: ScalingLaw,
    params: Floats | float,
    tokens: Floats | float,
    unique_tokens: Floats | float,
    repeats_d: float,
    repeats_n: float,
) -> tuple[Floats, Floats]:
    """Return the effective parameters and tokens, N' and D'."""
    unique = np.minimum(unique_tokens, tokens)
    worth = np.asarray(unique * (1 + repeats_d * -np.expm1(-(tokens / unique - 1) / repeats_d)))
    if np.isinf(repeats_n):
        return np.asarray(params, dtype=np.float64), worth
    _, a, b, alpha, beta = law.theta
    best = (
        law.pivot_params
        * (alpha * a / (beta * b)) ** (1 / alpha)
        * (unique / law.pivot_tokens) ** (beta / alpha)
    )  # the size at which the terms for N and D balance for `unique` tokens
    useful = np.minimum(params, best)
    size = useful * (1 + repeats_n * -np.expm1(-(params / useful - 1) / repeats_n))
    return size, worth


def fit_repeated(
    table: pd.DataFrame, *, min_unique_tokens: float = 0.0, delta: float = DELTA
) -> RepeatedLaw:
    """Fit in two stages: the law to all runs of one pass, then R_D and R_N to repeated ones.

    Args:
        table: of one family, with `unique_tokens`; the last loss of each run is used.
        min_unique_tokens: runs with fewer unique tokens are left out of the second stage.
        delta: where Huber's loss turns linear, in both stages.

    Raises:
        ValueError: no column `unique_tokens`, or too few runs of one pass or of several.
    """
    checked, notes = check_table(table)
    once, again = _by_passes(checked, min_unique_tokens)
    law = fit_points(make_points(once.assign(run=once["model"])), delta=delta)
    if law.theta[1] == 0 or law.theta[2] == 0:
        raise ValueError("the runs of one pass show no effect of size or of tokens: add such runs")
    repeats_d, repeats_n, objective = _fit_repeats(law, again, delta)
    # The law of single passes is not affected by the repetition that a warning may point to.
    notes = [note for note in (*notes, *law.warnings) if "--repetition" not in note]
    doubts = (*notes, *_doubts(repeats_d, repeats_n))
    return RepeatedLaw(law, repeats_d, repeats_n, objective, len(again), doubts)


def _by_passes(table: pd.DataFrame, min_unique_tokens: float) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the last losses of the runs of one pass, and of those of several passes."""
    if "unique_tokens" not in table or table["unique_tokens"].isna().any():
        raise ValueError("repetition needs the column unique_tokens, a number in every row")
    last = table[table["tokens_seen"] >= table.groupby("run")["tokens_seen"].transform("max")]
    means = last.groupby(["model", "params", "tokens_seen", "unique_tokens"], as_index=False)[
        "loss"
    ].mean()
    epochs = means["tokens_seen"] / means["unique_tokens"]
    once = means[epochs <= ONE_PASS]
    again = means[(epochs > ONE_PASS) & (means["unique_tokens"] >= min_unique_tokens)]
    if once["params"].nunique() < FEWEST_REPEATED or len(again) < FEWEST_REPEATED:
        raise ValueError(
            f"{len(once)} runs of one pass and {len(again)} of several: repetition needs at least "
            "3 sizes of the former and 3 runs of the latter"
        )
    return once, again


def _fit_repeats(law: ScalingLaw, again: pd.DataFrame, delta: float) -> tuple[float, float, float]:
    """Return R_D, R_N and the objective of the second stage; R_N is infinite for one size."""
    from scipy.optimize import minimize

    n, d, u, y = (
        again[name].to_numpy(dtype=np.float64)
        for name in ("params", "tokens_seen", "unique_tokens", "loss")
    )
    one_size = len(set(again["params"])) == 1

    def repeats(logs: Floats) -> tuple[float, float]:
        repeats_d, repeats_n = np.exp(np.clip(logs, LEAST_LOG, 12))
        return float(repeats_d), np.inf if one_size else float(repeats_n)

    def objective(logs: Floats) -> float:
        seen = effective(law, n, d, u, *repeats(logs))
        return float(solver.huber_sum(np.log(y) - np.log(law.loss(*seen)), np.ones(len(y)), delta))

    # Search from the best point of a grid.
    starts = [np.log(pair) for pair in itertools.product(GRID[::2], repeat=2)]
    start = min(starts, key=objective)
    best = minimize(objective, start, method="Nelder-Mead", options={"xatol": 1e-6})
    return *repeats(best.x), float(best.fun)


def _doubts(repeats_d: float, repeats_n: float) -> list[str]:
    """Return warnings of what the repeated runs do not show."""
    doubts = []
    if np.isinf(repeats_n):
        doubts.append(
            "the repeated runs have one size: R_N cannot be told, and all parameters are taken to "
            "count; repeat text at several sizes"
        )
    if repeats_d < 1.01 * math.exp(LEAST_LOG):
        doubts.append(
            f"R_D is at its least, {repeats_d:.2g}: the formula does not describe these runs, in "
            "which repeating is worse than stopping; fit larger texts or fewer passes"
        )
    if repeats_d > GRID[-1]:
        doubts.append(
            f"R_D is {repeats_d:.3g}: repeated tokens look as good as new ones; add runs of more "
            "epochs to see where that ends"
        )
    return doubts
