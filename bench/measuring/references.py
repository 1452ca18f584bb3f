"""The two fixed pieces of work that are timed beside each case: if they change, the machine has.

A matrix product shows how fast the machine computes, a copy how fast its memory is. A case may
become slower with either of them although its code is the same.
"""

from __future__ import annotations

import statistics
import time
from functools import cache

import torch
from torch import Tensor

from bench.measuring.ceilings import CPU, FEWEST_REFERENCES, reference_time_s
from gptcore.devices import synchronize

REFERENCE_BYTES = 128 * 2**20
"""Bytes copied, read and written once each: far more than the caches of a CPU or GPU hold."""


@cache
def _buffers(device: torch.device) -> tuple[Tensor, Tensor]:
    source = torch.ones(REFERENCE_BYTES, dtype=torch.uint8, device=device)
    return source, torch.zeros_like(source)


def memory_reference_time_s(budget_s: float = 0.05, device: torch.device = CPU) -> float:
    """Return the median time of one fixed copy into memory in use, in about `budget_s`."""
    source, target = _buffers(device)
    times_s: list[float] = []
    deadline = time.perf_counter() + budget_s
    while len(times_s) <= FEWEST_REFERENCES or time.perf_counter() < deadline:
        synchronize(device)
        start = time.perf_counter_ns()
        target.copy_(source)
        synchronize(device)
        times_s.append((time.perf_counter_ns() - start) / 1e9)
    return statistics.median(times_s[1:])  # the first one brings the buffers back into the TLB


def references(device: torch.device) -> dict[str, float]:
    """Time both references now; the keys are those of a record's samples."""
    return {
        "reference_s": reference_time_s(device=device),
        "memory_reference_s": memory_reference_time_s(device=device),
    }
