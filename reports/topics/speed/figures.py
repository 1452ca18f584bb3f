"""Figures of speeds, phases, the roofline, and single rounds."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from bench.ledger.schema import PHASE_TIMES
from reports import drawing, line_charts, row_charts, words
from reports.load import over

FEWEST_ROUNDS = 8
"""Rounds from which on a density says something about them."""


def speeds(cases: pd.DataFrame, *, log: bool = True) -> Figure:
    """Draw the tokens per second of each process of each case.

    Args:
        cases: one row for each process, as `row_charts.dots` takes them.
        log: whether the axis is logarithmic.
    """
    return row_charts.dots(cases, f"tokens/s{' (logarithmic)' if log else ''}", log=log)


def phases(steps: pd.DataFrame) -> Figure:
    """Draw one bar of 100 % per training step: the share of each phase.

    Args:
        steps: cases with columns `label`, `time_s` and the phases.
    """
    present = {name: phase for name, phase in PHASE_TIMES.items() if steps[name].notna().any()}
    times = steps[list(present)].fillna(0.0)
    shares = times.div(times.sum(axis=1), axis=0).rename(columns=present)
    totals = [words.si(time_s, "s") for time_s in steps["time_s"]]
    frame = shares.assign(label=steps["label"], text=totals)
    return row_charts.stacks(frame, list(present.values()), "share of the step", _percent)


def _percent(share: float) -> str:
    return f"{100 * share:.0f}{words.NBSP}%"


def roofline(points: pd.DataFrame) -> Figure:
    """Draw each case below the roofline of its precision, both axes logarithmic.

    Args:
        points: cases of one device with columns `label`, `intensity`, `flops_per_s`, and `peak`
            (FLOP/s) and `bandwidth` (B/s) of their roofline.
    """
    blocks = [drawing.wrapped(label, 104) for label in points["label"]]
    wide = max(drawing.width(line) for lines in blocks for line in lines)
    high_pt = max(210.0, sum(len(lines) * drawing.LINE_PT + 5 for lines in blocks))
    figure, (axes,) = drawing.new_figure(high_pt, left=54, right=wide + 18)
    ridges = points["peak"] / points["bandwidth"]
    low = min(points["intensity"].min(), ridges.min()) / 2.5
    high = max(points["intensity"].max(), ridges.max()) * 1.6
    along = _roofs(axes, points, low, high)
    axes.set(xscale="log", yscale="log", xlim=(low, high))
    for i, (_, case) in enumerate(points.iterrows()):
        axes.plot(
            case["intensity"], case["flops_per_s"], drawing.MARKERS[i % 8], markersize=7,
            color=drawing.COLOURS[i % 8], markeredgecolor=drawing.SURFACE,
        )  # fmt: skip
    bottom, top = axes.get_ylim()
    axes.set_ylim(bottom / 2, top * 1.6)
    for axis, ends in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim())):
        drawing.log_axis(axis, *ends)
    parts = [points.iloc[[i]] for i in range(len(points))]
    line_charts.name_ends(figure, axes, parts, "intensity", "flops_per_s", blocks)
    tops = points.dropna(subset=["peak", "bandwidth"]).drop_duplicates("precision")
    flat = (over(tops["peak"], tops["bandwidth"]) * high) ** 0.5 / 2
    cases = points[["intensity", "flops_per_s"]].to_numpy(dtype=float)
    line_charts.name_points(
        axes, [*zip(flat, tops["peak"], strict=True)],
        [f"{drawing.as_label(name, 12)} peak" for name in tops["precision"]],
        np.vstack([cases, *along]),
    )  # fmt: skip
    axes.set_title("FLOP/s by formula")
    axes.set_xlabel("FLOP for each byte that must move")
    return figure


def _roofs(axes: Axes, points: pd.DataFrame, low: float, high: float) -> list[Any]:
    """Draw a roof for each precision and level of memory; return points along all of them."""
    roofs = points.dropna(subset=["peak", "bandwidth"])
    along: list[Any] = []
    kinds = {name: i for i, name in enumerate(roofs["precision"].unique())}
    for _, roof in roofs.drop_duplicates(["precision", "bandwidth"]).iterrows():
        ridge = roof["peak"] / roof["bandwidth"]
        line = [(low, low * roof["bandwidth"]), (ridge, roof["peak"]), (high, roof["peak"])]
        dashes = drawing.dashed(kinds[roof["precision"]])
        axes.plot(*zip(*line, strict=True), color=drawing.INK, linestyle=dashes, linewidth=1.4)
        along += [np.geomspace(a, b, 100) for a, b in pairwise(line)]
    return along


def rounds(times: pd.DataFrame) -> Figure:
    """Draw every round of each case in the order of time, beside the density of all.

    Args:
        times: one row for each round with `label`, `round`, `process` and `time_s`.
    """
    names = list(dict.fromkeys(times["label"]))
    figure, grid = line_charts.panels(names, 62, columns=1)
    for axes, name in zip(grid, names, strict=True):
        part = times[times["label"] == name]
        apart = over(part["time_s"], part["time_s"].median()) - 1
        for process, own in part.assign(apart=apart).groupby("process"):
            marker = drawing.MARKERS[int(process - 1) % len(drawing.MARKERS)]
            axes.plot(
                own["round"], own["apart"], marker, markersize=5,
                color=drawing.COLOURS[int(process - 1) % 3],
            )  # fmt: skip
        axes.axhline(0, color=drawing.INK, linewidth=1, zorder=1)
        reach = max(0.011, 1.15 * float(apart.abs().max()))
        axes.set(xlim=(0, part["round"].max() + 1), ylim=(-reach, reach))
        axes.yaxis.set_major_locator(MaxNLocator(3, symmetric=True))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _signed(value)))
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes.grid(visible=False, axis="x")
        _density(axes, apart)
    grid[-1].set_xlabel("round, in the order of time")
    return figure


def _signed(share: float) -> str:
    return f"{'+' if share > 0 else ''}{words.tick(100 * share)}{words.NBSP}%"


def _density(axes: Axes, values: Any) -> None:
    """Draw half a violin at the right of the axes, where there are rounds enough for one."""
    import seaborn as sns

    if len(values) < FEWEST_ROUNDS or not values.std() > 0:
        return
    side = axes.inset_axes((0.86, 0, 0.14, 1), sharey=axes)
    low, high = axes.get_xlim()
    axes.set_xlim(low, low + (high - low) / 0.85)
    sns.kdeplot(
        y=values, ax=side, fill=True, color=drawing.COLOURS[0], alpha=0.35, linewidth=1.2,
        gridsize=64, cut=0,
    )  # fmt: skip
    side.set_axis_off()
