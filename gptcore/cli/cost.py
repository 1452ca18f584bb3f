"""The subcommand `cost`: what a training run costs, and whether to build a model or reuse one."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from gptcore.cli.options import DEFAULT_MODEL, SHAPE, Json, add_model_options, given_sizes
from gptcore.console import Answer, Cell, Table, fixed, format_cell, number, to_path, whole
from gptcore.cost.figures import ACCELERATORS

if TYPE_CHECKING:
    from gptcore.cost.break_even import Curves
    from gptcore.cost.costs import Cost
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
    _speed_options(
        parser.add_argument_group(
            "speed, energy and price", "Each of these numbers is one number, or LOW,MID,HIGH."
        )
    )
    _comparison_options(
        parser.add_argument_group(
            "build or reuse", "With both laws, the model is compared with a published one."
        )
    )


def _speed_options(group: argparse._ActionsContainer) -> None:
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
        help="cost of all runs over that of the final one, at least 1 (default: 1.5 to 5.6, as "
        "published)",
    )


def _comparison_options(group: argparse._ActionsContainer) -> None:
    group.add_argument(
        "--law",
        type=to_path,
        metavar="LAW.json",
        help="law of models trained from scratch on texts of this kind: the output of gptcore "
        "scale fit --json",
    )
    group.add_argument(
        "--fine-tuned",
        type=to_path,
        metavar="LAW.json",
        help="the same for fine-tuning runs of one published model on several numbers of tokens, "
        "with losses on the same test text and in the same vocabulary",
    )
    group.add_argument(
        "--published-loss",
        type=number,
        metavar="LOSS",
        help="loss of the published model as it is, on that test text, in nats per token",
    )


def cost(args: argparse.Namespace) -> Json:
    """Work out what a training run costs: operations, hours, energy and money."""
    from gptcore.cost.costs import training_cost
    from gptcore.model.flops import n_params

    config = _shape(args)
    size = n_params(config)
    curves = _curves(args, size)
    accelerator = args.accelerator or (ACCELERATOR if args.tokens_per_s is None else None)

    def cost_of(tokens: float) -> Cost:
        return training_cost(
            config,
            tokens,
            tokens_per_s=args.tokens_per_s,
            accelerator=accelerator,
            price=args.price,
            joules_per_token=args.joules_per_token,
            development=args.development,
        )

    found = cost_of(args.tokens)
    return found.as_dict() | {
        "n_params": size,
        "tokens": args.tokens,
        "accelerator": accelerator,
        "currency": "US dollars" if args.price is None else "units of --price",
        **_comparison(curves, args.tokens, cost_of),
    }


def _curves(args: argparse.Namespace, size: int) -> Curves | None:
    """Return the curves that the options name, or None for a cost alone."""
    from gptcore.cost.break_even import Curves
    from gptcore.scaling.repetition import read_laws

    if args.law is None and args.fine_tuned is None and args.published_loss is None:
        return None
    if args.law is None or args.fine_tuned is None:
        raise ValueError("comparing with a published model takes two laws: --law and --fine-tuned")
    law, fine_tuned = read_laws(args.law)[0], read_laws(args.fine_tuned)[0]
    return Curves(law, size, fine_tuned, args.published_loss)


def _comparison(curves: Curves | None, tokens: float, cost_of: Callable[[float], Cost]) -> Json:
    """Return the break-even with what building costs there, and the options at `tokens`."""
    from gptcore.cost.break_even import NEVER, break_even, options_at

    if curves is None:
        return {"break_even": None, "options": [], "warnings": []}
    found = break_even(curves)
    there = None if found.tokens == NEVER else cost_of(found.tokens).as_dict()
    money = there and there["money_with_development"]
    return {
        "break_even": found.as_dict() | {"money_with_development": money},
        "options": options_at(curves, tokens, cost_of(tokens)),
        "warnings": list(found.warnings),
    }


def _shape(args: argparse.Namespace) -> ModelConfig:
    """Return the shape that the options name, whose training nothing here has to hold."""
    from gptcore.model.config import PRESETS

    sizes = given_sizes(args, "n_layer", "n_head", "n_embd", "block_size", "vocab_size")
    return replace(PRESETS[args.model or DEFAULT_MODEL], **sizes)


def cost_command(args: argparse.Namespace, config: ModelConfig, summary: Json) -> str | None:
    """Return the command that says what longer training costs at the speed of this run."""
    if summary["tokens_per_s"] is None:
        return None
    alike = "model4" if config.mlp else "model2" if config.positions else "model1"
    sizes = {name: getattr(config, name) for name in (*SHAPE[1:], "vocab_size")}
    sizes["block_size"] = args.block_size
    options = [f"--{name.replace('_', '-')} {size}" for name, size in sizes.items()]
    options.append(f"--tokens-per-s {summary['tokens_per_s']:.4g}")
    if summary["energy_j"] is not None:
        options.append(f"--joules-per-token {summary['energy_j'] / summary['tokens']:.4g}")
    return " ".join(["gptcore cost --tokens 1e9 --model", args.model or alike, *options])


def cost_lines(command: str | None) -> list[str]:
    """Return the lines that say what that command is for."""
    told = "What 1e9 tokens cost at this speed, with --price for an hour of this machine:"
    return [told, f"  {command}"] if command else []


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
            *_of_comparison(result),
            *_unknown(result),
            *result["sources"],
            *(f"Warning: {text}" for text in result["warnings"]),
        ],
    )


def _of_comparison(result: Json) -> list[str | Table]:
    """Give the break-even, and what each option reaches and costs."""
    if result["break_even"] is None:
        return []
    money = result["break_even"]["money_with_development"]
    there = (
        f" Building on that many tokens costs {format_cell(money['mid'])} {result['currency']}"
        f"{_ends(money)} with development."
        if money
        else ""
    )
    unknown = dict.fromkeys(("low", "mid", "high"))
    rows: list[tuple[Cell, ...]] = [
        (
            row["option"],
            *(fixed(row["loss"][end], 3) for end in ("low", "mid", "high")),
            *((row["money"] or unknown)[end] for end in ("low", "mid", "high")),
        )
        for row in result["options"]
    ]
    headings = ("option", "loss, low", "mid", "high", "money, low", "mid", "high")
    return [
        f"{result['break_even']['verdict']}{there}",
        f"With {format_cell(result['tokens'])} tokens of your own (losses in nats per token with "
        "their 80 % intervals; the money of building includes development):",
        Table(headings, rows),
    ]


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
