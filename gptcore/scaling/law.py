"""A scaling law as an object: its parameters, their uncertainty, predictions, and JSON.

L(N, D) = E + A / N^alpha + B / D^beta, with N parameters, D tokens and L in nats per token.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
from scipy.special import ndtri

from gptcore.checks import check_number, check_whole
from gptcore.plain_text import shorten
from gptcore.scaling import solver
from gptcore.scaling.lines import Line
from gptcore.scaling.solver import DELTA, NAMES, Floats

T = TypeVar("T")
SAME_PARAMS = 1.05  # sizes within this factor count as one
LEAST_LOSS = 1e-100  # its product with exp(-FARTHEST) is still above 0
FARTHEST = 300.0  # of the end of an interval from the prediction, in ln L; exp of 710 overflows
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
        widening: the factor on intervals beyond the largest size fitted, or beyond the most tokens
            on a line of one size (`backtests`).
        late_fall: how far ln L ends below the trend of runs that fall late; 0 if they do not.
        replicates: (R, 6), the weight and theta of each refit that the intervals are made of.
        unidentified: the names of the parameters that the data do not determine.
        sd: name → standard deviation; None where the parameter is unidentified.
        interval_95: name → 95 % interval; None where the parameter is unidentified.
        profile_95: name → 95 % interval of alpha and beta from the profile of the objective.
        warnings: what is doubtful, and what to do about it.
        seconds: the time of the fit alone.
        line: the line that all runs lie on, as at constant tokens per parameter, or None. With a
            line the replicates are draws of laws, the loss is their mean, and theta is the draw
            nearest to it.
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
    widening: float = 1.0
    late_fall: float = 0.0
    replicates: Floats = field(default_factory=lambda: np.empty((0, 6)))
    unidentified: tuple[str, ...] = ()
    sd: Mapping[str, float | None] = field(default_factory=dict)
    interval_95: Mapping[str, tuple[float, float] | None] = field(default_factory=dict)
    profile_95: Mapping[str, tuple[float, float] | None] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    seconds: float = 0.0
    line: Line | None = None

    @property
    def parameters(self) -> dict[str, float]:
        """E, A, B, alpha and beta of the formula, identified or not."""
        raw = natural(self.theta[None], self.pivot_params, self.pivot_tokens)[0]
        return dict(zip(NAMES, map(float, raw), strict=True))

    def loss(self, params: Floats | float, tokens: Floats | float) -> Floats:
        """Return L(N, D), nats per token, without the noise of a run."""
        x, z = (
            np.log(params) - math.log(self.pivot_params),
            np.log(tokens) - math.log(self.pivot_tokens),
        )
        if self.line is None:
            e, a, b, alpha, beta = self.theta
            return np.asarray(e + a * np.exp(-alpha * x) + b * np.exp(-beta * z))
        x, z = np.broadcast_arrays(x, z)
        draws = solver.log_prediction(self.replicates[:, 1:], x.ravel(), z.ravel())
        return np.asarray(np.exp(draws.mean(axis=0)).reshape(x.shape))

    def log_refits(self, params: float, tokens: float) -> Floats:
        """Return ln L(N, D) by each refit, (R,)."""
        x = np.array([math.log(params / self.pivot_params)])
        z = np.array([math.log(tokens / self.pivot_tokens)])
        return solver.log_prediction(self.replicates[:, 1:], x, z)[:, 0]

    def on_line(self, factor: float) -> tuple[float, float]:
        """Return N and D at the upper end of the line, off it by a factor of what follows."""
        assert self.line is not None
        ends, pivots = (
            (self.params_range, self.tokens_range),
            (self.pivot_params, self.pivot_tokens),
        )
        along, other = self.line.along, 1 - self.line.along
        lead = math.log(ends[along][1] / pivots[along])
        run = {along: ends[along][1]}
        run[other] = factor * pivots[other] * math.exp(self.line.middle + self.line.slope * lead)
        return run[0], run[1]

    def sd_log(self, params: float, tokens: float) -> float | None:
        """Return the standard deviation of ln L(N, D) that comes from the fit; None if unknown."""
        if not len(self.replicates):
            return None
        with np.errstate(all="ignore"):
            moved = self.log_refits(params, tokens) - math.log(self.loss(params, tokens))
            sd = float(np.sqrt(self.replicates[:, 0] @ moved**2))
        return sd if math.isfinite(sd) else None

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
        params = check_number("params", params, "(0, inf)")
        tokens = check_number("tokens", tokens, "(0, inf)")
        confidence = check_number("confidence", confidence, "(0, 1)")
        if self.beyond(params, tokens):
            return Prediction(None, None, None)
        if self.line is not None:
            refits = self.log_refits(params, tokens)
            low, high = np.exp(self.line.interval(refits, confidence, new_run=new_run))
            at = Prediction(float(np.exp(refits.mean())), float(low), float(high))
            return self._widened(at, params, tokens)
        loss, sd = float(self.loss(params, tokens)), self.sd_log(params, tokens)
        if sd is None or self.noise is None:
            return Prediction(loss, None, None)
        width = float(ndtri((1 + confidence) / 2)) * math.hypot(sd, self.noise if new_run else 0)
        width = min(width, FARTHEST)
        at = Prediction(loss, loss * math.exp(-width), loss * math.exp(width))
        return self._widened(at, params, tokens)

    def _widened(self, at: Prediction, params: float, tokens: float) -> Prediction:
        """Return a prediction with the interval that back-tests and late falls ask for."""
        if at.loss is None or at.low is None or at.high is None:
            return at
        largest, here = self.params_range[1], params
        if self.line is not None and self.line.along:
            largest, here = self.tokens_range[1], tokens
        factor = self.widening if here > largest * (1 + 1e-9) else 1.0
        low, high = (factor * math.log(end / at.loss) for end in (at.low, at.high))
        low, high = max(low + self.late_fall, -FARTHEST), min(high, FARTHEST)
        return Prediction(at.loss, at.loss * math.exp(low), at.loss * math.exp(high))

    def beyond(self, params: float, tokens: float) -> str | None:
        """Return why the law says nothing about that size or token count, or None if it does."""
        with np.errstate(all="ignore"):
            if not LEAST_LOSS < self.loss(params, tokens) < math.inf:
                where = f"{params:.3g} parameters and {tokens:.3g} tokens"
                return f"its loss of {where} is not a positive number: check its parameters"
        if self.line is not None:
            x, z = math.log(params / self.pivot_params), math.log(tokens / self.pivot_tokens)
            off = self.line.off(x, z)
            if abs(off) <= self.line.reach:
                return None
            return (
                f"{params:.3g} parameters and {tokens:.3g} tokens lie off the line of the runs by "
                f"a factor of {math.exp(min(abs(off), 700)):.3g}, and the law holds up to "
                f"{math.exp(self.line.reach):.3g}: train runs that lie off the line as well"
            )
        low, high = self.params_range
        no_size_term = high <= low * SAME_PARAMS and self.theta[1] == 0
        if no_size_term and not low / SAME_PARAMS <= params <= high * SAME_PARAMS:
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
                "widening": self.widening,
                "late_fall": self.late_fall,
                "replicates": self.replicates.tolist(),
                "line": self.line and self.line.as_dict(),
            },
        }

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any]) -> ScalingLaw:
        """Return the law that `as_dict` wrote.

        Raises:
            ValueError: `saved` is not such a law.
        """
        try:
            return _law_of(saved, saved["state"])
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            reason = str(error)
            if isinstance(error, KeyError):
                reason = f"it has no {error}"
            elif isinstance(error, TypeError | AttributeError):
                reason = f"a part of it is of another type ({error})"
            raise ValueError(
                f"{shorten(reason, 120)}; give the output of gptcore scale fit --json"
            ) from None


def _law_of(saved: Mapping[str, Any], state: Mapping[str, Any]) -> ScalingLaw:
    """Return the law in an object of JSON; what is no law raises one of many exceptions."""
    rows = (_list(row, 6) for row in _list(state["replicates"]))
    refits = [[_number(row[0], "a weight", "[0, 1e100]"), *_theta(row[1:])] for row in rows]
    noise = state["noise"]
    return ScalingLaw(
        theta=np.array(_theta(_list(state["theta"], 5))),
        pivot_params=_number(state["pivot_params"], "pivot_params", "(0, 1e300]"),
        pivot_tokens=_number(state["pivot_tokens"], "pivot_tokens", "(0, 1e300]"),
        objective=_number(saved["objective"], "objective", "[0, 1e300]"),
        n_points=check_whole("n_points", saved["n_points"], at_least=0),
        n_models=check_whole("n_models", saved["n_models"], at_least=0),
        params_range=_pair(state["params_range"], "(0, 1e300]"),
        tokens_range=_pair(state["tokens_range"], "(0, 1e300]"),
        delta=_number(state["delta"], "delta", "(0, 1e300]"),
        noise=None if noise is None else _number(noise, "noise", "[0, 100]"),
        widening=_number(state.get("widening", 1.0), "widening", "[1, 1e6]"),
        late_fall=_number(state.get("late_fall", 0.0), "late_fall", f"[{-FARTHEST}, 0]"),
        replicates=np.array(refits).reshape(-1, 6),
        unidentified=tuple(name for name in NAMES if saved[name] is None),
        sd={name: _known(saved["sd"][name], _number) for name in NAMES},
        interval_95={name: _known(saved["interval_95"][name], _pair) for name in NAMES},
        profile_95={name: _known(pair, _pair) for name, pair in saved["profile_95"].items()},
        warnings=tuple(_text(text) for text in _list(saved["warnings"])),
        seconds=_number(saved["seconds"], "seconds", "[0, 1e300]"),
        line=_known(state.get("line"), Line.from_dict),
    )


def _number(value: Any, name: str = "a number", interval: str = "[-1e300, 1e300]") -> float:
    return check_number(name, value, interval)


def _theta(values: list[Any]) -> list[float]:
    """Return E, a, b, alpha and beta, of which at least one loss is above 0."""
    losses = [_number(value, "a loss of theta", "[0, 1e100]") for value in values[:3]]
    check_number("the loss at the pivots", sum(losses), "(0, inf)")
    return [*losses, *(_number(value, "an exponent of theta", "[0, 10]") for value in values[3:])]


def _known(value: Any, read: Callable[[Any], T]) -> T | None:
    return None if value is None else read(value)


def _list(value: Any, length: int | None = None) -> list[Any]:
    if not isinstance(value, list) or length not in (None, len(value)):
        raise ValueError(f"{value!r} is not a list{f' of {length}' if length else ''}")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is not text")
    return value


def _pair(values: Any, interval: str = "[-1e300, 1e300]") -> tuple[float, float]:
    low, high = (_number(value, "an end", interval) for value in _list(values, 2))
    return low, check_number("an upper end", high, f"[{low}, inf)")


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
    """Return a law with given parameters, as published, without intervals.

    Raises:
        ValueError: a parameter is no such number, or an exponent is above 10.
    """
    given = zip(NAMES, (E, A, B, alpha, beta), strict=True)
    theta = np.array(
        [
            check_number(name, value, "(0, 10]" if name in ("alpha", "beta") else "[0, 1e100]")
            for name, value in given
        ]
    )
    everywhere = (0.0, math.inf)
    return ScalingLaw(theta, 1.0, 1.0, 0.0, 0, 0, everywhere, everywhere, DELTA)
