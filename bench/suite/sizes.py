"""The suites and their sizes: a suite is one entry of SUITES.

`bench.suite.plan` makes the cases of a suite for one machine.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from bench.suite.experiments import Experiment, arms_of
from bench.suite.shapes import Ladder, ModelShape, PairShape, Suite
from bench.suite.training_cases import ONE_PASS

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
)
"""(sampler, drop_last) whose coverage is measured: {with, without replacement} x {fixed grid, any
start}, DataLoaders as they are usually set up, and random windows without replacement."""

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

SAMPLERS = arms_of("sampler", ("random_replacement", "sequential", "shuffled_blocks"))
LOADERS = (
    {"sampler": "random_replacement", "reader": "sampler"},
    {"sampler": "sequential", "reader": "dataloader"},
    {"sampler": "shuffled_blocks", "reader": "dataloader"},
)
"""Random windows against torch's own DataLoader, unshuffled and shuffled."""


def _folds(count: int, common: dict[str, Any]) -> tuple[Experiment, ...]:
    """Return the runs that test on each of `count` folds of a text in turn."""
    splits = arms_of("split", [f"block:{k}/{count}" for k in range(1, count + 1)])
    return (Experiment("folds", splits, {"sampler": "shuffled_blocks"} | common),)


SMOKE_TRAIN = {"n_layer": 1, "n_head": 2, "n_embd": 32, "block_size": 32}
STANDARD_TRAIN = {"target_epochs": 4.0, "n_embd": 64, "block_size": 32, "learning_rate": 2.5e-3}
"""The shape and the passes of the training experiments of a suite."""

SUITES: dict[str, Suite] = {
    "smoke": Suite(
        models=(
            ModelShape("model3", 2, 64, {"step": 12.0, "forward": 11.0}, precisions=("fp32",)),
        ),
        round_budget_s=0.2,
        epochs=(1,),
        experiments=(
            Experiment(
                "samplers",
                LOADERS,
                SMOKE_TRAIN | {"n_tokens": 16_384, "cost_s": 1.0},
                seeds=2,
                comparisons=((0, 1), (0, 2)),
                every_text=True,
            ),
        ),
        budget_s=70,
        pairs=(
            PairShape("model3", 2, 64, "forward", "", 2, 0.3),
            PairShape("model3", 2, 64, "step", "precision=bf16", 1, 0.6),
        ),
        ablation=_against(("plain",), "model3", 2, 64, 0.3, 0.8),
        workers=False,
        limited=False,
        ceiling_s=0.2,
        folds=_folds(2, SMOKE_TRAIN | {"n_tokens": 8_192, "cost_s": 0.5}),
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
        experiments=(
            Experiment(
                "samplers",
                LOADERS,
                STANDARD_TRAIN | {"n_tokens": 24_576, "cost_s": 4.3},
                seeds=8,
                comparisons=((0, 1), (0, 2)),
                prior_sd=0.085,
                every_text=True,
            ),
        ),
        folds=_folds(5, STANDARD_TRAIN | {"n_tokens": 12_288, "cost_s": 2.15}),
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
        processes=5,
        round_budget_s=20.0,
        epochs=(0.5, 1, 2, 4, 14.4),
        experiments=(
            Experiment(
                "samplers",
                SAMPLERS,
                {"n_tokens": None, "target_epochs": 4.0, "cost_s": 120.0},
                seeds=9,
                comparisons=((0, 1), (0, 2), (1, 2)),
                prior_sd=0.1,
                every_text=True,
            ),
        ),
        folds=_folds(5, {"n_tokens": None, "target_epochs": 4.0, "cost_s": 60.0}),
        budget_s=4 * 3_600,
        counting=((10**9, 10**6), (10**9, 10**7)),
    ),
    "full": Suite(
        models=(ModelShape("model5", 16, 256, {"step": 350.0, "forward": 80.0}),),
        round_budget_s=20.0,
        epochs=(14.4,),
        experiments=(
            Experiment(
                "tutorial",
                (
                    {"sampler": "random_replacement", "init": "normal"},
                    {"sampler": "random_replacement", "init": "gpt2"},
                    {"sampler": "shuffled_blocks", "init": "gpt2"},
                ),
                {
                    "n_tokens": None,
                    "target_epochs": 14.4,
                    "n_layer": 12,
                    "n_head": 12,
                    "n_embd": 768,
                    "compact": False,
                    "raw": True,
                    "precision": "bf16",
                    "batch_size": 16,
                    "block_size": 256,
                    "learning_rate": 6e-4,
                    "cost_s": 501 * 10.0,
                },
            ),
        ),
        budget_s=5 * 3_600,
        limited=False,
        growth={},
        conditions=("model5", 16, 256),
        conditions_s=300.0,
    ),
}
