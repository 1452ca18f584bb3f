"""The command `python -m bench compare BASE NEW`."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from bench.comparing.compare import compare
from bench.comparing.compare_formats import FORMATS
from bench.comparing.verdicts import DEFAULT_FAILURES, FAILURES
from bench.ledger.folders import RunFolder
from bench.options import add_margin
from gptcore.console import quoted, to_path


def failures(text: str) -> tuple[str, ...]:
    """Read the verdicts of --fail-on; who names "missing" means cases that were not run, too."""
    names = tuple(name.strip() for name in text.split(","))
    for name in names:
        if name not in FAILURES:
            known = ", ".join(FAILURES)
            raise argparse.ArgumentTypeError(
                f"{quoted(name)} cannot fail a comparison: choose from {known}"
            )
    return (*names, "not run") if "missing" in names else names


def add_parser(subparsers: Any, summary: str) -> None:
    """Add the subcommand; `summary` is its line in the help of the command."""
    parser = subparsers.add_parser(
        "compare",
        help=summary,
        description="Compare the times of two runs case by case. A case is slower or faster if its "
        "95 % interval leaves out 1, the change exceeds the margin, and the p-value, adjusted for "
        "all cases (Holm), is at most 0.05. Exit code: 0 no failure, 1 a case is slower, 2 bad "
        "input, 3 a case is missing or the runs cannot be compared.",
    )
    parser.add_argument(
        "base", type=to_path, metavar="BASE", help="results folder of the earlier run"
    )
    parser.add_argument("new", type=to_path, metavar="NEW", help="results folder of the later run")
    add_margin(parser, "a difference within this margin counts as none")
    parser.add_argument(
        "--normalise",
        action="store_true",
        help="compare shares of each machine's measured ceilings instead of times; for runs of "
        "different machines or versions",
    )
    parser.add_argument(
        "--fail-on",
        type=failures,
        default=DEFAULT_FAILURES,
        metavar="VERDICTS",
        help=f"verdicts that end in an exit code above 0, joined by commas: {', '.join(FAILURES)} "
        "(default: slower,missing); where it names missing, it means not run as well",
    )
    parser.add_argument(
        "--require-power",
        action="store_true",
        help="exit with 3 if a slowdown beyond the margin could have been overlooked",
    )
    parser.add_argument(
        "-k", default="", metavar="TEXT", help="compare only cases with TEXT in their id"
    )
    parser.add_argument(
        "--format",
        choices=FORMATS,
        default="text",
        help="output format (default: text); json has every number",
    )


def main(options: argparse.Namespace) -> int:
    """Compare two runs, print the comparison, and return the exit code."""
    comparison = compare(
        RunFolder.read(options.base),
        RunFolder.read(options.new),
        margin=options.margin,
        normalise=options.normalise,
        only=options.k,
    )
    print(FORMATS[options.format](comparison))
    if comparison.not_comparable:
        lines = "; ".join(comparison.not_comparable)
        can_be = (
            comparison.base.environment and comparison.new.environment and not options.normalise
        )
        remedy = "; add --normalise to compare shares of the ceilings" if can_be else ""
        print(f"not comparable: {lines}{remedy}", file=sys.stderr)
    return comparison.exit_code(options.fail_on, require_power=options.require_power)
