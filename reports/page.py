"""Runs → one self-contained page, HTML or Markdown.

A page is built in two steps: sections (plain data: words, tables, figures), then a template. All
that reaches a template passes a function of `FINALIZE`, so no text of a ledger becomes markup, and
no hidden character survives.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from bench.ledger.record import Record
from bench.ledger.schema import METRICS
from gptcore import plain_text
from reports import findings, markdown, words
from reports.blocks import Finding, Plotter, Section, Table, table
from reports.facts import case_facts
from reports.load import Run
from reports.topics import sections_of

MAX_TEXT = 500
"""Characters of a text in a record of the page, at most."""
MAX_IN_WORDS = 500
"""Records whose numbers are also given in words; with more of them a page would be too large."""
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


def render(runs: list[Run], output_format: str) -> tuple[str, list[Finding]]:
    """Return the page, and the findings of all runs, the most important first.

    Args:
        runs: at least one.
        output_format: "html" or "md".
    """
    pages = [
        run_page(run, f"run{i}", output_format == "html") for i, run in enumerate(runs, start=1)
    ]
    templates = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        finalize=FINALIZE[output_format],
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters["code"] = markdown.code
    page = templates.get_template(f"report.{output_format}").render(
        pages=pages,
        glossary=glossary([record for run in runs for record in run.everything]),
        metric=words.metric,
        case_facts=case_facts,
        raw=raw_record,
        in_words=MAX_IN_WORDS,
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


def run_page(run: Run, anchor: str, with_figures: bool) -> RunPage:
    """Return all that is said about one run."""
    plot = Plotter(anchor, with_figures)
    claims = findings.find(run)
    return RunPage(
        anchor=anchor,
        run=run,
        verdict=findings.verdict(claims),
        findings=claims,
        sections=sections_of(run, plot),
        summary=_summary(run),
        origins=list(dict.fromkeys((r["command"], r["commit"]) for r in run.everything)),
        anchors={case: f"{anchor}-case{i}" for i, case in enumerate(run.records, start=1)},
    )


def _summary(run: Run) -> list[str]:
    """Return where, with what and when the run was measured, as far as it is known."""
    records = run.everything
    torch, suite = run.fact("software", "torch"), run.fact("run", "suite")
    threads = run.fact("run", "threads")
    parts = [
        run.fact("machine", "cpu"),
        f"{threads} threads" if threads else None,
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
