"""`python -m bench pair FILE.py gptcore`: the user's model beside another one at the same sizes."""

from __future__ import annotations

import argparse
import dataclasses
from typing import Any

import torch

from bench.ledger.folders import duration
from bench.pairing.operands import default_device
from bench.pairing.processes import ProcessPairs, Task, run_in_process, summarise
from bench.suite.cases import ModelCase
from bench.suite.inputs import Inputs
from bench.suite.own import OwnModel, config_of, shape_name
from bench.suite.sizes import UNIFORM
from bench.variants.differences import differences
from bench.variants.own import Own
from bench.variants.registry import build, why_not
from gptcore.checking.python_file import one_line
from gptcore.console import Progress, Table, whole_in
from gptcore.model.config import ModelConfig
from gptcore.model.gpt import GPT

OTHERS = ("gptcore", "nanogpt-style", "transformers")
"""What a user's model can be compared with."""
WORKS = {
    "forward_loss": "forward pass with its loss, without gradients",
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


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the sizes at which a model file is built."""
    group = parser.add_argument_group("sizes of a model file and of what it is compared with")
    for name, size in (SIZES | {"batch_size": BATCH_SIZE}).items():
        whole = whole_in(1, 10**9)
        group.add_argument(_flag(name), type=whole, metavar="N", help=f"(default: {size})")


def refuse_sizes(options: argparse.Namespace) -> None:
    """Refuse sizes where no model file is timed.

    Raises:
        ValueError: one is given.
    """
    for name in (*SIZES, "batch_size"):
        if getattr(options, name) is not None:
            raise ValueError(
                f"{_flag(name)} is for a model file beside one of {', '.join(OTHERS)}: leave it out"
            )


def _flag(size: str) -> str:
    return f"--{size.replace('_', '-')}"


@dataclasses.dataclass(frozen=True)
class OwnPair:
    """A user's model and what it is compared with, at the same sizes.

    Attributes:
        own: the model file.
        case: the case of the user's model; its work is none of WORKS yet.
        config: the sizes of both.
        other: what it is compared with, one of OTHERS.
        corpora: the texts; none for ids drawn evenly.
    """

    own: OwnModel
    case: ModelCase
    config: ModelConfig
    other: str
    corpora: tuple[str, ...]

    @classmethod
    def of(cls, options: argparse.Namespace) -> OwnPair:
        """Return the pair that a command line names.

        Raises:
            ValueError: the file has no model, the other one cannot run here, the text cannot be
                read, or the sizes do not fit.
        """
        if reason := why_not(options.b):
            raise ValueError(reason)
        inputs = Inputs(options.corpus or (), options.a)
        assert inputs.own is not None, "a model was given"
        if reason := inputs.own.why_not():
            raise ValueError(reason)
        given = {name: getattr(options, name) for name in SIZES}
        corpus = next(iter(inputs.corpora), UNIFORM)
        if corpus != UNIFORM:
            if given["vocab_size"] is not None:
                raise ValueError("the text gives the vocabulary: leave out --vocab-size")
            given["vocab_size"] = inputs.stream(corpus).vocab_size
        sizes = _sizes(inputs.own, given)
        config = config_of(shape_name(sizes), sizes["vocab_size"], sizes["block_size"])
        case = ModelCase(
            corpus,
            shape_name(sizes),
            str(default_device()),
            "fp32",
            options.batch_size or BATCH_SIZE,
            config.block_size,
            "",
            variant=inputs.own.name,
        )
        return cls(inputs.own, case, config, options.b, tuple(options.corpus or ()))

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

    def differences(self) -> list[dict[str, str]]:
        """Return what is not the same in both models.

        Raises:
            ValueError: one of them cannot be built at these sizes.
        """
        ids = torch.arange(self.config.block_size)[None] % self.config.vocab_size
        other = build(self.other, GPT(self.config), ids[:, :32])
        own = Own(self.own.file, self.own.build(self.config))
        try:
            own.loss(ids, ids)
        except Exception as error:  # somebody else's code may raise anything
            raise ValueError(
                f"{self.own.name} cannot read {self.case.model} with {ids.shape[1]} tokens: "
                f"{one_line(error)}; give it other sizes"
            ) from error
        return differences(own, other, self.config)

    def time(
        self, seconds: float, processes: int, margin: float, progress: Progress
    ) -> dict[str, ProcessPairs]:
        """Return the pairs of each kind of work, timed in new processes."""
        answers = []
        for done in range(1, processes + 1):
            answers.append(run_in_process(self.task | {"seconds": seconds / processes}))
            progress(done, processes)
        return {work: summarise([each[work] for each in answers], margin) for work in WORKS}


def _sizes(own: OwnModel, given: dict[str, int | None]) -> dict[str, int]:
    """Return the sizes of a model: those given, those that its file fixes, or SIZES.

    Raises:
        ValueError: a size is given that the file fixes at another value.
    """
    fixed = own.sizes or {}
    for name, size in fixed.items():
        if given[name] not in (None, size):
            raise ValueError(
                f"{_flag(name)} is {given[name]}, but {own.name} builds {size}: leave it out, or "
                "let make_model take n_layer, n_head and n_embd"
            )
    return SIZES | fixed | {name: size for name, size in given.items() if size is not None}


def as_json(
    pair: OwnPair, timed: dict[str, dict[str, Any]], left: list[dict[str, str]]
) -> dict[str, Any]:
    """Return the object that --json prints.

    Args:
        pair: the pair.
        timed: kind of work → what `command.as_json` makes of its pairs.
        left: the differences that are left.
    """
    return {
        "a": pair.own.name,
        "a_sha256": pair.own.sha256,
        "b": pair.other,
        "sizes": {name: getattr(pair.config, name) for name in SIZES}
        | {"batch_size": pair.case.batch_size},
        "corpus": pair.case.corpus,
        "checks": [dataclasses.asdict(check) for check in pair.own.checks],
        "works": timed,
        "differences": left,
    }


def in_words(answer: dict[str, Any]) -> str:
    """Return the answer for people; `answer` is the object that --json prints."""
    a, b, sizes = answer["a"], answer["b"], answer["sizes"]
    rows, verdicts = [], {"slower": "slower", "faster": "faster", "same": "the same"}
    for work, found in answer["works"].items():
        low, high = found["interval_95"]
        ratio = f"{found['ratio']:.3g} ({low:.3g} to {high:.3g})"
        verdict = verdicts.get(found["verdict"], "too uncertain")
        times = (duration(found[f"{name}_s"], 4) for name in "ab")
        rows.append((WORKS[work], ratio, f"{b} is {verdict}", *times))
    shape = ", ".join(f"{name} {size}" for name, size in sizes.items())
    left = [(each["what"], each["own"], each["other"]) for each in answer["differences"]]
    return "\n".join(
        [
            f"Time of {b} over that of {a}, with the 95 % interval over processes:",
            "",
            str(Table(("", "ratio", "verdict", a, b), rows)),
            "",
            f"Sizes: {shape}.",
            "Not the same in both, beside the code:" if left else "All else is the same.",
            *([str(Table(("", a, b), left))] if left else []),
        ]
    )
