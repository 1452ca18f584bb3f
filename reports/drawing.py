"""What all figures share: style, margins, labels, axes; and figure → SVG for inlining in a page.

Colours are placeholders here: `svg` replaces them by CSS variables and `currentColor`, so that one
drawing follows the light and the dark theme of the page. Text stays text, in the font of the page.
A figure is as wide as a column of the page is on a phone, so its text has there the size that is
set here: 12.6 units of 360, which are 12 px on a page that is 400 px wide. No figure relies on
colour alone: marker, dash, hatch or a label tells the same.
"""

from __future__ import annotations

import io
import math
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from textwrap import wrap
from typing import Any

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path
from matplotlib.ticker import (
    FixedLocator,
    FuncFormatter,
    LogFormatterMathtext,
    MaxNLocator,
    NullFormatter,
    NullLocator,
)

from gptcore import plain_text
from reports import words

INK, GRID, SURFACE = "#0a0b0c", "#0d0e0f", "#0a0d0a"
N_COLOURS = 8
COLOURS = [f"#0101{i:02x}" for i in range(1, N_COLOURS + 1)]
DASHES: list[Any] = ["", (5, 1.5), (1.5, 1.2), (5, 1.2, 1.2, 1.2), (8, 2), (3, 1), (1, 2), (6, 3)]
MARKERS = ["o", "s", "D", "^", "v", "P", "X", "p"]
HATCHES = ["", "///", "...", "\\\\\\", "xx", "---", "++", "oo"]
VARIABLES = {
    INK: "currentColor",
    GRID: "var(--grid)",
    SURFACE: "var(--surface)",
    **{colour: f"var(--c{i})" for i, colour in enumerate(COLOURS, start=1)},
}
WIDTH_PT, FONT_PT, LINE_PT = 360.0, 12.6, 15.5
"""Width of a figure, size of its text, and height of a line of text; a point is a unit of SVG."""
SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "reports",
    "text.parse_math": False,
    "text.color": INK,
    "axes.unicode_minus": True,
    "axes.edgecolor": GRID,
    "axes.labelcolor": INK,
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.titlelocation": "left",
    "axes.titlesize": FONT_PT,
    "axes.titlepad": 8,
    "axes.titley": 1.0,  # else Matplotlib measures all texts to place it
    "axes.labelsize": FONT_PT,
    "figure.facecolor": "none",
    "font.size": FONT_PT,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "hatch.linewidth": 0.7,
    "lines.linewidth": 1.8,
    "patch.linewidth": 0,
    "xtick.color": GRID,
    "xtick.labelcolor": INK,
    "ytick.color": GRID,
    "ytick.labelcolor": INK,
    "xtick.labelsize": FONT_PT,
    "ytick.labelsize": FONT_PT,
    "ytick.major.size": 0,
}


def svg(draw: Callable[[pd.DataFrame], Figure], data: pd.DataFrame, name: str) -> str:
    """Return what `draw` makes of `data` as SVG for inlining.

    Args:
        draw: a function from the frame to a figure.
        data: its frame.
        name: unique inside the page; it prefixes every id of the SVG.
    """
    buffer = io.StringIO()
    with mpl.rc_context(STYLE), warnings.catch_warnings():
        # The browser draws the text, so Matplotlib's font may lack a glyph.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure = draw(data)
        _write_powers(figure)
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return inline(buffer.getvalue(), name)


def _write_powers(figure: Figure) -> None:
    """Write the ticks of logarithmic axes as text, where Matplotlib writes TeX."""
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            if isinstance(axis.get_major_formatter(), LogFormatterMathtext):
                axis.set_major_formatter(FuncFormatter(lambda value, _: power(value)))
            if isinstance(axis.get_minor_formatter(), LogFormatterMathtext):
                axis.set_minor_formatter(NullFormatter())


def power(value: float) -> str:
    """Return a power of ten as "10⁻⁵", where its digits would be long, and else the number."""
    exponent = round(math.log10(value)) if value > 0 else 0
    if abs(exponent) < 4 or not math.isclose(value, 10.0**exponent):
        return words.tick(value)
    return "10" + str(exponent).translate(SUPERSCRIPTS)


def inline(text: str, name: str) -> str:
    """Return Matplotlib's SVG as an element of a page, with unique ids and the page's colours."""
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>|<style .*?</style>", "", text, flags=re.DOTALL)
    view_box = re.search(r'viewBox="[^"]*"', text)
    assert view_box, "Matplotlib writes a viewBox"
    text = re.sub(r"<svg[^>]*>", f'<svg {view_box[0]} aria-hidden="true">', text, count=1)
    text = re.sub(r"\s+\n|\n\s+|\n", "\n", text)
    text = re.sub(r'<g id="[^"]*"/>\n', "", text)
    return re.sub(r"<[^>]*>", lambda tag: _restyled(tag[0], name), text)


def _restyled(tag: str, name: str) -> str:
    """Return a tag with its ids and colours changed; the text between tags stays as it is."""
    tag = re.sub(r'(\sid="|xlink:href="#|url\(#)', rf"\g<1>{name}-", tag)
    tag = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font-size: \1px", tag)
    tag = re.sub(r'font-family: [^;"]*;? ?| transform="rotate\(-?0 [^"]*"', "", tag)
    tag = re.sub(r"-?\d+\.\d{3,}", lambda number: f"{float(number[0]):.2f}", tag)
    return re.sub(r"#0[0-9a-f]{5}\b", lambda m: VARIABLES.get(m[0], m[0]), tag)


# --- figures and their margins ----------------------------------------------------------------


