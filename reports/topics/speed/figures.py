"""Figures of phases, of the share of the peak, and of the roofline."""

from __future__ import annotations

import math

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from bench.ledger.schema import PHASE_TIMES
from reports import drawing, words

LEGEND_COLUMNS = 5


def phases(steps: pd.DataFrame) -> Figure:
    """Draw one stacked bar per training step: seconds in each phase.

    Args:
        steps: cases with a column `label` and the phases.
    """
    present = {name: phase for name, phase in PHASE_TIMES.items() if steps[name].notna().any()}
    top_in = 0.4 if len(present) <= LEGEND_COLUMNS else 0.65
    figure, axes = drawing.rows_of_bars(len(steps), top_in=top_in)
    left = pd.Series(0.0, index=steps.index)
    rows = range(len(steps))
    for colour, (column, phase) in zip(drawing.COLOURS, present.items(), strict=False):
        width = steps[column].fillna(0.0)
        axes.barh(
            list(rows), width, left=left, height=0.34, color=colour, label=phase,
            edgecolor=drawing.SURFACE, linewidth=0.8,
        )  # fmt: skip
        left = left + width
    for row, label in zip(rows, steps["label"], strict=True):
        drawing.row_text(axes, row, drawing.as_label(label, 60))
    axes.set_xlabel("seconds in one step")
    drawing.number_axis(axes.xaxis)
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="upper left", ncols=LEGEND_COLUMNS, handlelength=0.8,
        columnspacing=0.9, handletextpad=0.4, borderpad=0, borderaxespad=0,
        bbox_to_anchor=(0.012, 0.98),
    )  # fmt: skip
    return figure


def share_of_peak(models: pd.DataFrame) -> Figure:
    """Draw each case's share of the machine's measured peak.

    Args:
        models: cases with columns `label` and `mfu`.
    """
    figure, axes = drawing.rows_of_bars(len(models), top_in=0.1)
    rows = list(range(len(models)))
    fp32 = models["precision"].eq("fp32")
    colours = [drawing.COLOURS[0] if is_fp32 else drawing.COLOURS[1] for is_fp32 in fp32]
    axes.barh(rows, models["mfu"], height=0.34, color=colours)
    for row, label, share in zip(rows, models["label"], models["mfu"], strict=True):
        drawing.row_text(axes, row, drawing.as_label(label, 60))
        axes.annotate(
            words.percent(share), (share, row), xytext=(5, 0), va="center",
            textcoords="offset points",
        )  # fmt: skip
    axes.axvline(1, color=drawing.INK, linewidth=1.2)
    axes.set(xlim=(0, max(1.12, float(models["mfu"].max()) * 1.15)))
    axes.set_xlabel("share of the measured matrix-product peak")
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1])
    drawing.percent_axis(axes.xaxis)
    return figure


LINE_PT = 15.0
"""Height of a line of text in points."""


def roofline(points: pd.DataFrame) -> Figure:
    """Draw each case below the roofline of its precision, both axes logarithmic.

    Args:
        points: cases of one device with columns `number`, `label`, `intensity`, `flops_per_s`, and
            `peak` (FLOP/s) and `bandwidth` (B/s) of their roofline.
    """
    figure, (axes,) = drawing.new_figure(3.1, top_in=0.45 + 0.24 * len(points), left_in=0.85)
    low = min(points["intensity"].min(), (points["peak"] / points["bandwidth"]).min()) / 3
    high = max(points["intensity"].max(), (points["peak"] / points["bandwidth"]).max()) * 3
    roofs = points.dropna(subset=["peak", "bandwidth"])
    roofs = roofs.drop_duplicates(["precision", "bandwidth"])
    looks = zip(drawing.COLOURS, ("-", (0, (5, 1.5)), (0, (2, 1))), strict=False)
    styles = dict(zip(roofs["precision"].unique(), looks, strict=False))
    for _, roof in roofs.iterrows():
        colour, dash = styles.get(roof["precision"], (drawing.INK, "-"))
        ridge = roof["peak"] / roof["bandwidth"]
        axes.plot(
            [low, ridge, high], [low * roof["bandwidth"], roof["peak"], roof["peak"]],
            color=colour, linestyle=dash, linewidth=1.8,
        )  # fmt: skip
        axes.annotate(
            f"{drawing.as_label(roof['precision'], 12)} peak", (high, roof["peak"]), xytext=(0, 8),
            textcoords="offset points", ha="right", va="center",
        )  # fmt: skip
    axes.set(xscale="log", yscale="log", xlim=(low, high))
    axes.plot(
        points["intensity"], points["flops_per_s"], "o", color=drawing.INK, markersize=6,
        markeredgecolor=drawing.SURFACE,
    )  # fmt: skip
    bottom, top = axes.get_ylim()
    axes.set_ylim(bottom / 1.6, top * 1.5)
    _number_points(figure, points)
    for line, (_, case) in enumerate(points.iterrows()):
        figure.text(
            0.02, 1 - (0.05 + 0.24 * line) / figure.get_figheight(),
            f"{case['number']}  {drawing.as_label(case['label'], 58)}", va="top",
        )  # fmt: skip
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(10, numticks=6))
        axis.set_minor_formatter(NullFormatter())
        axis.set_major_formatter(FuncFormatter(lambda value, _: _power(value)))
    axes.set_title("FLOP/s by formula (logarithmic)")
    axes.set_xlabel("FLOP for each byte that must move (logarithmic)")
    return figure


def _power(value: float) -> str:
    scale, prefix = next((p for p in words.PREFIXES if value >= p[0]), (1.0, ""))
    return f"{words.tick(value / scale)}{words.NBSP if prefix else ''}{prefix}"


def _number_points(figure: Figure, points: pd.DataFrame) -> None:
    """Write the number of each point beside it, where it covers no other number or point."""
    axes = figure.axes[0]
    pixels = axes.transData.transform(points[["intensity", "flops_per_s"]].to_numpy(dtype=float))
    taken = [(x, y) for x, y in pixels * 72 / figure.dpi]
    sides = [(0.8, 0.0), (-0.8, 0.0), (0.0, 0.9), (0.0, -0.9)]
    sides += [(1.6, 0.0), (-1.6, 0.0), (0.8, 0.9), (-0.8, -0.9), (0.8, -0.9), (-0.8, 0.9)]
    for (_, case), (x, y) in zip(points.iterrows(), list(taken), strict=True):
        free = [
            (dx * LINE_PT, dy * LINE_PT)
            for dx, dy in sides
            if all(
                math.hypot(x + dx * LINE_PT - u, y + dy * LINE_PT - v) > 0.7 * LINE_PT
                for u, v in taken
            )
        ]
        dx, dy = free[0] if free else (LINE_PT, LINE_PT)
        taken.append((x + dx, y + dy))
        axes.annotate(
            str(case["number"]), (case["intensity"], case["flops_per_s"]), xytext=(dx, dy),
            textcoords="offset points", ha="center", va="center", fontweight="bold",
        )  # fmt: skip
