"""The parameters of the cases that train models, as one frozen dataclass for each kind."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class TrainCase:
    """Train one GPT with one sampler on the first `n_tokens` of a corpus (None: on all of it)."""

    corpus: str
    sampler: str
    seed: int
    n_tokens: int | None = 65_536
    target_epochs: float = 1.0
    n_layer: int = 2
    n_head: int = 4
    n_embd: int = 128
    compact: bool = True
    batch_size: int = 8
    block_size: int = 64
    learning_rate: float = 5e-3
    split: str = "tail"
    cost_s: float = field(default=8.0, compare=False)

    @property
    def experiment(self) -> str:
        """Every parameter but sampler and seed: runs that differ only in these two are compared."""
        size = "all" if self.n_tokens is None else str(self.n_tokens)
        vocabulary = "compact" if self.compact else "gpt2"
        return (
            f"{self.corpus}-N{size}-epochs{self.target_epochs:g}"
            f"-L{self.n_layer}-H{self.n_head}-C{self.n_embd}-{vocabulary}"
            f"-B{self.batch_size}-T{self.block_size}-lr{self.learning_rate:g}"
            f"-{self.split.replace(':', '').replace('/', 'of')}"
        )

    @property
    def id(self) -> str:
        """Every parameter."""
        return f"{self.experiment}-{self.sampler}-seed{self.seed}"


@dataclass(frozen=True)
class DesignCase:
    """State what one training experiment can find, before its runs.

    Attributes:
        seeds: number of paired seeds.
        n_comparisons: number of planned pairs of samplers.
        prior_sd: assumed standard deviation of the paired differences in nats/token.
    """

    experiment: str
    corpus: str
    seeds: int
    n_comparisons: int
    prior_sd: float | None
    cost_s: float = field(default=0.1, compare=False)

    @property
    def id(self) -> str:
        """Every parameter."""
        sd = "unknown" if self.prior_sd is None else f"{self.prior_sd:g}"
        return f"{self.experiment}-seeds{self.seeds}-comparisons{self.n_comparisons}-sd{sd}"


@dataclass(frozen=True)
class CompareCase:
    """Compare two samplers over the paired seeds of one training experiment."""

    experiment: str
    corpus: str
    a: str
    b: str
    seeds: int
    n_comparisons: int
    cost_s: float = field(default=0.1, compare=False)

    @property
    def id(self) -> str:
        """Every parameter."""
        return f"{self.experiment}-{self.a}-vs-{self.b}-seeds{self.seeds}"


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
