"""The command `python -m bench history FOLDER`."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from bench.comparing.formats import as_json, cell, change, code, interval, p_value
from bench.comparing.history import History, changes, study
from bench.comparing.steps import Step, Trend
from bench.comparing.timing import Timing, finite_exp
from bench.ledger.folders import RunFolder, machine_key
from bench.options import add_margin
from gptcore.console import Table, to_path, to_picture
from gptcore.files import write_atomically
from gptcore.plain_text import shorten, visible

MOST_PANELS = 24


def _run_object(run: RunFolder) -> dict[str, Any]:
    return {
        "run": run.label,
        "started_at": run.started_at.isoformat(),
        "commit": _commit(run),
        "dirty": run.fact("run", "dirty"),
        "machine": ", ".join(machine_key(run)),
        "n_cases": len(run.records),
    }


def _commit(run: RunFolder) -> str | None:
    commit: str | None = run.environment["commit"] if run.environment else None
    return commit


def _step_object(trend: Trend, step: Step) -> dict[str, Any]:
    after = trend.runs[step.at]
    return {
        "at": after.started_at.isoformat(),
        "run": after.label,
        "previous_run": trend.runs[step.at - 1].label,
        "commit": _commit(after),
        "previous_commit": _commit(trend.runs[step.at - 1]),
        "ratio": step.ratio,
        "interval_95": list(step.interval_95),
        "p_adjusted": step.p_adjusted,
        "changed": changes(trend, step.at),
    }


def _time_object(run: RunFolder, times: Timing) -> dict[str, Any]:
    low, high, log = None, None, float(np.mean(times.logs))
    if times.within is not None:
        half = float(stats.t.ppf(0.975, times.within_df)) * math.sqrt(times.within)
        low, high = (finite_exp(x) for x in (log - half, log + half))
    return {
        "run": run.label,
        "started_at": run.started_at.isoformat(),
        "time_s": math.exp(log),
        "interval_95": None if low is None else [low, high],
    }


def as_object(history: History) -> dict[str, Any]:
    """Return a history as the object that --format json prints."""
    return {
        "runs": [_run_object(run) for run in history.runs],
        "margin": history.margin,
        "warnings": history.warnings,
        "cases": [
            {
                "case": trend.case,
                "machine": ", ".join(machine_key(trend.runs[0])),
                "n_runs": len(trend.runs),
                "detectable_ratio": trend.detectable,
                "unclear": trend.unclear,
                "times": [
                    _time_object(*pair) for pair in zip(trend.runs, trend.timings, strict=True)
                ],
                "steps": [_step_object(trend, step) for step in trend.steps],
            }
            for trend in history.trends
        ],
    }


def _json(history: History) -> str:
    return as_json(as_object(history))


def _steps(history: History) -> list[dict[str, Any]]:
    """Return the steps of all cases, oldest first, each with its case and its machine's changes."""
    steps = [
        _step_object(trend, step) | {"case": trend.case}
        for trend in history.trends
        for step in trend.steps
    ]
    return sorted(steps, key=lambda step: step["at"])


def _commits(step: dict[str, Any], *names: str) -> str:
    return " → ".join(visible(str(step[name] or "unknown"))[:10] for name in names)


def answer(history: History) -> str:
    """Return the answer in one sentence."""
    stepped = sum(bool(trend.steps) for trend in history.trends)
    n_cases, n_runs = len(history.trends), len(history.runs)
    first, last = (f"{run.started_at:%Y-%m-%d}" for run in (history.runs[0], history.runs[-1]))
    return (
        f"The time of {stepped} of {n_cases} case{'s' * (n_cases > 1)} changed lastingly in "
        f"{n_runs} run{'s' * (n_runs > 1)} from {first} to {last}. {_seen(history)}"
    )


def _seen(history: History) -> str:
    """Return how large a change could have been seen, in one sentence."""
    clear = [t.detectable for t in history.trends if t.detectable and not t.unclear]
    if not clear:
        return "No change of any size could have been seen."
    low, middle, high = (change(x) for x in (min(clear), float(np.median(clear)), max(clear)))
    spread = "" if len(clear) == 1 else f" (from {low} to {high}, by case)"
    return (
        f"A lasting change of {middle}{spread} in the middle of the runs would have been found "
        "with a probability of about 90 %."
    )


