"""Charts with one row for each case: its name and its number as text, and its mark below them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from reports import drawing, words
from reports.drawing import COLOURS, GRID, HATCHES, INK, LINE_PT, SURFACE, WIDTH_PT

EDGE_PT, LANE_PT, PAD_PT = 21.0, 20.0, 7.0
"""Margin at both sides, height of the mark of a row, and the space below it."""
NEAR = 2.0
"""A limit of less than so many times the longest bar is drawn as a line."""
LOOKS = {
    "faster": ("<", COLOURS[0]),
    "slower": (">", COLOURS[1]),
    "lower": ("<", COLOURS[0]),
    "higher": (">", COLOURS[1]),
    "same": ("s", COLOURS[2]),
    "ambiguous": ("o", COLOURS[6]),
}
"""Verdict → marker and colour; other rows have a diamond."""
MARKS = (
    "Triangles point to what was shown: slower to the right, faster to the left. Square: the same "
    "within the margin, which is shaded. Ring: not decided. Lines: 95 % intervals."
)
FACTORS = (1.01, 1.02, 1.05, 1.1, 1.2, 1.5, 2, 3, 4, 6, 8, 10, 16, 20, 30, 50, 100, 1e3, 1e4, 1e6)
"""Factors that stand at ticks on both sides of 1."""


def new_rows(
    labels: Iterable[Any], values: Iterable[str], top: float = 2.0
) -> tuple[Figure, Axes, list[float]]:
    """Return a figure with a label and a value for each row, and the heights of their marks.

    Heights are in points from the top of the axes.
    """
    room, placed, lanes, at = WIDTH_PT - 2 * EDGE_PT, [], [], 0.0
    for label, value in zip(labels, values, strict=True):
        lines = drawing.wrapped(label, room)
        if drawing.width(lines[-1]) + drawing.width(value) + 14 > room:
            lines = _beside(label, value, room) or [*lines, ""]
        placed.append((at, lines, value))
        at += len(lines) * LINE_PT
        lanes.append(at + LANE_PT / 2)
        at += LANE_PT + PAD_PT
    figure, (axes,) = drawing.new_figure(at, top=top, left=EDGE_PT, right=EDGE_PT)
    axes.set(ylim=(at, 0), yticks=[])
    axes.grid(visible=False)
    for start, lines, value in placed:
        for i, line in enumerate(lines):
            _text(axes, 0, start + (i + 0.5) * LINE_PT, line, "left")
        _text(axes, 1, start + (len(lines) - 0.5) * LINE_PT, value, "right")
    return figure, axes, lanes


def _beside(label: Any, value: str, room: float) -> list[str]:
    """Return a label in two lines left of its value, nothing where it takes more."""
    lines = drawing.wrapped(label, room - drawing.width(value) - 14)
    return lines if len(lines) <= 2 else []


def _text(axes: Axes, x: float, y: float, text: str, side: str) -> None:
    if text:
        axes.text(x, y, text, transform=axes.get_yaxis_transform(), va="center", ha=side)


def lane_grid(axes: Axes, lanes: Sequence[float], half: float = LANE_PT / 2) -> None:
    """Draw the grid inside the lanes alone, so that no line crosses a label."""
    low, high = axes.get_xlim()
    ticks = [tick for tick in axes.get_xticks() if low <= tick <= high]
    axes.set_xticks(ticks, minor=False)
    for lane in lanes:
        axes.vlines(ticks, lane - half, lane + half, color=GRID, linewidth=0.8, zorder=0.5)


def forest(frame: pd.DataFrame, xlabel: str, *, log: bool = True) -> Figure:
    """Draw ratios with their intervals on a log₂ axis centred on 1, or differences around 0.

    Args:
        frame: one row each, with `label`, `value`, `low`, `high`, and, where known, `kind` (a key
            of LOOKS), `margin` (a share for ratios, an amount for differences), and `points` (a
            list of single values, each drawn as a small ring).
        xlabel: what the axis shows.
        log: whether the values are ratios.
    """
    shown = _ratio_text if log else _difference_text
    figure, axes, lanes = new_rows(frame["label"], map(shown, *_columns(frame)))
    centre, reach = (1.0, _reach(frame)) if log else (0.0, _spread(frame))
    if log:
        axes.set_xscale("log")
        axes.set_xlim(1 / reach, reach)
        factor_ticks(axes.xaxis, reach)
    else:
        axes.set_xlim(-reach, reach)
        axes.xaxis.set_major_locator(MaxNLocator(4))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: words.tick(value)))
    lane_grid(axes, lanes)
    margins, points, kinds = (
        frame.get(name, pd.Series([None] * len(frame))) for name in ("margin", "points", "kind")
    )
    rows = zip(lanes, *_columns(frame), margins, points, kinds, strict=True)
    for row, (lane, value, low, high, margin, single, kind) in enumerate(rows):
        if not words.is_missing(margin):
            ends = (1 / (1 + margin), 1 + margin) if log else (-margin, margin)
            axes.fill_between(
                ends, lane - 9, lane + 9, color=COLOURS[6], alpha=0.28, linewidth=0, zorder=0.6
            )
        axes.vlines(centre, lane - 10, lane + 10, color=INK, linewidth=1.2, zorder=1)
        marker, colour = LOOKS.get(str(kind), ("D", COLOURS[0]))
        if isinstance(single, list):
            axes.plot(
                single, [lane + 6] * len(single), "o", color=colour, markersize=4,
                markerfacecolor="none", markeredgewidth=1,
            )  # fmt: skip
            lane -= 3
        axes.plot([low, high], [lane, lane], color=colour, linewidth=2.2, solid_capstyle="butt")
        axes.plot(
            value, lane, marker, color=colour, markersize=8, markeredgewidth=1.6,
            markerfacecolor=SURFACE if kind == "ambiguous" else colour, gid=f"tip-{row}",
        )  # fmt: skip
    axes.set_xlabel(drawing.as_label(xlabel, 60))
    return figure


def _columns(frame: pd.DataFrame) -> list[pd.Series[float]]:
    return [frame[name].astype(float) for name in ("value", "low", "high")]


def _ratio_text(value: float, low: float, high: float) -> str:
    known = not (words.is_missing(low) or words.is_missing(high))
    return words.ratio(value) + (f" ({words.ratio(low)} to {words.ratio(high)})" if known else "")


def _difference_text(value: float, low: float, high: float) -> str:
    known = not (words.is_missing(low) or words.is_missing(high))
    ends = f" ({words.signed(low, 3)} to {words.signed(high, 3)})" if known else ""
    return words.signed(value, 3) + ends


def _reach(frame: pd.DataFrame) -> float:
    """Return the factor that the axis of ratios reaches to both sides of 1."""
    ends = pd.concat([*_columns(frame), 1 + frame.get("margin", pd.Series(dtype=float))])
    ends = ends[ends.gt(0)].dropna()
    most = max([1.02, *ends, *(1 / ends)])
    return float(min(most, 1e6) ** 1.12)


def _spread(frame: pd.DataFrame) -> float:
    """Return how far the axis of differences reaches to both sides of 0."""
    every = [*_columns(frame), frame.get("margin", pd.Series(dtype=float)).astype(float)]
    single = [x for xs in frame.get("points", []) if isinstance(xs, list) for x in xs]
    return float(max(1e-6, *pd.concat(every).abs().dropna(), *map(abs, single)) * 1.12)


def factor_ticks(axis: Any, reach: float) -> None:
    """Write the same factors on both sides of 1: "÷2", "1", "×2"."""
    outer = [f for f in FACTORS if f <= reach] or [FACTORS[0]]
    inner = [f for f in outer if f <= outer[-1] ** 0.55]
    factors = [*inner[-1:], outer[-1]]
    axis.set_major_locator(FixedLocator([*(1 / f for f in reversed(factors)), 1.0, *factors]))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: _factor(value)))


def times(factor: float) -> str:
    """Return "×2"."""
    return f"\u00d7{words.tick(factor)}"


def _factor(value: float) -> str:
    if math.isclose(value, 1):
        return "1"
    return times(value) if value > 1 else f"÷{words.tick(1 / value)}"


def dots(
    marks: pd.DataFrame,
    xlabel: str,
    shown: Callable[[float], str] = drawing.amount,
    *,
    log: bool = True,
) -> Figure:
    """Draw a row for each label, with a mark and its interval for each process or seed of it.

    Args:
        marks: one row for each mark, with `label`, `text` (of the label, in words), `value`,
            `low` and `high`; a low or high may be NaN.
        xlabel: what the axis shows.
        shown: the words for a tick.
        log: whether the axis is logarithmic.
    """
    rows = [part for _, part in marks.groupby(["label", "text"], sort=False)]
    firsts = [part.iloc[0] for part in rows]
    labels, texts = ([str(row[name]) for row in firsts] for name in ("label", "text"))
    figure, axes, lanes = new_rows(labels, texts)
    ends = pd.concat(_columns(marks)).dropna()
    ends = ends[ends.gt(0)] if log else ends
    low, high = (1.0, 1.0) if ends.empty else (float(ends.min()), float(ends.max()))
    if log:
        axes.set(xscale="log", xlim=(low / 1.15, high * 1.15))
        drawing.log_axis(axes.xaxis, *axes.get_xlim(), shown)
    else:
        room = 0.06 * (high - low) or 1.0
        axes.set_xlim(low - room, high + room)
        axes.xaxis.set_major_locator(MaxNLocator(4))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: shown(value)))
    lane_grid(axes, lanes)
    tips = {index: f"tip-{i}" for i, index in enumerate(marks.index)}
    for lane, part in zip(lanes, rows, strict=True):
        step = min(6.0, 16.0 / len(part))
        for i, (index, mark) in enumerate(part.iterrows()):
            y = lane + (i - (len(part) - 1) / 2) * step
            axes.plot([mark["low"], mark["high"]], [y, y], color=COLOURS[0], linewidth=1.6)
            axes.plot(
                mark["value"], y, drawing.MARKERS[i % 8], color=COLOURS[0], markersize=5,
                gid=tips[index],
            )  # fmt: skip
    axes.set_xlabel(xlabel)
    return figure


def stacks(
    frame: pd.DataFrame,
    parts: Sequence[str],
    xlabel: str,
    shown: Callable[[float], str],
    unit: float = 1.0,
) -> Figure:
    """Draw one stacked bar for each row, its parts labelled inside and hatched.

    Args:
        frame: with `label`, `text` (the total in words), a column for each part, and `limit`
            where a total has one.
        parts: columns in their order, whose names stand in the key.
        xlabel: what the axis shows.
        shown: the words for a part and for a tick.
        unit: what ticks are round multiples of.
    """
    places = flow(parts)
    figure, axes, lanes = new_rows(frame["label"], frame["text"], top=len(places) * LINE_PT + 8)
    most = float(max(frame[list(parts)].fillna(0.0).sum(axis=1).max(), 1e-12))
    limits = frame.get("limit", pd.Series(math.nan, frame.index))
    near = limits.where(limits < NEAR * most)
    most = max(most, float(near.max()) if near.notna().any() else 0.0)
    axes.set_xlim(0, most)
    ticks = [
        tick * unit for tick in MaxNLocator(4, steps=[1, 2, 5, 10]).tick_values(0, most / unit)
    ]
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: shown(value)))
    lane_grid(axes, lanes)
    sizes = frame[list(parts)].fillna(0.0).clip(lower=0.0).to_numpy(dtype=float).tolist()
    for row, (lane, own, limit) in enumerate(zip(lanes, sizes, near.tolist(), strict=True)):
        _stack(axes, lane, own, shown, f"tip-{row}")
        if not words.is_missing(limit):
            axes.vlines(limit, lane - 10, lane + 10, color=INK, linewidth=2.4)
    axes.set_xlabel(xlabel)
    height = figure.get_figheight() * 72

    def sample(x: float, y: float, i: int) -> Rectangle:
        corner = (x / WIDTH_PT, (y - 5) / height)
        return _box(corner, 12 / WIDTH_PT, 10 / height, i, transform=figure.transFigure)

    key(figure, places, sample)
    return figure


def _stack(
    axes: Axes, lane: float, sizes: list[float], shown: Callable[[float], str], gid: str
) -> None:
    """Draw one bar; its widest part has the id."""
    left, scale = 0.0, (WIDTH_PT - 2 * EDGE_PT) / axes.get_xlim()[1]
    for i, size in enumerate(sizes):
        if not size:
            continue
        named = gid if i == sizes.index(max(sizes)) else None
        axes.add_patch(_box((left, lane - 9), size, 18, i, gid=named))
        text = shown(size)
        if drawing.width(text) + 8 < size * scale:
            colour = COLOURS[i % len(COLOURS)]
            axes.text(
                left + size / 2, lane, text, ha="center", va="center_baseline", color=SURFACE,
                bbox={"facecolor": colour, "edgecolor": "none", "pad": 1},
            )  # fmt: skip
        left += size


def _box(corner: tuple[float, float], wide: float, high: float, i: int, **style: Any) -> Rectangle:
    return Rectangle(
        corner, wide, high, facecolor=COLOURS[i % len(COLOURS)], edgecolor=SURFACE, linewidth=0.8,
        hatch=HATCHES[i % len(HATCHES)], **style,
    )  # fmt: skip


def flow(names: Sequence[str], sample_pt: float = 12) -> list[list[tuple[float, int, str]]]:
    """Return the rows of a key: where each sample begins, its index and its name."""
    rows: list[list[tuple[float, int, str]]] = [[]]
    x = EDGE_PT
    for i, name in enumerate(names):
        wide = sample_pt + 4 + drawing.width(name) + 12
        if rows[-1] and x + wide > WIDTH_PT:
            rows.append([])
            x = EDGE_PT
        rows[-1].append((x, i, name))
        x += wide
    return rows


def key(
    figure: Figure,
    places: list[list[tuple[float, int, str]]],
    sample: Callable[[float, float, int], Artist],
    sample_pt: float = 12,
) -> None:
    """Draw a key at the top of the figure.

    Args:
        figure: with room for it.
        places: as `flow` returns them.
        sample: returns the sample of an index, from its left end and its middle in points.
        sample_pt: width of a sample.
    """
    height = figure.get_figheight() * 72
    for row, line in enumerate(places):
        y = height - (row + 0.5) * LINE_PT - 1
        for x, i, name in line:
            figure.add_artist(sample(x, y, i))
            figure.text((x + sample_pt + 4) / WIDTH_PT, y / height, name, va="center")
