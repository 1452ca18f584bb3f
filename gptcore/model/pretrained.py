"""Published GPT-2 weights → our model, and our model → a folder in the published layout.

The layout is that of `GPT2LMHeadModel` in `transformers`: `config.json` has the shape and
`model.safetensors` the tensors. A folder may come from anywhere: the shape and every tensor's name,
type and size are compared before memory is taken for the weights.
"""

from __future__ import annotations

import errno
import json
import os
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gptcore.data.tokenizer import published_file
from gptcore.data.vocabulary import Vocabulary, gpt2
from gptcore.files import write_atomically, write_whole
from gptcore.model.config import ModelConfig
from gptcore.model.gpt import GPT, check_memory
from gptcore.model.published_config import describe, read_config
from gptcore.model.published_files import (
    CONFIG,
    LARGEST_FILE,
    VOCABULARIES,
    WEIGHTS,
    check_sum,
    find_files,
    need,
    unchanged,
)
from gptcore.plain_text import shorten
from gptcore.reading import check_regular, naming, read_json

# GPT-2's files and `transformers` store these as (in, out); `nn.Linear` has (out, in).
_INPUT_FIRST = (".c_attn.weight", ".c_proj.weight", ".c_fc.weight")
_MASK = re.compile(r"(transformer\.)?h\.[0-9]+\.attn\.(masked_)?bias")
_HEAD, _EMBEDDING = "lm_head.weight", "transformer.wte.weight"
_POSITIONS = "transformer.wpe.weight"
WRITING = "writing published weights"
_TYPES = ("F32", "F16", "BF16")

Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class Pretrained:
    """A published model.

    Attributes:
        model: the model; its dropout is 0.
        name: the short name, the owner and name on the hub, or the name of the folder.
        revision: the commit on the hub; None for a folder.
        sha256: that of `model.safetensors`, hexadecimal.
        source: where it comes from, in words.
        vocabulary: what its ids stand for.
    """

    model: GPT
    name: str
    revision: str | None
    sha256: str
    source: str
    vocabulary: Vocabulary


def load_pretrained(source: str | Path, *, device: torch.device | None = None) -> Pretrained:
    """Load a published model of GPT-2's architecture, in float32.

    Args:
        source: a folder with `config.json` and `model.safetensors`; or the name of a model, which
            is fetched from the Hugging Face hub: gpt2, gpt2-medium, gpt2-large, gpt2-xl,
            distilgpt2, or OWNER/NAME.
        device: where the model goes; by default the CPU.

    Raises:
        ValueError: it cannot be found or fetched, its checksum is wrong, it is not a GPT-2, or its
            weights do not fit its config.
    """
    files = find_files(source, check=_read_shape)
    config, vocabulary = _read_shape(files.folder)
    path = files.folder / WEIGHTS
    with naming(path), unchanged(path):
        _check_header(path, config)  # at once, where reading all of the file takes time
        sha256 = check_sum(path, files.sha256)
        model = _read_weights(path, config)
    if device is not None:
        model.to(device)
    return Pretrained(model, files.name, files.revision, sha256, files.source, vocabulary)


