"""The subcommands of `gptcore scale`: what each computes.

pandas is loaded only when a table is read.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import TYPE_CHECKING

from gptcore.checks import check_number
from gptcore.cli.options import Json
from gptcore.console import Progress

if TYPE_CHECKING:
    import pandas as pd

    from gptcore.scaling.law import ScalingLaw
    from gptcore.scaling.tables import Cut


def _read(args: argparse.Namespace) -> pd.DataFrame:
    from gptcore.reading import naming
    from gptcore.scaling.table_files import read_table
    from gptcore.scaling.tables import keep_rows, one_family

    with naming(args.table):
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
    from gptcore.scaling.repetition import read_laws

    return borrow(read_laws(args.borrow)[0]) if args.borrow else {}


def _plot(args: argparse.Namespace, law: ScalingLaw, table: pd.DataFrame, result: Json) -> Json:
    if args.plot:
        from gptcore.cli.plots import plot_law
        from gptcore.scaling.tables import check_table

        plot_law(args.plot, law, check_table(table)[0])
        result["plot"] = str(args.plot)
    return result


def fit(args: argparse.Namespace) -> Json:
    """Fit a scaling law to the losses of training runs."""
    from gptcore.scaling import allocation, fitting
    from gptcore.scaling.colpret import fit_colpret
    from gptcore.scaling.repeats import fit_repeated
    from gptcore.scaling.tables import check_table, drop_largest

    table = drop_largest(_read(args), args.drop_largest)
    if args.repetition:
        repeated = fit_repeated(
            table,
            min_unique_tokens=args.min_unique_tokens,
            delta=args.delta,
            bootstraps=args.bootstraps,
        )
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
    parabolas = allocation.isoflop(check_table(table)[0])
    law = replace(law, warnings=(*law.warnings, *allocation.disagreement(law, parabolas)))
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


NO_REPETITION = (
    "the law has no repetition term (R_D): fit one with gptcore scale fit TABLE --repetition, or "
    "leave out --unique-tokens"
)
NO_DRAWS = (
    "the law has no bootstraps of R_D and R_N, so no interval is known for repeated text: fit it "
    "with gptcore scale fit TABLE --repetition --json"
)
ONE_PASS = (
    "the law has a repetition term, and this answer is for text that is not repeated: give "
    "--unique-tokens U for a text of U tokens"
)
PLAN_ONE_PASS = (
    "the law has a repetition term, and this plan is for text that is not repeated: give every run "
    "as many new tokens as it trains on"
)


def predict(args: argparse.Namespace) -> Json:
    """Predict the loss of a run from its parameters and tokens."""
    from gptcore.scaling.repetition import read_laws

    law, repeated = read_laws(args.law)
    prediction = law.predict(args.params, args.tokens)
    beyond = law.beyond(args.params, args.tokens)
    warnings = [*law.warnings, *([beyond] if beyond else [])]
    interval = None if prediction.low is None else [prediction.low, prediction.high]
    result = {"loss": prediction.loss, "interval_95": interval}
    if args.unique_tokens is not None:
        if repeated is None:
            raise ValueError(NO_REPETITION)
        check_number("unique_tokens", args.unique_tokens, "(0, inf)")
        if args.tokens > args.unique_tokens and not beyond:
            prediction = repeated.predict(args.params, args.tokens, args.unique_tokens)
            interval = None if prediction.low is None else [prediction.low, prediction.high]
            result = {"loss": prediction.loss, "interval_95": interval}
            warnings += [] if interval else [NO_DRAWS]
        result["unique_tokens"] = args.unique_tokens
        result["epochs"] = max(1.0, args.tokens / args.unique_tokens)
    elif repeated is not None:
        warnings.append(ONE_PASS)
    return result | {"params": args.params, "tokens": args.tokens, "warnings": warnings}


def allocate(args: argparse.Namespace) -> Json:
    """Find the size and the tokens that make the best of a training budget."""
    from gptcore.scaling import planning
    from gptcore.scaling.allocation import exponent_of, intervals_of_best, refitted_sizes
    from gptcore.scaling.repetition import allocate_repeated, best_sizes, read_laws

    law, repeated = read_laws(args.law)
    if unknown := planning.unidentified_exponents(law):
        keys = ["params", "tokens", "tokens_per_param", "loss", "exponent", "exponent_sd"]
        keys += ["params_interval_95", "tokens_interval_95", "exponent_interval_95"]
        return dict.fromkeys(keys) | {"warnings": [*law.warnings, unknown]}
    if args.unique_tokens is None:
        result = planning.allocate(law, args.flops).as_dict()
        result |= intervals_of_best(refitted_sizes(law, args.flops), args.flops)
        result |= {"exponent_interval_95": exponent_of(law)[1]}
        warnings = [*law.warnings, *([ONE_PASS] if repeated else [])]
        return result | {"warnings": warnings}
    if repeated is None:
        raise ValueError(NO_REPETITION)
    best = allocate_repeated(repeated, args.flops, args.unique_tokens)
    sizes = best_sizes(repeated, args.flops, args.unique_tokens)
    return best.as_dict() | {
        **intervals_of_best(sizes, args.flops),
        "unique_tokens": args.unique_tokens,
        "epochs": max(1.0, best.tokens / args.unique_tokens),
        "warnings": [*law.warnings, *([] if len(sizes) else [NO_DRAWS])],
    }


def isoflop(args: argparse.Namespace) -> Json:
    """Find the best size at each level of compute, by a parabola through its losses."""
    from gptcore.scaling import allocation
    from gptcore.scaling.tables import check_table

    table = _read(args)
    checked, notes = check_table(table)
    result = allocation.isoflop(checked)
    by_law = allocation.compare_with_law(result, table)
    return result | by_law | {"warnings": [*notes, *result["warnings"], *by_law["warnings"]]}


def plan(args: argparse.Namespace) -> Json:
    """Propose the small runs from which the loss of a large run can be predicted."""
    from gptcore.scaling import ladders
    from gptcore.scaling.next_run import plan_next_run
    from gptcore.scaling.repetition import read_laws
    from gptcore.scaling.table_files import read_table

    tokens = 20 * args.target_params if args.target_tokens is None else args.target_tokens
    report = Progress("simulated fit")
    if args.table:
        table = read_table(args.table)
        return plan_next_run(table, args.budget, args.target_params, tokens, report=report)
    law, repeated = read_laws(args.law) if args.law else (None, None)
    result = ladders.plan_ladder(
        args.budget,
        args.target_params,
        tokens,
        target_are=args.target_are,
        noise=args.noise,
        law=law,
        report=report,
    )
    warnings = [PLAN_ONE_PASS] if repeated else []
    return result | {"warnings": [*warnings, *(law.warnings if law and law.line else [])]}
