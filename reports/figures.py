"""DataFrame → figure, one function per figure; figure → SVG that lives inside a page.

Colours are placeholders here: `svg` replaces them by CSS variables and `currentColor`, so that one
drawing follows the page's light and dark theme. Text stays text, in the page's own font. Figures
are drawn 460 units wide, so that they are legible at 350 and at 560 pixels alike.
"""

from __future__ import annotations

import io
import re
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from reports import words
from reports.findings import PHASES

# seaborn does without scipy, which it loads for kernel densities alone: that takes 1.5 s, and this
# module draws none. See docs/decisions/0003-report-without-scipy.md.
if "scipy" in sys.modules:
    import seaborn as sns
else:
    sys.modules["scipy"] = None  # type: ignore[assignment]
    import seaborn as sns

    del sys.modules["scipy"]

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
        draw: one of the functions below.
        data: its frame.
        name: unique inside the page; it prefixes every id of the SVG.
    """
    buffer = io.StringIO()
    with mpl.rc_context(STYLE), warnings.catch_warnings():
        # The page's fonts draw the text, so a glyph that Matplotlib's font lacks is no matter.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        draw(data).savefig(buffer, format="svg", metadata={"Date": None})
    return inline(buffer.getvalue(), name)


def inline(text: str, name: str) -> str:
    """Return Matplotlib's SVG as an element of an HTML page: own ids, own colours, page's font."""
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>|<style .*?</style>", "", text, flags=re.DOTALL)
    view_box = re.search(r'viewBox="[^"]*"', text)
    assert view_box, "Matplotlib writes a viewBox"
    text = re.sub(r"<svg[^>]*>", f'<svg {view_box[0]} aria-hidden="true">', text, count=1)
    text = re.sub(r'(\sid="|xlink:href="#|url\(#)', rf"\g<1>{name}-", text)
    text = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font-size: \1px", text)
    text = re.sub(r"\s+\n|\n\s+|\n", "\n", text)
    return re.sub(r"#0[0-9a-f]{5}\b", lambda m: VARIABLES.get(m[0], m[0]), text)


def _figure(
    axes_in: float,
    rows: int = 1,
    *,
    top_in: float = 0.1,
    left_in: float = 0.72,
    gap_in: float = 0.0,
) -> tuple[Figure, list[Axes]]:
    """Return a figure of `rows` stacked axes, each `axes_in` high.

    Margins are given in inches: they hold text of known size, and Matplotlib's own layout engines
    would draw everything twice.
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


def _label(text: Any, width: int = 34) -> str:
    """Return a label that Matplotlib shows as it is: it hides those that begin with "_"."""
    line = words.shorten(str(text), width)
    return f"\u2060{line}" if line.startswith("_") else line


def _labelled(frame: pd.DataFrame) -> pd.DataFrame:
    """Return `frame` with labels for `variant`; two that are cut to the same text stay apart."""
    labels: dict[str, str] = {}
    for name in dict.fromkeys(frame["variant"]):
        label = _label(name)
        labels[name] = f"{label} ({len(labels) + 1})" if label in labels.values() else label
    return frame.assign(variant=frame["variant"].map(labels))


def _looks(frame: pd.DataFrame) -> dict[str, Any]:
    """Return seaborn's settings for one line per sampler: colour and dash both tell it."""
    names = list(dict.fromkeys(frame["variant"]))
    return {
        "hue": "variant",
        "style": "variant",
        "hue_order": names,
        "style_order": names,
        "palette": [COLOURS[i % N_COLOURS] for i in range(len(names))],
        "dashes": [DASHES[i % len(DASHES)] for i in range(len(names))],
    }


def _line_figure(frame: pd.DataFrame, title: str) -> tuple[Figure, Axes]:
    """Return a figure for lines by sampler, with room above for its legend and its title."""
    figure, (axes,) = _figure(2.7, top_in=0.42 + LEGEND_ROW_IN * len(_legend_rows(frame)))
    axes.set_title(title)
    return figure, axes


