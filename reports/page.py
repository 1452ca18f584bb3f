"""Runs → one self-contained page, HTML or Markdown.

A page is built in two steps: sections (plain data: words, tables, figures), then a template. All
that reaches a template passes `_show`, so no hidden character of any input survives.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure

from bench.record import Record
from reports import figures, findings, tables, words
from reports.findings import Finding
from reports.load import Run
from reports.tables import Table

TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class Plot:
    """A figure, and the words that stand for it where it cannot be seen."""

    title: str
    caption: str
    alt: str
    svg: Markup


@dataclass(frozen=True)
class Text:
    """Text that a model wrote, before or after training."""

    when: str
    source: str
    prompt: str
    text: str


@dataclass(frozen=True)
class Section:
    """One question of the report with all that answers it; `missing` says what is not there."""

    anchor: str
    short: str
    """Its name in the table of contents."""
    title: str
    intro: str
    plots: list[Plot] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    texts: list[Text] = field(default_factory=list)
    missing: str = ""


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


Draw = Callable[[pd.DataFrame], Figure]


class Plotter:
    """Draws figures with names that are unique inside one page."""

    def __init__(self, prefix: str, enabled: bool) -> None:
        self.prefix, self.enabled, self.drawn = prefix, enabled, 0

    def __call__(
        self, draw: Draw, data: pd.DataFrame, title: str, caption: str, alt: str
    ) -> list[Plot]:
        """Return the figure in a list, an empty list if there is nothing to draw."""
        if data.empty or not self.enabled:
            return []
        self.drawn += 1
        drawing = figures.svg(draw, data, f"{self.prefix}-f{self.drawn}")
        return [Plot(title, caption, alt, Markup(drawing))]


def render(runs: list[Run], form: str) -> tuple[str, list[Finding]]:
    """Return the page, and the findings of all runs, the most important first.

    Args:
        runs: at least one.
        form: "html" or "md".
    """
    pages = [run_page(run, f"run{i}", form == "html") for i, run in enumerate(runs, start=1)]
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=form == "html",
        finalize=_show,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["cell"] = _markdown_cell
    page = environment.get_template(f"report.{form}").render(
        pages=pages,
        glossary=tables.glossary([r for run in runs for r in [*run.records, *run.environments]]),
        metric=words.metric,
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
    everything = [*run.environments, *run.records]
    sections = [
        speed_section(run, plot),
        sampling_section(run, plot),
        convergence_section(run, plot),
        text_section(run),
        not_run_section(run),
    ]
    return RunPage(
        anchor=anchor,
        run=run,
        verdict=findings.verdict(found),
        findings=found,
        sections=sections,
        summary=_summary(run),
        environment=tables.environment(run),
        origins=list(dict.fromkeys((r["command"], r["commit"]) for r in everything)),
        anchors={r["case"]: f"{anchor}-case{i}" for i, r in enumerate(run.records, start=1)},
    )


def _summary(run: Run) -> list[str]:
    """Return where, with what and when the run was measured, as far as it is known."""
    records = [*run.environments, *run.records]
    torch, suite = run.fact("software", "torch"), run.fact("run", "suite")
    threads = run.fact("run", "threads")
    parts = [
        run.fact("machine", "cpu"),
        f"{threads} threads" if threads else None,
        f"torch {torch}" if torch else None,
        f"suite {suite}" if suite else None,
        min(r["started_at"] for r in records)[:10] if records else None,
    ]
    return [words.shorten(str(part), 60) for part in parts if part]


def _missing(run: Run, group: str, what: str) -> str:
    lost = [r for r in run.unfinished if r["group"] == group]
    if lost:
        return (
            f"No {what} finished in this run; {words.count(len(lost), 'case')} did not: see below."
        )
    return (
        f"This ledger holds no {what}: the suite does not include them, or the run was cut short."
    )


def speed_section(run: Run, plot: Plotter) -> Section:
    """Return how fast the models ran, and how far that is from what the machine can do."""
    models = run.cases("model")
    models = models[models["time_s"].notna()]
    plots: list[Plot] = []
    if not models.empty:
        labels = models.apply(tables.case_label, axis=1)
        work = models["work"].map(words.work)
        steps = models.assign(label=labels)
        steps = steps[steps[list(findings.PHASES)].sum(axis=1) > 0]
        shares = models.assign(label=work + ": " + labels).dropna(subset=["mfu"])
        plots += plot(
            figures.phases, steps, "Where the time of a step goes",
            "One bar is one training step. The longest part is where a speed-up would pay.",
            "Stacked bars of seconds per phase. " + " ".join(map(_phases_alt, _rows(steps))),
        )  # fmt: skip
        plots += plot(
            figures.share_of_peak, shares, "Share of the measured peak",
            "The line at 100 % is the fastest matrix product that this machine reached, at the "
            "same precision. Blue is fp32, orange any other precision.",
            "Bars of the share of peak. "
            + " ".join(f"{r['label']}: {words.percent(r['mfu'])}." for r in _rows(shares)),
        )  # fmt: skip
    return Section(
        "speed",
        "Speed",
        "How fast is it here?",
        "Each case was warmed up and then timed over several rounds. The share of peak sets the "
        "useful arithmetic of a model against the best matrix product of this machine: far below "
        f"100{words.NBSP}% means that something other than arithmetic takes the time.",
        plots,
        [tables.speed(models), tables.ceilings(run)] if not models.empty else [],
        missing=_missing(run, "model", "timing") if models.empty else "",
    )


def _rows(frame: pd.DataFrame) -> list[dict[Any, Any]]:
    return frame.to_dict("records")


def _phases_alt(case: dict[Any, Any]) -> str:
    parts = [f"{phase} {words.si(case[key], 's')}" for key, phase in findings.PHASES.items()]
    return f"{case['label']}: {', '.join(parts)}."


def _by_setting(*frames: pd.DataFrame) -> Iterator[tuple[str, list[pd.DataFrame]]]:
    """Yield each setting of the first frame, with the part of every frame that belongs to it."""
    for name in dict.fromkeys(frames[0]["setting"]):
        yield name, [frame[frame["setting"] == name] for frame in frames]


def _longest(frame: pd.DataFrame) -> pd.DataFrame:
    """Return, of each sampler, the case with the most epochs."""
    order = frame.sort_values("epochs", kind="stable")
    return order.drop_duplicates("variant", keep="last").sort_index()


def sampling_section(run: Run, plot: Plotter) -> Section:
    """Return what each sampler showed the model, against theory."""
    cases = run.cases("coverage")
    plots, shown = [], []
    series = [
        run.series("coverage", name)
        for name in ("coverage_curve", "visits_histogram", "visits_by_position")
    ]
    for setting, (part, curves, histogram, position) in _by_setting(cases, *series):
        last = _longest(part)
        curves, histogram, position = (
            frame[frame["case"].isin(last["case"])] for frame in (curves, histogram, position)
        )
        numbers = " ".join(
            f"{r['variant']}: {words.number(r['missed_targets'])} targets missed after "
            f"{words.number(r['epochs'])} epoch-equivalents, visits from "
            f"{words.number(r['visits_min'])} to {words.number(r['visits_max'])}."
            for r in _rows(last)
        )
        curves = curves.dropna(subset=["epochs", "covered"])
        plots += plot(
            figures.covered, curves, "How much of the text was shown",
            "Lines are observed, circles exact theory where it is known; equal lines lie on each "
            f"other. {setting}.",
            f"Share of targets shown at least once against epochs. {numbers}",
        )  # fmt: skip
        plots += plot(
            figures.missed, curves, "How much was still missing",
            f"Each grid line is ten times less. A line that ends has reached zero. {setting}.",
            f"Share of targets not shown yet, logarithmic, against epochs. {numbers}",
        )  # fmt: skip
        longest = f"At the most epochs measured. {setting}."
        plots += plot(
            figures.visits, histogram.dropna(subset=["visits", "targets"]),
            "How often a target was shown",
            f"A single bar is an even diet; a wide hill is chance. {longest}",
            f"Histogram of visits per target, by sampler. {numbers}",
        )  # fmt: skip
        plots += plot(
            figures.positions, position.dropna(subset=["visits_min", "visits_max"]),
            "Where in the text it was shown",
            f"Line: mean of each hundredth of the text. Band: least and most shown. {longest}",
            f"Visits along the training part, by sampler. {numbers}",
        )  # fmt: skip
        shown.append(_titled(tables.coverage(part), setting))
    return Section(
        "sampling",
        "Sampling",
        "What did the sampling show the model?",
        "A target is a token that the model is asked to predict. One epoch-equivalent feeds as "
        "many tokens as the training part holds; random windows then repeat some and miss others. "
        "z is how many standard deviations the observed number lies from exact theory: within "
        "about ±2 is what chance gives.",
        plots,
        shown,
        missing=_missing(run, "coverage", "coverage case") if cases.empty else "",
    )


def _titled(table: Table, setting: str) -> Table:
    return Table(f"{table.caption} {setting}.", table.columns, table.rows, table.numeric)


def convergence_section(run: Run, plot: Plotter) -> Section:
    """Return whether training learned, and which sampler ended lower."""
    cases, comparisons = run.cases("convergence"), run.cases("comparison")
    plots, shown = [], []
    series = [run.series("convergence", name) for name in ("loss_curve", "test_curve")]
    for setting, (part, train, test) in _by_setting(cases, *series):
        test = test.merge(part[["case", "unigram_test_loss"]], on="case")
        test = test.rename(columns={"unigram_test_loss": "unigram"})
        seeds = "Line: mean over seeds. Band: lowest to highest seed."
        ends = " ".join(
            f"{variant}: final test loss {words.loss(rows['final_test_loss'].mean())}."
            for variant, rows in part.groupby("variant", sort=False)
        )
        plots += plot(
            figures.test_loss, test.dropna(subset=["tokens", "loss"]), "Loss on unseen text",
            f"{seeds} Below the dotted line the model knows more than how frequent tokens are. "
            f"{setting}.",
            f"Test loss against training tokens, by sampler. {ends}",
        )  # fmt: skip
        plots += plot(
            figures.train_loss, train.dropna(subset=["tokens", "loss"]), "Loss while training",
            f"{seeds} {setting}.",
            f"Training loss against training tokens, by sampler. {ends}",
        )  # fmt: skip
        shown.append(_titled(tables.training(part), setting))
    points = {r["case"]: r["samples"].get("difference", []) for r in run.finished}
    comparisons = comparisons[comparisons["difference"].notna()]
    names = comparisons["corpus"].map(str)
    for name in dict.fromkeys(names):
        pairs = comparisons[names == name]
        corpus = f"Corpus: {words.corpus(pairs['corpus'].iloc[0])}"
        plots += plot(
            figures.differences, pairs.assign(points=pairs["case"].map(points)),
            "Which sampler ended lower",
            "First minus second: left of zero, the first is better. Circles: one seed each. "
            "Diamond and bar: mean and 95 % interval. Shade: differences too small to matter. "
            f"{corpus}.",
            "Paired differences with intervals. "
            + " ".join(
                f"{words.sampler(r['a'])} minus {words.sampler(r['b'])}: "
                f"{words.signed(r['difference'])}, "
                f"{words.interval(r['difference_low'], r['difference_high'])}."
                for r in _rows(pairs)
            ),
        )  # fmt: skip
        shown.append(_titled(tables.comparisons(pairs), corpus))
    return Section(
        "convergence",
        "Convergence",
        "Did it converge, and which sampler ended better?",
        "Each seed trains every sampler from the same initial weights, so differences are taken "
        "within a seed. An interval that spans zero resolves no difference; that alone does not "
        "make two samplers equal, which needs the equivalence test against the margin.",
        plots,
        shown,
        missing=_missing(run, "convergence", "training run") if cases.empty else "",
    )


def text_section(run: Run) -> Section:
    """Return what the models wrote before and after training: of each sampler, the first seed."""
    rows = run.series("convergence", "generated")
    first = rows.drop_duplicates(["setting", "variant"])["case"]
    rows = rows[rows["case"].isin(first)]
    texts = [
        Text(str(r["when"]), f"{r['variant']}, seed {r['seed']}", str(r["prompt"]), str(r["text"]))
        for r in _rows(rows)
    ]
    return Section(
        "text",
        "Generated text",
        "What does it write?",
        "The same prompt, continued before and after training. An anecdote, not a measurement: "
        "read it for its form (line breaks, punctuation, words), not for its sense.",
        texts=texts,
        missing="" if texts else "This ledger holds no generated text.",
    )


def not_run_section(run: Run) -> Section:
    """Return what did not run, and why."""
    lost: list[Record] = run.unfinished
    return Section(
        "missing",
        "Not run",
        "What did not run, and why?",
        "Failed cases broke off with an error; skipped ones were not tried here. Neither is part "
        "of any number above.",
        tables=[tables.not_run(lost)] if lost else [],
        missing="" if lost else "Every case in the ledger finished.",
    )
