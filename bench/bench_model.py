"""Question: how fast does this model run here, and how far is that from what the machine can do?

Work unit: one batch of batch_size x block_size real tokens. "forward" is inference (no gradient);
"forward_loss" adds the cross-entropy, as an evaluation does; "step" is one training step with its
phases (data, transfer to an accelerator, forward, loss, backward, optimizer) timed inside it. Each
case is repeated in fresh processes, where its peak memory is read. Not measured: building the
model, reading the corpus, warm-up (its cost is in the record).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from bench.experiments import ModelCase
from bench.inputs import Inputs
from bench.measure import Mark, Measure, Result, Work
from gptcore.batches import batch
from gptcore.devices import autocast, resolve_device, to_device
from gptcore.flops import forward_bytes, forward_flops, training_bytes, training_flops
from gptcore.loss import next_token_loss
from gptcore.model import GPT, PRESETS
from gptcore.samplers import make_sampler
from gptcore.training import TrainConfig, make_optimizer, prepare, train_step

BatchAt = Callable[[int], tuple[Tensor, Tensor]]


def _build(
    case: ModelCase, run: Inputs, result: Result
) -> tuple[GPT, torch.device, BatchAt, TrainConfig]:
    """Return the fresh model, its device, step → batch of real tokens on the CPU, and the recipe.

    A compiled model is compiled here, apart from the timing.
    """
    device = resolve_device(case.device)
    config = replace(PRESETS[case.model], block_size=case.block_size)
    model = GPT(config, seed=case.seed).to(device)
    recipe = TrainConfig(
        1,
        case.batch_size,
        case.block_size,
        precision=case.precision,
        compile=case.compile or None,
    )
    try:
        result.metrics["compile_s"] = prepare(model, recipe, device)
    except ValueError as error:
        pytest.skip(str(error))
    result.metrics["n_params"] = model.n_params
    ids = torch.from_numpy(run.stream(case.corpus).ids)
    sampler = make_sampler(
        "random_replacement", n_tokens=len(ids), block_size=case.block_size, seed=case.seed
    )

    return model, device, lambda step: batch(ids, sampler, step, case.batch_size), recipe


def _count_flops(case: ModelCase) -> int:
    """Count the FLOPs of the case's call on a model without weights, by torch's counter.

    The plain attention kernel, since torch does not count the fused one of the CPU.
    """
    with torch.device("meta"):
        model = GPT(replace(PRESETS[case.model], block_size=case.block_size))
        ids = torch.zeros(case.batch_size, case.block_size, dtype=torch.int64)
    trains = case.work == "step"
    counter = FlopCounterMode(display=False)
    with counter, sdpa_kernel(SDPBackend.MATH), torch.set_grad_enabled(trains):
        loss = next_token_loss(model, ids, ids)
        if trains:
            loss.backward()  # type: ignore[no-untyped-call]
    return int(counter.get_total_flops())


def _check_fresh(model: GPT, inputs: Tensor, targets: Tensor) -> None:
    """A fresh model knows nothing: its loss is close to ln V, or the model is wrong."""
    with torch.no_grad():
        loss = next_token_loss(model, inputs[:1], targets[:1]).item()
    assert abs(loss - math.log(model.config.vocab_size)) < 0.5, f"loss of a fresh model is {loss}"


def _measure_inference(
    measure: Measure,
    result: Result,
    run: Inputs,
    case: ModelCase,
    work: Callable[[GPT, Tensor, Tensor], Tensor],
) -> None:
    model, device, batch_at, _ = _build(case, run, result)
    model.eval()
    inputs, targets = (ids.to(device) for ids in batch_at(0))
    _check_fresh(model, inputs, targets)

    def call(_mark: Mark) -> None:
        with torch.no_grad(), autocast(device, case.precision):
            work(model, inputs, targets)

    measure(
        Work(
            call,
            device,
            tokens=inputs.numel(),
            precision=case.precision,
            flops=forward_flops(model.config, case.batch_size, case.block_size),
            count_flops=lambda: _count_flops(case),
            bytes_moved=forward_bytes(model.config),
            fresh=True,
        )
    )


@pytest.mark.benchmark(group="model")
@pytest.mark.usefixtures("benchmark")
def test_forward(measure: Measure, result: Result, run: Inputs, case: ModelCase) -> None:
    _measure_inference(measure, result, run, case, lambda model, inputs, _: model(inputs))


@pytest.mark.benchmark(group="model")
@pytest.mark.usefixtures("benchmark")
def test_forward_loss(measure: Measure, result: Result, run: Inputs, case: ModelCase) -> None:
    _measure_inference(measure, result, run, case, next_token_loss)


@pytest.mark.benchmark(group="model")
@pytest.mark.usefixtures("benchmark")
def test_step(measure: Measure, result: Result, run: Inputs, case: ModelCase) -> None:
    model, device, batch_at, recipe = _build(case, run, result)
    _check_fresh(model, *(ids.to(device) for ids in batch_at(0)))
    model.train()
    optimizer = make_optimizer(model, recipe)
    start = {name: value.to("cpu", copy=True) for name, value in model.state_dict().items()}
    steps = iter(range(10**9))

    def step(mark: Mark) -> None:
        inputs, targets = batch_at(next(steps))
        mark("data")
        if device.type != "cpu":
            inputs, targets = to_device(inputs, device), to_device(targets, device)
            mark("transfer")
        train_step(model, optimizer, inputs, targets, precision=case.precision, mark=mark)

    def restore() -> None:
        nonlocal steps
        steps = iter(range(10**9))
        model.load_state_dict(start)
        for state in optimizer.state.values():
            for value in state.values():
                value.zero_()

    measure(
        Work(
            step,
            device,
            tokens=case.batch_size * case.block_size,
            restore=restore,
            precision=case.precision,
            flops=training_flops(model.config, case.batch_size, case.block_size),
            count_flops=lambda: _count_flops(case),
            bytes_moved=training_bytes(model.config),
            fresh=True,
        )
    )
