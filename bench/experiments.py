"""What runs: the suites, their cases and their sizes.

A case is one frozen dataclass: its fields are the parameters of one benchmark, its `id` holds all
of them, and `cost_s` is what it took on the reference machine (2 cores with AVX-512 and AMX, torch
2.13.0). A suite is one line in SUITES. On a machine slower than the reference the convergence runs
get shorter and the last model cases are left out; what was left out is reported.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from bench import ladder

UNIFORM = "uniform-ids"
"""Name of the control text: ids drawn evenly from the vocabulary (bench/inputs.py)."""

GROWTH: dict[str, tuple[int, ...]] = {
    "batch_size": (1, 2, 4, 8, 16),
    "block_size": (32, 64, 128, 256, 512),
    "n_embd": (64, 128, 256, 512),
    "n_layer": (1, 2, 4, 8, 16),
}
"""Sizes of each dimension along which the cost of a training step is followed."""

REFERENCE_TOKENS_PER_S = 16_000
"""What the probe (bench/run.py) measures on the reference machine when it is quiet."""


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
class LedgerCase:
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
    | LedgerCase
    | PositionCase
    | LoadingCase
    | TrainCase
    | CompareCase
    | PairCase
    | ladder.RungCase
    | ladder.LadderCase
    | ladder.FitCase
    | ladder.InferenceCase
    | GrowthCase
    | ConditionsCase
)


@dataclass(frozen=True)
class ModelShape:
    """A model at one batch shape, and what each kind of work on it costs in fp32."""

    model: str
    batch_size: int
    block_size: int
    cost_s: dict[str, float]
    compile: str = ""


@dataclass(frozen=True)
class PairShape:
    """A pair: what is timed on each device, what is changed, how often and for how long.

    `setup_s` is what building both costs, the packages of a peer included.
    """

    model: str
    batch_size: int
    block_size: int
    work: str
    change: str
    trials: int
    seconds: float
    precision: str = "fp32"
    setup_s: float = 4.0


@dataclass(frozen=True)
class Suite:
    """The sizes of one suite.

    Attributes:
        models: what is timed, most important first.
        model_budget_s: model cases that would exceed it are left out, last ones first.
        round_budget_s: timed seconds that a model case aims at.
        epochs: epoch-equivalents at which coverage is measured.
        train: the convergence experiment, as far as it differs from TrainCase's defaults.
        seeds: paired seeds of it.
        budget_s: what the whole suite may take on the reference machine.
        ceiling_s: seconds for each ceiling of the machine.
        folds: blocks of the text that are tested on in turn; 0 for none.
        ledgers: (tokens, draws) on which counting visits is timed.
        samplers: of the convergence experiment.
        pairs: what is timed interleaved; the first is something against itself.
        peers: pairs of ours and other implementations.
        ablation: pairs of ours and ours without one optimisation.
        peaks: (model, B, T, seconds each, variants) whose peak memory is read.
        processes: new processes in which each model case is timed again.
        workers: whether a DataLoader with worker processes is timed, too.
        precisions: of the model cases, where a device has them.
        growth: sizes of each dimension along which the cost of a step is timed.
        growth_s: timed seconds for each.
        conditions: model, batch and context size of the forward pass timed under each condition.
        conditions_s: timed seconds for all conditions.
    """

    models: tuple[ModelShape, ...]
    model_budget_s: float
    round_budget_s: float
    epochs: tuple[float, ...]
    train: dict[str, Any]
    seeds: int
    budget_s: float
    samplers: tuple[str, ...] = ("random_replacement", "sequential", "shuffled_blocks")
    pairs: tuple[PairShape, ...] = ()
    peers: tuple[PairShape, ...] = ()
    ablation: tuple[PairShape, ...] = ()
    peaks: tuple[tuple[str, int, int, float, tuple[str, ...]], ...] = ()
    processes: int = 1
    workers: bool = True
    ceiling_s: float = 1.0
    folds: int = 5
    ledgers: tuple[tuple[int, int], ...] = ((10**9, 10**6),)
    precisions: tuple[str, ...] = ("fp32", "bf16")
    growth: dict[str, tuple[int, ...]] = field(default_factory=lambda: GROWTH)
    growth_s: float = 3.0
    conditions: tuple[str, int, int] = ("model5", 1, 256)
    conditions_s: float = 15.0


COVERAGE = (
    ("random_replacement", False),
    ("random_phase_blocks", False),
    ("grid_replacement", False),
    ("shuffled_blocks", False),
    ("shuffled_blocks", True),
    ("sequential", False),
    ("sequential", True),
    ("random_distinct", False),
)
"""Samplers counted, with drop_last or not: the 2 x 2, DataLoaders as people set them up, and
random windows without replacement: what disjointness does, and what replacement."""

SCARCE = (0.1, 0.01)
"""Shares of the text on which the budget of tokens is spent again."""

BF16_COST = 0.7
"""Cost of a case in bf16 or medium precision over the same one in fp32."""

MODELS = (
    ModelShape("model5", 4, 256, {"step": 77.0, "forward": 31.0}),
    ModelShape("model4", 8, 256, {"step": 24.0, "forward": 13.0}),
)

PAIRS = (
    PairShape("model3", 2, 64, "forward", "", 20, 2.0),
    PairShape("model5", 4, 256, "forward", "precision=bf16", 1, 20.0),
    PairShape("model4", 4, 256, "forward_loss", f"corpus={UNIFORM}", 1, 12.0),
)
"""One thing against itself; what bf16 gains; and whether the time depends on what the text says."""

ABLATION = (
    "without-chunked-loss",
    "without-gelu-again",
    "without-sparse-gradient",
    "without-fused-adamw",
    "without-sdpa",
    "without-fused-qkv",
    "nanogpt-style",
    "plain",
)
"""Ours without one piece each, without several, without all (bench/variants.py)."""


def _against(
    names: Iterable[str],
    model: str,
    batch_size: int,
    block_size: int,
    seconds: float,
    setup_s: float,
) -> tuple[PairShape, ...]:
    """Return a training step of ours in fp32 against that of each variant."""
    return tuple(
        PairShape(
            model,
            batch_size,
            block_size,
            "step",
            f"variant={name}",
            1,
            seconds,
            setup_s=setup_s,
        )
        for name in names
    )


STUDY_PEERS = (
    *_against(("transformers", "nanogpt-style", "litgpt"), "model5", 4, 256, 120.0, 10.0),
    PairShape("model5", 4, 256, "step", "variant=transformers", 1, 40.0, "bf16"),
    PairShape("model5", 4, 256, "step", "variant=transformers,precision=fp32", 1, 70.0, "bf16"),
    PairShape("model5", 4, 256, "step", "variant=nanogpt-style,precision=fp32", 1, 70.0, "bf16"),
    PairShape("model5", 4, 256, "forward", "variant=transformers", 1, 40.0),
    PairShape("gpt2", 1, 512, "decode", "variant=transformers", 1, 120.0),
    PairShape("model5", 1, 128, "decode", "variant=plain", 1, 40.0),
)
"""At the size of Model 5: fp32, bf16, bf16 against their fp32, inference, and written text."""

STUDY_PAIRS = (
    PairShape("model5", 4, 256, "step", "precision=bf16", 1, 120.0),
    PairShape("model5", 4, 256, "step", "precision=medium", 1, 120.0),
    PairShape("model5", 4, 256, "step", "compile=inductor", 1, 120.0),
)
"""What a step gains from lower precision and from torch.compile."""

SUITES: dict[str, Suite] = {
    "smoke": Suite(
        models=(ModelShape("model3", 2, 64, {"step": 7.0, "forward": 6.0}),),
        model_budget_s=40,
        round_budget_s=0.2,
        epochs=(1,),
        train={
            "n_tokens": 16_384,
            "n_layer": 1,
            "n_head": 2,
            "n_embd": 32,
            "block_size": 32,
            "cost_s": 1.0,
        },
        seeds=2,
        budget_s=60,
        pairs=(
            PairShape("model3", 2, 64, "forward", "", 2, 0.3),
            PairShape("model3", 2, 64, "step", "precision=bf16", 1, 0.6),
        ),
        ablation=_against(("plain",), "model3", 2, 64, 0.3, 0.8),
        workers=False,
        ceiling_s=0.2,
        folds=2,
        ledgers=((10**9, 10**4),),
        growth={"n_layer": (1, 2)},
        growth_s=0.2,
        conditions=("model3", 2, 64),
        conditions_s=0.2,
    ),
    "standard": Suite(
        models=MODELS,
        pairs=PAIRS,
        peers=_against(("transformers",), "model5", 1, 256, 15.0, 7.5),
        ablation=_against(ABLATION, "model4", 2, 256, 2.0, 0.8),
        model_budget_s=260,
        round_budget_s=6.0,
        epochs=(0.5, 1, 2, 4, 14.4),
        train={},
        seeds=6,
        budget_s=600,
    ),
    "study": Suite(
        models=(
            *MODELS,
            ModelShape("model5", 4, 256, {"forward_loss": 60.0}),
            ModelShape("model5", 1, 256, {"step": 60.0, "forward": 30.0}),
            ModelShape("model5", 4, 256, {"step": 150.0, "forward": 90.0}, compile="inductor"),
            ModelShape("gpt2", 1, 1024, {"step": 150.0, "forward": 60.0}),
            ModelShape("model5", 16, 256, {"step": 700.0, "forward": 150.0}),
        ),
        pairs=(*PAIRS, *STUDY_PAIRS),
        precisions=("fp32", "bf16", "medium"),
        growth_s=20.0,
        conditions=("model5", 16, 256),
        conditions_s=300.0,
        peers=STUDY_PEERS,
        ablation=_against(ABLATION, "model5", 4, 256, 100.0, 5.0),
        peaks=(("model5", 4, 256, 30.0, ("gptcore", "transformers", "litgpt", *ABLATION)),),
        processes=4,
        model_budget_s=3_600,
        round_budget_s=20.0,
        epochs=(0.5, 1, 2, 4, 14.4),
        train={"n_tokens": None, "target_epochs": 4.0, "cost_s": 120.0},
        seeds=9,
        budget_s=4 * 3_600,
        ledgers=((10**9, 10**6), (10**9, 10**7)),
    ),
    "full": Suite(
        models=(ModelShape("model5", 16, 256, {"step": 350.0, "forward": 80.0}),),
        model_budget_s=3_600,
        round_budget_s=20.0,
        epochs=(14.4,),
        train={
            "n_tokens": None,
            "target_epochs": 14.4,
            "n_layer": 12,
            "n_head": 12,
            "n_embd": 768,
            "compact": False,
            "batch_size": 16,
            "block_size": 256,
            "learning_rate": 6e-4,
            "cost_s": 501 * 25.0,
        },
        seeds=1,
        budget_s=5 * 3_600,
        samplers=("random_replacement",),
        folds=0,
        growth={},
        conditions=("model5", 16, 256),
        conditions_s=300.0,
    ),
}


@dataclass(frozen=True)
class Plan:
    """One run's choice: a suite on devices and corpora, at a measured speed.

    Attributes:
        suite: a name in SUITES.
        devices: device → its precisions, as in {"cpu": ("fp32", "bf16")}.
        corpora: their names.
        speed: this machine's training speed over the reference machine's.
    """

    suite: str
    devices: dict[str, tuple[str, ...]]
    corpora: tuple[str, ...]
    speed: float = 1.0

    @property
    def scale(self) -> float:
        """Share of the training tokens used here: 1, 1/2, 1/4 or 1/8 (never more than 1)."""
        return next((s for s in (1.0, 0.5, 0.25) if self.speed >= 0.6 * s), 0.125)

    def all_models(self) -> list[ModelCase]:
        """Return every model case of the suite, most important first."""
        return [
            ModelCase(
                self.corpora[0],
                shape.model,
                device,
                precision,
                shape.batch_size,
                shape.block_size,
                work,
                shape.compile,
                cost_s=cost_s * (1.0 if precision == "fp32" else BF16_COST),
            )
            for shape in SUITES[self.suite].models
            for device, precisions in self.devices.items()
            for work, cost_s in shape.cost_s.items()
            for precision in precisions
            if precision in SUITES[self.suite].precisions
        ]

    def models(self) -> list[ModelCase]:
        """Return those that fit the budget on this machine, but the first in any case."""
        cases = self.all_models()
        budget = SUITES[self.suite].model_budget_s * self.scale * len(self.devices)
        spent = itertools.accumulate(case.cost_s for case in cases)
        fits = sum(total <= budget for total in spent)
        return cases[: max(1, fits)]

    def model_cases(self, work: str) -> list[ModelCase]:
        """Return those of one kind of work."""
        return [case for case in self.models() if case.work == work]

    def left_out(self) -> list[tuple[str, str]]:
        """Return (case id, reason) for what this machine is too slow to do in the suite's time."""
        kept = set(self.models())
        reason = (
            f"would exceed the time of suite {self.suite} here: this machine trains at "
            f"{self.speed:.2f} of the reference speed; --suite=study runs it"
        )
        return [
            (f"bench_model::test_{c.work}[{c.id}]", reason)
            for c in self.all_models()
            if c not in kept
        ]

    def coverage_cases(self) -> list[CoverageCase]:
        """Return each sampler at each number of epochs, and scarce text at the largest."""
        epochs = SUITES[self.suite].epochs
        cases = [
            CoverageCase(corpus, sampler, drop_last, number)
            for corpus, number, (sampler, drop_last) in itertools.product(
                self.corpora, epochs, COVERAGE
            )
        ]
        # The same budget of tokens on less text is as many times more epochs.
        scarce = [
            CoverageCase(corpus, sampler, False, max(epochs) / share, text_share=share)
            for corpus, share, sampler in itertools.product(
                self.corpora, SCARCE, ("random_replacement", "shuffled_blocks")
            )
        ]
        return cases + scarce

    def position_cases(self) -> list[PositionCase]:
        """Return each text cleaned, and raw."""
        return [PositionCase(*pair) for pair in itertools.product(self.corpora, (False, True))]

    def pair_cases(self) -> list[PairCase]:
        """Return each pair on each device that can do it."""
        return self._pairs(SUITES[self.suite].pairs)

    def peer_cases(self) -> list[PairCase]:
        """Return ours against each other implementation, on each device that can do it."""
        return self._pairs(SUITES[self.suite].peers)

    def ablation_cases(self) -> list[PairCase]:
        """Return ours against ours without each piece, on each device."""
        return self._pairs(SUITES[self.suite].ablation)

    def _pairs(self, shapes: Iterable[PairShape]) -> list[PairCase]:
        cases = []
        for shape, (device, precisions) in itertools.product(shapes, self.devices.items()):
            needed = {shape.precision, *re.findall(r"precision=(\w+)", shape.change)}
            if not needed <= set(precisions):
                continue
            base = ModelCase(
                self.corpora[0],
                shape.model,
                device,
                shape.precision,
                shape.batch_size,
                shape.block_size,
                shape.work,
            )
            cost_s = shape.setup_s + shape.trials * (1.2 * shape.seconds + 0.3)
            cases.append(PairCase(base, shape.change, shape.trials, shape.seconds, cost_s))
        return cases

    def peak_cases(self) -> list[ModelCase]:
        """Return whose peak memory of a forward and backward pass is read, on each device."""
        return [
            ModelCase(
                self.corpora[0],
                model,
                device,
                "fp32",
                batch_size,
                block_size,
                "forward_backward",
                variant=variant,
                cost_s=cost_s,
            )
            for model, batch_size, block_size, cost_s, names in SUITES[self.suite].peaks
            for device in self.devices
            for variant in names
        ]

    def growth_cases(self) -> list[GrowthCase]:
        """Return each dimension on each device, in fp32."""
        suite = SUITES[self.suite]
        return [
            GrowthCase(dimension, device, "fp32", sizes, suite.growth_s, 2 + 2 * suite.growth_s)
            for device in self.devices
            for dimension, sizes in suite.growth.items()
        ]

    def conditions_cases(self) -> list[ConditionsCase]:
        """Return the conditions of a forward pass on each device."""
        suite = SUITES[self.suite]
        seconds = suite.conditions_s
        return [
            ConditionsCase(suite.conditions[0], device, *suite.conditions[1:], seconds, 2 + seconds)
            for device in self.devices
        ]

    def loading_cases(self) -> list[LoadingCase]:
        """Return the ways to assemble a batch from the first text."""
        ways = [("memory", "gather"), ("mapped", "gather"), ("memory", "dataloader")]
        cases = [LoadingCase(self.corpora[0], source, way) for source, way in ways]
        if SUITES[self.suite].workers:
            cases.append(LoadingCase(self.corpora[0], "memory", "workers", cost_s=10.0))
        return cases

    def ledger_cases(self) -> list[LedgerCase]:
        """Return what the visit ledger is timed on."""
        return [LedgerCase(*size) for size in SUITES[self.suite].ledgers]

    def train_cases(self) -> list[TrainCase]:
        """Return the convergence runs, seed by seed, so that an early stop leaves whole pairs."""
        suite = SUITES[self.suite]
        cases = []
        for corpus, seed, sampler in itertools.product(
            self.corpora, range(suite.seeds), suite.samplers
        ):
            case = replace(TrainCase(corpus, sampler, seed), **suite.train)
            if case.n_tokens is not None:
                case = replace(
                    case,
                    n_tokens=round(case.n_tokens * self.scale),
                    cost_s=case.cost_s * self.scale,
                )
            cases.append(case)
        return cases

    def fold_cases(self) -> list[TrainCase]:
        """Return one run for each fold of the first text, at half the tokens of the others."""
        cases = [c for c in self.train_cases() if c.corpus == self.corpora[0] and c.seed == 0]
        folds = SUITES[self.suite].folds
        return [
            replace(
                cases[-1],
                split=f"block:{k}/{folds}",
                n_tokens=cases[-1].n_tokens and cases[-1].n_tokens // 2,
                cost_s=cases[-1].cost_s / 2,
            )
            for k in range(1, folds + 1)
        ]

    def compare_cases(self) -> list[CompareCase]:
        """Return each pair of samplers within each convergence experiment."""
        suite = SUITES[self.suite]
        pairs = list(itertools.combinations(suite.samplers, 2)) if suite.seeds > 1 else []
        experiments = {case.experiment: case.corpus for case in self.train_cases()}
        return [
            CompareCase(experiment, corpus, a, b, suite.seeds, len(pairs))
            for experiment, corpus in experiments.items()
            for a, b in pairs
        ]


