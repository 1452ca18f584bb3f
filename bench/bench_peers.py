"""Question: is gptcore faster than other implementations, and what does each optimisation gain?

Work unit: one call of a model case, timed in turns with the same call of another variant that has
the same weights, batches, clipping and AdamW (bench/variants/registry.py). A ratio above 1 means
that gptcore is faster. Before the timing, the logits of both on real tokens and their losses after
updates are compared. Peak memory is that of a forward and backward pass above the memory held
between calls, in a new process. Not measured: building, converting weights, compiled peers.
"""

from __future__ import annotations

from typing import Any

import pytest

from bench.experiments.pairs import time_pair
from bench.measuring.processes import measure_in_processes
from bench.measuring.work import Result
from bench.measuring.workloads import change
from bench.suite.cases import ModelCase, PairCase
from bench.suite.inputs import Inputs
from bench.variants.registry import why_not

LEAST_S = 1e-9
"""A budget so small that a new process times as few calls as it ever does."""


def _time_against(benchmark: Any, result: Result, session: Inputs, case: PairCase) -> None:
    other = change(case.base, case.change)
    assert isinstance(other, ModelCase)
    if reason := why_not(other.variant):
        pytest.skip(reason)
    time_pair(benchmark, result, session, case)


@pytest.mark.benchmark(group="peers")
def test_peer(benchmark: Any, result: Result, session: Inputs, case: PairCase) -> None:
    _time_against(benchmark, result, session, case)


@pytest.mark.benchmark(group="ablation")
def test_ablation(benchmark: Any, result: Result, session: Inputs, case: PairCase) -> None:
    _time_against(benchmark, result, session, case)


@pytest.mark.benchmark(group="peaks")
def test_peak(benchmark: Any, result: Result, session: Inputs, case: ModelCase) -> None:
    if reason := why_not(case.variant):
        pytest.skip(reason)
    read_peak(benchmark, result, session, case)


def read_peak(benchmark: Any, result: Result, session: Inputs, case: ModelCase) -> None:
    """Read the peak memory of a model case in a new process, and note it in `result`."""
    task = (f"bench_model::test_{case.work}", case, session.arguments, 1, LEAST_S)
    (process,) = benchmark.pedantic(measure_in_processes, args=task, rounds=1)
    result.metrics |= process.peaks
