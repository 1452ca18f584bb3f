"""The command `gptcore scale`: its options, and options in, one JSON object out.

pandas is loaded only when a table is read.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gptcore.console import number, whole

if TYPE_CHECKING:
    import pandas as pd

    from gptcore.scaling.law import ScalingLaw
    from gptcore.scaling.tables import Cut


Json = dict[str, Any]

EXAMPLES = {
    "fit": "gptcore scale fit losses.csv --family gpt3 --json > law.json",
    "evaluate": "gptcore scale evaluate losses.csv --family gpt3 --models 5",
    "predict": "gptcore scale predict --law law.json --params 7e9 --tokens 1.4e11",
    "allocate": "gptcore scale allocate --law law.json --flops 1e21",
    "isoflop": "gptcore scale isoflop losses.csv --family porian_rw_const",
    "plan": "gptcore scale plan --budget 1e18 --target-params 1e9 --target-tokens 2e10",
}


def scale(args: argparse.Namespace) -> Json:
    """Scaling laws: fit small runs, predict the bigger one, judge and plan."""
    found: Json = args.run_scale(args)
    if not args.json:
        found.pop("state", None)
        for text in found.pop("warnings", []):
            print(f"gptcore scale: warning: {text}", file=sys.stderr)
    return found


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the subcommands of `scale` and their options."""
    subparsers = parser.add_subparsers(dest="scale_command", required=True, metavar="WHAT")
    for name, (run, options) in SUBCOMMANDS.items():
        summary = (run.__doc__ or "").strip()
        sub = subparsers.add_parser(
            name,
            help=summary,
            description=summary,
            epilog=f"example:\n  {EXAMPLES[name]}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        sub.add_argument(
            "--json", action="store_true", default=argparse.SUPPRESS, help="print one JSON object"
        )
        sub.set_defaults(run_scale=run)
        options(sub)


def _table_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "table", type=Path, metavar="TABLE", help="CSV: model, params, tokens_seen, loss; maybe .gz"
    )
    parser.add_argument("--family", metavar="F", help="rows of one family, if there are several")
    group = parser.add_argument_group("rows to leave out")
    group.add_argument("--min-params", type=number, metavar="N", help="smaller sizes")
    group.add_argument("--max-params", type=number, metavar="N", help="larger sizes")
    group.add_argument(
        "--min-tokens-per-param", type=number, metavar="R", help="rows with D / N below R"
    )
    group.add_argument(
        "--max-epochs",
        type=number,
        metavar="E",
        help="rows of more than E passes over their text",
    )


def _fit_options(parser: argparse.ArgumentParser) -> None:
    _table_options(parser)
    parser.add_argument(
        "--drop-largest", type=whole, default=0, metavar="K", help="leave out the K largest losses"
    )
    _method_options(parser)
    parser.add_argument(
        "--bootstraps", type=whole, default=1000, metavar="K", help="of runs (default: 1000)"
    )
    parser.add_argument(
        "--repetition",
        action="store_true",
        help="the data-constrained form: R_D and R_N from runs that repeat their text",
    )
    parser.add_argument(
        "--min-unique-tokens", type=number, default=0.0, metavar="U",
        help="with --repetition: repeated runs of less text are left out",
    )  # fmt: skip


def _method_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--last-share", type=number, default=0.7, metavar="S",
        help="the part of each run, from its end, that is fitted (default: 0.7; 1 is all)",
    )  # fmt: skip
    parser.add_argument(
        "--burn-in-tokens", type=number, default=0.0, metavar="X", help="rows before X tokens"
    )
    parser.add_argument("--final-only", action="store_true", help="only the last row of each run")
    parser.add_argument(
        "--delta", type=number, default=1e-3, help="of Huber's loss of ln L (default: 1e-3)"
    )
    parser.add_argument(
        "--borrow", type=Path, metavar="LAW.json", help="take A and alpha from another law"
    )
    parser.add_argument(
        "--preset", choices=["colpret"], help="text B's own fit instead: curve_fit from one start"
    )
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the runs and the law")


def _evaluate_options(parser: argparse.ArgumentParser) -> None:
    _table_options(parser)
    parser.add_argument("--target", metavar="MODEL", help="default: all runs of the largest size")
    parser.add_argument(
        "--models", type=whole, metavar="K", help="fit on the K smallest sizes (default: all)"
    )
    parser.add_argument(
        "--reverse", action="store_true", help="predict the smallest size from larger ones"
    )
    parser.add_argument(
        "--target-share", type=number, default=0.0, metavar="S",
        help="fit the first S of the target's tokens as well (with --models 0: alone)",
    )  # fmt: skip
    parser.add_argument(
        "--compute-gap", type=number, metavar="X",
        help="predict the rows of the largest compute from those with at most 1/X of it",
    )  # fmt: skip
    _method_options(parser)


def _law_option(parser: argparse.ArgumentParser, *, required: bool = True) -> None:
    parser.add_argument(
        "--law", type=Path, required=required, metavar="LAW.json",
        help="output of scale fit --json, or an object with E, A, B, alpha, beta",
    )  # fmt: skip


