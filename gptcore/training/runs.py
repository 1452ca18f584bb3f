"""A training run in a folder: a log, checkpoints and a summary, resumable after a crash or kill.

- `metrics.jsonl` has one line of StepMetrics for each step, and in it the key `crc32`
  (`gptcore/lines.py`). When a run is resumed, the lines after the checkpoint are deleted, because
  those steps are done again.
- `checkpoints/` holds the newest two checkpoints, and that at which the decay of the schedule `wsd`
  begins.
- `summary.json` has `finished`, `step` (updates done), `steps`, `tokens`, `epochs`, `final_loss`
  (the loss of the last batch), `train_time_s` (the sum over steps), `tokens_per_s` (their mean
  speed), `memory_bytes` (the largest of the steps), `compile_time_s` (spent before the first step
  of this session; null without compiling), `energy_j` (what the energy counters showed for all
  steps; null without counters, or for a resumed run), `energy_source` (the counters, or why there
  is no energy), `n_params`, `device`, `precision`, `schedule`, `resumed_from` (a list of steps) and
  `extensions` (`resuming.extension`).
"""

import json
import math
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import MISSING, asdict, dataclass, field, fields, replace
from itertools import chain
from pathlib import Path
from typing import Any

import torch

from gptcore.checks import check_number, check_whole
from gptcore.cost.energy import Energy, measuring_energy
from gptcore.devices import gpu_uuid
from gptcore.files import WriteError, lock_folder, remove_partials, write_whole
from gptcore.lines import CHECKSUM, Appender, dump_line, load_line, load_lines
from gptcore.model.gpt import GPT
from gptcore.reading import read_bytes
from gptcore.training import checkpoints, stopping
from gptcore.training.averaging import begin_average
from gptcore.training.compiling import prepare
from gptcore.training.config import StepMetrics, TrainConfig
from gptcore.training.loop import BatchAt, DivergedError, diverged, train
from gptcore.training.resuming import extension, keep_steps, read_energy, read_history
from gptcore.training.step import make_optimizer

LOG_NAME = "metrics.jsonl"
SUMMARY_NAME = "summary.json"
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
    checkpoint_every: int = CHECKPOINT_STEPS,
    checkpoint_s: float = CHECKPOINT_SECONDS,
    on_step: OnStep | None = None,
) -> dict[str, Any]:
    """Train to the last step and keep a log, checkpoints and a summary in `out_dir`.

    The first Ctrl-C, SIGTERM or SIGHUP ends the run after the step, with a checkpoint and the
    summary. A second one does not wait.

    Args:
        out_dir: the folder of the run; it is created if it is missing.
        model: the model; it is moved to `device`.
        batch_at: the batch of each step, a pure function, so that a resumed run repeats batches.
        config: the settings of the training.
        device: where to train.
        fingerprint: further settings that must be equal on resume, as values that JSON can hold.
        epochs_per_step: the epoch-equivalents in one batch.
        resume: continue from the newest undamaged checkpoint, or start if there is none. There
            may be more steps than before; a run in the decay of `wsd` goes back to its start.
        checkpoint_every: steps after which a checkpoint is due.
        checkpoint_s: seconds after which one is due.
        on_step: called after each step is logged.

    Returns:
        The content of `summary.json`.

    Raises:
        WriteError: another run is using `out_dir`, or a file in it cannot be written.
        ValueError: `out_dir` holds a run that cannot be continued so, or training diverged.
    """
    check_whole("checkpoint_every", checkpoint_every)
    fingerprint = {**fingerprint, "model": asdict(model.config), "train": asdict(config)}
    optimizer = make_optimizer(model.to(device), config)
    average = None if config.ema_decay is None else begin_average(model)
    run = _Run(out_dir, model, optimizer, config, device, fingerprint, average)
    with lock_folder(out_dir):
        run.open(resume=resume)
        summary = _train(run, batch_at, epochs_per_step, (checkpoint_every, checkpoint_s), on_step)
    stopping.end(run.stop)
    return summary


