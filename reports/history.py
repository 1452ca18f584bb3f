"""A folder of runs → one page: the runs, and when their times changed lastingly.

The steps are those of `python -m bench history`, which needs scipy, so it is imported when a folder
of runs is given (docs/decisions/0052-what-changed-on-the-page.md).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from bench.ledger.folders import RunFolder
from bench.ledger.record import LEDGER_NAME
from gptcore import plain_text
from reports import drawing, row_charts, words
from reports.blocks import Plot, Plotter, Section, Table, first_cases, first_rows, table
from reports.changed import change

if TYPE_CHECKING:
    from bench.comparing.history import History
    from bench.comparing.steps import Step, Trend

MOST_FIGURES = 12
FEWEST_DRAWN = 2
"""Runs of a case, at least, for a figure."""


@dataclass(frozen=True)
class IndexPage:
    """What the page of a folder says."""

    label: str
    answer: str
    sections: list[Section]
    anchor: str = "index"
    anchors: dict[str, str] = field(default_factory=dict)


def holds_runs(path: Path) -> bool:
    """Return whether a path is a folder of results folders, and no results folder itself."""
    inside = path.is_dir() and not (path / LEDGER_NAME).exists()
    return inside and any(path.glob(f"*/{LEDGER_NAME}"))


def index_page(folder: Path, with_figures: bool) -> IndexPage:
    """Return the page of a folder of runs.

    Raises:
        ValueError: it holds no run whose machine is known.
    """
    from bench.comparing.history_command import answer

    history = _study(folder)
    plot = Plotter("index", with_figures)
    answered = (
        answer(history)
        if history.trends
        else f"{words.count(len(history.runs), 'run')} without a time of any case."
    )
    sections = [_runs(history), *([_steps(history, plot)] if history.trends else [])]
    return IndexPage(plain_text.shorten(str(folder)), answered, [plot.fit(s) for s in sections])


def _study(folder: Path) -> History:
    from bench.comparing.history import History, find_runs, study
    from bench.comparing.timing import is_timed
    from bench.options import MARGIN

    runs, warnings = find_runs([folder])
    if not runs:
        raise ValueError(f"{folder} holds no run with an environment record: name results folders")
    if not any(is_timed(record) for run in runs for record in run.records.values()):
        return History(runs, [], MARGIN, warnings)
    return study([folder], MARGIN)


def _commit(run: RunFolder) -> str:
    commit = run.environment and run.environment["commit"]
    return plain_text.visible(str(commit or "unknown"))[:10]


def _runs(history: History) -> Section:
    rows = [
        (
            plain_text.shorten(run.label),
            f"{run.started_at:%Y-%m-%d %H:%M}",
            _commit(run),
            plain_text.shorten(str(run.fact("run", "suite", default=words.MISSING))),
            plain_text.shorten(str(run.fact("machine", "cpu", default=words.MISSING))),
            words.number(sum(r["status"] == "ok" for r in run.records.values())),
            words.number(sum(r["status"] == "failed" for r in run.records.values())),
        )
        for run in reversed(history.runs)
    ]
    columns = ("Run", "Began (UTC)", "Commit", "Suite", "CPU", "Finished cases#", "Failed cases#")
    tables = [table("The runs, the newest first.", columns, rows)]
    if history.warnings:
        lines = [(words.sentence(line),) for line in history.warnings]
        tables.append(table("What makes the answer less certain.", ("Warning",), lines))
    name = plain_text.visible(str(history.runs[-1].folder))
    intro = (
        f"The command python -m reports {name} makes the page of one of them. With --base and "
        "another one it says what changed between the two."
    )
    return Section("runs", "Runs", "Which runs are there?", intro, tables=tables)


def _steps(history: History, plot: Plotter) -> Section:
    found = [(trend, step) for trend in history.trends for step in trend.steps]
    found.sort(key=lambda pair: pair[0].runs[pair[1].at].started_at, reverse=True)
    drawn = [t for t in history.trends if len(t.runs) >= FEWEST_DRAWN]
    drawn.sort(key=lambda trend: not trend.steps)
    plots = [made for trend in drawn[:MOST_FIGURES] for made in _trend_plot(trend, plot)]
    _, more = first_cases(pd.DataFrame({"case": [t.case for t in drawn]}), MOST_FIGURES, "cases")
    return Section(
        "history",
        "History",
        "When did times change lastingly?",
        f"A change that lasts is one after which all runs are slower or faster.{more}",
        plots=plots,
        tables=[_step_table(found)] if found else [],
        missing="" if found else "No time changed lastingly.",
    )


def _trend_plot(trend: Trend, plot: Plotter) -> list[Plot]:
    """Return the figure of one case, with its numbers."""
    frame, name = frame_of(trend), plain_text.shorten(trend.case, 160)
    rows = [
        (plain_text.shorten(row["run"]), row["commit"], words.si(row["time_s"], "s"),
         words.ratio(row["ratio"]), "yes" if row["step"] else "")
        for row in frame.to_dict("records")
    ]  # fmt: skip
    numbers = table(f"The times of {name}.", ("Run", "Commit", "Time#", "Over the first#", "Step"),
                    rows)  # fmt: skip
    caption = (
        "The time of each run over that of the first. A line joins the runs between two steps."
    )
    alt = f"Times of {name}, run by run"
    return [replace(p, data=numbers) for p in plot(draw_trend, frame, name, caption, alt)]


def _step_table(found: list[tuple[Trend, Step]]) -> Table:
    from bench.comparing.history import changes

    rows = [
        (
            plain_text.shorten(trend.case, 160),
            f"{trend.runs[step.at].started_at:%Y-%m-%d %H:%M}",
            change(step.ratio),
            " to ".join(map(change, step.interval_95)),
            f"{_commit(trend.runs[step.at - 1])} → {_commit(trend.runs[step.at])}",
            "; ".join(changes(trend, step.at)) or words.MISSING,
        )
        for trend, step in found
    ]
    columns = ("Case", "First run", "Change#", "95 % interval#", "Commits", "What else changed")
    return table("Every step, the newest first.", columns, first_rows(rows))


def frame_of(trend: Trend) -> pd.DataFrame:
    """Return the times of a case over those of its first run, one row for each run."""
    logs = np.array([float(np.mean(timing.logs)) for timing in trend.timings])
    levels, edges = np.empty(len(logs)), [0, *(step.at for step in trend.steps), len(logs)]
    for begin, end in pairwise(edges):
        levels[begin:end] = trend.level(begin, end)
    return pd.DataFrame(
        {
            "run": [run.label for run in trend.runs],
            "commit": [_commit(run) for run in trend.runs],
            "time_s": np.exp(logs),
            "ratio": np.exp(logs - logs[0]),
            "level": levels / math.exp(logs[0]),
            "step": [any(s.at == i for s in trend.steps) for i in range(len(logs))],
        }
    )


def draw_trend(rows: pd.DataFrame) -> Figure:
    """Draw the ratio of each run to the first against its commit; steps are marked and named."""
    figure, (axes,) = drawing.new_figure(130, top=40)
    at = np.arange(len(rows))
    reach = max(1.012, rows["ratio"].max(), 1 / rows["ratio"].min()) ** 1.15
    axes.set_yscale("log")
    axes.set_ylim(1 / reach, reach)
    row_charts.factor_ticks(axes.yaxis, reach)
    axes.axhline(1, color=drawing.INK, linewidth=1)
    for _, part in rows.assign(at=at).groupby(rows["step"].cumsum()):
        ends = (part["at"].min() - 0.35, part["at"].max() + 0.35)
        axes.hlines(part["level"].iloc[0], *ends, color=drawing.COLOURS[1], linewidth=2)
    axes.plot(at, rows["ratio"], "o", color=drawing.COLOURS[0], markersize=6)
    for i in at[rows["step"]]:
        axes.axvline(i - 0.5, color=drawing.INK, linestyle=(0, (3, 2)), linewidth=1)
        before, after = rows["level"].iloc[i - 1], rows["level"].iloc[i]
        axes.annotate(
            change(float(after / before)), (i - 0.5, 1), xycoords=("data", "axes fraction"),
            xytext=(0, 4), textcoords="offset points", ha="center",
        )  # fmt: skip
    axes.set_xlim(-0.7, len(rows) - 0.3)
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    names = dict(zip(at.tolist(), rows["commit"], strict=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: names.get(round(x), "")[:7]))
    axes.set(xlabel="commit", ylabel="")
    axes.set_title("time over that of the first run", pad=22 if rows["step"].any() else 8)
    return figure
