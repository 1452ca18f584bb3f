"""Figures of comparisons of a case with an identical copy, and of pairs."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from reports import claims, drawing, row_charts


def self_comparisons(trials: pd.DataFrame) -> Figure:
    """Draw each comparison of a case with its copy: ratio and interval, in order of time.

    Args:
        trials: rows with `trial`, `ratio`, `ratio_low`, `ratio_high` and `margin_ratio`.
    """
    figure, (axes,) = drawing.new_figure(150)
    margin = trials["margin_ratio"].iloc[0]
    if pd.notna(margin):
        axes.axhspan(1 / (1 + margin), 1 + margin, color=drawing.COLOURS[6], alpha=0.28)
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
    ends = pd.concat([trials[name] for name in ("ratio_low", "ratio_high", "ratio")])
    ends = ends[ends.gt(0)]
    reach = max([1.012, *ends, *(1 / ends)]) ** 1.1
    axes.set_yscale("log")
    axes.set_ylim(1 / reach, reach)
    row_charts.factor_ticks(axes.yaxis, reach)
    axes.set_xlim(trials["trial"].min() - 0.7, trials["trial"].max() + 0.7)
    axes.set_title("time of the second over time of the first")
    axes.set_xlabel("comparison, in the order of time")
    axes.grid(visible=False, axis="x")
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    return figure


def pairs(frame: pd.DataFrame) -> Figure:
    """Draw the ratio of each pair with its interval and its verdict.

    Args:
        frame: pairs with `label`, `ratio`, `ratio_low`, `ratio_high` and `margin_ratio`.
    """
    names = {"ratio": "value", "ratio_low": "low", "ratio_high": "high", "margin_ratio": "margin"}
    kinds = [claims.verdict(case) for _, case in frame.iterrows()]
    shown = frame[["label", *names]].rename(columns=names).assign(kind=kinds)
    return row_charts.forest(shown, "time of the second over time of the first")
