"""Logs of draws: rows of (start, length) that somebody's loader wrote, read strictly.

Legend: N tokens, K draws. A draw shows the inputs start, …, start + length - 1 and the targets
start + 1, …, start + length, so `length` counts the inputs that have a target: a block of T + 1
tokens, and a row of T + 1 tokens whose labels the model shifts, both have length T.
"""

import csv
import gzip
import io
import json
import warnings
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gptcore.checks import LARGEST_INT64, check_whole

Whole = npt.NDArray[np.int64]

COLUMNS = ("start", "length", "epoch", "rank", "step")
_KNOWN = frozenset(COLUMNS)


@dataclass(frozen=True, eq=False)
class DrawLog:
    """Draws in the order in which they were made; each array is int64 of shape (K,).

    Attributes:
        n_tokens: N.
        start: first input of each window.
        length: inputs of each window, and so its targets.
        epoch: pass that the draw belongs to, or None.
        rank: process that made the draw, or None.
        step: optimizer step that used the draw, counted over the whole run, or None.
        line: line of each draw in its file, from 1, or None.
    """

    n_tokens: int
    start: Whole
    length: Whole
    epoch: Whole | None = None
    rank: Whole | None = None
    step: Whole | None = None
    line: Whole | None = None

    def __post_init__(self) -> None:
        check_whole("n_tokens", self.n_tokens, at_least=2)
        if len(self.start) == 0:
            raise ValueError("the log has no draws: give at least one row of start, length")
        for name in COLUMNS:
            least = 1 if name == "length" else 0
            column = getattr(self, name)
            if column is None:
                continue
            if column.shape != self.start.shape or column.dtype != np.int64:
                raise ValueError(
                    f"{name} is {column.dtype} of shape {column.shape}: "
                    f"give int64 of shape {self.start.shape}"
                )
            self._refuse(column < least, f"{{}} has {name} {{{name}}}: it must be {least} or more")
        self._refuse(
            self.length > self.n_tokens - 1 - self.start,
            f"{{}} has start {{start}} and length {{length}}, so its last target is outside the "
            f"{self.n_tokens} tokens: length counts the inputs that have a target, "
            f"start + length <= {self.n_tokens - 1}",
        )

    def __len__(self) -> int:
        return len(self.start)

    @property
    def block_size(self) -> int:
        """T, the inputs in the longest window."""
        return int(self.length.max())

    @property
    def n_starts(self) -> int:
        """M = N - T, the starts that a window of T inputs may have."""
        return self.n_tokens - self.block_size

    def check_block_size(self, block_size: int) -> None:
        """Refuse windows of more than `block_size` inputs.

        Raises:
            ValueError: the first such window, by its line.
        """
        self._refuse(
            self.length > check_whole("block_size", block_size),
            f"{{}} has length {{length}} and block_size is {block_size}: length counts inputs, "
            "so that a block of T + 1 tokens has length T",
        )

    def place(self, draw: int) -> str:
        """Return where a draw stands, in words."""
        return f"draw {draw}" if self.line is None else f"line {self.line[draw]}"

    def _refuse(self, bad: npt.NDArray[np.bool_], message: str) -> None:
        if bad.any():
            draw = int(bad.argmax())
            row = {name: column[draw] for name, column in vars(self).items() if name in COLUMNS
                   and column is not None}  # fmt: skip
            raise ValueError(message.format(self.place(draw), **row))


def read_log(path: str | Path, *, n_tokens: int, block_size: int | None = None) -> DrawLog:
    """Return the draws in a CSV file with a header, or in a file of JSON lines, also with gzip.

    The columns or keys are `start`, `length` and optionally `epoch`, `rank`, `step`, in any order
    and case. Others are ignored. Without `length`, all windows have `block_size` inputs.

    Raises:
        ValueError: there is no such file, a column is missing, or a line is malformed.
    """
    n_tokens = check_whole("n_tokens", n_tokens, at_least=2)
    text = _read_text(Path(path))
    if text.lstrip().startswith("["):
        raise ValueError(f"{path} is one JSON array: give one JSON object per line, or CSV")
    columns, line = _read_json(text) if text.lstrip().startswith("{") else _read_csv(text)
    if block_size is not None and "length" not in columns:
        block_size = check_whole("block_size", block_size)
        columns["length"] = np.full(len(line), block_size, dtype=np.int64)
    _require(columns, 1)
    log = DrawLog(n_tokens, line=line, **columns)
    if block_size is not None:
        log.check_block_size(block_size)
    return log


def _read_text(path: Path) -> str:
    try:
        content = path.read_bytes()
        if content.startswith(b"\x1f\x8b"):
            content = gzip.decompress(content)
    except (OSError, EOFError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ValueError(
            f"log {path} cannot be read ({reason}): give a CSV or JSONL file"
        ) from None
    if content.startswith(b"\x93NUMPY"):
        raise ValueError(f"{path} holds token batches: give the text too, to find them in it")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"log {path} is not UTF-8 at byte {error.start}: give a CSV or JSONL file in UTF-8"
        ) from None
    if not text.strip():
        raise ValueError(f"log {path} is empty: give a header start,length and a line per draw")
    return text.replace("\r\n", "\n") if "\r" in text else text


