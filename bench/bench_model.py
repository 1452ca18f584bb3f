"""Question: how fast does this model run here, and how far is that from what the machine can do?

Work unit: one batch of batch_size x block_size real tokens. "forward" is inference (no gradient);
"forward_loss" adds the cross-entropy, as an evaluation does; "step" is one training step with its
phases (data, forward, loss, backward, optimizer) timed inside it. Not measured: building the model,
reading the corpus, warm-up (its cost is in the record).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from bench.experiments import ModelCase
from bench.measure import Mark, Measure
from bench.run import Run
from gptcore.batches import batch
from gptcore.devices import autocast, resolve_device
from gptcore.flops import forward_flops, training_flops
from gptcore.loss import next_token_loss
from gptcore.model import GPT, PRESETS
from gptcore.samplers import make_sampler
from gptcore.training import TrainConfig, make_optimizer, train_step

BatchAt = Callable[[int], tuple[Tensor, Tensor]]


def _build(case: ModelCase, run: Run) -> tuple[GPT, torch.device, BatchAt]:
    """Return the fresh model, its device, and step → batch of real tokens on that device."""
    device = resolve_device(case.device)
    config = replace(PRESETS[case.model], block_size=case.block_size)
    model = GPT(config, seed=case.seed).to(device)
    ids = torch.from_numpy(run.streams[case.corpus].ids)
    sampler = make_sampler(
        "random_replacement", n_tokens=len(ids), block_size=case.block_size, seed=case.seed
    )

    def batch_at(step: int) -> tuple[Tensor, Tensor]:
        inputs, targets = batch(ids, sampler, step, case.batch_size)
        return inputs.to(device), targets.to(device)

    return model, device, batch_at


def _check_fresh(model: GPT, inputs: Tensor, targets: Tensor) -> None:
    """A fresh model knows nothing: its loss is close to ln V, or the model is wrong."""
    with torch.no_grad():
        loss = next_token_loss(model, inputs[:1], targets[:1]).item()
    assert abs(loss - math.log(model.config.vocab_size)) < 0.5, f"loss of a fresh model is {loss}"


def _measure_inference(
    measure: Measure, run: Run, case: ModelCase, work: Callable[[GPT, Tensor, Tensor], Tensor]
) -> None:
    model, device, batch_at = _build(case, run)
    model.eval()
    inputs, targets = batch_at(0)
    _check_fresh(model, inputs, targets)

    def call(_mark: Mark) -> None:
        with torch.no_grad(), autocast(device, case.precision):
            work(model, inputs, targets)

    measure.result.metrics["n_params"] = model.n_params
    measure(
        call,
        device=device,
        tokens=inputs.numel(),
        flops=forward_flops(model.config, case.batch_size, case.block_size),
        peak_flops_per_s=run.peak_flops_per_s(case.device, case.precision),
    )


@pytest.mark.benchmark(group="model")
def test_forward(measure: Measure, benchmark: object, run: Run, case: ModelCase) -> None:  # noqa: ARG001
    _measure_inference(measure, run, case, lambda model, inputs, _: model(inputs))


@pytest.mark.benchmark(group="model")
def test_forward_loss(measure: Measure, benchmark: object, run: Run, case: ModelCase) -> None:  # noqa: ARG001
    _measure_inference(measure, run, case, next_token_loss)


@pytest.mark.benchmark(group="model")
def test_step(measure: Measure, benchmark: object, run: Run, case: ModelCase) -> None:  # noqa: ARG001
    model, device, batch_at = _build(case, run)
    _check_fresh(model, *batch_at(0))
    model.train()
    optimizer = make_optimizer(model, TrainConfig(1, case.batch_size, case.block_size))
    start = {name: value.clone() for name, value in model.state_dict().items()}
    steps = iter(range(10**9))

    def step(mark: Mark) -> None:
        inputs, targets = batch_at(next(steps))
        mark("data")
        train_step(model, optimizer, inputs, targets, precision=case.precision, mark=mark)

    def restore() -> None:
        nonlocal steps
        steps = iter(range(10**9))
        model.load_state_dict(start)
        for state in optimizer.state.values():
            for value in state.values():
                value.zero_()

    measure.result.metrics["n_params"] = model.n_params
    measure(
        step,
        device=device,
        tokens=case.batch_size * case.block_size,
        flops=training_flops(model.config, case.batch_size, case.block_size),
        peak_flops_per_s=run.peak_flops_per_s(case.device, case.precision),
        restore=restore,
    )
