"""Measures one piece of work: warms it up until it is steady, puts its state back, then times it.

The clock is read only after the device has finished (`synchronize`), and the garbage collector is
off while it runs. Threads, affinity and precision are set once for each run
(`bench.measuring.pinning`). New processes, memory readings and profiles are slow or disturb the
times, so they happen apart from the timing.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from bench.measuring.ceilings import bandwidth, datasheet_flops_per_s, reference_time_s
from bench.measuring.clock import PhaseClock, compilations, is_steady, prepare, quiet_gc, rounds_for
from bench.measuring.environment import load
from bench.measuring.memory import read_peaks
from bench.measuring.order_statistics import median_interval, quantile
from bench.measuring.pinning import usable_cpus
from bench.measuring.stability import stability
from bench.measuring.work import ProcessTimes, Result, Work


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
    in_processes: Callable[[], ProcessTimes] | None = None
    trace: Callable[[Work], tuple[list[dict[str, Any]], Path]] | None = None

    def __call__(self, work: Work) -> None:
        """Time `work`.

        Raises:
            AssertionError: torch.compile compiled while the clock ran.
        """
        clock = PhaseClock(work.device)
        budget_s = min(work.budget_s, self.budget_s)
        if work.in_processes and work.device.type != "cpu":  # a CPU's peak needs a new process
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
            "torch.compile compiled while the clock ran: give the model inputs of one shape"
        )
        state["reference_s"].append(reference_time_s(device=work.device))
        state["load_after"] = load()
        self._note_times(work, clock, warmup)
        # A model may have been compiled by the benchmark before, and by the first call here.
        compiled_s = [self.result.metrics.get("compile_s"), compile_s]
        known_s = [seconds for seconds in compiled_s if seconds is not None]
        self.result.metrics["compile_s"] = sum(known_s) if known_s else None
        self._note_rates(work)
        if work.in_processes and self.in_processes:
            self._note_processes(self.in_processes)
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

    def _note_processes(self, in_processes: Callable[[], ProcessTimes]) -> None:
        try:
            others = in_processes()
        except (ValueError, OSError) as error:  # the times of this process stay valid
            self.result.facts["fresh"] = str(error)
            return
        process_s = [
            statistics.median(times) for times in (self.result.samples["time_s"], *others.time_s)
        ]
        self.result.facts["process_rounds"] = [len(times) for times in others.time_s]
        self.result.samples["process_time_s"] = process_s
        self.result.metrics |= {
            "processes": len(process_s),
            "process_time_s": statistics.median(process_s),
            **others.peaks,
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
        judgement = stability(
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
                "verdict": judgement.verdict,
                "reasons": list(judgement.reasons),
                "remedies": list(judgement.remedies),
            },
            "load_before": state["load_before"],
            "load_after": state["load_after"],
        }
