"""The options of the subcommands of `gptcore scale`."""

from __future__ import annotations

import argparse

from gptcore.cli.options import to_text
from gptcore.console import number, to_path, to_picture, whole, whole_in


def _table_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "table",
        type=to_path,
        metavar="TABLE",
        help="CSV file, which may be compressed, with one row for each measured loss: model (a "
        "name), params (parameters), tokens_seen (tokens trained on), loss (nats per token); and, "
        "if there are several families of models, family",
    )
    parser.add_argument(
        "--family", metavar="NAME", help="the family to use, if the table has several"
    )
    group = parser.add_argument_group("rows to leave out (default: none)")
    group.add_argument(
        "--min-params", type=number, metavar="N", help="leave out models of fewer parameters"
    )
    group.add_argument(
        "--max-params", type=number, metavar="N", help="leave out models of more parameters"
    )
    group.add_argument(
        "--min-tokens-per-param",
        type=number,
        metavar="RATIO",
        help="leave out rows with fewer tokens for each parameter",
    )
    group.add_argument(
        "--max-epochs",
        type=number,
        metavar="EPOCHS",
        help="leave out rows of more passes over their text (needs the column unique_tokens)",
    )


def fit_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `gptcore scale fit`."""
    _table_options(parser)
    parser.add_argument(
        "--drop-largest",
        type=whole,
        default=0,
        metavar="ROWS",
        help="leave out that many rows, those with the largest losses (default: 0)",
    )
    _method_options(parser)
    parser.add_argument(
        "--bootstraps",
        type=whole_in(0, 10**6),
        default=1000,
        metavar="REFITS",
        help="refits to resampled runs, which give the intervals (default: 1000; with fewer than "
        "12 runs, the refits leave out one run each)",
    )
    parser.add_argument(
        "--repetition",
        action="store_true",
        help="also fit R_D and R_N, which say what repeated text is worth, to runs of several "
        "passes (Muennighoff et al. 2023; needs the column unique_tokens)",
    )
    parser.add_argument(
        "--min-unique-tokens",
        type=number,
        default=0.0,
        metavar="TOKENS",
        help="with --repetition: leave out runs of several passes over fewer tokens (default: 0)",
    )


def _method_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("method")
    group.add_argument(
        "--last-share",
        type=number,
        default=0.7,
        metavar="SHARE",
        help="share of each run, counted from its end, that is fitted (default: 0.7; 1 is all)",
    )
    group.add_argument(
        "--burn-in-tokens",
        type=number,
        default=0.0,
        metavar="TOKENS",
        help="leave out the rows of each run before that many tokens (default: 0)",
    )
    group.add_argument(
        "--final-only", action="store_true", help="fit the last row of each run only"
    )
    group.add_argument(
        "--delta",
        type=number,
        default=1e-3,
        metavar="X",
        help="where Huber's loss of ln(loss) turns from square to linear (default: 1e-3)",
    )
    group.add_argument(
        "--borrow",
        type=to_path,
        metavar="LAW.json",
        help="take A and alpha from another law, which is given as for scale predict --law",
    )
    group.add_argument(
        "--preset",
        choices=["colpret"],
        metavar="NAME",
        help="colpret (the code of Choshen et al. 2025): least squares from one starting point, "
        "without intervals",
    )
    group.add_argument(
        "--plot",
        type=to_picture,
        metavar="FILE",
        help="also draw the runs and the law into an image file (.png, .svg, .pdf; needs "
        "matplotlib)",
    )


def evaluate_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `gptcore scale evaluate`."""
    _table_options(parser)
    parser.add_argument(
        "--target",
        type=to_text,
        metavar="MODEL",
        help="the run to predict (default: every run of the largest size)",
    )
    parser.add_argument(
        "--models",
        type=whole,
        metavar="SIZES",
        help="fit to that many sizes, the smallest first (default: all that are smaller than the "
        "run to predict)",
    )
    parser.add_argument(
        "--reverse", action="store_true", help="predict the smallest size from larger ones"
    )
    parser.add_argument(
        "--target-share",
        type=number,
        default=0.0,
        metavar="SHARE",
        help="fit the first part of the run to predict as well, from 0 (default) to 0.7 of its "
        "tokens; with --models 0, the law is fitted to that part alone",
    )
    parser.add_argument(
        "--compute-gap",
        type=number,
        metavar="FACTOR",
        help="predict the rows with the largest compute (6 x parameters x tokens, FLOPs) from rows "
        "with at most 1/FACTOR of that compute",
    )
    _method_options(parser)


def _law_option(parser: argparse.ArgumentParser, *, required: bool = True) -> None:
    parser.add_argument(
        "--law",
        type=to_path,
        required=required,
        metavar="LAW.json",
        help="the law: the output of scale fit --json, or a JSON object with E, A, B, alpha and "
        f"beta ({'required' if required else 'default: that of the runs of Chinchilla'})",
    )


def _unique_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--unique-tokens",
        type=number,
        metavar="U",
        help="tokens of the text, which a run of more tokens repeats; the law must come from "
        "scale fit --repetition (default: no token is repeated)",
    )


def predict_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `gptcore scale predict`."""
    _law_option(parser)
    parser.add_argument(
        "--params", type=number, required=True, metavar="N", help="parameters of the run (required)"
    )
    parser.add_argument(
        "--tokens", type=number, required=True, metavar="D", help="tokens of the run (required)"
    )
    _unique_option(parser)


def allocate_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `gptcore scale allocate`."""
    _law_option(parser)
    parser.add_argument(
        "--flops",
        type=number,
        required=True,
        metavar="FLOPS",
        help="the budget: 6 x parameters x tokens, in FLOPs (required)",
    )
    _unique_option(parser)


isoflop_options = _table_options


def plan_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `gptcore scale plan`."""
    parser.add_argument(
        "--budget",
        type=number,
        required=True,
        metavar="FLOPS",
        help="the most that all small runs may cost together, in FLOPs (required)",
    )
    parser.add_argument(
        "--target-params",
        type=number,
        required=True,
        metavar="N",
        help="parameters of the large run to predict (required)",
    )
    parser.add_argument(
        "--target-tokens",
        type=number,
        metavar="D",
        help="tokens of the large run (default: 20 for each parameter)",
    )
    parser.add_argument(
        "--target-are",
        type=number,
        default=10.0,
        metavar="PERCENT",
        help="the wanted error of the predicted loss, in %% (default: 10)",
    )
    parser.add_argument(
        "--noise",
        type=number,
        default=0.01,
        metavar="SD",
        help="standard deviation of ln(loss) between equal runs (default: 0.01)",
    )
    parser.add_argument(
        "--table",
        type=to_path,
        metavar="TABLE",
        help="CSV file of runs there are already: propose the next run beside them, which narrows "
        "the interval of the target most for each FLOP (--target-are, --noise and --law are then "
        "not used)",
    )
    _law_option(parser, required=False)
