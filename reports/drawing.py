"""What all figures share: margins, labels, style, axes; and figure → SVG for inlining in a page.

Colours are placeholders here: `svg` replaces them by CSS variables and `currentColor`, so that one
drawing follows the light and the dark theme of the page. Text stays text, in the font of the page.
Figures are drawn 460 units wide, so that they are legible at 350 and at 560 pixels.
"""

from __future__ import annotations

import io
import math
import re
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogFormatterMathtext, MaxNLocator, NullFormatter

from gptcore import plain_text
from reports import words

INK, GRID, SURFACE = "#0a0b0c", "#0d0e0f", "#0a0d0a"
N_COLOURS = 8
COLOURS = [f"#0101{i:02x}" for i in range(1, N_COLOURS + 1)]
DASHES: list[Any] = ["", (5, 1.5), (1.5, 1.2), (5, 1.2, 1.2, 1.2), (8, 2), (3, 1), (1, 2), (6, 3)]
MARKERS = ["o", "s", "D", "^", "v", "P", "X", "p"]
VARIABLES = {
    INK: "currentColor",
    GRID: "var(--grid)",
    SURFACE: "var(--surface)",
    **{colour: f"var(--c{i})" for i, colour in enumerate(COLOURS, start=1)},
}
WIDTH_IN = 6.4
LEGEND_ROW_IN = 0.24
SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
HALF_ROW = 28
"""Characters of a name that fit into half a row of the legend."""
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
    "axes.titlesize": 12,
    "axes.labelsize": 12,
    "figure.facecolor": "none",
    "font.size": 12,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "legend.frameon": False,
    "legend.fontsize": 12,
    "legend.handlelength": 1.8,
    "lines.linewidth": 2,
    "patch.linewidth": 0,
    "xtick.color": GRID,
    "xtick.labelcolor": INK,
    "ytick.color": GRID,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 12,
    "ytick.labelsize": 12,
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
    return re.sub(r"<[^>]*>", lambda tag: _restyled(tag[0], name), text)


def _restyled(tag: str, name: str) -> str:
    """Return a tag with its ids and colours changed; the text between tags stays as it is."""
    tag = re.sub(r'(\sid="|xlink:href="#|url\(#)', rf"\g<1>{name}-", tag)
    tag = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font-size: \1px", tag)
    return re.sub(r"#0[0-9a-f]{5}\b", lambda m: VARIABLES.get(m[0], m[0]), tag)


def new_figure(
    axes_in: float,
    rows: int = 1,
    *,
    top_in: float = 0.1,
    left_in: float = 0.72,
    gap_in: float = 0.0,
) -> tuple[Figure, list[Axes]]:
    """Return a figure of `rows` stacked axes, each `axes_in` high.

    Margins are given in inches, because they hold text of known size: the layout engines of
    Matplotlib would draw everything twice.
    """
    bottom_in = 0.55
    height = rows * axes_in + (rows - 1) * gap_in + top_in + bottom_in
    figure = Figure(figsize=(WIDTH_IN, height))
    axes = figure.subplots(
        rows, 1, sharex=True, squeeze=False,
        gridspec_kw={
            "left": left_in / WIDTH_IN, "right": 1 - 0.22 / WIDTH_IN,
            "top": 1 - top_in / height, "bottom": bottom_in / height, "hspace": gap_in / axes_in,
        },
    )  # fmt: skip
    return figure, list(axes[:, 0])


def as_label(text: Any, width: int = 34) -> str:
    """Return a label that Matplotlib shows as it is: it hides those that begin with "_"."""
    line = plain_text.shorten(str(text), width)
    return f"\u2060{line}" if line.startswith("_") else line


def with_labels(frame: pd.DataFrame) -> pd.DataFrame:
    """Return `frame` with labels for `variant`; two that are cut to the same text stay apart."""
    labels: dict[str, str] = {}
    for name in dict.fromkeys(frame["variant"]):
        label = as_label(name)
        labels[name] = f"{label} ({len(labels) + 1})" if label in labels.values() else label
    return frame.assign(variant=frame["variant"].map(labels))


