"""The audit of the loader of a user's own file: what its batches show of the training part."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import redirect_stdout
from typing import Any

from bench.measuring.work import Result
from bench.suite.own import OwnModel
from gptcore.audit.audits import Text
from gptcore.audit.drawing import draw
from gptcore.audit.parts import audit_part

COUNTS = ("missed_targets", "repeated_windows", "identical_epochs")
EXPECTED = ("missed_targets", "repeated_windows")


def audit_loader(
    own: OwnModel, parts: Mapping[str, Text], *, vocab_size: int, n_batches: int, seed: int
) -> Result:
    """Draw batches from the loader of a file and audit them on the part `train`.

    Args:
        own: the file.
        parts: name → tokens of each part of the text.
        vocab_size: number of ids in the vocabulary of the text.
        n_batches: how many batches are drawn for training.
        seed: of the global generators, from which loaders draw.

    Raises:
        ValueError: the loader fails, or no row occurs in the text.
    """
    assert own.file.get_batch is not None, "only a file with a loader is audited"
    own.seed(seed)
    with redirect_stdout(sys.stderr):
        drawn = draw(own.file.get_batch, "train", n_batches=n_batches, vocab_size=vocab_size)
    found = audit_part(drawn, parts, "train")
    severities = [finding.severity for finding in found.findings]
    counts = found.as_dict()
    expected = counts["expected"] or {}
    metrics: dict[str, Any] = {
        "audited_draws": found.rows,
        "audit_faults": severities.count("fault"),
        "audit_notes": severities.count("note"),
        "targets_equal_inputs": found.targets_equal_inputs,
        "sd_missed_targets": expected.get("sd_missed_targets"),
        **{name: counts[name] for name in COUNTS},
        **{f"expected_{name}": expected.get(name) for name in EXPECTED},
    }
    return Result(metrics=metrics, facts={"audit": counts["findings"]})
