"""When did times step? `python -m bench history [RESULTS…]` over the runs of one machine.

The runs of another machine, or with another number of threads, have trends of their own. Versions
and commits may change: what changed with a step is named beside it.
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
from bench.ledger.plain_text import shorten
from bench.ledger.record import LEDGER_NAME

MOVED = 0.02
"""The reference product has to move by more than this to be named."""


@dataclass(frozen=True)
class History:
    """The whole answer.

    Attributes:
        runs: all that name their machine, oldest first.
        trends: one for each case and machine.
        margin: steps smaller than this share are not told.
        warnings: what a reader has to know.
    """

    runs: list[RunFolder]
    trends: list[Trend]
    margin: float
    warnings: list[str]


def find_runs(paths: Sequence[Path]) -> tuple[list[RunFolder], list[str]]:
    """Read runs and folders of runs, oldest run first.

    Returns:
        The runs that name their machine, and warnings.

    Raises:
        ValueError: a path holds no run.
    """
    folders: dict[Path, Path] = {}
    for path in paths:
        inside = [path.parent if path.name == LEDGER_NAME else path]
        if not (inside[0] / LEDGER_NAME).exists():
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
    """Return the series of every timed case with `only` in its id."""
    found: dict[str, Trend] = {}
    for run in runs:
        for name, record in run.records.items():
            if only in name and is_timed(record) and (times := timing(record)):
                trend = found.setdefault(name, Trend(name, [], []))
                trend.runs.append(run)
                trend.timings.append(times)
    return list(found.values())


def changes(trend: Trend, at: int) -> list[str]:
    """Return what else differs between the runs before and after a step, one line each."""
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
        lines.append("a checkout had changes that no commit holds")
    references = [t.reference for t in trend.timings]
    sides = [
        [r for r in part if r is not None]
        for part in (references[max(0, at - 3) : at], references[at : at + 3])
    ]
    if all(sides):
        moved = float(np.median(sides[1]) - np.median(sides[0]))
        if abs(moved) > MOVED:
            lines.append(f"the reference product {100 * math.expm1(moved):+.1f} %: the machine")
    return lines


def study(paths: Sequence[Path], margin: float, only: str = "") -> History:
    """Read runs and find the steps in their times.

    Args:
        paths: results folders, or folders of them.
        margin: steps smaller than this share are not told.
        only: look at the cases with this in their id.

    Raises:
        ValueError: a path holds no run, or no timed case has `only` in its id.
    """
    runs, warnings = find_runs(paths)
    groups: dict[tuple[str, ...], list[RunFolder]] = {}
    for run in runs:
        groups.setdefault(machine_key(run), []).append(run)
    found = []
    for same in groups.values():
        series = trends(same, only)
        find_steps(same, series, len(groups))
        found += series
    if not found:
        wanted = f" with {shorten(only)!r} in its id" if only else ""
        raise ValueError(f"no run has a timed case{wanted}: run `pytest --benchmark-only`")
    for trend in found:
        trend.steps = [s for s in trend.steps if abs(math.log(s.ratio)) > math.log1p(margin)]
    few = sum(len(trend.runs) < FEWEST_RUNS for trend in found)
    if few:
        warnings.append(
            f"{few} of {len(found)} cases have fewer than {FEWEST_RUNS} runs on one machine: "
            "a step in them could not be told from chance"
        )
    if len(groups) > 1:
        warnings.append(f"{len(groups)} machines or numbers of threads: each has its own trends")
    return History(runs, found, margin, warnings)
