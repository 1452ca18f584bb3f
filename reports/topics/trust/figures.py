"""The figure of comparisons of a case with an identical copy."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from reports import drawing


def self_comparisons(trials: pd.DataFrame) -> Figure:
    """Draw each comparison of a case with its copy: ratio and interval, in order of time.

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
