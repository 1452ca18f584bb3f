"""Runs → one self-contained page, HTML or Markdown.

A page is built in two steps: sections (plain data: words, tables, figures), then a template. All
that reaches a template passes a function of `FINALIZE`, so no text of a ledger becomes markup, and
no hidden character survives.
"""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from bench.ledger.record import Record
from bench.ledger.schema import METRICS
from gptcore import plain_text
from reports import changed, findings, history, markdown, words
from reports.blocks import Finding, Plotter, Room, Section, Table, cut, table
from reports.explorer import Explorer, data_block, explorer
from reports.first_screen import FirstScreen, first_screen
from reports.load import Run
from reports.terms import Explainer
from reports.topics import sections_of

MAX_FINDINGS, MAX_LINES = 120, 60
"""What the page of one run holds at most, and those of several share: findings, and lines of
warnings and of commands."""
LONG, SHOWN_AT_ONCE = 420, 330
"""Characters from which on the end of the text of a finding is folded, and of what stands open."""
TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class RunPage:
    """All that is said about one run."""

    anchor: str
    run: Run
    first: FirstScreen
    findings: list[Finding]
    """Those that stand in no section."""
    changed: Section | None
    """What changed since a base run, where there is one."""
    sections: list[Section]
    empty: list[Section]
    """Those that only say why they hold nothing."""
    summary: list[str]
    """Machine, threads, versions and date, as far as they are known."""
    origins: list[tuple[str, str | None]]
    """Each command with its commit, as recorded."""
    citation: str
    explorer: Explorer

    @property
    def anchors(self) -> dict[str, str]:
        """Return case id → id of its entry in the explorer, of the entries on the page."""
        return {entry.name: entry.anchor for entry in self.explorer.shown}


def render(
    runs: list[Run], output_format: str, base: Run | None = None
) -> tuple[str, list[Finding]]:
    """Return the page, and the findings of all runs, the most important first.

    Args:
        runs: at least one.
        output_format: "html" or "md".
        base: an earlier run that each of them is compared with.
    """
    room, with_figures = Room(len(runs)), output_format == "html"
    claims = [most_important(findings.find(run), room.share(MAX_FINDINGS)) for run in runs]
    pages = [
        run_page(run, found, f"run{i}", Plotter(f"run{i}", with_figures, room), base)
        for i, (run, found) in enumerate(zip(runs, claims, strict=True), start=1)
    ]
    metrics = glossary([record for run in runs for record in run.everything])
    data = {page.anchor: page.explorer.data for page in pages}
    name = f"report.{output_format}"
    text = fill(output_format, name, room, pages=pages, metrics=metrics, data=data)
    merged = [finding for found in claims for finding in found]
    return text, sorted(merged, key=lambda finding: -finding.importance)


def render_index(folder: Path, output_format: str) -> tuple[str, str]:
    """Return the page of a folder of runs, and its answer."""
    page = history.index_page(folder, output_format == "html")
    return fill(output_format, f"index.{output_format}", Room(), page=page, data={}), page.answer


def fill(output_format: str, name: str, room: Room, **values: Any) -> str:
    """Return a template filled with values, of which none becomes markup."""
    templates = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        finalize=FINALIZE[output_format],
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    explainer = Explainer(output_format)
    templates.filters |= {
        "code": markdown.code, "cut": cut, "data": data_block, "explain": explainer.explain,
        "parted": parted,
    }  # fmt: skip
    script = (TEMPLATES / "page.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return templates.get_template(name).render(
        script=Markup(script),
        script_sha256=digest,
        terms=explainer.glossary,
        at_most=room.share(MAX_LINES),
        **values,
    )


def parted(text: str) -> tuple[str, str]:
    """Return the first sentences of a long text, which are shown at once, and the others."""
    sentences = re.split(r"(?<=[.!?]) (?=[A-Z])", text)
    if len(text) <= LONG:
        return text, ""
    ends = list(accumulate(len(sentence) + 1 for sentence in sentences))
    n = max(1, sum(end <= SHOWN_AT_ONCE for end in ends))
    return " ".join(sentences[:n]), " ".join(sentences[n:])


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


def run_page(
    run: Run, claims: list[Finding], anchor: str, plot: Plotter, base: Run | None
) -> RunPage:
    """Return all that is said about one run, in its share of the page."""
    first = first_screen(run, claims)
    sections, others = _with_findings(sections_of(run, plot), claims)
    empty = [part for part in sections if part.is_empty]
    linked = [case for claim in claims for case in claim.evidence]
    linked += [case for advice in first.advice for case in advice.cases]
    return RunPage(
        anchor=anchor,
        run=run,
        first=first,
        findings=others,
        changed=changed.section(base, run) if base else None,
        sections=[part for part in sections if not part.is_empty],
        empty=empty,
        summary=_summary(run),
        origins=list(dict.fromkeys((r["command"], r["commit"]) for r in run.everything)),
        citation=_citation(run),
        explorer=explorer(run, anchor, linked, plot.room.runs),
    )


def _with_findings(
    sections: list[Section], claims: list[Finding]
) -> tuple[list[Section], list[Finding]]:
    """Return the sections with the findings of their topic in the first of it; and the others."""
    waiting: dict[str, list[Finding]] = {}
    for claim in claims:
        waiting.setdefault(claim.module, []).append(claim)
    placed = [replace(part, findings=waiting.pop(part.module, [])) for part in sections]
    return placed, [claim for claim in claims if claim.module in waiting]


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


def _citation(run: Run) -> str:
    """Return the line under which a run can be cited."""
    commit = next((str(r["commit"])[:10] for r in run.everything if r["commit"]), "unknown")
    parts = [f"run {run.label}", f"commit {commit}", *_summary(run)]
    shown = ", ".join(plain_text.shorten(part, 120) for part in parts)
    return f"gptcore, Small-GPT training benchmark: {shown}."


def glossary(records: list[Record]) -> Table:
    """Return the meaning of every metric that occurs in `records`, in the order of the schema."""
    used = {name for record in records for name in record["metrics"]}
    rows = [(name, key.unit, _meaning(name)) for name, key in METRICS.items() if name in used]
    return table("What every metric in this report means.", ("Metric", "Unit", "Meaning"), rows)


def _meaning(name: str) -> str:
    expected = "exact expectation of: " if name.startswith("expected_") else ""
    return expected + METRICS[name].meaning
