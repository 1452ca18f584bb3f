"""Figures of what each sampler showed, and of what that means for the loss."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from reports import drawing, line_charts


def covered(curves: pd.DataFrame) -> Figure:
    """Draw the covered share against epochs: lines observed, rings theory."""
    figure, axes = line_charts.line_chart(
        curves, "targets shown at least once", "epochs", "covered", mark_points=False
    )
    for _, rows in curves.dropna(subset=["expected"]).groupby("variant", sort=False):
        known = rows.iloc[:: max(1, len(rows) // 8)]
        axes.plot(
            known["epochs"], known["expected"], "o", color=drawing.INK, markersize=5.5,
            markerfacecolor="none", markeredgewidth=1.2,
        )  # fmt: skip
    axes.set(xlabel="epoch-equivalents")
    drawing.number_axis(axes.xaxis)
    drawing.percent_axis(axes.yaxis)
    return figure


def missed(curves: pd.DataFrame, *, log: bool = True) -> Figure:
    """Draw the share not yet shown against epochs.

    Args:
        curves: points with something missing; a line ends where nothing is.
        log: whether the axis of shares is logarithmic.
    """
    frame = curves.assign(missed=1 - curves["covered"])
    figure, axes = line_charts.line_chart(
        frame, f"targets not shown yet{' (logarithmic)' if log else ''}", "epochs", "missed",
        log="y" if log else "", mark_points=False, left=64,
    )  # fmt: skip
    if log:
        low, high = axes.get_ylim()
        drawing.log_axis(
            axes.yaxis, low, high, shown=lambda share: f"{100 * share:.6g}\u00a0%", most=6
        )
        axes.set_ylim(low, high)
    else:
        drawing.percent_axis(axes.yaxis)
    axes.set_xlabel("epoch-equivalents")
    drawing.number_axis(axes.xaxis)
    return figure


def visits(histogram: pd.DataFrame) -> Figure:
    """Draw, per sampler, how many targets were visited how often."""
    names = list(dict.fromkeys(histogram["variant"]))
    figure, panels = line_charts.panels(names, 74)
    for axes, name, colour in zip(panels, names, drawing.colours(), strict=False):
        rows = histogram[histogram["variant"] == name]
        share = rows["targets"] / rows["targets"].sum()
        axes.bar(rows["visits"], share, width=0.8, color=colour)
        axes.set_xlim(histogram["visits"].min() - 1.5, histogram["visits"].max() + 1.5)
        axes.set_ylim(0, None)
        axes.yaxis.set_major_locator(MaxNLocator(2))
        axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
        axes.grid(visible=False, axis="x")
        drawing.percent_axis(axes.yaxis)
    figure.supxlabel("times that a target was shown", y=0.01, fontsize=drawing.FONT_PT)
    return figure


def positions(by_position: pd.DataFrame) -> Figure:
    """Draw, per sampler, visits along the text: mean of each bin, least and most as a band."""
    names = list(dict.fromkeys(by_position["variant"]))
    figure, panels = line_charts.panels(names, 62, columns=1)
    top = by_position["visits_max"].max()
    for axes, name, colour in zip(panels, names, drawing.colours(), strict=False):
        rows = by_position[by_position["variant"] == name]
        where = rows["bin_start"] / by_position["bin_stop"].max()
        axes.fill_between(
            where, rows["visits_min"], rows["visits_max"], step="post", color=colour, alpha=0.28
        )
        axes.step(where, rows["visits_mean"], where="post", color=colour, linewidth=1.6)
        axes.set_ylim(0, top * 1.05 if top > 0 else 1)
        axes.yaxis.set_major_locator(MaxNLocator(3, integer=True))
        drawing.percent_axis(axes.xaxis)
        axes.set_xlim(0, 1)
    panels[-1].set_xlabel("position in the training part")
    return figure


def consequence(runs: pd.DataFrame) -> Figure:
    """Draw the final test loss of each training run against what its sampler missed.

    Args:
        runs: with `variant`, `missed` (a share) and `final_test_loss`.
    """
    frame = drawing.with_labels(runs)
    figure, (axes,) = drawing.new_figure(190)
    means, names = [], []
    for i, (name, own) in enumerate(frame.groupby("variant", sort=False)):
        colour, marker = drawing.COLOURS[i % 8], drawing.MARKERS[i % 8]
        axes.plot(
            own["missed"], own["final_test_loss"], marker, color=colour, markersize=5,
            markerfacecolor="none", markeredgewidth=1.2,
        )  # fmt: skip
        mean = (float(own["missed"].mean()), float(own["final_test_loss"].mean()))
        axes.plot(*mean, marker, color=colour, markersize=10, markeredgecolor=drawing.SURFACE)
        means.append(mean)
        names.append(str(name))
    if frame["missed"].min() > 0 and frame["missed"].max() > 20 * frame["missed"].min():
        axes.set_xscale("log")
        low, high = axes.get_xlim()
        drawing.log_axis(axes.xaxis, low, high, shown=lambda s: f"{100 * s:.4g}\u00a0%")
        axes.set_xlim(low, high)
    else:
        drawing.number_axis(axes.xaxis)
        drawing.percent_axis(axes.xaxis)
    axes.margins(0.12, 0.18)
    drawing.number_axis(axes.yaxis)
    axes.set(title="final test loss, nats/token", xlabel="targets that training missed")
    points = list(zip(frame["missed"], frame["final_test_loss"], strict=True))
    line_charts.name_points(axes, means, names, points)
    return figure
