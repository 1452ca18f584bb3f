"""What makes a step take longer, and how the times relate to those of a tutorial.

"The tutorial" is the one that introduced Model 5. It reports 45 s for a forward pass on a CPU.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from gptcore import plain_text
from reports import drawing, line_charts, row_charts, words
from reports.blocks import (
    MAX_BARS,
    Finding,
    Plotter,
    Section,
    Table,
    dicts,
    first_cases,
    missing,
    table,
)
from reports.load import Run, over

TUTORIAL_SECONDS = {"cpu": 45.0, "accelerator": 1.0}
"""What the tutorial reports for a forward pass of Model 5, on a CPU and on a GPU."""
TUTORIAL_TOKENS = 16 * 256
"""Tokens of its training batch. It does not say whether the timed forward pass had as many."""


def find(_: Run) -> list[Finding]:
    """Return no finding: the section says what was measured, and claims nothing beyond it."""
    return []


def section(run: Run, plot: Plotter) -> list[Section]:
    """Return how the time of a step grows, and the times of a forward pass under other conditions.

    There is no section where the run asked for neither.
    """
    growth, passes = run.cases("growth"), run.cases("conditions")
    growth = with_slopes(growth, run.series("growth", "cost_curve"))
    grown = relative(run.series("growth", "cost_curve"), growth)
    conditions = run.series("conditions", "conditions").merge(
        passes[["case", "model", "device", "batch_size", "block_size", "flops"]], on="case"
    )
    conditions = conditions.dropna(subset=["time_s", "ratio"])
    shown, more = first_cases(conditions, MAX_BARS, "conditions")
    lost = growth.empty and passes.empty
    if lost and not any(r["group"] in ("growth", "conditions") for r in run.unfinished):
        return []
    section = Section(
        "cost",
        "Cost",
        "What makes a step take longer?",
        "All sizes of a dimension are timed in turns, and so are all conditions. Exponents and "
        "ratios are computed within a round, so that a change of the machine between rounds does "
        "not matter. An exponent of 1 means that the time doubles when the size doubles. It is "
        "given where the curve is a power law, so that one number describes all sizes. For other "
        "curves the slope between the two largest sizes is given instead. A forward pass has "
        "another time in the section on speed: there it is timed alone and at another batch size.",
        plot(
            growth_figure, grown, "How a training step grows",
            "In each panel one size grows, and all others stay fixed. Dots: time of a step. Dashed "
            "line: its FLOPs. Both axes are logarithmic. Dots below the dashed line mean that part "
            "of the time does not grow.",
            "How the time of a training step grows with each size.",
            {"variant": "What grows", "size": "Size", "time_s": "Time", "flops": "FLOPs"},
        )
        + plot(
            conditions_figure, shown, "The same forward pass under other conditions",
            f"Time relative to a forward pass in fp32 without gradients. {row_charts.MARKS}{more}",
            "Time of a forward pass under other conditions, as ratios.",
            {"condition": ("Condition", words.condition), "ratio": ("Ratio", words.ratio),
             "ratio_low": ("From", words.ratio), "ratio_high": ("To", words.ratio)},
        ),
        [
            *([growth_table(growth)] if not growth.empty else []),
            *([tutorial_table(conditions)] if not conditions.empty else []),
        ],
        missing=missing(run, "growth", "timing of growing sizes") if lost else "",
    )  # fmt: skip
    return [section]


MOST_BEND = 0.1
"""Largest difference between the slopes at both ends of a curve that still counts as a power law.
"""


def with_slopes(growth: pd.DataFrame, curves: pd.DataFrame) -> pd.DataFrame:
    """Return the cases with `is_power_law`, and `last_slope` where an earlier ledger lacks it.

    A curve is a power law where the suite showed that its slope does not change. For ledgers that
    do not say so, the slopes are those of the median times.
    """
    slopes = {case: _slopes(rows) for case, rows in curves.groupby("case", sort=False)}
    told = growth["bend_low"].notna() & growth["bend_high"].notna()
    straight = growth["bend_low"].ge(-MOST_BEND) & growth["bend_high"].le(MOST_BEND)
    seen = [slopes.get(case, pd.Series(dtype=float)) for case in growth["case"]]
    bends = pd.Series(
        [each.max() - each.min() if len(each) > 1 else np.nan for each in seen],
        growth.index,
        dtype=float,
    )
    last = pd.Series([each.tail(1).sum(min_count=1) for each in seen], growth.index, dtype=float)
    return growth.assign(
        is_power_law=straight.where(told, bends.le(MOST_BEND)),
        last_slope=growth["last_slope"].fillna(last),
    )


def _slopes(rows: pd.DataFrame) -> pd.Series[float]:
    """Return the slope of log time over log size between neighbouring sizes."""
    known = rows[["time_s", "size"]].astype(float)
    logs = known.where(known.gt(0)).dropna().apply(np.log)
    slopes: pd.Series[float] = over(logs["time_s"].diff(), logs["size"].diff())
    return slopes.dropna()


def relative(curves: pd.DataFrame, growth: pd.DataFrame) -> pd.DataFrame:
    """Return sizes, times and FLOPs as multiples of those at the smallest size of each case."""
    frame = curves.drop(columns="variant").merge(growth[["case", "dimension", "device"]], on="case")
    frame = frame.dropna(subset=["size", "time_s", "flops"])
    frame = frame[(frame[["size", "time_s", "flops"]] > 0).all(axis=1)]
    several = len(set(frame["device"])) > 1
    names = frame["dimension"].map(words.dimension)
    frame["variant"] = names + ", " + frame["device"].map(words.device) if several else names
    numbers = ["size", "time_s", "flops"]
    frame[numbers] /= frame.groupby("case")[numbers].transform("first")
    return frame


def growth_figure(curves: pd.DataFrame) -> Figure:
    """Draw time against size for each dimension, as multiples of the smallest; dashed: the FLOPs.

    Both axes are logarithmic to base 2 and as long, so equal growth is a diagonal.
    """
    names = list(dict.fromkeys(curves["variant"]))
    figure, grid = line_charts.panels(names, 104, share_y=True)
    for axes, name in zip(grid, names, strict=True):
        part = curves[curves["variant"] == name]
        axes.plot(
            part["size"], part["flops"], color=drawing.COLOURS[1], linestyle=(0, (4, 2)),
            linewidth=1.4,
        )  # fmt: skip
        axes.plot(part["size"], part["time_s"], "o-", color=drawing.COLOURS[0], markersize=5)
        axes.set(xscale="log", yscale="log")
    for axes in grid:
        for axis, column in ((axes.xaxis, ["size"]), (axes.yaxis, ["flops", "time_s"])):
            most = math.log2(float(curves[column].max().max()))
            every = max(1, math.ceil(most / 4))
            axis.set_major_locator(FixedLocator([2.0**i for i in range(0, int(most) + 1, every)]))
            axis.set_minor_locator(NullLocator())
            axis.set_major_formatter(FuncFormatter(lambda value, _: row_charts.times(value)))
    figure.supxlabel("size, relative to the smallest", y=0.01, fontsize=drawing.FONT_PT)
    return figure


def conditions_figure(conditions: pd.DataFrame) -> Figure:
    """Draw the ratio of each condition to the first, with its interval."""
    shown = conditions[conditions["ratio_low"] < conditions["ratio_high"]]
    low, high = shown["ratio_low"], shown["ratio_high"]
    kinds = np.where(high < 1, "faster", np.where(low > 1, "slower", "ambiguous"))
    frame = pd.DataFrame(
        {
            "label": [_where(row) for _, row in shown.iterrows()],
            "value": shown["ratio"].to_numpy(),
            "low": low.to_numpy(),
            "high": high.to_numpy(),
            "kind": kinds,
        }
    )
    return row_charts.forest(frame, "time relative to fp32 without gradients")


def _where(row: pd.Series) -> str:
    place = "" if str(row["device"]) == "cpu" else f", {words.device(row['device'])}"
    return f"{words.sentence(words.condition(row['condition'])).removesuffix('.')}{place}"


def _slope(case: Any) -> tuple[str, str, str]:
    """Return the exponent with its interval and that of the FLOPs, or the slope at the end."""
    name = "exponent" if case["is_power_law"] else "last_slope"
    low, high = case[f"{name}_low"], case[f"{name}_high"]
    known = not (words.is_missing(low) or words.is_missing(high))
    ends = f"{words.number(low)} to {words.number(high)}" if known else words.MISSING
    where = "" if case["is_power_law"] else " (two largest sizes)"
    slope, flops = words.number(case[name]), words.number(case[f"flops_{name}"])
    return f"{slope}{where}", ends, flops


def _sizes(listed: Any) -> str:
    """Return the sizes of a dimension, which a frame holds as JSON text."""
    return plain_text.shorten("" if words.is_missing(listed) else str(listed).strip("[]"))


def growth_table(growth: pd.DataFrame) -> Table:
    """Return the exponent of the time in each dimension, and that of the FLOPs."""
    rows = []
    for _, case in growth.iterrows():
        slope, ends, flops = _slope(case)
        rows.append(
            (
                f"{words.dimension(case['dimension'])}, {words.device(case['device'])}",
                _sizes(case["sizes"]),
                slope,
                ends,
                flops,
                words.number(case["rounds"]),
            )
        )
    columns = (
        "What grows",
        "Sizes",
        "Exponent#",
        "95 % interval#",
        "Exponent of the FLOPs#",
        "Rounds#",
    )
    return table("Time of a training step as a power of one size, in fp32.", columns, rows)


def tutorial_table(conditions: pd.DataFrame) -> Table:
    """Return the two times of the tutorial beside those measured, all for its batch of tokens."""
    first = dicts(conditions)[0]
    flops = over(first["flops"], first["batch_size"] * first["block_size"]) * TUTORIAL_TOKENS
    is_model5 = first["model"] == "model5"
    rows = [
        (
            f"The tutorial, on {'a CPU' if kind == 'cpu' else 'a GPU'}",
            *_time_and_rate(seconds, flops),
        )
        for kind, seconds in TUTORIAL_SECONDS.items()
        if is_model5
    ]
    for row in dicts(conditions):
        tokens = row["batch_size"] * row["block_size"]
        scaled = "" if tokens == TUTORIAL_TOKENS else f", scaled from {words.number(tokens)} tokens"
        where = f"Here, {words.device(row['device'])}"
        name = f"{where}: {words.condition(row['condition'])}{scaled}"
        time, rate = _time_and_rate(_seconds(row), flops)
        less = row["condition"] == "last_logits"  # it leaves out most FLOPs of the head
        rows.append((name, time, words.MISSING if less else rate))
    columns = ("Forward pass", "Time#", "Arithmetic rate#")
    caption = (
        f"A forward pass of {words.model(first['model'])} over "
        f"{words.number(TUTORIAL_TOKENS)} tokens (16 windows of 256)."
    )
    return table(caption, columns, rows, note=explanation(conditions) if is_model5 else "")


def _seconds(row: dict[Any, Any]) -> float:
    """Return the time of a row, scaled to the tokens of the tutorial's batch."""
    return float(over(row["time_s"] * TUTORIAL_TOKENS, row["batch_size"] * row["block_size"]))


