"""A scaling law as an object: its parameters, their uncertainty, predictions, and JSON.

L(N, D) = E + A / N^alpha + B / D^beta, with N parameters, D tokens and L in nats per token.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.special import ndtri

from gptcore.checks import check_number
from gptcore.scaling import solver
from gptcore.scaling.solver import DELTA, NAMES, Floats

SAME_TOKENS = 1.5  # token counts within this factor do not identify the data term


@dataclass(frozen=True)
class Prediction:
    """The predicted loss of one run, nats per token, and the ends of its interval; or None."""

    loss: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class ScalingLaw:
    """A fitted law.

    Attributes:
        theta: (5,) E, a, b, alpha and beta, with a = A / pivot_params^alpha and
            b = B / pivot_tokens^beta.
        pivot_params: the geometric mean of the sizes fitted.
        pivot_tokens: the geometric mean of the token counts fitted.
        objective: the sum of Huber's losses of ln L.
        n_points: the number of losses fitted, after thinning.
        n_models: the number of runs fitted.
        params_range: the smallest and the largest N fitted.
        tokens_range: the smallest and the largest D fitted.
        delta: where Huber's loss turns linear.
        noise: the standard deviation of ln L of one run about the law.
        replicates: (R, 6), the weight and theta of each refit that the intervals are made of.
        unidentified: the names of the parameters that the data do not determine.
        sd: name → standard deviation; None where the parameter is unidentified.
        interval_95: name → 95 % interval; None where the parameter is unidentified.
        profile_95: name → 95 % interval of alpha and beta from the profile of the objective.
        warnings: what is doubtful, and what to do about it.
        seconds: the time of the fit alone.
    """

    theta: Floats
    pivot_params: float
    pivot_tokens: float
    objective: float
    n_points: int
    n_models: int
    params_range: tuple[float, float]
    tokens_range: tuple[float, float]
    delta: float
    noise: float | None = None
    replicates: Floats = field(default_factory=lambda: np.empty((0, 6)))
    unidentified: tuple[str, ...] = ()
    sd: Mapping[str, float | None] = field(default_factory=dict)
    interval_95: Mapping[str, tuple[float, float] | None] = field(default_factory=dict)
    profile_95: Mapping[str, tuple[float, float] | None] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    seconds: float = 0.0

    @property
    def parameters(self) -> dict[str, float]:
        """E, A, B, alpha and beta of the formula, identified or not."""
        raw = natural(self.theta[None], self.pivot_params, self.pivot_tokens)[0]
        return dict(zip(NAMES, map(float, raw), strict=True))

    def loss(self, params: Floats | float, tokens: Floats | float) -> Floats:
        """Return L(N, D), nats per token, without the noise of a run."""
        e, a, b, alpha, beta = self.theta
        x, z = np.log(params) - math.log(self.pivot_params), np.log(tokens) - self._log_tokens
        return np.asarray(e + a * np.exp(-alpha * x) + b * np.exp(-beta * z))

    @property
    def _log_tokens(self) -> float:
        return math.log(self.pivot_tokens)

    def sd_log(self, params: float, tokens: float) -> float | None:
        """Return the standard deviation of ln L(N, D) that comes from the fit; None if unknown."""
        if not len(self.replicates):
            return None
        x = np.array([math.log(params / self.pivot_params)])
        z = np.array([math.log(tokens / self.pivot_tokens)])
        refits = solver.log_prediction(self.replicates[:, 1:], x, z)[:, 0]
        moved = refits - math.log(self.loss(params, tokens))
        return float(np.sqrt(self.replicates[:, 0] @ moved**2))

    def predict(
        self, params: float, tokens: float, *, confidence: float = 0.95, new_run: bool = True
    ) -> Prediction:
        """Predict the loss of a run of `params` parameters after `tokens` tokens.

        Args:
            params: N.
            tokens: D.
            confidence: the confidence of the interval, in (0, 1).
            new_run: whether the interval is for the loss of a new run, with its noise; otherwise it
                is for the law, which is the mean over such runs.

        Raises:
            ValueError: a number is not positive, or `confidence` is not in (0, 1).
        """
        check_number("params", params, "(0, inf)")
        check_number("tokens", tokens, "(0, inf)")
        check_number("confidence", confidence, "(0, 1)")
        if self.beyond(params, tokens):
            return Prediction(None, None, None)
        loss, sd = float(self.loss(params, tokens)), self.sd_log(params, tokens)
        if sd is None or self.noise is None:
            return Prediction(loss, None, None)
        width = float(ndtri((1 + confidence) / 2)) * math.hypot(sd, self.noise if new_run else 0)
        return Prediction(loss, loss * math.exp(-width), loss * math.exp(width))

    def beyond(self, params: float, tokens: float) -> str | None:
        """Return why the law says nothing about that size or token count, or None if it does."""
        low, high = self.params_range
        no_size_term = low == high and self.theta[1] == 0
        if no_size_term and not math.isclose(params, low, rel_tol=1e-6):
            return f"one size alone, {low:g}, says nothing about {params:g} parameters: add sizes"
        low, high = self.tokens_range
        no_data_term = self.theta[2] == 0 and high <= low * SAME_TOKENS
        if no_data_term and not low / SAME_TOKENS <= tokens <= high * SAME_TOKENS:
            return f"runs of {low:g} to {high:g} tokens say nothing about {tokens:g}: add lengths"
        return None

    def as_dict(self) -> dict[str, Any]:
        """Return the law as an object for JSON; `from_dict` reads it again."""
        known = {
            name: None if name in self.unidentified else value
            for name, value in self.parameters.items()
        }
        return {
            **known,
            "objective": self.objective,
            "n_points": self.n_points,
            "n_models": self.n_models,
            "sd": dict(self.sd),
            "interval_95": {k: v if v is None else list(v) for k, v in self.interval_95.items()},
            "profile_95": {k: v if v is None else list(v) for k, v in self.profile_95.items()},
            "warnings": list(self.warnings),
            "seconds": self.seconds,
            "state": {
                "theta": self.theta.tolist(),
                "pivot_params": self.pivot_params,
                "pivot_tokens": self.pivot_tokens,
                "params_range": list(self.params_range),
                "tokens_range": list(self.tokens_range),
                "delta": self.delta,
                "noise": self.noise,
                "replicates": self.replicates.tolist(),
            },
        }

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any]) -> ScalingLaw:
        """Return the law that `as_dict` wrote.

        Raises:
            ValueError: `saved` is not such a law.
        """
        try:
            state = saved["state"]
            law = cls(
                theta=np.array(state["theta"], dtype=np.float64),
                pivot_params=float(state["pivot_params"]),
                pivot_tokens=float(state["pivot_tokens"]),
                objective=float(saved["objective"]),
                n_points=int(saved["n_points"]),
                n_models=int(saved["n_models"]),
                params_range=_pair(state["params_range"]),
                tokens_range=_pair(state["tokens_range"]),
                delta=float(state["delta"]),
                noise=None if state["noise"] is None else float(state["noise"]),
                replicates=np.array(state["replicates"], dtype=np.float64).reshape(-1, 6),
                unidentified=tuple(name for name in NAMES if saved[name] is None),
                sd=dict(saved["sd"]),
                interval_95={
                    k: v if v is None else _pair(v) for k, v in saved["interval_95"].items()
                },
                profile_95={
                    k: v if v is None else _pair(v) for k, v in saved["profile_95"].items()
                },
                warnings=tuple(saved["warnings"]),
                seconds=float(saved["seconds"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ValueError(
                f"not a law ({type(error).__name__}: {error}): give the output of "
                "gptcore scale fit --json"
            ) from None
        usable = law.theta.shape == (5,) and np.isfinite(law.theta).all() and (law.theta >= 0).all()
        if not (usable and law.pivot_params > 0 and law.pivot_tokens > 0):
            raise ValueError("not a law: its parameters are not five numbers of at least 0")
        return law


def _pair(values: Sequence[float]) -> tuple[float, float]:
    low, high = values
    return float(low), float(high)


def natural(theta: Floats, pivot_params: float, pivot_tokens: float) -> Floats:
    """Return E, A, B, alpha, beta, (K, 5), from parameters at the pivots."""
    raw = theta.copy()
    with np.errstate(over="ignore"):
        raw[:, 1] *= np.exp(theta[:, 3] * math.log(pivot_params))
        raw[:, 2] *= np.exp(theta[:, 4] * math.log(pivot_tokens))
    return raw


def law_from(
    E: float,  # noqa: N803
    A: float,  # noqa: N803
    B: float,  # noqa: N803
    alpha: float,
    beta: float,
) -> ScalingLaw:
    """Return a law with given parameters, as published, without intervals."""
    theta = np.array([E, A, B, alpha, beta], dtype=np.float64)
    if not (np.isfinite(theta).all() and (theta >= 0).all()):
        raise ValueError(f"a law's parameters are {theta.tolist()}: give numbers of at least 0")
    everywhere = (0.0, math.inf)
    return ScalingLaw(theta, 1.0, 1.0, 0.0, 0, 0, everywhere, everywhere, DELTA)
