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
  python -m reports results/new --base results/old   what changed stands on top
  python -m reports results/new --base results/old --format md -o comment.md
  python -m reports results/                         all runs of a folder, and when times changed
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
        "results/latest names); or one folder of results folders",
    )
    made.add_argument(
        "--base",
        type=to_path,
        metavar="RUN",
        help="an earlier run: the page says what changed since; with --format md it is short "
        "enough for the comment on a pull request",
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


def report(
    folders: Sequence[Path], output: Path, output_format: str, base: Path | None = None
) -> None:
    """Write the report; print its path and its first findings.

    Raises:
        ValueError: a folder cannot be read or the output cannot be written.
    """
    # Imported here, so that --help and a wrong option answer at once.
    from reports import history, page

    if output.is_dir():
        raise ValueError(f"cannot write {output}: it is a folder; name a file with -o")
    if any(map(history.holds_runs, folders)):
        if len(folders) > 1 or base:
            raise ValueError("a folder of runs makes a page of its own: give it alone, no --base")
        text, answer = page.render_index(folders[0], output_format)
        answers = [answer]
    else:
        text, answers = _of_runs(folders, output_format, base)
    write_whole(output, text)
    print(f"Report: {output.absolute()}")
    for line in answers:
        print(f"- {line}")


def _of_runs(
    folders: Sequence[Path], output_format: str, base: Path | None
) -> tuple[str, list[str]]:
    """Return the page of some runs, and what to print of it."""
    from gptcore import plain_text
    from reports import load, page, pull_request, studies, words

    old = load.load_runs([base]) if base else []
    runs = studies.joined(load.load_runs(folders or [load.latest_folder()]))
    for run in [*old, *runs]:
        where = run.label if run.parts else run.folder
        for warning in run.warnings:
            print(f"warning: {where}: {plain_text.shorten(warning, 300)}", file=sys.stderr)
    if old and output_format == "md":
        if len(runs) > 1:
            raise ValueError("--base with --format md compares one run: give one results folder")
        return pull_request.render(runs[0], old[0])
    text, findings = page.render(runs, output_format, *old)
    answers = [words.sentence(finding.headline) for finding in findings[:N_PRINTED]]
    return text, answers or ["The ledger holds too few finished measurements for a finding."]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code: 0 done, 2 bad input, 130 interrupted."""
    return streams.answer(parser, _run, arguments)


def _run(options: argparse.Namespace) -> int:
    output = options.output or DEFAULT_OUTPUT.with_suffix(f".{options.format}")
    if sys.stderr.isatty():
        print(f"Writing {output} …", file=sys.stderr)
    report(options.results, output, options.format, options.base)
    return 0


if __name__ == "__main__":
    gc.disable()  # collecting the many objects of the figures would cost time
    streams.run("reports.__main__")
