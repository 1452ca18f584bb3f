"""Scaling laws of repeated text: how much is a token worth that the model has seen before?

Muennighoff et al. 2023 (arXiv:2305.16264) replace D and N by effective numbers. With U unique
tokens and R = D / U - 1 repetitions, D' = U + U R_D (1 - exp(-R / R_D)). With the best size U_N for
U tokens and R' = N / U_N - 1, N' = U_N + U_N R_N (1 - exp(-R' / R_N)). Training on random windows
of one book repeats it, so these laws also apply to runs of the samplers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import ndtri

from gptcore.checks import check_number
from gptcore.reading import MOST_JSON_BYTES, parse_json, read_text
from gptcore.scaling import solver
from gptcore.scaling.law import Prediction, ScalingLaw, law_from
from gptcore.scaling.planning import (
    FLOPS_PER_PARAM_TOKEN,
    LARGEST_LOG,
    Allocation,
    allocate,
)
from gptcore.scaling.solver import Floats

GRID_POINTS = 601  # sizes tried for an allocation
QUANTILES = 99  # of the noise of a run, for intervals
TINY = 1e-300
ENDLESS = 1e4  # R_D and R_N above it cannot be told from infinity
MOST_SAVED = 200  # draws that a law file keeps


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
        noise: the standard deviation of ln L of a repeated run about the law; None if unknown.
        draws: (K, 7), the theta, R_D and R_N of each bootstrap of the runs of both stages.
        profile_95: the 95 % interval of R_D from the profile of the second stage, with the law of
            one pass held, which is too narrow by what that law does not know; or None.
        goodness: `residual_sd` of ln L of the repeated runs and `residual_sd_once` of the others,
            and `r2` of the penalty ln L(N, D, U) - ln L(N, D); None where it is not defined.
        by_filter: a row for each least number of unique tokens tried, with R_D, its 95 %
            interval and the number of runs.
    """

    law: ScalingLaw
    R_D: float
    R_N: float
    objective: float = 0.0
    n_repeated: int = 0
    warnings: tuple[str, ...] = ()
    noise: float | None = None
    draws: Floats = field(default_factory=lambda: np.empty((0, 7)))
    profile_95: tuple[float, float] | None = None
    goodness: Mapping[str, float | None] = field(default_factory=dict)
    by_filter: tuple[Mapping[str, Any], ...] = ()

    @classmethod
    def from_dict(cls, law: ScalingLaw, saved: Mapping[str, Any]) -> RepeatedLaw | None:
        """Return `law` with the R_D and R_N of a saved law; None if it has none.

        Raises:
            ValueError: R_D or R_N is not a positive number.
        """
        if saved.get("R_D") is None and saved.get("R_N") is None:
            return None
        repeats_n = saved.get("R_N")
        state = saved.get("repetition") or {"noise": None, "draws": []}
        if not isinstance(state, dict) or not isinstance(state.get("draws"), list):
            raise ValueError("its part repetition is no object with noise and draws")
        rows = [_draw(row) for row in state["draws"]]
        noise = state.get("noise")
        return cls(
            law,
            check_number("R_D", saved.get("R_D"), "(0, inf)"),  # type: ignore[arg-type]
            math.inf if repeats_n is None else check_number("R_N", repeats_n, "(0, inf)"),
            noise=None if noise is None else check_number("noise", noise, "[0, 1e300]"),
            draws=np.array(rows).reshape(-1, 7),
        )

    def loss(
        self, params: Floats | float, tokens: Floats | float, unique_tokens: Floats | float
    ) -> Floats:
        """Return the predicted loss, nats per token."""
        return self.law.loss(
            *effective(self.law, params, tokens, unique_tokens, self.R_D, self.R_N)
        )

    def log_losses(self, params: Floats, tokens: Floats, unique_tokens: float) -> Floats:
        """Return ln L of runs by each draw, (K, M), for N and D of shape (M,) or (K, M)."""
        return log_losses(
            self.law, self.draws[:, :5], self.draws[:, 5:], params, tokens, unique_tokens
        )

    def predict(
        self, params: float, tokens: float, unique_tokens: float, *, confidence: float = 0.95
    ) -> Prediction:
        """Predict the loss of a run on repeated text, with the interval of a new run.

        The interval holds quantiles over the draws, with the noise of a run added to each.
        """
        loss = float(self.loss(params, tokens, unique_tokens))
        if not len(self.draws) or self.noise is None:
            return Prediction(loss, None, None)
        drawn = self.log_losses(np.array([params]), np.array([tokens]), unique_tokens)
        noise = self.noise * ndtri((np.arange(QUANTILES) + 0.5) / QUANTILES)
        tails = (1 - confidence) / 2, (1 + confidence) / 2
        low, high = np.exp(np.quantile(drawn + noise, tails))
        return Prediction(loss, float(min(low, loss)), float(max(high, loss)))

    def as_dict(self) -> dict[str, Any]:
        """Return the results of the second stage, for JSON."""
        return {
            "R_D": self.R_D,
            "R_N": None if np.isinf(self.R_N) else self.R_N,
            "R_D_interval_95": self._interval(5),
            "R_N_interval_95": None if np.isinf(self.R_N) else self._interval(6),
            "R_D_profile_95_given_law": None if self.profile_95 is None else list(self.profile_95),
            "R_D_by_filter": [dict(row) for row in self.by_filter],
            "goodness": dict(self.goodness),
            "repeated_objective": self.objective,
            "n_repeated": self.n_repeated,
            "repetition": {
                "noise": self.noise,
                "draws": [
                    [None if math.isinf(value) else value for value in row]
                    for row in self.draws[:MOST_SAVED].tolist()
                ],
            },
        }

    def _interval(self, column: int) -> list[float | None] | None:
        """Return the 95 % interval of R_D (column 5) or R_N (6): quantiles of the draws.

        An end that is None says that the runs set no limit there.
        """
        if not len(self.draws):
            return None
        ends = np.quantile(self.draws[:, column], (0.025, 0.975)).tolist()
        return [end if end < ENDLESS else None for end in ends]


