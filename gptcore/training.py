"""One training step and the loop around it.

A step is one update of the weights. Steps are numbered by the updates done, so the first is 1;
the batch of step k is `batch_at(k - 1)`. Everything random in step k (batch, dropout) is a function
of the seed and k alone, so a resumed run repeats the losses of an unbroken one.

Shapes: B sequences in a batch, T tokens in a sequence.
"""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gptcore.checks import LARGEST_INT64, check_number, check_whole
from gptcore.devices import autocast, check_precision, matmul_precision, synchronize, to_device
from gptcore.model.gpt import GPT
from gptcore.ops.cross_entropy import linear_cross_entropy

BatchAt = Callable[[int], tuple[Tensor, Tensor]]

COMPILERS: dict[str, dict[str, Any]] = {
    "inductor": {},
    "reduce-overhead": {"mode": "reduce-overhead"},
    "max-autotune": {"mode": "max-autotune"},
}
"""Ways of `torch.compile` by name, with its arguments.

`inductor`: defaults; `reduce-overhead`: CUDA graphs; `max-autotune`: tries several kernels.
"""

WHOLE_NUMBERS = {"steps": 1, "batch_size": 1, "block_size": 1, "warmup_steps": 0, "seed": 0}
"""Field of TrainConfig → the least value allowed."""

NUMBERS = {
    "learning_rate": "(0, inf)",
    "min_learning_rate_ratio": "[0, 1]",
    "weight_decay": "[0, inf)",
    "beta1": "[0, 1)",
    "beta2": "[0, 1)",
    "grad_clip": "(0, inf]",
}
"""Field of TrainConfig → the interval that it must lie in."""


@dataclass(frozen=True)
class TrainConfig:
    """How to train; batches are made elsewhere, `batch_size` and `block_size` say their shape.

    Attributes:
        steps: updates in the whole run.
        batch_size: B.
        block_size: T.
        learning_rate: the peak.
        min_learning_rate_ratio: last learning rate / peak, in [0, 1]; 1 turns the decay off.
        warmup_steps: linear warm-up, at most `steps`.
        weight_decay: on matrices only.
        beta1, beta2: AdamW's decays of the mean gradient and of its mean square.
        grad_clip: greatest norm of the whole gradient; `math.inf` for none.
        precision: one of `devices.PRECISIONS`.
        compile: one of COMPILERS; None does not compile.
        recompute: keep only what goes into each block, and compute the rest again in backward.
        seed: of everything random during training, that is dropout.

    Raises:
        ValueError: a field is outside its range.
    """

    steps: int
    batch_size: int = 16
    block_size: int = 256
    learning_rate: float = 6e-4
    min_learning_rate_ratio: float = 0.1
    warmup_steps: int = 0
    weight_decay: float = 0.1
    beta1: float = 0.9
    beta2: float = 0.95
    grad_clip: float = 1.0
    precision: str = "fp32"
    compile: str | None = None
    recompute: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in WHOLE_NUMBERS.items():
            whole = check_whole(name, getattr(self, name), at_least=least, at_most=LARGEST_INT64)
            object.__setattr__(self, name, whole)
        for name, interval in NUMBERS.items():
            object.__setattr__(self, name, check_number(name, getattr(self, name), interval))
        if self.warmup_steps > self.steps:
            raise ValueError(
                f"warmup_steps is {self.warmup_steps}; it must be at most steps = {self.steps}"
            )
        check_precision(self.precision)
        if self.compile not in (None, *COMPILERS):
            raise ValueError(
                f"compile is {self.compile!r}; choose None or one of {', '.join(COMPILERS)}"
            )
        if type(self.recompute) is not bool:
            raise ValueError(f"recompute is {self.recompute!r}: give True or False")

    def learning_rate_at(self, step: int) -> float:
        """Return the learning rate of `step` in [1, steps]: linear warm-up, then cosine.

        The peak is reached at `warmup_steps`, the minimum at the last step.

        Raises:
            ValueError: `step` is outside that range.
        """
        if not 1 <= step <= self.steps:
            raise ValueError(f"step is {step}; it must be in [1, {self.steps}]")
        if step <= self.warmup_steps:
            return self.learning_rate * step / self.warmup_steps
        progress = (step - self.warmup_steps) / (self.steps - self.warmup_steps)
        cosine = (1 + math.cos(math.pi * progress)) / 2
        lowest = self.min_learning_rate_ratio
        return self.learning_rate * (lowest + (1 - lowest) * cosine)


@dataclass(frozen=True)
class StepMetrics:
    """What one step showed.

    Attributes:
        step: updates done, this one included.
        tokens: targets trained on so far.
        epochs: epoch-equivalents of the training text so far.
        loss: mean of the batch before the update, nats per token.
        grad_norm: of the whole gradient before clipping.
        lr: learning rate of the update.
        step_time_s: from asking for the batch to the end of the update, device synchronised.
    """

    step: int
    tokens: int
    epochs: float
    loss: float
    grad_norm: float
    lr: float
    step_time_s: float


