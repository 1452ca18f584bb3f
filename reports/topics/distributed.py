"""Training on several processes: how it scales, what the messages cost, and what a model says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from gptcore import plain_text
from reports import drawing, line_charts, row_charts, words
from reports.blocks import Finding, Plotter, Section, Table, by_setting, dicts, table, titled
from reports.claims import CONDITIONS, Claim, apart
from reports.load import Run, over, over_rounds
from reports.numbers import Heading

ENGINES = {"ddp": "DDP", "fsdp": "FSDP2"}
BATCHES = {"strong": "one batch for all", "weak": "a batch for each"}
"""Kind of scaling → what the processes do with the batch."""
TIMES = ["time_s", "time_min_s", "time_max_s"]
SHARED = "Processes beyond the cores of the machine share these."
IN_ORDER = (
    "One process and several were timed one after the other, so a change of the machine's load in "
    "between counts as well."
)


def measured(run: Run) -> pd.DataFrame:
    """Return a row for each case and number of processes, with the speed relative to one process.

    `low` and `high` are the speeds that the fastest and slowest rounds allow; `variant` names the
    engine and what is done with the batch.
    """
    cases = run.cases("distributed").reindex(columns=["case", *CONDITIONS, "engine", "scaling"])
    rows = run.series("distributed", "device_scaling").drop(columns="variant")
    rows[["processes", *TIMES]] = rows[["processes", *TIMES]].astype(float)
    rows = rows[rows["time_s"].gt(0) & rows["processes"].ge(1)].merge(cases, on="case")
    one = rows.loc[rows["processes"].eq(1), ["case", *TIMES]]
    rows = rows.merge(one, on="case", suffixes=("", "_one"))
    work = rows["processes"].where(rows["scaling"].eq("weak"), 1.0)
    low, high = over_rounds(rows, "_one", "")
    names = [
        f"{ENGINES.get(str(engine), plain_text.shorten(str(engine)))}, "
        f"{BATCHES.get(str(scaling), plain_text.shorten(str(scaling)))}"
        for engine, scaling in zip(rows["engine"], rows["scaling"], strict=True)
    ]
    speed = over(rows["time_s_one"], rows["time_s"])
    return rows.assign(variant=names, speed=work * speed, low=work * low, high=work * high)


def find(run: Run) -> Iterator[Finding]:
    """Say for each way of training on how many processes it was faster than on one."""
    frame = measured(run)
    for variant, part in frame[frame["processes"].gt(1)].groupby("variant", sort=False):
        rows = [row | {"name": f"{_on(row)}{apart(row, part)}"} for row in dicts(part)]
        claim = Claim(
            f"Training by {variant}, was faster than on one process",
            rows,
            lambda row: bool(row["low"] > 1),
            lambda row: str(row["name"]),
        )
        numbers = "; ".join(
            f"{row['name']} {words.number(row['speed'])} times the tokens per second of one (the "
            f"rounds allow {words.number(row['low'])} to {words.number(row['high'])})"
            for row in rows
        )
        yield Finding(
            45,
            "distributed",
            "",
            claim.text or f"Training by {variant}, was never clearly faster than on one process",
            f"{words.sentence(numbers)} {SHARED} {IN_ORDER} Conditions: {rows[0]['setting']}.",
            tuple(dict.fromkeys(part["case"])),
        )


def _on(row: dict[Any, Any]) -> str:
    return f"on {words.number(row['processes'])} processes"


def section(run: Run, plot: Plotter) -> list[Section]:
    """Return how training scales over processes; no section where the run did not ask for it."""
    known = [r for r in run.records.values() if str(r["case"]).startswith("bench_distributed::")]
    if not known:
        return []
    frame, plots, tables = measured(run), [], []
    for setting, (part,) in by_setting(plot, frame):
        several = part[part["processes"].gt(1)]
        plots += plot(
            efficiency_figure, part, "What is left of the speed of one process",
            "Efficiency: the tokens per second of all processes over those of one times their "
            f"number. {SHARED} {setting}.",
            "Efficiency of training by the number of processes.",
            _numbers("efficiency", "Efficiency"),
        )  # fmt: skip
        plots += plot(
            communication_figure, several[several["communication_share"].notna()],
            "What the messages cost",
            "Share of a step that is left when the same computation, in all processes at once and "
            f"without messages, is taken away. {setting}.",
            "Share of a step that goes to messages, by the number of processes.",
            _numbers("communication_share", "Share of a step"),
        )  # fmt: skip
        plots += plot(
            model_figure, beside_the_model(several), "The model of clusters beside the measurement",
            "Dot: the measured step, with the range of its rounds. Square: the step that the model "
            f"works out from the step of one process and the speed of a link. {setting}.",
            "Measured and predicted time of a training step on several processes.",
            {"label": "Training", "what": "What", "value": ("Time of a step", _seconds)},
        )  # fmt: skip
        tables.append(titled(scaling(part), setting))
    told = dict.fromkeys(str(r["reason"]) for r in known if r["reason"])
    return [
        Section(
            "distributed",
            "Several processes",
            "How much faster is training on several processes?",
            "The processes divide one batch (strong scaling), or each has a whole one (weak "
            "scaling). DDP copies the model to each process, FSDP2 divides it over them. All ran "
            "on this machine, one thread each, so nothing here is a measurement of a network.",
            plots=plots,
            tables=tables,
            missing="" if tables else " ".join(map(words.sentence, told)),
        )
    ]


def _numbers(column: str, heading: str) -> dict[str, Heading]:
    return {"variant": "Training", "processes": "Processes", column: (heading, words.percent)}


def _seconds(value: object) -> str:
    return words.si(value, "s")


def efficiency_figure(frame: pd.DataFrame) -> Figure:
    """Draw the efficiency of each variant by the number of processes."""
    return _by_processes(frame, "efficiency", "efficiency")


def communication_figure(frame: pd.DataFrame) -> Figure:
    """Draw the share of communication of each variant by the number of processes."""
    return _by_processes(frame, "communication_share", "share of a step")


def _by_processes(frame: pd.DataFrame, column: str, title: str) -> Figure:
    limits = (min(0.0, float(frame[column].min())), max(1.05, float(frame[column].max())))
    figure, axes = line_charts.line_chart(frame, title, "processes", column, log="x", limits=limits)
    axes.xaxis.set_major_locator(FixedLocator(sorted(set(frame["processes"]))))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda count, _: words.number(count)))
    drawing.percent_axis(axes.yaxis)
    axes.set_xlabel("processes")
    return figure


def beside_the_model(frame: pd.DataFrame) -> pd.DataFrame:
    """Return two marks for each variant and number of processes: measured, and predicted."""
    named = frame.assign(
        label=[f"{row['variant']}, {_on(row)}" for row in dicts(frame)],
        text=[words.signed_percent(error) for error in frame["error"]],
    )
    marks = [
        named.assign(what="measured", value=named["time_s"], low=named["time_min_s"],
                     high=named["time_max_s"]),
        named.assign(what="model", value=named["predicted_s"], low=named["predicted_s"],
                     high=named["predicted_s"]),
    ]  # fmt: skip
    return pd.concat(marks).sort_index(kind="stable").reset_index(drop=True)


def model_figure(marks: pd.DataFrame) -> Figure:
    """Draw measured and predicted steps."""
    return row_charts.dots(marks, "time of a step", _seconds)


def scaling(frame: pd.DataFrame) -> Table:
    """Return what was measured for each variant and number of processes, and the model's error."""
    rows = [
        (
            row["variant"],
            words.number(row["processes"]),
            words.si(row["time_s"], "s"),
            words.si_range(row["time_min_s"], row["time_max_s"], "s"),
            words.ratio(row["speed"]),
            words.percent(row["efficiency"]),
            words.percent(row["communication_share"]),
            words.si(row["predicted_s"], "s"),
            words.signed_percent(row["error"]),
        )
        for row in dicts(frame)
    ]
    columns = (
        "Training", "Processes#", "Step#", "Range of rounds#", "Speed over one#", "Efficiency#",
        "Messages#", "Model: step#", "Model's error#",
    )  # fmt: skip
    return table("A training step on several processes.", columns, rows)
