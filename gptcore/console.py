"""What a command line reads and prints: typed values, progress on standard error, and answers.

An `Answer` is a sentence, then lines of text and tables. On a terminal it is wrapped to the
terminal's width, where texts in a table fold; elsewhere it has its full width. No text is ever
shortened, and no number is broken. Widths are counted in columns of the terminal.
"""

from __future__ import annotations

import argparse
import importlib.util
import math
import os
import re
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import TypeAlias

from gptcore.plain_text import columns, shorten, visible

Cell: TypeAlias = str | float | None  # an int and a bool are floats to the type checker


def quoted(text: str) -> str:
    """Return what somebody typed as a message quotes it: visible, and not too long."""
    return f"'{shorten(text)}'"


def whole(text: str) -> int:
    """Read a whole number of the command line."""
    try:
        return int(text)
    except ValueError:
        most = " of at most 4,300 digits" if len(text) > 4300 else ""
        raise argparse.ArgumentTypeError(f"{quoted(text)} is not a whole number{most}") from None


def whole_in(low: int, high: int) -> Callable[[str], int]:
    """Return the reader of whole numbers from `low` to `high`."""

    def read(text: str) -> int:
        value = whole(text)
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(
                f"{quoted(text)} is not in [{low}, {high}]: give a whole number in that range"
            )
        return value

    return read


TINY = 1e-100
"""Its square and its reciprocal are still floats, which those of smaller numbers are not."""