def _text(history: History) -> str:
    lines = [answer(history)]
    rows = [
        (
            step["at"][:16].replace("T", " "),
            change(step["ratio"]),
            interval(step["interval_95"]),
            _commits(step, "commit"),
            "\n".join([visible(step["case"]), *(f"({line})" for line in step["changed"])]),
        )
        for step in _steps(history)
    ]
    if rows:
        headings = ("first run", "change", "95 % interval", "commit", "case")
        lines += ["", str(Table(headings, rows))]
    warnings = [f"warning: {warning}" for warning in history.warnings]
    return "\n".join([*lines, *([""] if warnings else []), *warnings])


def _markdown(history: History) -> str:
    lines = [f"**{answer(history)}**", ""]
    steps = _steps(history)
    if steps:
        lines += ["| first run | change | 95 % interval | p adj. | commit | case | changed |"]
        lines += ["|---|--:|--:|--:|---|---|---|"]
    for step in steps:
        plain = (
            step["at"][:19],
            change(step["ratio"]),
            interval(step["interval_95"]),
            p_value(step["p_adjusted"]),
            _commits(step, "previous_commit", "commit"),
        )
        fields = [*map(cell, plain), code(step["case"]), cell("; ".join(step["changed"]))]
        lines.append(f"| {' | '.join(fields)} |")
    return "\n".join([*lines, "", *(f"- {cell(warning)}" for warning in history.warnings)])


FORMATS: dict[str, Callable[[History], str]] = {"text": _text, "md": _markdown, "json": _json}


def plot(history: History, path: Path) -> None:
    """Draw the trends, those with steps first; the suffix of `path` gives the format."""
    from matplotlib.figure import Figure

    shown = sorted(history.trends, key=lambda trend: not trend.steps)[:MOST_PANELS]
    figure = Figure(figsize=(8, 1.8 * len(shown)), layout="constrained")
    for axes, trend in zip(figure.subplots(len(shown), squeeze=False)[:, 0], shown, strict=True):
        _draw(axes, trend)
    left_out = len(history.trends) - len(shown)
    if left_out:
        figure.supxlabel(f"{left_out} more cases are not shown")
    with write_atomically(path) as partial:
        figure.savefig(partial)


def _draw(axes: Any, trend: Trend) -> None:
    times = [run.started_at for run in trend.runs]
    axes.plot(times, np.exp(trend.logs), "o", color="0.35", markersize=4)
    edges = [0, *(step.at for step in trend.steps), len(times)]
    for begin, end in pairwise(edges):
        axes.plot(times[begin:end], [trend.level(begin, end)] * (end - begin), color="tab:blue")
    for step in trend.steps:
        axes.axvline(times[step.at], color="tab:red", linestyle="--", linewidth=1)
        axes.annotate(
            f"{change(step.ratio)} {str(_commit(trend.runs[step.at]) or '')[:10]}",
            (times[step.at], 1),
            xycoords=("data", "axes fraction"),
            fontsize="x-small",
            color="tab:red",
            va="top",
        )
    # An id may hold dollar signs, between which matplotlib would read mathematics.
    axes.set_title(shorten(trend.case, 100), fontsize="x-small", loc="left", parse_math=False)
    axes.set_ylabel("s")
    axes.tick_params(labelsize="x-small")


def add_parser(subparsers: Any, summary: str) -> None:
    """Add the subcommand; `summary` is its line in the help of the command."""
    parser = subparsers.add_parser(
        "history",
        help=summary,
        description="Find and date lasting changes (steps) in the times of many runs. Exit code: "
        "0 done, 2 bad input.",
    )
    parser.add_argument(
        "results",
        nargs="*",
        type=to_path,
        default=[Path("results")],
        metavar="RESULTS",
        help="results folders, or folders that contain results folders (default: results)",
    )
    parser.add_argument(
        "-k", default="", metavar="TEXT", help="look only at cases with TEXT in their id"
    )
    parser.add_argument(
        "--format",
        choices=FORMATS,
        default="text",
        help="output format (default: text); json has every number",
    )
    add_margin(parser, "steps within this margin are left out")
    parser.add_argument(
        "--plot",
        type=to_picture,
        metavar="FILE",
        help="draw the times to a file that ends in .pdf, .png or .svg",
    )


def main(options: argparse.Namespace) -> int:
    """Find the steps, print them, draw them if asked to, and return the exit code."""
    history = study(options.results, options.margin, options.k)
    print(FORMATS[options.format](history))
    if options.plot:
        plot(history, options.plot)
    return 0
