"""Dated figures of accelerators, prices and published training runs, each with its source.

Nothing here is an estimate of this project. What has no source is None, and what has several
sources is a range that spans them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from gptcore.checks import check_number


class Range(NamedTuple):
    """A quantity as its lowest, its middle and its highest value."""

    low: float
    mid: float
    high: float

    def times(self, other: Range) -> Range:
        """Return the range of a product; both ranges hold positive numbers."""
        return Range(*(a * b for a, b in zip(self, other, strict=True)))

    def scaled(self, factor: float) -> Range:
        """Return the range times a positive number."""
        return Range(*(factor * value for value in self))

    def under(self, number: float) -> Range:
        """Return the range of `number` over a positive quantity, whose high end gives the low."""
        return Range(number / self.high, number / self.mid, number / self.low)


Given: TypeAlias = float | list[float] | tuple[float, ...]
"""One number, or three: low, mid, high."""


POSITIVE = "[1e-60, 1e60]"
"""The interval of positive numbers whose products and quotients here are floats as well."""


def as_range(name: str, value: Given, interval: str = POSITIVE) -> Range:
    """Return what a caller gave as a range; one number is all three of its values.

    Raises:
        ValueError: it is neither one number in the interval nor three that do not fall.
    """
    values = value if isinstance(value, list | tuple) else [value] * 3
    if len(values) != 3:
        raise ValueError(f"{name} is {value!r}: give one number, or three as low,mid,high")
    low, mid, high = (check_number(name, number, interval) for number in values)
    if not low <= mid <= high:
        raise ValueError(f"{name} is {low:g},{mid:g},{high:g}: give low,mid,high in this order")
    return Range(low, mid, high)


@dataclass(frozen=True)
class Figure:
    """A published figure.

    Attributes:
        what: what the figure is of.
        value: the figure.
        unit: its unit.
        date: when it held, as year or year and month.
        source: who states it.
    """

    what: str
    value: Range
    unit: str
    date: str
    source: str

    def __str__(self) -> str:
        """Return the figure as one sentence."""
        low, mid, high = self.value
        number = f"{mid:.3g}" if low == high else f"{low:.3g} to {high:.3g}, middle {mid:.3g}"
        return f"{self.what}: {number} {self.unit} ({self.date}; {self.source})."


MFU = Figure(
    "Model FLOPs utilization of large training runs",
    Range(0.213, 0.41, 0.462),
    "of the peak",
    "2020 to 2024",
    "GPT-3 and PaLM in arXiv:2204.02311, table 3; Llama 3 405B in arXiv:2407.21783, table 4",
)
"""The share of an accelerator's dense peak that training reaches. Small models can reach more."""

DEVELOPMENT = Figure(
    "Cost of a model with its development over that of its final run",
    Range(1.5, (1.5 * 5.6) ** 0.5, 5.6),
    "times",
    "2025 to 2026",
    "OLMo 2 in arXiv:2503.05804, Olmo 3 in arXiv:2605.01158; the middle is their geometric mean",
)
"""Failed runs, experiments and small models cost as well, and the final run is only a part."""

_H100_HOUR = Figure(
    "One hour of one H100",
    Range(1.70, 2.95, 5.00),
    "US dollars",
    "2025-10 to 2026-05",
    "providers' price lists and surveys of them; the middle is the median",
)


@dataclass(frozen=True)
class Accelerator:
    """An accelerator: the names that its driver reports, its peaks, and its price.

    Attributes:
        pattern: a regular expression of the whole name.
        peaks: precision → dense peak in FLOP/s, without structured sparsity; a multiply-add counts
            as 2. "fp32" is without TF32, and "bf16" accumulates in fp32.
        hour: the price of an hour; None where no survey is known.
    """

    pattern: str
    peaks: dict[str, float]
    hour: Figure | None = None


# NVIDIA's datasheets and white papers of H100 (half of the sparse bf16 figure), H200, A100, L4,
# L40S, T4 and V100; for GeForce the white papers of Ada (AD102) and Ampere (GA102). Slices of a
# device (MIG) and laptop versions have other names and are left out.
ACCELERATORS: dict[str, Accelerator] = {
    "h100": Accelerator(
        r"NVIDIA H100 80GB HBM3", {"fp32": 66.9e12, "bf16": 989.4e12}, _H100_HOUR
    ),  # SXM
    "h100-pcie": Accelerator(r"NVIDIA H100 PCIe", {"fp32": 51.2e12, "bf16": 756e12}),
    "h200": Accelerator(r"NVIDIA H200", {"fp32": 66.9e12, "bf16": 989.4e12}),  # SXM
    "a100": Accelerator(
        r"(NVIDIA )?A100-(SXM4|PCIE)-(40|80)GB|NVIDIA A100 80GB PCIe",
        {"fp32": 19.5e12, "bf16": 312e12},
    ),
    "l4": Accelerator(r"NVIDIA L4", {"fp32": 30.3e12, "bf16": 121e12}),
    "l40s": Accelerator(r"NVIDIA L40S", {"fp32": 91.6e12, "bf16": 362.05e12}),
    "rtx4090": Accelerator(r"(NVIDIA )?GeForce RTX 4090", {"fp32": 82.6e12, "bf16": 165.2e12}),
    "rtx3090": Accelerator(r"(NVIDIA )?GeForce RTX 3090", {"fp32": 35.6e12, "bf16": 71e12}),
    "t4": Accelerator(r"Tesla T4", {"fp32": 8.1e12}),
    "v100": Accelerator(r"Tesla V100-SXM2-(16|32)GB", {"fp32": 15.7e12}),
    "v100-pcie": Accelerator(r"Tesla V100-PCIE-(16|32)GB", {"fp32": 14e12}),
}
"""Short name → accelerator."""


def peak_flops_per_s(name: str, precision: str) -> float | None:
    """Return the dense peak of the accelerator whose driver reports `name`; None if unknown."""
    for accelerator in ACCELERATORS.values():
        if re.fullmatch(accelerator.pattern, name):
            return accelerator.peaks.get(precision)
    return None


PUBLISHED = (
    Figure("GPT-3, compute", Range(3.14e23, 3.14e23, 3.14e23), "FLOPs", "2020", "arXiv:2005.14165"),
    Figure(
        "GPT-3, money",
        Range(2.2e6, 4.3e6, 12e6),
        "US dollars",
        "2020 to 2026-04",
        "Epoch's data of training costs: $2.2-3.3M for hardware and energy, $4.3M at a cloud's "
        "price; $4.6M and $12M in the press of 2020",
    ),
    Figure("GPT-2 1.5B, money", Range(43e3, 43e3, 43e3), "US dollars", "2019", "nanochat"),
    Figure(
        "GPT-2 1.5B, money", Range(672, 672, 672), "US dollars", "2024-07", "llm.c, discussion 677"
    ),
    Figure("GPT-2 1.5B, money", Range(48, 48, 48), "US dollars", "2026", "nanochat"),
    Figure(
        "GPT-2 124M, money", Range(20, 20, 20), "US dollars", "2024-05", "llm.c, discussion 481"
    ),
)
"""What published training runs took."""
