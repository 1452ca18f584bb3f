"""A checkpoint file ↔ its content, which is checked whole before any of it is used.

A file may come from anywhere. No memory is taken beyond the size of the file, and no model is built
before its config fits the weights beside it.
"""

from __future__ import annotations

import os
import zipfile
from collections import Counter
from dataclasses import fields
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from gptcore.checks import check_whole
from gptcore.files import write_atomically
from gptcore.model.config import ModelConfig
from gptcore.model.flops import n_params
from gptcore.model.gpt import GPT
from gptcore.reading import MOST_NESTING, open_regular

PARTS = ("step", "model_config", "model", "optimizer", "fingerprint")
AVERAGE = "average"
"""A part that only runs with an average of the weights have."""
MOMENTS = ("exp_avg", "exp_avg_sq")
MOST_VALUES = 10_000
"""The most values of a fingerprint."""


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Return the content of a checkpoint, with its tensors on the CPU.

    Raises:
        ValueError: there is no such file, or it is not a whole checkpoint.
        Exception: torch raises many kinds for a damaged file.
    """
    return check_content(load_tensors(path))


def check_content(content: Any) -> dict[str, Any]:
    """Return the content of a checkpoint if it is a whole one, with finite numbers.

    Raises:
        ValueError: it is not.
    """
    has_average = isinstance(content, dict) and AVERAGE in content
    check_keys("a checkpoint", content, (*PARTS, AVERAGE) if has_average else PARTS)
    step = check_whole("step", content["step"], at_least=0)
    config = _check_config(content["model_config"], content["model"])
    with torch.device("meta"):
        expected = GPT(config).state_dict()
    for part in ("model", AVERAGE) if has_average else ("model",):
        check_weights(content[part], expected)
    del expected["lm_head.weight"]  # it is the matrix of the embedding
    _check_optimizer(content["optimizer"], [tuple(t.shape) for t in expected.values()], step)
    check_plain(content["fingerprint"])
    # The weights do not tell the block size where a model has no positions.
    if content["fingerprint"].get("model", content["model_config"]) != content["model_config"]:
        raise ValueError("model_config and the fingerprint are of different models")
    return dict(content)


def load_tensors(path: Path) -> Any:
    """Return what torch.save wrote to a file: tensors and plain values alone.

    Raises:
        ValueError: there is no such file, or its checksums are wrong.
        Exception: torch raises many kinds for a damaged file.
    """
    with open_regular(path) as file:
        _check_archive(file)
        file.seek(0)
        return torch.load(file, map_location="cpu", weights_only=True)


def save_tensors(content: object, path: Path) -> None:
    """Write with torch.save what it can write, atomically.

    Raises:
        WriteError: the file cannot be written.
    """
    with write_atomically(path) as partial, partial.open("wb") as file:
        keeper = _ErrorKeeper(file)
        torch.save(content, keeper)  # type: ignore[arg-type]  # it needs only these methods
        if keeper.error:
            raise keeper.error


class _ErrorKeeper:
    """A file whose writing never fails; it keeps the first error instead.

    When a write fails, torch goes on to write the end of its archive, and that ends in another
    error which hides the first one.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.error: BaseException | None = None

    def write(self, data: bytes) -> int:
        if self.error is None:
            try:
                self._file.write(data)
            except BaseException as error:
                self.error = error
        return len(data)

    def flush(self) -> None:
        pass


def _check_archive(file: BinaryIO) -> None:
    # torch.load does not verify the checksums of the archive. torch.save compresses nothing, so
    # that no more comes out of a file than it has.
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        n_bytes = sum(member.file_size for member in members)
        packed = any(member.compress_type != zipfile.ZIP_STORED for member in members)
        if packed or n_bytes > os.fstat(file.fileno()).st_size:
            raise ValueError("it is compressed, as torch.save does not write it")
        if damaged := archive.testzip():
            raise ValueError(f"wrong checksum of {damaged}")


def check_weights(weights: object, expected: dict[str, Tensor]) -> None:
    """Check that weights have the names, shapes and types expected, and are finite.

    Raises:
        ValueError: they differ, or a number among them is NaN or infinite.
    """
    check_keys("the model", weights, expected)
    assert isinstance(weights, dict)
    for name, tensor in expected.items():
        _check_tensor(name, weights[name], tuple(tensor.shape))
    if not torch.equal(weights["lm_head.weight"], weights["transformer.wte.weight"]):
        raise ValueError("lm_head.weight differs from transformer.wte.weight, which it is tied to")


