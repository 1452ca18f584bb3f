"""Figures of loss curves and of differences between arms."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reports import drawing, words


def _along(
    curves: pd.DataFrame, title: str, y: str, low: str, high: str, *, mark_points: bool = True
) -> tuple[Figure, Axes]:
    """Draw a line along training for each variant, with a band from `low` to `high`."""
    frame = drawing.with_labels(curves)
    figure, axes = drawing.line_figure(frame, title)
    for colour, (_, rows) in zip(
        drawing.colours(), frame.groupby("variant", sort=False), strict=False
    ):
        axes.fill_between(
            rows["tokens"], rows[low], rows[high], color=colour, alpha=0.2, linewidth=0
        )
    drawing.lines(
        axes, frame, x="tokens", y=y, mark_points=mark_points, markeredgecolor=drawing.SURFACE,
        linewidth=1.8,
    )  # fmt: skip
    drawing.legend(figure, axes, frame)
    axes.set(xlabel="training tokens seen", ylabel="")
    drawing.number_axis(axes.xaxis)
    return figure, axes


def _losses(curves: pd.DataFrame, title: str, mark_points: bool) -> tuple[Figure, Axes]:
    # Aggregated here: seaborn's own bands take several times as long as the drawing.
    groups = curves.groupby(["variant", "tokens"], sort=False)["loss"]
    bands = groups.agg(["mean", "min", "max"]).reset_index()
    return _along(bands, title, "mean", "min", "max", mark_points=mark_points)


def train_loss(curves: pd.DataFrame) -> Figure:
    """Draw the training loss: mean over seeds, band from the lowest to the highest seed."""
    return _losses(curves, "training loss, nats/token", mark_points=False)[0]


def test_loss(curves: pd.DataFrame) -> Figure:
    """Draw the test loss, and the loss of unigram counts (column `unigram`) to beat."""
    figure, axes = _losses(curves, "test loss, nats/token", mark_points=True)
    baseline = curves["unigram"].dropna()
    if not baseline.empty:
        axes.axhline(baseline.mean(), color=drawing.INK, linewidth=1.2, linestyle=(0, (2, 2)))
        axes.annotate(
            "unigram counts", (1, baseline.mean()), xycoords=("axes fraction", "data"),
            xytext=(0, 5), textcoords="offset points", ha="right",
        )  # fmt: skip
    return figure


def difference_curves(curves: pd.DataFrame) -> Figure:
    """Draw the mean paired difference along training, with its pointwise 95 % interval.

    Args:
        curves: points with columns `variant` (the pair), `tokens`, `difference`, `low` and `high`.
    """
    title = "difference in test loss, nats/token"
    figure, axes = _along(curves, title, "difference", "low", "high")
    axes.axhline(
        0, color=drawing.INK, linewidth=1.2, zorder=1.5
    )  # above the bands, below the lines
    return figure


def differences(comparisons: pd.DataFrame) -> Figure:
    """Draw each paired comparison: a dot per seed, the mean with its 95 % interval, the margin.

    Args:
        comparisons: cases with columns `low` and `high`, the ends of their intervals, and `points`,
            the list of paired differences.
    """
    n_rows = len(comparisons)
    figure, (axes,) = drawing.new_figure(0.85 * n_rows, left_in=0.1)
    for row, (_, pair) in enumerate(comparisons.iterrows()):
        lane = (row - 0.2, row + 0.36)
        if pd.notna(pair["margin"]):
            axes.fill_between(
                [-pair["margin"], pair["margin"]],
                *lane,
                color=drawing.COLOURS[2],
                alpha=0.2,
                linewidth=0,
            )
        axes.plot([0, 0], lane, color=drawing.INK, linewidth=1.2)
        points = list(pair["points"])
        axes.plot(
            points, [row + 0.2] * len(points), "o", color=drawing.COLOURS[0], markersize=6,
            markerfacecolor="none", markeredgewidth=1.4,
        )  # fmt: skip
        if pd.notna(pair["low"]) and pd.notna(pair["high"]):
            axes.plot(
                [pair["low"], pair["high"]],
                [row - 0.04] * 2,
                color=drawing.INK,
                linewidth=2.2,
                solid_capstyle="butt",
            )
        axes.plot(pair["difference"], row - 0.04, "D", color=drawing.INK, markersize=7)
        a, b = words.arm(pair["a"]), words.arm(pair["b"])
        drawing.row_text(
            axes,
            row,
            f"{drawing.as_label(a, 28)} {words.MINUS} {drawing.as_label(b, 28)}",
            above_pt=23,
        )
    axes.set(ylim=(n_rows - 0.55, -0.6), yticks=[])
    axes.grid(visible=False)
    axes.set_xlabel("difference in final test loss, nats/token")
    axes.tick_params(axis="x", colors=drawing.INK)
    drawing.number_axis(axes.xaxis)
    return figure
