"""What a suite consists of: the shapes of its model cases, pairs and ladder."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from bench.suite.experiments import Experiment

GROWTH: dict[str, tuple[int, ...]] = {
    "batch_size": (1, 2, 4, 8, 16),
    "block_size": (32, 64, 128, 256, 512),
    "n_embd": (64, 128, 256, 512),
    "n_layer": (1, 2, 4, 8, 16),
}
"""Dimension → the sizes at which the time of a training step is measured."""


@dataclass(frozen=True)
class Ladder:
    """The scaling experiments of one suite.

    Attributes:
        rungs: width → seconds that one run takes; the largest width is the held-out size.
        n_bytes: bytes of the text that are used; None is all of them.
        block_size: T.
        seeds: number of seeds of every size.
        prompts: number of prompts for inference-time scaling.
        samples: continuations drawn for each prompt.
        new_tokens: bytes of each continuation.
        inference_s: seconds that the inference case takes.
        recommendations: whether to try each of RECOMMENDATIONS.
        repeated: samplers under which the model is also trained on repeated text.
        repeated_width: width of the model that is trained on repeated text.
    """

    rungs: dict[int, float]
    n_bytes: int | None = None
    block_size: int = 64
    seeds: int = 1
    prompts: int = 32
    samples: int = 16
    new_tokens: int = 16
    inference_s: float = 4.0
    recommendations: bool = False
    repeated: tuple[str, ...] = ()
    repeated_width: int = 24


@dataclass(frozen=True)
class ModelShape:
    """A model at one batch shape.

    Attributes:
        model: name of a preset.
        batch_size: B.
        block_size: T.
        cost_s: kind of work → seconds that its case takes in fp32.
        compile: one of `gptcore.training.config.COMPILERS`, or "" for no compiling.
        precisions: the case is timed in those of them that a device supports.
    """

    model: str
    batch_size: int
    block_size: int
    cost_s: dict[str, float]
    compile: str = ""
    precisions: tuple[str, ...] = ("fp32", "bf16")


@dataclass(frozen=True)
class PairShape:
    """A model case that is timed in turns with a changed copy of itself.

    Attributes:
        model: name of a preset.
        batch_size: B.
        block_size: T.
        work: kind of work, a benchmark of bench_model.
        change: name=value, as `bench.measuring.workloads.change` reads it; "" changes nothing.
        trials: number of comparisons.
        seconds: timed seconds in each comparison.
        precision: precision of the unchanged case.
        setup_s: seconds for building both, the import of a peer's package included.
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
        models: model cases, the most important first.
        round_budget_s: timed seconds that each timed case aims at, over its processes.
        epochs: epoch-equivalents at which coverage is measured.
        experiments: the training experiments, the most important first.
        budget_s: seconds that all cases may take on the reference machine; the ceilings before and
            after them, about 8 CPU seconds each, are not counted.
        limited: whether a slow machine leaves cases out; if not, it takes longer.
        convex: fields of ConvexCase that differ from its defaults; None: no convex case.
        pairs: cases timed in turns with a change; the first is timed with an identical copy.
        peers: pairs of gptcore and other implementations.
        ablation: pairs of gptcore and gptcore without one optimisation.
        peaks: (model, B, T, seconds for each, variants) whose peak memory is read.
        processes: number of new processes in which each model case is timed.
        workers: whether a DataLoader with worker processes is timed as well.
        ceiling_s: seconds for measuring each ceiling of the machine.
        folds: training runs that test on each fold of the text in turn.
        counting: (tokens, draws) at which the counting of visits is timed.
        growth: dimension → sizes at which the time of a training step is measured.
        growth_s: timed seconds for each dimension.
        conditions: model, B and T of the forward pass that is timed under each condition.
        conditions_s: timed seconds for all conditions together.
    """

    models: tuple[ModelShape, ...]
    round_budget_s: float
    epochs: tuple[float, ...]
    experiments: tuple[Experiment, ...]
    budget_s: float
    convex: dict[str, Any] | None = None
    pairs: tuple[PairShape, ...] = ()
    peers: tuple[PairShape, ...] = ()
    ablation: tuple[PairShape, ...] = ()
    peaks: tuple[tuple[str, int, int, float, tuple[str, ...]], ...] = ()
    processes: int = 3
    workers: bool = True
    ceiling_s: float = 1.0
    folds: tuple[Experiment, ...] = ()
    counting: tuple[tuple[int, int], ...] = ((10**9, 10**6),)
    growth: dict[str, tuple[int, ...]] = field(default_factory=lambda: GROWTH)
    growth_s: float = 3.0
    limited: bool = True
    conditions: tuple[str, int, int] = ("model5", 1, 256)
    conditions_s: float = 15.0
