"""A run → its findings in plain words, with numbers, conditions and intervals.

The topics state them, and claim only what the records support: a difference comes with its
interval, equality is claimed through the equivalence test alone, and a null result is worded as
"no difference resolved".
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from reports import words
from reports.blocks import Finding
from reports.load import Run, cautions
from reports.topics import findings_of


def find(run: Run) -> list[Finding]:
    """Return all findings of one run, the most important first."""
    return sorted(with_cautions(run, findings_of(run)), key=lambda finding: -finding.importance)


def verdict(findings: list[Finding]) -> str:
    """Return one sentence made of the first finding with a `clause` on each of three topics.

    Where there is none, the first finding with a `clause` on any topic is the verdict.
    """
    clauses = []
    for topic in ("speed", "sampling", "convergence"):
        clause = next((f.clause for f in findings if f.topic == topic and f.clause), None)
        if clause:
            clauses.append(clause)
    clauses = clauses or [f.clause for f in findings if f.clause][:1]
    if not clauses:
        return (
            "Nothing can be concluded from this run yet. The sections below say what it holds and "
            "what is missing."
        )
    return words.sentence("; ".join(clauses))


def with_cautions(run: Run, findings: Iterable[Finding]) -> list[Finding]:
    """Return the findings; what a reader has to know of their cases stands beside their numbers."""
    known = {record["case"]: found for record in run.finished if (found := cautions(record))}
    return [_cautioned(finding, known) for finding in findings]


def _cautioned(finding: Finding, known: dict[str, dict[str, str]]) -> Finding:
    warned = {case: known[case] for case in finding.evidence if case in known}
    if not warned:
        return finding
    short = ", ".join(dict.fromkeys(name for found in warned.values() for name in found))
    names = {c: f"case {i} of {len(finding.evidence)}" for i, c in enumerate(finding.evidence, 1)}
    if len(names) == 1:
        names = dict.fromkeys(names, "this case")
    long = "; ".join(f"{names[c]} {'; it '.join(found.values())}" for c, found in warned.items())
    return replace(
        finding,
        clause=finding.clause and f"{finding.clause} ({short})",
        headline=f"{finding.headline} ({short})",
        detail=f"{finding.detail} Caution: {long}.",
    )