def new_figure(
    axes_pt: float,
    rows: int = 1,
    columns: int = 1,
    *,
    top: float = 24,
    left: float = 46,
    right: float = 12,
    bottom: float = 42,
    gap: float = 30,
    share_y: bool = False,
) -> tuple[Figure, list[Axes]]:
    """Return a figure of rows and columns of axes, each `axes_pt` high; all in points.

    Margins are given, because they hold text of known size: the layout engines of Matplotlib would
    draw everything twice.
    """
    height = rows * axes_pt + (rows - 1) * gap + top + bottom
    figure = Figure(figsize=(WIDTH_PT / 72, height / 72))
    side = (WIDTH_PT - left - right) / columns
    axes = figure.subplots(
        rows, columns, sharex=rows > 1, sharey=share_y, squeeze=False,
        gridspec_kw={
            "left": left / WIDTH_PT, "right": 1 - right / WIDTH_PT,
            "top": 1 - top / height, "bottom": bottom / height, "hspace": gap / axes_pt,
            "wspace": 0 if columns == 1 else (left if not share_y else 22) / side,
        },
    )  # fmt: skip
    return figure, list(axes.flat)


@cache
def width(text: str) -> float:
    """Return the width of a line of text in points, by Matplotlib's own font.

    It is wider than the fonts of most pages, so what has room here has room there.
    """
    return float(
        text_to_path.get_text_width_height_descent(text, FontProperties(size=FONT_PT), False)[0]
    )


def as_label(text: Any, at_most: int = 34) -> str:
    """Return text of a ledger as a label of one line: hidden characters shown, cut to a length."""
    return plain_text.shorten(str(text), at_most)


def wrapped(text: Any, room_pt: float, at_most: int = 120) -> list[str]:
    """Return a label in lines that are no wider than `room_pt`."""
    label = as_label(text, at_most)
    for n in range(len(label), 7, -1):
        lines = wrap(label, n) or [""]
        if max(map(width, lines)) <= room_pt:
            return lines
    return wrap(label, 7)


def with_labels(frame: pd.DataFrame) -> pd.DataFrame:
    """Return `frame` with labels for `variant`; two that are cut to the same text stay apart."""
    labels: dict[str, str] = {}
    for name in dict.fromkeys(frame["variant"]):
        label = as_label(name, 90)
        labels[name] = f"{label} ({len(labels) + 1})" if label in labels.values() else label
    return frame.assign(variant=frame["variant"].map(labels))


def colours() -> Iterator[str]:
    """Yield the colours in their order, again and again."""
    while True:
        yield from COLOURS


def dashed(index: int) -> Any:
    """Return the dashes of a line; after all colours, others tell the lines of one colour apart."""
    dashes = DASHES[(index + index // N_COLOURS) % len(DASHES)]
    return (0, dashes) if dashes else "-"


# --- axes -------------------------------------------------------------------------------------


def percent_axis(axis: Any) -> None:
    """Write the ticks of an axis of fractions in per cent."""
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.6g}{words.NBSP}%"))


def number_axis(axis: Any, most: int = 4) -> None:
    """Write few ticks, each as short as it can be."""
    axis.set_major_locator(MaxNLocator(most))
    axis.set_major_formatter(FuncFormatter(lambda value, _: words.tick(value)))


def amount(value: float) -> str:
    """Return a large number with a prefix, a small one in full: 2,000,000 → "2 M"."""
    scale, prefix = next((p for p in words.PREFIXES if abs(value) >= p[0]), (1.0, ""))
    return f"{words.tick(value / scale)}{words.NBSP if prefix else ''}{prefix}"


def amount_axis(axis: Any, most: int = 4) -> None:
    """Write few ticks with prefixes: tokens, FLOPs."""
    axis.set_major_locator(MaxNLocator(most))
    axis.set_major_formatter(FuncFormatter(lambda value, _: amount(value)))


def log_axis(
    axis: Any, low: float, high: float, shown: Callable[[float], str] = amount, most: int = 4
) -> None:
    """Put few round ticks on a logarithmic axis, also where it spans less than a decade."""
    axis.set_major_locator(FixedLocator(round_ticks(low, high, most)))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: shown(value)))


def round_ticks(low: float, high: float, most: int = 4) -> list[float]:
    """Return at most about `most` round numbers from low to high, spread by their logarithm."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    every = max(1, math.ceil((last - first) / most))
    choices: list[Sequence[float]] = [
        [10.0**e for e in range(first, last + 1, every)],
        [m * 10.0**e for e in range(first, last + 1) for m in (1, 3)],
        [m * 10.0**e for e in range(first, last + 1) for m in (1, 2, 5)],
        [m * 10.0**e for e in range(first, last + 1) for m in (1, 1.5, 2, 3, 4, 5, 6, 8)],
        [m * 10.0**e for e in range(first, last + 1) for m in [x / 10 for x in range(10, 100)]],
    ]
    for ticks in choices:
        inside = [tick for tick in ticks if low <= tick <= high]
        if len(inside) >= 3 or (len(inside) == 2 and most <= 3):
            return inside[:: max(1, math.ceil(len(inside) / most))]
    return list(MaxNLocator(most).tick_values(low, high))


def distinct(labels: Sequence[str]) -> tuple[list[str], str]:
    """Return labels without the parts that all of them have, and those parts.

    Parts stand between commas, or before a colon: "step: Model 5, cpu", "step: Model 4, cpu".
    """
    parts = [re.split(r", |: ", label) for label in labels]
    common = set.intersection(*map(set, parts)) if len(set(labels)) > 1 else set()
    short = [", ".join(p for p in own if p not in common) for own in parts]
    if not all(short):
        return list(labels), ""
    return short, ", ".join(p for p in parts[0] if p in common) if common else ""
