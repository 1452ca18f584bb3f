"""Every record of a run, for readers who want all of it: as text, and packed for the script.

The first records stand on the page as they are. A page of thousands would be too long for a
browser, so the others are packed: they are compressed in groups, and the script of the page shows
one when it is asked for it.
"""

from __future__ import annotations

import base64
import gzip
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from bench.ledger.record import Record
from gptcore import plain_text
from reports import words
from reports.facts import case_facts, fact_text
from reports.load import Run, stability

SHOWN, SHOWN_CHARACTERS = 200, 3_000_000
"""Records, and their characters, that stand on the page as text at most."""
CHARACTERS, AROUND = 6_800_000, 1.6
"""Characters of all records on a page at most, with what stands around those shown as text."""
GROUP = 200
"""Records that are packed together."""
MAX_TEXT = 500
"""Characters of a text in a record of the page, at most."""
LONG = re.compile(rf'"(?:[^"\\]|\\.){{{MAX_TEXT},}}')


@dataclass(frozen=True)
class Entry:
    """One record of the explorer.

    Attributes:
        name: the id of the case, or of the environment.
        number: its place in the ledger, from 1.
        anchor: the id of its element, which ends with its number.
        state: "stable", "noisy", "drifting", "failed", "skipped", "finished" or "environment".
        record: the record.
        text: the record as JSON.
    """

    name: str
    number: int
    anchor: str
    state: str
    record: Record
    text: str

    @property
    def facts(self) -> list[tuple[str, str, str]]:
        """Return what it holds: a name, the value in words, and the value at full precision."""
        rows = [(n, words.metric(n, v), json.dumps(v)) for n, v in self.record["metrics"].items()]
        params = self.record["params"].items()
        rows += [(plain_text.shorten(n, 80), fact_text(v, n), "") for n, v in params]
        return rows + [(name, text, "") for name, text in case_facts(self.record)]


@dataclass(frozen=True)
class Explorer:
    """The records of one run.

    Attributes:
        shown: those that stand on the page.
        packed: the others, of which the page holds the data.
        groups: the data of `packed`, compressed, in groups of GROUP.
        left_out: how many records the page has no room for.
    """

    shown: list[Entry]
    packed: list[Entry]
    groups: list[str]
    left_out: int

    @property
    def states(self) -> list[str]:
        """Return the states that occur."""
        return sorted({entry.state for entry in [*self.shown, *self.packed]})

    @property
    def data(self) -> dict[str, Any]:
        """Return what the script of the page needs of the packed records."""
        index = [[cut(e.name), e.number, e.state] for e in self.packed]
        return {"index": index, "groups": self.groups, "size": GROUP}


def explorer(run: Run, anchor: str, first: Iterable[str], runs: int) -> Explorer:
    """Return the records of a run; those named in `first` stand on the page before all others.

    Args:
        run: the run.
        anchor: the id of its part of the page.
        first: ids of the cases that the page links to.
        runs: the number of runs that share the page.
    """
    every, linked = {**run.records, **run.environments}, set(first)
    texts = {name: raw_record(record) for name, record in every.items()}
    room, most = SHOWN_CHARACTERS // runs, max(SHOWN // runs, 1)
    on_page: set[str] = set()
    for name in sorted(every, key=lambda n: (n not in linked, n not in run.environments)):
        if len(texts[name]) <= room and len(on_page) < most:
            room -= len(texts[name])
            on_page.add(name)
    entries = [
        Entry(name, i, f"{anchor}-case{i}", state(record), record, texts[name])
        for i, (name, record) in enumerate(every.items(), start=1)
    ]
    shown = [entry for entry in entries if entry.name in on_page]
    others = [entry for entry in entries if entry.name not in on_page]
    left = CHARACTERS // runs - AROUND * sum(len(entry.text) for entry in shown)
    groups = list(_packed(others, left))
    packed = others[: len(groups) * GROUP]
    return Explorer(shown, packed, groups, len(others) - len(packed))


def _packed(entries: Sequence[Entry], room: float) -> Iterator[str]:
    """Yield groups of records while there is room: base64 of gzip of a JSON list."""
    for begin in range(0, len(entries), GROUP):
        group = entries[begin : begin + GROUP]
        text = f"[{','.join(entry.text for entry in group)}]"
        packed = base64.b64encode(gzip.compress(text.encode(), compresslevel=9, mtime=0)).decode()
        room -= len(packed) + sum(len(cut(e.name)) + len(e.state) + 16 for e in group)
        if room < 0:
            return
        yield packed


def state(record: Record) -> str:
    """Return in one word how a case ended, or how steady it ran."""
    if record["record"] == "environment":
        return "environment"
    if record["status"] != "ok":
        return str(record["status"])
    return plain_text.shorten(stability(record).get("verdict", "finished"), 20)


def raw_record(record: Record) -> str:
    """Return a record as it stands in the ledger, long texts cut.

    It is ASCII, so that no character of it is hidden.
    """
    text = _dumps(record)
    return _dumps(_cut(record)) if LONG.search(text) else text


def _dumps(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


def cut(text: str) -> str:
    """Return a text of at most MAX_TEXT characters; "…" marks a cut."""
    return text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]}…"


def _cut(value: Any) -> Any:
    """Return a JSON value with its long texts cut: one record may hold megabytes of them."""
    if isinstance(value, dict):
        return {cut(key): _cut(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_cut(item) for item in value]
    return cut(value) if isinstance(value, str) else value


def data_block(data: Any) -> Markup:
    """Return data as JSON for a script element: in ASCII, and without "<"."""
    return Markup(_dumps(data).replace("<", "\\u003c"))
