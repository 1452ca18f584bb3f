"""A verdict for each case on what changed between two runs: `python -m bench compare BASE NEW`.

A case is "slower" or "faster" if its interval leaves out 1, its ratio exceeds the margin, and its
p-value, adjusted for all cases (Holm), is at most ALPHA. It is "same" if its interval lies within
the margin, and else "ambiguous". A case that NEW does not have is "missing", which is a failure.
"""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from scipy import stats

from bench.comparing.noise import ALPHA, Difference, Noise, centred, difference, noise
from bench.comparing.normalising import CEILING_FLOOR, Ceilings
from bench.comparing.timing import Timing, finite_exp, is_timed, timing
from bench.ledger.folders import (
    RunFolder,
    corpus_differences,
    look_up,
    machine_differences,
    minor_differences,
    per_cent,
    size_differences,
    unread_lines,
)
from bench.options import MARGIN
from gptcore.plain_text import shorten
from gptcore.stats import holm, verdict

VERDICTS = ("slower", "missing", "ambiguous", "faster", "new", "same")
FAILURES = {"slower": 1, "ambiguous": 1, "faster": 1, "missing": 3}
"""Verdict that --fail-on may name → its exit code."""
NOT_COMPARABLE = 3
MOVED = 0.01
"""A warning is given if the time of the reference product changed by more than this share."""


@dataclass(frozen=True)
class Row:
    """The comparison of one case; a field is None where it does not apply or is unknown."""

    case: str
    verdict: str
    reason: str | None = None
    ratio: float | None = None
    interval_95: tuple[float | None, float | None] | None = None
    p_adjusted: float | None = None
    base_s: float | None = None
    new_s: float | None = None
    n_base: int | None = None
    n_new: int | None = None
    processes_base: int | None = None
    processes_new: int | None = None


@dataclass(frozen=True)
class Comparison:
    """The comparison of two runs.

    Attributes:
        base: the earlier run.
        new: the later run.
        margin: relative difference that counts as none.
        normalised: whether shares of each machine's ceilings were compared instead of times.
        rows: one for each timed case, and one for each case that is missing or new.
        untimed: number of cases without times in both runs.
        warnings: what makes the verdicts less certain, one sentence each.
        not_comparable: why nothing was compared; empty if the runs were compared.
    """

    base: RunFolder
    new: RunFolder
    margin: float
    normalised: bool
    rows: list[Row]
    untimed: int
    warnings: list[str]
    not_comparable: list[str]

    @property
    def counts(self) -> dict[str, int]:
        """Return verdict → number of cases."""
        return {name: sum(row.verdict == name for row in self.rows) for name in VERDICTS}

    def exit_code(self, fail_on: Sequence[str] = ("slower", "missing")) -> int:
        """Return 3 for runs that cannot be compared, else the lowest code of the failures.

        The code 1 of a slower case comes before the code 3 of a missing one, so that a script that
        tolerates 3 still fails on a slower case.
        """
        if self.not_comparable:
            return NOT_COMPARABLE
        return min((FAILURES[name] for name in fail_on if self.counts[name]), default=0)


def compare(
    base: RunFolder,
    new: RunFolder,
    *,
    margin: float = MARGIN,
    normalise: bool = False,
    only: str = "",
) -> Comparison:
    """Compare two runs, case by case.

    Args:
        base: the earlier run.
        new: the later run.
        margin: relative difference that counts as none, as in 0.03.
        normalise: whether to compare time x ceiling, that is shares of what each machine can do.
        only: compare only cases with this text in their id; noise is estimated from all cases.

    Raises:
        ValueError: no case has `only` in its id.
    """
    warnings = unread_lines([base, new])
    chosen = [name for name in {**base.records, **new.records} if only in name]
    if only and not chosen:
        raise ValueError(f"no case of either run has {shorten(only)!r} in its id: see the ledgers")
    present = [name for name in chosen if _is_ok(base, name) and _is_ok(new, name)]
    timed = [name for name in present if is_timed(base.records[name])]
    refused = _refusals(base, new, present, timed)
    if refused and not (normalise and present):
        return Comparison(base, new, margin, normalise, [], 0, warnings, refused)
    warnings += [f"normalised although {line}" for line in refused]
    old, now = _timings(base), _timings(new)
    if normalise:
        (old,), (now,) = centred([old]), centred([now])
    else:
        warnings += reference_warnings(old, now)
    warnings += minor_differences(base, new) + size_differences(base, new)
    judge = _Judge(base, new, margin, noise(old, now), Ceilings(base, new) if normalise else None)
    rows = judge.rows(timed, old, now)
    warnings += judge.warnings(rows)
    rows += [row for name in chosen if (row := _presence(base, new, name))]
    rows.sort(key=lambda row: VERDICTS.index(row.verdict))
    untimed = len(present) - len(timed)
    return Comparison(base, new, margin, normalise, rows, untimed, warnings, [])


