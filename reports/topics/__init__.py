"""The topics of the report: each is one module, or a folder where it is longer than 300 lines.

A new topic is one module with `find` and `section`, and one line in TOPICS.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from reports.blocks import Finding, Plotter, Section
from reports.load import Run
from reports.topics import (
    batches,
    convergence,
    cost,
    environment,
    generated_text,
    memory,
    peers,
    position,
    run,
    sampling,
    scaling,
    speed,
    trust,
)


class Topic(Protocol):
    """What every topic has: two pure functions of a run."""

    def find(self, run: Run) -> Iterable[Finding]:
        """Return what the run says on the topic: one finding for each claim, in any order."""

    def section(self, run: Run, plot: Plotter) -> list[Section]:
        """Return the topic's sections of the page: none where the run did not ask for it."""


TOPICS: tuple[Topic, ...] = (
    speed,
    cost,
    peers,
    memory,
    trust,
    batches,
    sampling,
    position,
    convergence,
    scaling,
    generated_text,
    run,
    environment,
)
"""In the order of the page. Findings of equal importance keep this order, too."""
