"""Two runs → Markdown for the comment on a pull request: verdict, one table, the rest folded.

GitHub takes 65,536 characters. What is seen before a fold is opened stays below 4,000.
"""

from __future__ import annotations

from collections.abc import Iterable

from gptcore import plain_text
from reports import changed, findings, markdown, words
from reports.blocks import Table, table
from reports.first_screen import first_screen
from reports.load import Run

MOST_SEEN = 4_000
MAX_FOLDED = 50_000
"""Characters of all that is folded, at most."""
MAX_LINE = 1_200


def render(run: Run, base: Run) -> tuple[str, list[str]]:
    """Return the comment, and its first sentences as a list."""
    made = changed.comparison(base, run)
    said, claims = changed.said(made), findings.find(run)
    first = first_screen(run, claims)
    names = [markdown.code(plain_text.shorten(each.label)) for each in (run, base)]
    seen = [
        f"**{_text(said, 900)}**",
        "",
        f"{names[0]} beside the base run {names[1]}. {_text(first.answer, 600)}",
        "",
    ]
    rows = [changed.fields(row)[:-1] for part in changed.sorted_rows(made) for row in part]
    lines = table_lines(table("", changed.COLUMNS[:-1], rows)) if rows else []
    n = _that_fit(lines, MOST_SEEN - sum(map(len, seen)) - 400)  # for the titles of the folds
    folds = [("More cases", [*lines[:2], *lines[n:]])] if lines[n:] else []
    folds.append(("What differs between the two runs, apart from the times",
                  table_lines(changed.environments(made))))  # fmt: skip
    warnings = [f"- {_text(words.sentence(line))}" for line in made.warnings]
    advice = [f"- {_text(each.headline)}: {_text(each.evidence)}" for each in first.advice]
    folds += [
        ("What makes the verdicts less certain", warnings),
        ("What to change, and whether to trust it", [*advice, "", _text(first.trust)]),
        ("Findings of this run", [f"- {_text(claim.headline)}" for claim in claims]),
    ]
    return "\n".join([*seen, *lines[:n], "", *_folded(folds)]) + "\n", [said]


def _text(text: str, most: int = MAX_LINE) -> str:
    return str(markdown.escape(plain_text.shorten(text, most)))


def table_lines(data: Table) -> list[str]:
    """Return the lines of a table in Markdown: its head, and one for each row."""
    ends = ("---:" if i in data.numeric else "---" for i in range(len(data.columns)))
    rows = [" | ".join(_text(cell, 300) for cell in row) for row in [data.columns, *data.rows]]
    rows.insert(1, " | ".join(ends))
    return [f"| {row} |" for row in rows]


def _that_fit(lines: list[str], room: int) -> int:
    """Return how many of the first lines take at most `room` characters."""
    for n, line in enumerate(lines):
        room -= len(line) + 1
        if room < 0:
            return n
    return len(lines)


def _folded(folds: Iterable[tuple[str, list[str]]]) -> Iterable[str]:
    """Yield the folded parts; those that do not fit are cut, and say so."""
    room = MAX_FOLDED
    for title, lines in folds:
        n = _that_fit(lines, room)
        room -= sum(len(line) + 1 for line in lines[:n])
        more = [f"The comment has no room for {len(lines) - n} more lines."] if lines[n:] else []
        if any(lines):
            yield from (f"<details><summary>{title}</summary>", "", *lines[:n], *more, "")
            yield from ("</details>", "")
