"""A training run that is kept on disk until the record of its case is there too.

The folder of a run has `run/`, which is what `gptcore train` keeps (a log and checkpoints), and
`curve.jsonl`, one line for each evaluation along the way. A killed run goes on from its newest
checkpoint, and its losses are those of a run that was never killed.
"""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from gptcore.files import lock_folder, write_errors
from gptcore.lines import CHECKSUM, Appender, dump_line, load_line, load_lines
from gptcore.model.gpt import GPT
from gptcore.plain_text import shorten
from gptcore.reading import read_bytes, read_json
from gptcore.training.checkpoints import load_checkpoint, remove_checkpoints_after
from gptcore.training.config import TrainConfig
from gptcore.training.loop import BatchAt
from gptcore.training.resuming import read_log
from gptcore.training.run_folder import LOG_NAME, SUMMARY_NAME
from gptcore.training.runs import run_training

RUN_NAME, CURVE_NAME = "run", "curve.jsonl"
CHECKPOINT_S = 30.0
"""Seconds between checkpoints; a shorter run has one at its end alone."""
NOTED = ("resumed_from", "energy_source")
"""What a record takes over from the summary as facts."""

Row = dict[str, Any]


@dataclass(frozen=True)
class KeptRun:
    """What a run that has reached its last step has left.

    Attributes:
        log: the metrics of every step.
        curve: one row for each evaluation along the way, in the order of the steps.
        facts: `resumed_from`, the steps from which the run went on; `energy_source`, the energy
            counters or why there were none; and `warnings`, if any.
        energy_j: what the counters showed for training and evaluations; None without counters.
    """

    log: list[Row]
    curve: list[Row]
    facts: dict[str, Any]
    energy_j: float | None = None

    @property
    def train_tokens_per_s(self) -> float:
        """Return the training speed, evaluation excluded."""
        return float(self.log[-1]["tokens"] / sum(row["step_time_s"] for row in self.log))


def train_kept(
    folder: Path,
    model: GPT,
    batch_at: BatchAt,
    config: TrainConfig,
    *,
    device: torch.device,
    fingerprint: dict[str, Any],
    epochs_per_step: float,
    points: Collection[int],
    measure: Callable[[int], Row],
    checkpoint_s: float = CHECKPOINT_S,
) -> KeptRun:
    """Train in a folder to the last step, from its newest checkpoint on where it has one.

    What cannot be gone on with, because of damage, is removed: the run begins again, and says so.

    Args: those of `run_training`, and
        folder: the folder of this run alone.
        points: the steps (updates done) after which `measure` is called; it may hold 0.
        measure: returns a row for a step, as values that JSON can hold; `step` is one of them.
        checkpoint_s: seconds between checkpoints.
    """
    told = _repair(folder, points)
    path = folder / CURVE_NAME
    with lock_folder(folder), Appender(path) as file:
        curve = {row["step"]: row for row in _read_curve(path)}

        def note(step: int) -> None:
            if step in points and step not in curve:
                curve[step] = measure(step)
                file.append(dump_line(curve[step]))

        note(0)
        summary = run_training(
            folder / RUN_NAME,
            model,
            batch_at,
            config,
            device=device,
            fingerprint=fingerprint,
            epochs_per_step=epochs_per_step,
            resume=True,
            checkpoint_every=config.steps,
            checkpoint_s=checkpoint_s,
            on_step=lambda metrics: note(metrics.step),
        )
    log, _ = read_log(folder / RUN_NAME / LOG_NAME)
    facts = {name: summary[name] for name in NOTED} | ({"warnings": told} if told else {})
    return KeptRun(log, [curve[step] for step in sorted(curve)], facts, summary["energy_j"])


def _repair(folder: Path, points: Collection[int]) -> list[str]:
    """Remove what is damaged of the run in a folder; return sentences that say so."""
    run = folder / RUN_NAME
    try:
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            checkpoint = load_checkpoint(run / "checkpoints")
        if checkpoint is None:
            return []
        _check_whole(folder, checkpoint["step"], points)
    except ValueError as error:
        with write_errors(folder):
            shutil.rmtree(folder)
        return [f"the training run began again, because of damage: {shorten(str(error), 200)}"]
    remove_checkpoints_after(run / "checkpoints", checkpoint["step"])
    return [str(warning.message) for warning in told]


def _check_whole(folder: Path, step: int, points: Collection[int]) -> None:
    """Refuse a run that lacks something of what came before its checkpoint at `step`."""
    run, curve = folder / RUN_NAME, folder / CURVE_NAME
    read_json(run / SUMMARY_NAME)
    logged = {row["step"] for row in read_log(run / LOG_NAME)[0]}
    noted = {row["step"] for row in _read_curve(curve)}
    for path, has, needs in (
        (run / LOG_NAME, logged, set(range(1, step + 1))),
        (curve, noted, {point for point in points if point <= step}),
    ):
        if needs - has:
            raise ValueError(f"{path} lacks step {min(needs - has)}")


def _read_curve(path: Path) -> list[Row]:
    """Return the rows that are whole."""
    return load_lines(read_bytes(path), str(path), _load_row)[0]


def _load_row(line: str) -> Row:
    row = load_line(line)
    if CHECKSUM not in row or type(row.get("step")) is not int:
        raise ValueError(f"it has no {CHECKSUM} or no step")
    del row[CHECKSUM]
    return row
