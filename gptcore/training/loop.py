"""The training loop: one step after another, each a function of the seed and its number.

The batch of step k is `batch_at(k - 1)`. Everything random in step k (batch, dropout) is a function
of the seed and k alone, so a resumed run repeats the losses of an uninterrupted one. For a model
with dropout, torch's global generators are seeded before every step.

Shapes: B sequences in a batch, T tokens in a sequence.
"""

import math
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gptcore.devices import memory_bytes, reset_peak_memory, synchronize, to_device
from gptcore.model.gpt import GPT
from gptcore.training.averaging import update_average
from gptcore.training.config import StepMetrics, TrainConfig
from gptcore.training.distributed import Engine
from gptcore.training.step import accumulated_step, train_step

BatchAt = Callable[[int], tuple[Tensor, Tensor]]
"""Number of updates done → inputs and targets (B, T), int64, of the next, on any device."""


class DivergedError(ValueError):
    """A loss, a gradient or a weight is not finite."""


def train(
    model: GPT,
    optimizer: torch.optim.Optimizer,
    batch_at: BatchAt,
    config: TrainConfig,
    *,
    first_step: int = 0,
    device: torch.device,
    epochs_per_step: float,
    average: GPT | None = None,
    engine: Engine | None = None,
) -> Iterator[StepMetrics]:
    """Train until `config.steps` updates are done; yield the metrics of each step.

    Args:
        model: the model, on `device`; it is put into training mode before every step.
        optimizer: the optimizer of its parameters.
        batch_at: the batch of each step.
        config: the settings.
        first_step: the number of updates done already.
        device: where the model is.
        epochs_per_step: the epoch-equivalents in one batch.
        average: from `begin_average`; without it `config.ema_decay` has no effect.
        engine: what trains the model on several processes, each with its part of the batches.

    Raises:
        ValueError: a batch is not shaped as `config` says, or training diverged (DivergedError).
    """
    update, n_windows, rank = _update(config, engine)
    for step in range(first_step + 1, config.steps + 1):
        reset_peak_memory(device)
        started_ns = time.perf_counter_ns()
        lr = _set_up(model, optimizer, config, (step, rank))
        batch = _check_batch(batch_at(step - 1), step, (n_windows, config.block_size))
        loss, grad_norm = update(model, optimizer, *(to_device(ids, device) for ids in batch))
        if average is not None:
            update_average(average, model, step, config)
        synchronize(device)  # the clock is read after the device has finished
        metrics = StepMetrics(
            step=step,
            tokens=step * config.tokens_per_step,
            epochs=step * epochs_per_step,
            step_time_s=(step_time_s := (time.perf_counter_ns() - started_ns) / 1e9),
            loss=loss.item(),
            grad_norm=grad_norm.item(),
            lr=lr,
            tokens_per_s=config.tokens_per_step / step_time_s,
            memory_bytes=memory_bytes(device),
        )
        yield _check_finite(metrics, config)


def _update(
    config: TrainConfig, engine: Engine | None
) -> tuple[Callable[..., tuple[Tensor, Tensor]], int, int]:
    """Return the function that makes one update of the weights from a batch of this process.

    Beside it stand the number of windows in the batch, and that of the process.
    """
    if engine:
        return engine.update, engine.n_windows, engine.world.rank
    options: dict[str, Any] = {"precision": config.precision, "grad_clip": config.grad_clip}
    if config.micro_batch_size is None:
        return partial(train_step, **options), config.batch_size, 0
    options["micro_batch_size"] = config.micro_batch_size
    return partial(accumulated_step, **options), config.batch_size, 0


def _set_up(
    model: GPT, optimizer: torch.optim.Optimizer, config: TrainConfig, place: tuple[int, int]
) -> float:
    """Set the mode, the seed of dropout and the learning rate of a step; return the last.

    `place` is the step and the number of the process, whose masks are its own.
    """
    step, rank = place
    model.train()
    if model.config.dropout:
        torch.manual_seed(_dropout_seed(config.seed, (step, rank) if rank else (step,)))
    lr = config.learning_rate_at(step)
    for group in optimizer.param_groups:
        group["lr"] = lr
    return lr


def _dropout_seed(seed: int, place: tuple[int, ...]) -> int:
    return int(np.random.SeedSequence(seed, spawn_key=place).generate_state(1, np.uint64)[0])


def _check_batch(
    batch: tuple[Tensor, Tensor], step: int, shape: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    if batch[0].shape != shape:
        raise ValueError(
            f"the batch of step {step} is {tuple(batch[0].shape)}; the config says {shape}: "
            "make batch_at and TrainConfig agree"
        )
    return batch


def _check_finite(metrics: StepMetrics, config: TrainConfig) -> StepMetrics:
    if not (math.isfinite(metrics.loss) and math.isfinite(metrics.grad_norm)):
        what = f"loss {metrics.loss}, gradient norm {metrics.grad_norm}"
        raise diverged(metrics.step, what, config)
    return metrics


def diverged(step: int, what: str, config: TrainConfig) -> DivergedError:
    """Return the error that says that training diverged, where, and what to do."""
    return DivergedError(
        f"training diverged at step {step}: {what}; train in a new folder with a learning_rate "
        f"below {config.learning_rate:g} or with more warmup_steps"
    )
