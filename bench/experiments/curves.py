"""What the test curves of training runs say: late slopes, tokens to a loss, and their differences.

A curve is the series `test_curve` of a record: the loss on the whole test part, at a few steps.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from bench.ledger.record import Record
from gptcore.intervals import blocks_interval
from gptcore.paired import sign_flip_interval

Curve = Sequence[dict[str, float]]
Pairs = Sequence[tuple[Record, Record]]
"""The records of two arms, one pair of runs for each seed."""
LATE = (1 / 2, 2 / 3, 5 / 6)
"""Parts of a run from which its late fall is measured."""


def late_slope(curve: Curve) -> float | None:
    """Return the least late fall of the test loss for e times the steps, None without a curve.

    It is the smallest slope against the logarithm of the steps from the points at 1/2, 2/3 and 5/6
    of a run to its end, or the evaluations nearest to them. The loss falls faster where the
    learning rate decays, which a longer run would not gain twice (Hägele et al. 2024,
    arXiv:2405.18392), so the last stretch alone promises too much; where the loss flattens, the
    earlier stretches do.
    """
    *before, last = (point for point in curve if point["step"])
    if not before:
        return None
    points = [min(before, key=lambda p: abs(p["step"] - part * last["step"])) for part in LATE]
    return min((p["loss"] - last["loss"]) / math.log(last["step"] / p["step"]) for p in points)


def steps_to(curve: Curve, loss: float) -> float | None:
    """Return the first step at which a curve is at or below `loss`; None if it never is.

    Between two evaluations the loss is taken as a straight line against ln(1 + step).
    """
    before = None
    for point in curve:
        if point["loss"] <= loss:
            if before is None:
                return float(point["step"])
            part = (before["loss"] - loss) / (before["loss"] - point["loss"])
            ends = math.log1p(before["step"]), math.log1p(point["step"])
            return math.expm1(ends[0] + part * (ends[1] - ends[0]))
        before = point
    return None


def time_to_loss(pairs: Pairs) -> dict[str, float | None]:
    """Return after how much training both arms reach one loss, and the ratio over paired seeds.

    The loss is the lowest that every one of these runs reaches. It treats both arms alike, so that
    the logarithms of the ratios of alike arms are as likely to be positive as negative, which is
    what the interval by sign flips supposes.
    """
    curves = [[run["series"]["test_curve"] for run in pair] for pair in pairs]
    reached = max(min(p["loss"] for p in curve) for pair in curves for curve in pair)
    steps = np.array([[steps_to(curve, reached) for curve in pair] for pair in curves], dtype=float)
    rates = [[curve[-1]["tokens"] / curve[-1]["step"] for curve in pair] for pair in curves]
    speeds = [[run["metrics"].get("train_tokens_per_s") for run in pair] for pair in pairs]
    tokens = steps * np.array(rates)
    seconds = tokens / np.array(speeds, dtype=float)
    found: dict[str, float | None] = {"reached_loss": reached}
    for i, arm in enumerate("ab"):
        known = np.isfinite(seconds[:, i]).all()
        found |= {
            f"{arm}_steps_to_reach": float(np.median(steps[:, i])),
            f"{arm}_tokens_to_reach": float(np.median(tokens[:, i])),
            f"{arm}_time_to_reach_s": float(np.median(seconds[:, i])) if known else None,
        }
    if not (tokens > 0).all():  # a model is there before it is trained
        return found
    logs = np.log(tokens[:, 0] / tokens[:, 1])
    low, high = sign_flip_interval(logs)
    return found | {
        "tokens_ratio": math.exp(logs.mean()),
        "tokens_ratio_low": low and math.exp(low),
        "tokens_ratio_high": high and math.exp(high),
    }


def steps_factors(metrics: dict[str, float | None], slope: float | None) -> dict[str, float | None]:
    """Return how many times the steps of a undo the difference and the ends of its interval.

    A factor is null beyond 1/2 to 2, because the slope is measured over the last half of a run.

    Args:
        metrics: `difference`, `sign_flip_low` and `sign_flip_high`, in nats/token.
        slope: the late fall of the test loss for e times the steps, above 0; None if unknown.
    """
    names = {"": "difference", "_low": "sign_flip_low", "_high": "sign_flip_high"}
    found: dict[str, float | None] = {}
    for end, name in names.items():
        value = metrics.get(name)
        if value is None or slope is None or abs(value) > math.log(2) * slope:
            found[f"steps_factor{end}"] = None
        else:
            found[f"steps_factor{end}"] = math.exp(value / slope)
    return found


def difference_curve(pairs: Pairs) -> list[dict[str, Any]]:
    """Return the mean of loss(a) - loss(b) at each evaluation, with its interval by sign flips."""
    curves = [[run["series"]["test_curve"] for run in pair] for pair in pairs]
    losses = [[{p["step"]: p["loss"] for p in curve} for curve in pair] for pair in curves]
    shared = set.intersection(*({*by_step} for pair in losses for by_step in pair))
    rows = []
    for point in curves[0][0]:
        if point["step"] not in shared:
            continue
        values = np.array([a[point["step"]] - b[point["step"]] for a, b in losses])
        low, high = sign_flip_interval(values)
        rows.append(
            {name: point[name] for name in ("step", "tokens", "epochs")}
            | {"difference": float(values.mean()), "low": low, "high": high}
        )
    return rows


def text_interval(pairs: Pairs) -> tuple[float, float] | tuple[None, None]:
    """Return the interval of the mean difference of these models over a longer text of this kind.

    The differences of each block of the test part are averaged over the seeds, and the blocks show
    how far the difference varies along the text (`gptcore.intervals`). None where a record has no
    blocks, or the test part is too short.
    """
    blocks = [[run["series"].get("test_blocks") for run in pair] for pair in pairs]
    if not all(all(pair) for pair in blocks):
        return None, None
    counts = {tuple(row["targets"] for row in rows) for pair in blocks for rows in pair}
    if len(counts) > 1:  # the arms have different test parts
        return None, None
    means = np.array([[[row["loss"] for row in rows] for rows in pair] for pair in blocks])
    found = blocks_interval((means[:, 0] - means[:, 1]).mean(axis=0), np.array(counts.pop()))
    return found or (None, None)
