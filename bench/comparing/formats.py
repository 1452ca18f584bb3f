"""How comparisons and histories write numbers and names in text, Markdown and JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from gptcore.plain_text import visible

PLAIN = re.compile(r"[\w:\[\],.=+\-/ ]*", re.ASCII)


def as_json(value: Any) -> str:
    """Return a value as JSON in ASCII, so without control characters; NaN is refused."""
    return json.dumps(value, indent=1, allow_nan=False)


def cell(text: str) -> str:
    """Return `text` for a cell of a Markdown table, with all markup escaped."""
    return re.sub(r"[^\w ,.;=+-]|_", lambda match: f"&#{ord(match[0])};", visible(text))


def code(text: str) -> str:
    """Return `text` as code for a cell of a Markdown table."""
    return f"`{text}`" if PLAIN.fullmatch(text) and text.strip() else f"<code>{cell(text)}</code>"


def change(ratio: float | None) -> str:
    """Return a ratio of times as a change: 1.05 → "+5.0 %", 12 → "x 12"."""
    if ratio is None:
        return "-"
    if 0.5 < ratio < 2:
        return f"{100 * (ratio - 1):+.1f} %"
    return f"x {ratio:.3g}"


def interval(ends: Sequence[float | None] | None) -> str:
    """Return an interval of ratios as changes: "-" where there is none."""
    return "-" if ends is None else f"{change(ends[0])} to {change(ends[1])}"


def p_value(value: float | None) -> str:
    """Return a p-value with two digits; one below 0.001 is "<0.001"."""
    return "-" if value is None else "<0.001" if value < 0.001 else f"{value:.2g}"
