"""Columns of a table of losses, checked: text that names something, and positive numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gptcore.plain_text import shorten

if TYPE_CHECKING:
    import pandas as pd


def is_blank(values: pd.Series[Any]) -> pd.Series[bool]:
    """Return which values are missing or white space."""
    return values.isna() | (values.astype(str).str.strip() == "")


def text(table: pd.DataFrame, name: str) -> pd.Series[str] | None:
    """Return a column as text, None where it is missing or blank throughout.

    Raises:
        ValueError: it is blank in some rows.
    """
    if name not in table:
        return None
    blank = is_blank(table[name])
    if blank.any() and not blank.all():
        raise ValueError(
            f"{name} is blank {_place(table, blank)}: give it in every row"
            f"{'' if name == 'model' else ', or in none'}"
        )
    return None if blank.all() else table[name].astype(str)


def _place(table: pd.DataFrame, bad: pd.Series[bool]) -> str:
    """Return where the first of some rows stands, and how many there are."""
    first = int(np.flatnonzero(bad)[0])
    place = f"data row {first + 1}"
    if table.index.name == "line":  # as `read_table` names it
        place = f"line {table.index[first]}"
    return f"in {place} ({int(bad.sum()):,} such rows)"


def positive(table: pd.DataFrame, name: str, *, may_be_blank: bool = False) -> pd.Series[float]:
    """Return a column as positive finite numbers; a blank that is allowed becomes NaN.

    Raises:
        ValueError: a value is no such number.
    """
    import pandas as pd

    values = table[name]
    if values.dtype.kind not in "iuf":
        texts = values.astype(str).str.strip()
        texts = texts.mask(texts.str.lower().isin(["true", "false"]))  # which pandas reads as 1, 0
        values = pd.to_numeric(texts, errors="coerce")
    values = values.astype(float)
    bad = ~((values > 0) & (values < np.inf))
    if may_be_blank:
        bad &= ~is_blank(table[name])
    if bad.any():
        value = shorten(str(table[name].iloc[int(np.flatnonzero(bad)[0])]), 40)
        raise ValueError(
            f"{name} is {value!r} {_place(table, bad)}: give positive finite numbers such as "
            "125000000 or 1.25e8, and leave out what diverged"
        )
    return values
