"""The run itself: what failed, what could not be read, what did not run."""

from __future__ import annotations

from collections.abc import Iterator

from bench.ledger.record import Record
from gptcore import plain_text
from reports import words
from reports.blocks import Finding, Plotter, Section, Table, table
from reports.load import Run


def find(run: Run) -> Iterator[Finding]:
    """Say what failed, could not be read, or was measured on changed code."""
    failed = [r for r in run.unfinished if r["status"] == "failed"]
    if failed:
        reasons = sorted({plain_text.shorten(r["reason"], 120) for r in failed})
        n = words.count(len(failed), "case")
        yield Finding(
            56,
            "run",
            "",
            f"{n} failed",
            "No number below includes these cases. " + words.sentence("; ".join(reasons[:3])),
            tuple(r["case"] for r in failed[:5]),
        )
    if run.warnings:
        n = words.count(len(run.warnings), "line")
        headline = f"{n} of the ledger could not be read"
        yield Finding(95, "run", "", headline, "The results in those lines are missing here.")
    if run.fact("run", "dirty") is True:
        yield Finding(
            50,
            "run",
            "",
            "The code differed from its commit",
            "Tracked files had uncommitted changes when this run was measured, so the commit alone "
            "does not reproduce it. The SHA-256 of the sources, given below, identifies the code.",
        )


def section(run: Run, _: Plotter) -> list[Section]:
    """Return what did not run, and why."""
    lost: list[Record] = run.unfinished
    return [
        Section(
            "missing",
            "Not run",
            "What did not run, and why?",
            "Failed cases ended with an error; skipped cases were not started. Neither is part of "
            "any number above."
            if lost
            else "Every case in the ledger finished.",
            tables=[not_run(lost)] if lost else [],
        )
    ]


def not_run(records: list[Record]) -> Table:
    """Return what failed or was skipped, with the reason."""
    rows = [(r["case"], r["status"], r["reason"]) for r in records]
    return table("Cases without a result.", ("Case", "Status", "Reason"), rows)
