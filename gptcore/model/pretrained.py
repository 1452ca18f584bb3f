"""Published GPT-2 weights → our model, and our model → a folder in the published layout.

The layout is that of `GPT2LMHeadModel` in `transformers`: `config.json` has the shape and
`model.safetensors` the tensors. A folder may come from anywhere: the shape and every tensor's name,
type and size are compared before memory is taken for the weights.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
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
from gptcore.model.published_files import (
    CONFIG,
    VOCABULARIES,
    WEIGHTS,
    check_sum,
    find_files,
    need,
)
from gptcore.reading import naming, read_json

# GPT-2's files and `transformers` store these as (in, out); `nn.Linear` has (out, in).
_INPUT_FIRST = (".c_attn.weight", ".c_proj.weight", ".c_fc.weight")
_MASKS = (".attn.bias", ".attn.masked_bias")
_HEAD, _EMBEDDING = "lm_head.weight", "transformer.wte.weight"
_TYPES = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
_SIZES = ("vocab_size", "n_positions", "n_layer", "n_head", "n_embd")
_DROPOUTS = ("resid_pdrop", "embd_pdrop", "attn_pdrop")
_FIXED: dict[str, tuple[Any, ...]] = {
    "model_type": ("gpt2",),
    "activation_function": ("gelu_new", "gelu_pytorch_tanh"),
    "layer_norm_epsilon": (1e-5,),
    "scale_attn_weights": (True,),
    "scale_attn_by_inverse_layer_idx": (False,),
    "add_cross_attention": (False,),
    "tie_word_embeddings": (True,),
}
"""Key of config.json → its values under which our GPT computes the same; the first is the default
of `transformers`, which holds where the key is absent."""

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
    files = find_files(source)
    config = read_config(files.folder / CONFIG)
    vocabulary = _vocabulary(files.folder, config.vocab_size)
    path = files.folder / WEIGHTS
    sha256 = check_sum(path, files.sha256)
    with naming(path):
        model = _read_weights(path, config)
    if device is not None:
        model.to(device)
    return Pretrained(model, files.name, files.revision, sha256, files.source, vocabulary)


def read_config(path: Path) -> ModelConfig:
    """Return the shape in a published `config.json`, with a dropout of 0.

    Raises:
        ValueError: the file is not such a config, or it is of a model that computes otherwise.
    """
    given = read_json(path)
    if not isinstance(given, dict):
        raise ValueError(f"{path} is not an object: give the config.json of a GPT-2")
    for key, allowed in _FIXED.items():
        if (value := given.get(key, allowed[0])) not in allowed:
            raise ValueError(
                f"{path} has {key} = {value!r:.60}, and GPT-2 has {allowed[0]!r}: give a model of "
                "GPT-2's architecture"
            )
    if missing := [key for key in _SIZES if key not in given]:
        raise ValueError(f"{path} lacks {', '.join(missing)}: give the config.json of a GPT-2")
    sizes = {key: given[key] for key in _SIZES}
    with naming(path):
        config = ModelConfig(block_size=sizes.pop("n_positions"), **sizes)
    if given.get("n_inner") not in (None, 4 * config.n_embd):
        raise ValueError(
            f"{path} has n_inner = {given['n_inner']!r:.60}, and GPT-2 has 4 * n_embd: give a "
            "model of GPT-2's architecture"
        )
    return config


def _vocabulary(folder: Path, size: int) -> Vocabulary:
    """Return what the ids stand for: GPT-2's tokens if there are as many, or if a file says so.

    Raises:
        ValueError: a file has the vocabulary of another tokenizer.
    """
    known = gpt2()
    path = next((p for name in VOCABULARIES if (p := folder / name).exists()), None)
    if path is None:
        return known if size == known.size else Vocabulary(size)
    told = read_json(path)
    if path.name == "tokenizer.json":
        model = told.get("model") if isinstance(told, dict) else None
        told = model.get("vocab") if isinstance(model, dict) else None
    if told != read_json(published_file("encoder.json")):
        raise ValueError(
            f"{path} is not GPT-2's vocabulary, so the ids of this model stand for other text: "
            "give a model with GPT-2's tokens"
        )
    with naming(path):
        return known.with_size(size)


def _read_weights(path: Path, config: ModelConfig) -> GPT:
    """Return the model whose weights are in a file, which is compared with the config first."""
    safetensors = need("safetensors", "reading published weights")
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            names = [name for name in file.keys() if not name.endswith(_MASKS)]  # noqa: SIM118
            parts = {name: file.get_slice(name) for name in names}
            _check_fit(config, {name: tuple(part.get_shape()) for name, part in parts.items()})
            for name, part in parts.items():
                if part.get_dtype() not in _TYPES:
                    raise ValueError(
                        f"{name} has the type {part.get_dtype()}: give weights of one of the "
                        f"types {', '.join(_TYPES)}"
                    )
            model = _empty(config)
            own = dict(model.state_dict())
            for name in sorted(names, key=lambda name: name == _HEAD):  # the head comes last
                tensor = _oriented(name, file.get_tensor(name))
                if name == _HEAD:
                    _check_tied(tensor.float(), own[_EMBEDDING])
                own[_full_name(name)].copy_(tensor)
    except safetensors.SafetensorError as error:
        raise ValueError(
            f"it is not a whole safetensors file ({error}): fetch it again; files of other formats "
            "are not read under this name either"
        ) from None
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

    The `transformer.` prefix and `lm_head.weight` may be absent. The attention masks that older
    files hold are ignored.

    Args:
        model: a GPT of the same shape; it is unchanged if the weights do not fit.
        state: the tensor of each parameter name.

    Raises:
        ValueError: a name or shape does not fit, a number is not finite, or the head is not tied to
            the embedding.
    """
    given = {name: tensor for name, tensor in state.items() if not name.endswith(_MASKS)}
    _check_fit(model.config, {name: tuple(tensor.shape) for name, tensor in given.items()})
    source = {_full_name(name): _oriented(name, tensor) for name, tensor in given.items()}
    _check_tied(source.setdefault(_HEAD, source[_EMBEDDING]), source[_EMBEDDING])
    model.load_state_dict(source)


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
    if config.n_layer > len(given):  # before anything of that size is made
        raise ValueError(
            f"the weights are {len(given)} tensors, and the model has {config.n_layer} layers"
        )
    expected = dict(_expected(config))
    given.setdefault(_HEAD, given.get(_EMBEDDING, ()))
    for name in sorted(expected.keys() | given.keys()):
        if expected.get(name) != given.get(name):
            raise ValueError(
                f"{name} is {given.get(name, 'absent')} in the weights and "
                f"{expected.get(name, 'absent')} in the model; build the GPT with the weights' "
                "shape"
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
    torch_files = need("safetensors.torch", "writing published weights")
    tensors = {
        name: (tensor.t() if name.endswith(_INPUT_FIRST) else tensor).contiguous().cpu()
        for name, tensor in model.state_dict().items()
        if name != _HEAD  # transformers ties it again
    }
    with write_atomically(folder / WEIGHTS) as partial:
        torch_files.save_file(tensors, partial, metadata={"format": "pt"})
    sizes = {key: getattr(config, key) for key in _SIZES if key != "n_positions"}
    last = config.vocab_size - 1  # in GPT-2 the last id begins and ends a text
    told = {
        "architectures": ["GPT2LMHeadModel"],
        **{key: allowed[0] for key, allowed in _FIXED.items()},
        **sizes,
        "n_positions": config.block_size,
        **dict.fromkeys(_DROPOUTS, config.dropout),
        **dict.fromkeys(("bos_token_id", "eos_token_id"), last),
    }
    write_whole(folder / CONFIG, json.dumps(told, indent=2) + "\n")
