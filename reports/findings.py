"""A run → its findings in plain words, with numbers, conditions and intervals.

The topics state them, and claim only what the records support: a difference comes with its
interval, equality is claimed through the equivalence test alone, and a null result is worded as
"no difference resolved".
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from gptcore import plain_text
from reports import words
from reports.blocks import Finding
from reports.load import UNSTEADY, Run, stability
from reports.topics import findings_of


def find(run: Run) -> list[Finding]:
    """Return all findings of one run, the most important first."""
    return sorted(with_cautions(run, findings_of(run)), key=lambda finding: -finding.importance)


def verdict(findings: list[Finding]) -> str:
    """Return one sentence made of the first finding with a `clause` on each of three topics."""
    clauses = []
    for topic in ("speed", "sampling", "convergence"):
        clause = next((f.clause for f in findings if f.topic == topic and f.clause), None)
        if clause:
            clauses.append(clause)
    if not clauses:
        return (
            "Nothing can be concluded from this run yet. The sections below say what it holds and "
            "what is missing."
        )
    return words.sentence("; ".join(clauses))


def with_cautions(run: Run, findings: Iterable[Finding]) -> list[Finding]:
    """Return the findings; one that rests on a noisy or drifting case says so in its detail."""
    cautions = {}
    for record in run.finished:
        verdict, reasons = stability(record).get("verdict"), stability(record).get("reasons")
        if verdict in UNSTEADY:
            first = ""
            if isinstance(reasons, list) and reasons:
                first = f": {plain_text.shorten(str(reasons[0]), 200)}"
            cautions[record["case"]] = f"was {verdict}{first}"
    return [
        replace(finding, detail=f"{finding.detail} Caution: {'; '.join(warned)}.")
        if (warned := _warned(finding, cautions))
        else finding
        for finding in findings
    ]


def _warned(finding: Finding, cautions: dict[str, str]) -> list[str]:
    which = [case for case in finding.evidence if case in cautions]
    if len(finding.evidence) == 1:
        return [f"this case {cautions[case]}" for case in which]
    n = {case: i for i, case in enumerate(finding.evidence, start=1)}
    return [f"case {n[case]} of the evidence {cautions[case]}" for case in which]
