"""What changed between two runs: `python -m bench compare BASE NEW`, a verdict for each case.

"slower" and "faster" need three things: an interval that leaves out 1, a ratio beyond the margin,
and a p-value that holds among all cases compared (Holm). "same" needs an interval within the
margin. A case that is no longer there is "missing", a failure; it never passes in silence.
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
from bench.ledger.plain_text import shorten
from bench.options import MARGIN
from gptcore.stats import holm, verdict

VERDICTS = ("slower", "missing", "ambiguous", "faster", "new", "same")
FAILURES = {"slower": 1, "ambiguous": 1, "faster": 1, "missing": 3}
"""What --fail-on may name, and the exit code of each."""
NOT_COMPARABLE = 3
MOVED = 0.01
"""The reference product has to move by more than this to be worth a warning."""


@dataclass(frozen=True)
class Row:
    """What became of one case; None where nothing was, or could be, computed."""

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
    """The whole answer.

    Attributes:
        base: the run compared with.
        new: the run in question.
        margin: relative difference that counts as none.
        normalised: shares of each machine's ceilings were compared.
        rows: one for each timed case, and for each case that is missing or new.
        untimed: how many cases without times are in both.
        warnings: what a reader has to know.
        not_comparable: why nothing was compared; empty if it was.
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
        """Return how many cases have each verdict."""
        return {name: sum(row.verdict == name for row in self.rows) for name in VERDICTS}

    def exit_code(self, fail_on: Sequence[str] = ("slower", "missing")) -> int:
        """Return 3 for runs that cannot be compared, else the code of the worst failure.

        A slower case goes before a missing one, so that whoever puts up with 3 still sees it.
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
        base: the run compared with.
        new: the run in question.
        margin: relative difference that counts as none, as in 0.03.
        normalise: compare time times ceiling: the share of what each machine can do.
        only: compare the cases with this in their id. Noise is learnt from all of them.

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
    found = {name: timing(record) for name, record in run.records.items() if is_timed(record)}
    return {name: value for name, value in found.items() if value}


def _refusals(base: RunFolder, new: RunFolder, present: list[str], timed: list[str]) -> list[str]:
    """Return why the runs cannot be compared; empty if they can."""
    if not present:
        return ["no case ended well in both: compare runs of one suite"]
    lost = [run for run in (base, new) if run.environment is None]
    if lost:
        names = " and ".join(shorten(run.label) for run in lost)
        return [f"{names} holds no environment record: its machine is unknown"]
    return machine_differences(base, new) + corpus_differences(base, new, timed)


def _presence(base: RunFolder, new: RunFolder, name: str) -> Row | None:
    """Return the row of a case that is in one run only, or lost its times; None for others."""
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
    """Say so if the reference product took longer or shorter in NEW, beyond chance."""
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
        f"the machine itself differed: its reference product took {per_cent(mean)} time in NEW; "
        "intervals are wider for it. Measure both again, one right after the other"
    ]


@dataclass(frozen=True)
class _Judge:
    """Turns times into rows."""

    base: RunFolder
    new: RunFolder
    margin: float
    noise: Noise
    ceilings: Ceilings | None

    def rows(self, names: list[str], old: dict[str, Timing], now: dict[str, Timing]) -> list[Row]:
        """Return the row of every timed case that is in both runs."""
        found: dict[str, Difference] = {}
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
                found[name] = outcome
            else:
                row = dataclasses.replace(row, **outcome)
            rows.append(row)
        adjusted = dict(zip(found, holm([d.p_value for d in found.values()]), strict=True))
        return [
            self._judged(row, found[row.case], adjusted[row.case]) if row.case in found else row
            for row in rows
        ]

    def _difference(self, name: str, a: Timing, b: Timing) -> Difference | dict[str, Any]:
        """Return the difference of one case, or the fields of a row that has none."""
        if self.base.records[name] == self.new.records[name]:
            return Difference(0.0, 0.0, 0.0, 1.0, 0.0)
        ceiling = self.ceilings.change(name) if self.ceilings else None
        if isinstance(ceiling, str):
            return {"verdict": "missing", "reason": f"not comparable: {ceiling}"}
        found = difference(name, a, b, self.noise, ceiling)
        if found is None:
            ratio = finite_exp(b.logs[0] - a.logs[0] + (ceiling[0] if ceiling else 0.0))
            reason = "one round says nothing about its noise: time at least two"
            return {"reason": reason, "ratio": ratio}
        return found

    def _judged(self, row: Row, found: Difference, p_adjusted: float) -> Row:
        ratios = [finite_exp(x) for x in (found.d, found.low, found.high)]
        ratio, low, high = (math.inf if x is None else x for x in ratios)
        outcome = verdict(ratio, low, high, margin=self.margin)
        reason = None
        if outcome in ("slower", "faster") and p_adjusted > ALPHA:
            reason = f"{outcome} by itself, not among all cases: {self._remedy(found)}"
            outcome = "ambiguous"
        elif outcome == "ambiguous":
            width = 100 * (found.high - found.low) / 2
            reason = f"±{width:.2g} %: {self._remedy(found)}"
        return dataclasses.replace(
            row,
            verdict=outcome,
            reason=reason,
            ratio=ratios[0],
            interval_95=(ratios[1], ratios[2]),
            p_adjusted=p_adjusted,
        )

    @staticmethod
    def _remedy(found: Difference) -> str:
        if found.rounds_share > 0.5:
            return "more rounds would narrow it"
        return "more processes or a quieter machine would narrow it"

    def warnings(self, rows: list[Row]) -> list[str]:
        """Return what the verdicts rest on, where that is less than it could be."""
        lines = []
        if rows and self.noise.assumed:
            sd = 100 * math.sqrt(self.noise.prior.variance)
            lines.append(
                f"no case was timed in several processes: ±{sd:.2g} % is assumed to lie between "
                "two processes (the spread of all ratios, 1 % at least): a change of half of the "
                "cases counts as noise, too"
            )
        if self.ceilings and not self.ceilings.measured_twice:
            lines.append(
                f"ceilings were measured once a run: ±{100 * CEILING_FLOOR:.2g} % is assumed"
            )
        for run, side in ((self.base, "BASE"), (self.new, "NEW")):
            states = [look_up(run.records[row.case], "stability", "verdict") for row in rows]
            shaky = sum(state in ("noisy", "drifting") for state in states)
            if shaky:
                lines.append(f"{shaky} of {len(rows)} cases are noisy or drifting in {side}")
        if rows and all(self.base.records[r.case] == self.new.records[r.case] for r in rows):
            lines.append("both runs hold the same measurements: nothing was compared")
        return lines
