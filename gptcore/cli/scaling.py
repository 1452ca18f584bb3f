"""The subcommands of `gptcore scale`: what each computes, and the answer that people read.

pandas is loaded only when a table is read.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gptcore.cli.options import Json
from gptcore.console import Answer, Cell, Table, counted, fixed, format_cell

if TYPE_CHECKING:
    import pandas as pd

    from gptcore.scaling.law import ScalingLaw
    from gptcore.scaling.tables import Cut


NAMES = ("E", "A", "B", "alpha", "beta")
NATS = "nats per token"


def read_law(path: Path) -> ScalingLaw:
    """Read a law: the output of `scale fit --json`, or the five parameters alone.

    Raises:
        ValueError: it is neither.
    """
    from gptcore.scaling.law import ScalingLaw, law_from

    try:
        law = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} is not a law in JSON: {error}") from None
    if isinstance(law, dict) and "state" not in law:
        values = [law.get(name) for name in NAMES]
        if all(isinstance(v, int | float) and not isinstance(v, bool) for v in values):
            return law_from(*map(float, values))  # type: ignore[arg-type]
    if not isinstance(law, dict):
        raise ValueError(f"{path} is not a law: give an object with E, A, B, alpha, beta")
    return ScalingLaw.from_dict(law)


def _read(args: argparse.Namespace) -> pd.DataFrame:
    from gptcore.scaling.table_files import read_table
    from gptcore.scaling.tables import keep_rows, one_family

    return keep_rows(
        one_family(read_table(args.table), args.family),
        min_params=args.min_params,
        max_params=args.max_params,
        min_tokens_per_param=args.min_tokens_per_param,
        max_epochs=args.max_epochs,
    )


def _cut(args: argparse.Namespace) -> Cut:
    from gptcore.scaling.tables import Cut

    return Cut(args.last_share, args.burn_in_tokens, args.final_only)


def _borrowed(args: argparse.Namespace) -> dict[str, float]:
    from gptcore.scaling.fitting import borrow

    return borrow(read_law(args.borrow)) if args.borrow else {}


def _plot(args: argparse.Namespace, law: ScalingLaw, table: pd.DataFrame, result: Json) -> Json:
    if args.plot:
        from gptcore.cli.plots import plot_law
        from gptcore.scaling.tables import check_table

        plot_law(args.plot, law, check_table(table)[0])
        result["plot"] = str(args.plot)
    return result


def fit(args: argparse.Namespace) -> Json:
    """Fit a scaling law to the losses of training runs."""
    from gptcore.scaling import fitting
    from gptcore.scaling.colpret import fit_colpret
    from gptcore.scaling.repetition import fit_repeated
    from gptcore.scaling.tables import check_table, drop_largest

    table = drop_largest(_read(args), args.drop_largest)
    if args.repetition:
        repeated = fit_repeated(table, min_unique_tokens=args.min_unique_tokens, delta=args.delta)
        result = repeated.law.as_dict() | repeated.as_dict()
        return _plot(args, repeated.law, table, result | {"warnings": list(repeated.warnings)})
    if args.preset:
        checked, notes = check_table(table)
        law = fit_colpret(checked, notes=notes)
    else:
        law = fitting.fit(
            table,
            cut=_cut(args),
            delta=args.delta,
            bootstraps=args.bootstraps,
            borrowed=_borrowed(args),
        )
    return _plot(args, law, table, law.as_dict())


def evaluate(args: argparse.Namespace) -> Json:
    """Fit a law to a part of the runs, and measure how well it predicts the others."""
    from gptcore.scaling import extrapolation

    table = _read(args)
    evaluation = extrapolation.evaluate(
        table,
        extrapolation.Split(
            args.target, args.models, args.reverse, args.target_share, args.compute_gap
        ),
        cut=_cut(args),
        delta=args.delta,
        borrowed=_borrowed(args),
        colpret=args.preset == "colpret",
    )
    return _plot(args, evaluation.law, table, evaluation.as_dict())


def predict(args: argparse.Namespace) -> Json:
    """Predict the loss of a run from its parameters and tokens."""
    law = read_law(args.law)
    prediction = law.predict(args.params, args.tokens)
    beyond = law.beyond(args.params, args.tokens)
    interval = None if prediction.low is None else [prediction.low, prediction.high]
    return {
        "loss": prediction.loss,
        "interval_95": interval,
        "params": args.params,
        "tokens": args.tokens,
        "warnings": [*law.warnings, *([beyond] if beyond else [])],
    }


def allocate(args: argparse.Namespace) -> Json:
    """Find the size and the tokens that make the best of a training budget."""
    from gptcore.scaling import planning

    law = read_law(args.law)
    return planning.allocate(law, args.flops).as_dict() | {"warnings": list(law.warnings)}


def isoflop(args: argparse.Namespace) -> Json:
    """Find the best size at each level of compute, by a parabola through its losses."""
    from gptcore.scaling import planning
    from gptcore.scaling.tables import check_table

    table, notes = check_table(_read(args))
    return planning.isoflop(table) | {"warnings": notes}


def plan(args: argparse.Namespace) -> Json:
    """Propose the small runs from which the loss of a large run can be predicted."""
    from gptcore.scaling import planning

    return planning.plan_ladder(
        args.budget,
        args.target_params,
        20 * args.target_params if args.target_tokens is None else args.target_tokens,
        target_are=args.target_are,
        noise=args.noise,
        law=read_law(args.law) if args.law else None,
    )


def _answer(sentence: str, result: Json, parts: Sequence[str | Table]) -> Answer:
    """Return an answer whose last lines are the picture and the warnings."""
    plot = [f"The picture is in {result['plot']}."] if "plot" in result else []
    warnings = [f"Warning: {text}" for text in result.get("warnings", ())]
    return Answer(sentence, [*parts, *plot, *warnings])


def fit_answer(result: Json) -> Answer:
    """Give the law, and its parameters with their intervals."""
    data = f"{counted(result['n_points'], 'loss point')} of {counted(result['n_models'], 'run')}"
    unknown = [name for name in NAMES if result[name] is None]
    if unknown:
        sentence = (
            f"The data do not identify {', '.join(unknown)} of the law loss = E + A / N^alpha + "
            f"B / D^beta, which was fitted to {data}."
        )
    else:
        e, a, b, alpha, beta = (format_cell(result[name]) for name in NAMES)
        sentence = (
            f"The law is loss = {e} + {a} / N^{alpha} + {b} / D^{beta} {NATS}, fitted to {data}."
        )
    rows: list[tuple[Cell, ...]] = []
    for name in NAMES:
        low, high = result["interval_95"][name] or (None, None)
        rows.append((name, result[name], result["sd"][name], low, high))
    rows += [(name, result[name], None, None, None) for name in ("R_D", "R_N") if name in result]
    headings = ("parameter", "value", "sd", "95 % from", "95 % to")
    return _answer(
        sentence,
        result,
        [
            Table(headings, rows),
            "N: parameters. D: tokens. A dash: the data do not give that number.",
            "To use the law, keep it: gptcore scale fit ... --json > law.json",
        ],
    )


def evaluate_answer(result: Json) -> Answer:
    """Say how far the predicted losses are from the observed ones."""
    target = result["target"]
    which = target if isinstance(target, str) else counted(result["n_targets"], "run")
    sign = "high" if result["signed_final"] > 0 else "low"
    low, high = map(fixed, result["interval_80"] or (None, None))
    rows: list[tuple[Cell, ...]] = [
        ("mean error over the last 30 % of tokens (ARE)", result["are_last30"], "%"),
        ("error of the final loss", result["are_final"], "%"),
        ("final loss, observed", fixed(result["observed_final"]), NATS),
        ("final loss, predicted", fixed(result["predicted_final"]), NATS),
        ("80 % interval, lower end", low, NATS),
        ("80 % interval, upper end", high, NATS),
        ("the interval holds the observed loss", result["interval_80_holds"], ""),
        ("runs fitted", result["n_models"], "runs"),
        ("losses fitted", result["n_points"], "points"),
    ]
    parts: list[str | Table] = [Table(("quantity", "value", "unit"), rows)]
    if result["targets"]:
        names = ("model", "params", "tokens", "observed", "predicted", "are_last30")
        headings = ("model", "parameters", "tokens", "observed", "predicted", "ARE, %")
        parts += [
            "Final losses and their interval are those of the longest run. All runs:",
            Table(headings, [[run[name] for name in names] for run in result["targets"]]),
        ]
    return _answer(
        f"The law predicts {which} with a mean error of {result['are_last30']:.2f} % over the last "
        f"30 % of the tokens; its final loss is {abs(result['signed_final']):.2f} % too {sign}.",
        result,
        parts,
    )


def predict_answer(result: Json) -> Answer:
    """Give the loss with its interval."""
    run = f"{result['params']:.4g} parameters and {result['tokens']:.4g} tokens"
    if result["loss"] is None:
        return _answer(f"The law does not predict the loss of {run}.", result, [])
    low, high = result["interval_95"] or (None, None)
    interval = "no interval is known" if low is None else f"95 % interval {low:.3f} to {high:.3f}"
    rows: list[tuple[Cell, ...]] = [
        ("loss", fixed(result["loss"]), NATS),
        ("95 % interval, lower end", fixed(low), NATS),
        ("95 % interval, upper end", fixed(high), NATS),
    ]
    return _answer(
        f"The predicted loss of {run} is {result['loss']:.3f} {NATS} ({interval}).",
        result,
        [Table(("quantity", "value", "unit"), rows)],
    )


def allocate_answer(result: Json) -> Answer:
    """Give the best size and tokens for the budget."""
    params, tokens = result["params"], result["tokens"]
    rows: list[tuple[Cell, ...]] = [
        ("parameters", params, "parameters"),
        ("tokens", tokens, "tokens"),
        ("tokens for each parameter", result["tokens_per_param"], "tokens"),
        ("loss", fixed(result["loss"]), NATS),
        ("exponent: parameters grow as FLOPs to the power", result["exponent"], ""),
        ("exponent, standard deviation", result["exponent_sd"], ""),
    ]
    return _answer(
        f"The best use of {6 * params * tokens:.4g} FLOPs is to train {params:.3g} parameters on "
        f"{tokens:.3g} tokens: the law predicts a loss of {result['loss']:.3f} {NATS}.",
        result,
        [Table(("quantity", "value", "unit"), rows)],
    )


def isoflop_answer(result: Json) -> Answer:
    """Say how the best size grows with compute."""
    levels = counted(len(result["levels"]), "level")
    if result["exponent"] is None:
        return _answer(
            f"No growth of the best size can be fitted: it takes two levels of compute, each with "
            f"4 sizes and the best of them inside, and there are {len(result['levels'])}.",
            result,
            [_runs(result["levels"])] if result["levels"] else [],
        )
    return _answer(
        f"The best number of parameters grows as FLOPs to the power {result['exponent']:.3f}, by "
        f"{levels} of compute.",
        result,
        [_runs(result["levels"])],
    )


def plan_answer(result: Json) -> Answer:
    """Give the decision, then the runs to train."""
    return _answer(
        result["decision"],
        result,
        [
            _runs(result["models"]),
            f"The largest of these runs has 1/{result['scale_up']:.3g} of the parameters of the "
            "run to predict.",
        ],
    )


def _runs(rows: list[Json]) -> Table:
    """Return the table of runs, or of the best run at each level of compute."""
    headings = {
        "flops": "FLOPs",
        "params": "parameters",
        "tokens": "tokens",
        "loss": "loss, nats per token",
        "n_sizes": "sizes",
    }
    names = [name for name in headings if name in rows[0]]
    return Table([headings[name] for name in names], [[row[n] for n in names] for row in rows])
