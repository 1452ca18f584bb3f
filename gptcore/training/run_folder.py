"""The folder of a training run: what is restored from it, saved in it, and summarised there.

`runs.py` says what it holds.
"""

import json
import math
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Any

import torch

from gptcore.cost.energy import Energy
from gptcore.files import remove_partials, write_whole
from gptcore.lines import dump_line
from gptcore.model.gpt import GPT
from gptcore.training import checkpoints, stopping
from gptcore.training.config import TrainConfig
from gptcore.training.distributed import Engine
from gptcore.training.loop import diverged
from gptcore.training.resuming import (
    complete_settings,
    extension,
    keep_steps,
    read_energy,
    read_history,
    read_log,
)

LOG_NAME = "metrics.jsonl"
SUMMARY_NAME = "summary.json"


@dataclass
class Run:
    """A run and its folder: what is restored, saved and summarised.

    Attributes:
        average: the average of the weights, if the run has one.
        first_step: the number of updates done when the run was opened.
        engine: what trains the model on several processes; None in a run of one.
        resumed_from: the steps from which the run was resumed, this time included.
        world_sizes: the number of processes of each session, this one included.
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
    engine: Engine | None = None
    first_step: int = 0
    resumed_from: list[int] = field(default_factory=list)
    world_sizes: list[int] = field(default_factory=list)
    extensions: list[dict[str, Any]] = field(default_factory=list)
    energy: Energy = field(default_factory=Energy)
    stop: stopping.Stop = field(default_factory=stopping.Stop)

    @property
    def log_path(self) -> Path:
        """The log of the run."""
        return self.out_dir / LOG_NAME

    @property
    def checkpoints(self) -> Path:
        """The folder of the checkpoints."""
        return self.out_dir / "checkpoints"

    @property
    def world_size(self) -> int:
        """The number of processes of this session."""
        return self.engine.world.size if self.engine else 1

    def open(self, *, resume: bool) -> None:
        """Restore the newest undamaged checkpoint, or start an empty log."""
        folder = self.checkpoints
        if not resume and (self.log_path.exists() or checkpoints.latest_checkpoint(folder)):
            raise ValueError(
                f"{self.out_dir} holds a run; continue it with --resume or use another folder"
            )
        for place in (self.out_dir, folder):
            remove_partials(place)
        checkpoint = self._find()
        if checkpoint is None:
            write_whole(self.log_path, b"")
            self.world_sizes = [self.world_size]
            self.restore(None)
            return
        planned = complete_settings(checkpoint).get("steps", self.config.steps)
        if type(planned) is int and planned != self.config.steps:
            checkpoint = self._extend(checkpoint, planned)
        self.restore(checkpoint)
        self._cut(planned)
        if self.first_step < self.config.steps:
            self.resumed_from.append(self.first_step)
            self.world_sizes.append(self.world_size)

    def _find(self, at_most: int | None = None) -> dict[str, Any] | None:
        read = checkpoints.read_about if self.engine else checkpoints.read_any
        return checkpoints.load_checkpoint(self.checkpoints, at_most, read)

    def restore(self, checkpoint: dict[str, Any] | None) -> None:
        """Load a checkpoint, in every process; None begins afresh."""
        if checkpoint:
            checkpoints.check_fingerprint(checkpoint, self.fingerprint)
        if self.engine:
            step = checkpoint["step"] if checkpoint else 0
            self.first_step = self.engine.restore(self.checkpoints, step, self.optimizer)
        elif checkpoint:
            self.first_step = checkpoints.restore_checkpoint(
                checkpoint, self.model, self.optimizer, self.fingerprint, self.average
            )

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
                    chosen = self._find(start) or newest
        complete_settings(chosen).update(steps=steps, warmup_steps=self.config.warmup_steps)
        return chosen

    def _cut(self, planned: int) -> None:
        """Delete what came after the checkpoint, and read what happened to the run before."""
        summary_path = self.out_dir / SUMMARY_NAME
        for path in (self.log_path, summary_path):
            if not path.exists():
                raise ValueError(f"{path} is missing; put it back or train in a new folder")
        log = keep_steps(*read_log(self.log_path), self.first_step, self.log_path)
        self.resumed_from, self.world_sizes, self.extensions = read_history(summary_path)
        self.energy = read_energy(summary_path, self.config.steps)
        # Newer checkpoints are damaged, or of a decay. They go before the log that they belong to.
        checkpoints.remove_checkpoints_after(self.checkpoints, self.first_step)
        write_whole(self.log_path, "".join(f"{dump_line(entry)}\n" for entry in log))
        if planned != self.config.steps:
            change = extension(log, self.first_step, planned, self.config)
            self.extensions = [*(e for e in self.extensions if e != change), change]

    def save(self, step: int) -> None:
        """Write a checkpoint, if all of its numbers are finite."""
        if not self._is_finite():
            what = "a weight or the state of the optimizer is not finite after the update"
            raise diverged(step, what, self.config)
        if self.engine:
            self.engine.save(self.checkpoints, step, self.optimizer, self.fingerprint)
            return
        checkpoints.save_checkpoint(
            self.checkpoints,
            step,
            self.model,
            self.optimizer,
            self.fingerprint,
            average=self.average,
            keep=self.config.decay_start,
        )

    def _is_finite(self) -> bool:
        if self.engine:
            return self.engine.is_finite(self.optimizer)
        models = [self.model] if self.average is None else [self.model, self.average]
        weights = [model.parameters() for model in models]
        states = [state.values() for state in self.optimizer.state.values()]
        return all(bool(t.isfinite().all()) for t in chain(*weights, *states))

    def pause(self, step: int, *, is_due: bool) -> tuple[bool, bool]:
        """Return whether to save a checkpoint after a step, and whether to end.

        All processes agree: the first one says what is due, and a signal to one is to all.
        """
        stop = self.stop.number or 0
        if self.engine:
            due, stop = self.engine.world.greatest(int(is_due), stop)
            is_due = bool(due)
            if stop and self.stop.number is None:
                self.stop.ask(stop)
        return is_due or bool(stop) or step in (self.config.decay_start, self.config.steps), bool(
            stop
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
            "world_size": self.world_size,
            "world_sizes": self.world_sizes,
            "engine": self.engine.name if self.engine else None,
            "extensions": self.extensions,
        }
        write_whole(self.out_dir / SUMMARY_NAME, json.dumps(summary, indent=2) + "\n")
        return summary
