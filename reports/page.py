"""Runs → one self-contained page, HTML or Markdown.

A page is built in two steps: sections (plain data: words, tables, figures), then a template. All
that reaches a template passes a function of `FINALIZE`, so no text of a ledger becomes markup, and
no hidden character survives.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from bench.ledger.record import Record
from bench.ledger.schema import METRICS
from gptcore import plain_text
from reports import findings, markdown, words
from reports.blocks import Finding, Plotter, Room, Section, Table, cut, table
from reports.facts import case_facts
from reports.load import Run
from reports.topics import sections_of

MAX_TEXT = 500
"""Characters of a text in a record of the page, at most."""
MAX_IN_WORDS, MAX_FINDINGS, MAX_LINES, MAX_RECORDS = 500, 120, 60, 3_000_000
"""What the page of one run holds at most, and those of several share: records whose numbers are
also given in words, findings, lines of warnings and of commands, and characters of records."""
TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class RunPage:
    """All that is said about one run."""

    anchor: str
    run: Run
    verdict: str
    findings: list[Finding]
    sections: list[Section]
    summary: list[str]
    """Machine, threads, versions and date, as far as they are known."""
    origins: list[tuple[str, str | None]]
    """Each command with its commit, as recorded."""
    anchors: dict[str, str]
    """Case id → id of its entry under "All cases"."""
    raw: dict[str, Markup]
    """Id of a case or an environment → its record as text; those that the page has room for."""


def render(runs: list[Run], output_format: str) -> tuple[str, list[Finding]]:
    """Return the page, and the findings of all runs, the most important first.

    Args:
        runs: at least one.
        output_format: "html" or "md".
    """
    room, with_figures = Room(len(runs)), output_format == "html"
    pages = [run_page(run, f"run{i}", with_figures, room) for i, run in enumerate(runs, start=1)]
    templates = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        finalize=FINALIZE[output_format],
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters |= {"code": markdown.code, "cut": cut}
    page = templates.get_template(f"report.{output_format}").render(
        pages=pages,
        glossary=glossary([record for run in runs for record in run.everything]),
        metric=words.metric,
        case_facts=case_facts,
        in_words=room.share(MAX_IN_WORDS),
        at_most=room.share(MAX_LINES),
    )
    merged = [f for page in pages for f in page.findings]
    return page, sorted(merged, key=lambda finding: -finding.importance)


def _cut(value: Any) -> Any:
    """Return a JSON value with its long texts cut: one record may hold megabytes of them."""
    if isinstance(value, dict):
        return {_cut(key): _cut(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_cut(item) for item in value]
    is_long = isinstance(value, str) and len(value) > MAX_TEXT
    return f"{value[:MAX_TEXT]}…" if is_long else value


def raw_record(record: Record) -> Markup:
    """Return a record as it stands in the ledger, long texts cut.

    It is ASCII, so that no character of it is hidden.
    """
    text = json.dumps(_cut(record))
    for char, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
        text = text.replace(char, entity)
    return Markup(text)


def _show(value: Any) -> Any:
    """Make the hidden characters of a text visible; return markup and other values unchanged."""
    is_plain = isinstance(value, str) and not hasattr(value, "__html__")
    return plain_text.visible(value, keep="\n\t") if is_plain else value


def _show_markdown(value: Any) -> Any:
    """Write a text as Markdown that renders as it is; return markup unchanged."""
    return value if hasattr(value, "__html__") else markdown.escape(value)


FINALIZE = {"html": _show, "md": _show_markdown}
"""What every value goes through on its way into a template, by format."""


def most_important(claims: list[Finding], most: int) -> list[Finding]:
    """Return the first findings, with one that counts the others."""
    kept = [replace(f, headline=cut(f.headline), detail=cut(f.detail)) for f in claims[:most]]
    if len(claims) > most:
        more = f"{len(claims) - most:,} more findings are left out"
        detail = "They are less important. The ledger holds all numbers behind them."
        kept.append(Finding(0, "run", "", more, detail))
    return kept


def raw_records(run: Run, first: Iterable[str], room: int) -> dict[str, Markup]:
    """Return records as text: those named `first`, then the others in turn while there is room."""
    every, linked = {**run.records, **run.environments}, set(first)
    kept: dict[str, Markup] = {}
    for name in sorted(every, key=lambda name: name not in linked):
        text = raw_record(every[name])
        if len(text) <= room:
            room -= len(text)
            kept[name] = text
        elif name in linked:
            kept[name] = Markup("This record is too long for the page.")
        else:
            break
    return kept


def run_page(run: Run, anchor: str, with_figures: bool, room: Room) -> RunPage:
    """Return all that is said about one run, in its share of the page."""
    plot = Plotter(anchor, with_figures, room)
    claims = most_important(findings.find(run), room.share(MAX_FINDINGS))
    evidence = [case for claim in claims for case in claim.evidence]
    return RunPage(
        anchor=anchor,
        run=run,
        verdict=findings.verdict(claims),
        findings=claims,
        sections=sections_of(run, plot),
        summary=_summary(run),
        origins=list(dict.fromkeys((r["command"], r["commit"]) for r in run.everything)),
        anchors={case: f"{anchor}-case{i}" for i, case in enumerate(run.records, start=1)},
        raw=raw_records(run, evidence, room.share(MAX_RECORDS)) if with_figures else {},
    )


def _summary(run: Run) -> list[str]:
    """Return where, with what and when the run was measured, as far as it is known."""
    records = run.everything
    torch, suite = run.fact("software", "torch"), run.fact("run", "suite")
    threads = run.fact("run", "threads")
    parts = [
        run.fact("machine", "cpu"),
        words.count(threads, "thread") if isinstance(threads, int) else None,
        f"torch {torch}" if torch else None,
        f"suite {suite}" if suite else None,
        min(r["started_at"] for r in records)[:10] if records else None,
    ]
    return [plain_text.shorten(str(part), 60) for part in parts if part]


def glossary(records: list[Record]) -> Table:
    """Return the meaning of every metric that occurs in `records`, in the order of the schema."""
    used = {name for record in records for name in record["metrics"]}
    rows = [(name, key.unit, _meaning(name)) for name, key in METRICS.items() if name in used]
    return table("What every metric in this report means.", ("Metric", "Unit", "Meaning"), rows)


def _meaning(name: str) -> str:
    expected = "exact expectation of: " if name.startswith("expected_") else ""
    return expected + METRICS[name].meaning
