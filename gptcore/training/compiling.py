"""Compile a model before its first step, and return how long that took."""

import time

import torch

from gptcore.devices import autocast, matmul_precision, synchronize
from gptcore.model.foreign import ForeignModel
from gptcore.model.gpt import GPT
from gptcore.training.config import COMPILERS, TrainConfig


def prepare(model: GPT | ForeignModel, config: TrainConfig, device: torch.device) -> float | None:
    """Set up `model` as `config` says and compile it now, so that no step includes that time.

    torch compiles at the first call, so one forward and one backward pass are made here. They may
    draw random numbers for dropout, which changes no loss: `train` seeds dropout before every step.

    Returns:
        The seconds that compiling took, with the two passes; None if `config.compile` is None.

    Raises:
        ValueError: the model cannot be compiled on this machine, or is one of another
            implementation.
    """
    if isinstance(model, ForeignModel):
        if config.compile is not None or config.recompute:
            raise ValueError(
                "a model of another implementation takes neither compile nor recompute: leave both "
                "out"
            )
        return None
    model.transformer.recompute = config.recompute
    if config.compile is None:
        return None
    started_ns = time.perf_counter_ns()
    model.transformer.compile(dynamic=False, **COMPILERS[config.compile])
    n_windows = config.micro_batch_size or config.batch_size
    inputs = torch.zeros(n_windows, config.block_size, dtype=torch.int64, device=device)
    try:
        with matmul_precision(config.precision):
            with autocast(device, config.precision):
                hidden = model.train().hidden(inputs)
            hidden.sum().backward()  # type: ignore[no-untyped-call]
    except (torch._dynamo.exc.TorchDynamoException, torch._inductor.exc.InductorError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ValueError(
            f"torch.compile with {config.compile} failed ({reason}); train without "
            "compile, or install what it needs, such as a C++ compiler"
        ) from error
    model.zero_grad(set_to_none=True)
    synchronize(device)
    return (time.perf_counter_ns() - started_ns) / 1e9
