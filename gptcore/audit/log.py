"""Logs of draws: rows of (start, length) that somebody's loader wrote, read strictly.

Legend: N tokens, K draws. A draw shows the inputs start, …, start + length - 1 and the targets
start + 1, …, start + length, so `length` counts the inputs that have a target: a block of T + 1
tokens, and a row of T + 1 tokens whose labels the model shifts, both have length T.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gptcore.audit.log_rows import COLUMNS, Csv, JsonLines, collect, parse_alike, require
from gptcore.checks import check_whole
from gptcore.reading import MOST_BYTES, MOST_LINE_CHARS, check_line, naming, open_text

Whole = npt.NDArray[np.int64]
Lines = range | Whole

MOST_DRAWS = 10**8
"""A log may have so many draws; an audit takes 40 to 110 bytes of memory for each."""
BLOCK = 2**22  # characters of a log that are parsed at once
ROWS_AT_ONCE = 10_000
BLANK_LINES = 1000  # at most, before the header


@dataclass(frozen=True, eq=False)
class DrawLog:
    """Draws in the order in which they were made; each array has the shape (K,), columns int64.

    Attributes:
        n_tokens: N.
        start: first input of each window.
        length: inputs of each window, and so its targets.
        epoch: pass that the draw belongs to, or None.
        rank: process that made the draw, or None.
        step: optimizer step that used the draw, counted over the whole run, or None.
        line: line of each draw in its file, from 1, or None.
        unsure: bool, whether the window may be another one with the same tokens; None if none is.
        possible: bool of shape (N,), the targets that such windows may show, or None.
        is_whole: whether the log is known to end with an epoch.
        is_cut: whether the log is known to end at a number of draws, wherever the epoch ends.
    """

    n_tokens: int
    start: Whole
    length: Whole
    epoch: Whole | None = None
    rank: Whole | None = None
    step: Whole | None = None
    line: Lines | None = None
    unsure: npt.NDArray[Any] | None = None
    possible: npt.NDArray[Any] | None = None
    is_whole: bool = False
    is_cut: bool = False

    def __post_init__(self) -> None:
        n_tokens = check_whole("n_tokens", self.n_tokens, at_least=2)
        object.__setattr__(self, "n_tokens", n_tokens)
        for name in COLUMNS:
            column = getattr(self, name)
            if type(column) is not np.ndarray and (name in COLUMNS[:2] or column is not None):
                raise ValueError(f"{name} is {type(column).__name__}: give an array of int64")
        if self.start.size == 0:
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
    if block_size is not None:
        block_size = check_whole("block_size", block_size)
    with naming(path):
        try:
            with open_text(path, at_most=MOST_BYTES) as file:
                columns, line = _read_columns(file, path)
        except UnicodeDecodeError:
            raise ValueError(
                f"log {path} is not UTF-8: give a CSV or JSONL file in UTF-8, also compressed"
            ) from None
        if block_size is not None and "length" not in columns:
            columns["length"] = np.broadcast_to(np.int64(block_size), len(line))
        require(columns, 1)
        log = DrawLog(n_tokens, line=line, is_whole=False, is_cut=False, **columns)
        if block_size is not None:
            log.check_block_size(block_size)
    return log


def _read_columns(file: io.TextIOWrapper, path: str | Path) -> tuple[dict[str, Whole], Lines]:
    """Return the known columns by name, and the line of each draw.

    The file is read in blocks of whole lines. A block whose rows differ in their digits alone is
    parsed as an array; any other one row by row, which takes ten times as long and says what is
    wrong and where.
    """
    if file.buffer.peek(6).startswith(b"\x93NUMPY"):  # type: ignore[attr-defined]
        raise ValueError(f"{path} holds token batches: give the text too, to find them in it")
    file.reconfigure(newline=None)  # every line end is read as LF
    line, head = 1, _read_line(file, path, 1)
    while head.isspace() and line < BLANK_LINES:
        line += 1
        head = _read_line(file, path, line)
    if not head.strip():
        raise ValueError(f"log {path} is empty: give a header start,length and a line per draw")
    if head.lstrip().startswith("["):
        raise ValueError(f"{path} is one JSON array: give one JSON object per line, or CSV")
    form = JsonLines(line, head) if head.lstrip().startswith("{") else Csv(line, head)
    block, line = (head, line) if isinstance(form, JsonLines) else ("", line + 1)
    draws = _Draws(form.known)
    while block := block + file.read(BLOCK):
        block += "" if block.endswith("\n") else _read_line(file, path, line + block.count("\n"))
        table = parse_alike(block, form)
        if not block.strip():
            pass
        elif table is not None:
            draws.add(table, range(line, line + len(table)))
        else:
            # A quoted value may hold line ends, so nobody but the csv module can find the next row.
            more = iter(partial(file.readline, MOST_LINE_CHARS), "")
            rest = more if form.spans_lines and '"' in block else ()
            rows = form.rows(chain(io.StringIO(block), rest), line)
            while batch := [*islice(rows, ROWS_AT_ONCE)]:
                draws.add(*collect(batch, form.known))
        line += block.count("\n")
        block = ""
    return draws.result()


def _read_line(file: io.TextIOWrapper, path: str | Path, number: int) -> str:
    line = file.readline(MOST_LINE_CHARS)
    check_line(line, path, number)
    return line


class _Draws:
    """The columns of a log, joined block by block."""

    def __init__(self, known: Sequence[str]) -> None:
        self._parts: dict[str, list[npt.NDArray[Any]]] = {name: [] for name in known}
        self._lines: list[Lines] = []
        self._draws = 0

    def add(self, table: Whole, lines: Lines) -> None:
        """Add rows, a column for each known name, and their lines."""
        self._draws += len(table)
        if self._draws > MOST_DRAWS:
            raise ValueError(f"the log has more than {MOST_DRAWS:,} draws: audit a part of it")
        for column, parts in zip(table.T, self._parts.values(), strict=True):
            small = len(column) > 0 and abs(column).max() < 2**31
            parts.append(column.astype(np.int32) if small else column.copy())
        last = self._lines[-1] if self._lines else None
        if isinstance(last, range) and isinstance(lines, range) and last.stop == lines.start:
            self._lines[-1] = range(last.start, lines.stop)
        elif len(lines):
            self._lines.append(lines)

    def result(self) -> tuple[dict[str, Whole], Lines]:
        """Return the columns by name, and the line of each draw; the parts are given up."""
        lines = self._lines
        columns = {name: _join(self._parts.pop(name)) for name in [*self._parts]}
        line = lines[0] if len(lines) == 1 else _join([np.asarray(part) for part in lines])
        return columns, line


def _join(parts: list[npt.NDArray[Any]]) -> Whole:
    """Return the parts as one array, which takes no memory where all values are equal."""
    values = {value for part in parts if len(part) for value in (part.min(), part.max())}
    if len(values) == 1:
        return np.broadcast_to(np.int64(values.pop()), sum(map(len, parts)))
    return np.concatenate([np.empty(0, dtype=np.int64), *parts], dtype=np.int64)
