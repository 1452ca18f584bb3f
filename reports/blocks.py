"""The parts of a page (findings, figures, tables, sections), and what the topics share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from markupsafe import Markup
from matplotlib.figure import Figure

from reports import drawing, words
from reports.load import Run
from reports.numbers import Heading, cells


@dataclass(frozen=True)
class Finding:
    """One claim.

    `importance` orders findings, largest first. `clause` is the claim as a part of the verdict,
    "" where the verdict leaves it out. `evidence` holds the ids of the cases behind the claim.
    `module` is the topic that states it: the finding stands in the first of its sections.
    """

    importance: int
    topic: str
    clause: str
    headline: str
    detail: str
    evidence: tuple[str, ...] = ()
    module: str = ""


IN_TURNS = "The ratio is taken pair by pair, so the two medians need not divide to it."
"""Said wherever the ratio of an interleaved pair stands beside its times."""
ONE_PROCESS = (
    "Each pair was timed in one process. Another process places memory and code anew, which the "
    "intervals leave out. The command python -m bench pair times a pair in several processes."
)
"""Said of the pairs that a suite timed."""
MAX_ROWS = 60


@dataclass(frozen=True)
class Table:
    """A caption, the names of the columns, and rows of text; the first column names the row.

    `numeric` holds the positions of the columns that align to the right.
    """

    caption: str
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]]
    numeric: frozenset[int] = frozenset()
    note: str = ""
    """A line shown below the table."""
    command: str = ""
    """A command that the note leads to, on a line of its own, so that it can be copied."""
    folded: str = ""
    """The summary line under which a long table is folded away; "" shows the table at once."""
    bars: Mapping[int, tuple[float | None, ...]] = field(default_factory=dict)
    """Position of a column → a share from 0 to 1 for each row, drawn as a bar inside the cell."""


MAX_DRAWN, MAX_BARS, MAX_LINES = 8, 24, 12
"""Cases, bars and lines in one figure at most."""
MAX_TEXT = 5_000
"""Characters of one text of a section or a finding at most."""
MAX_SVG = 200_000
"""Characters of one figure at most; thousands of lines over each other show nothing."""
MARKUP = 30
"""Characters of markup around a cell of a table, about."""


@dataclass(frozen=True)
class Plot:
    """A figure.

    Attributes:
        title: what it shows, in a few words.
        caption: how to read it.
        alt: a short name that is read out in its place; the numbers are in `data`.
        svg: the drawing.
        data: what was drawn, as a table that is folded below the figure; None for a figure that
            repeats a table of its section.
        other: what to show in place of the drawing, and the drawing with another axis.
    """

    title: str
    caption: str
    alt: str
    svg: Markup
    data: Table | None = None
    other: tuple[str, Markup] | None = None


@dataclass(frozen=True)
class Text:
    """Text that a model wrote, before or after training."""

    when: str
    source: str
    prompt: str
    text: str


@dataclass(frozen=True)
class Section:
    """One question of the report with its answer; `missing` says why there is none."""

    anchor: str
    short: str
    """Its name in the table of contents."""
    title: str
    intro: str
    plots: list[Plot] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    texts: list[Text] = field(default_factory=list)
    missing: str = ""
    module: str = ""
    """The topic that it belongs to, as in `Finding`."""
    findings: list[Finding] = field(default_factory=list)
    """What the run says on the topic; they stand in its first section."""

    @property
    def is_empty(self) -> bool:
        """Return whether it only says why it holds nothing."""
        return bool(self.missing) and not (self.plots or self.tables or self.texts or self.findings)


Draw = Callable[[pd.DataFrame], Figure]
Other = tuple[str, Draw]
"""Words of the switch to a figure with another axis, and what draws it."""


@dataclass
class Room:
    """What a page can still take: it has to stay small, whatever the ledgers hold.

    A section takes at most its share, so that the sections and the runs after it have room, too.
    """

    runs: int = 1
    figures: int = 96
    characters: int = 2_000_000
    """Characters of tables and generated texts."""

    def share(self, most: int) -> int:
        """Return how much each of the runs may take of what would be the most for one run."""
        return max(1, most // self.runs)


T = TypeVar("T")


class Plotter:
    """Draws figures, gives each a name that is unique inside one page, and bounds each section."""

    SECTION_FIGURES, SECTION_PARTS, SECTION_CHARACTERS = 16, 40, 400_000

    def __init__(self, prefix: str, enabled: bool, room: Room | None = None) -> None:
        self.prefix, self.enabled, self.drawn = prefix, enabled, 0
        self.room = room or Room()
        self.begin()

    def begin(self) -> None:
        """Begin a section: nothing is left out of it yet."""
        self.last = self.drawn + self.room.share(self.SECTION_FIGURES)
        self.left_out: Counter[str] = Counter()

    def parts(self, found: Iterable[T]) -> list[T]:
        """Return the first parts of a section, for example its settings, and count the others."""
        every = list(found)
        most = self.room.share(self.SECTION_PARTS)
        self.left_out["case group"] += max(0, len(every) - most)
        return every[:most]

    def __call__(
        self,
        draw: Draw,
        data: pd.DataFrame,
        title: str,
        caption: str,
        alt: str,
        numbers: Mapping[str, Heading] | None = None,
        other: Other | None = None,
    ) -> list[Plot]:
        """Return the figure in a list; an empty list where there is nothing to draw.

        Args:
            draw: a function from the frame to a figure.
            data: its frame.
            title: what the figure shows, in a few words.
            caption: how to read it.
            alt: a short name that is read out in its place.
            numbers: column of the frame → its heading in the table of what was drawn; None where
                a table of the section has these numbers.
            other: the same data along another axis, which the reader can switch to.
        """
        if data.empty or not self.enabled:
            return []
        if self.drawn >= self.last or not self.room.figures:
            self.left_out["figure"] += 1
            return []
        if "variant" in data:
            names = data["variant"].drop_duplicates()
            data = data[data["variant"].isin(names.head(MAX_LINES))]
            _, more = first_cases(names.to_frame(), MAX_LINES, "lines")
            caption += more
        name = f"{self.prefix}-f{self.drawn + 1}"
        svg = Markup(drawing.svg(draw, data, name))
        switch = (other[0], Markup(drawing.svg(other[1], data, f"{name}o"))) if other else None
        if len(svg) + len(switch[1] if switch else "") > MAX_SVG:
            self.left_out["figure"] += 1
            return []
        self.drawn += 1
        self.room.figures -= 1
        drawn = Table(f"{title}: what was drawn.", *cells(data, numbers)) if numbers else None
        return [Plot(title, cut(caption), cut(alt), svg, drawn, switch)]

    def fit(self, section: Section) -> Section:
        """Return the section without what exceeds its share of the page, and with its number."""
        left = start = min(self.room.share(self.SECTION_CHARACTERS), self.room.characters)
        tables = []
        for each in section.tables:
            costs = np.cumsum([sum(map(len, row)) + MARKUP * len(row) for row in each.rows])
            n = int(np.searchsorted(costs, left, side="right"))
            left -= int(costs[n - 1]) if n else 0
            self.left_out["table row"] += len(each.rows) - n
            if n or not each.rows:
                note, caption = cut(each.note), cut(each.caption)
                tables.append(replace(each, rows=each.rows[:n], note=note, caption=caption))
        texts = [replace(t, prompt=cut(t.prompt), text=cut(t.text)) for t in section.texts]
        n = min(len(texts), left // MAX_TEXT)
        left -= sum(len(t.prompt) + len(t.text) for t in texts[:n])
        self.left_out["text"] += len(texts) - n
        self.room.characters -= start - left
        intro = f"{cut(section.intro)}{self._said()}"
        return replace(section, intro=intro, tables=tables, texts=texts[:n])

    def _said(self) -> str:
        """Return the sentence on what is left out of the section, "" where nothing is."""
        parts = [words.count(n, what) for what, n in self.left_out.items() if n]
        if not parts:
            return ""
        return (
            f" To keep the page small, this section leaves out {', '.join(parts)}. The ledger "
            "holds all numbers."
        )


def cut(text: str) -> str:
    """Return a text of at most MAX_TEXT characters; "…" marks a cut."""
    return text if len(text) <= MAX_TEXT else f"{text[: MAX_TEXT - 1]}…"


def one_after_the_other(
    a: float, b: float, low: float, high: float, unit: str
) -> tuple[str, str, str, str]:
    """Return in words how two cases compare that were not timed in turns.

    Args:
        a: a rate of the first, or a time of the second.
        b: the same of the other.
        low: the ratio a / b of the rounds that are worst for the first.
        high: that of the rounds that are best for it.
        unit: the unit of a and b.

    Returns:
        "2.1 times faster" or "slower", said of the first, or "" where `low` and `high` enclose 1;
        a; b; and a sentence about `low` and `high`, or "" where they are not known.
    """
    if a >= b:
        factor, first, second = words.dividing(a, b, unit)
    else:
        factor, second, first = words.dividing(b, a, unit)
    how = "" if low <= 1 <= high else f"{factor} times {'faster' if a >= b else 'slower'}"
    known = not (words.is_missing(low) or words.is_missing(high))
    ends = f"{words.number(low)} to {words.number(high)}"
    spread = f" The slowest and fastest rounds allow ratios from {ends}." if known else ""
    return how, first, second, spread


def missing(run: Run, group: str, what: str) -> str:
    """Return why there is no `what`: its cases did not finish, or there were none."""
    lost = [r for r in run.unfinished if r["group"] == group]
    if lost:
        n = words.count(len(lost), "case")
        return f"No {what} finished in this run: {n} failed or did not run, for the reasons below."
    return f"This ledger holds no {what}. The suite does not include it, or the run ended before."


def dicts(frame: pd.DataFrame) -> list[dict[Any, Any]]:
    """Return a frame as a list with one dict for each row."""
    return frame.to_dict("records")


def by_setting(plot: Plotter, *frames: pd.DataFrame) -> Iterator[tuple[str, list[pd.DataFrame]]]:
    """Yield the first settings of the first frame, with the part of every frame that is of it."""
    for name in plot.parts(dict.fromkeys(frames[0]["setting"])):
        yield name, [frame[frame["setting"] == name] for frame in frames]


def titled(table: Table, setting: str, note: str = "") -> Table:
    """Return the table with its conditions in the caption."""
    return replace(table, caption=f"{table.caption} {setting}.", note=note or table.note)


def table(
    caption: str,
    columns: tuple[str, ...],
    rows: Iterable[tuple[str, ...]],
    folded: str = "",
    *,
    note: str = "",
) -> Table:
    """Build a table; a column whose name ends in "#" is numeric."""
    return Table(
        caption=caption,
        columns=tuple(name.removesuffix("#") for name in columns),
        rows=list(rows),
        numeric=frozenset(i for i, name in enumerate(columns) if name.endswith("#")),
        note=note,
        folded=folded,
    )


def first_rows(rows: Sequence[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Return the first MAX_ROWS rows; a row below them says how many more there are."""
    if len(rows) <= MAX_ROWS:
        return list(rows)
    blank = ("",) * (len(rows[0]) - 2)
    return [*rows[:MAX_ROWS], ("…", f"{len(rows) - MAX_ROWS:,} more in the ledger", *blank)]


def labelled(models: pd.DataFrame) -> pd.DataFrame:
    """Return model cases with a column `label`: the work and its conditions in words."""
    if models.empty:
        return models
    labels = models["work"].map(words.work) + ": " + models.apply(words.case_label, axis=1)
    return models.assign(label=labels)


def first_cases(frame: pd.DataFrame, n: int, what: str) -> tuple[pd.DataFrame, str]:
    """Return the first `n` rows, and the words that say so where there are more."""
    return frame.head(n), f" The first {n} of {len(frame):,} {what}." if len(frame) > n else ""
