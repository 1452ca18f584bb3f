"""The parameters of the cases that train models, as one frozen dataclass for each kind."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields
from functools import cache
from typing import Any


@dataclass(frozen=True)
class TrainCase:
    """Train one GPT on a part of a text, and score it on the whole test part.

    Attributes:
        name: of the experiment; `-k NAME` runs the cases of one experiment.
        n_tokens: length of the beginning of the text that is used; None: all of it.
        text_share: share of the train part that is used. The number of updates does not depend on
            it, so a tenth of the text is passed over ten times as often.
        target_epochs: epoch-equivalents of the whole train part, which give the number of updates.
        budget_flops: training FLOPs that give the number of updates instead; None: the epochs do.
        copied: share of the training tokens that are copies of one short piece of the text. The
            rest is seen as often as `target_epochs` says, and the piece `copies` times as often.
        compact: whether the ids that do not occur in the text are left out of the vocabulary.
        raw: whether the text is used without cleaning.
        test_tokens: tokens at the beginning of the test part that are scored; None: all of it.
        model: "gptcore", or the name of the user's own model file.
        reader: "sampler", or "dataloader": a real `torch.utils.data.DataLoader` that is audited
            while it is read. It reads as the samplers "sequential" and "shuffled_blocks" promise,
            with drop_last, but torch's own generator shuffles it. Or "get_batch": the loader of the
            user's file.
        init: how weights begin, a name of `gptcore.model.gpt.INITIALISATIONS`.
        score_train: whether the training part is scored after training, by visits.
        order_seed: seed of the windows where it differs from `seed`, that of the initial weights.
        evaluations: parts of equal length into which evaluations divide the run.
        varied: the fields in which the runs of the experiment differ, apart from the seed.
    """

    name: str
    corpus: str
    seed: int
    sampler: str = "random_replacement"
    n_tokens: int | None = 65_536
    target_epochs: float = 1.0
    budget_flops: float | None = None
    copied: float = 0.0
    copies: int = 1
    n_layer: int = 2
    n_head: int = 4
    n_embd: int = 128
    positions: bool = True
    mlp: bool = True
    compact: bool = True
    batch_size: int = 8
    block_size: int = 64
    learning_rate: float = 5e-3
    split: str = "tail"
    text_share: float = 1.0
    raw: bool = False
    test_tokens: int | None = None
    model: str = "gptcore"
    reader: str = "sampler"
    init: str = "gpt2"
    precision: str = "fp32"
    weight_decay: float = 0.1
    order_seed: int | None = None
    score_train: bool = False
    evaluations: int = 6
    varied: tuple[str, ...] = field(default=("sampler",), compare=False)
    cost_s: float = field(default=8.0, compare=False)

    @property
    def experiment(self) -> str:
        """The name, the text and every setting that the runs of the experiment share."""
        shared = [name for name in WRITTEN if name not in self.varied]
        return "-".join([self.name, self.corpus, *self._written(shared)])

    @property
    def arm(self) -> str:
        """The settings in which this run differs from the others of its experiment."""
        return "-".join(self._written(self.varied))

    @property
    def id(self) -> str:
        """Every parameter."""
        return f"{self.experiment}-{self.arm}-seed{self.seed}"

    def _written(self, names: Iterable[str]) -> list[str]:
        defaults = _defaults()
        always = {*ALWAYS_WRITTEN, *self.varied}
        values = {name: getattr(self, name) for name in names}
        return [
            WRITTEN[name](value)
            for name, value in values.items()
            if name in always or value != defaults[name]
        ]


@cache
def _defaults() -> dict[str, Any]:
    return {f.name: f.default for f in fields(TrainCase)}


WRITTEN: dict[str, Callable[[Any], str]] = {
    "n_tokens": lambda value: f"N{'all' if value is None else value}",
    "target_epochs": "epochs{:g}".format,
    "budget_flops": lambda value: f"budget{value or 0:g}".replace("+", ""),
    "copied": "copied{:g}".format,
    "copies": "copies{}".format,
    "n_layer": "L{}".format,
    "n_head": "H{}".format,
    "n_embd": "C{}".format,
    "positions": lambda value: "positions" if value else "no_positions",
    "mlp": lambda value: "mlp" if value else "no_mlp",
    "compact": lambda value: "compact" if value else "gpt2",
    "batch_size": "B{}".format,
    "block_size": "T{}".format,
    "learning_rate": "lr{:g}".format,
    "split": lambda value: value.replace(":", "").replace("/", "of"),
    "text_share": "share{:g}".format,
    "raw": lambda value: "raw" if value else "cleaned",
    "test_tokens": lambda value: f"test{value or 'all'}",
    "sampler": str,
    "model": str,
    "reader": str,
    "init": "init_{}".format,
    "precision": str,
    "weight_decay": "decay{:g}".format,
    "score_train": lambda value: "scored" if value else "unscored",
    "order_seed": lambda value: "order" + ("" if value is None else str(value)),
    "evaluations": "evals{}".format,
}
"""Field of TrainCase → how a case id writes its value, without "+"."""
MEAN_OF = "+"
"""What joins the arms of which one side of a comparison is the mean."""
ALWAYS_WRITTEN = (
    "n_tokens", "target_epochs", "n_layer", "n_head", "n_embd", "compact", "batch_size",
    "block_size", "learning_rate", "split", "raw", "sampler", "init", "precision",
)  # fmt: skip
"""The other fields are written where their value is not the default, or where runs differ in it."""
SELDOM = frozenset(
    (
        "score_train",
        "budget_flops",
        "copied",
        "copies",
        "positions",
        "mlp",
        "evaluations",
        "test_tokens",
        "model",
    )
)
"""A record leaves them out where a case id does."""


ONE_PASS = "shuffled_blocks"
"""Sampler of the ladder: within one pass it shows no token twice."""


@dataclass(frozen=True)
class RungCase:
    """Train one size on the first `n_bytes` of a text (None: on all of it).

    Attributes:
        learning_rate: constant after the warm-up, so that a checkpoint is the end of a shorter run.
        text_share: share of the training part that is used; the run passes over it 1 / share times.
    """

    corpus: str
    n_embd: int
    seed: int
    learning_rate: float
    n_bytes: int | None = None
    text_share: float = 1.0
    sampler: str = ONE_PASS
    n_layer: int = 2
    n_head: int = 1
    batch_size: int = 16
    block_size: int = 64
    cost_s: float = field(default=5.0, compare=False)

    @property
    def id(self) -> str:
        """Every parameter."""
        size = "all" if self.n_bytes is None else str(self.n_bytes)
        return (
            f"{self.corpus}-bytes{size}-share{self.text_share:g}-{self.sampler}"
            f"-L{self.n_layer}-H{self.n_head}-C{self.n_embd}-B{self.batch_size}-T{self.block_size}"
            f"-lr{self.learning_rate:g}-seed{self.seed}"
        )


@dataclass(frozen=True)
class LadderCase:
    """Evaluate one question on a whole ladder, over every seed.

    Attributes:
        question: "predict", "outcome", one of RECOMMENDATIONS, or a sampler that repeats text.
        rungs: widths that the law is fitted to.
        target: width of the held-out size.
    """

    corpus: str
    question: str
    rungs: tuple[int, ...]
    target: int
    n_bytes: int | None
    seeds: int
    cost_s: float = field(default=0.3, compare=False)

    @property
    def id(self) -> str:
        """Every parameter."""
        size = "all" if self.n_bytes is None else str(self.n_bytes)
        rungs = "_".join(map(str, self.rungs))
        return (
            f"{self.corpus}-bytes{size}-{self.question}-C{rungs}-to-C{self.target}"
            f"-seeds{self.seeds}"
        )


@dataclass(frozen=True)
class InferenceCase:
    """Give the trained model of the held-out size more compute at inference.

    Attributes:
        model: the training run of that model.
        prompts: number of places in the test part that are continued.
        samples: continuations drawn at each place.
        new_tokens: length of each continuation in bytes.
        seed: seed of the draws.
    """

    corpus: str
    model: RungCase
    prompts: int
    samples: int
    new_tokens: int
    seed: int = 0
    cost_s: float = field(default=4.0, compare=False)

    @property
    def id(self) -> str:
        """Every parameter."""
        return (
            f"{self.model.id}-prompts{self.prompts}-samples{self.samples}"
            f"-new{self.new_tokens}-draws{self.seed}"
        )


def learning_rate(n_embd: int) -> float:
    """Return the learning rate of a width: it falls with the square root of the width."""
    return float(f"{0.002 * (64 / n_embd) ** 0.5:.2g}")
