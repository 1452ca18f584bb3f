"""Timing one call: warm up until it is steady, put the state back, then time it.

The clock is read only when the device has finished (`synchronize`); the garbage collector is off
while it runs. Threads, affinity and precision are settled once a run, in `bench.pinning`.
What is slow or disturbs is done apart from the timing: fresh processes, memory, the profiler.
"""

from __future__ import annotations

import gc
import math
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from bench.ceilings import datasheet_flops_per_s, reference_time_s
from bench.environment import load
from bench.fresh import Fresh
from bench.memory import read_peaks
from bench.pinning import usable_cpus
from bench.stability import median_interval, quantile, stability
from gptcore.devices import synchronize

Mark = Callable[[str], None]
MIN_ROUNDS, MAX_ROUNDS = 6, 200  # of fewer than 6 no interval of the median can be given
MIN_WARMUP, MAX_WARMUP = 2, 100
WINDOW = 3
STEADY = 0.05
"""Warm-up ends when the medians of two windows of calls in a row differ by less than this share."""


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


class PhaseClock:
    """Times one call after the other: `mark(name)` ends a phase of it, `stop` the call."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self.clear()

    def clear(self) -> None:
        """Forget all times."""
        self.times_s: dict[str, list[float]] = defaultdict(list)
        self.totals_s: list[float] = []
        self.device_s: list[float] = []

    def keep(self, calls: int) -> None:
        """Forget all but the first calls: with --benchmark-cprofile, profiled ones follow them."""
        for times in (self.totals_s, self.device_s, *self.times_s.values()):
            del times[calls:]

    def start(self) -> None:
        """Begin a call."""
        synchronize(self._device)
        self._events = _events(self._device)
        self._first_ns = self._last_ns = time.perf_counter_ns()

    def mark(self, name: str) -> None:
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


@contextmanager
def kept_rng(device: torch.device) -> Iterator[None]:
    """Put torch's random generators back as they were, at the end."""
    on_cpu = device.type == "cpu"
    with torch.random.fork_rng(
        devices=[] if on_cpu else [device], device_type="cuda" if on_cpu else device.type
    ):
        yield


def is_steady(times_s: Sequence[float]) -> bool:
    """Whether the rolling median stands still: the last WINDOW calls against those before."""
    if len(times_s) < 2 * WINDOW:
        return False
    last = statistics.median(times_s[-WINDOW:])
    before = statistics.median(times_s[-2 * WINDOW : -WINDOW])
    return abs(last / before - 1) < STEADY


