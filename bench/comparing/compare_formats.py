"""Comparisons and histories as text, Markdown for a pull request, and JSON.

Ids, labels and reasons come from files: nothing in them may steer a terminal or mark up a page.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from bench.comparing.formats import as_json, cell, change, code, interval, p_value
from bench.ledger.folders import PINNED, RunFolder, conditions, duration
from bench.ledger.plain_text import shorten, visible

if TYPE_CHECKING:
    from bench.comparing.compare import Comparison, Row


HEADINGS = ("verdict", "change", "95 % interval", "p adj.", "base", "new")
SETTLE = "more rounds (a larger suite), more processes or a quieter machine would settle them"


def facts(run: RunFolder) -> dict[str, Any]:
    """Return the conditions of a run, for those who read its numbers; None is unknown."""
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
    """Return one line on a run: its name, time, commit and load."""
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


def summary(found: Comparison) -> str:
    """Return the counts in words, the failures first."""
    if found.not_comparable:
        return "not comparable"
    counts = [f"{n} {name}" for name, n in found.counts.items() if n]
    return ", ".join(counts or ["no timed case"])


def _fields(row: Row) -> tuple[str, ...]:
    return (
        row.verdict,
        change(row.ratio),
        interval(row.interval_95),
        p_value(row.p_adjusted),
        duration(row.base_s),
        duration(row.new_s),
    )


def _conditions(found: Comparison) -> list[str]:
    what = "share of the ceiling" if found.normalised else "time"
    lines = [
        f"BASE {describe(found.base)}",
        f"NEW  {describe(found.new)}",
        f"on   {_machine(found.new) or 'a machine that was not recorded'}",
        f"{what}, margin {100 * found.margin:g} %, p-values adjusted for all cases (Holm); "
        f"{found.untimed} cases without times are in both",
    ]
    if found.counts["ambiguous"]:
        lines.append(f"{found.counts['ambiguous']} ambiguous: {SETTLE}")
    return lines


def _text(found: Comparison) -> str:
    lines = _conditions(found) if not found.not_comparable else _conditions(found)[:2]
    lines += [f"warning: {warning}" for warning in found.warnings]
    compared = [row for row in found.rows if row.ratio is not None]
    widths = [
        max(map(len, column)) for column in zip(HEADINGS, *map(_fields, compared), strict=True)
    ]
    widths[0] = max(map(len, (HEADINGS[0], *found.counts)))
    lines += ["", _aligned(HEADINGS, widths, "case")] if compared else [""]
    for row in found.rows:
        name, reason = visible(row.case), visible(row.reason or "")
        if row.ratio is None:
            lines.append(f"{row.verdict:<{widths[0]}}  {name} ({reason})")
            continue
        lines.append(_aligned(_fields(row), widths, name))
        lines += [f"{'':<{widths[0]}}  {reason}"] if reason else []
    return "\n".join([*lines, "", summary(found)])


def _aligned(fields: Sequence[str], widths: Sequence[int], name: str) -> str:
    padded = [f"{f:>{w}}" for f, w in zip(fields[1:], widths[1:], strict=True)]
    return "  ".join([f"{fields[0]:<{widths[0]}}", *padded, name])


def _markdown(found: Comparison) -> str:
    title = f"**{summary(found)}** · {code(shorten(found.base.label))} → "
    lines = [f"{title}{code(shorten(found.new.label))}, margin {100 * found.margin:g} %", ""]
    lines += [f"- not comparable: {cell(reason)}" for reason in found.not_comparable]
    shown = [row for row in found.rows if row.verdict != "same"]
    same = [row for row in found.rows if row.verdict == "same"]
    lines += _markdown_table(shown)
    if same:
        lines += _folded(f"{len(same)} same", _markdown_table(same))
    notes = [f"- {cell(line)}" for line in (*found.warnings, *_conditions(found))]
    return "\n".join([*lines, *_folded("conditions and warnings", notes)])


def _markdown_table(rows: Iterable[Row]) -> list[str]:
    body = [
        "| " + " | ".join([*map(cell, _fields(row)), code(row.case), cell(row.reason or "")]) + " |"
        for row in rows
    ]
    if not body:
        return []
    head = "| " + " | ".join([*HEADINGS, "case", "why"]) + " |"
    return [head, "|---|--:|--:|--:|--:|--:|---|---|", *body, ""]


def _folded(title: str, lines: list[str]) -> list[str]:
    return [f"<details><summary>{title}</summary>", "", *lines, "", "</details>", ""]


def _json(found: Comparison) -> str:
    return as_json(
        {
            "base": found.base.label,
            "new": found.new.label,
            "margin": found.margin,
            "normalised": found.normalised,
            "counts": found.counts,
            "untimed": found.untimed,
            "not_comparable": found.not_comparable,
            "warnings": found.warnings,
            "conditions": {"base": facts(found.base), "new": facts(found.new)},
            "cases": [dataclasses.asdict(row) for row in found.rows],
        }
    )


FORMS: dict[str, Callable[[Comparison], str]] = {"text": _text, "md": _markdown, "json": _json}