CASES: dict[str, Callable[[Plan], Iterable[Case]]] = {
    "bench_model::test_forward": lambda plan: plan.model_cases("forward"),
    "bench_model::test_forward_loss": lambda plan: plan.model_cases("forward_loss"),
    "bench_model::test_step": lambda plan: plan.model_cases("step"),
    "bench_model::test_forward_backward": lambda plan: plan.model_cases("forward_backward"),
    "bench_model::test_decode": lambda plan: plan.model_cases("decode"),
    "bench_pair::test_pair": Plan.pair_cases,
    "bench_peers::test_peer": Plan.peer_cases,
    "bench_peers::test_ablation": Plan.ablation_cases,
    "bench_peers::test_peak": Plan.peak_cases,
    "bench_cost::test_growth": Plan.growth_cases,
    "bench_cost::test_conditions": Plan.conditions_cases,
    "bench_loading::test_load": Plan.loading_cases,
    "bench_coverage::test_coverage": Plan.coverage_cases,
    "bench_coverage::test_ledger": Plan.ledger_cases,
    "bench_position::test_position": Plan.position_cases,
    "bench_position::test_fold": Plan.fold_cases,
    "bench_convergence::test_train": Plan.train_cases,
    "bench_convergence::test_compare": Plan.compare_cases,
    # The order matters: the prediction is on disk before its target is trained.
    "bench_scaling::test_rung": ladder.rung_cases,
    "bench_scaling::test_predict": ladder.predict_cases,
    "bench_scaling::test_target": ladder.target_cases,
    "bench_scaling::test_scaling": ladder.scaling_cases,
    "bench_scaling::test_recommendation": ladder.advice_cases,
    "bench_scaling::test_repeated": ladder.repeated_cases,
    "bench_scaling::test_repeat": ladder.repeat_cases,
    "bench_scaling::test_fit_time": ladder.fit_cases,
    "bench_inference::test_inference": ladder.inference_cases,
}
"""Which cases each benchmark runs: a new benchmark is one function and one line here."""


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
