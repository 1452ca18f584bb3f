"""A comparison as text, as Markdown for a pull request, and as JSON.

Ids, labels and reasons come from files, so they may hold control characters and markup. Both are
made visible as plain text.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from bench.comparing.formats import as_json, cell, change, code, interval, p_value
from bench.ledger.folders import PINNED, RunFolder, conditions, duration
from gptcore.console import Table
from gptcore.plain_text import shorten, visible

if TYPE_CHECKING:
    from bench.comparing.verdicts import Comparison, Row


HEADINGS = ("verdict", "change", "95 % interval", "p adj.", "could see", "base", "new")
DECIDE = (
    "Both runs timed in turns (--interleave), more processes or a quieter machine would decide the "
    "ambiguous cases."
)
DECIDE_PAIRED = "More rounds or a quieter machine would decide the ambiguous cases."


def facts(run: RunFolder) -> dict[str, Any]:
    """Return the environment of a run by name; None where it is unknown."""
    environment = run.environment
    last = next(reversed(run.records.values()), None)
    record = environment or last
    return {
        "label": run.label,
        "started_at": record and record["started_at"],
        "commit": record and record["commit"],
        "dirty": run.fact("run", "dirty"),
        "suite": run.fact("run", "suite"),
        "load_before": run.fact("machine", "load_before"),
        "load_after": run.fact("end", "load"),
        **conditions(run),
    }


def describe(run: RunFolder) -> str:
    """Return one line on a run: its name, start time, commit and load."""
    known = facts(run)
    dirty = " with changes" if known["dirty"] else ""
    loads = [known[name] for name in ("load_before", "load_after")]
    load = " → ".join(f"{value:.1f}" for value in loads if isinstance(value, (int, float)))
    parts = [
        shorten(run.label),
        visible(str(known["started_at"] or "time unknown"))[:19],
        f"commit {visible(str(known['commit'] or 'unknown'))[:10]}{dirty}",
    ]
    return ", ".join([*parts, f"load {load}"] if load else parts)


def _machine(run: RunFolder) -> str:
    skipped = {"cpu_flags", "memory_bytes", *PINNED}
    known = conditions(run).items()
    return ", ".join(
        f"{name} {shorten(str(value))}"
        for name, value in known
        if name not in skipped and value not in (None, [])
    )


def summary(comparison: Comparison) -> str:
    """Return the counts of the verdicts, the failures first, as in "1 slower, 5 same"."""
    if comparison.not_comparable:
        return "not comparable"
    counts = [f"{n} {name}" for name, n in comparison.counts.items() if n]
    return ", ".join(counts or ["no timed case"])


def answer(comparison: Comparison) -> str:
    """Return the answer in one sentence."""
    if comparison.not_comparable:
        return "The two runs cannot be compared."
    counts = [(n, name) for name, n in comparison.counts.items() if n]
    if not counts:
        return "No timed case is in both runs."
    words = {"same": f"the same within {100 * comparison.margin:g} %", "not run": "left out"}
    parts = [f"{n} {'is' if n == 1 else 'are'} {words.get(name, name)}" for n, name in counts]
    first_n, rest = parts[0].split(" ", 1)
    parts[0] = f"{first_n} case{'' if first_n == '1' else 's'} {rest}"
    listed = " and ".join(filter(None, [", ".join(parts[:-1]), parts[-1]]))
    return f"In NEW, {listed}{' (by share of the ceilings)' if comparison.normalised else ''}."


def _fields(row: Row) -> tuple[str, ...]:
    return (
        row.verdict,
        change(row.ratio),
        interval(row.interval_95),
        p_value(row.p_adjusted),
        change(row.detectable_ratio),
        duration(row.base_s),
        duration(row.new_s),
    )


def _runs(comparison: Comparison) -> list[str]:
    """Return one line on each run, and one on the machine."""
    machine = _machine(comparison.new) or "a machine that was not recorded"
    return [
        f"BASE {describe(comparison.base)}",
        f"NEW  {describe(comparison.new)}",
        f"on   {machine}",
    ]


def notes(comparison: Comparison) -> list[str]:
    """Return what a reader of the verdicts has to know besides them, one sentence each."""
    decide = DECIDE_PAIRED if comparison.paired else DECIDE
    lines = [decide] if comparison.counts["ambiguous"] else []
    if n := comparison.not_judged:
        cases = "1 case compares" if n == 1 else f"{n} cases compare"
        lines.append(f"{cases} times inside one run (pairs, growth, conditions): not judged here.")
    return lines


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:]


def _text(comparison: Comparison) -> str:
    lines = [answer(comparison)]
    if not comparison.not_comparable:
        lines.append(f"{_sentence(comparison.power)}.")
    lines.append("")
    rows = [row for row in comparison.rows if row.verdict != "same"]
    if rows:
        headings = ("verdict", "change", "95 % interval", "could see", "base", "new", "case")
        lines += [str(Table(headings, [_cells(row) for row in rows])), ""]
    lines += notes(comparison)
    lines += _runs(comparison)
    return "\n".join([*lines, *(f"warning: {warning}" for warning in comparison.warnings)])


def _cells(row: Row) -> tuple[str, ...]:
    verdict, size, ends, _, seen, base, new = _fields(row)
    case = visible(row.case) + (f"\n({visible(row.reason)})" if row.reason else "")
    return verdict, size, ends, seen, base, new, case


def _markdown(comparison: Comparison) -> str:
    title = f"**{summary(comparison)}** · {code(shorten(comparison.base.label))} → "
    lines = [
        f"{title}{code(shorten(comparison.new.label))}, margin {100 * comparison.margin:g} %",
        "",
    ]
    if not comparison.not_comparable:
        lines += [f"{_sentence(comparison.power)}.", ""]
    lines += [f"- not comparable: {cell(reason)}" for reason in comparison.not_comparable]
    shown = [row for row in comparison.rows if row.verdict != "same"]
    same = [row for row in comparison.rows if row.verdict == "same"]
    lines += _markdown_table(shown)
    if same:
        lines += _folded(f"{len(same)} same", _markdown_table(same))
    told = [*comparison.warnings, *_runs(comparison), *notes(comparison)]
    told.append(
        f"p-values are adjusted for all cases (Holm); {comparison.untimed} cases without times are "
        "in both runs"
    )
    return "\n".join(
        [*lines, *_folded("conditions and warnings", [f"- {cell(note)}" for note in told])]
    )


def _markdown_table(rows: Iterable[Row]) -> list[str]:
    body = [
        "| " + " | ".join([*map(cell, _fields(row)), code(row.case), cell(row.reason or "")]) + " |"
        for row in rows
    ]
    if not body:
        return []
    head = "| " + " | ".join([*HEADINGS, "case", "why"]) + " |"
    return [head, "|---|--:|--:|--:|--:|--:|--:|---|---|", *body, ""]


def _folded(title: str, lines: list[str]) -> list[str]:
    return [f"<details><summary>{title}</summary>", "", *lines, "", "</details>", ""]


def _json(comparison: Comparison) -> str:
    return as_json(
        {
            "base": comparison.base.label,
            "new": comparison.new.label,
            "margin": comparison.margin,
            "normalised": comparison.normalised,
            "counts": comparison.counts,
            "untimed": comparison.untimed,
            "not_judged": comparison.not_judged,
            "paired": comparison.paired,
            "detectable_ratio": comparison.detectable_ratio,
            "not_comparable": comparison.not_comparable,
            "warnings": comparison.warnings,
            "conditions": {"base": facts(comparison.base), "new": facts(comparison.new)},
            "cases": [dataclasses.asdict(row) for row in comparison.rows],
        }
    )


FORMATS: dict[str, Callable[[Comparison], str]] = {"text": _text, "md": _markdown, "json": _json}
