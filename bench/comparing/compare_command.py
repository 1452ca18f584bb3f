"""The command `python -m bench compare BASE NEW`, or `--interleave CHECKOUT` in their place."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from bench.comparing.compare import compare
from bench.comparing.compare_formats import FORMATS
from bench.comparing.verdicts import DEFAULT_FAILURES, FAILURES
from bench.ledger.folders import RunFolder
from bench.options import add_margin
from gptcore.console import at_home, quoted, to_path, whole_in

ROUNDS = 6
"""Rounds of interleaved runs, unless told otherwise."""


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
        "input, 3 a case is missing, the runs cannot be compared, or --require-power is not met.",
    )
    for name, when in (("base", "earlier"), ("new", "later")):
        parser.add_argument(
            name,
            type=to_path,
            nargs="?",
            metavar=name.upper(),
            help=f"results folder of the {when} run",
        )
    _add_interleaving(parser)
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
        "(default: slower,missing). If you name missing, cases that were not run fail as well",
    )
    parser.add_argument(
        "--require-power",
        action="store_true",
        help="exit with 3 if a slowdown beyond the margin could have been overlooked",
    )
    parser.add_argument("-k", default="", metavar="TEXT", help="only cases with TEXT in their id")
    parser.add_argument(
        "--format",
        choices=FORMATS,
        default="text",
        help="output format (default: text); json has every number",
    )


def _add_interleaving(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--interleave",
        type=to_path,
        metavar="CHECKOUT",
        help="time the cases of CHECKOUT (BASE) and of this checkout (NEW) in turns, each in its "
        "own code and in new processes, and compare round by round",
    )
    parser.add_argument("--suite", default="smoke", help="with --interleave: the suite (smoke)")
    parser.add_argument(
        "--rounds",
        type=whole_in(2, 1_000),
        default=ROUNDS,
        help=f"with --interleave: times that each case is timed on each side ({ROUNDS})",
    )
    parser.add_argument(
        "--corpus",
        action="append",
        type=at_home,
        metavar="NAME|PATH",
        help="with --interleave: the text, python-docs or a path; may be given several times",
    )
    parser.add_argument(
        "--results",
        type=to_path,
        metavar="DIR",
        help="with --interleave: folder of both ledgers; a run found there goes on (default: "
        "results/interleaved-<UTC time>)",
    )


def _runs(options: argparse.Namespace) -> tuple[Path, Path]:
    """Return the folders of BASE and NEW, timed first if they are to be interleaved."""
    if options.interleave is None:
        if options.new is None:
            raise ValueError("give two results folders, BASE and NEW, or --interleave CHECKOUT")
        if options.results or options.corpus:
            raise ValueError("--results and --corpus go with --interleave: leave them out")
        return options.base, options.new
    if options.base or options.normalise:
        raise ValueError("--interleave measures both runs itself: leave out runs and --normalise")
    from bench.pairing.interleave import interleave  # loads torch, so only when measuring

    return interleave(
        options.interleave,
        suite=options.suite,
        specs=options.corpus or ("python-docs",),
        only=options.k,
        rounds=options.rounds,
        folder=options.results,
    )


def main(options: argparse.Namespace) -> int:
    """Compare two runs, print the comparison, and return the exit code."""
    base, new = _runs(options)
    comparison = compare(
        RunFolder.read(base),
        RunFolder.read(new),
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
