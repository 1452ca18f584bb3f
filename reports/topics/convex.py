"""How fast SGD converges on convex problems with three orders of the data, beside theory."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter, NullLocator

from reports import line_charts, words
from reports.blocks import Finding, Plotter, Section, Table, by_setting, dicts, table, titled
from reports.load import Run

Row = dict[str, Any]
THEORY = {
    "grid_replacement": "1/k",
    "shuffled_once": "1/k²",
    "shuffled_blocks": "1/k³ while k < n, then 1/k²",
}
"""Order of the data → how theory says that the excess falls with k epochs of n blocks."""
FEWEST_SEEDS = 12
"""Half of the seeds measure; intervals from a bootstrap over fewer than 6 are far too narrow."""
OBJECTIVES = {"softmax": "softmax bigram model", "least_squares": "least-squares bigram model"}


def find(run: Run) -> Iterator[Finding]:
    """Say for each problem which order of the data converged faster than the one before it."""
    frame = run.cases("convex")
    for setting, part in frame[frame["rate"].notna()].groupby("setting", sort=False):
        cases = {row["sampler"]: row for row in dicts(part)}
        rows = [cases[sampler] for sampler in THEORY if sampler in cases]
        claims = [claim for pair in pairwise(rows) for claim in _faster(*pair)]
        said = " and ".join(claims) or "the orders of the data could not be told apart"
        if any(row["n_seeds"] < FEWEST_SEEDS for row in rows):
            said = "there were too few seeds to tell the orders of the data apart"
        if len(rows) > 1:
            what = OBJECTIVES.get(str(rows[0]["objective"]), "convex problem")
            headline = f"on a {what}, {said}"
            yield Finding(
                56,
                "convex",
                headline if claims else "",
                words.sentence(headline).removesuffix("."),
                f"Slopes of ln(excess loss) over ln(epochs): {_slopes(rows)}. An order is called "
                "faster where its 95 % interval lies below the other one; the intervals are not "
                f"adjusted for the number of orders. Theory gives {words.MINUS}1 for "
                f"{words.sampler_in_prose('grid_replacement')}, {words.MINUS}2 for "
                f"{words.sampler_in_prose('shuffled_once')} and {words.MINUS}2 to {words.MINUS}3 "
                f"for {words.sampler_in_prose('shuffled_blocks')}, up to logarithms, for many "
                "epochs. It holds for strongly convex problems like this one and not for a GPT. "
                f"Conditions: {setting}.",
                tuple(row["case"] for row in rows),
            )


def _faster(before: Row, after: Row) -> Iterator[str]:
    """Yield which of two orders converged faster, where their intervals are apart."""
    a, b = (words.sampler_in_prose(row["sampler"]) for row in (before, after))
    if after["rate_high"] < before["rate_low"]:
        yield f"{b} converged faster than {a}"
    elif before["rate_high"] < after["rate_low"]:
        yield f"{a} converged faster than {b}"


def _slopes(rows: list[Row]) -> str:
    return ", ".join(
        f"{words.signed(row['rate'])} ({words.interval(row['rate_low'], row['rate_high'])}) "
        f"for {words.sampler_in_prose(row['sampler'])}"
        for row in rows
    )


def section(run: Run, plot: Plotter) -> list[Section]:
    """Return the excess loss after each number of epochs; no section where it was not measured."""
    frame, series = run.cases("convex"), run.series("convex", "excess")
    if frame.empty:
        return []
    plots, tables = [], []
    for setting, (part, curves) in by_setting(plot, frame, series):
        plots += plot(
            excess,
            curves[curves["excess"].gt(0) & curves["epochs"].gt(0)],
            "Excess loss of the last iterate",
            "Each point is the mean over seeds at the best constant step size of a grid; the step "
            "size was chosen on other seeds. Both axes are logarithmic, so a power of the number "
            f"of epochs is a straight line. {setting}.",
            "Excess loss of each order of the data, by epochs.",
            {"variant": "Order", "epochs": "Epochs", "excess": "Excess loss"},
        )
        tables.append(titled(rates(part), setting))
    return [
        Section(
            "convex",
            "Order and convergence",
            "How fast does each order of the data converge where theory has an answer?",
            "Stochastic gradient descent minimises a strongly convex function of the text whose "
            "optimum is known, with three orders of the data. A GPT is not convex, so this tests "
            "the samplers and the theory, and predicts nothing for a GPT.",
            plots=plots,
            tables=tables,
        )
    ]


def excess(rows: pd.DataFrame) -> Figure:
    """Draw the excess loss against the epochs, both logarithmic, one line for each order."""
    figure, axes = line_charts.line_chart(
        rows, "loss above its minimum", "epochs", "excess", log="xy"
    )
    axes.set_xlabel("epochs")
    axes.xaxis.set_major_locator(FixedLocator(sorted(set(rows["epochs"]))))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: words.tick(value)))
    axes.yaxis.set_minor_formatter(NullFormatter())
    return figure


def rates(frame: pd.DataFrame) -> Table:
    """Return the fitted rate of each order beside that of theory."""
    rows = [
        (
            words.sampler(row["sampler"]),
            words.signed(row["rate"]),
            words.interval(row["rate_low"], row["rate_high"]),
            THEORY.get(str(row["sampler"]), words.MISSING),
            words.number(row["condition_number"]),
            words.number(row["n_seeds"]),
        )
        for row in dicts(frame)
    ]
    columns = ("Order of the data", "Fitted slope#", "95 % interval#", "Theory for k epochs",
               "Condition number, at most#", "Seeds#")  # fmt: skip
    caption = "Slope of ln(excess loss) over ln(epochs), fitted over all numbers of epochs."
    note = "Half of the seeds choose the step size. The others measure, and the interval is theirs."
    return table(caption, columns, rows, note=note)
