"""One run → the section on what makes a model take longer, and the answer to text A's question."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from bench.ledger import plain_text
from reports import drawing, words
from reports.blocks import Finding, Plotter, Section, Table, dicts, missing, table
from reports.load import Run

TOLD = {"cpu": 45.0, "accelerator": 1.0}
"""Seconds that text A gives for a forward pass of Model 5, on a CPU and on a GPU."""
TOLD_TOKENS = 16 * 256
"""Tokens of its training batch; whether its forward pass had as many it does not say."""


def find(_: Run) -> list[Finding]:
    """Return no finding: the section says what was measured, and claims nothing beyond it."""
    return []


def section(run: Run, plot: Plotter) -> list[Section]:
    """Return how the cost of a step grows, and what a forward pass takes under which condition.

    Nothing where neither was tried.
    """
    growth, passes = run.cases("growth"), run.cases("conditions")
    curves = relative(run.series("growth", "cost_curve"), growth)
    conditions = run.series("conditions", "conditions").merge(
        passes[["case", "model", "device", "batch_size", "block_size", "flops"]], on="case"
    )
    conditions = conditions.dropna(subset=["time_s", "ratio"])
    lost = growth.empty and passes.empty
    if lost and not any(r["group"] in ("growth", "conditions") for r in run.unfinished):
        return []
    section = Section(
        "cost",
        "Cost",
        "What makes it take longer?",
        "All sizes of a dimension, and all conditions, are timed in turns; exponents and ratios "
        "are taken inside a round, so that a change of the machine between rounds does not count. "
        "An exponent of 1 doubles the time when the size doubles.",
        plot(
            growth_figure, curves, "How a training step grows",
            "Each line lets one size grow and leaves the others as they are. Circles: what the "
            "arithmetic alone would take. Below them, part of the time does not grow.",
            "Time of a training step over that at the smallest size, both axes logarithmic. "
            + " ".join(map(_growth_alt, dicts(growth))),
        )
        + plot(
            conditions_figure, conditions, "The same forward pass under other conditions",
            "Time over that in fp32 without gradients; lines are 95 % intervals over rounds. Left "
            "of 1 is faster.",
            "Ratios of time. " + " ".join(map(_condition_alt, dicts(conditions))),
        ),
        [
            *([growth_table(growth)] if not growth.empty else []),
            *([told_table(conditions)] if not conditions.empty else []),
        ],
        missing=missing(run, "growth", "timing of growing sizes") if lost else "",
    )  # fmt: skip
    return [section]


def relative(curves: pd.DataFrame, growth: pd.DataFrame) -> pd.DataFrame:
    """Return sizes, times and FLOPs as multiples of those at the smallest size of each case."""
    frame = curves.drop(columns="variant").merge(growth[["case", "dimension", "device"]], on="case")
    frame = frame.dropna(subset=["size", "time_s", "flops"])
    frame = frame[(frame[["size", "time_s", "flops"]] > 0).all(axis=1)]
    several = len(set(frame["device"])) > 1
    names = frame["dimension"].map(words.dimension)
    frame["variant"] = names + ", " + frame["device"].map(plain_text.shorten) if several else names
    numbers = ["size", "time_s", "flops"]
    frame[numbers] /= frame.groupby("case")[numbers].transform("first")
    return frame


def growth_figure(curves: pd.DataFrame) -> Figure:
    """Draw time against size, both as multiples of the smallest; circles are the FLOPs."""
    frame = drawing.with_labels(curves)
    figure, axes = drawing.line_figure(frame, "times as long as at the smallest size")
    for index, (name, rows) in enumerate(frame.groupby("variant", sort=False)):
        colour = drawing.COLOURS[index % drawing.N_COLOURS]
        dashes = drawing.DASHES[index % len(drawing.DASHES)]
        axes.plot(
            rows["size"], rows["time_s"], color=colour, label=name,
            linestyle=(0, dashes) if dashes else "-",
        )  # fmt: skip
        axes.plot(
            rows["size"], rows["flops"], "o", color=colour, markersize=6,
            markerfacecolor=drawing.SURFACE, markeredgewidth=1.6,
        )  # fmt: skip
    drawing.legend(figure, axes, frame)
    axes.set(xscale="log", yscale="log")
    axes.set_xlabel("times as large as the smallest")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(2, numticks=9))
        axis.set_minor_formatter(NullFormatter())
        axis.set_major_formatter(FuncFormatter(lambda value, _: words.tick(value)))
    axes.minorticks_off()
    return figure


def conditions_figure(conditions: pd.DataFrame) -> Figure:
    """Draw the ratio of each condition to the first, with its interval."""
    shown = conditions[conditions["ratio_low"] < conditions["ratio_high"]]
    figure, axes = drawing.rows_of_bars(max(len(shown), 1), top_in=0.1)
    axes.axvline(1, color=drawing.INK, linewidth=1.2)
    for row, (_, case) in enumerate(shown.iterrows()):
        axes.plot(
            [case["ratio_low"], case["ratio_high"]], [row, row], color=drawing.COLOURS[0],
            linewidth=2.2,
        )  # fmt: skip
        axes.plot(case["ratio"], row, "D", color=drawing.COLOURS[0], markersize=7)
        drawing.row_text(axes, row, drawing.as_label(_where(case), 60))
    axes.set_xlim(0, max(1.2, 1.1 * float(shown["ratio_high"].max())) if len(shown) else 1.2)
    axes.set_xlabel("time over that in fp32, nothing kept for gradients")
    drawing.number_axis(axes.xaxis)
    return figure


def _where(row: pd.Series) -> str:
    place = "" if str(row["device"]) == "cpu" else f", {plain_text.shorten(row['device'])}"
    return f"{words.sentence(words.condition(row['condition'])).removesuffix('.')}{place}"


def _growth_alt(case: dict[Any, Any]) -> str:
    ends = f"{words.tick(case['exponent_low'])} to {words.tick(case['exponent_high'])}"
    return (
        f"{words.sentence(words.dimension(case['dimension'])).removesuffix('.')}: exponent "
        f"{words.number(case['exponent'])} ({ends}), of the arithmetic "
        f"{words.number(case['flops_exponent'])}."
    )


def _condition_alt(row: dict[Any, Any]) -> str:
    return f"{words.condition(row['condition'])}: {words.ratio(row['ratio'])}."


def growth_table(growth: pd.DataFrame) -> Table:
    """Return the exponent of each dimension, and that of the arithmetic."""
    rows = []
    for _, case in growth.iterrows():
        ends = f"{words.number(case['exponent_low'])} to {words.number(case['exponent_high'])}"
        rows.append(
            (
                f"{words.dimension(case['dimension'])}, {plain_text.shorten(case['device'])}",
                plain_text.shorten(str(case["sizes"]).strip("[]")),
                words.number(case["exponent"]),
                ends if pd.notna(case["exponent_low"]) else words.MISSING,
                words.number(case["flops_exponent"]),
                words.number(case["rounds"]),
            )
        )
    columns = ("What grows", "Sizes", "Exponent#", "95 % interval#", "Of the FLOPs#", "Rounds#")
    return table("Time of a training step as a power of its sizes, fp32.", columns, rows)


def told_table(conditions: pd.DataFrame) -> Table:
    """Return text A's two times beside the times here, all for its batch of tokens."""
    first = dicts(conditions)[0]
    flops = first["flops"] / (first["batch_size"] * first["block_size"]) * TOLD_TOKENS
    is_model5 = first["model"] == "model5"
    rows = [
        (f"The text, on {'a CPU' if kind == 'cpu' else 'a GPU'}", *_told(seconds, flops))
        for kind, seconds in TOLD.items()
        if is_model5
    ]
    for row in dicts(conditions):
        tokens = row["batch_size"] * row["block_size"]
        scaled = "" if tokens == TOLD_TOKENS else f", scaled from {words.number(tokens)} tokens"
        where = f"Here, {plain_text.shorten(row['device'])}"
        name = f"{where}: {words.condition(row['condition'])}{scaled}"
        time, rate = _told(_seconds(row), flops)
        less = row["condition"] == "last_logits"  # it leaves out most of the head's arithmetic
        rows.append((name, time, words.MISSING if less else rate))
    columns = ("Forward pass", "Time#", "Rate of arithmetic#")
    caption = (
        f"A forward pass of {words.model(first['model'])} over "
        f"{words.number(TOLD_TOKENS)} tokens (16 windows of 256)."
    )
    return replace(table(caption, columns, rows), note=made_of(conditions) if is_model5 else "")


