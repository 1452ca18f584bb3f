"""What a training run costs: operations, hours, energy and money, each as low, mid and high.

    hours  = tokens / measured tokens per second, or FLOPs / (peak of an accelerator x MFU)
    energy = tokens x measured joules per token
    money  = hours x price of an hour

Hours are those of one machine or of one accelerator: several of them share the hours, and the money
stays. What needs a measurement or a price that is not given is None.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gptcore.checks import check_number
from gptcore.cost.figures import (
    ACCELERATORS,
    DEVELOPMENT,
    MFU,
    Accelerator,
    Figure,
    Given,
    Range,
    as_range,
)
from gptcore.plain_text import shorten

if TYPE_CHECKING:
    from gptcore.model.config import ModelConfig

S_PER_HOUR = 3600.0
J_PER_KWH = 3.6e6


@dataclass(frozen=True)
class Cost:
    """The cost of one training run.

    Attributes:
        flops: matrix products of forward and backward pass: low is without attention, as in
            6 N D; mid and high are the formula of `gptcore.model.flops_per_token`.
        hours: of one machine or accelerator; None without a speed.
        energy_kwh: kilowatt-hours that counters would show; None without a measurement.
        money: of this run alone, in the currency of the price; None without a price.
        money_with_development: `money` with the runs that come before the final one.
        sources: a sentence for each dated figure that was used.
    """

    flops: Range
    hours: Range | None
    energy_kwh: Range | None
    money: Range | None
    money_with_development: Range | None
    sources: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return the object that JSON gets."""
        return {
            name: value._asdict() if isinstance(value, Range) else value
            for name, value in vars(self).items()
        }


def training_cost(
    config: ModelConfig,
    tokens: float,
    *,
    tokens_per_s: Given | None = None,
    accelerator: str | None = None,
    price: Given | None = None,
    joules_per_token: Given | None = None,
    development: Given | None = None,
) -> Cost:
    """Return what it costs to train a model of this shape on `tokens` tokens.

    Args:
        config: the shape; each token attends to `block_size` tokens.
        tokens: D, all tokens trained on, those of repeated passes included.
        tokens_per_s: the measured training speed. It goes before a speed worked out from an
            accelerator.
        accelerator: a name in `ACCELERATORS`, for its peak in bf16 and, without `price`, for the
            price of an hour.
        price: money for an hour of the machine or accelerator.
        joules_per_token: the energy that counters showed for a token (`measuring_energy`).
        development: the cost of all runs over that of the final one; by default `DEVELOPMENT`.

    Raises:
        ValueError: a number is not positive, `tokens` or `development` is below 1, or no such
            accelerator is known.
    """
    tokens = check_number("tokens", tokens, "[1, 1e60]")
    known = None if accelerator is None else accelerator_of(accelerator)
    flops, hours, money, energy = _flops(config, tokens), None, None, None
    factor = DEVELOPMENT.value
    if development is not None:
        factor = as_range("development", development, "[1, 1e60]")
    used: list[Figure] = []
    if tokens_per_s is not None:
        hours = as_range("tokens_per_s", tokens_per_s).under(tokens / S_PER_HOUR)
    elif known is not None:
        hours = MFU.value.under(flops.mid / known.peaks["bf16"] / S_PER_HOUR)
        used.append(MFU)
    if price is None and known is not None and known.hour is not None:
        price = known.hour.value
        used.append(known.hour)
    if hours is not None and price is not None:
        money = hours.times(as_range("price", price))
        used += [DEVELOPMENT] if development is None else []
    if joules_per_token is not None:
        energy = as_range("joules_per_token", joules_per_token).scaled(tokens / J_PER_KWH)
    sources = tuple(map(str, used))
    return Cost(flops, hours, energy, money, money and money.times(factor), sources)


def accelerator_of(name: str) -> Accelerator:
    """Return the accelerator of that short name.

    Raises:
        ValueError: there is none, or its peak in bf16 is not known.
    """
    usable = [key for key, known in ACCELERATORS.items() if "bf16" in known.peaks]
    if name not in usable:
        raise ValueError(
            f"the peak of the accelerator {shorten(repr(name))} is not known: choose one of "
            f"{', '.join(usable)}, or name none and give the measured tokens per second"
        )
    return ACCELERATORS[name]


def _flops(config: ModelConfig, tokens: float) -> Range:
    from gptcore.model.flops import flops_per_token, matmul_weights  # loads torch

    by_formula = flops_per_token(config, config.block_size) * tokens
    return Range(6 * matmul_weights(config) * tokens, by_formula, by_formula)
