"""Measures one piece of work: warms it up until it is steady, puts its state back, then times it.

The clock is read only after the device has finished (`synchronize`), and the garbage collector is
off while it runs. Threads, affinity and precision are set once for each run
(`bench.measuring.pinning`). Memory readings and profiles disturb the times, so they happen apart
from the timing. Work that asks for it is timed in new processes (`bench.measuring.processes`).
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from bench.measuring.ceilings import bandwidth, datasheet_flops_per_s
from bench.measuring.clock import PhaseClock, compilations, is_steady, prepare, quiet_gc, rounds_for
from bench.measuring.environment import load
from bench.measuring.order_statistics import median_interval, quantile
from bench.measuring.pinning import usable_cpus
from bench.measuring.references import references
from bench.measuring.stability import stability
from bench.measuring.work import ProcessTimes, Result, Work
from gptcore.devices import synchronize


@dataclass
class Measure:
    """Times a piece of work through pytest-benchmark and notes the outcome in `result`.

    Attributes:
        benchmark: pytest-benchmark's fixture.
        result: the result of the case.
        budget_s: timed seconds to aim at.
        ceilings: returns the ceilings of a device (name → value) from `bench.measuring.ceilings`.
        in_processes: times the case in new processes, for work that asks for it.
        trace: writes a profile of the work and returns its top operators; None for no profile.
    """

    benchmark: Any
    result: Result
    budget_s: float
    ceilings: Callable[[torch.device], dict[str, float]] = lambda _device: {}
    in_processes: Callable[[], list[ProcessTimes]] | None = None
    trace: Callable[[Work], tuple[list[dict[str, Any]], Path]] | None = None

    def __call__(self, work: Work) -> None:
        """Time `work`.

        Raises:
            AssertionError: torch.compile compiled while the clock ran.
            ValueError: a new process ended without an answer.
        """
        load_before = load()
        if work.in_processes and self.in_processes:
            processes = self._time_in_processes(work, self.in_processes)
        else:
            processes = [self._time_here(work)]
        self._note_times(work, processes)
        self._note_rates(work)
        self._note_stability(processes, load_before, load())
        if self.trace:
            self._note_profile(work, self.trace)

    def _time_here(self, work: Work) -> ProcessTimes:
        clock = PhaseClock(work.device)
        budget_s = min(work.budget_s, self.budget_s)
        before = references(work.device)
        timed, warmup_s, compile_s = prepare(work, clock, budget_s)
        compiled = compilations()
        with quiet_gc():
            rounds = rounds_for(warmup_s, budget_s)
            self.benchmark.pedantic(timed, rounds=rounds)
        clock.keep(rounds)
        assert compilations() == compiled, (
            "torch.compile compiled while the clock ran: give the model inputs of one shape"
        )
        after = references(work.device)
        self._note_compiling(compile_s)
        return ProcessTimes(
            clock.totals_s,
            phases_s=clock.times_s,
            device_s=clock.device_s,
            warmup_s=warmup_s,
            references={name: [before[name], after[name]] for name in before},
        )

    def _time_in_processes(
        self, work: Work, in_processes: Callable[[], list[ProcessTimes]]
    ) -> list[ProcessTimes]:
        """Time the work in new processes, after one call here.

        An error of the work shows with its traceback here, pytest-benchmark needs a call to time or
        to profile, and where torch.compile compiles in the first call, this one tells how long.
        """
        compiled, first_s = compilations(), []

        def call() -> None:
            start = time.perf_counter()
            work.call(lambda _phase: None)
            synchronize(work.device)
            first_s.append(time.perf_counter() - start)

        self.benchmark.pedantic(call, rounds=1)
        was_compiled = compilations() > compiled
        processes = in_processes()
        medians = [statistics.median(each.time_s) for each in processes]
        self._note_compiling(max(0.0, first_s[0] - min(medians)) if was_compiled else None)
        self.result.facts["process_rounds"] = [len(each.time_s) for each in processes]
        self.result.samples["process_time_s"] = medians
        self.result.metrics |= {
            "processes": len(processes),
            "process_time_s": statistics.median(medians),
            **processes[0].peaks,
        }
        return processes

    def _note_compiling(self, compile_s: float | None) -> None:
        """Add up what compiling took in the benchmark before, and in the first call here."""
        compiled_s = [self.result.metrics.get("compile_s"), compile_s]
        known_s = [seconds for seconds in compiled_s if seconds is not None]
        self.result.metrics["compile_s"] = sum(known_s) if known_s else None

    def _note_times(self, work: Work, processes: list[ProcessTimes]) -> None:
        times_s = [time_s for each in processes for time_s in each.time_s]
        phases: dict[str, list[float]] = {}
        for each in processes:
            for name, values in each.phases_s.items():
                phases.setdefault(f"{name}_s", []).extend(values)
            if each.device_s:
                phases.setdefault("device_time_s", []).extend(each.device_s)
            for name, values in each.references.items():
                self.result.samples.setdefault(name, []).extend(values)
        for name in processes[0].references:
            self.result.metrics[name] = statistics.mean(self.result.samples[name])
        low, high = median_interval(times_s) or (None, None)
        median = statistics.median(times_s)
        warmup_s = processes[0].warmup_s
        self.result.samples |= {"time_s": times_s} | phases
        self.result.metrics |= {
            "time_s": median,
            "time_low_s": low,
            "time_high_s": high,
            "time_min_s": min(times_s),
            "time_max_s": max(times_s),
            "time_p95_s": quantile(times_s, 0.95),
            "rounds": len(times_s),
            "warmup_rounds": len(warmup_s) or None,
            "warmup_s": sum(warmup_s) if warmup_s else None,
            "tokens_per_s": work.tokens / median,
            **{name: statistics.median(values) for name, values in phases.items()},
        }
        warmed = [is_steady(each.warmup_s) for each in processes if each.warmup_s]
        known = "steady" if all(warmed) else "out of time"
        self.result.facts["warmup"] = known if warmed else "by the calls that read the peak"

    def _note_rates(self, work: Work) -> None:
        if work.flops is None:
            return
        rate = work.flops / statistics.median(self.result.samples["time_s"])
        ceilings = self.ceilings(work.device)
        peak = ceilings.get(f"gemm_{work.precision}_flops_per_s")
        n_params = self.result.metrics.get("n_params")
        rate_of_memory = bandwidth(ceilings, 4 * n_params) if n_params else None
        datasheet = work.precision and datasheet_flops_per_s(work.device, work.precision)
        intensity = work.flops / work.bytes_moved if work.bytes_moved else None
        roof = peak if peak and intensity else None
        if roof and intensity and rate_of_memory:
            roof = min(roof, intensity * rate_of_memory)
        self.result.metrics |= {
            "flops": work.flops,
            "flops_counted": work.count_flops() if work.count_flops else None,
            "flops_per_s": rate,
            "mfu": rate / peak if peak else None,
            "mfu_datasheet": rate / datasheet if datasheet else None,
            "bytes_moved": work.bytes_moved,
            "intensity": intensity,
            "attainable_flops_per_s": roof,
            "bandwidth_bytes_per_s": rate_of_memory,
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

    def _note_stability(
        self, processes: list[ProcessTimes], before: float | None, after: float | None
    ) -> None:
        samples = self.result.samples
        judgement = stability(
            _inside(processes),
            warmup_s=processes[0].warmup_s,
            reference_s=samples.get("reference_s"),
            load_before=before,
            load_after=after,
            cores=usable_cpus(),
            process_time_s=samples.get("process_time_s"),
            process_rounds=min(self.result.facts.get("process_rounds", [1])),
        )
        self.result.facts |= {
            "stability": {
                "verdict": judgement.verdict,
                "reasons": list(judgement.reasons),
                "remedies": list(judgement.remedies),
            },
            "load_before": before,
            "load_after": after,
        }


def _inside(processes: list[ProcessTimes]) -> list[float]:
    """Return the rounds of all processes, scaled so that their processes have equal medians."""
    medians = [statistics.median(each.time_s) for each in processes]
    center = statistics.median(medians)
    return [
        time_s * (center / median if median else 1.0)
        for each, median in zip(processes, medians, strict=True)
        for time_s in each.time_s
    ]
