"""Fit a law L(N, D) = E + A / N^alpha + B / D^beta to the losses of small runs.

N parameters, D training tokens, L nats per token (Hoffmann et al. 2022, arXiv:2203.15556, approach
3). The fit minimises the objective of that paper, the sum of Huber's loss of ln L (`solver`). The
intervals come from refits without one run after another (`uncertainty`). A parameter that the data
do not determine (`identification`) is None, and `warnings` says why.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from gptcore.checks import check_number
from gptcore.scaling import solver
from gptcore.scaling.backtests import calibrate
from gptcore.scaling.identification import Freedom, choose_freedom, describe_line
from gptcore.scaling.law import ScalingLaw, natural
from gptcore.scaling.lines import draw_laws, find_line, run_ends
from gptcore.scaling.solver import DELTA, NAMES, Data, Floats
from gptcore.scaling.tables import Cut, Points, check_table, make_points
from gptcore.scaling.uncertainty import bootstrap, intervals, leave_out, noise_sd, profile

if TYPE_CHECKING:
    import pandas as pd


ASSUMED_WITHIN = 1.6  # one standard deviation of an assumed or borrowed parameter, as a factor
FEW_SIZES = 4
RUN_NOISE = 0.01  # one standard deviation of ln L, where there are too few runs to show it
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
        table: one row for each loss, with the columns that `tables.check_table` checks.
        cut: the part of each run to use; by default its last 70 %.
        delta: where Huber's loss of ln L turns linear; the smaller it is, the nearer the fit is to
            least absolute deviations.
        bootstraps: the number of bootstraps of runs, for the standard deviations. With fewer than
            12 runs they come from refits without one run after another instead.
        borrowed: parameters to hold at another law's values, as `borrow` returns them.

    Raises:
        ValueError: the table, `delta` or a borrowed parameter is not usable.
    """
    checked, notes = check_table(table)
    cut = cut or Cut()
    points, whole = make_points(cut(checked)), None if cut.final_only else make_points(checked)
    refit = partial(fit_points, delta=delta, borrowed=borrowed)
    return calibrate(refit(points, bootstraps=bootstraps, notes=notes), points, refit, whole)


def borrow(law: ScalingLaw, names: Iterable[str] = ("A", "alpha")) -> dict[str, float]:
    """Return parameters of `law` for `fit(…, borrowed=…)`, by default those of the term for N.

    Raises:
        ValueError: a name is unknown, or `law` does not identify that parameter.
    """
    names = tuple(names)
    for name in names:
        if name not in NAMES or name in law.unidentified:
            known = [n for n in NAMES if n not in law.unidentified]
            raise ValueError(f"cannot borrow {name!r}: the law has {', '.join(known) or 'none'}")
    for a, b in (("A", "alpha"), ("B", "beta")):
        if (a in names) != (b in names):
            raise ValueError(f"{a} and {b} have a meaning only together: borrow both or neither")
    return {name: law.parameters[name] for name in names}


def fit_points(
    points: Points,
    *,
    delta: float = DELTA,
    bootstraps: int = 0,
    borrowed: Mapping[str, float] | None = None,
    notes: Sequence[str] = (),
) -> ScalingLaw:
    """Fit a law to points; the other arguments are those of `fit`.

    Where three or four sizes do not determine alpha, a typical value is assumed for it, because a
    free exponent predicts worse (docs/scaling.md).
    """
    check_number("delta", delta, "(0, 1]")
    borrowed = dict(borrowed or {})
    on_line = None if borrowed else _fit_on_line(points, delta, notes)
    if on_line:
        return on_line
    law = _fit(points, delta, bootstraps, borrowed, notes)
    few = 3 <= len(points.sizes) <= FEW_SIZES and len(points.loss) > len(NAMES)
    if few and "alpha" in law.unidentified and "alpha" not in borrowed:
        return _fit(points, delta, bootstraps, borrowed, notes, assume_alpha=True)
    return law


def _centred(points: Points) -> tuple[tuple[float, float], Data]:
    """Return the geometric means of sizes and token counts, and the points about them."""
    pivots = math.exp(np.log(points.params).mean()), math.exp(np.log(points.tokens).mean())
    x, z = np.log(points.params / pivots[0]), np.log(points.tokens / pivots[1])
    return pivots, Data(x, z, np.log(points.loss))


