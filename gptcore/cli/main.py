"""The command `gptcore`: one table that names its subcommands, and `main`.

Results go to standard output: an answer for people, or one object with --json. Progress goes to
standard error. Exit code 0 is done, 1 a fault that a command found and was to fail on, 2 bad input
(one line); `gptcore/streams.py` has the others.

To add a subcommand `name`, write three functions in a module of `gptcore.cli` and a line in
`COMMANDS`: `name_options(parser)` adds its options; `name(args)` returns the JSON object, and the
first line of its docstring is its help; `name_answer(result)` says that object in words (an
`Answer`; a string is printed as it is). A name of two words, "scale fit", belongs to a group of
`GROUPS`.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import gptcore
from gptcore import streams
from gptcore.cli import (
    audit,
    checking,
    cost,
    data,
    evaluation,
    evaluation_answer,
    exporting,
    form,
    inference,
    sampling,
    scaling,
    scaling_answers,
    scaling_options,
    tokenizing,
    training,
)
from gptcore.cli.options import Json
from gptcore.console import Answer, show


class _Command(NamedTuple):
    run: Callable[[argparse.Namespace], Json]
    answer: Callable[[Json], Answer | str]
    options: Callable[[argparse.ArgumentParser], None]
    example: str
    fails: Callable[[argparse.Namespace, Json], bool] = lambda _args, _result: False


GROUPS = {"scale": "Fit scaling laws to runs of small models, and predict and plan larger ones."}

COMMANDS: dict[str, _Command] = {
    "corpora": _Command(data.corpora, data.corpora_answer, data.corpora_options,
        "gptcore corpora my-book.txt"),
    "tokenize": _Command(tokenizing.tokenize, tokenizing.tokenize_answer,
        tokenizing.tokenize_options,
        "gptcore tokenize books/ more.txt --out tokens\n"
        "  gptcore coverage --corpus tokens --join"),
    "plan": _Command(sampling.plan, sampling.plan_answer, sampling.plan_options,
        "gptcore plan --tokens 142515 --block-size 256 --batch-size 16 --steps 501"),
    "coverage": _Command(sampling.coverage, sampling.coverage_answer, sampling.coverage_options,
        "gptcore coverage --corpus my-book.txt --sampler sequential --epochs 1"),
    "audit": _Command(audit.audit, audit.audit_answer, audit.audit_options,
        "gptcore audit windows.csv --tokens 142515 --block-size 256\n"
        "  gptcore audit mine.py:get_batch --corpus data --part train --fail-on fault\n"
        "  gptcore audit resumed.csv --unbroken whole.csv --tokens 142515",
        audit.has_fault),
    "check": _Command(checking.check, checking.check_answer, checking.check_options,
        "gptcore check mine.py\n"
        "  gptcore check mine.py --train --json",
        checking.has_fault),
    "bias": _Command(data.bias, data.bias_answer, data.bias_options,
        "gptcore bias --corpus gutenberg:829 --raw"),
    "leakage": _Command(data.leakage, data.leakage_answer, data.leakage_options,
        "gptcore leakage --corpus my-book.txt --split block:3/10 --embargo 256"),
    "train": _Command(training.train, training.train_answer, training.train_options,
        "gptcore train --out runs/first --model model4 --steps 200\n"
        "  torchrun --nproc-per-node 2 -m gptcore train --out runs/many"),
    "generate": _Command(inference.generate, inference.generate_answer, inference.generate_options,
        'gptcore generate --checkpoint runs/first --prompt "The statement"'),
    "evaluate": _Command(evaluation.evaluate, evaluation_answer.evaluate_answer,
        evaluation.evaluate_options,
        "gptcore evaluate --checkpoint runs/first\n"
        "  gptcore evaluate --checkpoint gpt2 --file other.txt --bos\n"
        "  gptcore evaluate --checkpoint runs/first --file other.txt --stride 64\n"
        "  gptcore evaluate --checkpoint runs/first --part train"),
    "export": _Command(exporting.export, exporting.export_answer, exporting.export_options,
        "gptcore export --checkpoint runs/first --out published/first"),
    "form": _Command(form.form, form.form_answer, form.form_options,
        "gptcore form generated.txt --corpus my-book.txt"),
    "cost": _Command(cost.cost, cost.cost_answer, cost.cost_options,
        "gptcore cost --model gpt2 --tokens 1e10\n"
        "  gptcore cost --model model5 --tokens 1e8 --tokens-per-s 5200 --price 0.5,0.7,1"),
    "scale fit": _Command(scaling.fit, scaling_answers.fit_answer,
        scaling_options.fit_options,
        "gptcore scale fit losses.csv --family gpt3 --json > law.json"),
    "scale evaluate": _Command(scaling.evaluate, scaling_answers.evaluate_answer,
        scaling_options.evaluate_options,
        "gptcore scale evaluate losses.csv --family gpt3 --models 5"),
    "scale predict": _Command(scaling.predict, scaling_answers.predict_answer,
        scaling_options.predict_options,
        "gptcore scale predict --law law.json --params 7e9 --tokens 1.4e11"),
    "scale allocate": _Command(scaling.allocate, scaling_answers.allocate_answer,
        scaling_options.allocate_options,
        "gptcore scale allocate --law law.json --flops 1e21"),
    "scale isoflop": _Command(scaling.isoflop, scaling_answers.isoflop_answer,
        scaling_options.isoflop_options,
        "gptcore scale isoflop losses.csv --family porian_rw_const"),
    "scale plan": _Command(scaling.plan, scaling_answers.plan_answer,
        scaling_options.plan_options,
        "gptcore scale plan --budget 1e18 --target-params 1e9 --target-tokens 2e10"),
}  # fmt: skip


class _Help(argparse.HelpFormatter):
    """Wraps what is prose to the width of the terminal, and leaves examples as they are."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return "\n".join(
            line if line.startswith(" ") else super(_Help, self)._fill_text(line, width, indent)
            for line in text.splitlines()
        )


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command."""
    parser = streams.Parser(
        prog="gptcore",
        description="Sampling, coverage, training and scaling laws of small GPTs.",
        epilog="For the options of a command and an example: gptcore COMMAND --help",
    )
    parser.add_argument(
        "--version",
        action="version",
        version=f"gptcore {gptcore.__version__}",
        help="print the version and exit",
    )
    subparsers = parser.add_subparsers(
        title="commands", dest="command", required=True, metavar="COMMAND"
    )
    places = {"": subparsers}
    for name, command in COMMANDS.items():
        group, _, word = name.rpartition(" ")
        if group not in places:
            places[group] = _add_group(subparsers, group)
        summary = (command.run.__doc__ or "").strip().partition("\n")[0]
        sub = places[group].add_parser(
            word,
            help=summary,
            description=summary,
            epilog=f"example:\n  {command.example}",
            formatter_class=_Help,
        )
        _add_json_option(sub, default=argparse.SUPPRESS if group else False)
        command.options(sub)
        sub.set_defaults(run=command.run, answer=command.answer, fails=command.fails)
    return parser


def _add_group(subparsers: Any, name: str) -> Any:
    """Add a command that has subcommands; return the place to add them."""
    parser = subparsers.add_parser(
        name,
        help=GROUPS[name],
        description=GROUPS[name],
        epilog=f"For the options of each command and an example: gptcore {name} WHAT --help",
    )
    _add_json_option(parser, default=False)
    return parser.add_subparsers(dest="what", required=True, metavar="WHAT")


def _add_json_option(parser: argparse.ArgumentParser, *, default: object) -> None:
    parser.add_argument(
        "--json",
        action="store_true",
        default=default,
        help="print the whole result as one JSON object (default: an answer in words)",
    )


def main(argv: list[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    return streams.answer(make_parser, _run, argv)


def _run(args: argparse.Namespace) -> int:
    result = args.run(args)
    if args.json:
        print(json.dumps(finite(result), allow_nan=False))
    else:
        show(args.answer(result))
    return int(args.fails(args, result))


def finite(value: Any) -> Any:
    """Return a JSON value with null for each number that JSON cannot hold: NaN and infinity."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
