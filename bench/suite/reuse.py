"""The cases of `bench_reuse`: one text, learned from scratch, fine-tuned, and as published."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bench.suite.experiments import Arm, Experiment
from bench.suite.training_cases import TrainCase
from gptcore.model.config import PRESETS, ModelConfig
from gptcore.model.flops import n_params
from gptcore.model.pretrained import Pretrained

NOT_GIVEN = "not_given"
"""The name of the published model in a run that has none."""
OPTION = re.compile(r"'--pretrained=[^']*'|--pretrained[= ]('[^']*'|\S+)")
"""The option on a command line, as `shlex.join` quotes it."""
COMMAND = "pytest --benchmark-only --suite=study -k bench_reuse --pretrained=gpt2"
ELSEWHERE = f"suite {{suite}} compares no published model with training; {COMMAND} does"
"""Why a suite without these cases has no record of them."""


@dataclass(frozen=True)
class Published:
    """What a plan has to know of the weights that `--pretrained` names.

    Attributes:
        name: in characters that a case id may hold.
        config: its shape.
    """

    name: str = NOT_GIVEN
    config: ModelConfig = PRESETS["gpt2"]

    @classmethod
    def of(cls, pretrained: Pretrained) -> Published:
        """Return what a plan has to know of loaded weights.

        Raises:
            ValueError: they have a name that stands for something else.
        """
        # A hyphen would begin a new setting in the arm of an experiment.
        name = re.sub(r"[^A-Za-z0-9_.]+", "_", pretrained.name)
        if name in (NOT_GIVEN, TrainCase.model):
            raise ValueError(f"published weights cannot be called {name!r}: rename their folder")
        return cls(name, pretrained.model.config)

    def without_folder(self, command: str) -> str:
        """Return a command line with the name of the weights in place of their folder."""
        return OPTION.sub(f"--pretrained={self.name}", command)

    @property
    def is_given(self) -> bool:
        """Whether there are weights."""
        return self.name != NOT_GIVEN


def _arm(config: ModelConfig, model: str, learning_rate: float, cost_s: float) -> Arm:
    """Return the fields of TrainCase in which the runs differ."""
    sizes = {name: getattr(config, name) for name in ("n_layer", "n_head", "n_embd")}
    return {**sizes, "model": model, "learning_rate": learning_rate, "cost_s": cost_s}


@dataclass(frozen=True)
class ScoreCase:
    """Score a published model as it is, by a protocol that the id says.

    Attributes:
        model: its name.
        n_tokens: length of the beginning of the text that is used, whose last tenth is scored;
            None: all of it.
        test_tokens: tokens at the beginning of the test part that are scored; None: all of it.
        context: the most tokens that are read before a target.
        stride: tokens between the starts of two windows.
    """

    corpus: str
    model: str
    n_tokens: int | None
    test_tokens: int | None
    context: int
    stride: int
    cost_s: float = field(default=60.0, compare=False)

    @property
    def id(self) -> str:
        """Every parameter; the text is cleaned, and no token stands before it."""
        return (
            f"{self.corpus}-N{self.n_tokens or 'all'}-test{self.test_tokens or 'all'}-{self.model}"
            f"-context{self.context}-stride{self.stride}-no_bos-cleaned"
        )


@dataclass(frozen=True)
class DecisionCase:
    """Set the options beside each other: what each costs, and which loss it reaches.

    Attributes:
        experiment: the key that the training runs share (`TrainCase.experiment`).
        context: that of the score of the published model which is compared.
    """

    experiment: str
    corpus: str
    context: int
    cost_s: float = field(default=0.2, compare=False)

    @property
    def id(self) -> str:
        """Every parameter."""
        return f"{self.experiment}-context{self.context}"


@dataclass(frozen=True)
class ReuseSizes:
    """The sizes of one suite.

    Attributes:
        common: the fields of TrainCase that all runs share.
        scratch: the shapes that are trained from random weights, with the seconds of a run.
        fine_tuning_s: planned seconds of fine-tuning GPT-2 (124 million parameters).
        score_s: planned seconds of a score of it.
    """

    common: Mapping[str, Any]
    scratch: Mapping[ModelConfig, float]
    fine_tuning_s: float
    score_s: float


SCRATCH_RATE, FINE_TUNING_RATE = 5e-3, 5e-5
"""Learning rates from random weights, that of Models 1 to 4, and from published ones."""
WHOLE_VOCABULARY = {"compact": False, "sampler": "shuffled_blocks"}
"""Every option has GPT-2's vocabulary, so that losses are of the same tokens."""
REUSE = {
    "smoke": ReuseSizes(
        WHOLE_VOCABULARY
        | {"n_tokens": 4_096, "block_size": 32, "evaluations": 2, "test_tokens": 512},
        {ModelConfig(n_layer=1, n_head=2, n_embd=32): 1.5},
        40.0,
        4.0,
    ),
    "study": ReuseSizes(
        WHOLE_VOCABULARY
        | {"n_tokens": None, "batch_size": 4, "block_size": 256, "target_epochs": 3.0},
        {PRESETS["model3"]: 250.0, PRESETS["model4"]: 300.0},
        2_500.0,
        100.0,
    ),
}
"""Suite → its sizes; the suites that are not here compare no published model."""


class ReuseCases:
    """The cases of one suite on one text.

    Args:
        suite: a name in REUSE.
        corpus: the text.
        published: the published model; without one, its cases say what to give.
    """

    def __init__(self, suite: str, corpus: str, published: Published) -> None:
        self.sizes, self.corpus, self.published = REUSE[suite], corpus, published
        self.context = int(self.sizes.common["block_size"])

    def _seconds(self, of_gpt2: float) -> float:
        """Return the planned seconds of work on the published model, from those of GPT-2."""
        if not self.published.is_given:
            return 0.0
        return of_gpt2 * n_params(self.published.config) / n_params(PRESETS["gpt2"])

    @property
    def experiment(self) -> Experiment:
        """The training runs: each size from random weights, and the published one fine-tuned."""
        arms: list[Arm] = [
            _arm(config, "gptcore", SCRATCH_RATE, cost_s)
            for config, cost_s in self.sizes.scratch.items()
        ]
        name, config = self.published.name, self.published.config
        cost_s = self._seconds(self.sizes.fine_tuning_s)
        arms.append(_arm(config, name, FINE_TUNING_RATE, cost_s))
        return Experiment("reuse", tuple(arms), self.sizes.common)

    def runs(self) -> list[TrainCase]:
        """Return the training runs."""
        return self.experiment.runs((self.corpus,))

    def scores(self) -> list[ScoreCase]:
        """Return the published model as it is, at the context of the runs and at its own."""
        n_tokens = self.sizes.common["n_tokens"]
        longest = self.context if n_tokens else self.published.config.block_size
        cost_s = self._seconds(self.sizes.score_s)
        return [
            ScoreCase(
                self.corpus,
                self.published.name,
                n_tokens,
                self.sizes.common.get("test_tokens"),
                context,
                context // 2,
                cost_s,
            )
            for context in sorted({self.context, longest})
        ]

    def decisions(self) -> list[DecisionCase]:
        """Return the comparison of all options."""
        return [DecisionCase(self.runs()[0].experiment, self.corpus, self.context)]