def _seconds(row: dict[Any, Any]) -> float:
    """Return the time of a row, scaled to the tokens of the text's batch."""
    return float(row["time_s"] * TOLD_TOKENS / (row["batch_size"] * row["block_size"]))


def _told(seconds: float, flops: float) -> tuple[str, str]:
    return words.si(seconds, "s"), words.si(flops / seconds, "FLOP/s")


def made_of(conditions: pd.DataFrame) -> str:
    """Return in words what the difference to the text's CPU time is made of, as far as measured.

    A factor counts where its interval lies above 1.
    """
    here = {str(row["condition"]): row for row in dicts(conditions) if row["device"] == "cpu"}
    accelerators = [
        row for row in dicts(conditions) if row["device"] != "cpu" and row["condition"] == "fp32"
    ]
    parts = [_of_cpu(here)] if "fp32" in here else []
    parts += [
        f"{plain_text.shorten(row['device'])} takes {words.si(_seconds(row), 's')} where the text says "
        f"about {words.si(TOLD['accelerator'], 's')}."
        for row in accelerators
    ]
    if not accelerators:
        parts.append("No accelerator was timed in this run: nothing here tests the 1 s on a GPU.")
    return " ".join(parts)


def _of_cpu(here: dict[str, dict[Any, Any]]) -> str:
    seconds = _seconds(here["fp32"])
    factor = rest = TOLD["cpu"] / seconds
    known = []
    for name in ("one_thread", "gradients"):
        if name in here and here[name]["ratio_low"] > 1:
            ratio = here[name]["ratio"]
            rest /= ratio
            known.append(f"{words.number(ratio)} {words.condition(name)}")
    measured = f" Of that, this machine shows {' and '.join(known)};" if known else ""
    return (
        f"The text's 45 s are {words.number(factor)} times the {words.si(seconds, 's')} here."
        f"{measured} a factor of {words.number(rest)} is left for what the text does not tell: its "
        "processor, its math library, its batch, and whether the first, slow call was timed."
    )
