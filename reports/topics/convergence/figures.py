"""Figures of loss curves and of differences between arms."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reports import drawing, line_charts, row_charts, words
from reports.topics.convergence import findings

EARLY = 0.1
"""Share of training whose losses may lie outside the axes: they would compress all others."""
LONGER = 6.0
"""How many times the longest arm is as long as the shortest one, for a logarithmic axis."""
SECONDS_PT = 32
"""How far the axis of seconds lies below that of tokens."""
KINDS = {"equal": "same", "unresolved": "ambiguous", findings.NO_VERDICT: "ambiguous"}


def losses(curves: pd.DataFrame, what: str, *, mark_points: bool) -> Figure:
    """Draw a line for each arm: mean over seeds, band from the lowest to the highest seed.

    Args:
        curves: points with `variant`, `tokens`, `loss`, `unigram` (the loss of unigram counts, NaN
            where unknown) and `train_tokens_per_s`.
        what: "test loss", for example.
        mark_points: whether the points are few enough to be marked.
    """
    known = curves["unigram"].notna().all()
    shown = curves.assign(shown=curves["loss"] - (curves["unigram"] if known else 0.0))
    # Aggregated here: seaborn's own bands take several times as long as the drawing.
    groups = shown.groupby(["variant", "tokens"], sort=False)["shown"]
    bands = groups.agg(["mean", "min", "max"]).reset_index()
    lengths = bands.groupby("variant")["tokens"].transform("max")
    late = bands[bands["tokens"] >= EARLY * lengths]
    log = "x" if lengths.max() > LONGER * lengths.min() > 0 else ""
    if log:
        bands = bands[bands["tokens"] > 0]
    low, high = float(late["min"].min()), float(late["max"].max())
    if known:
        low, high = min(low, -0.02), max(high, 0.02)
    room = 0.06 * max(high - low, 0.02)
    rate = curves["train_tokens_per_s"].median()
    title = f"{what} above unigram counts, nats/token" if known else f"{what}, nats/token"
    figure, axes = line_charts.line_chart(
        bands, title, "tokens", "mean", mark_points=mark_points, band=("min", "max"), log=log,
        limits=(low - room, high + room), bottom=42 + (SECONDS_PT if rate > 0 else 0),
    )  # fmt: skip
    if known:
        axes.axhline(0, color=drawing.INK, linewidth=1.2, linestyle=(0, (2, 2)), zorder=1.5)
    drawing.number_axis(axes.yaxis)
    _tokens_and_seconds(axes, rate)
    return figure


def _tokens_and_seconds(axes: Axes, rate: float) -> None:
    """Label the axis of tokens and, where the speed is known, put one of seconds below it."""

    def seconds_of(tokens: Any) -> Any:
        return tokens / rate

    def tokens_of(time_s: Any) -> Any:
        return time_s * rate

    _ticks(axes, *axes.get_xlim())
    axes.set_xlabel("training tokens seen")
    if not rate > 0:
        return
    seconds = axes.secondary_xaxis(
        -SECONDS_PT * axes.figure.dpi / 72 / axes.get_window_extent().height,
        functions=(seconds_of, tokens_of),
    )
    if axes.get_xscale() == "log":
        seconds.set_xscale("log")
    _ticks(seconds, *map(seconds_of, axes.get_xlim()))
    axes.set_xlabel("")
    seconds.set_xlabel("training tokens seen; seconds below")
    seconds.spines["bottom"].set_visible(False)


def _ticks(axes: Any, low: float, high: float) -> None:
    if axes.get_xscale() == "log":
        drawing.log_axis(axes.xaxis, low, high)
    else:
        drawing.amount_axis(axes.xaxis)


def train_loss(curves: pd.DataFrame) -> Figure:
    """Draw the training loss, a running median of each run."""
    return losses(curves, "training loss", mark_points=False)


def test_loss(curves: pd.DataFrame) -> Figure:
    """Draw the test loss."""
    return losses(curves, "test loss", mark_points=True)


def running_median(curves: pd.DataFrame, window_share: float = 0.04) -> pd.DataFrame:
    """Return the losses of each run as medians over a window: single batches differ by chance."""
    parts = []
    for _, run in curves.groupby("case", sort=False):
        window = max(1, 2 * int(window_share * len(run) / 2) + 1)
        smooth = run["loss"].rolling(window, center=True, min_periods=1).median()
        every = max(1, len(run) // 120)
        parts.append(run.assign(loss=smooth).iloc[::every])
    return pd.concat(parts) if parts else curves


def difference_curves(curves: pd.DataFrame) -> Figure:
    """Draw the mean paired difference along training, with its pointwise 95 % interval.

    Args:
        curves: points with columns `variant` (the pair), `tokens`, `difference`, `low` and `high`.
    """
    title = "difference in test loss, nats/token"
    figure, axes = line_charts.line_chart(
        curves, title, "tokens", "difference", band=("low", "high")
    )
    axes.axhline(
        0, color=drawing.INK, linewidth=1.2, zorder=1.5
    )  # above the bands, below the lines
    axes.set_xlabel("training tokens seen")
    drawing.amount_axis(axes.xaxis)
    drawing.number_axis(axes.yaxis)
    return figure


def differences(comparisons: pd.DataFrame) -> Figure:
    """Draw each paired comparison: a ring per seed, the mean with its 95 % interval, the margin.

    Args:
        comparisons: cases with columns `low` and `high`, the ends of their intervals, and `points`,
            the list of paired differences.
    """
    rows = [
        {
            "label": f"{words.arm(pair['a'])} {words.MINUS} {words.arm(pair['b'])}",
            "value": pair["difference"],
            "low": pair["low"],
            "high": pair["high"],
            "margin": pair["margin"],
            "points": list(pair["points"]),
            "kind": _kind(pair),
        }
        for _, pair in comparisons.iterrows()
    ]
    return row_charts.forest(
        pd.DataFrame(rows), "difference in final test loss, nats/token", log=False
    )


def _kind(pair: pd.Series) -> str:
    outcome = findings.outcome(pair)
    return KINDS.get(outcome, "lower" if pair["difference"] < 0 else "higher")
