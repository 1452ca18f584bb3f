"""Records → what they say on the user's own model: its faults, its cost, its loader."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import pandas as pd

from bench.ledger.record import Record
from gptcore import plain_text
from reports import words
from reports.blocks import ONE_PROCESS, Finding
from reports.claims import apart, listed, verdict
from reports.labels import WORK_NOUNS
from reports.load import Run
from reports.topics.peers.findings import compared, peaks

CHECKS, PAIRS, PEAKS, STEP, LOADER = (
    f"own_{name}" for name in ("checks", "pairs", "peaks", "step", "loader")
)

FAULT = 98
"""Importance from which a finding is on a fault of the user's model or loader."""


def find(run: Run) -> list[Finding]:
    """Return what the checks found, then what the model costs, then what its loader showed."""
    return [
        *checked(records_of(run, CHECKS)),
        *costs(compared(run, PAIRS)),
        *memory(own_peaks(run)),
        *audited(records_of(run, LOADER)),
    ]


def records_of(run: Run, group: str) -> list[Record]:
    """Return the finished records of a group."""
    return [record for record in run.finished if record["group"] == group]


def own_peaks(run: Run) -> pd.DataFrame:
    """Return the peaks of the user's model, beside those of gptcore."""
    frame = peaks(run, PEAKS)
    return frame[frame["variant"].ne("gptcore")]


def _file(records: Iterable[Record]) -> str:
    """Return the names of the model files of records."""
    names = (r["params"].get("variant") or "a model without a name" for r in records)
    return listed(plain_text.shorten(str(name), 60) for name in names)


def with_status(records: Iterable[Record], status: str) -> list[dict[str, Any]]:
    """Return the rows of the checks that have a status."""
    rows = (row for record in records for row in record["series"].get("checks", []))
    return [row for row in rows if row["status"] == status]


def checked(records: list[Record]) -> Iterator[Finding]:
    """Say which checks found a fault."""
    if not records:
        return
    faults, notes = with_status(records, "fault"), with_status(records, "note")
    n_ok, n_skipped = (len(with_status(records, status)) for status in ("ok", "skipped"))
    name = _file(records)
    headline = f"The checks found no fault in {name}"
    if faults:
        which = listed(plain_text.shorten(str(row["check"]), 40) for row in faults)
        headline = f"The checks found {words.count(len(faults), 'fault')} in {name}: {which}"
    told = " ".join(f"{row['detail']}: {row['means'] or ''}" for row in faults[:3])
    yield Finding(
        FAULT + 2 if faults else 66,
        "own model",
        "",
        headline,
        f"{plain_text.shorten(told, 900)} {words.count(n_ok, 'check')} found nothing, "
        f"{words.count(len(notes), 'note')} may be right in your model, and "
        f"{words.count(n_skipped, 'check')} did not apply. No fault found does not mean that there "
        "is none.".strip(),
        tuple(str(record["case"]) for record in records[:3]),
    )


def costs(frame: pd.DataFrame) -> Iterator[Finding]:
    """Say of each kind of work whether the user's model takes longer than gptcore."""
    for _, case in frame.iterrows():
        kind, name = verdict(case), plain_text.shorten(str(case["variant"]), 60)
        what = WORK_NOUNS.get(str(case["work"]), words.subject(case["base"]))
        factor = words.number(case["ratio"] if kind != "faster" else 1 / case["ratio"])
        claim = {
            "slower": f"{what} takes {factor} times as long in {name} as in gptcore",
            "faster": f"{what} takes {factor} times as long in gptcore as in {name}",
            "same": f"{what} takes the same time in {name} and gptcore, within the margin",
        }.get(str(kind), f"the times of {what} in {name} and gptcore are too uncertain to compare")
        same = frame[frame["variant"].eq(case["variant"]) & frame["work"].eq(case["work"])]
        ends = f"{words.ratio(case['ratio_low'])} to {words.ratio(case['ratio_high'])}"
        yield Finding(
            84 if kind == "slower" else 60,
            "own model",
            "",
            words.sentence(f"{claim}{apart(case, same)}").removesuffix("."),
            f"Time of {name} over that of gptcore: {words.ratio(case['ratio'])}, 95 % interval "
            f"{ends}. {name} has {words.number(case['n_params'])} parameters and gptcore "
            f"{words.number(case['n_params_ours'])}. What else differs stands in the table of "
            f"differences. Conditions: {words.base_conditions(case['base'])}. {ONE_PROCESS}",
            (case["case"],),
        )


def memory(frame: pd.DataFrame) -> Iterator[Finding]:
    """Compare the peak memory of a forward and backward pass."""
    frame = frame.dropna(subset=["times_ours"])
    for _, case in frame.iterrows():
        factor, theirs, ours = words.dividing(case["peak_bytes"], case["ours_bytes"], "B")
        name = plain_text.shorten(str(case["variant"]), 60)
        yield Finding(
            70 if case["times_ours"] > 1.03 else 54,
            "own model",
            "",
            f"A forward and backward pass of {name} needs {factor} times the peak memory of "
            f"gptcore{apart(case, frame[frame['variant'].eq(case['variant'])])}",
            f"{name} needs {theirs} beyond the memory held between calls, and gptcore {ours}. Each "
            f"was read in one new process. Conditions: {words.conditions(case)}.",
            (case["case"],),
        )


def audited(records: list[Record]) -> Iterator[Finding]:
    """Say what the audit of the file's loader found."""
    if not records:
        return
    faults = [finding for r in records for finding in audit_of(r) if finding["severity"] == "fault"]
    draws = sum(r["metrics"].get("audited_draws") or 0 for r in records)
    what = f"the loader of {_file(records)}"
    headline = f"The audit found no fault in {words.count(draws, 'window')} of {what}"
    if faults:
        kinds = listed(str(finding["kind"]).replace("_", " ") for finding in faults)
        headline = f"The audit found faults in {what}: {plain_text.shorten(kinds, 120)}"
    told = " ".join(str(finding.get("explanation")) for finding in faults[:3])
    yield Finding(
        FAULT if faults else 52,
        "own model",
        "",
        headline,
        f"{plain_text.shorten(told, 900)} Every window was looked up in the training part. The "
        "audit says nothing of windows that were not drawn.".strip(),
        tuple(str(record["case"]) for record in records[:3]),
    )


def audit_of(record: Record) -> list[dict[str, Any]]:
    """Return the findings of the audit that a record holds, as far as they are such."""
    found = record["facts"].get("audit")
    known = [f for f in found if isinstance(f, dict)] if isinstance(found, list) else []
    return [{"kind": "?", "severity": "?"} | finding for finding in known]
