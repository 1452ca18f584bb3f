"""A frame that a figure shows → the cells of the table below it, and labels cut to what differs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd

from gptcore import plain_text
from reports import drawing, words

MAX_ROWS = 200
"""Rows of the table of a figure at most."""
Heading = str | tuple[str, Callable[[Any], str]]
"""Words for a column of a frame, and how a value of it is written."""
Cells = tuple[tuple[str, ...], list[tuple[str, ...]], frozenset[int], str]


def cells(frame: pd.DataFrame, headings: Mapping[str, Heading]) -> Cells:
    """Return the columns, rows, numeric columns and note of a table of what a figure shows.

    Of very many rows it has every second, every third, and so on.

    Args:
        frame: what is drawn.
        headings: column of the frame → its heading; columns that it lacks are left out.
    """
    every = max(1, -(-len(frame) // MAX_ROWS))
    kept = frame.iloc[::every]
    known = {
        name: (heading, _written) if isinstance(heading, str) else heading
        for name, heading in headings.items()
        if name in frame
    }
    texts = [[write(value) for value in kept[name]] for name, (_, write) in known.items()]
    numeric = (i for i, name in enumerate(known) if pd.api.types.is_numeric_dtype(frame[name]))
    note = f"One row of every {every} is shown; the ledger holds all." if every > 1 else ""
    heads = tuple(heading for heading, _ in known.values())
    return heads, list(zip(*texts, strict=True)), frozenset(numeric), note


def _written(value: Any) -> str:
    if isinstance(value, (bool, str)):
        return plain_text.shorten(str(value), 120)
    return words.number(value, 4)


def shortly(frame: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """Return cases with what all of their labels share left out, and the sentence that says it."""
    short, common = drawing.distinct(frame["label"].tolist()) if len(frame) else ([], "")
    return frame.assign(label=short), f" All cases: {common}." if common else ""
