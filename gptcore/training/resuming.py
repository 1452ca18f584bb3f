"""What a resumed run keeps of its log and summary, and what more steps change."""

from __future__ import annotations

import warnings
from dataclasses import MISSING, fields
from itertools import pairwise
from pathlib import Path
from typing import Any

from gptcore.checks import check_number, check_whole
from gptcore.cost.energy import Energy
from gptcore.lines import CHECKSUM, load_line, load_lines
from gptcore.reading import read_bytes, read_json
from gptcore.training.config import StepMetrics, TrainConfig

WARNINGS_SHOWN = 5

Log = list[dict[str, Any]]


def keep_steps(log: Log, damaged: list[str], step: int, path: Path) -> Log:
    """Return the lines of a log up to `step`: the later steps are done and logged again.

    Args:
        log: the lines that could be read, from `read_log`.
        damaged: a warning for each line that could not.
        step: the number of updates in the checkpoint.
        path: the log, for the errors.

    Raises:
        ValueError: the log is shorter than the checkpoint, or its steps are out of order.
    """
    kept = [entry for entry in log if entry["step"] <= step]
    if len(kept) < step and not damaged:
        raise ValueError(
            f"{path} has {len(kept)} steps and the checkpoint {step}; put the whole log back "
            "or train in a new folder"
        )
    if step and not kept:
        raise ValueError(f"{damaged[0]}; no other line is of use: train in a new folder")
    if any(earlier["step"] >= later["step"] for earlier, later in pairwise(kept)):
        raise ValueError(
            f"{path} has a step twice or out of order; put the log of this run back or train "
            "in a new folder"
        )
    for warning in damaged[:WARNINGS_SHOWN] if len(kept) < step else []:
        warnings.warn(warning, stacklevel=2)
    return kept


def read_history(path: Path) -> tuple[list[int], list[int], list[dict[str, Any]]]:
    """Return the steps of earlier resumptions, the world sizes and the extensions of a summary.

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
    extensions = summary.get("extensions", [])  # summaries of older versions have none
    if not isinstance(extensions, list) or not all(isinstance(e, dict) for e in extensions):
        raise ValueError(
            f"{path} has no list of objects as extensions: put the summary of this run back, or "
            "train in a new folder"
        )
    sizes = summary.get("world_sizes", [1] * (len(steps) + 1))
    if not isinstance(sizes, list) or not all(type(size) is int and size >= 1 for size in sizes):
        raise ValueError(
            f"{path} has no list of whole numbers as world_sizes: put the summary of this run "
            "back, or train in a new folder"
        )
    return steps, sizes, extensions


def read_energy(path: Path, steps: int) -> Energy:
    """Return the energy of all steps from the summary of a run, if it shows that they were done."""
    summary = read_json(path)
    joules, source = (summary.get(key) for key in ("energy_j", "energy_source"))
    if summary.get("step") != steps or not isinstance(source, str):
        return Energy(None, "the run was resumed, and earlier sessions are not counted")
    return Energy(float(joules) if isinstance(joules, int | float) else None, source)


def extension(log: Log, from_step: int, steps_before: int, config: TrainConfig) -> dict[str, Any]:
    """Describe what it means that a run goes on to more steps than were planned.

    Args:
        log: the lines of the steps that are kept.
        from_step: the number of updates done.
        steps_before: the number of steps that the run was planned for.
        config: the settings with the new number of steps.

    Returns:
        `from_step`, `steps_before` and `steps`; the learning rates used so far, `lr_used_min`,
        `lr_used_max` and `lr_used_last`; `lr_next`, that of the next step; and `exact`, whether all
        of those used are what the new schedule prescribes, so that the run equals one that was
        planned for `steps` from its start. What cannot be told is None.
    """
    used = [entry["lr"] for entry in log]
    return {
        "from_step": from_step,
        "steps_before": steps_before,
        "steps": config.steps,
        "lr_used_min": min(used, default=None),
        "lr_used_max": max(used, default=None),
        "lr_used_last": used[-1] if used else None,
        "lr_next": config.learning_rate_at(from_step + 1),
        "exact": all(entry["lr"] == config.learning_rate_at(entry["step"]) for entry in log),
    }


def complete_settings(checkpoint: dict[str, Any]) -> dict[str, Any]:
    """Give the settings in a checkpoint of an older version what they lack; return them."""
    settings = checkpoint["fingerprint"].get("train")
    if not isinstance(settings, dict):
        return {}
    for setting in fields(TrainConfig):
        if setting.default is not MISSING:
            settings.setdefault(setting.name, setting.default)
    return settings


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
