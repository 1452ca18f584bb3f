"""Figures on memory, on the roofline, and on comparisons of one thing with itself."""

from __future__ import annotations

import math

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from bench.ledger.schema import PHASE_PEAKS
from reports import drawing, words

GIB = 2**30
LINE_PT = 15.0
"""Height of a line of text in points."""


def memory(models: pd.DataFrame) -> Figure:
    """Draw the peak of each phase of each case, above what was held before it.

    Args:
        models: cases with a column `label`, `peak_bytes` and the peaks of phases.
    """
    bars: list[tuple[float, str, float, str]] = []
    heads: list[tuple[float, str]] = []
    row = 0.0
    for _, case in models.iterrows():
        heads.append((row, case["label"]))
        known = {PHASE_PEAKS[name]: case[name] for name in PHASE_PEAKS if pd.notna(case[name])}
        for phase, peak in (known or {"whole call": case["peak_bytes"]}).items():
            row += 1
            bars.append((row, phase, peak / GIB, colour_of(phase)))
        row += 1.45
    figure, (axes,) = drawing.new_figure(0.27 * row, top_in=0.3, left_in=0.95)
    rows, phases, widths, colours = zip(*bars, strict=True)
    axes.barh(rows, widths, height=0.62, color=colours)
    top = max(max(widths), 1e-9)
    for at, width in zip(rows, widths, strict=True):
        axes.annotate(
            words.size(width * GIB), (width, at), xytext=(5, 0), va="center",
            textcoords="offset points",
        )  # fmt: skip
    for at, label in heads:
        axes.annotate(
            drawing.as_label(label, 56), (-0.14, at), xycoords=("axes fraction", "data"),
            va="center", annotation_clip=False,
        )  # fmt: skip
    axes.set(ylim=(row - 0.7, -0.6), xlim=(0, 1.22 * top), yticks=list(rows))
    axes.set_yticklabels(phases)
    axes.grid(visible=False)
    axes.set_xlabel("GiB above what was held before the call")
    drawing.number_axis(axes.xaxis)
    return figure


def colour_of(phase: str) -> str:
    """Return the colour of a phase; its name stands beside it."""
    names = [name for name in PHASE_PEAKS.values() if name != "transfer"]  # as in figures.phases
    return drawing.COLOURS[names.index(phase) if phase in names else 6]


def roofline(points: pd.DataFrame) -> Figure:
    """Draw cases under the roof of their precision, both axes logarithmic.

    Args:
        points: cases of one device with columns `number`, `label`, `intensity`, `flops_per_s`, and
            `peak` (FLOP/s) and `bandwidth` (B/s) of their roof.
    """
    figure, (axes,) = drawing.new_figure(3.1, top_in=0.45 + 0.24 * len(points), left_in=0.85)
    low = min(points["intensity"].min(), (points["peak"] / points["bandwidth"]).min()) / 3
    high = max(points["intensity"].max(), (points["peak"] / points["bandwidth"]).max()) * 3
    roofs = points.dropna(subset=["peak", "bandwidth"]).drop_duplicates("precision")
    for colour, dash, (_, roof) in zip(
        drawing.COLOURS, ("-", (0, (5, 1.5)), (0, (2, 1))), roofs.iterrows(), strict=False
    ):
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
    axes.set_title("useful arithmetic, FLOP/s (logarithmic)")
    axes.set_xlabel("FLOP for each byte that must move (logarithmic)")
    return figure


def _power(value: float) -> str:
    scale, prefix = next((p for p in words.PREFIXES if value >= p[0]), (1.0, ""))
    return f"{words.tick(value / scale)}{words.NBSP if prefix else ''}{prefix}"


def _number_points(figure: Figure, points: pd.DataFrame) -> None:
    """Write each point's number beside it, where neither another number nor a point is."""
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


def self_comparisons(trials: pd.DataFrame) -> Figure:
    """Draw each comparison of one thing with itself: ratio and interval, in order of time.

    Args:
        trials: rows with `trial`, `ratio`, `ratio_low`, `ratio_high` and `margin_ratio`.
    """
    figure, (axes,) = drawing.new_figure(2.5, top_in=0.4)
    margin = trials["margin_ratio"].iloc[0]
    if pd.notna(margin):
        axes.axhspan(1 / (1 + margin), 1 + margin, color=drawing.COLOURS[2], alpha=0.2, linewidth=0)
    axes.axhline(1, color=drawing.INK, linewidth=1.2)
    outside = trials["ratio_low"].gt(1) | trials["ratio_high"].lt(1)
    for rows, colour, marker in (
        (trials[~outside], drawing.COLOURS[0], "o"),
        (trials[outside], drawing.COLOURS[1], "D"),
    ):
        axes.vlines(
            rows["trial"], rows["ratio_low"], rows["ratio_high"], color=colour, linewidth=1.8
        )
        axes.plot(rows["trial"], rows["ratio"], marker, color=colour, markersize=5.5)
    ends = trials[["ratio_low", "ratio_high", "ratio"]]
    reach = max(float((ends - 1).abs().max().max()), 0.0 if pd.isna(margin) else 1.2 * margin, 0.01)
    axes.set_ylim(1 - 1.1 * reach, 1 + 1.1 * reach)
    axes.set_xlim(trials["trial"].min() - 0.7, trials["trial"].max() + 0.7)
    axes.set_title("time of the second over time of the first")
    axes.set_xlabel("comparison, in order of time")
    axes.grid(visible=False, axis="x")
    drawing.number_axis(axes.xaxis)
    drawing.number_axis(axes.yaxis)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    return figure