def number(text: str) -> float:
    """Read a finite number of the command line."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or 0 < abs(value) < TINY:
        raise argparse.ArgumentTypeError(
            f"{quoted(text)} is not a finite number that is 0 or at least {TINY:g} in size"
        )
    return value


def at_home(text: str) -> str:
    """Return a name of the command line, in which a leading `~` is the home folder."""
    name = os.path.expanduser(text)
    if name == "~" or name.startswith(("~/", f"~{os.sep}")):
        raise argparse.ArgumentTypeError(f"{quoted(text)}: no home folder is known; write it out")
    return name


def to_path(text: str) -> Path:
    """Read the path of a file or a folder of the command line."""
    if not text.strip():
        wrong = f"{text!r} is not a path: give the name of a file or folder"
        raise argparse.ArgumentTypeError(wrong)
    return Path(at_home(text))


def to_file(text: str) -> Path:
    """Read the path of a file to write, whose name does not end as that of a folder."""
    if text.endswith(("/", os.sep)):
        raise argparse.ArgumentTypeError(f"{quoted(text)} names a folder: name a file")
    return to_path(text)


PICTURES = (".pdf", ".png", ".svg")


def to_picture(text: str) -> Path:
    """Read the path of a picture to write: its suffix is known, and its folder exists."""
    path = to_file(text)
    if importlib.util.find_spec("matplotlib") is None:
        raise argparse.ArgumentTypeError("drawing needs matplotlib: pip install matplotlib")
    if path.suffix.lower() not in PICTURES:
        wrong = f"it does not end in {', '.join(PICTURES)}"
    elif os.path.isdir(path):
        wrong = "it is a folder"
    elif not os.path.isdir(path.parent):
        wrong = f"there is no folder {quoted(str(path.parent))}"
    else:
        return path
    raise argparse.ArgumentTypeError(f"cannot draw to {quoted(text)}: {wrong}; name a file")


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
        self._live = sys.stderr.isatty() and hasattr(sys.stderr, "rewrite_line")
        self._told = self._created = time.monotonic()
        self._ended = False
        self._first: tuple[float, float] | None = None  # call: what was done, when

    def __call__(self, done: float, total: float | None, note: str = "") -> None:
        """Note that `done` of `total` units are done (None: unknown); print a line when due."""
        to_go_s = math.nan if total is None else self.to_go_s(done, total)
        now, last = time.monotonic(), done == total
        of_total = "" if total is None else f"/{total:,.0f}"
        to_go = "" if last else f" · {clock(to_go_s)} to go"
        text = f"{self._unit} {done:,.0f}{of_total}{note}{to_go}"
        live = self._live and columns(text) < shutil.get_terminal_size().columns
        due = now - self._told >= (0.2 if live else 10)
        if now - self._created < QUIET_S or self._ended or not (last or due):
            return
        self._told, self._ended = now, last
        if live:
            sys.stderr.rewrite_line(text)  # type: ignore[union-attr]
        print(
            "" if live else text, end="\n" if last or not live else "", file=sys.stderr, flush=True
        )

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
    """Return minutes and seconds, or hours and minutes, as 4:05 or 2 h 10 min; "?" for NaN.

    Part of a second counts as a whole one, so that 0:00 means that no time is left.
    """
    if math.isnan(seconds):
        return "?"
    minutes, seconds = divmod(math.ceil(round(seconds, 3)), 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes}:{seconds:02d}"


@dataclass(frozen=True)
class Table:
    """Headings, and rows of one cell for each heading; a line break in a cell begins a new line.

    A column of numbers is aligned right. Where the columns of numbers alone are too wide for the
    terminal, each cell has a line of its own, which begins with its heading.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]

    def lines(self, width: int | None = None) -> list[str]:
        """Return the lines of the table; with `width`, the widest columns fold until it fits."""
        body = [[visible(format_cell(cell), "\n") for cell in row] for row in self.rows]
        grid = [[visible(heading) for heading in self.columns], *body]
        indices = range(len(self.columns))
        is_text = [any(_is_text(row[i]) for row in self.rows) for i in indices]
        widths = [max(_width(row[i]) for row in grid) for i in indices]
        # A text folds to a few letters, and a number not at all.
        least = [
            min(widths[i], 8) if is_text[i] else max([0, *(_width(row[i]) for row in body)])
            for i in indices
        ]
        while width and sum(widths) + 2 * (len(widths) - 1) > width:
            spare = [w - low for w, low in zip(widths, least, strict=True)]
            if not any(spare):
                return self._one_line_each(grid, width)
            widest = max(w for w, more in zip(widths, spare, strict=True) if more)
            widths[next(i for i in indices if widths[i] == widest and spare[i])] -= 1
        return [line for row in grid for line in _folded(row, widths, is_text)]

    @staticmethod
    def _one_line_each(grid: Sequence[Sequence[str]], width: int) -> list[str]:
        lines = []
        for row in grid[1:]:
            for heading, cell in zip(grid[0], row, strict=True):
                text = f"{heading}: {cell}".replace("\n", " ").removeprefix(": ")
                lines += wrap(text, width)
            lines.append("")
        return lines[:-1]

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
        lines = wrap(visible(self.sentence), width)
        for part in self.parts:
            if isinstance(part, Table):
                space = [] if lines[-1] == "" else [""]
                lines += [*space, *part.lines(width), ""]
            else:
                lines += wrap(visible(part), width)
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
    if width is None or columns(text) <= width:
        return [text]
    lines = [""]
    for space, word in re.findall(r"( *)([^ ]+)", text):
        if lines != [""] and columns(f"{lines[-1]}{space}{word}") > width:
            lines.append(word)
        else:
            lines[-1] += space + word
        if cut:
            lines[-1:] = _pieces(lines[-1], width)
    return lines


def _pieces(text: str, width: int) -> list[str]:
    """Return `text` cut into lines of `width`, or of one character where that is wider."""
    lines, used = [""], 0
    for char in text:
        used += columns(char)
        if lines[-1] and used > width:
            lines.append("")
            used = columns(char)
        lines[-1] += char
    return lines


def _folded(row: Sequence[str], widths: Sequence[int], is_text: Sequence[bool]) -> list[str]:
    """Return the lines of one row of a table."""
    folded = [
        [piece for line in cell.split("\n") for piece in wrap(line, width, cut=True)]
        for cell, width in zip(row, widths, strict=True)
    ]
    lines = []
    for parts in zip_longest(*folded, fillvalue=""):
        line = "  ".join(
            part + " " * (width - columns(part)) if text else " " * (width - columns(part)) + part
            for part, width, text in zip(parts, widths, is_text, strict=True)
        )
        lines.append(line.rstrip())
    return lines


def _width(cell: str) -> int:
    return max(columns(line) for line in cell.split("\n"))


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
    if not math.isfinite(value):
        return "-"
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
