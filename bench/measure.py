"""Timing one call: warm up until it is steady, put the state back, then time it.

The clock is read only when the device has finished (`synchronize`); the garbage collector is off
while it runs. Issues of the environment, such as threads, are settled in `bench.run`.
"""

from __future__ import annotations

import gc
import math
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from bench.run import Result
from gptcore.devices import synchronize

Mark = Callable[[str], None]
MIN_ROUNDS, MAX_ROUNDS = 5, 200
MAX_WARMUP_ROUNDS = 10
STEADY = 0.05
"""Warm-up ends when two calls in a row differ by less than this share."""


class PhaseClock:
    """Times the phases of one call: `mark(name)` ends the phase `name`."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self.times_s: dict[str, list[float]] = defaultdict(list)
        self.start()

    def start(self) -> None:
        """Begin the first phase of a call."""
        synchronize(self._device)
        self._last_ns = time.perf_counter_ns()

    def mark(self, name: str) -> None:
        """End the phase called `name`."""
        synchronize(self._device)
        now_ns = time.perf_counter_ns()
        self.times_s[name].append((now_ns - self._last_ns) / 1e9)
        self._last_ns = now_ns


@contextmanager
def quiet_gc() -> Iterator[None]:
    """Keep the garbage collector from running inside."""
    gc.collect()
    gc.freeze()
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
        gc.unfreeze()


def warm_up(call: Callable[[], object], budget_s: float) -> list[float]:
    """Call until two times in a row agree within STEADY; return the times in seconds.

    At least two calls are made; ten calls, or `budget_s` used up, end it as well.
    """
    times: list[float] = []
    while len(times) < MAX_WARMUP_ROUNDS:
        start = time.perf_counter_ns()
        call()
        times.append((time.perf_counter_ns() - start) / 1e9)
        steady = len(times) >= 2 and abs(times[-1] / times[-2] - 1) < STEADY
        if steady or (len(times) >= 2 and sum(times) > budget_s):
            break
    return times


@dataclass
class Measure:
    """Times a call through pytest-benchmark and notes what it finds in `result`."""

    benchmark: Any
    result: Result
    round_budget_s: float

    def __call__(
        self,
        call: Callable[[Mark], object],
        *,
        device: torch.device,
        tokens: int,
        flops: int | None = None,
        peak_flops_per_s: float | None = None,
        restore: Callable[[], None] | None = None,
        budget_s: float = math.inf,
    ) -> None:
        """Time `call(mark)`; the phases that it marks are timed within the same calls.

        Args:
            call: the work; it may call `mark(name)` at the end of each of its phases.
            device: what to wait for.
            tokens: work of one call.
            flops: of one call, if known.
            peak_flops_per_s: ceiling for the share `mfu`, if known.
            restore: puts back the state that warm-up changed; not timed.
            budget_s: timed seconds to aim at, where the suite would allow more.
        """
        clock = PhaseClock(device)

        def timed() -> None:
            clock.start()
            call(clock.mark)
            synchronize(device)

        budget_s = min(budget_s, self.round_budget_s)
        warmup = warm_up(timed, budget_s)
        if restore:
            restore()
        clock.times_s.clear()
        rounds = math.ceil(budget_s / min(warmup))
        with quiet_gc():
            self.benchmark.pedantic(timed, rounds=min(max(rounds, MIN_ROUNDS), MAX_ROUNDS))
        self._note(list(self.benchmark.stats.stats.data), warmup, clock, tokens)
        if flops is not None:
            rate = flops / statistics.median(self.benchmark.stats.stats.data)
            mfu = rate / peak_flops_per_s if peak_flops_per_s else None
            self.result.metrics |= {"flops": flops, "flops_per_s": rate, "mfu": mfu}

    def _note(
        self, times_s: list[float], warmup: list[float], clock: PhaseClock, tokens: int
    ) -> None:
        phases = {f"{name}_s": times for name, times in clock.times_s.items()}
        median = statistics.median(times_s)
        self.result.samples |= {"time_s": times_s} | phases
        self.result.metrics |= {
            "time_s": median,
            "time_min_s": min(times_s),
            "time_max_s": max(times_s),
            "rounds": len(times_s),
            "warmup_rounds": len(warmup),
            "warmup_s": sum(warmup),
            "tokens_per_s": tokens / median,
            **{name: statistics.median(times) for name, times in phases.items()},
        }
