"""Batches of a real DataLoader that are audited while a training run reads them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from gptcore.audit.audits import audit
from gptcore.sampling.base import Sampler
from gptcore.theory.expectations import expect_of

Batch = tuple[Tensor, Tensor]


class AuditedBatches:
    """The batches of a loader by step; each one is kept as it was handed out.

    A run that goes on at step k reads the first k batches again, so that the audit covers the whole
    run. The training of the last steps has then used the kept batches, and that of the first steps
    batches that the same loader gave to a process that has ended.

    Args:
        batches: the batches of steps 0, 1, ….
    """

    def __init__(self, batches: Iterator[Batch]) -> None:
        self._batches = batches
        self.read: list[Batch] = []

    def __call__(self, step: int) -> Batch:
        """Return the batch of a step; the batches before it are read first."""
        while len(self.read) <= step:
            self.read.append(next(self._batches))
        return self.read[step]

    def audit(
        self, parts: list[npt.NDArray[np.int64]], sampler: Sampler, steps: int
    ) -> tuple[dict[str, int | float | None], list[dict[str, Any]]]:
        """Audit the batches of a run of so many steps.

        Args:
            parts: the token ids of each segment that windows lie in.
            sampler: the sampler that stands for the loader, with the same `drop_last`.
            steps: the steps of the run.

        Returns:
            Metrics: what the batches showed, beside what theory expects of the sampler; and the
            findings of the audit, as JSON values.
        """
        self(steps - 1)
        text = parts[0] if len(parts) == 1 else parts
        found = audit(iter(self.read[:steps]), text, epoch_draws=sampler.draws_per_epoch)
        expected = expect_of(sampler, found.draws)
        severities = [finding.severity for finding in found.findings]
        return {
            "audited_draws": found.draws,
            "audit_faults": severities.count("fault"),
            "audit_notes": severities.count("note"),
            "identical_epochs": found.identical_epochs,
            "missed_targets": found.missed_targets,
            "repeated_windows": found.repeated_windows,
            "expected_missed_targets": expected.missed_targets,
            "expected_repeated_windows": expected.repeated_windows,
            "sd_missed_targets": expected.sd_missed_targets,
        }, found.as_dict()["findings"]
