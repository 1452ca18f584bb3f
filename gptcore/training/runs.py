"""A training run in a folder: a log, checkpoints and a summary, resumable after a crash or kill.

- `metrics.jsonl` has one line of StepMetrics for each step, and in it the key `crc32`
  (`gptcore/lines.py`). When a run is resumed, the lines after the checkpoint are deleted, because
  those steps are done again.
- `checkpoints/` holds the newest two checkpoints.
- `summary.json` has `finished`, `step` (updates done), `steps`, `tokens`, `epochs`, `final_loss`
  (the loss of the last batch), `train_time_s` (the sum over steps), `compile_time_s` (spent before
  the first step of this session; null without compiling), `n_params`, `device`, `precision` and
  `resumed_from` (a list of steps).
"""

import json
import math
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch

from gptcore.checks import check_number, check_whole
from gptcore.files import WriteError, lock_folder, remove_partials, write_whole
from gptcore.lines import CHECKSUM, Appender, dump_line, load_line, load_lines
from gptcore.model.gpt import GPT
from gptcore.reading import read_bytes, read_json
from gptcore.training import checkpoints
from gptcore.training.compiling import prepare
from gptcore.training.config import StepMetrics, TrainConfig
from gptcore.training.loop import BatchAt, train
from gptcore.training.step import make_optimizer

LOG_NAME = "metrics.jsonl"
SUMMARY_NAME = "summary.json"
WARNINGS_SHOWN = 5
CHECKPOINT_STEPS = 50
CHECKPOINT_SECONDS = 60.0

OnStep = Callable[[StepMetrics], None]


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
    on_step: OnStep | None = None,
) -> dict[str, Any]:
    """Train to the last step and keep a log, checkpoints and a summary in `out_dir`.

    The first Ctrl-C waits for the end of the step, writes a checkpoint and raises
    KeyboardInterrupt; a second one does not wait.

    Args:
        out_dir: the folder of the run; it is created if it is missing.
        model: the model; it is moved to `device`.
        batch_at: the batch of each step, a pure function, so that a resumed run repeats batches.
        config: the settings of the training.
        device: where to train.
        fingerprint: further settings that must be equal on resume, as values that JSON can hold.
        epochs_per_step: the epoch-equivalents in one batch.
        resume: continue from the newest undamaged checkpoint, or start if there is none.
        checkpoint_every: steps between checkpoints; None: 50 steps or 60 s, whichever comes first.
            The last step always has a checkpoint.
        on_step: called after each step is logged.

    Returns:
        The content of `summary.json`.

    Raises:
        WriteError: another run is using `out_dir`, or a file in it cannot be written.
        ValueError: `out_dir` holds a run and `resume` is false; the run there has other settings;
            its log or all its checkpoints are damaged; or training diverged.
    """
    if checkpoint_every is not None:
        check_whole("checkpoint_every", checkpoint_every)
    fingerprint = {**fingerprint, "model": asdict(model.config), "train": asdict(config)}
    optimizer = make_optimizer(model.to(device), config)
    run = _Run(out_dir, model, optimizer, config, device, fingerprint)
    with lock_folder(out_dir):
        run.open(resume=resume)
        return _train(run, batch_at, epochs_per_step, checkpoint_every, on_step)


@dataclass
class _Run:
    """A run and its folder: what is restored, saved and summarised.

    Attributes:
        first_step: the number of updates done when the run was opened.
        resumed_from: the steps from which the run was resumed, this time included.
    """

    out_dir: Path
    model: GPT
    optimizer: torch.optim.Optimizer
    config: TrainConfig
    device: torch.device
    fingerprint: dict[str, Any]
    first_step: int = 0
    resumed_from: list[int] = field(default_factory=list)

    @property
    def log_path(self) -> Path:
        return self.out_dir / LOG_NAME

    @property
    def checkpoints(self) -> Path:
        return self.out_dir / "checkpoints"

    def open(self, *, resume: bool) -> None:
        """Restore the newest undamaged checkpoint, or start an empty log."""
        folder = self.checkpoints
        if not resume and (self.log_path.exists() or checkpoints.latest_checkpoint(folder)):
            raise ValueError(
                f"{self.out_dir} holds a run; continue it with --resume or use another folder"
            )
        for place in (self.out_dir, folder):
            remove_partials(place)
        checkpoint = checkpoints.load_checkpoint(folder)
        if checkpoint is None:
            write_whole(self.log_path, b"")
            return
        self.first_step = checkpoints.restore_checkpoint(
            checkpoint, self.model, self.optimizer, self.fingerprint
        )
        self.resumed_from = _cut_run(self.out_dir, self.first_step)
        checkpoints.remove_checkpoints_after(folder, self.first_step)  # newer ones are damaged
        if self.first_step < self.config.steps:
            self.resumed_from.append(self.first_step)

    def save(self, step: int) -> None:
        checkpoints.save_checkpoint(
            self.checkpoints, step, self.model, self.optimizer, self.fingerprint
        )

    def summarise(self, compile_time_s: float | None) -> dict[str, Any]:
        """Write and return the summary of the run so far."""
        log, _ = read_log(self.log_path)
        last = log[-1] if log else {"step": 0, "tokens": 0, "epochs": 0.0, "loss": None}
        summary = {
            "finished": last["step"] == self.config.steps,
            "step": last["step"],
            "steps": self.config.steps,
            "tokens": last["tokens"],
            "epochs": last["epochs"],
            "final_loss": last["loss"],
            "train_time_s": math.fsum(line["step_time_s"] for line in log),
            "compile_time_s": compile_time_s,
            "n_params": self.model.n_params,
            "device": str(self.device),
            "precision": self.config.precision,
            "resumed_from": self.resumed_from,
        }
        write_whole(self.out_dir / SUMMARY_NAME, json.dumps(summary, indent=2) + "\n")
        return summary


