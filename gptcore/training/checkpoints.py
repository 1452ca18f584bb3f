"""Checkpoints of a training run: written atomically, verified when read, the newest two kept.

One more is kept if asked for: that at which the decay of the learning rate begins, from which a run
can be extended.

A checkpoint holds the states of a model and its optimizer, and the fingerprint of their run: the
settings that must be equal when the run is resumed. One process writes a file, and several write a
folder (`shards.py`); a run goes on from either.
"""

import errno
import json
import re
import shutil
import warnings
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from gptcore.files import PARTIAL, write_errors
from gptcore.model.config import ModelConfig
from gptcore.model.gpt import GPT
from gptcore.plain_text import shorten
from gptcore.training.checkpoint_files import (
    AVERAGE,
    check_weights,
    read_checkpoint,
    save_tensors,
)
from gptcore.training.manifests import read_manifest, read_shards

CHECKPOINTS_KEPT = 2
FILE, SHARDS = ".pt", ".shards"
"""What the names of checkpoints end with: files of one process, and folders of several."""
_NAME = re.compile("step-([0-9]{8,})[.](pt|shards)", re.ASCII)
NOT_DAMAGE = (
    errno.EACCES, errno.EPERM, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EIO, errno.EAGAIN,
)  # fmt: skip
"""Errors of the system that say nothing about the file; a newer checkpoint must not be lost to
them."""


def save_checkpoint(
    directory: Path,
    step: int,
    model: GPT,
    optimizer: torch.optim.Optimizer,
    fingerprint: dict[str, Any],
    *,
    average: GPT | None = None,
    keep: int | None = None,
) -> Path:
    """Write a checkpoint and delete all but the newest two.

    After a crash or an error at any point the new checkpoint is either complete or absent.

    Args:
        directory: the folder; it is created if it is missing.
        step: the number of updates done.
        model: the model whose weights and config are saved.
        optimizer: the optimizer whose state is saved.
        fingerprint: the settings that must be equal on resume, as values that JSON can hold.
        average: the average of the weights, if there is one.
        keep: the step of a checkpoint that is not deleted, if there is one.

    Returns:
        The path of the file, for example `directory/step-00000050.pt`.

    Raises:
        WriteError: the checkpoint cannot be written; the older ones are still there.
    """
    path = directory / checkpoint_name(step)
    content = {
        "step": step,
        "model_config": asdict(model.config),
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "fingerprint": _as_json(fingerprint),
    }
    if average is not None:
        content[AVERAGE] = average.state_dict()
    save_tensors(content, path)
    remove_old(directory, keep=keep)
    return path


def remove_old(directory: Path, *, keep: int | None) -> None:
    """Delete all checkpoints but the newest two, and that of the step `keep`."""
    for old, step in [*_checkpoints(directory).items()][CHECKPOINTS_KEPT:]:
        if step != keep:
            _remove(old)


def latest_checkpoint(directory: Path) -> Path | None:
    """Return the path of the checkpoint with the most steps, even a damaged one, or None."""
    return next(iter(_checkpoints(directory)), None)


def path_of(directory: Path, step: int) -> Path:
    """Return the path of the checkpoint of a step.

    Raises:
        ValueError: there is none.
    """
    for path, found in _checkpoints(directory).items():
        if found == step:
            return path
    raise ValueError(f"{directory} has no checkpoint of step {step}: every process must see it")


def read_any(path: Path) -> dict[str, Any]:
    """Return the content of a file or of a folder, as `read_checkpoint` does."""
    return read_checkpoint(path) if path.suffix == FILE else read_shards(path)


def read_about(path: Path) -> dict[str, Any]:
    """Return what a checkpoint says of itself, after all of it was checked; of a file, all of it.

    The tensors of a folder may be more than one machine holds.
    """
    return read_checkpoint(path) if path.suffix == FILE else read_manifest(path)


def load_checkpoint(
    directory: Path,
    at_most: int | None = None,
    read: Callable[[Path], dict[str, Any]] = read_any,
) -> dict[str, Any] | None:
    """Read the newest undamaged checkpoint, with its tensors on the CPU.

    Args:
        directory: the folder of the checkpoints.
        at_most: leave out checkpoints of more steps.
        read: `read_any`, or `read_about`, whose result has not all of the keys below.

    Returns:
        None if there are no checkpoints; otherwise `step` (the number of updates done),
        `model_config` (the arguments of ModelConfig), `model` and `optimizer` (state dicts),
        `fingerprint`, and `average` (a state dict) if the run has an average of the weights.

    Warns:
        UserWarning: a newer checkpoint is damaged.

    Raises:
        ValueError: every checkpoint in `directory` is damaged, or one cannot be read now.
    """
    failures = []
    for path, step in _checkpoints(directory).items():
        if at_most is not None and step > at_most:
            continue
        try:
            content = read(path)
            if path.name != checkpoint_name(content["step"], path.suffix):
                raise ValueError(f"it is of step {content['step']}")
        except MemoryError:
            raise
        except Exception as error:  # which error a damaged file raises depends on the damage
            cause = error.__cause__ or error
            if isinstance(cause, OSError) and cause.errno in NOT_DAMAGE:
                raise
            failures.append(f"{path} is damaged ({shorten(str(error), 200)})")
            continue
        for failure in failures:
            warnings.warn(f"{failure}; taking the one before", stacklevel=2)
        return content
    if failures:
        raise ValueError(
            f"all checkpoints in {directory} are damaged; train again in a new folder: "
            f"{'; '.join(failures)}"
        )
    return None