def _draw(row: Any) -> list[float]:
    """Return theta, R_D and R_N of a saved draw; R_N may be null, which is infinite."""
    if not isinstance(row, list) or len(row) != 7:
        raise ValueError("a draw of its part repetition is no list of 7 numbers")
    return [
        math.inf if value is None else check_number("a draw", value, "[0, 1e300]") for value in row
    ]


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


def best_sizes(repeated: RepeatedLaw, flops: float, unique_tokens: float) -> Floats:
    """Return the best N by each draw, (K,), on the grid of `allocate_repeated`."""
    middle = allocate_repeated(repeated, flops, unique_tokens).params
    params = middle * np.exp(np.linspace(-1, 1, GRID_POINTS) * math.log(1e3))
    tokens = flops / FLOPS_PER_PARAM_TOKEN / params
    return np.asarray(params[np.argmin(repeated.log_losses(params, tokens, unique_tokens), axis=1)])


def log_losses(
    law: ScalingLaw,
    theta: Floats,
    repeats: Floats,
    params: Floats,
    tokens: Floats,
    unique_tokens: Floats | float,
) -> Floats:
    """Return ln L of M runs by K laws, (K, M).

    Args:
        law: gives the pivots.
        theta: (K, 5) E, a, b, alpha and beta.
        repeats: (K, 2) R_D and R_N.
        params: N, (M,).
        tokens: D, (M,).
        unique_tokens: U, a number or (M,).
    """
    e, a, b, alpha, beta = (theta[:, i, None] for i in range(5))
    unique = np.minimum(unique_tokens, tokens)
    n, d = useful(
        _balanced(law, unique, a, b, alpha, beta), params, tokens, unique,
        repeats[:, :1], repeats[:, 1:],
    )  # fmt: skip
    x, z = np.log(n / law.pivot_params), np.log(d / law.pivot_tokens)
    return np.asarray(np.log(e + a * np.exp(-alpha * x) + b * np.exp(-beta * z)))


def _balanced(
    law: ScalingLaw,
    unique: Floats,
    a: Floats | float,
    b: Floats | float,
    alpha: Floats | float,
    beta: Floats | float,
) -> Floats:
    """Return the size at which the terms for N and D balance for `unique` tokens."""
    balance = np.log(np.maximum(alpha * a, TINY)) - np.log(np.maximum(beta * b, TINY))
    log_size = (balance + beta * np.log(unique / law.pivot_tokens)) / alpha
    log_size = log_size + math.log(law.pivot_params)
    return np.asarray(np.exp(np.clip(log_size, -LARGEST_LOG / 2, LARGEST_LOG / 2)))


def useful(
    best: Floats,
    params: Floats | float,
    tokens: Floats | float,
    unique: Floats | float,
    repeats_d: Floats | float,
    repeats_n: Floats | float,
) -> tuple[Floats, Floats]:
    """Return N' and D' for the best size `best` for `unique` tokens."""
    worth = unique * (1 + repeats_d * -np.expm1(-(tokens / unique - 1) / repeats_d))
    within = np.minimum(params, best)
    with np.errstate(invalid="ignore"):
        size = within * (1 + repeats_n * -np.expm1(-(params / within - 1) / repeats_n))
    return np.where(np.isinf(repeats_n), params, size), np.asarray(worth)


def effective(
    law: ScalingLaw,
    params: Floats | float,
    tokens: Floats | float,
    unique_tokens: Floats | float,
    repeats_d: float,
    repeats_n: float,
) -> tuple[Floats, Floats]:
    """Return the effective parameters and tokens, N' and D'."""
    unique = np.asarray(np.minimum(unique_tokens, tokens), dtype=np.float64)
    best = _balanced(law, unique, *law.theta[1:])
    return useful(best, params, tokens, unique, repeats_d, repeats_n)
