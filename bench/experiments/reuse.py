"""Training from scratch, fine-tuning and published weights as they are, set beside each other.

An option is one of these three on one model. What it costs is that of its own training alone: the
training of published weights was paid by others, and reading a text costs every option alike.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from bench.ledger.record import Record
from bench.ledger.schema import SERIES
from bench.measuring.work import Result
from bench.suite.own import shape_name
from gptcore.checking.checks import CHECKS
from gptcore.cost import PUBLISHED, training_cost
from gptcore.cost.costs import J_PER_KWH
from gptcore.intervals import blocks_interval
from gptcore.model import gpt, published_files
from gptcore.model.config import PRESETS, ModelConfig
from gptcore.model.flops import n_params

ACCELERATOR = "h100"
"""What money is worked out for: its price of an hour is in the dated table of `gptcore.cost`."""
TOKENS_PER_PARAMETER = 20
"""Training tokens for each parameter with which compute is used best, about (Hoffmann et al. 2022,
arXiv:2203.15556)."""
BUILDING, REUSING = "building", "reusing"

SIZES = ("n_layer", "n_head", "n_embd")
HOURS = ("hours_low", "hours", "hours_high")
MONEY = ("money_low", "money", "money_high")
Row = dict[str, Any]


@dataclass(frozen=True)
class Option:
    """One way to a model.

    Attributes:
        kind: "scratch", "fine_tuned" or "published".
        record: of its training run, or of its score.
        config: its shape, with the context of the runs.
        curve: (tokens trained on, test loss), in the order of training.
    """

    kind: str
    record: Record
    config: ModelConfig
    curve: tuple[tuple[float, float], ...]

    @classmethod
    def of(cls, record: Record, published: ModelConfig) -> Option:
        """Return the option of a finished record; `published` is the shape of the weights."""
        params, metrics = record["params"], record["metrics"]
        if "context" in params:
            config = replace(published, block_size=params["context"])
            return cls("published", record, config, ((0, metrics["final_test_loss"]),))
        sizes = {name: params[name] for name in (*SIZES, "block_size")}
        config = ModelConfig(metrics["vocab_size"], **sizes)
        kind = "scratch" if params.get("model", "gptcore") == "gptcore" else "fine_tuned"
        curve = tuple((row["tokens"], row["loss"]) for row in record["series"]["test_curve"])
        return cls(kind, record, config, curve)

    @property
    def model(self) -> str:
        """The name of the published model; or a preset of its sizes, or these."""
        if self.kind != "scratch":
            return str(self.record["params"]["model"])
        sizes = {name: getattr(self.config, name) for name in SIZES}
        alike = (name for name, preset in PRESETS.items() if sizes.items() <= vars(preset).items())
        return next(alike, shape_name(sizes))

    @property
    def loss(self) -> float:
        """The test loss at its end."""
        return self.curve[-1][1]

    def cost(self, tokens: float) -> Row:
        """Return the columns of the cost of its training on so many tokens."""
        if not tokens:
            return {"tokens": 0, "flops": 0} | dict.fromkeys((*HOURS, *MONEY), 0)
        cost = training_cost(self.config, tokens, accelerator=ACCELERATOR)
        ranges = dict(
            zip((*HOURS, *MONEY), (*(cost.hours or ()), *(cost.money or ())), strict=True)
        )
        return {"tokens": tokens, "flops": cost.flops.mid, **ranges}

    def behind(self, best: Option) -> Row:
        """Return how far it ends above another option, with the interval over the text."""
        mine, others = (option.record["series"]["test_blocks"] for option in (self, best))
        gaps = [a["loss"] - b["loss"] for a, b in zip(mine, others, strict=True)]
        counts = np.array([row["targets"] for row in mine])
        ends = None if self is best else blocks_interval(np.array(gaps), counts)
        low, high = ends or (None, None)
        return {"behind": self.loss - best.loss, "behind_low": low, "behind_high": high}


def decide(options: list[Option]) -> Result:
    """Return what each option costs and reaches, and which is best for which money."""
    best = min(options, key=lambda option: option.loss)
    rows = [_row(option, best) for option in options]
    curve = [
        {"option": option.kind, "model": option.model, "loss": loss, **option.cost(tokens)}
        for option in options
        for tokens, loss in option.curve
    ]
    trained = next(o.record["metrics"] for o in options if o.kind != "published")
    series = {
        "reuse_options": rows,
        "reuse_curve": curve,
        "reuse_choice": _choices(curve),
        "reuse_reasons": reasons(options, trained["train_tokens"]),
    }
    series = {name: [{c: row[c] for c in SERIES[name]} for row in series[name]] for name in series}
    # The money is that of the runs alone.
    sources = training_cost(best.config, 1, accelerator=ACCELERATOR, development=1).sources
    facts = {"accelerator": ACCELERATOR, "sources": list(sources)}
    names = ("train_tokens", "test_tokens")
    return Result({name: trained[name] for name in names}, series=series, facts=facts)


def _row(option: Option, best: Option) -> Row:
    """Return the row of an option."""
    metrics = option.record["metrics"]
    tokens = option.curve[-1][0]
    speed, joules = metrics.get("train_tokens_per_s"), metrics.get("energy_j")
    return {
        "option": option.kind,
        "model": option.model,
        "n_params": metrics["n_params"],
        "loss": option.loss,
        "loss_low": metrics["final_test_loss_low"],
        "loss_high": metrics["final_test_loss_high"],
        "bits_per_byte": metrics["bits_per_byte"],
        "time_s": 0 if not tokens else speed and tokens / speed,
        "energy_kwh": joules / J_PER_KWH if joules is not None else None,
        **option.cost(tokens),
        **option.behind(best),
    }


def _choices(curve: list[Row]) -> list[Row]:
    """Return the evaluations with the lowest loss of all that cost as much or less, by cost.

    Of neighbours of one option the first is kept: from its cost on, that option is the best. An
    option that is not trained yet is none, but for published weights.
    """
    usable = [row for row in curve if row["tokens"] or row["option"] == "published"]
    chosen: list[Row] = []
    lowest = math.inf
    for row in sorted(usable, key=lambda row: (row["flops"], row["loss"])):
        if row["loss"] < lowest:
            lowest = row["loss"]
            if not chosen or _name(chosen[-1]) != _name(row):
                chosen.append(row)
    return chosen


def _name(row: Row) -> tuple[str, str]:
    return row["option"], row["model"]


def reasons(options: list[Option], train_tokens: int) -> list[Row]:
    """Return the rows of the series `reuse_reasons`.

    Args:
        options: those of one text, of which at least one was trained from scratch.
        train_tokens: the training tokens of the text.
    """
    scratch = min((o for o in options if o.kind == "scratch"), key=lambda option: option.loss)
    metrics = scratch.record["metrics"]
    size, speed = metrics["n_params"], metrics["train_tokens_per_s"]
    first, last = (n_params(PRESETS[name]) / 1e6 for name in ("model1", "model5"))
    lines = len(inspect.getsource(gpt).splitlines())
    gpt3 = next(figure for figure in PUBLISHED if figure.what == "GPT-3, money")
    low, high = gpt3.value.low / 1e6, gpt3.value.high / 1e6
    told = [
        (BUILDING, "One learns how a transformer works, one part after the other.",
         f"Five models lead from {first:.2g} to {last:.3g} million parameters (docs/learn.md)."),
        (BUILDING, "One can change everything and see what happens.",
         f"Training {scratch.model} took {scratch.curve[-1][0] / speed:.3g} s on this machine."),
        (BUILDING, "One learns to read the code of models.",
         f"That of gptcore's GPT has {lines} lines (gptcore/model/gpt.py)."),
        (BUILDING, "One learns to find errors.",
         f"gptcore check asks {len(CHECKS)} questions about a model."),
        (REUSING, "A GPT has many parts, and an error in one need not stop training.",
         f"{scratch.model} has {4 + 12 * scratch.config.n_layer} tensors of weights."),
        (REUSING, "Pretraining a large model costs much.",
         f"GPT-3: {low:g} to {high:g} million US dollars ({gpt3.date}; {gpt3.source})."),
        (REUSING, "A model needs much text.",
         f"For the {size:,} parameters of {scratch.model}, about {TOKENS_PER_PARAMETER * size:,} "
         "training tokens use compute best (arXiv:2203.15556, 20 for each parameter); this text "
         f"has {train_tokens:,}."),
        (REUSING, "Small models are weak.",
         f"{scratch.model} has {size:,} parameters, GPT-3 has 175 billion (arXiv:2005.14165)."),
        (REUSING, "Published models are free.",
         f"gptcore fetches {len(published_files.PUBLISHED)} by a short name, and others of GPT-2's "
         "architecture by their owner and name (docs/published-weights.md)."),
        *_gap(options, scratch),
    ]  # fmt: skip
    told.sort(key=lambda reason: reason[0])
    return [{"about": a, "reason": b, "figure": c} for a, b, c in told]


def _gap(options: list[Option], scratch: Option) -> Iterator[tuple[str, str, str]]:
    """Yield what the published model as it is says, if it and the one from scratch are apart."""
    for published in (option for option in options if option.kind == "published"):
        gap = scratch.behind(published)
        low, high = gap["behind_low"], gap["behind_high"]
        if low is None or low <= 0 <= high:
            continue
        said = (REUSING, "higher") if low > 0 else (BUILDING, "lower")
        ends = sorted((abs(low), abs(high)))
        yield (
            said[0],
            "Of two models, the one with the lower loss on this text knows it better.",
            f"{scratch.model} from scratch ends {abs(gap['behind']):.3f} nats/token {said[1]} than "
            f"{published.model} as published ({ends[0]:.3f} to {ends[1]:.3f}, the interval of the "
            "difference over the text).",
        )