def _read_shape(folder: Path) -> tuple[ModelConfig, Vocabulary]:
    """Return the shape of a model, and what its ids stand for.

    They stand for GPT-2's tokens if there are as many, or if a file says so.

    Raises:
        ValueError: `config.json` is not that of a GPT-2, or a file has the vocabulary of another
            tokenizer.
    """
    config, known = read_config(folder / CONFIG), gpt2()
    path = next((p for name in VOCABULARIES if (p := folder / name).exists()), None)
    told = None if path is None else read_json(path)
    if path is not None and path.name == "tokenizer.json":
        model = told.get("model") if isinstance(told, dict) else None
        told = model.get("vocab") if isinstance(model, dict) else None
    if path is not None and told != read_json(published_file("encoder.json")):
        raise ValueError(
            f"{path} is not GPT-2's vocabulary, so the ids of this model stand for other text: "
            "give a model with GPT-2's tokens; gptcore evaluate --transformers scores others"
        )
    size = config.vocab_size
    is_gpt2 = path is not None or size == known.size
    with naming(folder / CONFIG):
        return config, known.with_size(size) if is_gpt2 else Vocabulary(size)


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Open a safetensors file.

    Raises:
        ValueError: it is not one, or not a regular file; also where the block finds so.
    """
    safetensors = need("safetensors", "reading published weights")
    check_regular(path, at_most=LARGEST_FILE)
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            yield file
    except safetensors.SafetensorError as error:
        raise ValueError(
            f"it is not a whole safetensors file ({shorten(str(error), 120)}): fetch it again; "
            "files of other formats are not read under this name either"
        ) from None


def _check_header(path: Path, config: ModelConfig) -> None:
    """Check that the names, shapes and types of the weights in a file fit the config.

    Raises:
        ValueError: they do not, or the file is not a safetensors file.
    """
    with _opened(path) as file:
        parts = {name: file.get_slice(name) for name in _names(file.keys())}
        _check_fit(config, {name: tuple(part.get_shape()) for name, part in parts.items()})
        for name, part in parts.items():
            if part.get_dtype() not in _TYPES:
                raise ValueError(
                    f"{name} has the type {part.get_dtype()}: give weights of one of the "
                    f"types {', '.join(_TYPES)}"
                )


def _read_weights(path: Path, config: ModelConfig) -> GPT:
    """Return the model whose weights are in a file with the header that `_check_header` allows."""
    model = _empty(config)
    own = dict(model.state_dict())
    with _opened(path) as file:
        names = _names(file.keys())
        for name in sorted(names, key=lambda name: name == _HEAD):  # the head comes last
            tensor = _oriented(name, file.get_tensor(name))
            if name == _HEAD and any(_full_name(other) == _EMBEDDING for other in names):
                _check_tied(tensor.float(), own[_EMBEDDING])
            own[_full_name(name)].copy_(tensor)
    return model


def _empty(config: ModelConfig) -> GPT:
    """Return a model whose weights are not drawn, because they are to be replaced."""
    check_memory(config, copies=1)
    with torch.device("meta"):
        model = GPT(config)
    model.to_empty(device="cpu")
    model.lm_head.weight = model.transformer.wte.weight  # tied again
    return model


def load_gpt2_state_dict(model: GPT, state: Mapping[str, Tensor]) -> None:
    """Copy GPT-2 weights, as published or from `GPT2LMHeadModel.state_dict()`, into `model`.

    The `transformer.` prefix may be absent, and one of the two names of the tied matrix, that of
    the embedding and `lm_head.weight`. The attention masks that older files hold are ignored.

    Args:
        model: a GPT of the same shape; it is unchanged if the weights do not fit.
        state: the tensor of each parameter name.

    Raises:
        ValueError: a name or shape does not fit, a number is not finite, or the head is not tied to
            the embedding.
    """
    given = {name: state[name] for name in _names(state)}
    _check_fit(model.config, {name: tuple(tensor.shape) for name, tensor in given.items()})
    source = {_full_name(name): _oriented(name, tensor) for name, tensor in given.items()}
    _tie(source)
    _check_tied(source[_HEAD], source[_EMBEDDING])
    model.load_state_dict(source)


def _names(names: Collection[str]) -> list[str]:
    """Return the names of parameters among those of a file."""
    return [name for name in names if not _MASK.fullmatch(name)]


def _tie(given: dict[str, Any]) -> None:
    """Give the tied matrix both of its names, where it has one: files hold one of them or both."""
    for name, other in ((_HEAD, _EMBEDDING), (_EMBEDDING, _HEAD)):
        if other in given:
            given.setdefault(name, given[other])


def _full_name(name: str) -> str:
    """Return the name in our model of a parameter in a file."""
    return name if name.startswith(("transformer.", "lm_head.")) else f"transformer.{name}"


def _oriented(name: str, tensor: Tensor) -> Tensor:
    """Return a tensor of a file as our layers have it, (out, in) for a matrix of a layer.

    Raises:
        ValueError: a number in it is NaN or infinite.
    """
    if not tensor.isfinite().all():
        raise ValueError(
            f"{name} has a number that is not finite: training diverged, or the file was changed"
        )
    return tensor.t() if name.endswith(_INPUT_FIRST) else tensor


def _check_fit(config: ModelConfig, shapes: Shapes) -> None:
    """Check that weights have the names and shapes that a config asks for.

    Args:
        config: the shape of the model.
        shapes: name → shape of each tensor in the file.

    Raises:
        ValueError: they differ; the message names the first difference.
    """
    given = {
        _full_name(name): shape[::-1] if name.endswith(_INPUT_FIRST) else shape
        for name, shape in shapes.items()
    }
    if len(given) < len(shapes):
        raise ValueError("a tensor stands twice, with and without the prefix transformer.")
    # The weights bound each size of the config before anything of that size is made.
    if config.n_layer > len(given):
        raise ValueError(
            f"the weights are {len(given)} tensors, and the config has {config.n_layer} layers: "
            "give weights and a shape that belong together"
        )
    _tie(given)
    sizes: Shapes = {_EMBEDDING: (config.vocab_size, config.n_embd)}
    if config.positions:
        sizes[_POSITIONS] = (config.block_size, config.n_embd)
    _compare(given, sizes, sizes)
    expected = dict(_expected(config))
    _compare(given, expected, expected.keys() | given.keys())


def _compare(given: Shapes, expected: Shapes, names: Collection[str]) -> None:
    for name in sorted(names):
        if expected.get(name) != given.get(name):
            raise ValueError(
                f"{shorten(name)} is {given.get(name, 'absent')} in the weights and "
                f"{expected.get(name, 'absent')} in a model of this shape (config.json): give "
                "weights and a shape that belong together"
            )


def _expected(config: ModelConfig) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield the name and shape of each parameter, as read off a model of at most one layer."""
    with torch.device("meta"):
        small = GPT(replace(config, n_layer=min(config.n_layer, 1)))
    for name, tensor in small.state_dict().items():
        layers = range(config.n_layer) if ".h.0." in name else range(1)
        for layer in layers:
            yield name.replace(".h.0.", f".h.{layer}."), tuple(tensor.shape)


