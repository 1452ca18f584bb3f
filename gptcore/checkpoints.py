"""Checkpoints that survive being killed: whole or absent, verified, the newest two kept.

A checkpoint holds a model, its optimizer and the fingerprint of the run that they belong to.
"""

import json
import warnings
import zipfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from gptcore.files import PARTIAL, write_atomically
from gptcore.model import GPT, ModelConfig

CHECKPOINTS_KEPT = 2


def save_checkpoint(
    directory: Path,
    step: int,
    model: GPT,
    optimizer: torch.optim.Optimizer,
    fingerprint: dict[str, Any],
) -> Path:
    """Write a checkpoint that is either whole or absent, and delete all but the newest two.

    Args:
        directory: made if missing.
        step: updates done.
        model: its weights and config are kept.
        optimizer: its state is kept.
        fingerprint: what must be equal on resume, as JSON would have it.

    Returns:
        The file: `directory/step-00000050.pt`.
    """
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / _checkpoint_name(step)
    content = {
        "step": step,
        "model_config": asdict(model.config),
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "fingerprint": _as_json(fingerprint),
    }
    with write_atomically(path) as partial, partial.open("wb") as file:
        torch.save(content, file)
    # A process that was killed while it saved has left the part that it wrote.
    for old in (*_checkpoints(directory)[CHECKPOINTS_KEPT:], *directory.glob(f"{PARTIAL}*")):
        old.unlink()
    return path


def latest_checkpoint(directory: Path) -> Path | None:
    """Return the checkpoint with the most steps, whole or damaged; None if there is none."""
    return next(iter(_checkpoints(directory)), None)


def load_checkpoint(directory: Path) -> dict[str, Any] | None:
    """Return the newest whole checkpoint, on the CPU, or None if there is none at all.

    Returns:
        `step` (updates done), `model_config` (arguments of ModelConfig), `model` and `optimizer`
        (state dicts), `fingerprint`.

    Warns:
        UserWarning: a newer one is damaged.

    Raises:
        ValueError: there are checkpoints, and all are damaged.
    """
    paths = _checkpoints(directory)
    for path in paths:
        try:
            return _read_checkpoint(path)
        except (MemoryError, PermissionError):
            raise
        except Exception as error:  # a damaged archive raises whatever its damaged part leads to
            warnings.warn(f"{path} is damaged ({error}); trying the one before", stacklevel=2)
    if paths:
        raise ValueError(f"all checkpoints in {directory} are damaged; train again in a new folder")
    return None


def restore_checkpoint(
    checkpoint: dict[str, Any],
    model: GPT,
    optimizer: torch.optim.Optimizer,
    fingerprint: dict[str, Any],
) -> int:
    """Load weights and optimizer state from `load_checkpoint`; return the updates done.

    Raises:
        ValueError: the fingerprint differs.
    """
    there = _flatten(checkpoint["fingerprint"])
    here = _flatten(_as_json(fingerprint))
    differences = [
        f"{name} is {there.get(name)!r} there and {here.get(name)!r} here"
        for name in sorted(there.keys() | here.keys())
        if there.get(name) != here.get(name)
    ]
    if differences:
        raise ValueError(
            f"the checkpoint is of another run: {'; '.join(differences)}; resume with the same "
            "settings or train in a new folder"
        )
    model.load_state_dict(checkpoint["model"])
    optimizer.load_state_dict(checkpoint["optimizer"])
    return int(checkpoint["step"])


def model_from_checkpoint(checkpoint: dict[str, Any]) -> GPT:
    """Return the model of `load_checkpoint`, on the CPU."""
    model = GPT(ModelConfig(**checkpoint["model_config"]))
    model.load_state_dict(checkpoint["model"])
    return model


def remove_checkpoints_after(directory: Path, step: int) -> None:
    """Delete the checkpoints of more than `step` updates."""
    for path in _checkpoints(directory):
        if path.name > _checkpoint_name(step):
            path.unlink()


def _checkpoint_name(step: int) -> str:
    return f"step-{step:08d}.pt"


def _checkpoints(directory: Path) -> list[Path]:
    return sorted(directory.glob("step-*.pt"), reverse=True)


def _read_checkpoint(path: Path) -> dict[str, Any]:
    with zipfile.ZipFile(path) as archive:  # torch.load does not verify the checksums
        if damaged := archive.testzip():
            raise ValueError(f"wrong checksum of {damaged}")
    content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return content


def _as_json(fingerprint: dict[str, Any]) -> dict[str, Any]:
    return dict(json.loads(json.dumps(fingerprint)))  # as read back: tuples become lists


def _flatten(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        is_branch = isinstance(value, dict)
        flat |= _flatten(value, f"{prefix}{name}.") if is_branch else {f"{prefix}{name}": value}
    return flat
