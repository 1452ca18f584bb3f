"""Runs → one self-contained page, HTML or Markdown.

A page is built in two steps: sections (plain data: words, tables, figures), then a template. All
that reaches a template passes `_show`, so no hidden character of any input survives.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from bench.ledger import plain_text
from reports import findings, words
from reports.blocks import Finding, Plotter, Section, Table
from reports.load import Run
from reports.topics import cost, memory, run
from reports.topics import environment as environment_topic
from reports.topics.batches import throughput_section
from reports.topics.convergence.section import convergence_section, text_section
from reports.topics.peers import section as peers_section
from reports.topics.position import position_section
from reports.topics.run import not_run_section
from reports.topics.sampling.section import sampling_section
from reports.topics.scaling import section as scaling_section
from reports.topics.speed.section import speed_section
from reports.topics.trust import section as trust_section

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
    environment: list[Table]
    origins: list[tuple[str, str | None]]
    """Each command with its commit, as recorded."""
    anchors: dict[str, str]
    """Case id → id of its entry under "All cases"."""


def render(runs: list[Run], form: str) -> tuple[str, list[Finding]]:
    """Return the page, and the findings of all runs, the most important first.

    Args:
        runs: at least one.
        form: "html" or "md".
    """
    pages = [run_page(run, f"run{i}", form == "html") for i, run in enumerate(runs, start=1)]
    templates = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=form == "html",
        finalize=_show,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters["cell"] = _markdown_cell
    page = templates.get_template(f"report.{form}").render(
        pages=pages,
        glossary=run.glossary([record for run in runs for record in run.everything]),
        metric=words.metric,
        case_facts=environment_topic.case_facts,
    )
    merged = [f for page in pages for f in page.findings]
    return page, sorted(merged, key=lambda finding: -finding.importance)


def _show(value: Any) -> Any:
    """Make hidden characters of a value visible; what is markup already is left alone."""
    return (
        words.visible(value) if isinstance(value, str) and not hasattr(value, "__html__") else value
    )


def _markdown_cell(text: str) -> str:
    """Return `text` so that Markdown shows it as it is, in one line."""
    line = words.visible(" ".join(str(text).split(" ")).replace("\n", " "))
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    for char in "\\`*_[]|$~#":
        line = line.replace(char, f"\\{char}")
    return line


def run_page(run: Run, anchor: str, with_figures: bool) -> RunPage:
    """Return all that is said about one run."""
    plot = Plotter(anchor, with_figures)
    found = findings.find(run)
    return RunPage(
        anchor=anchor,
        run=run,
        verdict=findings.verdict(found),
        findings=found,
        sections=sections_of(run, plot),
        summary=_summary(run),
        environment=environment_topic.environment(run),
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


def sections_of(run: Run, plot: Plotter) -> list[Section]:
    """Return all sections of a run, in the order of the page."""
    return [
        speed_section(run, plot),
        *cost.cost_section(run, plot),
        *peers_section.peers_section(run, plot),
        *memory.memory_section(run, plot),
        *trust_section.trust_section(run, plot),
        throughput_section(run),
        sampling_section(run, plot),
        position_section(run, plot),
        convergence_section(run, plot),
        *scaling_section.scaling_section(run, plot),
        text_section(run),
        not_run_section(run),
    ]
