"""The command line's parser, its progress on standard error, and the answers that it prints.

An `Answer` is a sentence, then lines of text and tables. On a terminal it is wrapped to the
terminal's width, where cells of a table fold; elsewhere it has its full width. Nothing is ever cut.
"""

from __future__ import annotations

import argparse
import math
import shutil
import sys
import textwrap
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import NoReturn, TypeAlias

Cell: TypeAlias = str | float | None  # an int and a bool are floats to the type checker


class Parser(argparse.ArgumentParser):
    """A parser that says in one line what is wrong."""

    def error(self, message: str) -> NoReturn:
        """Print `message` and end the program with exit code 2."""
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


def whole(text: str) -> int:
    """Read a whole number of the command line."""
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None


def number(text: str) -> float:
    """Read a finite number of the command line."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"{text!r} is not a finite number")
    return value


QUIET_S = 2.0
"""Nothing is printed about work that takes less time than this, in seconds."""


class Progress:
    """Prints to standard error how much of some work is done, and the time to go.

    On a terminal, one line is written again and again; elsewhere a new line comes every 10 s.

    Args:
        unit: what is counted, as in "step 3/8".
        pace_s: the assumed seconds for a unit, until more than `few` units are done; then the
            measured pace is used.
        few: the number of units that are too few to measure the pace.
    """

    def __init__(self, unit: str, *, pace_s: float = math.nan, few: float = 0) -> None:
        self._unit, self._pace_s, self._few = unit, pace_s, few
        self._live = sys.stderr.isatty()
        self._told = self._created = time.monotonic()
        self._first: tuple[float, float] | None = None  # call: what was done, when

    def __call__(self, done: float, total: float | None, note: str = "") -> None:
        """Note that `done` of `total` units are done (None: unknown); print a line when due."""
        to_go_s = math.nan if total is None else self.to_go_s(done, total)
        now, last = time.monotonic(), done == total
        since = now - self._told
        if now - self._created < QUIET_S or not (last or since >= (0.2 if self._live else 10)):
            return
        self._told = now
        of_total = "" if total is None else f"/{total:,.0f}"
        text = f"{self._unit} {done:,.0f}{of_total}{note} · {clock(to_go_s)} to go"
        end = "\n" if last or not self._live else ""
        print(f"\r\x1b[K{text}" if self._live else text, end=end, file=sys.stderr, flush=True)

    def to_go_s(self, done: float, total: float) -> float:
        """Return the seconds that the rest takes at the pace so far, or NaN if no pace is known."""
        if done == total:
            return 0.0
        now = time.monotonic()
        if self._first is None:  # earlier time may be that of compiling, so it does not count
            self._first = (done, now)
        units = done - self._first[0]
        pace_s = (now - self._first[1]) / units if units > self._few else self._pace_s
        return pace_s * (total - done)


def clock(seconds: float) -> str:
    """Return minutes and seconds, or hours and minutes, as 4:05 or 2 h 10 min; "?" for NaN."""
    if math.isnan(seconds):
        return "?"
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes}:{seconds:02d}"


@dataclass(frozen=True)
class Table:
    """Headings, and rows of one cell for each heading; a line break in a cell begins a new line.

    A column of numbers is aligned right.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]

    def lines(self, width: int | None = None) -> list[str]:
        """Return the lines of the table; with `width`, the widest columns fold until it fits."""
        grid = [list(self.columns), *([format_cell(cell) for cell in row] for row in self.rows)]
        columns = range(len(self.columns))
        is_text = [any(_is_text(row[i]) for row in self.rows) for i in columns]
        widths = [max(len(line) for row in grid for line in row[i].split("\n")) for i in columns]
        while width and sum(widths) + 2 * (len(widths) - 1) > width and max(widths) > 1:
            widths[widths.index(max(widths))] -= 1
        lines = []
        for row in grid:
            folded = [
                [piece for line in cell.split("\n") for piece in wrap(line, w, cut=True)]
                for cell, w in zip(row, widths, strict=True)
            ]
            for parts in zip_longest(*folded, fillvalue=""):
                cells = zip(parts, widths, is_text, strict=True)
                line = "  ".join(p.ljust(w) if text else p.rjust(w) for p, w, text in cells)
                lines.append(line.rstrip())
        return lines

    def __str__(self) -> str:
        """Return the table as it is printed: it folds where standard output is a terminal."""
        return "\n".join(self.lines(terminal_width()))


@dataclass(frozen=True)
class Answer:
    """What people read of a result: a sentence that answers, then lines of text and tables."""

    sentence: str
    parts: Sequence[str | Table] = ()

    def lines(self, width: int | None = None) -> list[str]:
        """Return the lines of the answer, at most `width` long where words and cells allow it."""
        lines = wrap(self.sentence, width)
        for part in self.parts:
            if isinstance(part, Table):
                space = [] if lines[-1] == "" else [""]
                lines += [*space, *part.lines(width), ""]
            else:
                lines += wrap(part, width)
        return lines[:-1] if lines[-1] == "" else lines


def show(answer: Answer | str) -> None:
    """Print an answer, or a text as it is."""
    if isinstance(answer, str):
        print(answer)
        return
    print("\n".join(answer.lines(terminal_width())))


def terminal_width() -> int | None:
    """Return the columns of the terminal that reads standard output; None where none does."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def wrap(text: str, width: int | None, *, cut: bool = False) -> list[str]:
    """Return `text` in lines of `width`; a longer word is kept whole, or with `cut` in pieces."""
    if width is None or len(text) <= width:
        return [text]
    return textwrap.wrap(text, width, break_long_words=cut, break_on_hyphens=False)


def _is_text(cell: Cell) -> bool:
    return isinstance(cell, str) and not cell.lstrip("+-")[:1].isdigit()


def format_cell(value: Cell) -> str:
    """Return a cell as text: numbers with four digits or more, "-" for None, yes and no."""
    match value:
        case None:
            return "-"
        case bool():
            return "yes" if value else "no"
        case str():
            return value
        case int():
            return f"{value:,}"
    if value.is_integer() and abs(value) < LARGE:
        return f"{value:,.0f}"
    if SMALL <= abs(value) < LARGE:
        return f"{value:,.{max(0, 3 - math.floor(math.log10(abs(value))))}f}"
    return f"{value:.4g}"


SMALL, LARGE = 1e-4, 1e7
"""Outside of that range, numbers that are not whole are written with an exponent."""


def fixed(value: float | None, places: int = 4) -> str | None:
    """Return a number with that many decimal places, as losses are written; None stays None."""
    return None if value is None else f"{value:.{places}f}"


def percent(share: float) -> str:
    """Return a share in per cent, with three digits."""
    return f"{100 * share:.3g} %"


def counted(number: int, noun: str) -> str:
    """Return a number with its noun, as "1 step" or "501 steps"."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
