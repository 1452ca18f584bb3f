"""Question: how fast does this model run here, and how far is that from what the machine can do?

Work unit: one batch of batch_size x block_size real tokens. "forward" is inference (no gradient);
"forward_loss" adds the cross-entropy, as an evaluation does; "step" is one training step with its
phases (data, transfer to an accelerator, forward, loss, backward, optimizer) timed inside it;
"forward_backward" is a step without its optimizer; "decode" reads the first half of a window and
writes as many tokens after it, greedily. Who does it is the case's variant, checked to be the same
model (bench/variants/registry.py). Each case is repeated in fresh processes, where its peak memory is read.
Not measured: building the model, reading the corpus, warm-up (its cost is in the record).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from bench.measuring.measure import Measure
from bench.measuring.work import Mark, Result, Work
from bench.suite.cases import ModelCase
from bench.suite.inputs import Inputs
from bench.variants import base, registry
from gptcore.devices import autocast, matmul_precision, resolve_device, to_device
from gptcore.model.config import PRESETS, ModelConfig
from gptcore.model.flops import forward_bytes, forward_flops, training_bytes, training_flops
from gptcore.model.gpt import GPT
from gptcore.model.loss import next_token_loss
from gptcore.sampling.batches import batch
from gptcore.sampling.samplers import make_sampler
from gptcore.training.compiling import prepare
from gptcore.training.config import COMPILERS, TrainConfig

CHECKED_TOKENS = 32
"""Of the first window: enough to tell another model, and soon done."""

BatchAt = Callable[[int], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class _Built:
    """What a case works on; `batch_at` maps a step to a batch of real tokens on the CPU."""

    variant: base.Variant
    config: ModelConfig
    recipe: TrainConfig
    device: torch.device
    batch_at: BatchAt


def _build(case: ModelCase, session: Inputs, result: Result) -> _Built:
    """Return the fresh model as the case's variant, checked to know nothing yet.

    A compiled model is compiled here, apart from the timing.
    """
    if case.compile and case.variant != "gptcore":
        raise ValueError(f"{case.variant} is timed as it is: compile gptcore alone, or nothing")
    device = resolve_device(case.device)
    config = replace(PRESETS[case.model], block_size=case.block_size)
    ids = torch.from_numpy(session.stream(case.corpus).ids)
    sampler = make_sampler(
        "random_replacement", n_tokens=len(ids), block_size=case.block_size, seed=case.seed
    )

    def batch_at(step: int) -> tuple[Tensor, Tensor]:
        return batch(ids, sampler, step, case.batch_size)

    inputs, targets = (part[:1].to(device) for part in batch_at(0))
    model = GPT(config, seed=case.seed).to(device)
    recipe = TrainConfig(
        1,
        case.batch_size,
        case.block_size,
        precision=case.precision,
        compile=case.compile or None,
    )
    result.metrics["n_params"] = model.n_params
    variant = registry.build(case.variant, model, inputs[:, :CHECKED_TOKENS])
    _check_fresh(variant, config, inputs, targets)
    if case.compile and case.work in ("forward", "forward_loss"):  # the warm-up compiles it
        model.transformer.compile(dynamic=False, **COMPILERS[case.compile])
    elif case.compile:
        try:
            result.metrics["compile_s"] = prepare(model, recipe, device)
        except ValueError as error:
            pytest.skip(str(error))
    return _Built(variant, config, recipe, device, batch_at)


def _count_flops(case: ModelCase) -> int:
    """Count the FLOPs of the case's call on a model without weights, by torch's counter.

    The plain attention kernel, since torch does not count the fused one of the CPU.
    """
    with torch.device("meta"):
        model = GPT(replace(PRESETS[case.model], block_size=case.block_size))
        ids = torch.zeros(case.batch_size, case.block_size, dtype=torch.int64)
    trains = case.work in ("step", "forward_backward")
    counter = FlopCounterMode(display=False)
    with counter, sdpa_kernel(SDPBackend.MATH), torch.set_grad_enabled(trains):
        loss = next_token_loss(model, ids, ids)
        if trains:
            loss.backward()  # type: ignore[no-untyped-call]
    return int(counter.get_total_flops())


def _check_fresh(
    variant: base.Variant, config: ModelConfig, inputs: Tensor, targets: Tensor
) -> None:
    """A fresh model knows nothing: its loss is close to ln V, or the model is wrong."""
    with torch.no_grad():
        loss = variant.loss(inputs, targets).item()
    assert abs(loss - math.log(config.vocab_size)) < 0.5, f"loss of a fresh model is {loss}"


def _check_text(built: _Built, case: ModelCase, prompt: Tensor, new_tokens: int) -> None:
    """The same weights write the same text, or decoding is compared with something else."""
    own = base.Variant(GPT(built.config, seed=case.seed).to(built.device))
    assert torch.equal(built.variant.decode(prompt, new_tokens), own.decode(prompt, new_tokens)), (
        f"{case.variant} writes another text than gptcore from the same weights"
    )


def _measure_inference(
    measure: Measure,
    result: Result,
    session: Inputs,
    case: ModelCase,
    work: Callable[[base.Variant, Tensor, Tensor], Tensor],
) -> None:
    built = _build(case, session, result)
    built.variant.model.eval()
    inputs, targets = (ids.to(built.device) for ids in built.batch_at(0))

    def call(_mark: Mark) -> None:
        with torch.no_grad(), autocast(built.device, case.precision):
            work(built.variant, inputs, targets)

    measure(
        Work(
            call,
            built.device,
            tokens=inputs.numel(),
            precision=case.precision,
            flops=forward_flops(built.config, case.batch_size, case.block_size),
            count_flops=lambda: _count_flops(case),
            bytes_moved=forward_bytes(built.config),
            fresh=True,
        )
    )


@pytest.mark.benchmark(group="model")
@pytest.mark.usefixtures("benchmark")
def test_forward(measure: Measure, result: Result, session: Inputs, case: ModelCase) -> None:
    _measure_inference(measure, result, session, case, lambda who, inputs, _: who.logits(inputs))


@pytest.mark.benchmark(group="model")
@pytest.mark.usefixtures("benchmark")
def test_forward_loss(measure: Measure, result: Result, session: Inputs, case: ModelCase) -> None:
    _measure_inference(measure, result, session, case, lambda who, *batch: who.loss(*batch))


@pytest.mark.benchmark(group="model")
@pytest.mark.usefixtures("benchmark")
def test_step(measure: Measure, result: Result, session: Inputs, case: ModelCase) -> None:
    built = _build(case, session, result)
    variant, device = built.variant, built.device
    variant.model.train()
    optimizer = variant.make_optimizer(built.recipe)
    start = {name: v.to("cpu", copy=True) for name, v in variant.model.state_dict().items()}
    steps = iter(range(10**9))

    def step(mark: Mark) -> None:
        inputs, targets = built.batch_at(next(steps))
        mark("data")
        if device.type != "cpu":
            inputs, targets = to_device(inputs, device), to_device(targets, device)
            mark("transfer")
        variant.step(optimizer, inputs, targets, precision=case.precision, mark=mark)

    def restore() -> None:
        nonlocal steps
        steps = iter(range(10**9))
        variant.model.load_state_dict(start)
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
            flops=training_flops(built.config, case.batch_size, case.block_size),
            count_flops=lambda: _count_flops(case),
            bytes_moved=training_bytes(built.config),
            fresh=True,
        )
    )


@pytest.mark.benchmark(group="model")
@pytest.mark.usefixtures("benchmark")
def test_forward_backward(
    measure: Measure, result: Result, session: Inputs, case: ModelCase
) -> None:
    built = _build(case, session, result)
    variant, device = built.variant, built.device
    variant.model.train()
    inputs, targets = (ids.to(device) for ids in built.batch_at(0))

    def call(mark: Mark) -> None:
        variant.model.zero_grad(set_to_none=True)
        with matmul_precision(case.precision):
            with autocast(device, case.precision):
                loss = variant.loss(inputs, targets)
            mark("forward")
            loss.backward()  # type: ignore[no-untyped-call]
        mark("backward")

    measure(
        Work(
            call,
            device,
            tokens=inputs.numel(),
            precision=case.precision,
            flops=training_flops(built.config, case.batch_size, case.block_size),
            count_flops=lambda: _count_flops(case),
            fresh=True,
        )
    )


@pytest.mark.benchmark(group="model")
@pytest.mark.usefixtures("benchmark")
def test_decode(measure: Measure, result: Result, session: Inputs, case: ModelCase) -> None:
    if case.precision != "fp32":
        pytest.skip("text is written in float32: give the case precision fp32")
    if case.variant not in registry.DECODERS:
        pytest.skip(f"{case.variant} does not write text: choose {', '.join(registry.DECODERS)}")
    built = _build(case, session, result)
    built.variant.model.eval()
    inputs, _ = built.batch_at(0)
    prompt, new_tokens = inputs[:, : case.block_size // 2], case.block_size // 2
    _check_text(built, case, prompt, new_tokens)
    measure(
        Work(
            lambda _mark: built.variant.decode(prompt, new_tokens),
            built.device,
            tokens=case.batch_size * new_tokens,
            fresh=True,
        )
    )
