"""Figures on scaling: the ladder with its law and held-out size; what inference gains."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter, NullLocator

from reports import drawing, words

LOSS_TICKS = 5


def ladder(points: pd.DataFrame) -> Figure:
    """Draw loss against compute, both logarithmic: runs as points, the law as lines.

    Args:
        points: one row a checkpoint with `variant` (name of the size), `compute` (FLOP), `loss`
            measured (NaN where the run is missing), `law`, `is_target` (of the held-out size), and
            `low` and `high` of the stated interval, NaN for the other sizes.
    """
    frame = drawing.with_labels(points)
    figure, axes = drawing.line_figure(frame, "test loss, nats/byte (logarithmic)")
    for colour, (name, rows) in zip(
        drawing.colours(), frame.groupby("variant", sort=False), strict=False
    ):
        is_target = bool(rows["is_target"].iloc[0])
        if is_target and rows["low"].notna().any():
            axes.fill_between(
                rows["compute"], rows["low"], rows["high"], color=colour, alpha=0.22, linewidth=0
            )
        axes.plot(
            rows["compute"], rows["loss"], "D" if is_target else "o", color=colour, label=name,
            markersize=6 if is_target else 3.5,
        )  # fmt: skip
        axes.plot(
            rows["compute"], rows["law"], color=drawing.INK, linewidth=1.1,
            linestyle=(0, (4, 2)) if is_target else "-",
        )  # fmt: skip
    drawing.legend(figure, axes, frame)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.xaxis.set_major_locator(LogLocator(10))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: words.si(value, "FLOP")))
    axes.xaxis.set_minor_formatter(NullFormatter())
    _few_ticks(axes)
    axes.set_xlabel("training compute, 6 \u00d7 parameters \u00d7 bytes")
    return figure


def _few_ticks(axes: Axes) -> None:
    """Put few round ticks on a logarithmic axis that spans less than a decade."""
    low, high = axes.get_ylim()
    step = next(
        (s for s in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0) if (high - low) / s <= LOSS_TICKS), 2.0
    )
    first = -(-low // step)
    ticks = [step * (first + i) for i in range(int((high - step * first) / step) + 1)]
    axes.yaxis.set_major_locator(FixedLocator(ticks))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: words.tick(value)))


def _axis(rows: pd.DataFrame, title: str, xlabel: str) -> tuple[Figure, Axes]:
    """Draw means with 95 % intervals over prompts, the law dashed and its prediction as a ring."""
    figure, (axes,) = drawing.new_figure(2.3, top_in=0.4)
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
    figure, (axes,) = drawing.new_figure(2.3, top_in=0.4)
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
