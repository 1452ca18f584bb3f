"""The training loop: one step after another, each a function of the seed and its number.

The batch of step k is `batch_at(k - 1)`. Everything random in step k (batch, dropout) is a function
of the seed and k alone, so a resumed run repeats the losses of an uninterrupted one. For a model
with dropout, torch's global generators are seeded before every step.

Shapes: B sequences in a batch, T tokens in a sequence.
"""

import math
import time
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from gptcore.devices import synchronize, to_device
from gptcore.model.gpt import GPT
from gptcore.training.config import StepMetrics, TrainConfig
from gptcore.training.step import train_step

BatchAt = Callable[[int], tuple[Tensor, Tensor]]
"""Number of updates done → inputs and targets (B, T), int64, of the next, on any device."""


def train(
    model: GPT,
    optimizer: torch.optim.Optimizer,
    batch_at: BatchAt,
    config: TrainConfig,
    *,
    first_step: int = 0,
    device: torch.device,
    epochs_per_step: float,
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

    Raises:
        ValueError: a batch has another shape than `config` says, or the loss or gradient is not
            finite; the update with that gradient is done, so restore an earlier checkpoint.
    """
    for step in range(first_step + 1, config.steps + 1):
        started_ns = time.perf_counter_ns()
        lr = _set_up(model, optimizer, config, step)
        inputs, targets = (to_device(ids, device) for ids in batch_at(step - 1))
        _check_batch(inputs, step, config)
        loss, grad_norm = train_step(
            model,
            optimizer,
            inputs,
            targets,
            precision=config.precision,
            grad_clip=config.grad_clip,
        )
        synchronize(device)  # the clock is read after the device has finished
        metrics = StepMetrics(
            step=step,
            tokens=step * config.batch_size * config.block_size,
            epochs=step * epochs_per_step,
            step_time_s=(time.perf_counter_ns() - started_ns) / 1e9,
            loss=loss.item(),
            grad_norm=grad_norm.item(),
            lr=lr,
        )
        _check_finite(metrics, config)
        yield metrics


def _set_up(model: GPT, optimizer: torch.optim.Optimizer, config: TrainConfig, step: int) -> float:
    """Set the mode, the seed of dropout and the learning rate of a step; return the last."""
    model.train()
    if model.config.dropout:
        torch.manual_seed(_dropout_seed(config.seed, step))
    lr = config.learning_rate_at(step)
    for group in optimizer.param_groups:
        group["lr"] = lr
    return lr


def _dropout_seed(seed: int, step: int) -> int:
    return int(np.random.SeedSequence(seed, spawn_key=(step,)).generate_state(1, np.uint64)[0])


def _check_batch(inputs: Tensor, step: int, config: TrainConfig) -> None:
    shape = (config.batch_size, config.block_size)
    if inputs.shape != shape:
        raise ValueError(
            f"the batch of step {step} is {tuple(inputs.shape)}; the config says {shape}: "
            "make batch_at and TrainConfig agree"
        )


def _check_finite(metrics: StepMetrics, config: TrainConfig) -> None:
    if not (math.isfinite(metrics.loss) and math.isfinite(metrics.grad_norm)):
        raise ValueError(
            f"training diverged at step {metrics.step}: loss {metrics.loss}, gradient norm "
            f"{metrics.grad_norm}; train in a new folder with a learning_rate below "
            f"{config.learning_rate:g}"
        )
