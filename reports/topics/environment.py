"""What a run was measured on → the tables of its environment, whatever its facts hold."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from bench.ledger import plain_text
from bench.ledger.record import Record
from reports import words
from reports.blocks import Table, first_rows, table
from reports.load import Run

ORDER = ("machine", "conditions", "pinned", "libraries", "software", "run", "end")
CAPTIONS = {
    "machine": "The machine.",
    "conditions": "What varies on it, at the start and at the end of the run.",
    "pinned": "What was pinned for the whole run.",
    "libraries": "How torch was built, and the libraries loaded.",
    "software": "Versions.",
    "run": "The run.",
    "end": "The end of the run.",
}
ELSEWHERE = {"corpora", "ceilings"}
MAX_ITEMS, MAX_TEXT = 24, 240


def text(value: Any, name: str = "") -> str:
    """Return one fact as short text: lists joined, objects as "name value", null as missing.

    Args:
        value: any JSON value.
        name: its key, whose end tells the unit.
    """
    if isinstance(value, list):
        shown = [text(item) for item in value[:MAX_ITEMS]]
        rest = [f"{len(value) - MAX_ITEMS:,} more"] if len(value) > MAX_ITEMS else []
        joined = ("; " if any(isinstance(item, dict) for item in value) else ", ").join(
            shown + rest
        )
        return plain_text.shorten(joined, 2 * MAX_TEXT) or "none"
    if isinstance(value, dict):
        parts = [
            f"{_name(key)} {text(item, str(key))}"
            for key, item in list(value.items())[:MAX_ITEMS]
            if item is not None
        ]
        return plain_text.shorten(", ".join(parts), MAX_TEXT) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (int, float)):
        if name.endswith("_bytes") and name != "n_bytes":
            return words.size(value)
        return words.si(value, "Hz") if name.endswith("_hz") else words.number(value)
    return words.MISSING if value is None else plain_text.shorten(str(value), MAX_TEXT)


def _name(key: Any) -> str:
    return plain_text.shorten(str(key).replace("_", " "), 80)


def _facts(facts: dict[Any, Any], above: str = "") -> Iterator[tuple[str, str]]:
    """Yield (name, text) of each fact; what an object holds has its name before its own."""
    for key, value in facts.items():
        name = above + _name(key)
        if isinstance(value, dict) and value and above.count("·") < 2:
            yield from _facts(value, f"{name} · ")
        else:
            yield name, text(value, str(key))


def _of_facts(facts: dict[Any, Any], caption: str, folded: str) -> Table:
    return table(caption, ("Fact", "Value"), first_rows(list(_facts(facts))), folded)


def _start_and_end(start: dict[Any, Any], end: dict[Any, Any], caption: str, fold: str) -> Table:
    before, after = dict(_facts(start)), dict(_facts(end))
    rows = [
        (name, before.get(name, words.MISSING), after.get(name, words.MISSING))
        for name in dict.fromkeys([*before, *after])
    ]
    return table(caption, ("Fact", "At the start", "At the end"), first_rows(list(rows)), fold)


def environment(run: Run) -> list[Table]:
    """Return the machine, its state, the software, the run and the texts, as far as recorded."""
    facts: dict[Any, Any] = run.environment["facts"] if run.environment else {}
    end = run.fact("end", default={})
    later = end.get("conditions") if isinstance(end, dict) else None
    made = []
    for part in dict.fromkeys([*ORDER, *facts]):
        found = facts.get(part)
        if part in ELSEWHERE or not isinstance(found, dict) or not found:
            continue
        caption = CAPTIONS.get(part, words.sentence(_name(part)))
        fold = caption.removesuffix(".")
        if part == "conditions" and isinstance(later, dict):
            made.append(_start_and_end(found, later, caption, fold))
            continue
        shown = found
        if part == "end":
            shown = {k: v for k, v in found.items() if k not in {"ceilings", "conditions"}}
        if part == "machine" and isinstance(found.get("cpu"), str):
            fold = f"The machine: {plain_text.shorten(found['cpu'], 60)}"
        made.append(_of_facts(shown, caption, fold))
    corpora = run.fact("corpora", default=[])
    for corpus in (corpora if isinstance(corpora, list) else [])[:MAX_ITEMS]:
        if isinstance(corpus, dict):
            name = words.corpus(corpus.get("name"))
            made.append(_of_facts(corpus, "A corpus.", f"The corpus {name}"))
    return made


def case_facts(record: Record) -> list[tuple[str, str]]:
    """Return the facts of a case as names and texts, for the list of all cases."""
    return [
        (plain_text.shorten(str(name), 80), text(value, str(name)))
        for name, value in list(record["facts"].items())[:MAX_ITEMS]
    ]
