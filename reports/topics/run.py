"""The run itself: what failed or did not run, what the numbers are called."""

from __future__ import annotations

from collections.abc import Iterator

from bench.ledger import plain_text
from bench.ledger.record import Record
from bench.ledger.schema import METRICS
from reports import words
from reports.blocks import Finding, Section, Table, table
from reports.load import Run

# --- the run itself -------------------------------------------------------------------------


def completeness(run: Run) -> Iterator[Finding]:
    """Say what failed, could not be read, or was measured on changed code."""
    failed = [r for r in run.unfinished if r["status"] == "failed"]
    if failed:
        reasons = sorted({plain_text.shorten(r["reason"], 120) for r in failed})
        n = words.count(len(failed), "case")
        yield Finding(
            55,
            "run",
            "",
            f"{n} failed",
            "Nothing below includes them. " + words.sentence("; ".join(reasons[:3])),
            tuple(r["case"] for r in failed[:5]),
        )
    if run.warnings:
        n = words.count(len(run.warnings), "line")
        headline = f"{n} of the ledger could not be read"
        yield Finding(
            95, "run", "", headline, "What they held is missing here, and may change the result."
        )
    if run.fact("run", "dirty") is True:
        yield Finding(
            50,
            "run",
            "",
            "The code differed from its commit",
            "Tracked files had changes when this was measured, so the commit alone does not "
            "reproduce it; the SHA-256 of the sources below says what ran.",
        )


def accelerators(run: Run) -> Iterator[Finding]:
    """Say that numbers are of the CPU alone, where they are."""
    present = run.fact("machine", "accelerators")
    if present == []:
        yield Finding(
            20,
            "machine",
            "",
            "No accelerator was found, so nothing ran on one",
            "Every time in this report is of the CPU. It says nothing about a GPU.",
        )
    elif present and run.fact("run", "devices") == ["cpu"]:
        yield Finding(
            30,
            "machine",
            "",
            "An accelerator is present but was not measured",
            "The run was limited to the CPU. Add the accelerator with --devices.",
        )


def not_run_section(run: Run) -> Section:
    """Return what did not run, and why."""
    lost: list[Record] = run.unfinished
    return Section(
        "missing",
        "Not run",
        "What did not run, and why?",
        "Failed cases broke off with an error; skipped ones were not tried here. Neither is part "
        "of any number above.",
        tables=[not_run(lost)] if lost else [],
        missing="" if lost else "Every case in the ledger finished.",
    )


def not_run(records: list[Record]) -> Table:
    """Return what failed or was skipped, with the reason."""
    rows = [(r["case"], r["status"], r["reason"]) for r in records]
    return table("Cases without a result.", ("Case", "Status", "Reason"), rows)


def _meaning(name: str) -> str:
    expected = "exact expectation of: " if name.startswith("expected_") else ""
    return expected + METRICS[name].meaning


def glossary(records: list[Record]) -> Table:
    """Return the meaning of every metric that occurs in `records`, in the order of the schema."""
    used = {name for record in records for name in record["metrics"]}
    rows = [
        (
            name,
            key.unit,
            _meaning(name),
        )
        for name, key in METRICS.items()
        if name in used
    ]
    return table("What every metric in this report means.", ("Metric", "Unit", "Meaning"), rows)
