"""Tables of unsteady cases and of pairs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pandas as pd

from bench.ledger.record import Record
from gptcore import plain_text
from reports import claims, words
from reports.blocks import IN_TURNS, ONE_PROCESS, Table, first_rows, table
from reports.load import UNSTEADY, stability

MAX_REASONS = 6


def unsteady(records: Iterable[Record]) -> Table:
    """Return the noisy and drifting cases, with the reasons and the remedies."""
    rows: list[tuple[str, ...]] = []
    for record in records:
        state = stability(record)
        if state.get("verdict") not in UNSTEADY:
            continue
        rows.append(
            (
                record["case"],
                words.steadiness(state["verdict"]),
                _sentences(state.get("reasons")),
                _sentences(state.get("remedies")),
            )
        )
    columns = ("Case", "Steadiness", "Reason", "Remedy")
    return table("Noisy and drifting cases, with reasons and remedies.", columns, first_rows(rows))


def _sentences(values: Any) -> str:
    if not isinstance(values, list) or not values:
        return words.MISSING
    shown = [words.sentence(plain_text.shorten(str(value), 300)) for value in values[:MAX_REASONS]]
    more = [f"{len(values) - MAX_REASONS:,} more."] if len(values) > MAX_REASONS else []
    return " ".join(shown + more)


def pairs(frame: pd.DataFrame) -> Table:
    """Return every interleaved pair with its ratio, interval and verdict."""
    rows = []
    for _, case in frame.iterrows():
        known = pd.notna(case["ratio_low"]) and pd.notna(case["ratio_high"])
        ends = f"{words.ratio(case['ratio_low'])} to {words.ratio(case['ratio_high'])}"
        label = words.sentence(words.subject(case["base"])).removesuffix(".")
        of = words.base_conditions(case["base"])
        rows.append(
            (
                f"{label}, {case['changed']}{f' ({of})' if of else ''}",
                words.verdict(claims.verdict(case)),
                words.steadiness(case["caution"]),
                words.ratio(case["ratio"]),
                ends if known else words.MISSING,
                words.number(case["pairs"]),
                words.si(case["a_time_s"], "s"),
                words.si(case["b_time_s"], "s"),
                words.percent(case["margin_ratio"]),
            )
        )
    columns = (
        "Pair", "Verdict", "Caution", "Ratio#", "95 % interval#", "Pairs#", "Time of the first#",
        "Time of the second#", "Margin#",
    )  # fmt: skip
    caption = "Pairs timed in turns: time of the second over time of the first."
    return table(caption, columns, rows, note=f"{IN_TURNS} {ONE_PROCESS}")
