"""The training experiments of each suite: arms, seeds, and the comparisons planned beforehand.

`-k NAME` runs one of them. Costs are planned so that an experiment of `study` takes two hours at
most on the reference machine; docs/study.md says what each one asks.
"""

from __future__ import annotations

import itertools
from typing import Any

from bench.suite.experiments import Arm, Experiment, arms_of, two_by_two
from bench.suite.training_cases import learning_rate
from gptcore.model.config import PRESETS
from gptcore.sampling.samplers import SAMPLERS

SHUFFLED_SD, UNSHUFFLED_SD = 0.052, 0.085
"""Standard deviations of paired differences over 8 seeds, in nats/token, without and with the
unshuffled DataLoader (docs/decisions/0028-experiments-with-power.md)."""

THREE = arms_of("sampler", ("random_replacement", "sequential", "shuffled_blocks"))
LOADERS = (
    {"sampler": "random_replacement", "reader": "sampler"},
    {"sampler": "sequential", "reader": "dataloader"},
    {"sampler": "shuffled_blocks", "reader": "dataloader"},
)
"""Random windows against torch's own DataLoader, unshuffled and shuffled."""
PHASE_BY_REPLACEMENT = arms_of(
    "sampler", ("random_replacement", "random_phase_blocks", "grid_replacement", "shuffled_blocks")
)
"""{free phase, fixed grid} x {with, without replacement}."""
ORDER_BY_CUT = ("shuffled_once", "rechunked_once", "shuffled_blocks", "rechunked_documents")
"""{one order, a new order each epoch} x {fixed blocks, blocks cut afresh}."""

SMOKE = {"n_layer": 1, "n_head": 2, "n_embd": 32, "block_size": 32}
SMALL = {"target_epochs": 4.0, "n_embd": 64, "block_size": 32, "learning_rate": 2.5e-3}
ORDERS = SMALL | {"n_tokens": 98_304, "cost_s": 39.0}
WHOLE = {"n_tokens": None, "target_epochs": 4.0, "cost_s": 120.0}
"""Shapes and passes that experiments share; what they leave out is as in TrainCase."""


def folds(count: int, common: dict[str, Any], seeds: int = 1) -> tuple[Experiment, ...]:
    """Return the runs that test on each of `count` folds of a text in turn."""
    splits = arms_of("split", [f"block:{k}/{count}" for k in range(1, count + 1)])
    return (Experiment("folds", splits, {"sampler": "shuffled_blocks"} | common, seeds),)


def _grid(**values: tuple[Any, ...]) -> tuple[Arm, ...]:
    """Return one arm for each combination of the values of several fields."""
    cells = itertools.product(*values.values())
    return tuple(dict(zip(values, cell, strict=True)) for cell in cells)


SMOKE_EXPERIMENTS = (
    Experiment(
        "samplers",
        LOADERS,
        SMOKE | {"n_tokens": 16_384, "cost_s": 1.0},
        seeds=2,
        comparisons=((0, 1), (0, 2)),
        every_text=True,
        questions=("onset",),
    ),
    Experiment(
        "variance",
        arms_of("order_seed", (0, 1)),
        SMOKE | {"n_tokens": 8_192, "cost_s": 0.5},
        seeds=2,
        questions=("variance",),
    ),
)

STANDARD_EXPERIMENTS = (
    Experiment(
        "samplers",
        LOADERS,
        SMALL | {"n_tokens": 24_576, "cost_s": 4.3},
        seeds=8,
        comparisons=((0, 1), (0, 2)),
        prior_sd=UNSHUFFLED_SD,
        every_text=True,
    ),
)


def _orders() -> tuple[Experiment, ...]:
    """Return the experiments on the order of the data, at equal tokens and updates."""
    cells = arms_of("sampler", [name for name in ORDER_BY_CUT if name in SAMPLERS])
    # Without all four cells there are no effects to compare, and each arm stands alone.
    effects = two_by_two() if len(cells) == len(ORDER_BY_CUT) else ()
    names = list(SAMPLERS)
    planned = [("shuffled_blocks", "random_replacement"), ("shuffled_blocks", "sequential")]
    planned += [("shuffled_blocks", "shuffled_across_epochs")]
    pairs = [(names.index(a), names.index(b)) for a, b in planned if b in SAMPLERS]
    return (
        Experiment("orders4", cells, ORDERS, 20, effects, SHUFFLED_SD, questions=("staircase",)),
        Experiment(
            "orders16",
            cells,
            ORDERS | {"target_epochs": 16.0, "cost_s": 156.0},
            10,
            effects,
            SHUFFLED_SD,
            questions=("staircase",),
        ),
        Experiment("windows", PHASE_BY_REPLACEMENT, WHOLE, 12, two_by_two(), SHUFFLED_SD),
        Experiment(
            "every_order", arms_of("sampler", names), ORDERS, 9, tuple(pairs), UNSHUFFLED_SD
        ),
    )


