"""Claims that are printed only as far as every row of their table bears them out.

A claim is a sentence, the rows that it is about, and a test of one row. Its text names the rows
that bear it out and those that do not, and is empty where no row does. A superlative ("the largest
gain") needs an interval that lies above those of all other rows: the interval of a difference is
narrower than two intervals side by side, so this errs towards claiming less (Schenker and
Gentleman 2001, "On judging the significance of differences by examining the overlap between
confidence intervals").
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from gptcore import plain_text
from reports import words

Row = Any
"""One row of a table: a dict, or a Series of a frame."""
NUMBERED = re.compile(r"(\D* )([\d.,]+)( \D*)")
MOST_NAMED = 5
"""Rows that a sentence names at most."""
CONDITIONS: dict[str, Callable[[Any], str]] = {
    "corpus": words.corpus,
    "model": words.model,
    "work": words.work,
    "device": words.device,
    "precision": lambda value: plain_text.shorten(str(value)),
    "compile": lambda value: "not compiled" if words.is_missing(value) else f"compiled ({value})",
    "batch_size": lambda value: f"B{words.NBSP}={words.NBSP}{words.number(value)}",
    "block_size": lambda value: f"T{words.NBSP}={words.NBSP}{words.number(value)}",
}
"""Column → the words for its value, for `apart`."""


@dataclass(frozen=True)
class Claim:
    """A sentence about rows.

    Attributes:
        sentence: what is claimed of each row, without a full stop.
        rows: all rows that it is about.
        holds: whether one row bears the sentence out.
        name: the words for a row behind the sentence, such as "at 1 epoch-equivalent".
    """

    sentence: str
    rows: Sequence[Row]
    holds: Callable[[Row], bool]
    name: Callable[[Row], str]

    @property
    def holding(self) -> list[Row]:
        """The rows that bear the sentence out."""
        return [row for row in self.rows if self.holds(row)]

    @property
    def text(self) -> str:
        """The sentence with the rows for which it holds, and those for which it does not."""
        held = self.holding
        failed = [row for row in self.rows if not self.holds(row)]
        if not held:
            return ""
        but = f", but not {listed(map(self.name, failed), 'or')}" if failed else ""
        return f"{self.sentence} {listed(map(self.name, held))}{but}"


def listed(names: Iterable[str], word: str = "and") -> str:
    """Return names as a sentence lists them: "a, b and c"; the last of many are counted.

    Names that differ in a number alone share their words: "after 0.5, 1 and 2 epochs".
    """
    found = list(dict.fromkeys(names))
    parts = [NUMBERED.fullmatch(name) for name in found]
    begin = end = ""
    if len({part and (part[1], part[3].removesuffix("s")) for part in parts}) == 1 and parts[0]:
        begin, end = parts[0][1], max((part[3] for part in parts if part), key=len)
        found = [part[2] for part in parts if part]
    if len(found) > MOST_NAMED:
        found = [*found[: MOST_NAMED - 1], f"{len(found) - MOST_NAMED + 1:,} more"]
    told = f" {word} ".join([", ".join(found[:-1]), found[-1]] if len(found) > 1 else found)
    return begin + told + end


def extent(values: pd.Series[Any], shown: Callable[[Any], str]) -> str:
    """Return the value of all cases in words, or the least and the most: "4", "4 to 16"."""
    low, high = shown(values.min()), shown(values.max())
    return low if low == high else f"{low} to {high}"


def apart(case: Row, others: pd.DataFrame) -> str:
    """Return in brackets the conditions that tell a case from the others that a claim could mean.

    Args:
        case: the case that a headline is about.
        others: the rows of its table that the same words describe; the case may be among them.

    Returns:
        " (bf16, B = 8)", or "" where the table has no other such row.
    """
    rest = others[others["case"] != case["case"]]
    if rest.empty:
        return ""
    told = [
        name(case[column])
        for column, name in CONDITIONS.items()
        if column in rest and {*map(str, rest[column])} != {str(case[column])}
    ]
    if not told and "setting" in rest:
        others_have = [set(str(setting).split(" · ")) for setting in rest["setting"]]
        parts = str(case["setting"]).split(" · ")
        told = [part for part in parts if any(part not in have for have in others_have)]
    return f" ({', '.join(told)})" if told else f" (one of {len(rest) + 1:,} such cases)"


def at_least(rows: pd.DataFrame) -> pd.Series[float]:
    """Return the smallest factor that the interval of each ratio allows, in either direction.

    It is less than 1 where the interval encloses 1, and 0 where there is no interval. Rankings go
    by it, so that a wide interval never stands above a narrow one for its middle alone.
    """
    low, high = rows["ratio_low"].astype(float), rows["ratio_high"].astype(float)
    bound = low.where(low.gt(1 / high), 1 / high)
    return bound.where(low.gt(0) & high.gt(0), 0.0)


def leaders(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows whose ratio none is shown to exceed, that with the highest low end first.

    A single row leads where its interval lies above all others. A row without an interval is never
    excluded. There is no leader where no interval is known.
    """
    low = rows["ratio_low"].astype(float)
    if not low.notna().any():
        return rows.head(0)
    reached = ~rows["ratio_high"].lt(low.max())
    return rows[reached].sort_values("ratio_low", ascending=False, kind="stable")


def of_base(pairs: pd.DataFrame) -> pd.DataFrame:
    """Return pairs with the conditions of the case that each starts from, for `apart`.

    Args:
        pairs: cases with a column `base`, the params of that case.
    """
    bases = [base if isinstance(base, dict) else {} for base in pairs["base"]]
    columns = {
        name: pd.Series([base.get(name) for base in bases], pairs.index, dtype=object)
        for name in CONDITIONS
    }
    return pairs.assign(**columns)


def verdict(pair: Row) -> Any:
    """Return the verdict of a pair, "ambiguous" where its own interval does not bear it out."""
    low, high, margin = pair["ratio_low"], pair["ratio_high"], pair["margin_ratio"]
    borne_out = {
        "slower": low > 1,
        "faster": high < 1,
        "same": low >= 1 / (1 + margin) and high <= 1 + margin,
    }
    told = pair["verdict"]
    return told if borne_out.get(str(told), True) else "ambiguous"
