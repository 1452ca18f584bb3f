"""The suites and their sizes: a suite is one entry of SUITES.

`bench.suite.plan` makes the cases of a suite for one machine.
"""

from __future__ import annotations

from collections.abc import Iterable

from bench.suite.shapes import Ladder, ModelShape, PairShape, Suite
from bench.suite.training_cases import ONE_PASS
from bench.suite.training_experiments import (
    FULL_EXPERIMENTS,
    SMALL,
    SMOKE,
    SMOKE_EXPERIMENTS,
    STANDARD_EXPERIMENTS,
    STUDY_EXPERIMENTS,
    WHOLE,
    folds,
)

UNIFORM = "uniform-ids"
"""Name of the control text: ids drawn evenly from the vocabulary (bench/suite/inputs.py)."""

STANDARD = {8: 3.5, 12: 3.7, 16: 4.0, 24: 5.0, 32: 6.0, 48: 8.5}
"""Width → seconds of a run on the reference machine."""

LADDERS: dict[str, Ladder] = {
    "smoke": Ladder(
        rungs={8: 0.15, 12: 0.15, 16: 0.15, 24: 0.2},
        n_bytes=16_384,
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
        recommendations=True,
        repeated=(ONE_PASS, "random_replacement"),
        inference_s=10.0,
    ),
}
"""Suite → its ladder; the suites that are not here train none."""

REFERENCE_TOKENS_PER_S = 16_000
"""Training speed that `ceilings.training_tokens_per_s` measures on the idle reference machine."""

COVERAGE = (
    ("random_replacement", False),
    ("random_phase_blocks", False),
    ("grid_replacement", False),
    ("shuffled_blocks", False),
    ("shuffled_blocks", True),
    ("sequential", False),
    ("sequential", True),
    ("random_distinct", False),
    ("shuffled_once", False),
    ("shuffled_across_epochs", False),
    ("rechunked_documents", False),
)
"""(sampler, drop_last) whose coverage is measured: {with, without replacement} x {fixed grid, any
start}, DataLoaders as they are usually set up, random windows without replacement, and other orders
of blocks: one for all epochs, several epochs shuffled together, and blocks cut afresh."""

CONVEX = ("grid_replacement", "shuffled_once", "shuffled_blocks")
"""Orders of the data whose rates of convergence are measured where theory has them."""

SCARCE = (0.1, 0.01)
"""Shares of the text on which coverage is measured again with the same number of tokens."""

BF16_COST = 0.7
"""Planned time of a case in bf16, or in fp32 with bf16 products, over that of the case in fp32."""

MODELS = (
    ModelShape("model5", 4, 256, {"step": 88.0}),
    ModelShape("model5", 4, 256, {"forward": 50.0}, precisions=("fp32",)),
    ModelShape("model4", 4, 256, {"step": 20.0}, precisions=("fp32",)),
)

PAIRS = (
    PairShape("model3", 2, 64, "forward", "", 12, 1.0),
    PairShape("model5", 4, 256, "forward", "precision=bf16", 1, 10.0),
    PairShape("model4", 4, 256, "forward_loss", f"corpus={UNIFORM}", 1, 6.0),
)
"""A model case with an identical copy; with bf16; and with random ids in place of real text."""

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
"""Variants that lack one optimisation, several, or all of them (bench/variants/registry.py)."""

ABLATION_LARGE = ("without-onednn-gelu",)
"""Makes no difference at the small shape of the standard suite (B = 2, T = 128)."""

ABLATION_BF16 = ("without-bf16-products",)
"""Makes a difference in bf16 only, and too small a one on Model 4."""


def _against(
    names: Iterable[str],
    model: str,
    batch_size: int,
    block_size: int,
    seconds: float,
    setup_s: float,
    precision: str = "fp32",
) -> tuple[PairShape, ...]:
    """Return the pairs of gptcore's training step and that of each variant."""
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
"""Peers at the size of Model 5: fp32, bf16, bf16 against their fp32, forward pass, generation."""

STUDY_PAIRS = (
    PairShape("model5", 4, 256, "step", "precision=bf16", 1, 120.0),
    PairShape("model5", 4, 256, "step", "precision=medium", 1, 120.0),
    PairShape("model5", 4, 256, "step", "compile=inductor", 1, 120.0),
)
"""A training step with lower precision and with torch.compile."""

SUITES: dict[str, Suite] = {
    "smoke": Suite(
        models=(
            ModelShape("model3", 2, 64, {"step": 12.0, "forward": 11.0}, precisions=("fp32",)),
        ),
        round_budget_s=0.2,
        epochs=(1,),
        experiments=SMOKE_EXPERIMENTS,
        budget_s=80,
        pairs=(
            PairShape("model3", 2, 64, "forward", "", 2, 0.3),
            PairShape("model3", 2, 64, "step", "precision=bf16", 1, 0.6),
        ),
        ablation=_against(("plain",), "model3", 2, 64, 0.3, 0.8),
        convex={"blocks": 8, "symbols": 8, "at_epochs": (2, 4, 8), "seeds": 4, "cost_s": 0.1},
        workers=False,
        limited=False,
        ceiling_s=0.2,
        folds=folds(2, SMOKE | {"n_tokens": 8_192, "cost_s": 0.5}),
        counting=((10**9, 10**4),),
        growth={"n_layer": (1, 2)},
        growth_s=0.2,
        conditions=("model3", 2, 64),
        conditions_s=0.2,
    ),
    "standard": Suite(
        models=MODELS,
        pairs=PAIRS,
        peers=(
            *_against(("transformers",), "model5", 1, 256, 20.0, 18.0),
            PairShape("model4", 1, 256, "decode", "variant=transformers", 1, 6.0),
        ),
        ablation=_against(ABLATION, "model4", 2, 128, 2.0, 2.6),
        round_budget_s=6.0,
        epochs=(0.5, 1, 2, 4, 14.4),
        experiments=STANDARD_EXPERIMENTS,
        folds=folds(5, SMALL | {"n_tokens": 12_288, "cost_s": 2.15}),
        growth_s=2.0,
        conditions_s=10.0,
        budget_s=640,
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
        convex={},
        processes=5,
        round_budget_s=20.0,
        epochs=(0.5, 1, 2, 4, 14.4),
        experiments=STUDY_EXPERIMENTS,
        folds=folds(5, WHOLE | {"cost_s": 60.0}, seeds=3),
        budget_s=21 * 3_600,
        counting=((10**9, 10**6), (10**9, 10**7)),
    ),
    "full": Suite(
        models=(ModelShape("model5", 16, 256, {"step": 350.0, "forward": 80.0}),),
        round_budget_s=20.0,
        epochs=(14.4,),
        experiments=FULL_EXPERIMENTS,
        budget_s=9 * 3_600,
        limited=False,
        growth={},
        conditions=("model5", 16, 256),
        conditions_s=300.0,
    ),
}