@dataclass
class _Run:
    """A run and its folder: what is restored, saved and summarised.

    Attributes:
        average: the average of the weights, if the run has one.
        first_step: the number of updates done when the run was opened.
        resumed_from: the steps from which the run was resumed, this time included.
        extensions: what more steps changed, from `extension`, this time included.
        energy: the energy of all steps, for a run that was finished before it was opened.
        stop: whether a signal has asked for the end.
    """

    out_dir: Path
    model: GPT
    optimizer: torch.optim.Optimizer
    config: TrainConfig
    device: torch.device
    fingerprint: dict[str, Any]
    average: GPT | None
    first_step: int = 0
    resumed_from: list[int] = field(default_factory=list)
    extensions: list[dict[str, Any]] = field(default_factory=list)
    energy: Energy = field(default_factory=Energy)
    stop: stopping.Stop = field(default_factory=stopping.Stop)

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
        planned = _complete_settings(checkpoint).get("steps", self.config.steps)
        if type(planned) is int and planned != self.config.steps:
            checkpoint = self._extend(checkpoint, planned)
        self.first_step = checkpoints.restore_checkpoint(
            checkpoint, self.model, self.optimizer, self.fingerprint, self.average
        )
        self._cut(planned)
        if self.first_step < self.config.steps:
            self.resumed_from.append(self.first_step)

    def _extend(self, newest: dict[str, Any], planned: int) -> dict[str, Any]:
        """Return the checkpoint from which a run goes on to more steps than were planned.

        It is the newest one before the decay if there is one, else `newest`. Those of its settings
        that follow from the number of steps become those of this run.
        """
        steps, done, chosen = self.config.steps, newest["step"], newest
        if steps < planned:
            raise ValueError(
                f"steps is {steps}, and the run in {self.out_dir} was planned for {planned}, of "
                f"which {done} are done: give at least {planned}, or train in a new folder"
            )
        if self.config.schedule == "wsd":
            start = replace(self.config, steps=planned).decay_start
            if done > start:
                with suppress(ValueError):  # it is damaged
                    chosen = checkpoints.load_checkpoint(self.checkpoints, start) or newest
        _complete_settings(chosen).update(steps=steps, warmup_steps=self.config.warmup_steps)
        return chosen

    def _cut(self, planned: int) -> None:
        """Delete what came after the checkpoint, and read what happened to the run before."""
        summary_path = self.out_dir / SUMMARY_NAME
        for path in (self.log_path, summary_path):
            if not path.exists():
                raise ValueError(f"{path} is missing; put it back or train in a new folder")
        log = keep_steps(*read_log(self.log_path), self.first_step, self.log_path)
        self.resumed_from, self.extensions = read_history(summary_path)
        self.energy = read_energy(summary_path, self.config.steps)
        # Newer checkpoints are damaged, or of a decay. They go before the log that they belong to.
        checkpoints.remove_checkpoints_after(self.checkpoints, self.first_step)
        write_whole(self.log_path, "".join(f"{dump_line(entry)}\n" for entry in log))
        if planned != self.config.steps:
            change = extension(log, self.first_step, planned, self.config)
            self.extensions = [*(e for e in self.extensions if e != change), change]

    def save(self, step: int) -> None:
        """Write a checkpoint, if all of its numbers are finite."""
        models = [self.model] if self.average is None else [self.model, self.average]
        weights = [model.parameters() for model in models]
        states = [state.values() for state in self.optimizer.state.values()]
        if not all(t.isfinite().all() for t in chain(*weights, *states)):
            what = "a weight or the state of the optimizer is not finite after the update"
            raise diverged(step, what, self.config)
        checkpoints.save_checkpoint(
            self.checkpoints,
            step,
            self.model,
            self.optimizer,
            self.fingerprint,
            average=self.average,
            keep=self.config.decay_start,
        )

    def summarise(self, compile_time_s: float | None, energy: Energy) -> dict[str, Any]:
        """Write and return the summary of the run so far."""
        log, _ = read_log(self.log_path)
        last = log[-1] if log else {"step": 0, "tokens": 0, "epochs": 0.0, "loss": None}
        train_time_s = math.fsum(line["step_time_s"] for line in log)
        tokens = len(log) * self.config.batch_size * self.config.block_size
        if self.first_step:
            energy = self.energy
        memory = (line["memory_bytes"] for line in log if line["memory_bytes"] is not None)
        summary = {
            "finished": last["step"] == self.config.steps,
            "step": last["step"],
            "steps": self.config.steps,
            "tokens": last["tokens"],
            "epochs": last["epochs"],
            "final_loss": last["loss"],
            "train_time_s": train_time_s,
            "tokens_per_s": tokens / train_time_s if train_time_s else None,
            "memory_bytes": max(memory, default=None),
            "compile_time_s": compile_time_s,
            "energy_j": energy.joules,
            "energy_source": energy.source,
            "n_params": self.model.n_params,
            "device": str(self.device),
            "precision": self.config.precision,
            "schedule": self.config.schedule,
            "resumed_from": self.resumed_from,
            "extensions": self.extensions,
        }
        write_whole(self.out_dir / SUMMARY_NAME, json.dumps(summary, indent=2) + "\n")
        return summary


