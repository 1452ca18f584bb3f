"""What one finding holds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """One claim.

    `importance` orders findings, largest first. `clause` is the claim as a part of a longer
    sentence. `evidence` holds the ids of the cases behind it.
    """

    importance: int
    topic: str
    clause: str
    headline: str
    detail: str
    evidence: tuple[str, ...] = ()
