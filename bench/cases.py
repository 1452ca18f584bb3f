"""Cases: one frozen dataclass each for what a benchmark is given.

Its fields are the parameters, its `id` holds all of them, and `cost_s` is what it took on the
reference machine (2 cores with AVX-512 and AMX, torch 2.13.0). Those of `bench_scaling` and
`bench_inference` stand in `bench.ladder`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field

from bench import ladder

UNIFORM = "uniform-ids"
"""Name of the control text: ids drawn evenly from the vocabulary (bench/inputs.py)."""


@dataclass(frozen=True)
class ModelCase:
    """Time one kind of work of one model: "forward" (no gradient), "forward_loss", "step" and more.

    Each work is a function of bench_model.py. `variant` is who does it, and how: a name of
    `bench.variants.VARIANTS`; the default is ours, and stands neither in the id nor in the record.
    `compile` is one of `training.COMPILERS`, or "" for a model that is not compiled.
    """

    corpus: str
    model: str
    device: str
    precision: str
    batch_size: int
    block_size: int
    work: str
    compile: str = ""
    seed: int = 0
    variant: str = "gptcore"
    cost_s: float = field(default=5.0, compare=False)

    @property
    def id(self) -> str:
        """Every parameter but the work, which is the name of the test, and our own variant."""
        compiled = f"-{self.compile}" if self.compile else ""
        return (
            f"{self.corpus}-{self.model}-{self.device}-{self.precision}{compiled}"
            f"-B{self.batch_size}-T{self.block_size}-seed{self.seed}"
            f"{'' if self.variant == 'gptcore' else f'-{self.variant}'}"
        )


@dataclass(frozen=True)
class CoverageCase:
    """Draw windows for `target_epochs` epoch-equivalents and count what they show."""

    corpus: str
    sampler: str
    drop_last: bool
    target_epochs: float
    batch_size: int = 16
    block_size: int = 256
    text_share: float = 1.0
    seed: int = 0
    cost_s: float = field(default=0.2, compare=False)

    @property
    def id(self) -> str:
        """Every parameter."""
        return (
            f"{self.corpus}-share{self.text_share:g}-{self.sampler}"
            f"-{'drop_last' if self.drop_last else 'keep_last'}-epochs{self.target_epochs:g}"
            f"-B{self.batch_size}-T{self.block_size}-seed{self.seed}"
        )


@dataclass(frozen=True)
class CountingCase:
    """Count the visits of `draws` random windows over `n_tokens` tokens."""

    n_tokens: int
    draws: int
    block_size: int = 256
    cost_s: float = field(default=5.0, compare=False)

    @property
    def id(self) -> str:
        """Every parameter."""
        return f"N{self.n_tokens}-K{self.draws}-T{self.block_size}"


@dataclass(frozen=True)
class PositionCase:
    """Profile the positions of a text, cleaned or raw."""

    corpus: str
    raw: bool
    cost_s: float = field(default=1.0, compare=False)

    @property
    def id(self) -> str:
        """Every parameter."""
        return f"{self.corpus}-{'raw' if self.raw else 'cleaned'}"


@dataclass(frozen=True)
class LoadingCase:
    """Assemble batches from "memory" or a "mapped" file by "gather", "dataloader" or "workers"."""

    corpus: str
    source: str
    way: str
    batch_size: int = 64
    block_size: int = 256
    seed: int = 0
    cost_s: float = field(default=3.0, compare=False)

    @property
    def id(self) -> str:
        """Every parameter."""
        return (
            f"{self.corpus}-{self.source}-{self.way}"
            f"-B{self.batch_size}-T{self.block_size}-seed{self.seed}"
        )


@dataclass(frozen=True)
class TrainCase:
    """Train one GPT under one sampler on the first `n_tokens` of a corpus (all of it: None)."""

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
        """Every parameter but sampler and seed: runs that differ only in those are compared."""
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


@dataclass(frozen=True)
class PairCase:
    """Time a model case and the same with one change, interleaved; "" changes nothing.

    Attributes:
        base: what is changed.
        change: name=value, as in "precision=bf16"; several are joined by commas.
        trials: comparisons made; each has an interval of its own.
        seconds: timed in each.
    """

    base: ModelCase
    change: str
    trials: int
    seconds: float
    cost_s: float = field(default=10.0, compare=False)

    @property
    def id(self) -> str:
        """Every parameter."""
        change = self.change.replace("=", "-").replace(",", "-") or "itself"
        return f"{self.base.work}-{self.base.id}-vs-{change}-trials{self.trials}-{self.seconds:g}s"


@dataclass(frozen=True)
class GrowthCase:
    """Time a training step at growing sizes of one dimension: "batch_size" or one of ModelConfig's.

    Attributes:
        dimension: what grows, all else as `bench_cost` has it.
        sizes: in which steps, as many times larger each.
        seconds: timed, warm-up apart.
    """

    dimension: str
    device: str
    precision: str
    sizes: tuple[int, ...]
    seconds: float
    cost_s: float = field(default=10.0, compare=False)

    @property
    def id(self) -> str:
        """Every parameter."""
        sizes = "-".join(map(str, self.sizes))
        return f"{self.dimension}-{sizes}-{self.device}-{self.precision}-{self.seconds:g}s"


@dataclass(frozen=True)
class ConditionsCase:
    """Time a forward pass under one condition after the other, in turns."""

    model: str
    device: str
    batch_size: int
    block_size: int
    seconds: float
    cost_s: float = field(default=20.0, compare=False)

    @property
    def id(self) -> str:
        """Every parameter."""
        return f"{self.model}-{self.device}-B{self.batch_size}-T{self.block_size}-{self.seconds:g}s"


Case = (
    ModelCase
    | CoverageCase
    | CountingCase
    | PositionCase
    | LoadingCase
    | TrainCase
    | CompareCase
    | PairCase
    | ladder.RungCase
    | ladder.LadderCase
    | ladder.InferenceCase
    | GrowthCase
    | ConditionsCase
)


def params(case: Case) -> dict[str, object]:
    """Return the parameters of a case as they stand in its record."""
    named = {k: v for k, v in asdict(case).items() if k not in ("cost_s", "seed")}
    if named.get("variant") == "gptcore":
        del named["variant"]
    if isinstance(case, PairCase):
        named["base"] = params(case.base) | {"seed": case.base.seed}
    if isinstance(case, ladder.InferenceCase):
        named["model"] = params(case.model) | {"seed": case.model.seed}
    return named | ({"experiment": case.experiment} if isinstance(case, TrainCase) else {})
