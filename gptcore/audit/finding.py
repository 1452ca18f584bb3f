"""What an audit finds, and how it tells of windows and ranks."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from gptcore.audit.counts import Windows
from gptcore.audit.facts import Facts

Severity = Literal["fault", "note"]


@dataclass(frozen=True)
class Finding:
    """Something that a log shows.

    Attributes:
        kind: the name of a count of `audits.Audit`, or "unknown_epochs", "limited_range",
            "uneven_visits", "unmatched_rows", "ambiguous_rows", "packed_rows", "changed_ids",
            "wrong_targets", "masked_targets".
        count: how many there are.
        example: one of them, in words.
        explanation: what it means, and what to do.
        severity: "fault", or "note" for what is intended in some loaders.
    """

    kind: str
    count: int
    example: str
    explanation: str
    severity: Severity = "fault"


def are_alike(facts: Facts) -> bool:
    """Return whether two ranks make the same draws in the same order."""
    rank, n_ranks = facts.rank, int(facts.rank.max()) + 1
    if n_ranks == 1 or len(rank) < 4 * n_ranks:
        return False
    window = facts.windows.of_draw
    return len({window[rank == r].tobytes() for r in range(n_ranks)}) < n_ranks


def tell_window(windows: Windows, index: int | np.int64) -> str:
    """Return the start and the length of a window, in words."""
    return f"the window at {windows.start[index]} of length {windows.length[index]}"
