"""Records → what they say in plain words, with numbers, conditions and intervals.

Every function here is pure and claims only what its records support. Differences come with their
interval; equality is claimed only through the equivalence test; a null is "no difference resolved".
"""

from __future__ import annotations

from dataclasses import replace

from bench.ledger import plain_text
from reports import words
from reports.blocks import Finding
from reports.load import UNSTEADY, Run, stability
from reports.topics import memory
from reports.topics.convergence.findings import baseline, sampler_differences
from reports.topics.peers import findings as peers_findings
from reports.topics.run import accelerators, completeness
from reports.topics.sampling import findings as sampling_findings
from reports.topics.scaling import findings as scaling_findings
from reports.topics.speed import findings as speed_findings
from reports.topics.speed.findings import forward_speed, phase_shares, precision_ratios, step_speed
from reports.topics.trust import findings as trust_findings


def find(run: Run) -> list[Finding]:
    """Return all findings of one run, the most important first."""
    models = run.cases("model")
    training, comparisons = run.cases("convergence"), run.cases("comparison")
    found = [
        *completeness(run),
        *step_speed(models),
        *forward_speed(models),
        *([] if trust_findings.compares_precisions(run) else precision_ratios(models)),
        *phase_shares(models),
        *sampling_findings.find(run),
        *sampler_differences(comparisons),
        *baseline(training),
        *scaling_findings.find(run),
        *memory.memory_peak(models),
        *speed_findings.roofline(models),
        *speed_findings.flops_apart(models),
        *speed_findings.ceilings_changed(run),
        *trust_findings.find(run),
        *peers_findings.find(run),
        *accelerators(run),
    ]
    found = with_cautions(run, found)
    return sorted(found, key=lambda finding: -finding.importance)


def verdict(findings: list[Finding]) -> str:
    """Return one sentence from the most important finding of each topic that has a result."""
    clauses = []
    for topic in ("speed", "sampling", "convergence"):
        clause = next((f.clause for f in findings if f.topic == topic and f.clause), None)
        if clause:
            clauses.append(clause)
    if not clauses:
        return "Nothing can be concluded from this run yet: see below what it holds and what not."
    return words.sentence("; ".join(clauses))


def with_cautions(run: Run, found: list[Finding]) -> list[Finding]:
    """Return the findings; those that rest on a noisy or drifting case say so."""
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
        for finding in found
    ]


def _warned(finding: Finding, cautions: dict[str, str]) -> list[str]:
    which = [case for case in finding.evidence if case in cautions]
    if len(finding.evidence) == 1:
        return [f"this case {cautions[case]}" for case in which]
    n = {case: i for i, case in enumerate(finding.evidence, start=1)}
    return [f"case {n[case]} of its evidence {cautions[case]}" for case in which]