def _is_ok(run: RunFolder, name: str) -> bool:
    return name in run.records and run.records[name]["status"] == "ok"


def _timings(run: RunFolder) -> dict[str, Timing]:
    timings = {name: timing(record) for name, record in run.records.items() if is_timed(record)}
    return {name: value for name, value in timings.items() if value}


def _refusals(base: RunFolder, new: RunFolder, present: list[str], timed: list[str]) -> list[str]:
    """Return why the runs cannot be compared; empty if they can."""
    if not present:
        return ["no case succeeded in both runs: compare runs of one suite"]
    lost = [run for run in (base, new) if run.environment is None]
    if lost:
        names = " and ".join(shorten(run.label) for run in lost)
        return [f"{names} holds no environment record: its machine is unknown"]
    return machine_differences(base, new) + corpus_differences(base, new, timed)


def _presence(base: RunFolder, new: RunFolder, name: str) -> Row | None:
    """Return the row of a case that one run lacks or that NEW has no times of; else None."""
    old, now = base.records.get(name), new.records.get(name)
    was, is_ = _is_ok(base, name), _is_ok(new, name)
    if was and not is_:
        reason = f"{now['status']} in NEW: {shorten(now['reason'], 200)}" if now else "not in NEW"
        if now is None and new.warnings:
            reason += "; part of its ledger cannot be read"
        return Row(name, "missing", reason)
    if was and is_timed(old) and not is_timed(now):
        return Row(name, "missing", "NEW has no times of it")
    if is_ and not was:
        reason = f"{old['status']} in BASE: {shorten(old['reason'], 200)}" if old else "not in BASE"
        return Row(name, "new", reason)
    if now and not old and now["status"] == "failed":
        return Row(name, "new", f"failed in NEW: {shorten(now['reason'], 200)}")
    return None


def reference_warnings(base: dict[str, Timing], new: dict[str, Timing]) -> list[str]:
    """Return a warning if the time of the reference product changed by more than chance allows."""
    moved = [
        now.reference - t.reference
        for name, t in base.items()
        if (now := new.get(name)) and t.reference is not None and now.reference is not None
    ]
    if len(moved) < 3 or abs(mean := statistics.fmean(moved)) < MOVED:
        return []
    if min(moved) < max(moved) and stats.ttest_1samp(moved, 0).pvalue > 0.01:
        return []
    return [
        f"the machine itself changed: its reference product took {per_cent(mean)} time in NEW, "
        "which widens the intervals; measure both runs again, one right after the other"
    ]