def check_keys(what: str, value: object, names: Any) -> None:
    """Check that a value is a dict with these names as keys."""
    if not isinstance(value, dict):
        raise ValueError(f"{what} is {type(value).__name__}, and a dict is needed")
    if odd := sorted(map(str, {*names} ^ value.keys())):
        raise ValueError(f"{what} has keys missing or unknown: {', '.join(odd[:5])}")


def _check_config(config: object, weights: object) -> ModelConfig:
    """Return the config if it has the size of the weights, before a model is built from it."""
    check_keys("model_config", config, [field.name for field in fields(ModelConfig)])
    assert isinstance(config, dict)
    checked = ModelConfig(**config)
    if not isinstance(weights, dict):
        raise ValueError(f"the model is {type(weights).__name__}, and a dict is needed")
    found = sum(
        tensor.numel()
        for name, tensor in weights.items()
        if isinstance(tensor, Tensor) and name != "lm_head.weight"
    )
    if checked.n_layer > len(weights) or n_params(checked) != found:
        raise ValueError(
            f"its config has {checked.n_layer:,} layers and {n_params(checked):,} parameters, and "
            f"its weights are {len(weights):,} tensors with {found:,}"
        )
    return checked


def _check_tensor(name: str, tensor: object, shape: tuple[int, ...]) -> None:
    if not isinstance(tensor, Tensor) or tensor.layout != torch.strided:
        raise ValueError(f"{name} is {type(tensor).__name__}, and a tensor is needed")
    if tensor.dtype != torch.float32 or tuple(tensor.shape) != shape:
        raise ValueError(
            f"{name} is {tensor.dtype} of shape {tuple(tensor.shape)}; it must be torch.float32 of "
            f"shape {shape}"
        )
    if not tensor.is_contiguous() or not torch.isfinite(tensor).all():
        raise ValueError(f"{name} is not finite: training diverged, or the file was changed")


def _check_optimizer(state: object, shapes: list[tuple[int, ...]], step: int) -> None:
    """Check the state of AdamW after `step` updates of parameters of these shapes, in any order."""
    check_keys("the optimizer", state, ("state", "param_groups"))
    assert isinstance(state, dict)
    moments, groups = state["state"], state["param_groups"]
    ids = range(len(shapes))
    try:
        grouped = [number for group in groups for number in group["params"]]
    except (TypeError, KeyError) as error:
        raise ValueError(f"param_groups cannot be read ({error})") from None
    if grouped != [*ids]:
        raise ValueError(f"param_groups do not list the {len(shapes)} parameters once, in order")
    check_keys("the optimizer's state", moments, ids if step else ())
    found: Counter[tuple[int, ...]] = Counter()
    for number, values in moments.items():
        check_keys(f"the optimizer's state of parameter {number}", values, ("step", *MOMENTS))
        _check_tensor(f"step of parameter {number}", values["step"], ())
        if values["step"].item() != step:
            raise ValueError(
                f"the optimizer has done {values['step'].item():g} updates, not {step}"
            )
        shape = tuple(getattr(values["exp_avg"], "shape", ()))
        found[shape] += 1
        for name in MOMENTS:
            _check_tensor(f"{name} of parameter {number}", values[name], shape)
        if (values["exp_avg_sq"] < 0).any():
            raise ValueError(f"exp_avg_sq of parameter {number} is negative")
    if step and found != Counter(shapes):
        raise ValueError("the optimizer's state has other shapes than the model")


def check_plain(fingerprint: object) -> None:
    """Check that a fingerprint is an object of JSON, and a small one."""
    if not isinstance(fingerprint, dict):
        raise ValueError(f"the fingerprint is {type(fingerprint).__name__}, and a dict is needed")
    level: list[object] = [fingerprint]
    count = 0
    for _ in range(MOST_NESTING):
        below: list[object] = []
        for value in level:
            if isinstance(value, dict | list):
                below += value.values() if isinstance(value, dict) else value
                names = value if isinstance(value, dict) else ()
                if not all(isinstance(name, str) for name in names):
                    raise ValueError("a name in the fingerprint is no text")
            elif not isinstance(value, str | int | float | None):
                raise ValueError(f"the fingerprint holds a value of {type(value).__name__}")
            count += 1
            if count + len(below) > MOST_VALUES:
                raise ValueError(f"the fingerprint has more than {MOST_VALUES:,} values")
        if not below:
            return
        level = below
    raise ValueError(f"the fingerprint is nested deeper than {MOST_NESTING} levels")