def _check_tied(head: Tensor, embedding: Tensor) -> None:
    if not torch.equal(head, embedding):
        raise ValueError(
            f"{_HEAD} differs from {_EMBEDDING}; a GPT has one matrix for both: use weights with a "
            "tied head"
        )


def save_pretrained(model: GPT, folder: Path) -> None:
    """Write `config.json` and `model.safetensors`, which `GPT2LMHeadModel.from_pretrained` loads.

    Args:
        model: a GPT with positions and MLPs, as GPT-2 has them.
        folder: it is created if it is missing; files of these names are replaced.

    Raises:
        ValueError: the model has no positions or no MLPs.
        WriteError: a file cannot be written.
    """
    config = model.config
    if not (config.positions and config.mlp):
        lacks = "MLPs" if config.positions else "position embeddings"
        raise ValueError(
            f"the model has no {lacks}, which every GPT-2 has: save a model of another shape"
        )
    torch_files = need("safetensors.torch", WRITING)
    tensors = {
        name: (tensor.t() if name.endswith(_INPUT_FIRST) else tensor).contiguous().cpu()
        for name, tensor in model.state_dict().items()
        if name != _HEAD  # transformers ties it again
    }
    with write_atomically(folder / WEIGHTS) as partial:
        try:
            torch_files.save_file(tensors, partial, metadata={"format": "pt"})
        except need("safetensors", WRITING).SafetensorError as error:  # in place of an OSError
            told = re.search(r"os error ([0-9]+)", str(error))
            code = int(told[1]) if told else errno.EIO
            raise OSError(code, os.strerror(code)) from None
    write_whole(folder / CONFIG, json.dumps(describe(config), indent=2) + "\n")
