"""Tables of text for people: cells wrap at the width of a terminal, and nothing is cut."""

from __future__ import annotations

import io
import shutil
import sys
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

UNLIMITED = 10**6
"""Columns of a pipe or a file: no cell wraps there."""


def table(
    headings: Sequence[str], rows: Sequence[Sequence[str]], numbers: Sequence[str] = ()
) -> str:
    """Return rows under headings as text; only the last column wraps, at a terminal.

    Args:
        headings: one for each column.
        rows: one cell for each column, written as it is; a line break begins a new line.
        numbers: headings of the columns that are aligned right.
    """
    grid = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for heading in headings:
        grid.add_column(
            Text(heading),
            justify="right" if heading in numbers else "left",
            no_wrap=heading != headings[-1],
            overflow="fold",
        )
    for row in rows:
        grid.add_row(*map(Text, row))
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else UNLIMITED
    output = io.StringIO()
    Console(file=output, width=width, color_system=None).print(grid)
    return "\n".join(line.rstrip() for line in output.getvalue().splitlines())
