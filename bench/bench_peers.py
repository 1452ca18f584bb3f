"""Question: is this faster than what others have, and what does each optimisation gain?

Work unit: one call of a model case, ours and another variant's timed in turns: the same weights,
batches, clipping and AdamW (bench/variants/registry.py). A ratio above 1 says that ours is faster. Before
timing, the logits of both on real tokens and the losses of both after updates are compared. Peak
memory is that of a forward and backward pass over what was held before it, in a process that does
nothing else. Not measured: building, converting weights, compiling by peers that could.
"""

from __future__ import annotations

from typing import Any

import pytest

from bench.experiments.pairs import time_pair
from bench.measuring.processes import measure_fresh
from bench.measuring.work import Result
from bench.measuring.workloads import change
from bench.suite.cases import ModelCase, PairCase
from bench.suite.inputs import Inputs
from bench.variants.registry import why_not

ONE_CALL_S = 1e-9
"""So few timed seconds that a fresh process makes one call beyond those that it reads peaks in."""


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
    task = (f"bench_model::test_{case.work}", case, list(session.specs.values()), 1, ONE_CALL_S)
    result.metrics |= benchmark.pedantic(measure_fresh, args=task, rounds=1).peaks
