"""The manifest of a checkpoint that several processes wrote, checked before any of it is used.

`manifest.json` is one line of JSON with a checksum. It holds the size and the SHA-256 of every file
of the checkpoint, and the place of every row of every tensor. A folder may come from anywhere: no
file outside it is read, and no model is built before its config fits the size of the files.

Tensors are called `model.NAME`, `exp_avg.NAME`, `exp_avg_sq.NAME` (the moments of AdamW) and
`average.NAME`, where NAME is that of the parameter.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gptcore.checks import check_whole
from gptcore.lines import CHECKSUM, load_line
from gptcore.model.config import ModelConfig
from gptcore.model.flops import n_params
from gptcore.model.gpt import GPT
from gptcore.reading import MOST_JSON_BYTES, open_regular, read_bytes
from gptcore.training.checkpoint_files import (
    AVERAGE,
    MOMENTS,
    check_content,
    check_keys,
    check_plain,
)

MANIFEST = "manifest.json"
FORMAT = 1
NUMBER = np.dtype("<f4")
_PARTS = (
    "format", "step", "model_config", "fingerprint", "world_size", "average", "files", "tensors",
    CHECKSUM,
)  # fmt: skip
_FILE = re.compile("rank-[0-9]{5,}[.]bin", re.ASCII)


def tensor_names(parameters: list[str], *, average: bool) -> list[str]:
    """Return the names of all tensors in a checkpoint of parameters with these names."""
    kinds = ("model", *MOMENTS, *([AVERAGE] if average else []))
    return [f"{kind}.{name}" for kind in kinds for name in parameters]


def read_manifest(path: Path) -> dict[str, Any]:
    """Return the manifest of a checkpoint, after checking it and every file that it names.

    Raises:
        ValueError: it is missing or damaged, or a file is not the one that it describes.
    """
    manifest = manifest_of(path)
    for name, (n_bytes, sha256) in manifest["files"].items():
        file: Any
        with open_regular(path / name) as file:
            if os.fstat(file.fileno()).st_size != n_bytes:
                raise ValueError(f"{name} has not the {n_bytes:,} bytes that its manifest says")
            if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
                raise ValueError(f"wrong checksum of {name}")
    return manifest


def manifest_of(path: Path) -> dict[str, Any]:
    """Return the manifest of a checkpoint, checked by itself; its files are not read."""
    if not (path / MANIFEST).exists():
        raise ValueError(f"it has no {MANIFEST}, so it is not a whole checkpoint")
    manifest = load_line(read_bytes(path / MANIFEST, at_most=MOST_JSON_BYTES).decode())
    check_keys("the manifest", manifest, _PARTS)
    if manifest["format"] != FORMAT:
        raise ValueError(f"its format is {manifest['format']!r}; this version reads {FORMAT}")
    check_whole("step", manifest["step"])
    check_whole("world_size", manifest["world_size"])
    if type(manifest["average"]) is not bool:
        raise ValueError("average must be true or false")
    manifest["fingerprint"] = json.loads(manifest["fingerprint"])
    check_plain(manifest["fingerprint"])
    config = manifest["model_config"]
    if manifest["fingerprint"].get("model", config) != config:
        raise ValueError("model_config and the fingerprint are of different models")
    _check_files(manifest["files"])
    _check_tensors(manifest)
    return manifest


def _check_files(files: object) -> None:
    if not isinstance(files, dict) or not all(map(_FILE.fullmatch, files)):
        raise ValueError("its files must be called rank-00000.bin and so on")
    for name, value in files.items():
        if not (isinstance(value, list) and len(value) == 2 and isinstance(value[1], str)):
            raise ValueError(f"{name} needs a size and a checksum")
        check_whole(f"size of {name}", value[0], at_least=0)


def _check_tensors(manifest: dict[str, Any]) -> None:
    """Check that the tensors are those of the config, and that their rows are in the files."""
    config, tensors, files = manifest["model_config"], manifest["tensors"], manifest["files"]
    check_keys("model_config", config, ModelConfig.__dataclass_fields__)
    checked = ModelConfig(**config)
    stored = sum(n_bytes for n_bytes, _ in files.values())
    kinds = len(MOMENTS) + 1 + manifest["average"]
    if not isinstance(tensors, dict) or checked.n_layer > len(tensors):
        raise ValueError(f"it has not the tensors of {checked.n_layer:,} layers")
    if stored != kinds * n_params(checked) * NUMBER.itemsize:  # before a model is built
        raise ValueError(f"its files have {stored:,} bytes, which is not the size of the model")
    shapes = shapes_of(checked)
    check_keys("the manifest", tensors, tensor_names([*shapes], average=manifest["average"]))
    for name, pieces in tensors.items():
        _check_pieces(name, pieces, shapes[name.partition(".")[2]], files)


def shapes_of(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Return the name and the shape of every parameter."""
    with torch.device("meta"):
        return {name: tuple(p.shape) for name, p in GPT(config).named_parameters()}