def lines(
    axes: Axes, frame: pd.DataFrame, x: str, y: str, *, mark_points: bool = False, **style: Any
) -> None:
    """Draw one line for each sampler; colour and dashes both tell which.

    Args:
        axes: where to draw.
        frame: points with columns `variant`, `x` and `y`.
        x: name of the column for the horizontal axis.
        y: name of the column for the vertical axis.
        mark_points: set a marker at each point; its shape tells the sampler, too.
        style: passed on to Matplotlib.
    """
    # seaborn loads scipy where that is installed, and both take time that only these figures need
    # (docs/decisions/0003).
    import seaborn as sns

    names = list(dict.fromkeys(frame["variant"]))
    first = range(len(names))
    sns.lineplot(
        frame, x=x, y=y, errorbar=None, ax=axes, hue="variant", style="variant",
        hue_order=names, style_order=names,
        palette=[COLOURS[i % N_COLOURS] for i in first],
        # After all colours, other dashes and markers tell the lines of one colour apart.
        dashes=[DASHES[(i + i // N_COLOURS) % len(DASHES)] for i in first],
        markers=[MARKERS[(i + i // N_COLOURS) % len(MARKERS)] for i in first]
        if mark_points
        else None,
        **style,
    )  # fmt: skip


def line_chart(frame: pd.DataFrame, title: str, x: str, y: str) -> tuple[Figure, Axes]:
    """Return a figure with one line of marked points for each variant, and its legend."""
    frame = with_labels(frame)
    figure, axes = line_figure(frame, title)
    lines(axes, frame, x, y, mark_points=True, markeredgecolor=SURFACE, linewidth=1.8)
    legend(figure, axes, frame)
    axes.set_ylabel("")
    return figure, axes


def line_figure(frame: pd.DataFrame, title: str) -> tuple[Figure, Axes]:
    """Return a figure for lines by sampler, with room above for its legend and its title."""
    figure, (axes,) = new_figure(2.7, top_in=0.42 + LEGEND_ROW_IN * len(legend_rows(frame)))
    axes.set_title(title)
    return figure, axes


def legend_rows(frame: pd.DataFrame) -> list[list[str]]:
    """Return the names in rows of two; a long name has a row to itself."""
    rows: list[list[str]] = []
    for name in dict.fromkeys(frame["variant"]):
        if rows and len(rows[-1]) == 1 and max(len(name), len(rows[-1][0])) <= HALF_ROW:
            rows[-1].append(name)
        else:
            rows.append([name])
    return rows


def legend(figure: Figure, axes: Axes, frame: pd.DataFrame) -> None:
    """Put the legend above the axes, row by row."""
    handles, labels = axes.get_legend_handles_labels()
    if axes.legend_ is not None:
        axes.legend_.remove()
    by_name = dict(zip(labels, handles, strict=True))
    height = figure.get_figheight()
    for row, names in enumerate(legend_rows(frame)):
        for column, name in enumerate(names):
            figure.legend(
                [by_name[name]], [name], loc="upper left", borderpad=0, borderaxespad=0,
                bbox_to_anchor=(0.02 + 0.48 * column, 1 - (0.05 + row * LEGEND_ROW_IN) / height),
            )  # fmt: skip


def percent_axis(axis: Any) -> None:
    """Write the ticks of an axis of fractions in per cent."""
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.6g}{words.NBSP}%"))


def number_axis(axis: Any) -> None:
    """Write few ticks, each as short as it can be."""
    axis.set_major_locator(MaxNLocator(5))
    axis.set_major_formatter(FuncFormatter(lambda value, _: words.tick(value)))


def rows_of_bars(n_rows: int, top_in: float) -> tuple[Figure, Axes]:
    """Return a figure for `n_rows` horizontal bars, with room for text above each."""
    figure, (axes,) = new_figure(0.62 * n_rows, top_in=top_in, left_in=0.1)
    axes.set(ylim=(n_rows - 0.7, -0.65), yticks=[], ylabel="")
    axes.grid(visible=False, axis="y")
    return figure, axes


def row_text(axes: Axes, row: float, text: str, above_pt: float = 17) -> None:
    """Write `text` above a row, from the left edge of the axes."""
    axes.annotate(
        text, (0, row), xycoords=("axes fraction", "data"), xytext=(0, above_pt), va="center",
        textcoords="offset points", annotation_clip=False,
        bbox={"facecolor": SURFACE, "edgecolor": "none", "pad": 1.5},
    )  # fmt: skip


def colours() -> Iterator[str]:
    """Yield the colours in their order, again and again."""
    while True:
        yield from COLOURS
