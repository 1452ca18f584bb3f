"""The variance of the final test loss over crossed runs, split into its sources."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bench.experiments.verdicts import final_loss
from bench.ledger.record import Record
from bench.measuring.work import Result
from gptcore.variance import Component, variance_components

SOURCES = {"seed": "initialisation", "order_seed": "order of the data", "split": "test part"}
"""Field of TrainCase → the factor that it sets."""
FAR = 10.0
"""A run is far beyond 10 robust standard deviations from the medians of its levels: at most 4 % of
normal tables of 3 x 3 to 8 x 8 runs have one; 5 would flag 22 % of 4 x 4."""


@dataclass(frozen=True)
class Crossed:
    """The final losses of crossed runs.

    Attributes:
        losses: axis i is that of factor i.
        levels: factor → its levels, in the order of its axis.
    """

    losses: npt.NDArray[np.float64]
    levels: dict[str, list[str]]


def variance(runs: Mapping[str, Sequence[Record]]) -> Result:
    """Split the variance of an experiment.

    Args:
        runs: arm → its finished runs.

    Raises:
        ValueError: the runs are not crossed, or one of them diverged.
    """
    return split_variance(crossed_losses([record for each in runs.values() for record in each]))


def crossed_losses(records: Sequence[Record]) -> Crossed:
    """Return the final losses of finished runs as an array.

    A factor is a field of `SOURCES` that varies.

    Raises:
        ValueError: the runs are not crossed, or one of them diverged.
    """
    known = [record["params"] | {"seed": record["seed"]} for record in records]
    levels = {name: list(dict.fromkeys(str(run.get(name)) for run in known)) for name in SOURCES}
    levels = {
        name: sorted(values, key=_number_first)
        for name, values in levels.items()
        if len(values) > 1
    }
    losses = np.full([len(values) for values in levels.values()], np.nan)
    for record, run in zip(records, known, strict=True):
        loss = final_loss(record)
        if loss is None:
            raise ValueError(
                f"{record['case']} diverged, so the runs are not crossed: lower the learning rate, "
                "or train with other seeds"
            )
        losses[tuple(levels[name].index(str(run.get(name))) for name in levels)] = loss
    if losses.ndim < 2 or losses.size != len(records) or np.isnan(losses).any():
        raise ValueError(
            "its runs are not crossed: give every level of a factor with all of the others"
        )
    return Crossed(losses, {SOURCES[name]: values for name, values in levels.items()})


def _number_first(level: str) -> tuple[int, str]:
    """Return a key that sorts "2" before "10"."""
    return len(level), level


def split_variance(crossed: Crossed) -> Result:
    """Return what the record of crossed runs holds."""
    losses = crossed.losses
    parts = variance_components(losses, list(crossed.levels))
    return Result(
        metrics={
            "n_runs": losses.size,
            "mean_loss": float(losses.mean()),
            "sd_loss": float(losses.std(ddof=1)),
        },
        series={"variance": [_row(part, len(crossed.levels)) for part in parts]},
        facts={
            "losses": losses.tolist(),
            "levels": crossed.levels,
            "warnings": _warnings(crossed, parts),
        },
    )


def _row(part: Component, n_factors: int) -> dict[str, object]:
    is_rest = len(part.factors) == n_factors
    return {
        "source": " with ".join(part.factors) + (" and the rest" if is_rest else ""),
        "levels": int(np.prod(part.levels)),
        "variance": part.variance,
        "sd": part.sd,
        "sd_low": part.low,
        "sd_high": part.high,
        "share": part.share,
        "share_low": part.share_low,
        "share_high": part.share_high,
        "detectable_sd": part.detectable,
    }


def _warnings(crossed: Crossed, parts: Sequence[Component]) -> list[str]:
    """Return what a reader has to know of the split, as whole sentences."""
    found = []
    below = [" with ".join(part.factors) for part in parts if part.variance < 0]
    if below:
        found.append(
            f"an estimate that lies below 0 is shown as 0 ({', '.join(below)}): these runs show "
            "none of it, and the upper end of its interval says how much there may be"
        )
    rest = crossed.losses
    for axis in range(rest.ndim):
        rest = rest - np.median(rest, axis=axis, keepdims=True)  # one far run moves no median
    typical = 1.4826 * float(np.median(np.abs(rest)))
    far = np.argwhere(np.abs(rest) > FAR * typical)
    for place in far[:3] if typical else ():
        where = ", ".join(
            f"{name} {levels[i]}"
            for (name, levels), i in zip(crossed.levels.items(), place, strict=True)
        )
        found.append(
            f"the run with {where} lies far from what the others suggest; the intervals suppose "
            "normal effects and are too narrow then, so look at its curve"
        )
    return found
