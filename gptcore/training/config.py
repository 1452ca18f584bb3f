"""How a model is trained: the settings of a run, the ways to compile, what each step reports."""

import math
from dataclasses import dataclass
from typing import Any

from gptcore.checks import LARGEST_INT64, check_number, check_whole
from gptcore.devices import check_precision

COMPILERS: dict[str, dict[str, Any]] = {
    "inductor": {},
    "reduce-overhead": {"mode": "reduce-overhead"},
    "max-autotune": {"mode": "max-autotune"},
}
"""Ways to call `torch.compile`: name → its arguments.

`inductor`: defaults; `reduce-overhead`: CUDA graphs; `max-autotune`: tries several kernels.
"""

SCHEDULES = ("constant", "cosine", "wsd")
"""Courses of the learning rate after the warm-up; `TrainConfig.learning_rate_at` computes them.

`constant`: the peak. `cosine`: half a cosine, down to `min_learning_rate_ratio`. `wsd` (warm-up,
stable, decay): the peak, then a fall to almost zero over the last `decay_share` of the steps.
"""

WHOLE_NUMBERS = {"steps": 1, "batch_size": 1, "block_size": 1, "warmup_steps": 0, "seed": 0}
"""Field of TrainConfig → the least value allowed."""

NUMBERS = {
    "learning_rate": "(0, inf)",
    "min_learning_rate_ratio": "[0, 1]",
    "decay_share": "(0, 1]",
    "weight_decay": "[0, inf)",
    "beta1": "[0, 1)",
    "beta2": "[0, 1)",
    "grad_clip": "(0, inf]",
}
"""Field of TrainConfig → the interval that it must lie in."""


@dataclass(frozen=True)
class TrainConfig:
    """The settings of a training run.

    Attributes:
        steps: the number of updates in the whole run.
        batch_size: B, the number of windows in each batch.
        block_size: T, the number of inputs in each window.
        micro_batch_size: windows that pass through the model at once, a divisor of B; the gradients
            of a step are then accumulated. None: the whole batch at once.
        schedule: one of SCHEDULES.
        learning_rate: the peak of the schedule.
        min_learning_rate_ratio: last learning rate / peak of `cosine`; with 1 nothing decays.
        decay_share: the share of the steps in which `wsd` decays.
        warmup_steps: the steps of linear warm-up; with `cosine` at most `steps`.
        weight_decay: AdamW's weight decay, applied to matrices only.
        beta1, beta2: AdamW's decay rates of the mean gradient and of its mean square.
        grad_clip: the largest norm of the whole gradient; `math.inf` turns clipping off.
        ema_decay: the decay of an exponential moving average of the weights, which is kept beside
            them; None: there is no average.
        precision: one of `devices.PRECISIONS`.
        compile: one of COMPILERS, or None: the model is not compiled.
        recompute: whether to keep only the input of each block and to compute its activations again
            in the backward pass, which saves memory.
        seed: the seed of dropout, the only random part of a step.

    Raises:
        ValueError: a field is outside its range.
    """

    steps: int
    batch_size: int = 16
    block_size: int = 256
    micro_batch_size: int | None = None
    schedule: str = "cosine"
    learning_rate: float = 6e-4
    min_learning_rate_ratio: float = 0.1
    decay_share: float = 0.2
    warmup_steps: int = 0
    weight_decay: float = 0.1
    beta1: float = 0.9
    beta2: float = 0.95
    grad_clip: float = 1.0
    ema_decay: float | None = None
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
        if self.ema_decay is not None:
            decay = check_number("ema_decay", self.ema_decay, "(0, 1)")
            object.__setattr__(self, "ema_decay", decay)
        self._check_micro_batches()
        self._check_schedule()
        check_precision(self.precision)
        if self.compile not in (None, *COMPILERS):
            raise ValueError(
                f"compile is {self.compile!r}; choose None or one of {', '.join(COMPILERS)}"
            )
        if type(self.recompute) is not bool:
            raise ValueError(f"recompute is {self.recompute!r}: give True or False")

    def _check_micro_batches(self) -> None:
        if self.micro_batch_size is None:
            return
        size = check_whole("micro_batch_size", self.micro_batch_size, at_most=LARGEST_INT64)
        object.__setattr__(self, "micro_batch_size", size)
        if self.batch_size % size:
            raise ValueError(
                f"micro_batch_size is {size}; it must divide batch_size = {self.batch_size}"
            )

    def _check_schedule(self) -> None:
        if self.schedule not in SCHEDULES:
            raise ValueError(f"schedule is {self.schedule!r}; choose one of {', '.join(SCHEDULES)}")
        if self.schedule == "cosine" and self.warmup_steps > self.steps:
            raise ValueError(
                f"warmup_steps is {self.warmup_steps}; it must be at most steps = {self.steps}"
            )

    @property
    def tokens_per_step(self) -> int:
        """The number of targets in a batch."""
        return self.batch_size * self.block_size

    @property
    def decay_start(self) -> int:
        """The number of updates before the decay of `wsd`; with another schedule `steps`."""
        if self.schedule != "wsd":
            return self.steps
        return self.steps - max(1, round(self.decay_share * self.steps))

    def learning_rate_at(self, step: int) -> float:
        """Return the learning rate of `step` in [1, steps].

        The warm-up is linear and reaches its end at step `warmup_steps`. The cosine begins there
        and reaches its minimum at the last step. The decay of `wsd` is 1 - sqrt(share of the decay
        done before the step) (Hägele et al. 2024, arXiv:2405.18392).

        Raises:
            ValueError: `step` is outside that range.
        """
        if not 1 <= step <= self.steps:
            raise ValueError(f"step is {step}; it must be in [1, {self.steps}]")
        if step <= self.warmup_steps:
            warmed_up = self.learning_rate * step / self.warmup_steps
        else:
            warmed_up = self.learning_rate
        if self.schedule == "cosine" and step > self.warmup_steps:
            progress = (step - self.warmup_steps) / (self.steps - self.warmup_steps)
            cosine = (1 + math.cos(math.pi * progress)) / 2
            lowest = self.min_learning_rate_ratio
            return warmed_up * (lowest + (1 - lowest) * cosine)
        if step > self.decay_start:
            done = (step - 1 - self.decay_start) / (self.steps - self.decay_start)
            return warmed_up * (1 - math.sqrt(done))
        return warmed_up


@dataclass(frozen=True)
class StepMetrics:
    """What one step reports.

    Attributes:
        step: the number of updates done, this one included.
        tokens: the number of targets trained on so far.
        epochs: the epoch-equivalents of the training text so far.
        loss: the mean loss of the batch before the update, nats per token.
        grad_norm: the norm of the whole gradient before clipping.
        lr: the learning rate of the update.
        step_time_s: the time from asking for the batch to the end of the update on the device.
        tokens_per_s: the targets of the batch divided by that time.
        memory_bytes: on an accelerator, the most memory that torch's allocator held in the step; on
            a CPU, the resident memory of the process after the step. None if it cannot be read, as
            in logs of older versions.
    """

    step: int
    tokens: int
    epochs: float
    loss: float
    grad_norm: float
    lr: float
    step_time_s: float
    tokens_per_s: float | None = None
    memory_bytes: int | None = None
