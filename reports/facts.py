"""Facts of a record, which may be any JSON value, as short text."""

from __future__ import annotations

from typing import Any

from bench.ledger.record import Record
from gptcore import plain_text
from reports import words

MAX_ITEMS, MAX_TEXT = 24, 240


def fact_text(value: Any, key: str = "") -> str:
    """Return one fact as short text: lists joined, objects as "name value", null as missing.

    Args:
        value: any JSON value.
        key: its key, whose end tells the unit.
    """
    if isinstance(value, list):
        shown = [fact_text(item) for item in value[:MAX_ITEMS]]
        rest = [f"{len(value) - MAX_ITEMS:,} more"] if len(value) > MAX_ITEMS else []
        separator = "; " if any(isinstance(item, dict) for item in value) else ", "
        return plain_text.shorten(separator.join(shown + rest), 2 * MAX_TEXT) or "none"
    if isinstance(value, dict):
        parts = [
            f"{fact_name(key)} {fact_text(item, str(key))}"
            for key, item in list(value.items())[:MAX_ITEMS]
            if item is not None
        ]
        return plain_text.shorten(", ".join(parts), MAX_TEXT) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (int, float)):
        if key.endswith("_bytes") and key != "n_bytes":
            return words.size(value)
        return words.si(value, "Hz") if key.endswith("_hz") else words.number(value)
    return words.MISSING if value is None else plain_text.shorten(str(value), MAX_TEXT)


def fact_name(key: Any) -> str:
    """Return the words for the key of a fact: its underscores as spaces."""
    return plain_text.shorten(str(key).replace("_", " "), 80)


def case_facts(record: Record) -> list[tuple[str, str]]:
    """Return the facts of a case as names and texts, for the list of all cases."""
    return [
        (plain_text.shorten(str(key), 80), fact_text(value, str(key)))
        for key, value in list(record["facts"].items())[:MAX_ITEMS]
    ]
