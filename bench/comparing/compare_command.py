"""The command `python -m bench compare BASE NEW`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from bench.comparing.compare import FAILURES, compare
from bench.comparing.compare_formats import FORMS
from bench.ledger.folders import RunFolder
from bench.options import add_margin


def failures(text: str) -> tuple[str, ...]:
    """Read the verdicts of --fail-on."""
    names = tuple(name.strip() for name in text.split(","))
    for name in names:
        if name not in FAILURES:
            known = ", ".join(FAILURES)
            raise argparse.ArgumentTypeError(
                f"{name!r} cannot fail a comparison: choose of {known}"
            )
    return names


def add_parser(subparsers: Any) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "compare",
        help="what changed between two runs",
        description="Compare two runs case by case. Exit code: 0 same or better, 1 slower, "
        "2 bad input, 3 a case is missing or the runs are not comparable.",
    )
    parser.add_argument("base", type=Path, metavar="BASE", help="results folder to compare with")
    parser.add_argument("new", type=Path, metavar="NEW", help="results folder in question")
    add_margin(parser, "difference that counts as none")
    parser.add_argument(
        "--normalise",
        action="store_true",
        help="compare shares of each machine's measured ceiling: for other machines or versions",
    )
    parser.add_argument(
        "--fail-on",
        type=failures,
        default=("slower", "missing"),
        metavar="VERDICTS",
        help=f"comma-separated, of {', '.join(FAILURES)} (default: slower,missing)",
    )
    parser.add_argument("-k", default="", metavar="TEXT", help="only cases with TEXT in their id")
    parser.add_argument("--format", choices=FORMS, default="text", help="default: text")


def main(options: argparse.Namespace) -> int:
    """Compare, print, and return the exit code."""
    found = compare(
        RunFolder.read(options.base),
        RunFolder.read(options.new),
        margin=options.margin,
        normalise=options.normalise,
        only=options.k,
    )
    print(FORMS[options.format](found))
    if found.not_comparable:
        lines = "; ".join(found.not_comparable)
        can_be = found.base.environment and found.new.environment and not options.normalise
        remedy = ". --normalise compares shares of the ceilings" if can_be else ""
        print(f"not comparable: {lines}{remedy}", file=sys.stderr)
    return found.exit_code(options.fail_on)