def _read_csv(text: str) -> tuple[dict[str, Whole], Whole]:
    """Return the known columns by name, and the line of each row."""
    header, _, body = text.partition("\n")
    names = [name.strip().strip('"').strip().lower() for name in header.split(",")]
    known = [name for name in names if name in COLUMNS]
    if len(set(known)) < len(known):
        raise ValueError(f"line 1 names a column twice ({', '.join(names)}): name each once")
    if "start" not in known:
        _require(dict.fromkeys(known), 1, header=names)
    table = _parse_plain(body, len(names))
    if table is not None:
        columns = {name: np.ascontiguousarray(table[:, names.index(name)]) for name in known}
        return columns, np.arange(2, len(table) + 2)
    return _collect(_csv_rows(body, names), known)


def _parse_plain(body: str, width: int) -> npt.NDArray[np.int64] | None:
    """Return the table if the text is nothing but whole numbers, commas and line ends, else None.

    This is about ten times as fast as the csv module, which is used for any other text and says
    what is wrong and where.
    """
    body = body if body.endswith("\n") else body + "\n"
    if not body.isascii():
        return None
    raw = np.frombuffer(body.encode(), dtype=np.uint8)
    marks = raw[(raw == ord(",")) | (raw == ord("\n"))]
    if len(marks) % width:
        return None
    marks = marks.reshape(-1, width)
    if (marks[:, -1] != ord("\n")).any() or (marks[:, :-1] != ord(",")).any():
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            flat = np.fromstring(body.replace("\n", ",").removesuffix(","), np.int64, sep=",")
    except (DeprecationWarning, ValueError):
        return None
    # A number too large for int64 is read as the largest; the csv module names its line.
    if len(flat) != marks.size or (flat == LARGEST_INT64).any():
        return None
    return flat.reshape(-1, width)


def _csv_rows(body: str, names: Sequence[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (line, values by name); lines without any text are skipped."""
    reader = csv.reader(io.StringIO(body, newline=""))
    try:
        for row in reader:
            line = reader.line_num + 1
            if not any(cell.strip() for cell in row):
                continue
            if len(row) != len(names):
                raise ValueError(
                    f"line {line} has {len(row)} values and the header {len(names)}: "
                    "is the line cut off?"
                )
            yield line, dict(zip(names, row, strict=True))
    except csv.Error as error:
        raise ValueError(f"line {reader.line_num + 1} is not CSV ({error}): correct it") from None


def _read_json(text: str) -> tuple[dict[str, Whole], Whole]:
    rows = _json_rows(text)
    line, row = next(rows)
    _require(row, line, needed=("start",))
    return _collect(chain([(line, row)], rows), [name for name in COLUMNS if name in row])


def _json_rows(text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (line, values by name) of the lines that have text."""
    for line, source in enumerate(io.StringIO(text), start=1):
        if not source.strip():
            continue
        try:
            row = json.loads(source)
        except ValueError:
            raise ValueError(f"line {line} is not JSON: is it cut off?") from None
        except RecursionError:
            raise ValueError(
                f'line {line} is nested too deep: give {{"start": …, "length": …}}'
            ) from None
        if not isinstance(row, dict):
            raise ValueError(f'line {line} is not a JSON object: give {{"start": …, "length": …}}')
        if not row.keys() <= _KNOWN:
            row = {name.strip().lower(): value for name, value in row.items()}
        yield line, row


def _collect(
    rows: Iterable[tuple[int, dict[str, Any]]], known: Sequence[str]
) -> tuple[dict[str, Whole], Whole]:
    columns = {name: array("q") for name in known}
    lines = array("q")
    for line, row in rows:
        lines.append(line)
        for name, column in columns.items():
            if name not in row:
                raise ValueError(f"line {line} has no {name}: give it on every line, or on none")
            value = row[name]
            column.append(value if type(value) is int and abs(value) < LARGEST_INT64
                          else _whole(value, name, line))  # fmt: skip
    return {name: _as_whole(column) for name, column in columns.items()}, _as_whole(lines)


def _as_whole(values: "array[int]") -> Whole:
    return np.array(values, dtype=np.int64)


def _whole(value: object, name: str, line: int) -> int:
    """Return a whole number written as text or as a float that is one, such as 3.0."""
    try:
        if isinstance(value, float | str):
            number = float(value)
            if number.is_integer() and abs(number) < 2**53:
                return int(number)
            if isinstance(value, str) and abs(whole := int(value)) < LARGEST_INT64:
                return whole
    except ValueError:
        pass
    raise ValueError(f"line {line} has {name} {value!r}: give a whole number below 2**63")


def _require(
    columns: dict[str, Any],
    line: int,
    *,
    needed: Sequence[str] = ("start", "length"),
    header: Sequence[str] = (),
) -> None:
    missing = [name for name in needed if name not in columns]
    if missing:
        raise ValueError(
            f"line {line} has no {' and no '.join(missing)} among "
            f"{', '.join(header or columns) or 'its columns'}: name the columns start, length and, "
            "if there, epoch, rank, step"
        )
