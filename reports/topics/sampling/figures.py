"""Figures of what each sampler showed."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from reports import drawing


def covered(curves: pd.DataFrame) -> Figure:
    """Draw the covered share against epochs: lines observed, dots theory."""
    frame = drawing.with_labels(curves)
    figure, axes = drawing.line_figure(frame, "targets shown at least once")
    drawing.lines(axes, frame, x="epochs", y="covered")
    for colour, (_, rows) in zip(
        drawing.colours(), frame.groupby("variant", sort=False), strict=False
    ):
        known = rows.dropna(subset=["expected"])
        known = known.iloc[:: max(1, len(known) // 8)]
        axes.plot(
            known["epochs"], known["expected"], "o", color=colour, markersize=6,
            markerfacecolor=drawing.SURFACE, markeredgewidth=1.6,
        )  # fmt: skip
    drawing.legend(figure, axes, frame)
    axes.set(xlabel="epoch-equivalents", ylabel="", ylim=(0, 1.03))
    axes.set_xlim(0, None)
    drawing.number_axis(axes.xaxis)
    drawing.percent_axis(axes.yaxis)
    return figure


def missed(curves: pd.DataFrame) -> Figure:
    """Draw the share not yet shown against epochs, logarithmic.

    Args:
        curves: points with something missing; a line ends where nothing is.
    """
    frame = drawing.with_labels(curves).assign(missed=1 - curves["covered"])
    figure, axes = drawing.line_figure(frame, "targets not shown yet (logarithmic)")
    drawing.lines(axes, frame, x="epochs", y="missed")
    drawing.legend(figure, axes, frame)
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(10, numticks=8))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set(xlabel="epoch-equivalents", ylabel="")
    axes.set_xlim(0, None)
    drawing.percent_axis(axes.yaxis)
    return figure


def visits(histogram: pd.DataFrame) -> Figure:
    """Draw, per sampler, how many targets were visited how often."""
    names = list(dict.fromkeys(histogram["variant"]))
    figure, panels = drawing.new_figure(0.8, len(names), top_in=0.35, gap_in=0.36)
    for axes, name, colour in zip(panels, names, drawing.colours(), strict=False):
        rows = histogram[histogram["variant"] == name]
        share = rows["targets"] / rows["targets"].sum()
        axes.bar(rows["visits"], share, width=0.8, color=colour)
        axes.set_xlim(histogram["visits"].min() - 1.5, histogram["visits"].max() + 1.5)
        axes.set_title(drawing.as_label(name, 48))
        axes.set_ylim(0, None)
        axes.yaxis.set_major_locator(MaxNLocator(2))
        axes.xaxis.set_major_locator(MaxNLocator(7, integer=True))
        axes.grid(visible=False, axis="x")
        drawing.percent_axis(axes.yaxis)
    panels[-1].set_xlabel("times that a target was shown")
    return figure


def positions(by_position: pd.DataFrame) -> Figure:
    """Draw, per sampler, visits along the text: mean of each bin, least and most as a band."""
    names = list(dict.fromkeys(by_position["variant"]))
    figure, panels = drawing.new_figure(0.8, len(names), top_in=0.35, gap_in=0.36)
    top = by_position["visits_max"].max()
    for axes, name, colour in zip(panels, names, drawing.colours(), strict=False):
        rows = by_position[by_position["variant"] == name]
        where = rows["bin_start"] / by_position["bin_stop"].max()
        axes.fill_between(
            where, rows["visits_min"], rows["visits_max"], step="post", color=colour, alpha=0.28
        )
        axes.step(where, rows["visits_mean"], where="post", color=colour, linewidth=1.6)
        axes.set_title(drawing.as_label(name, 48))
        axes.set_ylim(0, top * 1.05 if top > 0 else 1)
        axes.yaxis.set_major_locator(MaxNLocator(3, integer=True))
        drawing.percent_axis(axes.xaxis)
        axes.set_xlim(0, 1)
    panels[-1].set_xlabel("position in the training part")
    return figure
