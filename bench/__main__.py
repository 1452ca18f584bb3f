"""The command `python -m bench`: compare runs, time operands in turns, search and keep runs."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

from gptcore import streams

COMMANDS = {
    "compare": ("bench.comparing.compare_command", "which cases became slower between two runs"),
    "pair": ("bench.pairing.command", "how many times as long B takes as A, timed in turns"),
    "history": (
        "bench.comparing.history_command",
        "when times changed and stayed changed over many runs",
    ),
    "keep": ("bench.ledger.keep_command", "write a finished ledger as one compressed file"),
}
"""Command → its module, with `add_parser` and `main`, and what it answers."""

EXAMPLES = """\
examples:
  python -m bench compare results/main results/branch            exit code 1 if a case is slower
  python -m bench compare results/main results/branch --format md > comment.md
  python -m bench compare --interleave ../base          this checkout and that one, timed in turns
  python -m bench compare laptop/results/a server/results/b --normalise
  python -m bench history results/ --plot trend.svg
  python -m bench keep results/orders                    writes docs/results/orders.jsonl.xz
  python -m bench pair --help
"""


def make_parser(command: str | None) -> argparse.ArgumentParser:
    """Return the parser of the command line; of the subcommands, only `command` gets options.

    The modules of the others are not imported, because one of them imports torch, which is slow.
    """
    parser = streams.Parser(
        prog="python -m bench",
        description="Compare times measured by `pytest --benchmark-only`.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND")
    for name, (module, summary) in COMMANDS.items():
        if name == command:
            importlib.import_module(module).add_parser(subparsers, summary)
        else:
            subparsers.add_parser(name, help=summary)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a subcommand; return its exit code."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)

    def work(options: argparse.Namespace) -> int:
        if options.command is None:
            make_parser(None).print_help(sys.stderr)
            return streams.BAD_INPUT
        module, _ = COMMANDS[options.command]
        return int(importlib.import_module(module).main(options))

    return streams.answer(lambda: make_parser(arguments[0] if arguments else None), work, arguments)


if __name__ == "__main__":
    streams.run("bench.__main__")