def _legend_rows(frame: pd.DataFrame) -> list[list[str]]:
    """Return the samplers in rows of two, or of one where names are long."""
    names = list(dict.fromkeys(frame["variant"]))
    size = 2 if max(map(len, names)) <= 26 else 1
    return [names[i : i + size] for i in range(0, len(names), size)]


def _legend(figure: Figure, axes: Axes, frame: pd.DataFrame) -> None:
    """Put the legend above the axes, row by row."""
    handles, labels = axes.get_legend_handles_labels()
    if axes.legend_ is not None:
        axes.legend_.remove()
    found = dict(zip(labels, handles, strict=True))
    height = figure.get_figheight()
    for row, names in enumerate(_legend_rows(frame)):
        for column, name in enumerate(names):
            figure.legend(
                [found[name]], [name], loc="upper left", borderpad=0, borderaxespad=0,
                bbox_to_anchor=(0.02 + 0.48 * column, 1 - (0.05 + row * LEGEND_ROW_IN) / height),
            )  # fmt: skip


def _percent_axis(axis: Any) -> None:
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.6g}{words.NBSP}%"))


def _number_axis(axis: Any) -> None:
    axis.set_major_locator(MaxNLocator(5))
    axis.set_major_formatter(FuncFormatter(lambda value, _: words.tick(value)))


def _rows_of_bars(n_rows: int, top_in: float) -> tuple[Figure, Axes]:
    figure, (axes,) = _figure(0.62 * n_rows, top_in=top_in, left_in=0.1)
    axes.set(ylim=(n_rows - 0.7, -0.65), yticks=[], ylabel="")
    axes.grid(visible=False, axis="y")
    return figure, axes


def _row_text(axes: Axes, row: float, text: str, above_pt: float = 17) -> None:
    axes.annotate(
        text, (0, row), xycoords=("axes fraction", "data"), xytext=(0, above_pt), va="center",
        textcoords="offset points", annotation_clip=False,
        bbox={"facecolor": SURFACE, "edgecolor": "none", "pad": 1.5},
    )  # fmt: skip


# --- speed ----------------------------------------------------------------------------------


def phases(steps: pd.DataFrame) -> Figure:
    """Draw one stacked bar per training step: seconds in each phase.

    Args:
        steps: cases with a column `label` and the phases.
    """
    figure, axes = _rows_of_bars(len(steps), top_in=0.4)
    left = pd.Series(0.0, index=steps.index)
    rows = range(len(steps))
    for colour, (column, phase) in zip(COLOURS, PHASES.items(), strict=False):
        width = steps[column].fillna(0.0)
        axes.barh(
            list(rows), width, left=left, height=0.34, color=colour, label=phase,
            edgecolor=SURFACE, linewidth=0.8,
        )  # fmt: skip
        left = left + width
    for row, label in zip(rows, steps["label"], strict=True):
        _row_text(axes, row, _label(label, 60))
    axes.set_xlabel("seconds in one step")
    _number_axis(axes.xaxis)
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="upper left", ncols=5, handlelength=0.8, columnspacing=0.9,
        handletextpad=0.4, borderpad=0, borderaxespad=0, bbox_to_anchor=(0.012, 0.98),
    )  # fmt: skip
    return figure


def share_of_peak(models: pd.DataFrame) -> Figure:
    """Draw each case's share of the machine's measured peak.

    Args:
        models: cases with columns `label` and `mfu`.
    """
    figure, axes = _rows_of_bars(len(models), top_in=0.1)
    rows = list(range(len(models)))
    fp32 = models["precision"].eq("fp32")
    colours = [COLOURS[0] if is_fp32 else COLOURS[1] for is_fp32 in fp32]
    axes.barh(rows, models["mfu"], height=0.34, color=colours)
    for row, label, share in zip(rows, models["label"], models["mfu"], strict=True):
        _row_text(axes, row, _label(label, 60))
        axes.annotate(
            words.percent(share), (share, row), xytext=(5, 0), va="center",
            textcoords="offset points",
        )  # fmt: skip
    axes.axvline(1, color=INK, linewidth=1.2)
    axes.set(xlim=(0, max(1.12, float(models["mfu"].max()) * 1.15)))
    axes.set_xlabel("share of the measured matrix-product peak")
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1])
    _percent_axis(axes.xaxis)
    return figure