def _check_pieces(name: str, pieces: object, shape: tuple[int, ...], files: dict[str, Any]) -> None:
    """Check that pieces hold each row of a tensor once: [first row, rows, file, first byte]."""
    n_rows, row_size, next_row = shape[0], row_bytes(shape), 0
    for piece in pieces if isinstance(pieces, list) else ():
        if not isinstance(piece, list) or len(piece) != 4 or piece[2] not in files:
            raise ValueError(f"a piece of {name} is not a place in a file")
        first, rows, file, begin = piece
        if check_whole(f"first row of {name}", first, at_least=0) != next_row:
            raise ValueError(f"the rows of {name} do not follow each other")
        next_row += check_whole(f"rows of {name}", rows, at_most=n_rows)
        end = check_whole(f"place of {name}", begin, at_least=0) + rows * row_size
        if end > files[file][0]:
            raise ValueError(f"{name} ends behind the end of {file}")
    if next_row != n_rows:
        raise ValueError(f"{name} has {next_row:,} rows, and its shape has {n_rows:,}")


def row_bytes(shape: tuple[int, ...]) -> int:
    """Return the bytes of one row of a tensor."""
    return math.prod(shape[1:]) * NUMBER.itemsize


def read_shards(path: Path) -> dict[str, Any]:
    """Return the content of a folder as `checkpoint_files.read_checkpoint` does, on the CPU.

    Raises:
        ValueError: it is not a whole checkpoint.
    """
    manifest = read_manifest(path)
    shapes = shapes_of(ModelConfig(**manifest["model_config"]))
    names = tensor_names([*shapes], average=manifest["average"])
    tensors = {name: torch.empty(shapes[name.partition(".")[2]]) for name in names}
    for name, tensor in tensors.items():
        for first, rows, file, begin in manifest["tensors"][name]:
            read_rows(path / file, begin, tensor[first : first + rows])

    def weights(kind: str) -> dict[str, Tensor]:
        named = {name: tensors[f"{kind}.{name}"] for name in shapes}
        return named | {"lm_head.weight": named["transformer.wte.weight"]}  # they are tied

    # The order of the optimizer's parameters: matrices, then vectors, as in `make_optimizer`.
    ordered = sorted(shapes, key=lambda name: len(shapes[name]) < 2)
    state = {
        number: {"step": torch.tensor(float(manifest["step"]))}
        | {kind: tensors[f"{kind}.{name}"] for kind in MOMENTS}
        for number, name in enumerate(ordered)
    }
    n_matrices = sum(len(shape) >= 2 for shape in shapes.values())
    numbers = [*range(len(ordered))]
    groups = [{"params": numbers[:n_matrices]}, {"params": numbers[n_matrices:]}]
    content = {
        **{key: manifest[key] for key in ("step", "model_config", "fingerprint")},
        "model": weights("model"),
        "optimizer": {"state": state, "param_groups": groups},
        **({AVERAGE: weights(AVERAGE)} if manifest["average"] else {}),
    }
    return check_content(content)


@torch.no_grad()
def read_rows(path: Path, begin: int, target: Tensor) -> None:
    """Fill a tensor with the numbers that begin at a place of a file.

    Raises:
        ValueError: the file has not as many.
    """
    with open_regular(path) as file:
        file.seek(begin)
        content = bytearray(file.read(target.numel() * NUMBER.itemsize))
    numbers = np.frombuffer(content, NUMBER).astype(np.float32, copy=False)
    target.copy_(torch.from_numpy(numbers).view(target.shape))
