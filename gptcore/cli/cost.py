"""The subcommand `cost`: what a training run costs, and whether to build a model or reuse one."""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import TYPE_CHECKING

from gptcore.cli.options import Json
from gptcore.cli.training import add_model_options, given_sizes
from gptcore.console import Answer, Cell, Table, format_cell, number, whole
from gptcore.cost.figures import ACCELERATORS

if TYPE_CHECKING:
    from gptcore.model.config import ModelConfig

ACCELERATOR = "h100"
"""The accelerator of a run whose speed was not measured."""


def to_values(text: str) -> float | tuple[float, ...]:
    """Read one number, or several with commas between them."""
    values = tuple(number(part) for part in text.split(","))
    return values[0] if len(values) == 1 else values


def cost_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `gptcore cost`."""
    parser.add_argument(
        "--tokens",
        type=number,
        required=True,
        metavar="D",
        help="tokens to train on, those of repeated passes included (required)",
    )
    group = parser.add_argument_group("model")
    add_model_options(group)
    for name, what in (("block-size", "tokens in a window"), ("vocab-size", "token ids")):
        group.add_argument(
            f"--{name}", type=whole, metavar="N", help=f"{what} (default: that of --model)"
        )
    group = parser.add_argument_group(
        "speed, energy and price", "Each of these numbers is one number, or LOW,MID,HIGH."
    )
    group.add_argument(
        "--tokens-per-s",
        type=to_values,
        metavar="X",
        help="training speed that was measured, as gptcore train and the report give it (default: "
        "worked out from the peak of --accelerator and the range of published utilizations)",
    )
    group.add_argument(
        "--accelerator",
        metavar="NAME",
        help="where the run takes place, for its peak in bf16 and the price of an hour: "
        f"{', '.join(name for name, known in ACCELERATORS.items() if 'bf16' in known.peaks)} "
        f"(default: {ACCELERATOR}, unless --tokens-per-s is given)",
    )
    group.add_argument(
        "--price",
        type=to_values,
        metavar="P",
        help="money for an hour of the machine or accelerator (default: that of the dated table, "
        "which knows the h100)",
    )
    group.add_argument(
        "--joules-per-token",
        type=to_values,
        metavar="J",
        help="energy for a token that counters showed, as gptcore train gives it (default: the "
        "energy stays unknown)",
    )
    group.add_argument(
        "--development",
        type=to_values,
        metavar="FACTOR",
        help="cost of all runs over that of the final one (default: 1.5 to 5.6, as published)",
    )


def cost(args: argparse.Namespace) -> Json:
    """Work out what a training run costs: operations, hours, energy and money."""
    from gptcore.cost.costs import training_cost
    from gptcore.model.flops import n_params

    config = _shape(args)
    measured = args.tokens_per_s is not None
    accelerator = args.accelerator or (None if measured else ACCELERATOR)
    found = training_cost(
        config,
        args.tokens,
        tokens_per_s=args.tokens_per_s,
        accelerator=accelerator,
        price=args.price,
        joules_per_token=args.joules_per_token,
        development=args.development,
    )
    return found.as_dict() | {
        "n_params": n_params(config),
        "tokens": args.tokens,
        "accelerator": accelerator,
        "currency": "US dollars" if args.price is None else "units of --price",
    }


def _shape(args: argparse.Namespace) -> ModelConfig:
    """Return the shape that the options name, whose training nothing here has to hold."""
    from gptcore.model.config import PRESETS

    sizes = given_sizes(args, "n_layer", "n_head", "n_embd", "block_size", "vocab_size")
    return replace(PRESETS[args.model], **sizes)


def cost_answer(result: Json) -> Answer:
    """Give the cost as a table of low, mid and high, then where its figures come from."""
    money, hours = result["money"], result["hours"]
    known = [f"{format_cell(result['flops']['mid'])} FLOPs"]
    if hours:
        where = result["accelerator"] or "machine"
        known.append(f"{format_cell(hours['mid'])} hours of one {where}{_ends(hours)}")
    if money:
        known.append(f"{format_cell(money['mid'])} {result['currency']}{_ends(money)}")
    quantities = (
        ("operations", "flops", "FLOPs"),
        ("time of one machine or accelerator", "hours", "hours"),
        ("energy", "energy_kwh", "kWh"),
        ("money, this run alone", "money", result["currency"]),
        ("money, with development", "money_with_development", result["currency"]),
    )
    ranges = [(what, result[name], unit) for what, name, unit in quantities]
    rows: list[tuple[Cell, ...]] = [
        (what, *(found[end] for end in ("low", "mid", "high")), unit)
        for what, found, unit in ranges
        if found
    ]
    return Answer(
        f"Training {result['n_params']:,} parameters on {format_cell(result['tokens'])} tokens "
        f"takes {', '.join(known[:-1])}{' and ' if known[:-1] else ''}{known[-1]}.",
        [
            Table(("quantity", "low", "mid", "high", "unit"), rows),
            *_unknown(result),
            *result["sources"],
        ],
    )


def _ends(found: Json) -> str:
    """Return the ends of a range in brackets; nothing for a single number."""
    if found["low"] == found["high"]:
        return ""
    return f" ({format_cell(found['low'])} to {format_cell(found['high'])})"


def _unknown(result: Json) -> list[str]:
    """Say what is not known, and which option gives it."""
    told = []
    if not result["energy_kwh"]:
        told.append(
            "The energy is not known, because no counter of it was read: give --joules-per-token."
        )
    if not result["money"]:
        told.append("The money is not known, because no price of an hour is: give --price.")
    return told