# --- sampling -------------------------------------------------------------------------------


def covered(curves: pd.DataFrame) -> Figure:
    """Draw the covered share against epochs, up to two: lines observed, dots theory."""
    frame = _labelled(curves[curves["epochs"] <= 2])
    figure, axes = _line_figure(frame, "targets shown at least once")
    sns.lineplot(frame, x="epochs", y="covered", errorbar=None, ax=axes, **_looks(frame))
    for colour, (_, rows) in zip(_cycle(), frame.groupby("variant", sort=False), strict=False):
        known = rows.dropna(subset=["expected"])
        known = known.iloc[:: max(1, len(known) // 8)]
        axes.plot(
            known["epochs"], known["expected"], "o", color=colour, markersize=6,
            markerfacecolor=SURFACE, markeredgewidth=1.6,
        )  # fmt: skip
    _legend(figure, axes, frame)
    axes.set(xlabel="epoch-equivalents", ylabel="", ylim=(0, 1.03))
    axes.set_xlim(0, None)
    _number_axis(axes.xaxis)
    _percent_axis(axes.yaxis)
    return figure


def missed(curves: pd.DataFrame) -> Figure:
    """Draw the share not yet shown against epochs, logarithmic; a line ends where it meets zero."""
    frame = _labelled(curves).assign(missed=1 - curves["covered"])
    frame = frame[frame["missed"] > 1e-9]
    figure, axes = _line_figure(frame, "targets not shown yet (logarithmic)")
    sns.lineplot(frame, x="epochs", y="missed", errorbar=None, ax=axes, **_looks(frame))
    _legend(figure, axes, frame)
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(10, numticks=8))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set(xlabel="epoch-equivalents", ylabel="")
    axes.set_xlim(0, None)
    _percent_axis(axes.yaxis)
    return figure


def _cycle() -> Iterator[str]:
    while True:
        yield from COLOURS


def visits(histogram: pd.DataFrame) -> Figure:
    """Draw, per sampler, how many targets were visited how often."""
    names = list(dict.fromkeys(histogram["variant"]))
    figure, panels = _figure(0.8, len(names), top_in=0.35, gap_in=0.36)
    for axes, name, colour in zip(panels, names, _cycle(), strict=False):
        rows = histogram[histogram["variant"] == name]
        share = rows["targets"] / rows["targets"].sum()
        axes.bar(rows["visits"], share, width=0.8, color=colour)
        axes.set_xlim(histogram["visits"].min() - 1.5, histogram["visits"].max() + 1.5)
        axes.set_title(_label(name, 48))
        axes.set_ylim(0, None)
        axes.yaxis.set_major_locator(MaxNLocator(2))
        axes.xaxis.set_major_locator(MaxNLocator(7, integer=True))
        axes.grid(visible=False, axis="x")
        _percent_axis(axes.yaxis)
    panels[-1].set_xlabel("times that a target was shown")
    return figure


def positions(by_position: pd.DataFrame) -> Figure:
    """Draw, per sampler, visits along the text: mean of each bin, least and most as a band."""
    names = list(dict.fromkeys(by_position["variant"]))
    figure, panels = _figure(0.8, len(names), top_in=0.35, gap_in=0.36)
    top = by_position["visits_max"].max()
    for axes, name, colour in zip(panels, names, _cycle(), strict=False):
        rows = by_position[by_position["variant"] == name]
        where = rows["bin_start"] / by_position["bin_stop"].max()
        axes.fill_between(
            where, rows["visits_min"], rows["visits_max"], step="post", color=colour, alpha=0.28
        )
        axes.step(where, rows["visits_mean"], where="post", color=colour, linewidth=1.6)
        axes.set_title(_label(name, 48))
        axes.set_ylim(0, top * 1.05 if top > 0 else 1)
        axes.yaxis.set_major_locator(MaxNLocator(3, integer=True))
        _percent_axis(axes.xaxis)
        axes.set_xlim(0, 1)
    panels[-1].set_xlabel("position in the training part")
    return figure


# --- convergence ----------------------------------------------------------------------------


def _losses(curves: pd.DataFrame, title: str, marker: bool) -> tuple[Figure, Axes]:
    frame = _labelled(curves)
    figure, axes = _line_figure(frame, title)
    looks = _looks(frame)
    if marker:
        looks["markers"] = [MARKERS[i % len(MARKERS)] for i in range(len(looks["hue_order"]))]
    # Aggregated here: seaborn's own bands take several times as long as the drawing.
    groups = frame.groupby(["variant", "tokens"], sort=False)["loss"]
    bands = groups.agg(["mean", "min", "max"]).reset_index()
    for colour, (_, rows) in zip(_cycle(), bands.groupby("variant", sort=False), strict=False):
        axes.fill_between(
            rows["tokens"], rows["min"], rows["max"], color=colour, alpha=0.2, linewidth=0
        )
    sns.lineplot(
        bands, x="tokens", y="mean", errorbar=None, ax=axes, markeredgecolor=SURFACE,
        linewidth=1.8, **looks,
    )  # fmt: skip
    _legend(figure, axes, frame)
    axes.set(xlabel="training tokens seen", ylabel="")
    _number_axis(axes.xaxis)
    return figure, axes


def train_loss(curves: pd.DataFrame) -> Figure:
    """Draw the training loss: mean over seeds, band from the lowest to the highest seed."""
    return _losses(curves, "training loss, nats/token", marker=False)[0]


def test_loss(curves: pd.DataFrame) -> Figure:
    """Draw the test loss, and the loss of unigram counts (column `unigram`) to beat."""
    figure, axes = _losses(curves, "test loss, nats/token", marker=True)
    baseline = curves["unigram"].dropna()
    if not baseline.empty:
        axes.axhline(baseline.mean(), color=INK, linewidth=1.2, linestyle=(0, (2, 2)))
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
    figure, (axes,) = _figure(0.85 * n_rows, left_in=0.1)
    for row, (_, pair) in enumerate(comparisons.iterrows()):
        lane = (row - 0.2, row + 0.36)
        if pd.notna(pair["margin"]):
            axes.fill_between(
                [-pair["margin"], pair["margin"]], *lane, color=COLOURS[2], alpha=0.2, linewidth=0
            )
        axes.plot([0, 0], lane, color=INK, linewidth=1.2)
        points = list(pair["points"])
        axes.plot(
            points, [row + 0.2] * len(points), "o", color=COLOURS[0], markersize=6,
            markerfacecolor="none", markeredgewidth=1.4,
        )  # fmt: skip
        if pd.notna(pair["difference_low"]) and pd.notna(pair["difference_high"]):
            ends = [pair["difference_low"], pair["difference_high"]]
            axes.plot(ends, [row - 0.04] * 2, color=INK, linewidth=2.2, solid_capstyle="butt")
        axes.plot(pair["difference"], row - 0.04, "D", color=INK, markersize=7)
        a, b = words.sampler(pair["a"]), words.sampler(pair["b"])
        _row_text(axes, row, f"{_label(a, 28)} {words.MINUS} {_label(b, 28)}", above_pt=23)
    axes.set(ylim=(n_rows - 0.55, -0.6), yticks=[])
    axes.grid(visible=False)
    axes.set_xlabel("difference in final test loss, nats/token")
    axes.tick_params(axis="x", colors=INK)
    _number_axis(axes.xaxis)
    return figure