def warm_up(call: Callable[[], object], budget_s: float) -> list[float]:
    """Call until the rolling median stands still; return the times in seconds.

    At least MIN_WARMUP calls are made; `budget_s` used up, or MAX_WARMUP calls, end it as well:
    `is_steady` of the returned times says which.
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
    """Return how many graphs torch.compile has made and broken in this process so far."""
    if "torch._dynamo" not in sys.modules:
        return 0
    from torch._dynamo.utils import counters

    return int(counters["stats"]["unique_graphs"]) + sum(counters["graph_break"].values())


def prepare(
    work: Work, clock: PhaseClock, budget_s: float
) -> tuple[Callable[[], None], list[float], float | None]:
    """Warm `work` up and put its state back.

    Returns:
        The call to time, the times of the warm-up in seconds, and how much of the first call
        torch.compile took (None where nothing was compiled).
    """

    def timed() -> None:
        clock.start()
        work.call(clock.mark)
        clock.stop()

    compiled = compilations()
    with kept_rng(work.device):
        times = warm_up(timed, budget_s)
    work.restore()
    clock.clear()
    was_compiled = compilations() > compiled
    return timed, times, max(0.0, times[0] - min(times)) if was_compiled else None


def rounds_for(warmup_s: Sequence[float], budget_s: float) -> int:
    """Return how many rounds fill `budget_s`, by the fastest call of the warm-up."""
    return min(max(math.ceil(budget_s / min(warmup_s)), MIN_ROUNDS), MAX_ROUNDS)


@dataclass
class Measure:
    """Times a work through pytest-benchmark and notes what it finds in `result`.

    Attributes:
        benchmark: pytest-benchmark's fixture.
        result: of the case.
        budget_s: timed seconds that a case aims at.
        ceilings: of the work's device: name → value, as `bench.ceilings` measures them.
        fresh: times the case again in new processes, for work that asks for it.
        trace: writes a profile of the work and returns its top operators; None for no profile.
    """

    benchmark: Any
    result: Result
    budget_s: float
    ceilings: Callable[[torch.device], dict[str, float]] = lambda _device: {}
    fresh: Callable[[], Fresh] | None = None
    trace: Callable[[Work], tuple[list[dict[str, Any]], Path]] | None = None

    def __call__(self, work: Work) -> None:
        """Time `work`.

        Raises:
            AssertionError: torch.compile was at work while the clock ran.
        """
        clock = PhaseClock(work.device)
        budget_s = min(work.budget_s, self.budget_s)
        if work.fresh and work.device.type != "cpu":  # a CPU's peak is read in a fresh process
            self.result.metrics |= read_peaks(work)
        state: dict[str, Any] = {
            "load_before": load(),
            "reference_s": [reference_time_s(device=work.device)],
        }
        timed, warmup, compile_s = prepare(work, clock, budget_s)
        compiled = compilations()
        with quiet_gc():
            rounds = rounds_for(warmup, budget_s)
            self.benchmark.pedantic(timed, rounds=rounds)
        clock.keep(rounds)
        assert compilations() == compiled, (
            "torch.compile made a graph while the clock ran: give it fixed shapes"
        )
        state["reference_s"].append(reference_time_s(device=work.device))
        state["load_after"] = load()
        self._note_times(work, clock, warmup)
        compiled_s = [self.result.metrics.get("compile_s"), compile_s]  # by the benchmark, and here
        known_s = [seconds for seconds in compiled_s if seconds is not None]
        self.result.metrics["compile_s"] = sum(known_s) if known_s else None
        self._note_rates(work)
        if work.fresh and self.fresh:
            self._note_processes(self.fresh)
        self._note_stability(state, warmup)
        if self.trace:
            self._note_profile(work, self.trace)

    def _note_times(self, work: Work, clock: PhaseClock, warmup: list[float]) -> None:
        times_s = clock.totals_s
        phases = {f"{name}_s": times for name, times in clock.times_s.items()}
        device = {"device_time_s": clock.device_s} if clock.device_s else {}
        low, high = median_interval(times_s) or (None, None)
        median = statistics.median(times_s)
        self.result.samples |= {"time_s": times_s} | phases | device
        self.result.metrics |= {
            "time_s": median,
            "time_low_s": low,
            "time_high_s": high,
            "time_min_s": min(times_s),
            "time_max_s": max(times_s),
            "time_p95_s": quantile(times_s, 0.95),
            "rounds": len(times_s),
            "warmup_rounds": len(warmup),
            "warmup_s": sum(warmup),
            "tokens_per_s": work.tokens / median,
            **{n: statistics.median(times) for n, times in (phases | device).items()},
        }
        self.result.facts["warmup"] = "steady" if is_steady(warmup) else "out of time"

    def _note_rates(self, work: Work) -> None:
        if work.flops is None:
            return
        rate = work.flops / statistics.median(self.result.samples["time_s"])
        ceilings = self.ceilings(work.device)
        peak = ceilings.get(f"gemm_{work.precision}_flops_per_s")
        copy = ceilings.get("copy_bytes_per_s")
        datasheet = work.precision and datasheet_flops_per_s(work.device, work.precision)
        intensity = work.flops / work.bytes_moved if work.bytes_moved else None
        roof = None
        if peak and copy and intensity:  # a copied byte is read and written
            roof = min(peak, intensity * 2 * copy)
        self.result.metrics |= {
            "flops": work.flops,
            "flops_counted": work.count_flops() if work.count_flops else None,
            "flops_per_s": rate,
            "mfu": rate / peak if peak else None,
            "mfu_datasheet": rate / datasheet if datasheet else None,
            "bytes_moved": work.bytes_moved,
            "intensity": intensity,
            "attainable_flops_per_s": roof,
        }

    def _note_processes(self, fresh: Callable[[], Fresh]) -> None:
        try:
            found = fresh()
        except (ValueError, OSError) as error:  # the times of this process stand all the same
            self.result.facts["fresh"] = str(error)
            return
        process_s = [
            statistics.median(times) for times in (self.result.samples["time_s"], *found.time_s)
        ]
        self.result.facts["process_rounds"] = [len(times) for times in found.time_s]
        self.result.samples["process_time_s"] = process_s
        self.result.metrics |= {
            "processes": len(process_s),
            "process_time_s": statistics.median(process_s),
            **found.peaks,
        }

    def _note_profile(
        self, work: Work, trace: Callable[[Work], tuple[list[dict[str, Any]], Path]]
    ) -> None:
        try:
            rows, path = trace(work)
        except (ValueError, OSError, RuntimeError) as error:
            self.result.facts["trace_failed"] = str(error)
            return
        self.result.series["top_operators"] = rows
        self.result.facts["trace"] = str(path)

    def _note_stability(self, state: dict[str, Any], warmup: list[float]) -> None:
        samples = self.result.samples
        samples["reference_s"] = state["reference_s"]
        self.result.metrics["reference_s"] = statistics.mean(state["reference_s"])
        found = stability(
            samples["time_s"],
            warmup_s=warmup,
            reference_s=state["reference_s"],
            load_before=state["load_before"],
            load_after=state["load_after"],
            cores=usable_cpus(),
            process_time_s=samples.get("process_time_s"),
            process_rounds=min(self.result.facts.get("process_rounds", [1])),
        )
        self.result.facts |= {
            "stability": {
                "verdict": found.verdict,
                "reasons": list(found.reasons),
                "remedies": list(found.remedies),
            },
            "load_before": state["load_before"],
            "load_after": state["load_after"],
        }
