"""The user's own model: the file that `--model` names, and the sizes at which it is built."""

from __future__ import annotations

import hashlib
import random
import re
import sys
from collections.abc import Iterable, Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gptcore.audit.drawing import draw
from gptcore.checking import ModelFile, load_model_file
from gptcore.checking.checks import Check, check_model
from gptcore.model.config import PRESETS, ModelConfig
from gptcore.model.foreign import ForeignModel, dropout_of
from gptcore.plain_text import shorten
from gptcore.reading import MOST_JSON_BYTES, read_bytes

NAMES = {
    "n_layer": ("n_layer", "n_layers", "num_layers", "num_hidden_layers", "depth"),
    "n_head": ("n_head", "n_heads", "num_heads", "num_attention_heads", "heads"),
    "n_embd": ("n_embd", "d_model", "hidden_size", "embed_dim", "dim"),
}
"""Size → the names that implementations give it, in their config or in a module."""
HEAD_WIDTH = 64
"""Channels of a head in GPT-2, by which heads are guessed that no name tells."""
BARRING = ("causality", "loss")
"""What a check is about whose fault bars a model from comparisons."""
ANY_ID = 2**31
"""A vocabulary in which every id lies; the run itself refuses those that its text has not."""
SHAPE = re.compile(r"L(\d+)-H(\d+)-C(\d+)(?:-V(\d+))?")


@dataclass(frozen=True)
class OwnModel:
    """A model file as the cases of a run name it.

    Attributes:
        file: the loaded file.
        name: the name of the file, in characters that a case id may hold; never its path.
        sha256: of its content.
    """

    file: ModelFile
    name: str
    sha256: str

    @classmethod
    def load(cls, path: Path) -> OwnModel:
        """Load a model file.

        Raises:
            ValueError: it cannot be read, trains when it is imported, or defines no model.
        """
        file = load_model_file(path)
        content = read_bytes(path, at_most=MOST_JSON_BYTES)
        # A hyphen would begin a new setting in the arm of an experiment.
        name = re.sub(r"[^A-Za-z0-9_.]+", "_", path.name)
        return cls(file, name, hashlib.sha256(content).hexdigest())

    @cached_property
    def sizes(self) -> dict[str, int] | None:
        """The sizes n_layer, n_head and n_embd that the file fixes; None where it takes them."""
        return None if self.file.takes_sizes else sizes_of(self.build(TINY).model)

    @cached_property
    def checks(self) -> list[Check]:
        """What the checks that train nothing say of the model."""
        return check_model(self.file)

    def why_not(self) -> str | None:
        """Return why the model is neither timed beside another one nor trained, None if it is.

        A model that sees the future, or whose loss is another one, does other work.
        """
        faults = [c for c in self.checks if c.status == "fault" and c.about in BARRING]
        if not faults:
            return None
        more = f" and {len(faults) - 1} more" if len(faults) > 1 else ""
        return (
            f"{self.name} is not compared, because the check {faults[0].name} found a fault"
            f"{more}: {faults[0].detail}; gptcore check {self.name} explains it"
        )

    @cached_property
    def batch_shape(self) -> tuple[int, int] | None:
        """B and T of the batches of the file's loader, None without a loader.

        Raises:
            ValueError: the loader fails, or gives no inputs and targets of shape (B, T).
        """
        if self.file.get_batch is None:
            return None
        rows, length = self.batch()[0].shape
        return rows, length

    @staticmethod
    def seed(seed: int) -> None:
        """Seed the global generators of Python, NumPy and torch, from which loaders draw."""
        random.seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        torch.manual_seed(seed)

    def batch(self) -> tuple[Tensor, Tensor]:
        """Return the next batch of the file's loader for training: inputs and targets (B, T).

        Raises:
            ValueError: the loader fails, or gives what `gptcore audit` refuses.
        """
        assert self.file.get_batch is not None, "only a file with a loader has batches"
        try:
            with redirect_stdout(sys.stderr):
                drawn = draw(self.file.get_batch, "train", n_batches=1, vocab_size=ANY_ID)
        except ValueError as error:
            raise ValueError(f"get_batch of {self.name} fails: {error}") from error
        ((inputs, targets),) = drawn.pairs
        if targets is None:
            raise ValueError(
                f"get_batch of {self.name} gives inputs of shape {inputs.shape} and targets of "
                "another: return inputs and targets of one shape (B, T)"
            )
        return torch.from_numpy(inputs), torch.from_numpy(targets)

    def build(self, config: ModelConfig, seed: int = 0) -> ForeignModel:
        """Return the model at the sizes of `config`, on the CPU.

        The seed gives the first weights. The config of the result has the model's own dropout.
        """
        sizes = {name: getattr(config, name) for name in NAMES}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = self.file.make_model(config.vocab_size, config.block_size, **sizes)
        config = replace(config, dropout=min(dropout_of(model), 0.99))
        return ForeignModel(model, config, self.file.logits, self.file.loss)

    def without_path(self, text: str) -> str:
        """Return a text with the name of the file where its path stood."""
        paths = {str(self.file.path), str(self.file.path.resolve())}
        for path in sorted(paths, key=len, reverse=True):
            text = text.replace(path, self.name)
        return text


