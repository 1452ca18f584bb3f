"""The audit of the loader of a user's own file: what its batches show of the text."""

from __future__ import annotations

from typing import Any

from bench.measuring.work import Result
from bench.suite.own import OwnModel
from gptcore.audit.audits import Audit, audit
from gptcore.data.splits import Segment
from gptcore.data.tokens import Ids

EQUAL_TARGETS = (
    "Targets equal inputs: the model learns to copy its input, and its loss falls towards 0. "
    "Return y one token later than x, as in x = data[i : i + T] and y = data[i + 1 : i + 1 + T]."
)
PARTS = ("the training part", "the whole text")
"""What a loader may read, in the order in which that is tried."""


def audit_loader(own: OwnModel, ids: Ids, train: Segment, n_batches: int, seed: int) -> Result:
    """Draw batches from the loader of a file and audit them on the part that it reads.

    That is the training part of the text, or the whole text if rows come from elsewhere.

    Args:
        own: the file.
        ids: (N,), the text.
        train: its training part.
        n_batches: how many batches are drawn for training.
        seed: of the global generators, from which loaders draw.

    Raises:
        ValueError: the loader fails, or no row occurs in the text.
    """
    own.seed(seed)
    batches = [own.batch() for _ in range(n_batches)]
    part, found = _audit(batches, ids, train)
    equal = sum(int((x == y).all(dim=1).sum()) for x, y in batches)
    findings = found.as_dict()["findings"]
    if equal:
        findings = [_equal_targets(equal), *findings]
    severities = [finding["severity"] for finding in findings]
    expected = found.expected or {}
    metrics: dict[str, Any] = {
        "audited_draws": found.draws,
        "audit_faults": severities.count("fault"),
        "audit_notes": severities.count("note"),
        "targets_equal_inputs": equal,
        "missed_targets": found.missed_targets,
        "repeated_windows": found.repeated_windows,
        "identical_epochs": found.identical_epochs,
        "expected_missed_targets": expected.get("missed_targets"),
        "expected_repeated_windows": expected.get("repeated_windows"),
        "sd_missed_targets": expected.get("sd_missed_targets"),
    }
    return Result(metrics=metrics, facts={"audit": findings, "part": part})


def _audit(batches: list[Any], ids: Ids, train: Segment) -> tuple[str, Audit]:
    for part, text in zip(PARTS, (ids[train.start : train.stop], ids), strict=True):
        try:
            found = audit(iter(batches), text)
        except ValueError:  # no row is in this part
            if part == PARTS[-1]:
                raise
            continue
        if all(finding.kind != "unmatched_rows" for finding in found.findings):
            break
    return part, found


def _equal_targets(count: int) -> dict[str, Any]:
    return {
        "kind": "targets_equal_inputs",
        "count": count,
        "example": "a row whose targets are its inputs",
        "explanation": EQUAL_TARGETS,
        "severity": "fault",
    }
