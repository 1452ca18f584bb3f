"""Charts of lines: each is named at its end, and lines that lie on each other are one line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from reports import drawing
from reports.drawing import COLOURS, INK, LINE_PT, MARKERS, N_COLOURS, SURFACE, WIDTH_PT

NAMES_PT, AXES_PT, BETWEEN_PT, LEADER_PT = 132.0, 190.0, 5.0, 12.0
"""Most width of the names at the ends, height of the axes, space between two names, and from the
axes to a name."""
POINT_NAME_PT = 128.0
"""Most width of the name of a point."""
SAME = 0.004
"""Share of the height of the axes within which two lines are one."""


def line_chart(
    frame: pd.DataFrame,
    title: str,
    x: str,
    y: str,
    *,
    log: str = "",
    mark_points: bool = True,
    band: tuple[str, str] | None = None,
    limits: tuple[float, float] | None = None,
    bottom: float = 42,
    left: float = 46,
) -> tuple[Figure, Axes]:
    """Return a figure with a line for each variant, named at its end.

    Args:
        frame: points with columns `variant`, `x` and `y`.
        title: what the vertical axis shows.
        x: name of the column for the horizontal axis.
        y: name of the column for the vertical axis.
        log: the logarithmic axes, of "", "x", "y" and "xy".
        mark_points: set a marker at each point; its shape tells the variant, too.
        band: columns of the ends of a band around each line.
        limits: of the vertical axis; chosen by Matplotlib where there are none.
        bottom: margin below the axes in points.
        left: margin for the ticks in points.
    """
    frame = merged(drawing.with_labels(frame), x, y, log="y" in log)
    names = list(dict.fromkeys(frame["variant"]))
    blocks = [_block(name) for name in names]
    wide = max((drawing.width(line) for lines in blocks for line in lines), default=0.0)
    high = sum(len(lines) * LINE_PT + BETWEEN_PT for lines in blocks)
    figure, (axes,) = drawing.new_figure(
        max(AXES_PT, high), right=wide + LEADER_PT + 6, bottom=bottom, left=left
    )
    for axis in log:
        getattr(axes, f"set_{axis}scale")("log")
    if band:
        for colour, (_, rows) in zip(
            drawing.colours(), frame.groupby("variant", sort=False), strict=False
        ):
            axes.fill_between(
                rows[x], rows[band[0]], rows[band[1]], color=colour, alpha=0.2, linewidth=0
            )
    lines(axes, frame, x, y, mark_points=mark_points)
    axes.set(title=title, xlabel="", ylabel="")
    if limits:
        axes.set_ylim(limits)
    name_ends(figure, axes, [frame[frame["variant"] == name] for name in names], x, y, blocks)
    return figure, axes


def _block(name: str) -> list[str]:
    """Return a name in lines; the names of lines that are one begin a line each."""
    parts = [name if i == 0 else f"= {name}" for i, name in enumerate(name.split("\n"))]
    return [line for part in parts for line in drawing.wrapped(part, NAMES_PT, 92)]


def lines(axes: Axes, frame: pd.DataFrame, x: str, y: str, *, mark_points: bool = False) -> None:
    """Draw one line for each variant; colour, dashes and markers all tell which.

    Args:
        axes: where to draw.
        frame: points with columns `variant`, `x` and `y`.
        x: name of the column for the horizontal axis.
        y: name of the column for the vertical axis.
        mark_points: set a marker at each point.
    """
    # seaborn loads scipy where that is installed, and both take time that only these figures need
    # (docs/decisions/0003).
    import seaborn as sns

    names = list(dict.fromkeys(frame["variant"]))
    first = range(len(names))
    sns.lineplot(
        frame, x=x, y=y, errorbar=None, estimator=None, sort=False, ax=axes, legend=False,
        hue="variant", style="variant", hue_order=names, style_order=names,
        palette=[COLOURS[i % N_COLOURS] for i in first],
        dashes=[drawing.dashed(i)[1] if drawing.dashed(i) != "-" else "" for i in first],
        markers=[MARKERS[(i + i // N_COLOURS) % len(MARKERS)] for i in first]
        if mark_points else None,
        markeredgecolor=SURFACE, markersize=6,
    )  # fmt: skip


def merged(frame: pd.DataFrame, x: str, y: str, *, log: bool = False) -> pd.DataFrame:
    """Return the frame with one line for lines that lie on each other; its name has all names."""
    values = frame[y].where(frame[y] > 0).map(np.log) if log else frame[y]
    reach = SAME * float(values.max() - values.min())
    kept: list[tuple[list[str], pd.DataFrame, np.ndarray[Any, Any]]] = []
    for name, rows in frame.assign(_y=values).groupby("variant", sort=False):
        curve = rows[[x, "_y"]].to_numpy(dtype=float)
        for names, _, other in kept:
            if _same(curve, other, reach):
                names.append(str(name))
                break
        else:
            kept.append(([str(name)], rows.drop(columns="_y"), curve))
    return pd.concat([rows.assign(variant="\n".join(names)) for names, rows, _ in kept])


def _same(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any], reach: float) -> bool:
    if a.shape != b.shape:
        return False
    near = np.isclose(a[:, 0], b[:, 0], rtol=0.02) & np.isclose(a[:, 1], b[:, 1], 0, reach)
    return bool(near.all())


def name_ends(
    figure: Figure,
    axes: Axes,
    parts: Sequence[pd.DataFrame],
    x: str,
    y: str,
    blocks: Sequence[Sequence[str]],
) -> None:
    """Write the name of each line right of its end, where none covers another."""
    height = figure.get_figheight() * 72
    axes.get_xlim(), axes.get_ylim()  # the limits that Matplotlib chooses late
    ends = [rows.iloc[-1][[x, y]].astype(float).tolist() for rows in parts]
    points = axes.transData.transform(ends) * 72 / figure.dpi
    box = axes.get_position()
    low, high, right = box.y0 * height, box.y1 * height, box.x1 * WIDTH_PT
    wanted = [min(max(float(p[1]), low), high) for p in points]
    heights = [len(lines) * LINE_PT + BETWEEN_PT for lines in blocks]
    for i, centre in enumerate(spread(wanted, heights, low - 6, high + 6)):
        path = [(min(points[i][0], right), wanted[i]), (right + LEADER_PT - 3, centre)]
        look = {"color": COLOURS[i % N_COLOURS], "linestyle": drawing.dashed(i)}
        _line(figure, path, linewidth=1, **look)
        _write(figure, (right + LEADER_PT, centre), blocks[i], "left")


def spread(
    wanted: Sequence[float], heights: Sequence[float], low: float, high: float
) -> list[float]:
    """Return centres near those wanted, in their order, such that no two blocks overlap.

    Args:
        wanted: where each centre would stand best.
        heights: of the blocks, which together fit between low and high.
        low: end of the lowest block at least.
        high: end of the highest block at most.
    """
    groups: list[tuple[list[int], float]] = []  # indices from below to above, and their centre
    for i in sorted(range(len(wanted)), key=lambda i: wanted[i]):
        group, centre = [i], wanted[i]
        while True:
            half = sum(heights[j] for j in group) / 2
            centre = min(max(centre, low + half), max(high - half, low + half))
            if not groups:
                break
            below, other = groups[-1]
            if other + sum(heights[j] for j in below) / 2 <= centre - half:
                break
            n = len(below)
            centre = (other * n + centre * len(group)) / (n + len(group))
            group = [*below, *group]
            groups.pop()
        groups.append((group, centre))
    found = [0.0] * len(wanted)
    for group, centre in groups:
        at = centre - sum(heights[j] for j in group) / 2
        for j in group:
            found[j] = at + heights[j] / 2
            at += heights[j]
    return found


def panels(
    names: Sequence[str],
    axes_pt: float = 84.0,
    *,
    columns: int = 2,
    share_y: bool = False,
    above: float = 0.0,
) -> tuple[Figure, list[Axes]]:
    """Return small multiples: axes with one name each above them, in columns.

    `above` is the room at the top for a key.
    """
    columns = min(columns, len(names))
    left, right = 46.0, 22.0
    room = (WIDTH_PT - left - right) / columns - (12 if columns > 1 else 0)
    titles = [drawing.wrapped(name, room, 60) for name in names]
    most = max(map(len, titles))
    rows = -(-len(names) // columns)
    figure, grid = drawing.new_figure(
        axes_pt, rows, columns, top=most * LINE_PT + 10 + above, gap=most * LINE_PT + 14,
        left=left, right=right, share_y=share_y,
    )  # fmt: skip
    for axes, lines_ in zip(grid, titles, strict=False):
        for i, line in enumerate(reversed(lines_)):
            axes.annotate(
                line, (0, 1), xycoords="axes fraction", xytext=(0, 8 + i * LINE_PT),
                textcoords="offset points",
            )  # fmt: skip
    for i in range(len(names), len(grid)):
        grid[i].set_visible(False)
        grid[i - columns].tick_params(labelbottom=True)
    return figure, grid[: len(names)]


def reference(axes: Axes, value: float, name: str, side: str = "left") -> None:
    """Draw a level line with its name just above it, on the side where no curve is."""
    axes.axhline(value, color=INK, linewidth=1.2, linestyle=(0, (2, 2)), zorder=1.5)
    axes.annotate(
        name, (0 if side == "left" else 1, value), xycoords=("axes fraction", "data"),
        xytext=(4 if side == "left" else -2, 4), textcoords="offset points", ha=side,
        bbox={"facecolor": SURFACE, "edgecolor": "none", "pad": 1, "alpha": 0.8},
    )  # fmt: skip


def name_points(
    axes: Axes, points: Sequence[tuple[float, float]], names: Sequence[str], avoid: Any = ()
) -> None:
    """Write a name beside each point, where it covers no other name, no point and no line.

    Args:
        axes: with its limits set.
        points: in data coordinates.
        names: one for each.
        avoid: further points of the data that no name may cover, such as those along a line.
    """
    figure = axes.figure
    assert isinstance(figure, Figure)
    axes.get_xlim(), axes.get_ylim()  # the limits that Matplotlib chooses late
    scale = 72 / figure.dpi
    box = axes.get_window_extent()
    inside = (box.x0 * scale, box.y0 * scale + 2, box.x1 * scale + 10, box.y1 * scale + 6)
    places = axes.transData.transform(list(points)) * scale
    others = axes.transData.transform(list(avoid)) * scale if len(avoid) else np.empty((0, 2))
    every = np.vstack([places, others])
    taken: list[tuple[float, float, float, float]] = []
    for (x, y), name in zip(places, names, strict=True):
        lines = drawing.wrapped(name, POINT_NAME_PT, 60)
        size = (max(map(drawing.width, lines)), len(lines) * LINE_PT)
        best = min(
            _candidates(float(x), float(y), *size),
            key=lambda box: _cost(box, (x, y), inside, taken, every),
        )
        taken.append(best[:4])
        middle = ((best[0] + best[2]) / 2, (best[1] + best[3]) / 2)
        if best[4] > 12:
            edge = min(max(x, best[0]), best[2]), min(max(y, best[1]), best[3])
            _line(figure, [(x, y), edge], color=INK, linewidth=0.6)
        _write(figure, middle, lines, "center")


def _line(figure: Figure, path: Sequence[tuple[float, float]], **style: Any) -> None:
    """Draw a line through points of the figure, which are in points from its lower left corner."""
    xs, ys = ([p[0] / WIDTH_PT for p in path], [p[1] / _height(figure) for p in path])
    figure.add_artist(Line2D(xs, ys, transform=figure.transFigure, **style))


def _write(figure: Figure, at: tuple[float, float], lines: Sequence[str], side: str) -> None:
    """Write lines below each other, their middle at a point of the figure, each a text of its own.

    Matplotlib gives a text of several lines other markup.
    """
    for i, line in enumerate(lines):
        y = at[1] + ((len(lines) - 1) / 2 - i) * LINE_PT
        figure.text(at[0] / WIDTH_PT, y / _height(figure), line, va="center", ha=side)


def _height(figure: Figure) -> float:
    return float(figure.get_figheight() * 72)


def _candidates(
    x: float, y: float, wide: float, high: float
) -> list[tuple[float, float, float, float, float]]:
    """Return boxes around a point, the nearest first: their sides, and how far away they are."""
    found = []
    for up in range(-13, 14):
        for beside in (9.0, 26.0, 48.0, 76.0):
            for side in (1, -1):
                cx, cy = x + side * (beside + wide / 2), y + 10.0 * up
                found.append((cx, cy, beside - 8 + 8.0 * abs(up)))
        if abs(10 * up) > high / 2 + 4:
            found.append((x, y + 10.0 * up, 4.0 * abs(up)))
    return [
        (cx - wide / 2, cy - high / 2, cx + wide / 2, cy + high / 2, far)
        for cx, cy, far in sorted(found, key=lambda each: each[2])
    ]


def _cost(
    box: Sequence[float],
    point: tuple[float, float],
    inside: Sequence[float],
    taken: Sequence[Sequence[float]],
    points: np.ndarray[Any, Any],
) -> float:
    """Return how bad a place is for a name: what it covers, what its line to the point crosses."""
    x0, y0, x1, y1, far = box
    out = max(0, inside[0] - x0) + max(0, x1 - inside[2])
    out += max(0, inside[1] - y0) + max(0, y1 - inside[3])
    over = sum(x0 < b[2] + 3 and x1 > b[0] - 3 and y0 < b[3] and y1 > b[1] for b in taken)
    hit = (points[:, 0] > x0 - 4) & (points[:, 0] < x1 + 4)
    hit &= (points[:, 1] > y0 - 3) & (points[:, 1] < y1 + 3)
    middle = np.array([(x0 + x1) / 2, (y0 + y1) / 2])
    along = np.array(point) + np.linspace(0, 1, 12)[:, None] * (middle - np.array(point))
    apart = np.hypot(*(points[None] - along[:, None]).transpose(2, 0, 1)).min(axis=0)
    crossed = (apart < 5) & (np.hypot(*(points - np.array(point)).T) > 1)
    covered = sum(
        bool(((along > b[:2]) & (along < b[2:])).all(axis=1).any()) for b in map(np.array, taken)
    )
    hits = min(int(hit.sum()), 6) + 0.4 * min(int(crossed.sum()), 4)
    return float(60 * out + 3000 * over + 300 * hits + 200 * covered + far)