def _train(
    run: _Run,
    batch_at: BatchAt,
    epochs_per_step: float,
    checkpoint_every: int | None,
    on_step: OnStep | None,
) -> dict[str, Any]:
    """Train an open run to its last step, and return its summary."""
    run.summarise(None)
    compile_time_s = prepare(run.model, run.config, run.device)
    steps = train(
        run.model,
        run.optimizer,
        batch_at,
        run.config,
        first_step=run.first_step,
        device=run.device,
        epochs_per_step=epochs_per_step,
    )
    try:
        _record(steps, run, checkpoint_every, on_step)
    except BaseException:
        with suppress(WriteError):  # the first error is the one to tell
            run.summarise(compile_time_s)
        raise
    return run.summarise(compile_time_s)


def _record(
    steps: Iterator[StepMetrics],
    run: _Run,
    checkpoint_every: int | None,
    on_step: OnStep | None,
) -> None:
    """Log every step; save a checkpoint when one is due, at the last step and on Ctrl-C."""
    unsaved_steps, saved_at = 0, time.monotonic()
    with Appender(run.log_path) as log, _interrupt_after_step() as interrupted:
        for metrics in steps:
            log.append(dump_line(asdict(metrics)), flush=False)
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
            if due or stop or metrics.step == run.config.steps:
                log.flush()  # a checkpoint on disk implies that its log is, too
                run.save(metrics.step)
                unsaved_steps, saved_at = 0, time.monotonic()
            if stop:
                raise KeyboardInterrupt


@contextmanager
def _interrupt_after_step() -> Iterator[threading.Event]:
    """Let the first Ctrl-C set the yielded event instead of interrupting an update half-way.

    A second Ctrl-C does what the first one did before: as a rule it raises KeyboardInterrupt at
    once. Outside the main thread, or where Python does not handle SIGINT, nothing is changed.
    """
    interrupted, before = threading.Event(), signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield interrupted
        return

    def request(_signal: int, _frame: object) -> None:
        interrupted.set()
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, request)
    try:
        yield interrupted
    finally:
        signal.signal(signal.SIGINT, before)


def _cut_run(out_dir: Path, step: int) -> list[int]:
    """Delete the log lines after `step`; return the steps of earlier resumptions.

    The steps after `step` are done and logged again, so each step is logged once.
    """
    log_path, summary_path = out_dir / LOG_NAME, out_dir / SUMMARY_NAME
    for path in (log_path, summary_path):
        if not path.exists():
            raise ValueError(f"{path} is missing; put it back or train in a new folder")
    log, damaged = read_log(log_path)
    kept = [entry for entry in log if entry["step"] <= step]
    if len(kept) < step and not damaged:
        raise ValueError(
            f"{log_path} has {len(kept)} steps and the checkpoint {step}; put the whole log back "
            "or train in a new folder"
        )
    if step and not kept:
        raise ValueError(f"{damaged[0]}; no other line is of use: train in a new folder")
    if any(earlier["step"] >= later["step"] for earlier, later in pairwise(kept)):
        raise ValueError(
            f"{log_path} has a step twice or out of order; put the log of this run back or train "
            "in a new folder"
        )
    for warning in damaged[:WARNINGS_SHOWN] if len(kept) < step else []:
        warnings.warn(warning, stacklevel=2)
    write_whole(log_path, "".join(f"{dump_line(entry)}\n" for entry in kept))
    return _resumptions(summary_path)


def _resumptions(path: Path) -> list[int]:
    """Return the steps of earlier resumptions from the summary of a run.

    Raises:
        ValueError: it is not such a summary.
    """
    summary = read_json(path)
    steps = summary.get("resumed_from") if isinstance(summary, dict) else None
    if not isinstance(steps, list) or not all(type(step) is int and step >= 0 for step in steps):
        raise ValueError(
            f"{path} has no list of steps as resumed_from: put the summary of this run back, or "
            "train in a new folder"
        )
    return steps


def read_log(path: Path) -> tuple[list[dict[str, Any]], list[str]]:
    """Read the log of a run.

    Returns:
        The values of StepMetrics of each step, and a warning for each line that is left out,
        because it is damaged or not such a line. Lines of older versions have no checksum.
    """
    return load_lines(read_bytes(path), str(path), _load_step)


def _load_step(line: str) -> dict[str, Any]:
    entry = load_line(line)
    entry.pop(CHECKSUM, None)
    names = StepMetrics.__dataclass_fields__.keys()
    if entry.keys() != names:
        raise ValueError(f"its keys must be {', '.join(names)}")
    check_whole("step", entry["step"])
    for name, value in entry.items():
        check_number(name, value, "[0, inf)")
    return entry
