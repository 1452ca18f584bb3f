"""Rows of a log as text → numbers: CSV under a header, or one JSON object in each line.

Rows that differ in their digits alone are parsed as one array, and any others one by one.
"""

import csv
import functools
import json
import re
from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from gptcore.checks import LARGEST_INT64
from gptcore.plain_text import column_names, shorten
from gptcore.reading import unique_keys

Whole = npt.NDArray[np.int64]

_column_names = functools.lru_cache(column_names)  # the keys of a line are those of the one before

COLUMNS = ("start", "length", "epoch", "rank", "step")
_NUMBER = re.compile(r"\s*[+-]?[0-9]+(\.0*)?(e[+]?[0-9]+)?\s*", re.ASCII | re.IGNORECASE)


def parse_alike(block: str, form: "Csv | JsonLines") -> Whole | None:
    """Return the known columns if the rows differ in their digits alone, else None."""
    block = block if block.endswith("\n") else block + "\n"
    first = block[: block.index("\n") + 1]
    places = form.find(first) if block.isascii() else None
    if places is None:
        return None
    raw = np.frombuffer(block.encode(), dtype=np.uint8)
    is_digit = raw - np.uint8(ord("0")) < 10
    # The characters between the digits are those of the first row, in each row.
    between, pattern = raw[~is_digit], re.sub("[0-9]", "", first).encode()
    n_rows, rest = divmod(len(between), len(pattern))
    between = between[: n_rows * len(pattern)].reshape(n_rows, -1)
    if rest or (between != np.frombuffer(pattern, dtype=np.uint8)).any():
        return None
    # Numbers begin behind the same characters as in the first row.
    begins = np.flatnonzero(is_digit & ~np.append(False, is_digit[:-1]))
    n_numbers = len(re.findall("[0-9]+", first))
    if len(begins) != n_rows * n_numbers:
        return None
    before = np.cumsum(~is_digit, dtype=np.int32)[begins].reshape(n_rows, -1)
    if (before - before[0] != len(pattern) * np.arange(n_rows)[:, None]).any():
        return None
    text = np.where(is_digit, raw, ord(" ")).tobytes().decode().rstrip()
    numbers = np.fromstring(text, np.int64, sep=" ").reshape(n_rows, -1)
    chosen = [len(re.findall("[0-9]+", first[:place])) for place in places]
    # A number too large for int64 is read as the largest, and JSON has no zeros before a number.
    columns, begins = numbers[:, chosen], begins.reshape(n_rows, -1)[:, chosen]
    zeros = (raw[begins] == ord("0")) & (columns > 0)
    return None if zeros.any() or (columns == LARGEST_INT64).any() else columns


class Csv:
    """Rows of values between commas, under a header."""

    spans_lines = True

    def __init__(self, line: int, header: str) -> None:
        names = _names(tuple(header.split(",")), line)
        self.names, self.known = names, [name for name in names if name in COLUMNS]
        if "start" not in self.known:
            require(dict.fromkeys(self.known), line, header=names)
        value, other = r'(?P<q{0}>"?)\s*(?P<{0}>[0-9]+)\s*(?P=q{0})', r'(?:"[^",]*"|[^",]*)'
        self._row = re.compile(
            ",".join(value.format(name) if name in COLUMNS else other for name in names) + "\n"
        )

    def find(self, row: str) -> list[int] | None:
        """Return where the known values of a row stand, if they are bare numbers."""
        match = self._row.fullmatch(row)
        return [match.start(name) for name in self.known] if match else None

    def rows(self, lines: Iterable[str], first: int) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yield (line, values by name); lines without any text are skipped."""
        return _csv_rows(lines, first, self.names)


class JsonLines:
    """One JSON object in each line."""

    spans_lines = False

    def __init__(self, line: int, first: str) -> None:
        ((_, row),) = _json_rows([first], line)
        require(row, line, needed=("start",))
        self.known = [name for name in COLUMNS if name in row]

    def find(self, row: str) -> list[int] | None:
        """Return where the known values of a row stand, if they are bare numbers."""
        if row.count("{") != 1 or "\\" in row:
            return None
        try:
            ((_, values),) = _json_rows([row], 0)
        except ValueError:
            return None
        if [name for name in COLUMNS if name in values] != self.known:
            return None
        places = [
            [match.start(1) for match in re.finditer(rf'"{name}"\s*:\s*([0-9]+)\s*[,}}]', row)]
            for name in self.known
        ]
        return [place for (place,) in places] if all(len(p) == 1 for p in places) else None

    def rows(self, lines: Iterable[str], first: int) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yield (line, values by name) of the lines that have text."""
        return _json_rows(lines, first)


