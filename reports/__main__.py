"""The command `python -m reports`: results folders in, one file out, the main findings printed."""

from __future__ import annotations

import argparse
import gc
import sys
from collections.abc import Sequence
from pathlib import Path

from gptcore import streams
from gptcore.console import to_file, to_path
from gptcore.files import write_whole

DEFAULT_OUTPUT = Path("reports/html/index.html")
EXAMPLES = """\
examples:
  python -m reports                                  the newest run → reports/html/index.html
  python -m reports results/20260301T100000Z-0123456 -o report.html
  python -m reports results/a results/b -o both.html   one run if they are parts of one study
  python -m reports --format md -o report.md
"""
N_PRINTED = 3


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    made = streams.Parser(
        prog="python -m reports",
        description="Write a report on one or more runs as a single file.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument(
        "results",
        nargs="*",
        type=to_path,
        metavar="RESULTS",
        help="results folders, or ledgers that `python -m bench keep` wrote (default: the one that "
        "results/latest names)",
    )
    made.add_argument(
        "-o",
        "--output",
        type=to_file,
        metavar="FILE",
        help=f"the file to write (default: {DEFAULT_OUTPUT}, .md for Markdown)",
    )
    made.add_argument("--format", choices=("html", "md"), default="html", help="default: html")
    return made


def report(folders: Sequence[Path], output: Path, output_format: str) -> None:
    """Write the report; print its path and its first findings.

    Raises:
        ValueError: a folder cannot be read or the output cannot be written.
    """
    # Imported here, so that --help and a wrong option answer at once.
    from gptcore import plain_text
    from reports import load, page, studies, words

    if output.is_dir():
        raise ValueError(f"cannot write {output}: it is a folder; name a file with -o")
    runs = studies.joined(load.load_runs(folders or [load.latest_folder()]))
    for run in runs:
        where = run.label if run.parts else run.folder
        for warning in run.warnings:
            print(f"warning: {where}: {plain_text.shorten(warning, 300)}", file=sys.stderr)
    text, findings = page.render(runs, output_format)
    write_whole(output, text)
    print(f"Report: {output.absolute()}")
    for finding in findings[:N_PRINTED]:
        print(f"- {words.sentence(finding.headline)}")
    if not findings:
        print("- The ledger holds too few finished measurements for a finding.")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code: 0 done, 2 bad input, 130 interrupted."""
    return streams.answer(parser, _run, arguments)


def _run(options: argparse.Namespace) -> int:
    output = options.output or DEFAULT_OUTPUT.with_suffix(f".{options.format}")
    if sys.stderr.isatty():
        print(f"Writing {output} …", file=sys.stderr)
    report(options.results, output, options.format)
    return 0


if __name__ == "__main__":
    gc.disable()  # collecting the many objects of the figures would cost time
    streams.run("reports.__main__")
