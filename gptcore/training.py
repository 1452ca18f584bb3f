"""One training step, the loop around it, and runs that survive being killed.

A step is one update of the weights. Steps are numbered by the updates done, so the first is 1;
the batch of step k is `batch_at(k - 1)`. Everything random in step k (batch, dropout) is a function
of the seed and k alone, so a resumed run repeats the losses of an unbroken one.

Shapes: B sequences in a batch, T tokens in a sequence.
"""

import json
import math
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gptcore import checkpoints
from gptcore.devices import PRECISIONS, autocast, synchronize
from gptcore.loss import cross_entropy
from gptcore.model import GPT, check_int

BatchAt = Callable[[int], tuple[Tensor, Tensor]]

LOG_NAME = "metrics.jsonl"
SUMMARY_NAME = "summary.json"
CHECKPOINT_STEPS = 50
CHECKPOINT_SECONDS = 60.0


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
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "block_size"):
            check_int(name, getattr(self, name), minimum=1)
        for name in ("warmup_steps", "seed"):
            check_int(name, getattr(self, name), minimum=0)
        if self.warmup_steps > self.steps:
            raise ValueError(
                f"warmup_steps is {self.warmup_steps}; it must be at most steps = {self.steps}"
            )
        ranges: dict[str, tuple[Callable[[float], bool], str]] = {
            "learning_rate": (lambda x: 0 < x < math.inf, "greater than 0 and finite"),
            "min_learning_rate_ratio": (lambda x: 0 <= x <= 1, "in [0, 1]"),
            "weight_decay": (lambda x: 0 <= x < math.inf, "at least 0 and finite"),
            "beta1": (lambda x: 0 <= x < 1, "in [0, 1)"),
            "beta2": (lambda x: 0 <= x < 1, "in [0, 1)"),
            "grad_clip": (lambda x: x > 0, "greater than 0"),
        }
        for name, (is_allowed, allowed) in ranges.items():
            value = getattr(self, name)
            if type(value) not in (int, float) or not is_allowed(value):
                raise ValueError(f"{name} is {value!r}; it must be a number {allowed}")
        if self.precision not in PRECISIONS:
            raise ValueError(
                f"precision is {self.precision!r}; choose one of {', '.join(PRECISIONS)}"
            )

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
        precision: of the forward pass; weights and optimizer stay float32.
        grad_clip: greatest norm of the whole gradient; `math.inf` for none.
        mark: called after each phase with its name: forward, loss, backward, optimizer. To time
            phases it must synchronise the device.

    Returns:
        The loss before the update and the norm of the gradient before clipping: scalars on the
        device, detached.
    """
    mark = mark or (lambda _phase: None)
    optimizer.zero_grad(set_to_none=True)
    with autocast(inputs.device, precision):
        logits = model(inputs)
    mark("forward")
    loss = cross_entropy(logits, targets)
    del logits  # the largest tensor, and backward does not need it
    mark("loss")
    loss.backward()  # type: ignore[no-untyped-call]
    mark("backward")
    grad_norm = torch.nn.utils.clip_grad_norm_(model.parameters(), grad_clip)
    optimizer.step()
    mark("optimizer")
    return loss.detach(), grad_norm.detach()


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
        inputs, targets = (ids.to(device) for ids in batch_at(step - 1))
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


def run_training(
    out_dir: Path,
    model: GPT,
    batch_at: BatchAt,
    config: TrainConfig,
    *,
    device: torch.device,
    fingerprint: dict[str, Any],
    epochs_per_step: float,
    resume: bool = False,
    checkpoint_every: int | None = None,
    on_step: Callable[[StepMetrics], None] | None = None,
) -> dict[str, Any]:
    """Train to the end, keeping a log, checkpoints and a summary in `out_dir`.

    `metrics.jsonl` has one line of StepMetrics for each step, `summary.json` the returned summary,
    `checkpoints/` the newest two checkpoints. On resume, log lines past the checkpoint are cut.
    Ctrl-C waits for the end of the step, writes a checkpoint and raises KeyboardInterrupt; a
    second Ctrl-C does not wait.

    Args:
        out_dir: made if missing.
        model: moved to `device`.
        batch_at: as in `train`; pure, so that resuming repeats nothing and loses nothing.
        config: of the training.
        device: where to train.
        fingerprint: what must be equal on resume besides model and config, as JSON would have it.
        epochs_per_step: epoch-equivalents in one batch.
        resume: continue from the newest whole checkpoint, or start afresh if there is none.
        checkpoint_every: steps between checkpoints; None: 50 steps or 60 s, whichever is first.
            The last step always has one.
        on_step: called after each step is logged.

    Returns:
        `finished, step` (updates done) `, steps, tokens, epochs, final_loss` (of the last batch)
        `, train_time_s` (sum of the steps) `, n_params, device, precision, resumed_from` (list).

    Raises:
        ValueError: `out_dir` holds a run and `resume` is false, or the run there is another one,
            or its log or all its checkpoints are damaged, or training diverged.
    """
    if checkpoint_every is not None:
        check_int("checkpoint_every", checkpoint_every, minimum=1)
    log_path, folder = out_dir / LOG_NAME, out_dir / "checkpoints"
    if not resume and (log_path.exists() or checkpoints.latest_checkpoint(folder)):
        raise ValueError(f"{out_dir} holds a run; continue it with --resume or use another folder")
    out_dir.mkdir(parents=True, exist_ok=True)
    model.to(device)
    optimizer = make_optimizer(model, config)
    fingerprint = {**fingerprint, "model": asdict(model.config), "train": asdict(config)}
    first_step = 0
    resumed_from: list[int] = []
    if checkpoint := checkpoints.load_checkpoint(folder):
        first_step = checkpoints.restore_checkpoint(checkpoint, model, optimizer, fingerprint)
        resumed_from = _cut_run(out_dir, first_step)
        checkpoints.remove_checkpoints_after(folder, first_step)  # they are damaged
        if first_step < config.steps:
            resumed_from.append(first_step)
    else:
        checkpoints.write_atomically(log_path, lambda file: file.write(b""))
    del checkpoint  # its tensors take as much memory as model and optimizer
    summarise = partial(_write_summary, out_dir, model, config, device, resumed_from)
    summarise()
    steps = train(
        model,
        optimizer,
        batch_at,
        config,
        first_step=first_step,
        device=device,
        epochs_per_step=epochs_per_step,
    )

    def save(step: int) -> None:
        checkpoints.save_checkpoint(folder, step, model, optimizer, fingerprint)

    try:
        _record(steps, log_path, save, config.steps, checkpoint_every, on_step)
    finally:
        summary = summarise()
    return summary


def _record(
    steps: Iterator[StepMetrics],
    log_path: Path,
    save: Callable[[int], None],
    last_step: int,
    checkpoint_every: int | None,
    on_step: Callable[[StepMetrics], None] | None,
) -> None:
    """Log every step and save when due, at the last step and when interrupted."""
    unsaved_steps, saved_at = 0, time.monotonic()
    with log_path.open("ab") as log, _interrupt_after_step() as interrupted:
        for metrics in steps:
            log.write(json.dumps(asdict(metrics)).encode() + b"\n")
            log.flush()
            try:
                if on_step:
                    on_step(metrics)
            except KeyboardInterrupt:
                interrupted.set()
            unsaved_steps += 1
            if checkpoint_every is not None:
                due = metrics.step % checkpoint_every == 0
            else:
                unsaved_s = time.monotonic() - saved_at
                due = unsaved_steps >= CHECKPOINT_STEPS or unsaved_s >= CHECKPOINT_SECONDS
            stop = interrupted.is_set()
            if due or stop or metrics.step == last_step:
                os.fsync(log.fileno())  # the log reaches the disk before the checkpoint does
                save(metrics.step)
                unsaved_steps, saved_at = 0, time.monotonic()
            if stop:
                raise KeyboardInterrupt


@contextmanager
def _interrupt_after_step() -> Iterator[threading.Event]:
    """Turn the first Ctrl-C into a set event, so that no update is torn; a second one interrupts.

    Only where Ctrl-C would raise KeyboardInterrupt: other handlers and threads are left alone.
    """
    interrupted = threading.Event()
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield interrupted
        return

    def request(_signal: int, _frame: object) -> None:
        interrupted.set()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    signal.signal(signal.SIGINT, request)
    try:
        yield interrupted
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _cut_run(out_dir: Path, step: int) -> list[int]:
    """Cut the log after `step`, so that each step stands once; return the earlier resumptions."""
    log_path, summary_path = out_dir / LOG_NAME, out_dir / SUMMARY_NAME
    for path in (log_path, summary_path):
        if not path.exists():
            raise ValueError(f"{path} is missing; put it back or train in a new folder")
    lines = log_path.read_bytes().splitlines(keepends=True)
    if len(lines) < step:
        raise ValueError(
            f"{log_path} has {len(lines)} steps and the checkpoint {step}; put the whole log back "
            "or train in a new folder"
        )
    checkpoints.write_atomically(log_path, lambda file: file.writelines(lines[:step]))
    return list(json.loads(summary_path.read_bytes())["resumed_from"])


def _write_summary(
    out_dir: Path, model: GPT, config: TrainConfig, device: torch.device, resumed_from: list[int]
) -> dict[str, Any]:
    log = [json.loads(line) for line in (out_dir / LOG_NAME).read_bytes().splitlines()]
    last = log[-1] if log else {"step": 0, "tokens": 0, "epochs": 0.0, "loss": None}
    summary = {
        "finished": last["step"] == config.steps,
        "step": last["step"],
        "steps": config.steps,
        "tokens": last["tokens"],
        "epochs": last["epochs"],
        "final_loss": last["loss"],
        "train_time_s": math.fsum(line["step_time_s"] for line in log),
        "n_params": model.n_params,
        "device": str(device),
        "precision": config.precision,
        "resumed_from": resumed_from,
    }
    content = json.dumps(summary, indent=2).encode() + b"\n"
    checkpoints.write_atomically(out_dir / SUMMARY_NAME, lambda file: file.write(content))
    return summary