TINY = ModelConfig(vocab_size=97, block_size=16, n_layer=1, n_head=2, n_embd=16)


def sizes_of(model: nn.Module) -> dict[str, int]:
    """Return n_layer, n_head and n_embd of somebody else's model.

    They are read from its config, then from its modules. Where no name tells them, the width is
    that of its first embedding, the layers are the blocks of its longest list of modules, and heads
    are as wide as in GPT-2.

    Raises:
        ValueError: it has no embedding from which its width could be read.
    """
    sources = [getattr(model, "config", None), *model.modules()]
    found = {size: _first(sources, names) for size, names in NAMES.items()}
    width = found["n_embd"] or next(
        (m.embedding_dim for m in model.modules() if isinstance(m, nn.Embedding)), None
    )
    if width is None:
        raise ValueError(
            f"the width of {type(model).__name__} cannot be found, as it has no config with "
            "n_layer, n_head and n_embd: give it one, or let make_model take these sizes"
        )
    lists = [len(m) for m in model.modules() if isinstance(m, nn.ModuleList | nn.Sequential)]
    heads = found["n_head"] or width // HEAD_WIDTH
    return {
        "n_layer": found["n_layer"] or max(lists, default=1),
        "n_head": heads if heads and width % heads == 0 else 1,
        "n_embd": width,
    }


def _first(sources: Iterable[Any], names: tuple[str, ...]) -> int | None:
    for source in sources:
        for name in names:
            value = getattr(source, name, None)
            if type(value) is int and value > 0:
                return value
    return None


def shape_name(sizes: Mapping[str, int]) -> str:
    """Return sizes as the `model` of a case: "L6-H6-C384", and with "-V65" where V is given."""
    vocab = f"-V{sizes['vocab_size']}" if "vocab_size" in sizes else ""
    return f"L{sizes['n_layer']}-H{sizes['n_head']}-C{sizes['n_embd']}{vocab}"


def config_of(model: str, vocab_size: int, block_size: int) -> ModelConfig:
    """Return the shape that the `model` of a case names: a preset, or sizes as `shape_name`.

    Args:
        model: its name; a vocabulary in it comes before `vocab_size`.
        vocab_size: that of the text.
        block_size: that of the case.

    Raises:
        ValueError: there is no such preset, and these are no sizes.
    """
    if model in PRESETS:
        return replace(PRESETS[model], vocab_size=vocab_size, block_size=block_size)
    sizes = SHAPE.fullmatch(model)
    if sizes is None:
        known = ", ".join(PRESETS)
        raise ValueError(f"model is {shorten(model)!r}: choose one of {known}, or L6-H6-C384")
    layers, heads, width = map(int, sizes.groups()[:3])
    return ModelConfig(int(sizes[4] or vocab_size), block_size, layers, heads, width)
