"""How the command line reads and talks: its parser, progress on standard error, results as text."""

from __future__ import annotations

import argparse
import math
import sys
import time
from typing import Any, NoReturn

from rich.console import Console
from rich.table import Table


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

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
"""Work that is over within that time is not talked about."""


class Progress:
    """Tells standard error what is done and to go: a line that rewrites itself, or one every 10 s.

    Args:
        unit: what is counted, as in "step 3/8".
        pace_s: seconds that a unit should take, for as long as only `few` units are done.
        few: so many units do not tell the pace.
    """

    def __init__(self, unit: str, *, pace_s: float = math.nan, few: float = 0) -> None:
        self._unit, self._pace_s, self._few = unit, pace_s, few
        self._live = sys.stderr.isatty()
        self._told = self._created = time.monotonic()
        self._first: tuple[float, float] | None = None  # call: what was done, when

    def __call__(self, done: float, total: float | None, note: str = "") -> None:
        """Note that `done` of `total` (None: unknown) are done; say so if it is time."""
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
        """Return the seconds that the rest should take at the pace so far; NaN: not known yet."""
        if done == total:
            return 0.0
        now = time.monotonic()
        if self._first is None:  # time before it may have gone into compiling: it sets no pace
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


# Columns of the tables that people see, and their headings; --json has all.
COLUMNS = {
    "corpora": {
        name: name for name in ("name", "source", "licence", "available", "n_bytes", "n_tokens")
    },
    "samplers": {
        "sampler": "sampler",
        "expected_missed_targets": "missed",
        "sd_missed_targets": "sd",
        "expected_visits_sd": "visits sd",
        "expected_alignment_coverage": "alignments",
        "never_targets": "never",
        "steps_for_full_coverage": "steps to all",
    },
    "models": {name: name for name in ("params", "tokens", "flops")},
    "levels": {name: name for name in ("flops", "params", "tokens", "loss", "n_sizes")},
    "targets": {
        name: name for name in ("model", "params", "tokens", "observed", "predicted", "are_last30")
    },
    "profile": {name: name for name in ("start", "stop", "unigram", "bigram", "js", "unseen")},
}


class _Pipe(Console):
    """A console that leaves a closed pipe to `cli.main`; rich would exit with code 1."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def show(found: dict[str, Any]) -> None:
    """Print a result for people: a text as it is, tables, names with values and expectations."""
    console = _Pipe(highlight=False, soft_wrap=True)
    if "text" in found:
        console.print(found["text"], markup=False)
        return
    found = dict(found)
    if decision := found.pop("decision", None):
        console.print(decision, markup=False)
    expected, z = found.pop("expected", None) or {}, found.pop("z", {})
    for name, columns in COLUMNS.items():
        if rows := found.pop(name, None):
            table = Table(*columns.values(), box=None)
            for row in rows:
                table.add_row(*(_format(row[c]) for c in columns))
            _Pipe(highlight=False).print(table)
    findings, verdict = found.pop("findings", None), found.pop("verdict", None)
    width = max(map(len, found), default=0)
    for name, value in found.items():
        notes = [f"expected {_format(expected[name])}"] if expected.get(name) is not None else []
        notes += [f"z {z[name]:+.2f}"] if z.get(name) is not None else []
        text = f"{name:<{width}}  {_format(value)}"
        console.print(f"{text:<{width + 16}}  {', '.join(notes)}".rstrip(), markup=False)
    for finding in findings or ():
        line = f"{finding['severity']}: {finding['explanation']} (e.g. {finding['example']})"
        console.print(line, markup=False)
    if findings == []:
        console.print("nothing found", markup=False)
    if verdict:
        console.print(verdict, markup=False)


def _format(value: object) -> str:
    match value:
        case None:
            return "-"
        case bool():
            return "yes" if value else "no"
        case int():
            return f"{value:,}"
        case float():
            return f"{value:,.6g}"
        case dict():
            return ", ".join(f"{k}: {_format(v)}" for k, v in value.items())
        case list() | tuple():
            return ", ".join(map(_format, value)) or "-"
    return str(value)
