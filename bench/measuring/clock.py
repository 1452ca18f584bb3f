"""A clock for the phases of a call, warm-up until times are steady, and a quiet interpreter."""

from __future__ import annotations

import gc
import math
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from bench.measuring.work import Work
from gptcore.devices import synchronize

MIN_ROUNDS, MAX_ROUNDS = 6, 200  # fewer than 6 give no 95 % interval of the median
MIN_WARMUP, MAX_WARMUP = 2, 100
WINDOW = 3
"""Number of calls in a row whose median says how long a call takes at present."""
STEADY = 0.05
"""Warm-up ends when the medians of the last two windows differ by less than this share."""


class PhaseClock:
    """Times calls: `start` begins one, `end_phase(name)` ends one of its phases, `stop` ends it."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self.clear()

    def clear(self) -> None:
        """Forget all times."""
        self.times_s: dict[str, list[float]] = defaultdict(list)
        self.totals_s: list[float] = []
        self.device_s: list[float] = []

    def keep(self, calls: int) -> None:
        """Forget all but the first calls; with --benchmark-cprofile, profiled calls follow them."""
        for times in (self.totals_s, self.device_s, *self.times_s.values()):
            del times[calls:]

    def start(self) -> None:
        """Begin a call."""
        synchronize(self._device)
        self._events = _events(self._device)
        self._first_ns = self._last_ns = time.perf_counter_ns()

    def end_phase(self, name: str) -> None:
        """End the phase called `name`."""
        synchronize(self._device)
        now_ns = time.perf_counter_ns()
        self.times_s[name].append((now_ns - self._last_ns) / 1e9)
        self._last_ns = now_ns

    def stop(self) -> float:
        """End the call; return its time in seconds."""
        if self._events:
            self._events[1].record()
        synchronize(self._device)
        self.totals_s.append((time.perf_counter_ns() - self._first_ns) / 1e9)
        if self._events:
            self.device_s.append(self._events[0].elapsed_time(self._events[1]) / 1e3)
        return self.totals_s[-1]


def _events(device: torch.device) -> tuple[Any, Any] | None:
    """Return two events of an accelerator, the first one recorded; None on a CPU."""
    if device.type == "cpu":
        return None
    first, last = (torch.Event(device, enable_timing=True) for _ in range(2))
    first.record()
    return first, last


@contextmanager
def quiet_gc() -> Iterator[None]:
    """Switch the garbage collector off inside the block."""
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


@contextmanager
def kept_rng(device: torch.device) -> Iterator[None]:
    """Put the state of torch's random generators back at the end of the block."""
    on_cpu = device.type == "cpu"
    with torch.random.fork_rng(
        devices=[] if on_cpu else [device], device_type="cuda" if on_cpu else device.type
    ):
        yield


def is_steady(times_s: Sequence[float]) -> bool:
    """Return whether the median of the last WINDOW calls is close to that of the WINDOW before."""
    if len(times_s) < 2 * WINDOW:
        return False
    last = statistics.median(times_s[-WINDOW:])
    before = statistics.median(times_s[-2 * WINDOW : -WINDOW])
    return abs(last / before - 1) < STEADY


def warm_up(call: Callable[[], object], budget_s: float) -> list[float]:
    """Call until times are steady (`is_steady`); return the times in seconds.

    At least MIN_WARMUP calls are made. The warm-up ends at the latest after `budget_s` seconds or
    MAX_WARMUP calls.
    """
    times: list[float] = []
    while len(times) < MAX_WARMUP:
        start = time.perf_counter_ns()
        call()
        times.append((time.perf_counter_ns() - start) / 1e9)
        if len(times) >= MIN_WARMUP and (is_steady(times) or sum(times) > budget_s):
            break
    return times


def compilations() -> int:
    """Return how many graphs and graph breaks torch.compile has counted in this process so far."""
    if "torch._dynamo" not in sys.modules:
        return 0
    from torch._dynamo.utils import counters

    return int(counters["stats"]["unique_graphs"]) + sum(counters["graph_break"].values())


def prepare(
    work: Work, clock: PhaseClock, budget_s: float
) -> tuple[Callable[[], None], list[float], float | None]:
    """Warm `work` up and put its state back.

    Returns:
        The call to time; the times of the warm-up calls in seconds; and the seconds that
        torch.compile took in the first call, None where nothing was compiled.
    """

    def timed() -> None:
        clock.start()
        work.call(clock.end_phase)
        clock.stop()

    compiled = compilations()
    with kept_rng(work.device):
        times = warm_up(timed, budget_s)
    work.restore()
    clock.clear()
    was_compiled = compilations() > compiled
    return timed, times, max(0.0, times[0] - min(times)) if was_compiled else None


def rounds_for(calls_s: Sequence[float], budget_s: float, fewest: int = MIN_ROUNDS) -> int:
    """Return how many rounds as fast as the fastest of earlier calls fill `budget_s`."""
    return min(max(math.ceil(budget_s / min(calls_s)), fewest), MAX_ROUNDS)
