"""What is measured: one piece of work, prepared, and the result of measuring it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch


@dataclasses.dataclass(frozen=True)
class Fresh:
    """What new processes found: every round of each, and the peaks of the first."""

    time_s: list[list[float]]
    peaks: dict[str, int]


Mark = Callable[[str], None]


@dataclass
class Result:
    """What one case has found so far; it becomes a record when the case ends."""

    metrics: dict[str, float | int | None] = field(default_factory=dict)
    samples: dict[str, list[float]] = field(default_factory=dict)
    series: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Work:
    """What is timed, prepared: one call, and what is known about it.

    Attributes:
        call: does the work; it calls `mark(name)` at the end of each of its phases.
        device: what to wait for.
        tokens: work of one call.
        restore: puts back the state that calls change (weights, optimizer, position in the data).
        precision: of the matrix products, for the ceiling; None where there is none.
        flops: of one call, by formula.
        count_flops: counts them, by torch's own counter.
        bytes_moved: least memory traffic of one call, by formula.
        fresh: repeat it in processes of its own, and read its memory there.
        budget_s: timed seconds to aim at, where the suite would allow more.
    """

    call: Callable[[Mark], object]
    device: torch.device
    tokens: int
    restore: Callable[[], None] = lambda: None
    precision: str | None = None
    flops: int | None = None
    count_flops: Callable[[], int] | None = None
    bytes_moved: int | None = None
    fresh: bool = False
    budget_s: float = math.inf
