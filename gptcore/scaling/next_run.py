"""Which run to train next, beside those of a table, to narrow the interval of a large run."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from gptcore.checks import check_number
from gptcore.scaling.fitting import fit_points
from gptcore.scaling.ladders import NOISE, Report, information, linear_variance, one_law
from gptcore.scaling.law import ScalingLaw
from gptcore.scaling.planning import FLOPS_PER_PARAM_TOKEN
from gptcore.scaling.solver import Floats
from gptcore.scaling.tables import Cut, Points, check_table, make_points

if TYPE_CHECKING:
    import pandas as pd

SIZES = 9
LENGTHS = (2.0, 5.0, 10.0, 20.0, 40.0, 80.0, 160.0)  # tokens per parameter
LEAST_GAIN = 0.1  # a run that narrows the interval by less is not worth its place
OFF_LINE = 4.0  # the least factor by which the next run lies off a line of the others
TRIED = 5
TRIALS = 12


def plan_next_run(
    table: pd.DataFrame,
    budget: float,
    target_params: float,
    target_tokens: float,
    *,
    seed: int = 0,
    report: Report = lambda _done, _total: None,
) -> dict[str, Any]:
    """Propose the run that narrows the 80 % interval of the target most for each FLOP.

    Runs are ranked by the linearised fit. For the best five, a loss is drawn from the law fitted to
    the table, and table and new run are fitted again. A run that narrows the interval by less than
    10 % is not proposed, because a tiny run is always the cheapest.

    Args:
        table: the losses there are, as in `fit`.
        budget: the most that the run may cost, FLOPs.
        target_params: N of the run to predict.
        target_tokens: D of the run to predict.
        seed: of the simulation.
        report: called with the numbers of fits done and to do.

    Returns:
        `decision` (a sentence), `models` (the run, or nothing), `flops`, `half_width_80` now and
        `half_width_80_after` it, in per cent (None where the law says nothing), `tried` (a list of
        runs) and `warnings`.

    Raises:
        ValueError: the table is not usable, or a number is not positive.
    """
    budget = check_number("budget", budget, "(0, inf)")
    names = {"target params": target_params, "target tokens": target_tokens}
    n, d = (check_number(name, value, "(0, inf)") for name, value in names.items())
    target = n, d
    points = make_points(Cut()(check_table(table)[0]))
    law = fit_points(points)
    now = _half_width(law, *target)
    tried = _shortlist(law, points, budget, target)
    _simulate(law, points, tried, target, np.random.default_rng(seed), report)
    chosen = _best(tried, now)
    return {
        "decision": _decision(chosen, now, budget),
        "models": [{k: chosen[k] for k in ("params", "tokens", "flops")}] if chosen else [],
        "flops": chosen and chosen["flops"],
        "half_width_80": now,
        "half_width_80_after": chosen and chosen["half_width_80_after"],
        "tried": tried,
        "warnings": list(law.warnings),
    }


def _simulate(
    law: ScalingLaw,
    points: Points,
    tried: list[dict[str, Any]],
    target: tuple[float, float],
    rng: np.random.Generator,
    report: Report,
) -> None:
    """Add to each run the median half-width of the target's interval after it, None if unknown."""
    for index, run in enumerate(tried):
        widths = []
        for trial in range(TRIALS):
            widths.append(_half_width(_refit(law, points, run, rng), *target))
            report(index * TRIALS + trial + 1, TRIALS * len(tried))
        known = [width for width in widths if width is not None]
        run["half_width_80_after"] = float(np.median(known)) if len(known) == TRIALS else None


def _best(tried: list[dict[str, Any]], now: float | None) -> dict[str, Any] | None:
    """Return the run with the most narrowing for each FLOP, or None if none narrows by 10 %."""
    known = [run for run in tried if run["half_width_80_after"] is not None]
    if now is None:  # from no interval to one is a gain without bound: take the narrowest
        return min(known, key=lambda run: float(run["half_width_80_after"]), default=None)
    good = [run for run in known if run["half_width_80_after"] <= (1 - LEAST_GAIN) * now]
    gain = [math.log(now / run["half_width_80_after"]) / run["flops"] for run in good]
    return good[int(np.argmax(gain))] if good else None


