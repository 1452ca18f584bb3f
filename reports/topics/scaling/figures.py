"""Figures on scaling: the ladder with its law and held-out size; what inference gains."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from reports import drawing, line_charts, row_charts, words
from reports.load import over


def ladder(points: pd.DataFrame) -> Figure:
    """Draw loss against compute with the law, and below it what the law misses, in per cent.

    Args:
        points: one row a checkpoint with `variant` (name of the size), `compute` (FLOP), `loss`
            measured (NaN where the run is missing), `law`, `is_target` (of the held-out size),
            `low` and `high` of the stated interval, NaN for the other sizes, and `size_guess` and
            `line_guess` at the end of the held-out run, NaN elsewhere.
    """
    names = list(dict.fromkeys(points["variant"]))
    places = row_charts.flow([name.replace(" parameters", "") for name in names])
    figure, (axes, below) = drawing.new_figure(
        170, 2, top=24 + len(places) * drawing.LINE_PT, gap=34
    )
    axes.set(xscale="log", yscale="log")
    for i, name in enumerate(names):
        _size(axes, below, points[points["variant"] == name], i)
    for plot in (axes, below):
        drawing.log_axis(plot.xaxis, *plot.get_xlim())
    drawing.log_axis(axes.yaxis, *axes.get_ylim(), shown=words.tick)
    axes.set_title("test loss, nats/byte (logarithmic)")
    below.set_title("measured less law, in % of the law")
    below.axhline(0, color=drawing.INK, linewidth=1.1)
    drawing.number_axis(below.yaxis)
    below.set_xlabel("training compute, FLOP")
    _guesses(below, points)
    height = figure.get_figheight() * 72

    def sample(x: float, y: float, i: int) -> Line2D:
        return Line2D(
            [(x + 6) / drawing.WIDTH_PT], [y / height], marker=drawing.MARKERS[i % 8],
            color=drawing.COLOURS[i % 8], markersize=6, linestyle="", transform=figure.transFigure,
        )  # fmt: skip

    row_charts.key(figure, places, sample)
    return figure


def _size(axes: Axes, below: Axes, rows: pd.DataFrame, i: int) -> None:
    """Draw one size: its runs, the law, the stated interval; and the residuals."""
    colour, is_target = drawing.COLOURS[i % 8], bool(rows["is_target"].iloc[0])
    marker, size = drawing.MARKERS[i % 8], 5.5 if is_target else 3.5
    if is_target and rows["low"].notna().any():
        stated = rows.dropna(subset=["low", "high", "law"])
        axes.fill_between(
            stated["compute"], stated["low"], stated["high"], color=colour, alpha=0.22, linewidth=0
        )
        low, high = (_residual(stated[name], stated["law"]) for name in ("low", "high"))
        below.fill_between(stated["compute"], low, high, color=colour, alpha=0.22, linewidth=0)
    axes.plot(rows["compute"], rows["loss"], marker, color=colour, markersize=size)
    axes.plot(
        rows["compute"], rows["law"], color=drawing.INK, linewidth=1.1,
        linestyle=(0, (4, 2)) if is_target else "-",
    )  # fmt: skip
    residual = _residual(rows["loss"], rows["law"])
    below.plot(rows["compute"], residual, marker, color=colour, markersize=size)


def _residual(loss: pd.Series[float], law: pd.Series[float]) -> pd.Series[float]:
    percent: pd.Series[float] = 100 * (over(loss, law) - 1)
    return percent


def _guesses(below: Axes, points: pd.DataFrame) -> None:
    """Mark what naive guesses say of the end of the held-out run."""
    guessed = points.dropna(subset=["law", "size_guess"]).tail(1)
    if guessed.empty:
        return
    end = guessed.iloc[0]
    named = {"size_guess": "nothing changes", "line_guess": "line through two sizes"}
    marks = [(end["compute"], 100 * (end[name] / end["law"] - 1)) for name in named]
    below.plot(*zip(*marks, strict=True), "X", color=drawing.INK, markersize=8)
    low, high = below.get_ylim()
    below.set_ylim(low - 0.1 * (high - low), high + 0.1 * (high - low))
    known = points.dropna(subset=["loss", "law"])
    along = zip(known["compute"], _residual(known["loss"], known["law"]), strict=True)
    line_charts.name_points(below, marks, list(named.values()), list(along))


def _axis(rows: pd.DataFrame, title: str, xlabel: str) -> tuple[Figure, Axes]:
    """Draw means with 95 % intervals over prompts, the law dashed and its prediction as a ring."""
    figure, (axes,) = drawing.new_figure(160)
    axes.set_title(title)
    down = (rows["value"] - rows["low"]).clip(lower=0)
    up = (rows["high"] - rows["value"]).clip(lower=0)
    axes.errorbar(
        rows["x"], rows["value"], yerr=[down, up], fmt="o", color=drawing.COLOURS[0], markersize=6,
        elinewidth=1.6, label="measured",
    )  # fmt: skip
    known = rows.dropna(subset=["law"])
    axes.plot(known["x"], known["law"], color=drawing.INK, linewidth=1.2, linestyle=(0, (4, 2)))
    axes.plot(
        known["x"].tail(1), known["law"].tail(1), "o", color=drawing.COLOURS[1], markersize=9,
        markerfacecolor="none", markeredgewidth=1.8,
    )  # fmt: skip
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator(rows["x"].tolist()))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: words.tick(value)))
    axes.set_xlabel(xlabel)
    return figure, axes


def by_context(rows: pd.DataFrame) -> Figure:
    """Draw the loss of the next bytes against the bytes read before each."""
    figure, axes = _axis(rows, "test loss, nats/byte", "bytes read before each byte predicted")
    drawing.number_axis(axes.yaxis)
    return figure


def by_pass(rows: pd.DataFrame) -> Figure:
    """Draw the share of places with a success among k samples, and its band beyond them."""
    figure, (axes,) = drawing.new_figure(160)
    axes.set_title("places with a sample that has half of its bytes right")
    axes.fill_between(
        rows["x"], rows["low"], rows["high"], color=drawing.COLOURS[0], alpha=0.2, linewidth=0
    )
    seen = rows.dropna(subset=["value"])
    axes.plot(seen["x"], seen["value"], "o", color=drawing.COLOURS[0], markersize=6)
    axes.set_xscale("log")
    axes.set_ylim(0, 1)
    axes.xaxis.set_major_locator(FixedLocator(rows["x"].tolist()[::2]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: words.tick(value)))
    axes.set_xlabel("samples drawn for each place")
    drawing.percent_axis(axes.yaxis)
    return figure


def by_samples(rows: pd.DataFrame) -> Figure:
    """Draw verbatim accuracy against the samples drawn."""
    figure, axes = _axis(
        rows, "bytes equal to the true text", "samples drawn; the likeliest is kept"
    )
    drawing.percent_axis(axes.yaxis)
    return figure
