"""A verdict for each case on what changed between two runs: `python -m bench compare BASE NEW`.

A case is "slower" or "faster" if its interval leaves out 1, its ratio exceeds the margin, and its
p-value, adjusted for all cases (Holm), is at most ALPHA. It is "same" if its interval lies within
the margin, and else "ambiguous". A case that NEW does not have is "missing", which is a failure;
one that its suite had no time for is "not run". What varies without a change of the code is told in
`bench.comparing.noise`.
"""

from __future__ import annotations

import dataclasses
import math
import statistics
from dataclasses import dataclass
from typing import Any, TypeGuard

from scipy import stats

from bench.comparing.noise import (
    ALPHA,
    Difference,
    Noise,
    centred,
    difference,
    noise,
)
from bench.comparing.normalising import CEILING_FLOOR, Ceilings
from bench.comparing.timing import Timing, finite_exp, is_timed, timing
from bench.comparing.verdicts import VERDICTS, Comparison, Row
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
from bench.ledger.record import NOT_RUN, Record
from bench.options import MARGIN
from gptcore.plain_text import shorten
from gptcore.stats import holm, verdict

MOVED = 0.01
"""A warning is given if the time of a reference changed by more than this share."""
REFERENCES = {"reference": "matrix product", "memory": "copy of memory"}
LARGEST = 700.0
"""Largest ln ratio that is reported as detectable; e to its power is a float."""
NOT_JUDGED = ("growth", "conditions", "pair", "peers", "ablation")
"""Groups of cases that compare times inside their own run, which is more precise."""


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
    chosen = [name for name in {**base.records, **new.records} if only in name]
    warnings = unread_lines([base, new]) + _broken(base, new, chosen)
    if only and not chosen:
        raise ValueError(f"no case of either run has {shorten(only)!r} in its id: see the ledgers")
    present = [name for name in chosen if _is_ok(base, name) and _is_ok(new, name)]
    timed = [name for name in present if is_timed(base.records[name])]
    refused = _refusals(base, new, present, timed)
    if refused and not (normalise and present):
        return Comparison(base, new, margin, normalise, [], 0, warnings, refused)
    warnings += [f"normalised although {line}" for line in refused]
    old, now = _timings(base), _timings(new)
    paired = is_paired(base, new)
    if normalise:
        old, now = centred(old), centred(now)
    elif not paired:
        warnings += reference_warnings(old, now)
    warnings += minor_differences(base, new) + size_differences(base, new)
    ceilings = Ceilings(base, new) if normalise else None
    known = ceilings.changes(timed) if ceilings else None
    judge = _Judge(base, new, margin, noise(old, now, paired=paired, ceilings=known), ceilings)
    judged = [name for name in timed if base.records[name]["group"] not in NOT_JUDGED]
    rows = judge.rows(judged, old, now)
    warnings += judge.warnings(rows)
    rows += [row for name in chosen if (row := _presence(base, new, name))]
    rows.sort(key=lambda row: VERDICTS.index(row.verdict))
    not_judged = sum(base.records[name]["group"] in NOT_JUDGED for name in present)
    untimed = len(present) - len(judged) - not_judged
    made = Comparison(base, new, margin, normalise, rows, untimed, warnings, [], not_judged, paired)
    return dataclasses.replace(made, warnings=warnings + made.power_warnings())


def _broken(base: RunFolder, new: RunFolder, names: list[str]) -> list[str]:
    """Return a warning if cases failed in both runs, because these have no row."""
    runs = (base.records, new.records)
    n = sum(all(name in run and run[name]["status"] == "failed" for run in runs) for name in names)
    cases = "1 case" if n == 1 else f"{n} cases"
    return [f"{cases} failed in both runs, so nothing is known about their times"] if n else []


def is_paired(base: RunFolder, new: RunFolder) -> bool:
    """Return whether the rounds of two runs were interleaved with each other."""
    pairing = base.fact("run", "interleaved")
    return pairing is not None and pairing == new.fact("run", "interleaved")


def _is_ok(run: RunFolder, name: str) -> bool:
    return name in run.records and run.records[name]["status"] == "ok"