def _half_width(law: ScalingLaw, params: float, tokens: float) -> float | None:
    """Return half of the 80 % interval of a new run, in per cent of its loss."""
    at = law.predict(params, tokens, confidence=0.8)
    if at.low is None or at.high is None:
        return None
    return 50 * math.log(at.high / at.low)


def _shortlist(
    law: ScalingLaw, points: Points, budget: float, target: tuple[float, float]
) -> list[dict[str, Any]]:
    """Return the runs that narrow the linearised interval most for each FLOP, the best first."""
    one, noise = one_law(law), law.noise or NOISE
    # The checkpoints of a run share its seed: each counts as a part of one loss.
    share = np.bincount(points.run)[points.run]
    known = np.zeros((5, 5))
    for size in np.unique(share):
        here = share == size
        known += information(one, points.params[here], points.tokens[here], noise) / size
    before = linear_variance(one, known, *target) + noise**2
    found = []
    for n in np.geomspace(points.params.min(), target[0], SIZES):
        for d in n * np.array(LENGTHS):
            flops = float(FLOPS_PER_PARAM_TOKEN * n * d)
            at_target = n >= target[0] and d >= target[1]
            if flops > budget or at_target or not _breaks_line(law, (n, d), target):
                continue
            more = known + information(one, np.array([n]), np.array([d]), noise)
            gain = 0.5 * math.log(before / (linear_variance(one, more, *target) + noise**2))
            found.append((gain, {"params": float(n), "tokens": float(d), "flops": flops}))
    enough = [(gain, run) for gain, run in found if gain >= -math.log(1 - LEAST_GAIN)]
    by_cost = sorted(enough or found, key=lambda pair: -pair[0] / pair[1]["flops"])
    return [run for _, run in by_cost[:TRIED]]


def _breaks_line(law: ScalingLaw, run: tuple[float, float], target: tuple[float, float]) -> bool:
    """Return whether a run lies far off the line of the others, if these lie on one.

    If the target lies off it too, the run must lie as far off it, on the target's side.
    """
    if law.line is None:
        return True
    pivots = law.pivot_params, law.pivot_tokens
    off, wanted = (
        law.line.off(math.log(n / pivots[0]), math.log(d / pivots[1])) for n, d in (run, target)
    )
    if abs(wanted) > law.line.reach and off * math.copysign(1, wanted) < abs(wanted):
        return False
    return abs(off) >= math.log(OFF_LINE) - 1e-9


def _refit(
    law: ScalingLaw, points: Points, run: dict[str, Any], rng: np.random.Generator
) -> ScalingLaw:
    """Return the law of the table and of one more run, whose loss is drawn from the law."""
    refits = law.log_refits(run["params"], run["tokens"]) if law.line else None
    middle = math.log(float(law.loss(run["params"], run["tokens"])))
    drawn = middle if refits is None else float(rng.choice(refits))
    loss = math.exp(drawn + (law.noise or NOISE) * rng.standard_normal())

    def more(values: Floats, value: float) -> Floats:
        return np.append(values, value)

    return fit_points(
        Points(
            more(points.params, run["params"]),
            more(points.tokens, run["tokens"]),
            more(points.loss, loss),
            np.append(points.run, points.n_runs),
        )
    )


def _decision(run: dict[str, Any] | None, now: float | None, budget: float) -> str:
    if run is None:
        return (
            f"No run of up to {budget:.3g} FLOPs narrows the 80 % interval of the target by "
            f"{100 * LEAST_GAIN:.0f} %: raise the budget, or train several runs (a ladder)."
        )
    before = "no interval" if now is None else f"± {now:.2g} %"
    return (
        f"Train {run['params']:.3g} parameters on {run['tokens']:.3g} tokens for "
        f"{run['flops']:.3g} FLOPs next: the 80 % interval of the target goes from {before} to "
        f"about ± {run['half_width_80_after']:.2g} %."
    )