def make_optimizer(model: GPT, config: TrainConfig) -> torch.optim.AdamW:
    """Return AdamW with weight decay on matrices only, fused where torch has it."""
    parameters = list(model.parameters())
    groups: list[dict[str, Any]] = [
        {"params": [p for p in parameters if p.dim() >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
    ]
    betas = (config.beta1, config.beta2)
    try:
        return torch.optim.AdamW(groups, lr=config.learning_rate, betas=betas, fused=True)
    except RuntimeError:  # torch's way of saying that this device has no fused kernel
        return torch.optim.AdamW(groups, lr=config.learning_rate, betas=betas)


def prepare(model: GPT, config: TrainConfig, device: torch.device) -> float | None:
    """Set up `model` as `config` says and compile it now, so that no step pays for that.

    Dropout's random draws are not touched: `train` seeds them anew before every step.

    Returns:
        Seconds that compiling took, one forward and backward pass included; None if it was not
        asked for.

    Raises:
        ValueError: the model cannot be compiled here.
    """
    model.transformer.recompute = config.recompute
    if config.compile is None:
        return None
    started_ns = time.perf_counter_ns()
    model.transformer.compile(dynamic=False, **COMPILERS[config.compile])
    inputs = torch.zeros(config.batch_size, config.block_size, dtype=torch.int64, device=device)
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


def train_step(
    model: GPT,
    optimizer: torch.optim.Optimizer,
    inputs: Tensor,
    targets: Tensor,
    *,
    precision: str = "fp32",
    grad_clip: float = 1.0,
    mark: Callable[[str], None] | None = None,
) -> tuple[Tensor, Tensor]:
    """Update the weights once; never wait for the device.

    Args:
        model: in training mode, on the device of the batch.
        optimizer: of the model's parameters.
        inputs: (B, T), int64.
        targets: (B, T), int64.
        precision: of the products; weights, gradients and optimizer stay float32.
        grad_clip: greatest norm of the whole gradient; `math.inf` for none.
        mark: called after each phase with its name: forward (up to the head), loss (the head,
            the cross-entropy and the gradients of both), backward (of the rest), optimizer. To
            time phases it must synchronise the device.

    Returns:
        The loss before the update and the norm of the gradient before clipping: scalars on the
        device, detached.
    """
    mark = mark or (lambda _phase: None)
    optimizer.zero_grad(set_to_none=True)
    with matmul_precision(precision):
        with autocast(inputs.device, precision):
            # One layout of inputs: compiled once, for every batch.
            hidden, waiting = model.transformer(inputs.contiguous())
        mark("forward")
        with autocast(inputs.device, precision):
            loss = linear_cross_entropy(hidden, model.lm_head.weight, targets, waiting)
        mark("loss")
        loss.backward()  # type: ignore[no-untyped-call]
    mark("backward")
    grad_norm = _clip_gradient(model, grad_clip)
    optimizer.step()
    mark("optimizer")
    return loss.detach(), grad_norm.detach()


def _clip_gradient(model: GPT, greatest: float) -> Tensor:
    """Return the norm of the whole gradient, and bring that to `greatest` where it is above.

    On a CPU in half the time of torch's `clip_grad_norm_` or less (docs/decisions/0017).
    """
    parameters = [p for p in model.parameters() if p.grad is not None]
    grads = [p.grad.flatten() for p in parameters if p.grad is not None]
    if grads[0].device.type != "cpu":
        return torch.nn.utils.clip_grad_norm_(parameters, greatest)
    norm = torch.stack([grad.dot(grad) for grad in grads]).sum().sqrt()
    if not norm <= greatest:
        torch.nn.utils.clip_grads_with_norm_(parameters, greatest, norm)
    return norm


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
    """Train from `first_step` updates to `config.steps`, yielding after each.

    With dropout, torch's global generators are seeded anew before every step.

    Args:
        model: on `device`; put into training mode before every step.
        optimizer: of the model's parameters.
        batch_at: updates done → inputs and targets (B, T), int64, for the next; on any device.
        config: the schedule.
        first_step: updates done already.
        device: of the model.
        epochs_per_step: epoch-equivalents in one batch.

    Raises:
        ValueError: a batch has another shape than `config` says, or the loss or gradient is not
            finite; the update with that gradient is done, so restore an earlier checkpoint.
    """
    shape = (config.batch_size, config.block_size)
    for step in range(first_step + 1, config.steps + 1):
        started_ns = time.perf_counter_ns()
        model.train()
        if model.config.dropout:
            torch.manual_seed(_dropout_seed(config.seed, step))
        lr = config.learning_rate_at(step)
        for group in optimizer.param_groups:
            group["lr"] = lr
        inputs, targets = (to_device(ids, device) for ids in batch_at(step - 1))
        if inputs.shape != shape:
            raise ValueError(
                f"the batch of step {step} is {tuple(inputs.shape)}; the config says {shape}: "
                "make batch_at and TrainConfig agree"
            )
        loss, grad_norm = train_step(
            model,
            optimizer,
            inputs,
            targets,
            precision=config.precision,
            grad_clip=config.grad_clip,
        )
        synchronize(device)
        step_time_s = (time.perf_counter_ns() - started_ns) / 1e9
        metrics = StepMetrics(
            step=step,
            tokens=step * config.batch_size * config.block_size,
            epochs=step * epochs_per_step,
            loss=loss.item(),
            grad_norm=grad_norm.item(),
            lr=lr,
            step_time_s=step_time_s,
        )
        if not (math.isfinite(metrics.loss) and math.isfinite(metrics.grad_norm)):
            raise ValueError(
                f"training diverged at step {step}: loss {metrics.loss}, gradient norm "
                f"{metrics.grad_norm}; train in a new folder with a learning_rate below "
                f"{config.learning_rate:g} or with more warmup_steps"
            )
        yield metrics


def _dropout_seed(seed: int, step: int) -> int:
    return int(np.random.SeedSequence(seed, spawn_key=(step,)).generate_state(1, np.uint64)[0])