def _repeats() -> tuple[Experiment, ...]:
    """Return the experiments on repeated text: how often, how much of it, and weight decay."""
    passes, shares = (1, 2, 4, 8, 16), (1.0, 0.5, 0.25, 0.125, 0.0625)
    cells = tuple(
        {"text_share": share, "target_epochs": share * each, "cost_s": 15.0 * share * each}
        for share in shares
        for each in passes
    )
    copied = ((0.0, 1), *itertools.product((0.1, 0.5), (4, 16, 64)))
    return (
        Experiment(
            "repeats",
            cells,
            SMALL | {"n_tokens": None, "sampler": "shuffled_blocks"},
            seeds=3,
            questions=("repeat_forms",),
        ),
        Experiment(
            "weight_decay",
            _grid(text_share=(1.0, 0.25), weight_decay=(0.1, 0.3, 1.0, 3.0)),
            WHOLE | {"target_epochs": 3.6, "sampler": "shuffled_blocks", "cost_s": 108.0},
            seeds=8,
            comparisons=((0, 2), (4, 6)),
        ),
        Experiment(
            "copies",
            tuple({"copied": share, "copies": times} for share, times in copied),
            SMALL
            | {"n_tokens": None, "target_epochs": 1.0, "sampler": "shuffled_blocks"}
            | {"cost_s": 15.0},
            seeds=8,
            comparisons=((0, 2), (0, 5)),
        ),
        Experiment(
            "visits",
            arms_of("target_epochs", (0.5, 1.0, 2.0, 4.0)),
            WHOLE | {"score_train": True, "cost_s": 70.0},
            seeds=3,
        ),
        Experiment(
            "scarce",
            arms_of("text_share", (1.0, 0.1, 0.01)),
            WHOLE | {"evaluations": 24, "cost_s": 150.0},
            seeds=8,
            comparisons=((0, 1), (0, 2)),
            questions=("onset",),
        ),
    )


def _shape(preset: str) -> dict[str, Any]:
    """Return the fields of TrainCase that give a model the shape of a preset."""
    names = ("n_layer", "n_head", "n_embd", "positions", "mlp")
    return {name: getattr(PRESETS[preset], name) for name in names}


def _models(cost_s: tuple[float, ...]) -> tuple[Arm, ...]:
    """Return the five models as arms; the widest has the learning rate of the tutorial."""
    rates = (5e-3, 5e-3, 5e-3, 5e-3, 6e-4)
    return tuple(
        {**_shape(f"model{i}"), "learning_rate": rate, "cost_s": each}
        for i, (rate, each) in enumerate(zip(rates, cost_s, strict=True), start=1)
    )


def _models_and_seeds() -> tuple[Experiment, ...]:
    """Return the experiments on models, initial weights, noise, and the part that tests them."""
    steps = ((0, 1), (1, 2), (2, 3), (3, 4))
    ladder = {"n_tokens": None, "batch_size": 4, "block_size": 256, "precision": "bf16"}
    ladder |= {"sampler": "shuffled_blocks"}
    widths = {32: 9.0, 64: 13.0, 128: 24.0, 256: 53.0}
    return (
        Experiment(
            "variance",
            _grid(order_seed=(0, 1, 2, 3), split=tuple(f"block:{k}/5" for k in range(1, 6))),
            ORDERS,
            seeds=4,
            questions=("variance",),
        ),
        Experiment(
            "weights",
            arms_of("init", ("normal", "gpt2")),
            WHOLE,
            seeds=8,
            comparisons=((0, 1),),
        ),
        Experiment(
            "ladder",
            _models((15.0, 19.0, 22.0, 56.0, 640.0)),
            ladder | {"target_epochs": 1.5},
            9,
            steps,
        ),
        Experiment(
            "compute",
            _models((104.0, 100.0, 100.0, 150.0, 250.0)),
            ladder | {"budget_flops": 5e12, "batch_size": 1},  # Model 5: 35 updates
            9,
            steps,
        ),
        Experiment(
            "noise",
            tuple(
                {"n_embd": width, "learning_rate": 2 * learning_rate(width), "cost_s": cost_s}
                for width, cost_s in widths.items()
            ),
            {"n_tokens": 65_536, "target_epochs": 2.0, "sampler": "shuffled_blocks"},
            seeds=24,
            questions=("noise",),
        ),
    )


STUDY_EXPERIMENTS = (
    *_orders()[:2],
    *_repeats(),
    Experiment(
        "samplers",
        THREE,
        WHOLE,
        seeds=9,
        comparisons=((0, 1), (0, 2), (1, 2)),
        prior_sd=UNSHUFFLED_SD,
        every_text=True,
    ),
    *_orders()[2:],
    *_models_and_seeds(),
)

TUTORIAL: dict[str, Any] = {
    "n_tokens": None,
    "target_epochs": 14.4,
    "compact": False,
    "raw": True,
    "precision": "bf16",
    "batch_size": 16,
    "block_size": 256,
    "learning_rate": 6e-4,
}
MODEL3 = TUTORIAL | _shape("model3") | {"learning_rate": 5e-3, "cost_s": 260.0}
FULL_EXPERIMENTS = (
    Experiment(
        "tutorial",
        (
            {"sampler": "random_replacement", "init": "normal"},
            {"sampler": "random_replacement", "init": "gpt2"},
            {"sampler": "shuffled_blocks", "init": "gpt2"},
        ),
        TUTORIAL | _shape("model5") | {"cost_s": 501 * 10.0},
    ),
    Experiment(
        "model3_order",
        THREE,
        MODEL3,
        seeds=8,
        comparisons=((0, 1), (0, 2)),
        every_text=True,
    ),
    Experiment(
        "model3_position",
        (
            {"raw": False, "split": "block:10/10"},
            *({"raw": True, "split": f"block:{k}/10"} for k in range(10, 0, -1)),
        ),
        MODEL3,
        seeds=2,
    ),
)
