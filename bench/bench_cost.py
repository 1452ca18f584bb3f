"""Question: how does the time of a model grow with its sizes, and which conditions make it slower?

Work unit: one training step at several sizes of one dimension (`test_growth`), or one forward pass
under several conditions (`test_conditions`). Each round times all sizes or conditions of a case one
after the other, so that a round sees one state of the machine; exponents and ratios are computed
within a round. Batches are random ids, because the content of the text does not change the time (a
case of bench_pair checks this). Not measured: building the models, warm-up, differences between
processes.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor

from bench.measuring.clock import quiet_gc
from bench.measuring.environment import load
from bench.measuring.work import Result
from bench.suite.cases import ConditionsCase, GrowthCase
from gptcore.devices import autocast, resolve_device, supported_precisions, synchronize
from gptcore.model.config import PRESETS, ModelConfig
from gptcore.model.flops import forward_flops, training_flops
from gptcore.model.gpt import GPT
from gptcore.stats import t_interval
from gptcore.training.config import TrainConfig
from gptcore.training.step import make_optimizer, train_step

FEWEST_ROUNDS = 5
BASE = ModelConfig(vocab_size=4096, block_size=128, n_layer=4, n_head=4, n_embd=256)
"""The model that `test_growth` varies: its head has a quarter of its weights, Model 5's a third."""
BASE_BATCH = 2

Calls = dict[str, Callable[[], object]]
Times = npt.NDArray[np.float64]


def time_in_turns(calls: Calls, device: torch.device, budget_s: float) -> Times:
    """Return seconds (rounds, calls): a round makes each call once, starting with another one.

    After one round of warm-up, as many rounds as fit into `budget_s` are timed, but at least
    FEWEST_ROUNDS.
    """
    rounds: list[dict[str, float]] = []
    names = list(calls)
    with quiet_gc():
        start = time.perf_counter()
        _time_round(calls, names, device)
        round_s = time.perf_counter() - start
        for index in range(max(FEWEST_ROUNDS, int(budget_s / round_s))):
            shift = index % len(names)
            rounds.append(_time_round(calls, names[shift:] + names[:shift], device))
    return np.array([[times[name] for name in names] for times in rounds])


def _time_round(calls: Calls, order: list[str], device: torch.device) -> dict[str, float]:
    times = {}
    for name in order:
        synchronize(device)
        start_ns = time.perf_counter_ns()
        calls[name]()
        synchronize(device)
        times[name] = (time.perf_counter_ns() - start_ns) / 1e9
    return times


def _random_batch(config: ModelConfig, batch_size: int, device: torch.device) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    shape = (batch_size, config.block_size)
    return torch.randint(config.vocab_size, shape, generator=generator).to(device)


def _shape(dimension: str, size: int) -> tuple[ModelConfig, int]:
    """Return BASE and its batch size with `dimension` set to `size`."""
    if dimension == "batch_size":
        return BASE, size
    fields: dict[str, Any] = {dimension: size}
    return replace(BASE, **fields), BASE_BATCH


def _step(dimension: str, size: int, precision: str, device: torch.device) -> Callable[[], object]:
    config, batch_size = _shape(dimension, size)
    model = GPT(config).to(device).train()
    optimizer = make_optimizer(model, TrainConfig(1, batch_size, config.block_size))
    ids = _random_batch(config, batch_size, device)
    return lambda: train_step(model, optimizer, ids, ids, precision=precision)


def exponents(sizes: tuple[int, ...], times: Times) -> npt.NDArray[np.float64]:
    """Return the slope of ln(time) over ln(size) in each round of `times` (rounds, sizes)."""
    x = np.log(np.array(sizes, dtype=np.float64))
    x -= x.mean()
    slopes: npt.NDArray[np.float64] = np.log(times) @ x / (x @ x)
    return slopes


def local_slopes(sizes: tuple[int, ...], times: Times) -> Times:
    """Return the slope of ln(time) over ln(size) between neighbouring sizes, in each round."""
    slopes: Times = np.diff(np.log(times)) / np.diff(np.log(np.array(sizes, dtype=np.float64)))
    return slopes


