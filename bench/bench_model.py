"""Question: how fast does a model run on this machine, compared with the machine's peak?

Work unit: one batch of batch_size x block_size real tokens. "forward" is inference (no gradient);
"forward_loss" adds the cross-entropy, as an evaluation does; "step" is one training step whose
phases (data, transfer to an accelerator, forward, loss, backward, optimizer) are timed inside it;
"forward_backward" is a step without its optimizer; "decode" reads the first half of a window and
generates as many tokens after it, greedily. The case names the implementation, which is checked to
be the same model (bench/variants/registry.py). Each case is timed in new processes, where its peak
memory is read as well. Not measured: building the model, reading the corpus, warm-up (its time is
in the record).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from bench.measuring.measure import Measure
from bench.measuring.work import Result, Work
from bench.suite.cases import ModelCase
from bench.suite.inputs import Inputs
from bench.suite.own import config_of
from bench.suite.sizes import UNIFORM
from bench.variants import base, registry
from bench.variants.own import Own
from gptcore.devices import autocast, matmul_precision, resolve_device, to_device
from gptcore.model.config import ModelConfig
from gptcore.model.flops import forward_bytes, forward_flops, training_bytes, training_flops
from gptcore.model.gpt import GPT
from gptcore.model.loss import next_token_loss
from gptcore.sampling.batches import batch
from gptcore.sampling.samplers import make_sampler
from gptcore.training.compiling import prepare
from gptcore.training.config import COMPILERS, TrainConfig
from gptcore.training.step import EndPhase

CHECKED_TOKENS = 32
"""Tokens of the first window on which the logits of a variant are compared with ours."""

BatchAt = Callable[[int], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class _Built:
    """The model and data of a case.

    `batch_at` maps a step to a batch of real tokens on the CPU. `start` returns the variant anew,
    with its first weights.
    """

    variant: base.Variant
    start: Callable[[], base.Variant]
    config: ModelConfig
    recipe: TrainConfig
    device: torch.device
    batch_at: BatchAt


def _build(case: ModelCase, session: Inputs, result: Result) -> _Built:
    """Return the untrained model as the case's variant, with its initial loss checked.

    A model that is to be compiled is compiled here, before the timing.
    """
    if case.compile and case.variant != "gptcore":
        raise ValueError(f"{case.variant} cannot be compiled: use compile with variant gptcore")
    device = resolve_device(case.device)
    stream = session.stream(case.corpus)
    config = config_of(case.model, stream.vocab_size, case.block_size)
    ids = torch.from_numpy(stream.ids)
    if case.corpus == UNIFORM:
        ids = ids % config.vocab_size
    sampler = make_sampler(
        "random_replacement", n_tokens=len(ids), block_size=case.block_size, seed=case.seed
    )

    def batch_at(step: int) -> tuple[Tensor, Tensor]:
        return batch(ids, sampler, step, case.batch_size)

    inputs = batch_at(0)[0][:1].to(device)

    def start() -> base.Variant:
        if session.own is not None and case.variant == session.own.name:
            return Own(session.own.file, session.own.build(config, case.seed).to(device))
        model = GPT(config, seed=case.seed).to(device)
        return registry.build(case.variant, model, inputs[:, :CHECKED_TOKENS])

    recipe = TrainConfig(
        1,
        case.batch_size,
        case.block_size,
        precision=case.precision,
        compile=case.compile or None,
    )
    variant = start()
    result.metrics["n_params"] = sum(p.numel() for p in variant.model.parameters())
    if not isinstance(variant, Own):
        _check_initial_loss(variant, config, device)
    if case.compile and case.work in ("forward", "forward_loss"):  # the warm-up compiles it
        variant.model.transformer.compile(dynamic=False, **COMPILERS[case.compile])
    elif case.compile:
        try:
            result.metrics["compile_s"] = prepare(variant.model, recipe, device)
        except ValueError as error:
            pytest.skip(str(error))
    return _Built(variant, start, config, recipe, device, batch_at)


def _flops(built: _Built, case: ModelCase) -> dict[str, Any]:
    """Return what `Work` says of FLOPs and memory traffic; nothing is known of a user's model."""
    if isinstance(built.variant, Own):
        return {}
    trains = case.work in ("step", "forward_backward")
    flops, moved = (training_flops, training_bytes) if trains else (forward_flops, forward_bytes)
    return {
        "flops": flops(built.config, case.batch_size, case.block_size),
        "count_flops": lambda: _count_flops(case, built.config),
        "bytes_moved": moved(built.config),
    }