def _csv_rows(
    lines: Iterable[str], first: int, names: Sequence[str]
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (line, values by name); lines without any text are skipped."""
    reader = csv.reader(lines)
    try:
        for row in reader:
            line = first + reader.line_num - 1
            if not any(cell.strip() for cell in row):
                continue
            if len(row) != len(names):
                raise ValueError(
                    f"line {line} has {len(row)} values and the header {len(names)}: "
                    "is the line cut off?"
                )
            yield line, dict(zip(names, row, strict=True))
    except csv.Error as error:
        line = first + reader.line_num - 1
        raise ValueError(f"line {line} is not CSV ({error}): correct it") from None


def _json_rows(lines: Iterable[str], first: int) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (line, values by name) of the lines that have text."""
    for line, source in enumerate(lines, start=first):
        if not source.strip():
            continue
        try:
            row = json.loads(source, object_pairs_hook=unique_keys)
        except json.JSONDecodeError:
            raise ValueError(f"line {line} is not JSON: is it cut off?") from None
        except RecursionError:
            raise ValueError(
                f'line {line} is nested too deep: give {{"start": …, "length": …}}'
            ) from None
        except ValueError as error:
            raise ValueError(f"line {line}: {error}") from None
        if not isinstance(row, dict):
            raise ValueError(f'line {line} is not a JSON object: give {{"start": …, "length": …}}')
        yield line, dict(zip(_names(tuple(row), line), row.values(), strict=True))


def _names(header: tuple[str, ...], line: int) -> list[str]:
    try:
        return _column_names(header, COLUMNS)
    except ValueError as error:
        raise ValueError(f"line {line}: {error}") from None


def collect(
    rows: Iterable[tuple[int, dict[str, Any]]], known: Sequence[str]
) -> tuple[Whole, Whole]:
    """Return the known values of the rows, (rows, columns), and the line of each row."""
    values, lines = array("q"), array("q")
    for line, row in rows:
        lines.append(line)
        for name in COLUMNS:
            if (name in row) != (name in known):
                raise ValueError(
                    f"line {line} has {'a' if name in row else 'no'} {name}, unlike the first: "
                    "give it on every line, or on none"
                )
        for name in known:
            value = row[name]
            values.append(value if type(value) is int and abs(value) < LARGEST_INT64
                          else _whole(value, name, line))  # fmt: skip
    return np.array(values, dtype=np.int64).reshape(-1, len(known)), np.array(lines, dtype=np.int64)


def _whole(value: object, name: str, line: int) -> int:
    """Return a whole number written as text or as a float that is one, such as 3.0."""
    number = value if isinstance(value, float) else None
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        # Digits alone are exact; a float is exact only up to 2**53.
        number = int(value) if len(value) < 100 and value.strip("+- ").isdigit() else float(value)
    exact = LARGEST_INT64 if isinstance(number, int) else 2**53
    if number is not None and abs(number) < exact and number == int(number):
        return int(number)
    raise ValueError(
        f"line {line} has {name} {shorten(repr(value), 40)}: give a whole number below 2**63"
    )


def require(
    columns: dict[str, Any],
    line: int,
    *,
    needed: Sequence[str] = ("start", "length"),
    header: Sequence[str] = (),
) -> None:
    """Refuse a log without the columns that are needed."""
    missing = [name for name in needed if name not in columns]
    if missing:
        raise ValueError(
            f"line {line} has no {' and no '.join(missing)} among "
            f"{shorten(', '.join(header or columns), 200) or 'its columns'}: name the columns "
            "start, length and, if there, epoch, rank, step"
        )
