"""The command `gptcore`: one table that names its subcommands, and `main`.

Results go to standard output, as text or with --json as one object; progress and warnings go to
standard error. Exit code 0 is done, 2 bad input (one line), 130 interrupted.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass

from gptcore.cli import data, sampling, scaling, training
from gptcore.cli.data import bias_options, corpora_options, leakage_options
from gptcore.cli.options import Json
from gptcore.cli.sampling import audit_options, coverage_options, plan_options
from gptcore.cli.training import evaluate_options, generate_options, train_options
from gptcore.console import Parser, show


@dataclass(frozen=True)
class _Command:
    run: Callable[[argparse.Namespace], Json]
    example: str
    options: Callable[[argparse.ArgumentParser], None]


COMMANDS: dict[str, _Command] = {
    "corpora": _Command(data.corpora, "gptcore corpora my-book.txt", corpora_options),
    "plan": _Command(
        sampling.plan, "gptcore plan --tokens 142515 --block-size 256 --batch-size 16 --steps 501",
        plan_options,
    ),
    "coverage": _Command(
        sampling.coverage, "gptcore coverage --corpus my-book.txt --sampler sequential --epochs 1",
        coverage_options,
    ),
    "audit": _Command(
        sampling.audit, "gptcore audit windows.csv --tokens 142515 --block-size 256",
        audit_options,
    ),
    "bias": _Command(
        data.bias, "gptcore bias --corpus gutenberg:829 --raw", bias_options
    ),
    "leakage": _Command(
        data.leakage, "gptcore leakage --corpus my-book.txt --split block:3/10 --embargo 256",
        leakage_options,
    ),
    "train": _Command(
        training.train, "gptcore train --out runs/first --model model4 --steps 200", train_options
    ),
    "generate": _Command(
        training.generate, 'gptcore generate --checkpoint runs/first --prompt "The statement"',
        generate_options,
    ),
    "evaluate": _Command(
        training.evaluate, "gptcore evaluate --checkpoint runs/first --json", evaluate_options
    ),
    "scale": _Command(
        scaling.scale, scaling.EXAMPLES["evaluate"], scaling.add_options
    ),
}  # fmt: skip


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command."""
    examples = "\n".join(f"  {command.example}" for command in COMMANDS.values())
    raw = argparse.RawDescriptionHelpFormatter
    parser = Parser(
        prog="gptcore",
        description="Sampling, coverage and training of small GPTs, measured and against theory.",
        epilog=f"examples:\n{examples}",
        formatter_class=raw,
    )
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, command in COMMANDS.items():
        summary = (command.run.__doc__ or "").strip()
        sub = subparsers.add_parser(
            name,
            help=summary,
            description=summary,
            epilog=f"example:\n  {command.example}",
            formatter_class=raw,
        )
        sub.add_argument("--json", action="store_true", help="print one JSON object")
        command.options(sub)
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    args = make_parser().parse_args(argv)
    with open(os.devnull, "w", encoding="utf-8") as nowhere:
        stdout = sys.stdout or nowhere  # a caller may have closed it
        with redirect_stdout(stdout), _warnings_in_one_line():
            return _run(args)


@contextmanager
def _warnings_in_one_line() -> Iterator[None]:
    """Print warnings to standard error without the place in the code that they come from."""
    before = warnings.showwarning
    warnings.showwarning = lambda message, *_rest, **_more: print(
        f"gptcore: warning: {message}", file=sys.stderr
    )
    try:
        yield
    finally:
        warnings.showwarning = before


def _run(args: argparse.Namespace) -> int:
    try:
        found = COMMANDS[args.command].run(args)
        if args.json:
            print(json.dumps(found, allow_nan=False))
        else:
            show(found)
        sys.stdout.flush()
    except (ValueError, OSError) as error:
        if isinstance(error, BrokenPipeError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
        text = " ".join(str(error).split())
        print(f"gptcore {args.command}: {text}", file=sys.stderr)
        return 2
    except (MemoryError, OverflowError, RuntimeError) as error:
        text = str(error).lower()  # torch has no type of its own for these
        if isinstance(error, RuntimeError) and not ("allocate" in text or "overflow" in text):
            raise
        print(f"gptcore {args.command}: not enough memory: give smaller sizes", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"gptcore {args.command}: interrupted", file=sys.stderr)
        return 130
    return 0
