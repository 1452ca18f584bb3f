"""A run beside an earlier one → what changed, as a section: verdicts of `python -m bench compare`.

The comparison needs scipy, so it is imported where a base run is given
(docs/decisions/0052-what-changed-on-the-page.md).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gptcore import plain_text
from reports import words
from reports.blocks import Section, Table, first_rows, table
from reports.load import Run

if TYPE_CHECKING:
    from bench.comparing.verdicts import Comparison, Row

TIMES = "\u00d7"
CHANGES = ("slower", "missing", "faster", "new", "not run")
"""Verdicts that say that something changed, the most urgent first."""
COLUMNS = ("Case", "Verdict", "Change#", "95 % interval#", "Base#", "New#", "Why")
SHOWN = ("started_at", "commit", "dirty", "suite", "load_before", "load_after")
"""Facts of the environment that are shown even where they are equal or tell no difference."""


def comparison(base: Run, run: Run) -> Comparison:
    """Return the comparison of two runs."""
    from bench.comparing.compare import compare

    return compare(base, run)


def section(base: Run, run: Run) -> Section:
    """Return what changed from `base` to `run`; what cannot be worked out says so."""
    try:
        return of_comparison(comparison(base, run))
    except Exception as error:  # any: the rest of the page shall stand (see reports.topics)
        reason = plain_text.shorten(f"{type(error).__name__}: {error}", 200)
        missing = f"The two runs could not be compared ({reason})."
        return Section("changed", "What changed", "What changed?", "", missing=missing)


def of_comparison(made: Comparison) -> Section:
    """Return a comparison as a section of the page."""
    title = f"What changed since {plain_text.shorten(made.base.label)}?"
    rows, others = sorted_rows(made)
    tables = [_cases(rows, "Cases that changed.")] if rows else []
    tables.append(environments(made))
    if others:
        n = words.count(len(others), "case")
        tables.append(_cases(others, "Cases without a proven change.", f"{n} without a change"))
    if made.warnings:
        lines = [(words.sentence(line),) for line in made.warnings]
        tables.append(table("What makes the verdicts less certain.", ("Warning",), lines))
    return Section("changed", "What changed", title, said(made), tables=tables)


def said(made: Comparison) -> str:
    """Return the answer of a comparison, and what it could have seen, in sentences."""
    from bench.comparing.compare_formats import answer, notes
    from bench.comparing.noise import POWER
    from bench.comparing.verdicts import MOST_CASES

    why = "; ".join(made.not_comparable)
    said = [answer(made).replace("In NEW,", "In this run,"), f"The reason: {why}." if why else ""]
    if made.rows and not why and not {row.verdict for row in made.rows} & {"slower", "faster"}:
        said.insert(0, "No case is shown to be slower or faster.")
    if made.detectable_ratio is not None:
        factor = words.number(made.detectable_ratio)
        said.append(
            f"In {100 * MOST_CASES:g}{words.NBSP}% of the cases, a slowdown by a factor of "
            f"{factor} would have been found with a probability of {100 * POWER:g}{words.NBSP}%."
        )
    return " ".join(filter(None, [*said, *notes(made)]))


def sorted_rows(made: Comparison) -> tuple[list[Row], list[Row]]:
    """Return the cases that changed, the most urgent first, and the others."""
    rows = [row for name in CHANGES for row in made.rows if row.verdict == name]
    return rows, [row for row in made.rows if row.verdict not in CHANGES]


def _cases(rows: list[Row], caption: str, folded: str = "") -> Table:
    margin = "The ratio is the time of this run over that of the base run."
    shown = first_rows([fields(row) for row in rows])
    return table(caption, COLUMNS, shown, folded, note=margin)


def fields(row: Row) -> tuple[str, ...]:
    """Return a row of a comparison as text, in the order of COLUMNS."""
    low, high = row.interval_95 or (None, None)
    known = not (words.is_missing(low) or words.is_missing(high))
    return (
        plain_text.shorten(row.case, 160),
        row.verdict,
        change(row.ratio),
        f"{change(low)} to {change(high)}" if known else words.MISSING,
        words.si(row.base_s, "s"),
        words.si(row.new_s, "s"),
        plain_text.shorten(row.reason or "", 240),
    )


def change(ratio: float | None) -> str:
    """Return a ratio of times as a change in per cent, beyond a factor of two as a factor."""
    if ratio is None or words.is_missing(ratio):
        return words.MISSING
    if 0.5 <= ratio <= 2:
        return words.signed_percent(ratio - 1)
    return f"{TIMES}{words.NBSP}{words.number(ratio)}"


def environments(made: Comparison) -> Table:
    """Return in what the environments of two runs differ."""
    from bench.comparing.compare_formats import facts

    old, new = (_short(facts(run)) for run in (made.base, made.new))
    rows = [
        (name.replace("_", " "), _fact(old[name]), _fact(new[name]))
        for name in old
        if name != "label" and (name in SHOWN or old[name] != new[name])
    ]
    rows = [(name, a, b) for name, a, b in rows if {a, b} != {words.MISSING}]
    return table("What differs between the two runs, apart from the times.",
                 ("Fact", "Base", "New"), rows)  # fmt: skip


def _short(facts: dict[str, Any]) -> dict[str, Any]:
    """Return facts with a commit of 10 digits and a time in whole seconds."""
    long = {"commit": 10, "started_at": 19}
    return facts | {name: str(facts[name])[:n] for name, n in long.items() if facts[name]}


def _fact(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return words.number(value)
    return words.MISSING if value is None else plain_text.shorten(str(value), 160)
