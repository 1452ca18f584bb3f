"""Scaling laws L(N, D) = E + A / N^alpha + B / D^beta: fit to small runs, predict bigger ones.

N parameters, D training tokens, L nats per token (Hoffmann et al. 2022, arXiv:2203.15556,
approach 3). The fit minimises the sum of Huber's loss of ln L (`scalingfit`), the same objective
as there; intervals leave out one run after another (`scalingstats`). What the data cannot
identify is said in `warnings` and given as None.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import ndtri

from gptcore import scalingfit
from gptcore.scalingfit import NAMES, Data, Floats, Mask
from gptcore.scalingstats import bootstrap, intervals, leave_out, noise_sd
from gptcore.scalingtable import Cut, Points, check_table, make_points

if TYPE_CHECKING:
    import pandas as pd

DELTA = 1e-3
TYPICAL_EXPONENT = 0.35  # alpha 0.34-0.35, beta 0.35-0.37 in the published fits on web text
ASSUMED_WITHIN = 1.6  # one standard deviation: what is assumed or borrowed, times or divided
RUN_NOISE = 0.01  # of ln L, one standard deviation: where too few runs are there to show it
SAME_TOKENS = 1.5  # token counts within this factor do not identify the data term
FLAT = 0.5  # a parameter with a larger relative standard deviation is not given
FEWEST_RUNS_TO_BOOTSTRAP = 12
BOOTSTRAPS = 1000


@dataclass(frozen=True)
class Prediction:
    """The loss of one run, nats per token, and the interval it falls into, or None."""

    loss: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class ScalingLaw:
    """A fitted law.

    Attributes:
        theta: (5,) E, a, b, alpha, beta with a = A / pivot_params^alpha, b likewise.
        pivot_params: geometric mean of the sizes fitted, and `pivot_tokens` of the tokens.
        unidentified: names of the parameters that the data do not tell.
        objective: sum of Huber's losses of ln L.
        n_points: losses fitted, after thinning.
        n_models: runs fitted.
        params_range: smallest and largest N fitted, and `tokens_range` likewise.
        noise: standard deviation of ln L of one run about the law.
        replicates: (R, 6) weight and theta of the refits that make the intervals.
        sd: name to standard deviation, None where unidentified, and `interval_95` likewise.
        warnings: what is doubtful, and what to do about it.
        seconds: time of the fit alone.
        delta: Huber's.
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
    warnings: tuple[str, ...] = ()
    seconds: float = 0.0

    @property
    def parameters(self) -> dict[str, float]:
        """E, A, B, alpha, beta as the formula has them, identified or not."""
        raw = natural(self.theta[None], self.pivot_params, self.pivot_tokens)[0]
        return dict(zip(NAMES, map(float, raw), strict=True))

    def loss(self, params: Floats | float, tokens: Floats | float) -> Floats:
        """Return L(N, D), nats per token, of the law itself."""
        e, a, b, alpha, beta = self.theta
        x, z = np.log(params) - math.log(self.pivot_params), np.log(tokens) - self._log_tokens
        return np.asarray(e + a * np.exp(-alpha * x) + b * np.exp(-beta * z))

    @property
    def _log_tokens(self) -> float:
        return math.log(self.pivot_tokens)

    def sd_log(self, params: float, tokens: float) -> float | None:
        """Return the standard deviation of ln L(N, D) by the fit alone."""
        if not len(self.replicates):
            return None
        x = np.array([math.log(params / self.pivot_params)])
        z = np.array([math.log(tokens / self.pivot_tokens)])
        refits = scalingfit.log_prediction(self.replicates[:, 1:], x, z)[:, 0]
        moved = refits - math.log(self.loss(params, tokens))
        return float(np.sqrt(self.replicates[:, 0] @ moved**2))

    def predict(
        self, params: float, tokens: float, *, confidence: float = 0.95, new_run: bool = True
    ) -> Prediction:
        """Predict the loss of a run of `params` parameters after `tokens` tokens.

        Args:
            params: N.
            tokens: D.
            confidence: of the interval, in (0, 1).
            new_run: the interval is for the loss of a new run, its noise included; otherwise for
                the law, the mean over such runs.

        Raises:
            ValueError: a number is not positive, or the confidence no probability.
        """
        if not (0 < params < math.inf and 0 < tokens < math.inf):
            raise ValueError(f"params is {params:g}, tokens {tokens:g}: give positive numbers")
        if not 0 < confidence < 1:
            raise ValueError(f"confidence is {confidence}: give a number in (0, 1)")
        if self.beyond(params, tokens):
            return Prediction(None, None, None)
        loss, sd = float(self.loss(params, tokens)), self.sd_log(params, tokens)
        if sd is None or self.noise is None:
            return Prediction(loss, None, None)
        width = float(ndtri((1 + confidence) / 2)) * math.hypot(sd, self.noise if new_run else 0)
        return Prediction(loss, loss * math.exp(-width), loss * math.exp(width))

    def beyond(self, params: float, tokens: float) -> str | None:
        """Return why a prediction there would be a guess, or None."""
        low, high = self.params_range
        no_size_term = low == high and self.theta[1] == 0
        if no_size_term and not math.isclose(params, low, rel_tol=1e-6):
            return f"one size alone, {low:g}, says nothing of {params:g} parameters: add sizes"
        low, high = self.tokens_range
        no_data_term = self.theta[2] == 0 and high <= low * SAME_TOKENS
        if no_data_term and not low / SAME_TOKENS <= tokens <= high * SAME_TOKENS:
            return f"runs of {low:g} to {high:g} tokens say nothing of {tokens:g}: add lengths"
        return None

    def as_dict(self) -> dict[str, Any]:
        """Return the law as JSON has it; `from_dict` reads it again."""
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
    def from_dict(cls, found: Mapping[str, Any]) -> ScalingLaw:
        """Return the law that `as_dict` wrote.

        Raises:
            ValueError: it is not such a law.
        """
        try:
            state = found["state"]
            law = cls(
                theta=np.array(state["theta"], dtype=np.float64),
                pivot_params=float(state["pivot_params"]),
                pivot_tokens=float(state["pivot_tokens"]),
                objective=float(found["objective"]),
                n_points=int(found["n_points"]),
                n_models=int(found["n_models"]),
                params_range=_pair(state["params_range"]),
                tokens_range=_pair(state["tokens_range"]),
                delta=float(state["delta"]),
                noise=None if state["noise"] is None else float(state["noise"]),
                replicates=np.array(state["replicates"], dtype=np.float64).reshape(-1, 6),
                unidentified=tuple(name for name in NAMES if found[name] is None),
                sd=dict(found["sd"]),
                interval_95={
                    k: v if v is None else _pair(v) for k, v in found["interval_95"].items()
                },
                warnings=tuple(found["warnings"]),
                seconds=float(found["seconds"]),
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


def fit(
    table: pd.DataFrame,
    *,
    cut: Cut | None = None,
    delta: float = DELTA,
    bootstraps: int = BOOTSTRAPS,
    borrowed: Mapping[str, float] | None = None,
) -> ScalingLaw:
    """Fit a law to a table of losses of one family.

    Args:
        table: as `scalingtable.check_table` takes it.
        cut: the part of each run to use; by default its last 70 %.
        delta: of Huber's loss of ln L; smaller is nearer to least absolute deviations.
        bootstraps: of runs, for the standard deviations; with fewer than 12 runs, leaving out
            one run after another stands in.
        borrowed: parameters to hold at another law's values, as from `borrow`.

    Raises:
        ValueError: the table, `delta` or a borrowed parameter is not usable.
    """
    checked, notes = check_table(table)
    points = make_points((cut or Cut())(checked))
    return fit_points(
        points, delta=delta, bootstraps=bootstraps, borrowed=borrowed or {}, notes=notes
    )


def borrow(law: ScalingLaw, names: Iterable[str] = ("A", "alpha")) -> dict[str, float]:
    """Return parameters of `law` for `fit(…, borrowed=…)`: by default how size acts.

    Raises:
        ValueError: an unknown name, or one that `law` does not identify.
    """
    names = tuple(names)
    for name in names:
        if name not in NAMES or name in law.unidentified:
            known = [n for n in NAMES if n not in law.unidentified]
            raise ValueError(f"cannot borrow {name!r}: the law has {', '.join(known) or 'none'}")
    if {"A", "alpha"} & {*names} and not {"A", "alpha"} <= {*names}:
        raise ValueError("A and alpha mean something together only: borrow both or neither")
    if {"B", "beta"} & {*names} and not {"B", "beta"} <= {*names}:
        raise ValueError("B and beta mean something together only: borrow both or neither")
    return {name: law.parameters[name] for name in names}


def fit_points(
    points: Points,
    *,
    delta: float = DELTA,
    bootstraps: int = 0,
    borrowed: Mapping[str, float] | None = None,
    notes: Sequence[str] = (),
) -> ScalingLaw:
    """Fit a law to points; `fit` says what the arguments are."""
    if not 0 < delta <= 1:
        raise ValueError(f"delta is {delta}: give a number in (0, 1]")
    started = time.perf_counter()
    pivots = (
        math.exp(np.log(points.params).mean()),
        math.exp(np.log(points.tokens).mean()),
    )
    data = Data(
        np.log(points.params / pivots[0]), np.log(points.tokens / pivots[1]), np.log(points.loss)
    )
    borrowed = dict(borrowed or {})
    free, held, unidentified, more = _what_is_free(points, pivots, borrowed)
    theta, objective = scalingfit.solve(data, delta=delta, free=free, held=held)
    seconds = time.perf_counter() - started
    replicates = np.vstack(
        [
            leave_out(points, data, theta, delta=delta, free=free),
            _what_if(points, data, theta, delta=delta, free=free, held=held),
        ]
    )
    law = ScalingLaw(
        theta=theta,
        pivot_params=pivots[0],
        pivot_tokens=pivots[1],
        objective=objective,
        n_points=len(points.loss),
        n_models=points.n_runs,
        params_range=(float(points.params.min()), float(points.params.max())),
        tokens_range=(float(points.tokens.min()), float(points.tokens.max())),
        delta=delta,
        noise=noise_sd(data, theta, int(free.sum())),
        replicates=replicates,
        seconds=seconds,
    )
    drawn = None
    if bootstraps and points.n_runs >= FEWEST_RUNS_TO_BOOTSTRAP:
        drawn = bootstrap(points, data, theta, delta=delta, free=free, count=bootstraps)
    return _with_intervals(law, drawn, free, unidentified, [*notes, *points.notes, *more])


def _what_is_free(
    points: Points, pivots: tuple[float, float], borrowed: Mapping[str, float]
) -> tuple[Mask, Floats, set[str], list[str]]:
    """Return which of theta move, the values of the others, what is unidentified, and why."""
    free, held = scalingfit.ALL.copy(), np.array([0, 0, 0, TYPICAL_EXPONENT, TYPICAL_EXPONENT])
    unknown: set[str] = set()
    notes = []
    n_sizes, n_points = len(points.sizes), len(points.loss)
    low, high = points.tokens.min(), points.tokens.max()
    if "alpha" not in borrowed:
        if n_sizes < 3:
            free[3] = False
            unknown |= {"E", "A", "alpha"}
            what = f"alpha is taken as {TYPICAL_EXPONENT}" if n_sizes == 2 else "N is left out"
            notes.append(
                f"{n_sizes} size{'s' * (n_sizes > 1)}: E, A and alpha cannot be told apart and "
                f"{what}: train at least 3 sizes, or borrow A and alpha from another law"
            )
        free[1] = n_sizes > 1
    if "beta" not in borrowed:
        if high <= SAME_TOKENS * low:
            free[[2, 4]] = False
            unknown |= {"E", "B", "beta"}
            notes.append(
                f"every run has {low:.3g} to {high:.3g} tokens: B and beta cannot be told from E, "
                "and predictions hold for that many tokens only: vary the length of the runs, or "
                "use their checkpoints"
            )
        elif len(np.unique(points.tokens)) < 3:
            free[4] = False
            unknown |= {"E", "B", "beta"}
            notes.append(
                f"two token counts: E, B and beta cannot be told apart and beta is taken as "
                f"{TYPICAL_EXPONENT}: add runs of a third length"
            )
    for name, value in borrowed.items():
        index = NAMES.index(name)
        free[index], held[index] = False, value
    if "A" in borrowed:
        held[1] *= math.exp(-held[3] * math.log(pivots[0]))
    if "B" in borrowed:
        held[2] *= math.exp(-held[4] * math.log(pivots[1]))
    if n_points <= free.sum():
        notes.append(
            f"{n_points} points for {free.sum()} parameters: any law through them fits, and its "
            "error is unknown: use checkpoints as well, or train more runs"
        )
        unknown |= {name for name in NAMES if name not in borrowed}
        for index in (4, 3, 2, 1):
            if n_points <= free.sum():
                free[index] = False
    return free, held, unknown, notes


def _what_if(
    points: Points, data: Data, theta: Floats, *, delta: float, free: Mask, held: Floats
) -> Floats:
    """Refit with other values of what the data do not show, (R, 6) like `leave_out`.

    A parameter that is assumed or borrowed is 1.6 times larger and smaller. Of one or two sizes,
    the runs of each size are off by 1 %: their noise cannot be told from the effect of size.
    """
    found = []
    ones = np.ones(len(data.x))

    def refit(weight: float, start: Floats, points_seen: Data) -> None:
        again, _ = scalingfit.polish(start[None], points_seen, ones, delta=delta, free=free)
        found.append(np.array([weight, *again[0]]))

    for index in np.flatnonzero(~free):
        term = index if index < 3 else index - 2
        if theta[term] == 0 or held[index] == 0:
            continue
        for factor in (ASSUMED_WITHIN, 1 / ASSUMED_WITHIN):
            start = theta.copy()
            start[index] *= factor
            refit(0.5, start, data)
    if len(points.sizes) < 3:
        for size in points.sizes:
            shift = np.where(points.params == size, RUN_NOISE, 0.0)
            refit(1.0, theta, replace(data, log_loss=data.log_loss + shift))
    return np.array(found).reshape(-1, 6)


def _with_intervals(
    law: ScalingLaw, drawn: Floats | None, free: Mask, unknown: set[str], notes: list[str]
) -> ScalingLaw:
    """Return the law with standard deviations, intervals and what is too flat to give."""
    pivots = law.pivot_params, law.pivot_tokens
    sd, ends = intervals(
        natural(law.theta[None], *pivots)[0],
        law.replicates[:, 0],
        natural(law.replicates[:, 1:], *pivots),
        None if drawn is None else natural(drawn, *pivots),
    )
    for index, (name, partner) in {3: ("alpha", "A"), 4: ("beta", "B")}.items():
        value, spread = law.theta[index], sd[name]
        at_end = value <= scalingfit.EXPONENTS[0] or value >= scalingfit.EXPONENTS[1]
        vague = spread is not None and spread > FLAT * value
        if free[index] and name not in unknown and (at_end or vague or law.theta[index - 2] == 0):
            unknown |= {name, partner}
            axis = "sizes" if name == "alpha" else "token counts"
            notes.append(
                f"{name} is {value:.2g}"
                + (f" ± {spread:.2g}" if spread is not None else "")
                + f": the profile is flat, the data do not say how fast the loss falls: train a "
                f"wider range of {axis}"
            )
    value, spread = law.theta[0], sd["E"]
    if "E" not in unknown and (value <= 0 or (spread is not None and spread > FLAT * value)):
        unknown.add("E")
        notes.append(
            "E is 0 or not known to within half of itself: do not read it as the loss of a "
            "perfect model; train larger sizes on more tokens to see a floor"
        )
    return replace(
        law,
        unidentified=tuple(name for name in NAMES if name in unknown),
        sd={name: None if name in unknown else sd[name] for name in NAMES},
        interval_95={name: None if name in unknown else ends[name] for name in NAMES},
        warnings=tuple(notes),
    )