def _timings(run: RunFolder) -> dict[str, Timing]:
    timings = {
        name: timing(record)
        for name, record in run.records.items()
        if is_timed(record) and record["group"] not in NOT_JUDGED
    }
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
    for had, record, side in ((was, now, "NEW"), (is_, old, "BASE")):
        if had and _was_left_out(record):
            return Row(name, "not run", f"in {side} {shorten(record['reason'], 200)}")
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


def _was_left_out(record: Record | None) -> TypeGuard[Record]:
    return bool(record and str(record["reason"]).startswith(NOT_RUN))


def reference_warnings(base: dict[str, Timing], new: dict[str, Timing]) -> list[str]:
    """Return a warning for each reference whose time changed by more than chance allows."""
    lines = []
    for field, what in REFERENCES.items():
        moved = [
            new[name].references[field] - t.references[field]
            for name, t in base.items()
            if name in new and field in t.references.keys() & new[name].references
        ]
        if len(moved) < 3 or abs(mean := statistics.fmean(moved)) < MOVED:
            continue
        if min(moved) < max(moved) and stats.ttest_1samp(moved, 0).pvalue > 0.01:
            continue
        lines.append(
            f"the machine itself changed: its reference {what} took {per_cent(mean)} time in NEW, "
            "which widens the intervals; measure both in turns with --interleave"
        )
    return lines


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
                base_s=math.exp(statistics.fmean(a.logs)),
                new_s=math.exp(statistics.fmean(b.logs)),
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
            self._judged(row, differences[row.case], adjusted[row.case], len(differences))
            if row.case in differences
            else row
            for row in rows
        ]

    def _difference(self, name: str, a: Timing, b: Timing) -> Difference | dict[str, Any]:
        """Return the difference of one case, or the fields of a row that has none."""
        if self.base.records[name] == self.new.records[name]:
            return {"verdict": "same", "ratio": 1.0, "interval_95": (1.0, 1.0), "p_adjusted": 1.0}
        ceiling = self.ceilings.change(name) if self.ceilings else None
        if isinstance(ceiling, str):
            return {"verdict": "missing", "reason": f"not comparable: {ceiling}"}
        result = difference(a, b, self.noise, ceiling)
        if result is None:
            ratio = finite_exp(b.logs[0] - a.logs[0] + (ceiling[0] if ceiling else 0.0))
            reason = "one round does not show how much rounds differ: time at least two"
            return {"reason": reason, "ratio": ratio}
        return result

    def _judged(self, row: Row, difference: Difference, p_adjusted: float, n_cases: int) -> Row:
        ends = difference.interval
        ratios = [finite_exp(x) for x in (difference.d, *ends)]
        ratio, low, high = (math.inf if x is None else x for x in ratios)
        outcome = verdict(ratio, low, high, margin=self.margin)
        reason = None
        if outcome in ("slower", "faster") and p_adjusted > ALPHA:
            reason = f"{outcome} by itself, not among all cases: {self._remedy(difference)}"
            outcome = "ambiguous"
        elif outcome == "ambiguous":
            reason = f"±{digits(100 * (ends[1] - ends[0]) / 2)} %: {self._remedy(difference)}"
        least = min(difference.detectable(ALPHA / n_cases), LARGEST)
        return dataclasses.replace(
            row,
            verdict=outcome,
            reason=reason,
            ratio=ratios[0],
            interval_95=(ratios[1], ratios[2]),
            p_adjusted=p_adjusted,
            detectable_ratio=finite_exp(least),
        )

    def _remedy(self, difference: Difference) -> str:
        if self.noise.paired:
            return "more rounds or a quieter machine would narrow the interval"
        if 2 * difference.bound > difference.interval[1] - difference.d:
            return "the machine may have changed by that much; --interleave cancels it"
        if difference.rounds_share > 0.5:
            return "more rounds would narrow the interval"
        return "more processes or a quieter machine would narrow the interval"

    def warnings(self, rows: list[Row]) -> list[str]:
        """Return what makes the verdicts less certain than they could be, one sentence each."""
        lines = []
        if rows and self.noise.assumed:
            sd = 100 * math.sqrt(self.noise.prior.variance + self.noise.spread.variance / 2)
            lines.append(
                f"no case was timed in several processes, so a standard deviation of {sd:.2g} % "
                "between two processes is assumed (the spread of all ratios, at least 3 %); a "
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


def digits(value: float) -> str:
    """Return a number with two significant digits, without an exponent where that can be read."""
    return f"{float(f'{value:.2g}'):g}"
