"""The parameters of each kind of case, as one frozen dataclass for each kind of benchmark.

The fields of a case are its parameters, its `id` holds all of them, and `cost_s` is the time that
it took on the reference machine (2 cores with AVX-512 and AMX, torch 2.13.0). The cases that train
models are in `bench.suite.training_cases`.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class ModelCase:
    """Time one kind of work of one model.

    Attributes:
        work: "forward" (no gradient), "forward_loss", "step", …: each is a benchmark of
            bench_model.py, or of bench_own.py.
        model: name of a preset, or sizes as in "L6-H6-C384".
        compile: one of `gptcore.training.config.COMPILERS`, or "" for no compiling.
        variant: the implementation, a name in `bench.variants.registry.VARIANTS` or that of the
            user's own model file; the default is left out of the id and of the record.
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
        """Every parameter but the work (the test's name holds it) and the default variant."""
        compiled = f"-{self.compile}" if self.compile else ""
        return (
            f"{self.corpus}-{self.model}-{self.device}-{self.precision}{compiled}"
            f"-B{self.batch_size}-T{self.block_size}-seed{self.seed}"
            f"{'' if self.variant == 'gptcore' else f'-{self.variant}'}"
        )


@dataclass(frozen=True)
class CoverageCase:
    """Draw windows for `target_epochs` epoch-equivalents and count the targets that they show."""

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
class DataLoaderCase:
    """Count what a real DataLoader shows in `target_epochs` passes, beside its sampler."""

    corpus: str
    sampler: str
    drop_last: bool
    target_epochs: float
    batch_size: int = 16
    block_size: int = 256
    seed: int = 0
    cost_s: float = field(default=0.2, compare=False)

    @property
    def id(self) -> str:
        """Every parameter."""
        return (
            f"{self.corpus}-{'drop_last' if self.drop_last else 'keep_last'}-{self.sampler}"
            f"-epochs{self.target_epochs:g}-B{self.batch_size}-T{self.block_size}-seed{self.seed}"
        )


@dataclass(frozen=True)
class PackingCase:
    """Count what packing the documents of a text crops and pads, in rows of several sizes."""

    corpus: str
    sizes: tuple[int, ...] = (64, 256, 1024)
    cost_s: float = field(default=0.2, compare=False)

    @property
    def id(self) -> str:
        """Every parameter."""
        return f"{self.corpus}-T{'-'.join(map(str, self.sizes))}"


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
    """Compare a test part at each position of a text, cleaned or raw."""

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
class PairCase:
    """Time a model case in turns with a changed copy of it.

    Attributes:
        base: the model case.
        change: name=value, as in "precision=bf16"; commas join several; "" changes nothing.
        trials: number of comparisons, each with its own interval.
        seconds: timed seconds of each comparison.
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
        dimension: the dimension that varies; all others are as in `bench_cost.BASE`.
        sizes: its sizes, each larger than the one before by the same factor.
        seconds: timed seconds, without warm-up.
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
    """Time a forward pass in turns under several conditions."""

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


@dataclass(frozen=True)
class ConvexCase:
    """Minimise a convex function of a text by SGD, with one order of its blocks.

    Attributes:
        objective: "softmax" or "least_squares".
        sampler: order of the blocks.
        blocks: n, the number of terms of the objective.
        block_size: T, the number of bigrams in a block.
        symbols: V, the commonest bytes and one symbol for all others.
        l2: strength of the quadratic penalty.
        at_epochs: numbers of epochs after which the excess is measured, rising.
        seeds: the first half chooses the step size, the other one measures.
    """

    corpus: str
    objective: str
    sampler: str
    blocks: int = 64
    block_size: int = 128
    symbols: int = 16
    l2: float = 0.1
    at_epochs: tuple[int, ...] = (2, 4, 8, 16, 32)
    seeds: int = 16
    cost_s: float = field(default=6.0, compare=False)

    @property
    def id(self) -> str:
        """Every parameter."""
        return (
            f"{self.corpus}-{self.objective}-n{self.blocks}-T{self.block_size}-V{self.symbols}"
            f"-l2_{self.l2:g}-epochs{'_'.join(map(str, self.at_epochs))}-{self.sampler}"
            f"-seeds{self.seeds}"
        )