def _fit_on_line(points: Points, delta: float, notes: Sequence[str]) -> ScalingLaw | None:
    """Return the law of runs that lie on one line, or None if they do not."""
    started = time.perf_counter()
    pivots, data = _centred(points)
    ends = run_ends(data, points.run)
    line = ends and find_line(ends)
    if not ends or not line:
        return None
    draws, noise = draw_laws(ends)
    seconds = time.perf_counter() - started
    fitted = solver.log_prediction(draws, data.x, data.z)
    residuals = data.log_loss - fitted.mean(axis=0)
    law = ScalingLaw(
        theta=draws[np.argmin(((fitted - fitted.mean(axis=0)) ** 2).sum(axis=1))],
        pivot_params=pivots[0],
        pivot_tokens=pivots[1],
        objective=float(solver.huber_sum(residuals, np.ones(len(residuals)), delta)),
        n_points=len(points.loss),
        n_models=points.n_runs,
        params_range=(float(points.params.min()), float(points.params.max())),
        tokens_range=(float(points.tokens.min()), float(points.tokens.max())),
        delta=delta,
        noise=float(np.exp(np.log(noise).mean())),
        replicates=np.column_stack([np.full(len(draws), 1 / len(draws)), draws]),
        unidentified=NAMES,
        sd=dict.fromkeys(NAMES),
        interval_95=dict.fromkeys(NAMES),
        profile_95=dict.fromkeys(("alpha", "beta")),
        seconds=seconds,
        line=replace(line, noise=noise),
    )
    return replace(law, warnings=(*notes, *points.notes, describe_line(law)))


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
    pivots, data = _centred(points)
    freedom = choose_freedom(points, pivots, borrowed, assume_alpha=assume_alpha)
    free, drawn = freedom.free, None
    theta, objective = solver.solve(data, delta=delta, free=free, held=freedom.held)
    seconds = time.perf_counter() - started
    # The refits show how far the law moves with other runs, and with other assumptions.
    replicates = np.vstack(
        [
            leave_out(points, data, theta, delta=delta, free=free),
            _assume_otherwise(points, data, theta, delta=delta, freedom=freedom),
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
        noise=None if freedom.unidentified == {*NAMES} else noise_sd(data, theta, int(free.sum())),
        replicates=replicates,
        seconds=seconds,
    )
    profiles = {
        name: profile(points, data, theta, name, delta=delta, free=free)
        for name, index in (("alpha", 3), ("beta", 4))
        if free[index] and theta[index - 2] > 0
    }
    law = replace(law, profile_95=dict.fromkeys(("alpha", "beta")) | profiles)
    if bootstraps and points.n_runs >= FEWEST_RUNS_TO_BOOTSTRAP:
        drawn = bootstrap(points, data, theta, delta=delta, free=free, count=bootstraps)
    freedom.notes = [*notes, *points.notes, *freedom.notes]
    return _with_intervals(law, drawn, freedom)


def _assume_otherwise(
    points: Points, data: Data, theta: Floats, *, delta: float, freedom: Freedom
) -> Floats:
    """Refit with other values of what the data do not show: (R, 6), like `leave_out`.

    Each assumed or borrowed parameter is taken 1.6 times larger, and 1.6 times smaller. With one or
    two sizes, or three runs, noise cannot be told from the effect of size; then the losses of each
    size in turn are taken 1 % higher.
    """
    refits = []
    ones = np.ones(len(data.x))

    def refit(weight: float, start: Floats, shown: Data) -> None:
        again, _ = solver.polish(start[None], shown, ones, delta=delta, free=freedom.free)
        refits.append(np.array([weight, *again[0]]))

    for index in np.flatnonzero(~freedom.free):
        term = index if index < 3 else index - 2  # the exponents belong to the terms a and b
        if theta[term] == 0 or freedom.held[index] == 0:
            continue
        for factor in (ASSUMED_WITHIN, 1 / ASSUMED_WITHIN):
            start = theta.copy()
            start[index] *= factor
            refit(0.5, start, data)
    if len(points.sizes) < 3 or points.n_runs <= 3:
        for size in points.sizes:
            shift = np.where(points.params == size, RUN_NOISE, 0.0)
            refit(1.0, theta, replace(data, log_loss=data.log_loss + shift))
    return np.array(refits).reshape(-1, 6)


def _with_intervals(law: ScalingLaw, drawn: Floats | None, freedom: Freedom) -> ScalingLaw:
    """Return the law with standard deviations and intervals, and with None where it is too flat."""
    unknown, notes = {*freedom.unidentified}, [*freedom.notes]
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
        no_term = law.theta[index - 2] == 0
        if freedom.free[index] and name not in unknown and (at_end or vague or no_term):
            unknown |= {name, partner}
            axis = "sizes" if name == "alpha" else "token counts"
            sd_of = f" ± {spread:.2g}" if spread is not None else ""
            notes.append(
                f"{name} is {value:.2g}{sd_of}: the profile is flat, the data do not say how fast "
                f"the loss falls: train a wider range of {axis}"
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
