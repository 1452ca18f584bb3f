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
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from gptcore.checks import check_number
from gptcore.scaling import solver
from gptcore.scaling.law import SAME_TOKENS, ScalingLaw, natural
from gptcore.scaling.solver import DELTA, NAMES, Data, Floats, Mask
from gptcore.scaling.tables import Cut, Points, check_table, make_points
from gptcore.scaling.uncertainty import bootstrap, intervals, leave_out, noise_sd, profile

if TYPE_CHECKING:
    import pandas as pd


TYPICAL_EXPONENT = 0.35  # alpha 0.34-0.35, beta 0.35-0.37 in the published fits on web text
ASSUMED_WITHIN = 1.6  # one standard deviation: what is assumed or borrowed, times or divided
FEW_SIZES = 4
RUN_NOISE = 0.01  # of ln L, one standard deviation: where too few runs are there to show it
FLAT = 0.5  # a parameter with a larger relative standard deviation is not given
FEWEST_RUNS_TO_BOOTSTRAP = 12
BOOTSTRAPS = 1000


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
    """Fit a law to points; `fit` says what the arguments are.

    Where three or four sizes do not tell alpha, it is taken as typical: a free exponent predicts
    worse (docs/scaling.md).
    """
    check_number("delta", delta, "(0, 1]")
    borrowed = dict(borrowed or {})
    law = _fit(points, delta, bootstraps, borrowed, notes)
    few = 3 <= len(points.sizes) <= FEW_SIZES and len(points.loss) > len(NAMES)
    if few and "alpha" in law.unidentified and "alpha" not in borrowed:
        return _fit(points, delta, bootstraps, borrowed, notes, assume_alpha=True)
    return law


def _fit(
    points: Points,
    delta: float,
    bootstraps: int,
    borrowed: Mapping[str, float],
    notes: Sequence[str],
    *,
    assume_alpha: bool = False,
) -> ScalingLaw:
    started = time.perf_counter()
    pivots = (
        math.exp(np.log(points.params).mean()),
        math.exp(np.log(points.tokens).mean()),
    )
    data = Data(
        np.log(points.params / pivots[0]), np.log(points.tokens / pivots[1]), np.log(points.loss)
    )
    free, held, unidentified, more = _what_is_free(points, pivots, borrowed, assume_alpha)
    theta, objective = solver.solve(data, delta=delta, free=free, held=held)
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
        noise=None if unidentified == {*NAMES} else noise_sd(data, theta, int(free.sum())),
        replicates=replicates,
        seconds=seconds,
    )
    profiles = {
        name: profile(points, data, theta, name, delta=delta, free=free)
        for name, index in (("alpha", 3), ("beta", 4))
        if free[index] and theta[index - 2] > 0
    }
    law = replace(law, profile_95=dict.fromkeys(("alpha", "beta")) | profiles)
    drawn = None
    if bootstraps and points.n_runs >= FEWEST_RUNS_TO_BOOTSTRAP:
        drawn = bootstrap(points, data, theta, delta=delta, free=free, count=bootstraps)
    return _with_intervals(law, drawn, free, unidentified, [*notes, *points.notes, *more])


def _what_is_free(
    points: Points,
    pivots: tuple[float, float],
    borrowed: Mapping[str, float],
    assume_alpha: bool,
) -> tuple[Mask, Floats, set[str], list[str]]:
    """Return which of theta move, the values of the others, what is unidentified, and why."""
    free, held = solver.ALL.copy(), np.array([0, 0, 0, TYPICAL_EXPONENT, TYPICAL_EXPONENT])
    unknown: set[str] = set()
    notes = []
    n_sizes, n_points = len(points.sizes), len(points.loss)
    low, high = points.tokens.min(), points.tokens.max()
    if "alpha" not in borrowed:
        if n_sizes < 3 or assume_alpha:
            free[3] = False
            unknown |= {"E", "A", "alpha"}
            what = f"alpha is taken as {TYPICAL_EXPONENT}" if n_sizes > 1 else "N is left out"
            notes.append(
                f"{n_sizes} size{'s' * (n_sizes > 1)}: E, A and alpha cannot be told apart and "
                f"{what}: train at least {max(3, n_sizes + 1)} sizes, wider apart, or borrow A and "
                "alpha from another law"
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
            f"no more points ({n_points}) than parameters ({free.sum()}): any law through them "
            "fits, and its error is unknown: use checkpoints as well, or train more runs"
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
    or three runs, those of each size are off by 1 %: their noise cannot be told from its effect.
    """
    found = []
    ones = np.ones(len(data.x))

    def refit(weight: float, start: Floats, points_seen: Data) -> None:
        again, _ = solver.polish(start[None], points_seen, ones, delta=delta, free=free)
        found.append(np.array([weight, *again[0]]))

    for index in np.flatnonzero(~free):
        term = index if index < 3 else index - 2
        if theta[term] == 0 or held[index] == 0:
            continue
        for factor in (ASSUMED_WITHIN, 1 / ASSUMED_WITHIN):
            start = theta.copy()
            start[index] *= factor
            refit(0.5, start, data)
    if len(points.sizes) < 3 or points.n_runs <= 3:
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
        at_end = value <= solver.EXPONENTS[0] or value >= solver.EXPONENTS[1]
        vague = (spread is not None and spread > FLAT * value) or law.profile_95.get(name) is None
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
        profile_95={k: None if k in unknown else v for k, v in law.profile_95.items()},
        warnings=tuple(notes),
    )