def _time_and_rate(seconds: float, flops: float) -> tuple[str, str]:
    return words.si(seconds, "s"), words.si(over(flops, seconds), "FLOP/s")


def explanation(conditions: pd.DataFrame) -> str:
    """Return in words which factors explain the tutorial's times, as far as they were measured.

    A factor counts where its interval lies above 1.
    """
    here = {str(row["condition"]): row for row in dicts(conditions) if row["device"] == "cpu"}
    accelerators = [
        row for row in dicts(conditions) if row["device"] != "cpu" and row["condition"] == "fp32"
    ]
    told = words.si(TUTORIAL_SECONDS["accelerator"], "s")
    parts = [_of_cpu(here)] if "fp32" in here else []
    parts += [
        f"{words.device(row['device'])} takes {words.si(_seconds(row), 's')}; the tutorial "
        f"reports about {told} on a GPU."
        for row in accelerators
    ]
    if not accelerators:
        parts.append(
            f"No accelerator was timed in this run, so nothing here tests the {told} that the "
            "tutorial reports on a GPU."
        )
    return " ".join(parts)


def _of_cpu(here: dict[str, dict[Any, Any]]) -> str:
    seconds = _seconds(here["fp32"])
    factor = rest = over(TUTORIAL_SECONDS["cpu"], seconds)
    known = []
    for name in ("one_thread", "gradients"):
        if name in here and here[name]["ratio_low"] > 1:
            ratio = here[name]["ratio"]
            rest = over(rest, ratio)
            known.append(f"{words.number(ratio)} times as long {words.condition(name)}")
    measured = f" On this machine, a forward pass takes {' and '.join(known)}." if known else ""
    return (
        f"The tutorial reports {words.si(TUTORIAL_SECONDS['cpu'], 's')}, {words.number(factor)} "
        f"times the {words.si(seconds, 's')} measured here.{measured} A factor of "
        f"{words.number(rest)} stays unexplained: the tutorial does not give its CPU, its math "
        "library or its batch size, nor whether it timed the first, slow call."
    )