def restore_checkpoint(
    checkpoint: dict[str, Any],
    model: GPT,
    optimizer: torch.optim.Optimizer,
    fingerprint: dict[str, Any],
    average: GPT | None = None,
) -> int:
    """Load the weights and optimizer state of a checkpoint; return the number of updates done.

    Args:
        checkpoint: the result of `load_checkpoint`.
        model: the model whose weights are replaced.
        optimizer: the optimizer whose state is replaced.
        fingerprint: the settings of this run; they must equal those of the checkpoint.
        average: the average whose weights are replaced, if the run has one.

    Raises:
        ValueError: the fingerprints differ, the states are those of another model, or the
            checkpoint has no average.
    """
    check_fingerprint(checkpoint, fingerprint)
    check_weights(checkpoint["model"], model.state_dict())
    own, saved = optimizer.state_dict()["param_groups"], checkpoint["optimizer"]
    lists = [[group["params"] for group in groups] for groups in (own, saved["param_groups"])]
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    moments = [saved["state"].get(i, {}).get("exp_avg", p) for i, p in enumerate(parameters)]
    shapes = [[tuple(t.shape) for t in tensors] for tensors in (parameters, moments)]
    if lists[0] != lists[1] or shapes[0] != shapes[1]:
        raise ValueError(
            "the optimizer of the checkpoint is of another model: train in a new folder"
        )
    if average is not None:
        average.load_state_dict(average_of(checkpoint))
    model.load_state_dict(checkpoint["model"])
    # The settings of the optimizer are those of this run, which the fingerprint has compared.
    optimizer.load_state_dict({"state": saved["state"], "param_groups": own})
    return int(checkpoint["step"])


def check_fingerprint(checkpoint: dict[str, Any], fingerprint: dict[str, Any]) -> None:
    """Check that a checkpoint is of the run with this fingerprint.

    Raises:
        ValueError: it is of another run.
    """
    there = _flatten(checkpoint["fingerprint"])
    here = _flatten(_as_json(fingerprint))
    if there.get("sampler.world") == 1:  # as older versions wrote it
        del there["sampler.world"]
    differences = [
        f"{name} is {_shown(there.get(name))} there and {_shown(here.get(name))} here"
        for name in sorted(there.keys() | here.keys())
        if there.get(name) != here.get(name)
    ]
    if differences:
        raise ValueError(
            f"the checkpoint is of another run: {'; '.join(differences)}; resume with the same "
            "settings or train in a new folder"
        )


def model_from_checkpoint(checkpoint: dict[str, Any], *, average: bool = False) -> GPT:
    """Return the model of a checkpoint that `load_checkpoint` returned, on the CPU.

    Args:
        checkpoint: the result of `load_checkpoint`.
        average: take the average of the weights instead of the last weights.

    Raises:
        ValueError: the checkpoint has no average.
    """
    weights = average_of(checkpoint) if average else checkpoint["model"]
    model = GPT(ModelConfig(**checkpoint["model_config"]))
    model.load_state_dict(weights)
    return model


def average_of(checkpoint: dict[str, Any]) -> dict[str, Any]:
    """Return the average of the weights in a checkpoint.

    Raises:
        ValueError: it has none.
    """
    if AVERAGE not in checkpoint:
        raise ValueError(
            "the checkpoint has no average of the weights, which gptcore train --ema-decay keeps: "
            "take the last weights"
        )
    weights: dict[str, Any] = checkpoint[AVERAGE]
    return weights


def remove_checkpoints_after(directory: Path, step: int) -> None:
    """Delete the checkpoints that have more than `step` updates."""
    for path, steps in _checkpoints(directory).items():
        if steps > step:
            _remove(path)


def _remove(path: Path) -> None:
    with write_errors(path):
        if path.suffix == FILE:
            path.unlink()
            return
        hidden = path.with_name(f"{PARTIAL}{path.name}")
        path.rename(hidden)  # from here on it is no checkpoint
        shutil.rmtree(hidden)


def checkpoint_name(step: int, suffix: str = FILE) -> str:
    """Return the name of the checkpoint of a step."""
    return f"step-{step:08d}{suffix}"


def _checkpoints(directory: Path) -> dict[Path, int]:
    """Return the path and step of each checkpoint, newest first.

    A file of another name, such as a copy, is not counted, used or deleted.

    Raises:
        OSError: the folder cannot be read, which `glob` would take for an empty one.
    """
    try:
        names = [(path, _NAME.fullmatch(path.name)) for path in directory.iterdir()]
    except FileNotFoundError:
        return {}
    steps = [(int(name[1]), path) for path, name in names if name]
    return {path: step for step, path in sorted(steps, reverse=True)}


def _shown(value: Any) -> str:
    return shorten(repr(value), 100)


def _as_json(fingerprint: dict[str, Any]) -> dict[str, Any]:
    # A value must compare equal after a round trip through JSON, where tuples become lists.
    return dict(json.loads(json.dumps(fingerprint)))


def _flatten(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        is_branch = isinstance(value, dict)
        flat |= _flatten(value, f"{prefix}{name}.") if is_branch else {f"{prefix}{name}": value}
    return flat