def _predict_options(parser: argparse.ArgumentParser) -> None:
    _law_option(parser)
    parser.add_argument("--params", type=number, required=True, metavar="N")
    parser.add_argument("--tokens", type=number, required=True, metavar="D")


def _allocate_options(parser: argparse.ArgumentParser) -> None:
    _law_option(parser)
    parser.add_argument("--flops", type=number, required=True, metavar="C")


def _plan_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--budget", type=number, required=True, metavar="FLOPS", help="of all small runs together"
    )
    parser.add_argument("--target-params", type=number, required=True, metavar="N")
    parser.add_argument("--target-tokens", type=number, metavar="D", help="default: 20 N")
    parser.add_argument(
        "--target-are", type=number, default=10.0, metavar="PCT", help="wanted, %% (default: 10)"
    )
    parser.add_argument(
        "--noise", type=number, default=0.01, help="sd of ln L from run to run (default: 0.01)"
    )
    _law_option(parser, required=False)


def read_law(path: Path) -> ScalingLaw:
    """Read a law: the output of `scale fit --json`, or the five parameters alone.

    Raises:
        ValueError: it is neither.
    """
    from gptcore.scaling.law import ScalingLaw, law_from
    from gptcore.scaling.solver import NAMES

    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} is not a law in JSON: {error}") from None
    if isinstance(found, dict) and "state" not in found:
        values = [found.get(name) for name in NAMES]
        if all(isinstance(v, int | float) and not isinstance(v, bool) for v in values):
            return law_from(*map(float, values))  # type: ignore[arg-type]
    if not isinstance(found, dict):
        raise ValueError(f"{path} is not a law: give an object with E, A, B, alpha, beta")
    return ScalingLaw.from_dict(found)


def _read(args: argparse.Namespace) -> pd.DataFrame:
    from gptcore.scaling.tables import keep_rows, one_family, read_table

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


def _plot(args: argparse.Namespace, law: ScalingLaw, table: pd.DataFrame, found: Json) -> Json:
    if args.plot:
        from gptcore.cli.plots import plot_law
        from gptcore.scaling.tables import check_table

        plot_law(args.plot, law, check_table(table)[0])
        found["plot"] = str(args.plot)
    return found


def fit(args: argparse.Namespace) -> Json:
    """Fit a law to a table of losses."""
    from gptcore.scaling import fitting
    from gptcore.scaling.colpret import fit_colpret
    from gptcore.scaling.repetition import fit_repeated
    from gptcore.scaling.tables import check_table, drop_largest

    table = drop_largest(_read(args), args.drop_largest)
    if args.repetition:
        repeated = fit_repeated(table, min_unique_tokens=args.min_unique_tokens, delta=args.delta)
        found = repeated.law.as_dict() | repeated.as_dict() | {"warnings": list(repeated.warnings)}
        return _plot(args, repeated.law, table, found)
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
    """Say how well a law predicts runs that are known already."""
    from gptcore.scaling import extrapolation

    table = _read(args)
    found = extrapolation.evaluate(
        table,
        extrapolation.Split(
            args.target, args.models, args.reverse, args.target_share, args.compute_gap
        ),
        cut=_cut(args),
        delta=args.delta,
        borrowed=_borrowed(args),
        colpret=args.preset == "colpret",
    )
    return _plot(args, found.law, table, found.as_dict())


def predict(args: argparse.Namespace) -> Json:
    """Predict the loss of a run."""
    law = read_law(args.law)
    found = law.predict(args.params, args.tokens)
    beyond = law.beyond(args.params, args.tokens)
    interval = None if found.low is None else [found.low, found.high]
    return {
        "loss": found.loss,
        "interval_95": interval,
        "params": args.params,
        "tokens": args.tokens,
        "warnings": [*law.warnings, *([beyond] if beyond else [])],
    }


def allocate(args: argparse.Namespace) -> Json:
    """Say the best size and tokens for a training budget."""
    from gptcore.scaling import planning

    law = read_law(args.law)
    return planning.allocate(law, args.flops).as_dict() | {"warnings": list(law.warnings)}


def isoflop(args: argparse.Namespace) -> Json:
    """Find the best size at each level of compute by parabolas."""
    from gptcore.scaling import planning
    from gptcore.scaling.tables import check_table

    table, notes = check_table(_read(args))
    return planning.isoflop(table) | {"warnings": notes}


def plan(args: argparse.Namespace) -> Json:
    """Propose the small runs that predict a big one: sizes, tokens and number."""
    from gptcore.scaling import planning

    return planning.plan_ladder(
        args.budget,
        args.target_params,
        20 * args.target_params if args.target_tokens is None else args.target_tokens,
        target_are=args.target_are,
        noise=args.noise,
        law=read_law(args.law) if args.law else None,
    )


_Run = Callable[[argparse.Namespace], Json]
_Options = Callable[[argparse.ArgumentParser], None]
SUBCOMMANDS: dict[str, tuple[_Run, _Options]] = {
    "fit": (fit, _fit_options),
    "evaluate": (evaluate, _evaluate_options),
    "predict": (predict, _predict_options),
    "allocate": (allocate, _allocate_options),
    "isoflop": (isoflop, _table_options),
    "plan": (plan, _plan_options),
}