@pytest.mark.benchmark(group="growth")
def test_growth(benchmark: Any, result: Result, case: GrowthCase) -> None:
    device = resolve_device(case.device)
    steps = {str(n): _step(case.dimension, n, case.precision, device) for n in case.sizes}
    loads = [load()]
    times = benchmark.pedantic(time_in_turns, args=(steps, device, case.seconds), rounds=1)
    shapes = [_shape(case.dimension, size) for size in case.sizes]
    flops = [training_flops(config, batch, config.block_size) for config, batch in shapes]
    mean, low, high = t_interval(exponents(case.sizes, times))
    slopes = local_slopes(case.sizes, times)
    last, last_low, last_high = t_interval(slopes[:, -1])
    bends = [*t_interval(slopes[:, -1] - slopes[:, 0])] if len(case.sizes) > 2 else [None] * 3
    arithmetic = np.array([flops], dtype=np.float64)
    result.metrics |= {
        "rounds": len(times),
        "exponent": mean,
        "exponent_low": low,
        "exponent_high": high,
        "flops_exponent": float(exponents(case.sizes, arithmetic)[0]),
        "last_slope": last,
        "last_slope_low": last_low,
        "last_slope_high": last_high,
        "flops_last_slope": float(local_slopes(case.sizes, arithmetic)[0, -1]),
        **dict(zip(("bend", "bend_low", "bend_high"), bends, strict=True)),
    }
    result.series["cost_curve"] = [
        {"size": size, "time_s": float(np.median(column)), "flops": count}
        for size, column, count in zip(case.sizes, times.T, flops, strict=True)
    ]
    result.facts |= {"load_before": loads[0], "load_after": load()}


@contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _conditions(case: ConditionsCase, device: torch.device) -> Calls:
    """Return the forward pass under each condition; ratios are taken over the first one."""
    config = replace(PRESETS[case.model], block_size=case.block_size)
    model = GPT(config).to(device).eval()
    ids = _random_batch(config, case.batch_size, device)

    def forward(
        precision: str = "fp32",
        context: Callable[[], AbstractContextManager[Any]] = nullcontext,
        work: Callable[[Tensor], Tensor] = model,
    ) -> None:
        with torch.no_grad(), context(), autocast(device, precision):
            work(ids)

    calls: Calls = {"fp32": forward}
    calls |= {
        precision: lambda precision=precision: forward(precision)  # type: ignore[misc]
        for precision in supported_precisions(device)
        if precision != "fp32"
    }
    calls["gradients"] = lambda: forward(context=torch.enable_grad)
    calls["last_logits"] = lambda: forward(work=model.next_logits)
    if device.type == "cpu" and torch.get_num_threads() > 1:
        calls["one_thread"] = lambda: forward(context=_one_thread)
    return calls


@pytest.mark.benchmark(group="conditions")
def test_conditions(benchmark: Any, result: Result, case: ConditionsCase) -> None:
    device = resolve_device(case.device)
    calls = _conditions(case, device)
    loads = [load()]
    times = benchmark.pedantic(time_in_turns, args=(calls, device, case.seconds), rounds=1)
    logs = np.log(times / times[:, :1])
    ratios = [tuple(math.exp(value) for value in t_interval(column)) for column in logs.T]
    config = replace(PRESETS[case.model], block_size=case.block_size)
    result.metrics |= {
        "rounds": len(times),
        "time_s": float(np.median(times[:, 0])),
        "flops": forward_flops(config, case.batch_size, case.block_size),
    }
    result.series["conditions"] = [
        {"condition": name, "time_s": float(np.median(column))}
        | dict(zip(("ratio", "ratio_low", "ratio_high"), ratio, strict=True))
        for name, column, ratio in zip(calls, times.T, ratios, strict=True)
    ]
    result.facts |= {"load_before": loads[0], "load_after": load()}
