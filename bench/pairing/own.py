"""`python -m bench pair FILE.py gptcore`: the user's model beside another one at the same sizes."""

from __future__ import annotations

import argparse
import dataclasses
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.pairing.operands import default_device
from bench.pairing.processes import ProcessPairs, Task, run_in_process, summarise
from bench.suite.cases import ModelCase
from bench.suite.own import OwnModel, config_of, shape_name
from bench.suite.sizes import UNIFORM
from bench.variants.differences import differences
from bench.variants.own import Own
from bench.variants.registry import VARIANTS, why_not
from gptcore.console import Progress, Table
from gptcore.model.gpt import GPT

OTHERS = ("gptcore", "nanogpt-style", "transformers")
"""What a user's model can be compared with."""
WORKS = {
    "forward": "forward pass",
    "forward_backward": "forward and backward pass",
    "step": "training step",
}
"""Kind of work → its words."""
SIZES = {"vocab_size": 50_257, "block_size": 256, "n_layer": 4, "n_head": 4, "n_embd": 128}
"""Size → what it is where neither the file nor an option gives it: those of Model 4."""
BATCH_SIZE = 4


def is_own(a: str, b: str) -> bool:
    """Return whether two operands are a model file and what it can be compared with."""
    return a.endswith(".py") and b in OTHERS


def add_options(parser: argparse.ArgumentParser, whole: Callable[[str], int]) -> None:
    """Add the sizes at which a model file is built."""
    group = parser.add_argument_group("sizes of a model file and of what it is compared with")
    for name, size in (SIZES | {"batch_size": BATCH_SIZE}).items():
        flag = f"--{name.replace('_', '-')}"
        group.add_argument(flag, type=whole, metavar="N", help=f"(default: {size})")


@dataclasses.dataclass(frozen=True)
class OwnPair:
    """A user's model beside another one.

    Attributes:
        own: the model file.
        case: the case of the user's model whose kinds of work are timed.
        other: what it is compared with.
        corpora: the texts, none for ids drawn evenly.
        checks: what the checks of causality and loss found.
    """

    own: OwnModel
    case: ModelCase
    other: str
    corpora: tuple[str, ...]
    checks: list[dict[str, Any]]

    @property
    def task(self) -> Task:
        """What a new process times."""
        return {
            "corpora": self.corpora,
            "model": str(self.own.file.path.resolve()),
            "works": list(WORKS),
            "base": dataclasses.asdict(self.case),
            "change": f"variant={self.other}",
        }