def _count_flops(case: ModelCase, config: ModelConfig) -> int:
    """Count the FLOPs of the case's call by torch's counter, on a model without weights.

    Attention uses the plain kernel, because torch does not count the fused kernel of the CPU.
    """
    with torch.device("meta"):
        model = GPT(config)
        ids = torch.zeros(case.batch_size, case.block_size, dtype=torch.int64)
    trains = case.work in ("step", "forward_backward")
    counter = FlopCounterMode(display=False)
    with counter, sdpa_kernel(SDPBackend.MATH), torch.set_grad_enabled(trains):
        loss = next_token_loss(model, ids, ids)
        if trains:
            loss.backward()  # type: ignore[no-untyped-call]
    return int(counter.get_total_flops())


def _check_initial_loss(variant: base.Variant, config: ModelConfig, device: torch.device) -> None:
    """Check that the untrained model's loss on uniform ids is close to ln V, that of a guess.

    The text of the case would not do. The output layer is the embedding, so an untrained model
    finds its last input the likeliest next token, and in tables or code tokens often repeat.
    """
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(config.vocab_size, (1, config.block_size + 1), generator=generator)
    ids = ids.to(device)
    with torch.no_grad():
        loss = variant.loss(ids[:, :-1], ids[:, 1:]).item()
    assert abs(loss - math.log(config.vocab_size)) < 0.5, f"loss of the untrained model is {loss}"


def _state_bytes(optimizer: torch.optim.Optimizer) -> int:
    values = [value for state in optimizer.state.values() for value in state.values()]
    return sum(value.nbytes for value in values if isinstance(value, Tensor))


def _check_text(built: _Built, case: ModelCase, prompt: Tensor, new_tokens: int) -> None:
    """Check that a variant generates the same text as gptcore from the same weights.

    The weights of a user's own model are others.
    """
    if isinstance(built.variant, Own):
        return
    own = base.Variant(GPT(built.config, seed=case.seed).to(built.device))
    assert torch.equal(built.variant.decode(prompt, new_tokens), own.decode(prompt, new_tokens)), (
        f"{case.variant} generates another text than gptcore from the same weights"
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

    def call(_end_phase: EndPhase) -> None:
        with torch.no_grad(), autocast(built.device, case.precision):
            work(built.variant, inputs, targets)

    measure(
        Work(
            call,
            built.device,
            tokens=inputs.numel(),
            precision=case.precision,
            in_processes=True,
            **_flops(built, case),
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
    steps = iter(range(10**9))

    def step(end_phase: EndPhase) -> None:
        inputs, targets = built.batch_at(next(steps))
        end_phase("data")
        if device.type != "cpu":
            inputs, targets = to_device(inputs, device), to_device(targets, device)
            end_phase("transfer")
        variant.step(optimizer, inputs, targets, precision=case.precision, end_phase=end_phase)

    def restore() -> None:
        nonlocal steps
        steps = iter(range(10**9))
        # Built again, because a copy of the weights would count as memory that training holds.
        variant.model.load_state_dict(built.start().model.state_dict())
        for state in optimizer.state.values():
            for value in state.values():
                if isinstance(value, Tensor):
                    value.zero_()

    measure(
        Work(
            step,
            device,
            tokens=case.batch_size * case.block_size,
            restore=restore,
            precision=case.precision,
            in_processes=True,
            **_flops(built, case),
            state_bytes=lambda: _state_bytes(optimizer),
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

    def call(end_phase: EndPhase) -> None:
        variant.model.zero_grad(set_to_none=True)
        with matmul_precision(case.precision):
            with autocast(device, case.precision):
                loss = variant.loss(inputs, targets)
            end_phase("forward")
            loss.backward()  # type: ignore[no-untyped-call]
        end_phase("backward")

    measure(
        Work(
            call,
            device,
            tokens=inputs.numel(),
            precision=case.precision,
            in_processes=True,
            **_flops(built, case),
        )
    )


@pytest.mark.benchmark(group="model")
@pytest.mark.usefixtures("benchmark")
def test_decode(measure: Measure, result: Result, session: Inputs, case: ModelCase) -> None:
    if case.precision != "fp32":
        pytest.skip("text is generated in float32: set precision=fp32")
    own = session.own is not None and case.variant == session.own.name
    if not own and case.variant not in registry.DECODERS:
        pytest.skip(f"{case.variant} cannot generate: choose {', '.join(registry.DECODERS)}")
    built = _build(case, session, result)
    built.variant.model.eval()
    inputs, _ = built.batch_at(0)
    prompt, new_tokens = inputs[:, : case.block_size // 2], case.block_size // 2
    _check_text(built, case, prompt, new_tokens)
    measure(
        Work(
            lambda _end_phase: built.variant.decode(prompt, new_tokens),
            built.device,
            tokens=case.batch_size * new_tokens,
            in_processes=True,
        )
    )
