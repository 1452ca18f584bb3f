"""The piece of work that is measured, and the result of measuring it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch

from gptcore.training.step import EndPhase


@dataclass
class Result:
    """The results of one case so far; they become its record when the case ends."""

    metrics: dict[str, float | int | None] = field(default_factory=dict)
    samples: dict[str, list[float]] = field(default_factory=dict)
    series: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Work:
    """One call that can be timed, and what is known about it.

    Attributes:
        call: does the work once; it calls `end_phase(name)` at the end of each of its phases.
        device: the device that has to finish before a clock is read.
        tokens: tokens that one call processes.
        restore: puts back the state that calls change (weights, optimizer, position in the data).
        precision: precision of the matrix products, which chooses the ceiling to compare with;
            None for work without matrix products.
        flops: FLOPs of one call, by formula.
        count_flops: returns the FLOPs of one call as torch's own counter counts them.
        bytes_moved: least memory traffic of one call in bytes, by formula.
        in_processes: whether to time the work in new processes, and to read its peak memory there.
        state_bytes: returns the bytes that the first call allocated and all later calls keep: the
            state of an optimizer.
        budget_s: timed seconds to aim at, where the suite would allow more.
    """

    call: Callable[[EndPhase], object]
    device: torch.device
    tokens: int
    restore: Callable[[], None] = lambda: None
    precision: str | None = None
    flops: int | None = None
    count_flops: Callable[[], int] | None = None
    bytes_moved: int | None = None
    in_processes: bool = False
    state_bytes: Callable[[], int] = lambda: 0
    budget_s: float = math.inf


@dataclass(frozen=True)
class ProcessTimes:
    """What one new process measured of a case.

    Attributes:
        time_s: seconds of each round.
        peaks: peak memory, as `bench.measuring.memory.read_peaks` returns it.
        phases_s: phase → its seconds in each round.
        device_s: seconds between two events on an accelerator in each round.
        warmup_s: seconds of the calls before the rounds; none for calls so long that those whose
            memory is read are enough.
        references: name of a sample → seconds of that reference before and after the rounds.
    """

    time_s: list[float]
    peaks: dict[str, int] = field(default_factory=dict)
    phases_s: dict[str, list[float]] = field(default_factory=dict)
    device_s: list[float] = field(default_factory=list)
    warmup_s: list[float] = field(default_factory=list)
    references: dict[str, list[float]] = field(default_factory=dict)
