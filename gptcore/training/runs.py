"""A training run in a folder: a log, checkpoints and a summary, resumable after a crash or kill."""

import json
import math
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import torch

from gptcore.checks import check_whole
from gptcore.files import write_atomically
from gptcore.model.gpt import GPT
from gptcore.training import checkpoints
from gptcore.training.compiling import prepare
from gptcore.training.config import StepMetrics, TrainConfig
from gptcore.training.loop import BatchAt, train
from gptcore.training.step import make_optimizer

LOG_NAME = "metrics.jsonl"
SUMMARY_NAME = "summary.json"
CHECKPOINT_STEPS = 50
CHECKPOINT_SECONDS = 60.0


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
    """Train to the last step and keep a log, checkpoints and a summary in `out_dir`.

    `metrics.jsonl` has one line of StepMetrics per step, `summary.json` holds the returned summary,
    and `checkpoints/` holds the newest two checkpoints. When a run is resumed, log lines after the
    checkpoint are deleted, because those steps are done again. The first Ctrl-C waits for the end
    of the step, writes a checkpoint and raises KeyboardInterrupt; a second one does not wait.

    Args:
        out_dir: the folder of the run; it is created if it is missing.
        model: the model; it is moved to `device`.
        batch_at: the batch of each step, as in `train`. It must be a pure function of the step, so
            that a resumed run sees the same batches as an uninterrupted one.
        config: the settings of the training.
        device: where to train.
        fingerprint: further settings that must be equal on resume, besides those of model and
            config; values that JSON can hold.
        epochs_per_step: the epoch-equivalents in one batch.
        resume: continue from the newest undamaged checkpoint, or start if there is none.
        checkpoint_every: steps between checkpoints; None: a checkpoint after 50 steps or 60 s,
            whichever comes first. The last step always has a checkpoint.
        on_step: called after each step is logged.

    Returns:
        `finished`, `step` (updates done), `steps`, `tokens`, `epochs`, `final_loss` (the loss of
        the last batch), `train_time_s` (the sum over steps), `compile_time_s` (spent before the
        first step of this session; None without compiling), `n_params`, `device`, `precision`,
        `resumed_from` (a list of steps).

    Raises:
        ValueError: `out_dir` holds a run and `resume` is false; the run there has other settings;
            its log or all its checkpoints are damaged; or training diverged.
    """
    if checkpoint_every is not None:
        check_whole("checkpoint_every", checkpoint_every)
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
        checkpoints.remove_checkpoints_after(folder, first_step)  # newer ones are damaged
        if first_step < config.steps:
            resumed_from.append(first_step)
    else:
        with write_atomically(log_path) as partial_log:
            partial_log.touch()
    del checkpoint  # free its tensors, which are as large as the model and the optimizer state
    summarise = partial(_write_summary, out_dir, model, config, device, resumed_from)
    summarise(None)
    compile_time_s = prepare(model, config, device)
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
        summary = summarise(compile_time_s)
    return summary


def _record(
    steps: Iterator[StepMetrics],
    log_path: Path,
    save: Callable[[int], None],
    last_step: int,
    checkpoint_every: int | None,
    on_step: Callable[[StepMetrics], None] | None,
) -> None:
    """Log every step; save a checkpoint when one is due, at the last step and on Ctrl-C."""
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
                os.fsync(log.fileno())  # a checkpoint on disk implies that its log is, too
                save(metrics.step)
                unsaved_steps, saved_at = 0, time.monotonic()
            if stop:
                raise KeyboardInterrupt


@contextmanager
def _interrupt_after_step() -> Iterator[threading.Event]:
    """Let the first Ctrl-C set the yielded event instead of interrupting an update half-way.

    A second Ctrl-C raises KeyboardInterrupt at once. Outside the main thread, or if the program has
    its own SIGINT handler, nothing is changed.
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
    """Delete the log lines after `step`; return the steps of earlier resumptions.

    The steps after `step` are done and logged again, so each step is logged once.
    """
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
    with write_atomically(log_path) as partial_log:
        partial_log.write_bytes(b"".join(lines[:step]))
    return list(json.loads(summary_path.read_bytes())["resumed_from"])


def _write_summary(
    out_dir: Path,
    model: GPT,
    config: TrainConfig,
    device: torch.device,
    resumed_from: list[int],
    compile_time_s: float | None,
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
        "compile_time_s": compile_time_s,
        "n_params": model.n_params,
        "device": str(device),
        "precision": config.precision,
        "resumed_from": resumed_from,
    }
    with write_atomically(out_dir / SUMMARY_NAME) as partial_summary:
        partial_summary.write_text(json.dumps(summary, indent=2) + "\n", newline="\n")
    return summary
