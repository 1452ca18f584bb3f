"""What a resumed run keeps of its log and summary, and what more steps change."""

from __future__ import annotations

import warnings
from itertools import pairwise
from pathlib import Path
from typing import Any

from gptcore.cost.energy import Energy
from gptcore.reading import read_json
from gptcore.training.config import TrainConfig

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


def read_history(path: Path) -> tuple[list[int], list[dict[str, Any]]]:
    """Return the steps of earlier resumptions and the earlier extensions, from a summary.

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
    return steps, extensions


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