@dataclass(frozen=True)
class _Judge:
    """Compares the times of two runs, with what varies between them."""

    base: RunFolder
    new: RunFolder
    margin: float
    noise: Noise
    ceilings: Ceilings | None

    def rows(self, names: list[str], old: dict[str, Timing], now: dict[str, Timing]) -> list[Row]:
        """Return the row of every timed case that is in both runs."""
        differences: dict[str, Difference] = {}
        rows: list[Row] = []
        for name in names:
            if not is_timed(self.new.records[name]):
                continue
            a, b = old.get(name), now.get(name)
            if a is None or b is None:
                rows.append(Row(name, "ambiguous", "a time of 0 s: the clock did not tick"))
                continue
            row = Row(
                name,
                "ambiguous",
                base_s=math.exp(a.center(min(len(a.logs), len(b.logs)))),
                new_s=math.exp(b.center(min(len(a.logs), len(b.logs)))),
                n_base=a.rounds,
                n_new=b.rounds,
                processes_base=len(a.logs),
                processes_new=len(b.logs),
            )
            outcome = self._difference(name, a, b)
            if isinstance(outcome, Difference):
                differences[name] = outcome
            else:
                row = dataclasses.replace(row, **outcome)
            rows.append(row)
        p_values = holm([difference.p_value for difference in differences.values()])
        adjusted = dict(zip(differences, p_values, strict=True))
        return [
            self._judged(row, differences[row.case], adjusted[row.case])
            if row.case in differences
            else row
            for row in rows
        ]

    def _difference(self, name: str, a: Timing, b: Timing) -> Difference | dict[str, Any]:
        """Return the difference of one case, or the fields of a row that has none."""
        if self.base.records[name] == self.new.records[name]:
            return Difference(0.0, 0.0, 0.0, 1.0, 0.0)
        ceiling = self.ceilings.change(name) if self.ceilings else None
        if isinstance(ceiling, str):
            return {"verdict": "missing", "reason": f"not comparable: {ceiling}"}
        result = difference(name, a, b, self.noise, ceiling)
        if result is None:
            ratio = finite_exp(b.logs[0] - a.logs[0] + (ceiling[0] if ceiling else 0.0))
            reason = "one round does not show how much rounds differ: time at least two"
            return {"reason": reason, "ratio": ratio}
        return result

    def _judged(self, row: Row, difference: Difference, p_adjusted: float) -> Row:
        ratios = [finite_exp(x) for x in (difference.d, difference.low, difference.high)]
        ratio, low, high = (math.inf if x is None else x for x in ratios)
        outcome = verdict(ratio, low, high, margin=self.margin)
        reason = None
        if outcome in ("slower", "faster") and p_adjusted > ALPHA:
            reason = f"{outcome} by itself, not among all cases: {self._remedy(difference)}"
            outcome = "ambiguous"
        elif outcome == "ambiguous":
            width = 100 * (difference.high - difference.low) / 2
            reason = f"±{width:.2g} %: {self._remedy(difference)}"
        return dataclasses.replace(
            row,
            verdict=outcome,
            reason=reason,
            ratio=ratios[0],
            interval_95=(ratios[1], ratios[2]),
            p_adjusted=p_adjusted,
        )

    @staticmethod
    def _remedy(difference: Difference) -> str:
        if difference.rounds_share > 0.5:
            return "more rounds would narrow the interval"
        return "more processes or a quieter machine would narrow the interval"

    def warnings(self, rows: list[Row]) -> list[str]:
        """Return what makes the verdicts less certain than they could be, one sentence each."""
        lines = []
        if rows and self.noise.assumed:
            sd = 100 * math.sqrt(self.noise.prior.variance)
            lines.append(
                f"no case was timed in several processes, so a standard deviation of {sd:.2g} % "
                "between two processes is assumed (the spread of all ratios, at least 1 %); a "
                "change that affects half of the cases therefore counts as noise"
            )
        if self.ceilings and not self.ceilings.measured_twice:
            lines.append(
                "each run measured its ceilings once, so a standard deviation of "
                f"{100 * CEILING_FLOOR:.2g} % is assumed for them"
            )
        for run, side in ((self.base, "BASE"), (self.new, "NEW")):
            states = [look_up(run.records[row.case], "stability", "verdict") for row in rows]
            shaky = sum(state in ("noisy", "drifting") for state in states)
            if shaky:
                lines.append(f"{shaky} of {len(rows)} cases are noisy or drifting in {side}")
        if rows and all(self.base.records[r.case] == self.new.records[r.case] for r in rows):
            lines.append("both runs hold the same measurements: nothing was compared")
        return lines
