"""The command `python -m bench`: compare runs, pair two variants, look at the history."""

from __future__ import annotations

import argparse
import importlib
import io
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from bench.ledger.plain_text import visible

COMMANDS = {
    "compare": "what changed between two runs",
    "pair": "time two variants, interleaved in one run",
    "history": "when did times step, over many runs",
}
MODULES = {
    "compare": "bench.comparing.compare_command",
    "pair": "bench.pairing.command",
    "history": "bench.comparing.history_command",
}
EXAMPLES = """\
examples:
  python -m bench compare results/main results/branch            table; exit code 1 if slower
  python -m bench compare results/main results/branch --format md > comment.md
  python -m bench compare laptop/results/a server/results/b --normalise
  python -m bench history results/ --plot trend.svg
  python -m bench pair --help
"""


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        """Print `message` and end the program with exit code 2."""
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


def parser(command: str | None) -> Parser:
    """Return the parser of the command line; only `command` has its options.

    The other modules are not imported: one of them needs torch, which takes seconds.
    """
    made = Parser(
        prog="python -m bench",
        description="Compare what `pytest --benchmark-only` measured.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    subparsers = made.add_subparsers(dest="command", metavar="COMMAND")
    for name, summary in COMMANDS.items():
        if name == command:
            importlib.import_module(MODULES[name]).add_parser(subparsers)
        else:
            subparsers.add_parser(name, help=summary)
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a subcommand and return its exit code: its own, 2 for bad input, 130 interrupted."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        made = parser(arguments[0] if arguments else None)
        if not arguments:
            made.print_help(sys.stderr)
            return 2
        options = made.parse_args(arguments)
        code = int(importlib.import_module(MODULES[options.command]).main(options))
        sys.stdout.flush()
    except ValueError as error:
        print(f"error: {visible(str(error))}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # whoever read our output has left before its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    return code


if __name__ == "__main__":
    sys.exit(main())