def _complete_settings(checkpoint: dict[str, Any]) -> dict[str, Any]:
    """Give the settings in a checkpoint of an older version what they lack; return them."""
    settings = checkpoint["fingerprint"].get("train")
    if not isinstance(settings, dict):
        return {}
    for setting in fields(TrainConfig):
        if setting.default is not MISSING:
            settings.setdefault(setting.name, setting.default)
    return settings


def _train(
    run: _Run,
    batch_at: BatchAt,
    epochs_per_step: float,
    due: tuple[int, float],
    on_step: OnStep | None,
) -> dict[str, Any]:
    """Train an open run until it ends or is to stop, and return its summary."""
    energy, uuid = Energy(), gpu_uuid(run.device)
    run.summarise(None, energy)
    compile_time_s = prepare(run.model, run.config, run.device)
    steps = train(
        run.model,
        run.optimizer,
        batch_at,
        run.config,
        first_step=run.first_step,
        device=run.device,
        epochs_per_step=epochs_per_step,
        average=run.average,
    )
    try:
        with stopping.wait_for_the_step(run.stop), measuring_energy(uuid) as energy:
            _record(steps, run, due, on_step)
    except BaseException as error:
        with suppress(WriteError):  # the first error is the one to tell
            run.summarise(compile_time_s, energy)
        if isinstance(error, DivergedError):
            last = checkpoints.latest_checkpoint(run.checkpoints)
            raise DivergedError(
                f"{error}; the last good checkpoint is {last}"
                if last
                else f"{error}; there is no checkpoint yet"
            ) from None
        raise
    return run.summarise(compile_time_s, energy)


def _record(
    steps: Iterator[StepMetrics],
    run: _Run,
    due: tuple[int, float],
    on_step: OnStep | None,
) -> None:
    """Log every step; save a checkpoint when one is due, at the last step and at a stop.

    `due` has the steps and the seconds after which one is due, whichever comes first.
    """
    (every, seconds), saved_at = due, time.monotonic()
    with Appender(run.log_path) as log:
        for metrics in steps:
            log.append(dump_line(asdict(metrics)), flush=False)
            try:
                if on_step:
                    on_step(metrics)
            except KeyboardInterrupt:
                run.stop.ask(signal.SIGINT)
            is_due = metrics.step % every == 0 or time.monotonic() - saved_at >= seconds
            ends = run.stop.number is not None
            if is_due or ends or metrics.step in (run.config.decay_start, run.config.steps):
                log.flush()  # a checkpoint on disk implies that its log is, too
                run.save(metrics.step)
                saved_at = time.monotonic()
            if ends:
                return


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
    known = {f.name: f.default for f in fields(StepMetrics)}
    entry = {name: value for name, value in known.items() if value is not MISSING} | entry
    if entry.keys() != known.keys():
        raise ValueError(f"its keys must be {', '.join(known)}")
    check_whole("step", entry["step"])
    for name, value in entry.items():
        if value is not None or known[name] is MISSING:
            check_number(name, value, "[0, inf)")
    return {name: entry[name] for name in known}
