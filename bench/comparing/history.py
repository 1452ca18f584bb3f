"""When times changed lastingly over many runs: `python -m bench history [RESULTS…]`.

Runs of different machines or numbers of threads are studied separately. Versions and commits may
change within one machine; what changed at a step is listed with it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.comparing.steps import FEWEST_RUNS, Trend, find_steps
from bench.comparing.timing import is_timed, timing
from bench.ledger.folders import RunFolder, conditions, machine_key, minor_differences, unread_lines
from bench.ledger.record import LEDGER_NAME
from gptcore.plain_text import shorten

MOVED = 0.02
"""The reference product is listed if its time changed by more than this share."""


@dataclass(frozen=True)
class History:
    """The steps in the times of many runs.

    Attributes:
        runs: the runs with an environment record, oldest first.
        trends: one for each case and machine.
        margin: steps smaller than this share are left out.
        warnings: what makes the answer less certain, one sentence each.
    """

    runs: list[RunFolder]
    trends: list[Trend]
    margin: float
    warnings: list[str]


def find_runs(paths: Sequence[Path]) -> tuple[list[RunFolder], list[str]]:
    """Read runs and folders of runs.

    Returns:
        The runs with an environment record, oldest first; and warnings.

    Raises:
        ValueError: a path holds no run.
    """
    folders: dict[Path, Path] = {}
    for path in paths:
        inside = [path.parent if path.name == LEDGER_NAME else path]
        if not inside[0].is_file() and not (inside[0] / LEDGER_NAME).exists():
            inside = sorted(ledger.parent for ledger in path.glob(f"*/{LEDGER_NAME}"))
        if not inside:
            raise ValueError(f"{path} holds no runs: name results folders, or a folder of them")
        folders |= {folder.resolve(): folder for folder in inside}
    runs = [RunFolder.read(folder) for folder in folders.values()]
    warnings = unread_lines(runs) + [
        f"{shorten(run.label)} holds no environment record and is left out: its machine is unknown"
        for run in runs
        if run.environment is None
    ]
    return sorted((r for r in runs if r.environment), key=lambda r: r.started_at), warnings


def trends(runs: Sequence[RunFolder], only: str = "") -> list[Trend]:
    """Return the trend of every timed case with `only` in its id."""
    by_case: dict[str, Trend] = {}
    for run in runs:
        for name, record in run.records.items():
            if only in name and is_timed(record) and (times := timing(record)):
                trend = by_case.setdefault(name, Trend(name, [], []))
                trend.runs.append(run)
                trend.timings.append(times)
    return list(by_case.values())


def changes(trend: Trend, at: int) -> list[str]:
    """Return what else changed between the runs before and after a step, one line each."""
    before, after = trend.runs[at - 1], trend.runs[at]
    old, now = conditions(before), conditions(after)
    lines = [
        f"{name} {shorten(str(old[name]))} → {shorten(str(now[name]))}"
        for name in old
        if old[name] != now[name] and None not in (old[name], now[name])
    ]
    lines += [line for line in minor_differences(before, after) if not lines]
    dirty = (before.fact("run", "dirty"), after.fact("run", "dirty"))
    if True in dirty:
        lines.append("a checkout had uncommitted changes")
    references = [t.reference for t in trend.timings]
    sides = [
        [r for r in part if r is not None]
        for part in (references[max(0, at - 3) : at], references[at : at + 3])
    ]
    if all(sides):
        moved = float(np.median(sides[1]) - np.median(sides[0]))
        if abs(moved) > MOVED:
            lines.append(
                f"the reference product {100 * math.expm1(moved):+.1f} %: the machine changed"
            )
    return lines


def study(paths: Sequence[Path], margin: float, only: str = "") -> History:
    """Read runs and find the steps in their times.

    Args:
        paths: results folders, or folders of them.
        margin: steps smaller than this share are left out.
        only: study only cases with this text in their id.

    Raises:
        ValueError: a path holds no run, or no timed case has `only` in its id.
    """
    runs, warnings = find_runs(paths)
    groups: dict[tuple[str, ...], list[RunFolder]] = {}
    for run in runs:
        groups.setdefault(machine_key(run), []).append(run)
    studied = []
    for same in groups.values():
        series = trends(same, only)
        find_steps(same, series, len(groups))
        studied += series
    if not studied:
        wanted = f" with {shorten(only)!r} in its id" if only else ""
        raise ValueError(f"no run has a timed case{wanted}: run `pytest --benchmark-only`")
    for trend in studied:
        trend.steps = [s for s in trend.steps if abs(math.log(s.ratio)) > math.log1p(margin)]
    few = sum(len(trend.runs) < FEWEST_RUNS for trend in studied)
    if few:
        warnings.append(
            f"{few} of {len(studied)} cases have fewer than {FEWEST_RUNS} runs on one machine: "
            "a step in them cannot be separated from chance"
        )
    unclear = sum(trend.unclear for trend in studied)
    if unclear:
        warnings.append(
            f"{unclear} of {len(studied)} cases get no verdict: each run is so close to the run "
            "before it that a step cannot be told from a wandering machine; use a quieter machine, "
            "or time the two states of the code in turns"
        )
    if len(groups) > 1:
        warnings.append(f"{len(groups)} machines or numbers of threads are studied separately")
    return History(runs, studied, margin, warnings)
