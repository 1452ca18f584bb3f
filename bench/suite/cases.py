"""Cases: one frozen dataclass each for what a benchmark is given.

Its fields are the parameters, its `id` holds all of them, and `cost_s` is what it took on the
reference machine (2 cores with AVX-512 and AMX, torch 2.13.0). Those of `bench_scaling` and
`bench_inference` stand in `bench.suite.ladder`.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class ModelCase:
    """Time one kind of work of one model: "forward" (no gradient), "forward_loss", "step" and more.

    Each work is a function of bench_model.py. `variant` is who does it, and how: a name of
    `bench.variants.registry.VARIANTS`; the default is ours, and stands neither in the id nor in the record.
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
