"""The suites: what is run, at which sizes.

A suite is one entry of SUITES; `bench.suite.plan` makes its cases.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from bench.suite.training_cases import ONE_PASS

UNIFORM = "uniform-ids"
"""Name of the control text: ids drawn evenly from the vocabulary (bench/suite/inputs.py)."""


FEWEST_BYTES = 16_384
"""A slower machine gets less of the text, but never less than this."""


@dataclass(frozen=True)
class Ladder:
    """The scaling experiments of one suite.

    Attributes:
        rungs: widths trained, with the seconds that each takes; the last one is the target.
        n_bytes: of the text; None is all of it.
        block_size: T.
        seeds: of every rung, and of the target.
        prompts: of inference-time scaling, and `samples` continuations of each.
        advice: try each of RECOMMENDATIONS.
        repeated: samplers under which text is repeated, and the width that is trained on it.
    """

    rungs: dict[int, float]
    n_bytes: int | None = None
    block_size: int = 64
    seeds: int = 1
    prompts: int = 32
    samples: int = 16
    new_tokens: int = 16
    inference_s: float = 4.0
    advice: bool = False
    repeated: tuple[str, ...] = ()
    repeated_width: int = 24


STANDARD = {8: 3.5, 12: 3.7, 16: 4.0, 24: 5.0, 32: 6.0, 48: 8.5}
"""Width → seconds of a run on the reference machine."""

LADDERS: dict[str, Ladder] = {
    "smoke": Ladder(
        rungs={8: 0.15, 12: 0.15, 16: 0.15, 24: 0.2},
        n_bytes=FEWEST_BYTES,
        block_size=32,
        prompts=4,
        samples=4,
        new_tokens=8,
        inference_s=0.3,
    ),
    "standard": Ladder(rungs=STANDARD, n_bytes=393_216),
    "study": Ladder(
        rungs=STANDARD | {64: 14.0, 96: 25.0},
        seeds=3,
        prompts=64,
        advice=True,
        repeated=(ONE_PASS, "random_replacement"),
        inference_s=10.0,
    ),
}
"""Suite → its ladder; a suite without one trains none."""


GROWTH: dict[str, tuple[int, ...]] = {
    "batch_size": (1, 2, 4, 8, 16),
    "block_size": (32, 64, 128, 256, 512),
    "n_embd": (64, 128, 256, 512),
    "n_layer": (1, 2, 4, 8, 16),
}
"""Sizes of each dimension along which the cost of a training step is followed."""

REFERENCE_TOKENS_PER_S = 16_000
"""What the probe (bench/session.py) measures on the reference machine when it is quiet."""


@dataclass(frozen=True)
class ModelShape:
    """A model at one batch shape, and what each kind of work on it costs in fp32.

    It is timed in those of `precisions` that a device has.
    """

    model: str
    batch_size: int
    block_size: int
    cost_s: dict[str, float]
    compile: str = ""
    precisions: tuple[str, ...] = ("fp32", "bf16")


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
    ModelShape("model5", 4, 256, {"step": 77.0}),
    ModelShape("model5", 4, 256, {"forward": 33.0}, precisions=("fp32",)),
    ModelShape("model4", 8, 256, {"step": 25.0}, precisions=("fp32",)),
)

PAIRS = (
    PairShape("model3", 2, 64, "forward", "", 20, 1.0),
    PairShape("model5", 4, 256, "forward", "precision=bf16", 1, 14.0),
    PairShape("model4", 4, 256, "forward_loss", f"corpus={UNIFORM}", 1, 6.0),
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
"""Ours without one piece each, without several, without all (bench/variants/registry.py), in fp32."""

ABLATION_LARGE = ("without-onednn-gelu",)
"""What the few numbers of the standard suite's ablation (B = 2, T = 128) are too small for."""

ABLATION_BF16 = ("without-bf16-products",)
"""The same in bf16, where alone this piece does anything; on Model 4 too little to show."""


def _against(
    names: Iterable[str],
    model: str,
    batch_size: int,
    block_size: int,
    seconds: float,
    setup_s: float,
    precision: str = "fp32",
) -> tuple[PairShape, ...]:
    """Return a training step of ours against that of each variant."""
    return tuple(
        PairShape(
            model,
            batch_size,
            block_size,
            "step",
            f"variant={name}",
            1,
            seconds,
            precision,
            setup_s,
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
        models=(ModelShape("model3", 2, 64, {"step": 7.0, "forward": 6.0}, precisions=("fp32",)),),
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
        peers=(
            *_against(("transformers",), "model5", 1, 256, 30.0, 18.0),
            PairShape("model4", 1, 256, "decode", "variant=transformers", 1, 6.0),
        ),
        ablation=_against(ABLATION, "model4", 2, 128, 2.0, 2.6),
        model_budget_s=260,
        round_budget_s=6.0,
        epochs=(0.5, 1, 2, 4, 14.4),
        train={"n_tokens": 49_152, "cost_s": 5.5},
        growth_s=2.0,
        conditions_s=16.0,
        seeds=6,
        budget_s=600,
    ),
    "study": Suite(
        models=(
            *MODELS,
            ModelShape("model5", 4, 256, {"forward_loss": 60.0}),
            ModelShape("model5", 4, 256, {"step": 77.0}, precisions=("medium",)),
            ModelShape("model5", 4, 256, {"forward": 40.0}, precisions=("bf16", "medium")),
            ModelShape("model5", 1, 256, {"step": 60.0, "forward": 30.0}),
            ModelShape("model5", 4, 256, {"step": 150.0, "forward": 90.0}, compile="inductor"),
            ModelShape("gpt2", 1, 1024, {"step": 150.0, "forward": 60.0}),
            ModelShape("model5", 16, 256, {"step": 700.0, "forward": 150.0}),
        ),
        pairs=(*PAIRS, *STUDY_PAIRS),
        growth_s=20.0,
        conditions=("model5", 16, 256),
        conditions_s=300.0,
        peers=STUDY_PEERS,
        ablation=(
            *_against((*ABLATION, *ABLATION_LARGE), "model5", 4, 256, 100.0, 5.0),
            *_against(ABLATION_BF16, "model5", 4, 256, 100.0, 5.0, "bf16"),
        ),
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
