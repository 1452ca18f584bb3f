"""CSV files of losses → tables, whose index holds the line of each row.

Names are text and stay as they are written, so that a model called "NA" is a model; numbers are
checked where they are used (`tables`).
"""

from __future__ import annotations

import csv
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from gptcore.plain_text import column_names
from gptcore.reading import naming, open_text, read_lines

if TYPE_CHECKING:
    import pandas as pd

TEXTS = ("model", "family", "seed", "loss_kind")
NUMBERS = ("params", "tokens_seen", "tokens", "loss", "unique_tokens")
MOST_TABLE_BYTES = 2**28
MOST_COLUMNS = 1000


def read_table(path: Path | str) -> pd.DataFrame:
    """Read the known columns of a CSV file, which may be compressed; others are ignored.

    The text is in UTF-8, or in UTF-16 or UTF-32 with a byte-order mark. The index, which is called
    `line`, holds the line at which each row ends.

    Raises:
        ValueError: there is no such file, it is larger than MOST_TABLE_BYTES, or it is not CSV.
    """
    import pandas as pd

    with naming(path):
        names, lines = _measure(path)
    known = [name for name in names if name in (*TEXTS, *NUMBERS)]
    try:
        table = _parse(path, names, known, "float64")
    except ValueError:  # a text among the numbers, which a check names with its line
        table = _parse(path, names, known, "str")
    table.attrs["file"] = str(path)  # for errors
    if not known:  # pandas then gives no rows, and the check names the columns
        return table
    if len(table) != len(lines):
        raise ValueError(
            f"{path} has quotes that can be read in two ways: double each quote inside a value"
        )
    table.index = pd.Index(np.frombuffer(lines, dtype=np.int64), name="line")
    return table


def _measure(path: Path | str) -> tuple[list[str], array[int]]:
    """Return the names of the columns, and the line at which each row ends.

    Raises:
        ValueError: the rows are not of one width, or the file is not CSV.
    """
    lines, names = array("q"), list[str]()
    reader = csv.reader(read_lines(path, at_most=MOST_TABLE_BYTES), strict=True)
    try:
        for row in _filled(reader):
            if not names:
                names = _header(row, path)
            elif len(row) == len(names):
                lines.append(reader.line_num)
            else:
                raise ValueError(
                    f"{path} has {len(row)} values in line {reader.line_num} and {len(names)} "
                    "names of columns: give every row one value for each column"
                )
    except csv.Error as error:
        raise ValueError(f"{path} is not CSV in line {reader.line_num} ({error})") from None
    if not names:
        raise ValueError(f"{path} is empty: give a table with model, params, tokens_seen, loss")
    return names, lines


def _filled(rows: Iterator[list[str]]) -> Iterator[list[str]]:
    """Leave out empty lines, as pandas does."""
    return (row for row in rows if row and (len(row) > 1 or row[0].strip()))


def _header(row: list[str], path: Path | str) -> list[str]:
    if row[0].strip().startswith(("{", "[")):
        raise ValueError(f"{path} is JSON: give a CSV table with a header")
    names = column_names(row, (*TEXTS, *NUMBERS))
    if len(names) == 1:
        for mark, word in ((";", "semicolons"), ("\t", "tabs"), ("|", "bars")):
            if mark in row[0]:
                raise ValueError(
                    f"{path} separates its columns by {word}: write commas, and a point in decimals"
                )
    if len(names) > MOST_COLUMNS:
        raise ValueError(
            f"{path} has {len(names):,} columns: give at most {MOST_COLUMNS:,}, as model, params, "
            "tokens_seen and loss"
        )
    return names


def _parse(path: Path | str, names: list[str], known: list[str], numbers: str) -> pd.DataFrame:
    import pandas as pd

    kinds = {name: "str" if name in TEXTS else numbers for name in known}
    blank = {name: [""] for name in known if name not in TEXTS}
    unique = [name if name in kinds else f"ignored {place}" for place, name in enumerate(names)]
    with open_text(path, at_most=MOST_TABLE_BYTES) as file:
        return pd.read_csv(
            file,
            header=0,
            names=unique,
            usecols=known,
            dtype=kinds,
            keep_default_na=False,
            na_values=blank,
            index_col=False,
        )
