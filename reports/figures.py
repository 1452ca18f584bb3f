"""DataFrame → figure, one function per figure. What they share is in `drawing`."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from bench.ledger.schema import PHASE_TIMES
from reports import drawing, words

LEGEND_COLUMNS = 5

# --- speed ----------------------------------------------------------------------------------


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


# --- sampling -------------------------------------------------------------------------------


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


def tail_profile(profile: pd.DataFrame) -> Figure:
    """Draw how well the rest of the text predicts each block; the last one is marked.

    Args:
        profile: blocks with columns `form`, `where` (middle, share of the text), `unigram`, and
            `mean_unigram` and `sd_unigram` of their form.
    """
    forms = list(dict.fromkeys(profile["form"]))
    figure, panels = drawing.new_figure(1.5, len(forms), top_in=0.35, gap_in=0.42)
    for axes, form in zip(panels, forms, strict=True):
        rows = profile[profile["form"] == form].sort_values("where")
        mean, sd = rows[["mean_unigram", "sd_unigram"]].iloc[0]
        if pd.notna(mean) and pd.notna(sd):
            axes.axhspan(mean - sd, mean + sd, color=drawing.COLOURS[6], alpha=0.22, linewidth=0)
            axes.axhline(mean, color=drawing.INK, linewidth=1.2, linestyle=(0, (2, 2)))
        axes.plot(rows["where"], rows["unigram"], color=drawing.COLOURS[0])
        tail = (rows["where"].iloc[-1], rows["unigram"].iloc[-1])
        axes.plot(*tail, "D", color=drawing.COLOURS[1], markersize=8, clip_on=False)
        # Away from the mean, for that is where the line comes from.
        away = -15 if tail[1] < rows["unigram"].mean() else 15
        axes.annotate(
            "test part", tail, xytext=(14, away), textcoords="offset points", ha="right",
            va="center",
        )  # fmt: skip
        axes.margins(y=0.22)
        axes.set_title(f"{drawing.as_label(form)}: unigram cross-entropy, nats/token")
        axes.yaxis.set_major_locator(MaxNLocator(4))
        axes.set_xlim(0, 1)
        drawing.percent_axis(axes.xaxis)
    low, high = zip(*(axes.get_ylim() for axes in panels), strict=True)
    for axes in panels:
        axes.set_ylim(min(low), max(high))
    panels[-1].set_xlabel("middle of the block, share of the text")
    return figure


# --- convergence ----------------------------------------------------------------------------


def _losses(curves: pd.DataFrame, title: str, marker: bool) -> tuple[Figure, Axes]:
    frame = drawing.with_labels(curves)
    figure, axes = drawing.line_figure(frame, title)
    # Aggregated here: seaborn's own bands take several times as long as the drawing.
    groups = frame.groupby(["variant", "tokens"], sort=False)["loss"]
    bands = groups.agg(["mean", "min", "max"]).reset_index()
    for colour, (_, rows) in zip(
        drawing.colours(), bands.groupby("variant", sort=False), strict=False
    ):
        axes.fill_between(
            rows["tokens"], rows["min"], rows["max"], color=colour, alpha=0.2, linewidth=0
        )
    drawing.lines(
        axes, bands, x="tokens", y="mean", mark_points=marker, markeredgecolor=drawing.SURFACE,
        linewidth=1.8,
    )  # fmt: skip
    drawing.legend(figure, axes, frame)
    axes.set(xlabel="training tokens seen", ylabel="")
    drawing.number_axis(axes.xaxis)
    return figure, axes


def train_loss(curves: pd.DataFrame) -> Figure:
    """Draw the training loss: mean over seeds, band from the lowest to the highest seed."""
    return _losses(curves, "training loss, nats/token", marker=False)[0]


def test_loss(curves: pd.DataFrame) -> Figure:
    """Draw the test loss, and the loss of unigram counts (column `unigram`) to beat."""
    figure, axes = _losses(curves, "test loss, nats/token", marker=True)
    baseline = curves["unigram"].dropna()
    if not baseline.empty:
        axes.axhline(baseline.mean(), color=drawing.INK, linewidth=1.2, linestyle=(0, (2, 2)))
        axes.annotate(
            "unigram counts", (1, baseline.mean()), xycoords=("axes fraction", "data"),
            xytext=(0, 5), textcoords="offset points", ha="right",
        )  # fmt: skip
    return figure


def differences(comparisons: pd.DataFrame) -> Figure:
    """Draw each paired comparison: a dot per seed, the mean with its 95 % interval, the margin.

    Args:
        comparisons: cases with a column `points`, the list of paired differences.
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
        if pd.notna(pair["difference_low"]) and pd.notna(pair["difference_high"]):
            ends = [pair["difference_low"], pair["difference_high"]]
            axes.plot(
                ends, [row - 0.04] * 2, color=drawing.INK, linewidth=2.2, solid_capstyle="butt"
            )
        axes.plot(pair["difference"], row - 0.04, "D", color=drawing.INK, markersize=7)
        a, b = words.sampler(pair["a"]), words.sampler(pair["b"])
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
