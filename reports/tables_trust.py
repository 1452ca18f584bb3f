"""Frames and records → tables on memory, roofline, steadiness, pairs and operators."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pandas as pd

from bench.ledger import plain_text
from bench.ledger.record import Record
from bench.ledger.schema import PHASE_PEAKS
from reports import findings_trust, machine, words
from reports.findings_trust import UNSTEADY
from reports.load import Run, stability
from reports.tables import Table, case_label, first_rows, table

MAX_OPERATORS, MAX_REASONS = 15, 6
OPEN_TRACE = "Open it at ui.perfetto.dev (it stays on your machine) or in chrome://tracing."


def ceilings(run: Run) -> Table:
    """Return what the machine was measured to be capable of, before and after."""
    start, end = findings_trust.ceilings(run)
    several = len({device for device, _ in start}) > 1
    rows: list[tuple[str, ...]] = []
    for device, name in dict.fromkeys([*start, *end]):
        before, after = start.get((device, name)), end.get((device, name))
        unit = "B/s" if name.endswith("bytes_per_s") else "FLOP/s"
        change = after / before - 1 if before and after else None
        at_end = (words.si(after, unit), words.signed_percent(change)) if end else ()
        label = words.ceiling(device if several else "", name)
        rows.append((label, words.si(before, unit), *at_end))
    speed = run.environment["metrics"].get("reference_speed") if run.environment else None
    blank = ("", "") if end else ()
    rows.append(("Speed against the reference machine", words.number(speed), *blank))
    if end:
        columns: tuple[str, ...] = ("Ceiling", "At the start#", "At the end#", "Change#")
        return table("Ceilings of this machine, measured at both ends of the run.", columns, rows)
    caption = "Ceilings of this machine, measured at the start of the run."
    note = (
        "They were not measured again at the end, because the run did not end properly, so a "
        "change of the machine in between would not show."
    )
    return replace(table(caption, ("Ceiling", "Best#"), rows), note=note)


def roofline(models: pd.DataFrame) -> Table:
    """Return where each case stands under the roof of the machine."""
    rows = []
    for _, case in models.iterrows():
        limit = findings_trust.bound(case)
        rows.append(
            (
                f"{case['number']}: {case_label(case)}, {words.work(case['work'])}",
                words.number(case["intensity"]),
                words.si(case["attainable_flops_per_s"], "FLOP/s"),
                words.si(case["flops_per_s"], "FLOP/s"),
                words.percent(case["flops_per_s"] / case["attainable_flops_per_s"]),
                limit or words.MISSING,
            )
        )
    columns = ("Case", "FLOP/byte#", "Attainable#", "Reached#", "Share of it#", "Limited by")
    gap = findings_trust.flops_gap(models)
    note = "" if gap.empty else f"FLOPs by formula and by torch's counter {_agree(gap)}."
    return replace(table("Roofline: what the machine allows each case.", columns, rows), note=note)


def _agree(gap: pd.Series[float]) -> str:
    n = words.count(len(gap), "case")
    if gap.max() == 0:
        return f"are the same number in {n}"
    return f"agree within {words.percent(gap.max())} in {n}"


def memory(models: pd.DataFrame) -> Table:
    """Return held and peak memory, case by case and phase by phase."""
    phases = {name: phase for name, phase in PHASE_PEAKS.items() if models[name].notna().any()}
    rows = []
    for _, case in models.iterrows():
        sizes = pd.to_numeric(case[["batch_size", "block_size"]], errors="coerce")
        rows.append(
            (
                f"{case_label(case)}, {words.work(case['work'])}",
                words.size(case["base_bytes"]),
                words.size(case["peak_bytes"]),
                *(words.size(case[name]) for name in phases),
                words.size(case["peak_bytes"] / sizes.prod(skipna=False)),
            )
        )
    columns = (
        "Case", "Held before#", "Peak above it#", *(f"{p.capitalize()}#" for p in phases.values()),
        "Peak a token#",
    )  # fmt: skip
    return table("Memory of one call; peaks are above what was held before.", columns, rows)


def unsteady(records: Iterable[Record]) -> Table:
    """Return the noisy and drifting cases, with the reasons and the remedies."""
    rows: list[tuple[str, ...]] = []
    for record in records:
        found = stability(record)
        if found.get("verdict") not in UNSTEADY:
            continue
        rows.append(
            (
                record["case"],
                words.steadiness(found["verdict"]),
                _sentences(found.get("reasons")),
                _sentences(found.get("remedies")),
            )
        )
    columns = ("Case", "Steadiness", "Reason", "Remedy")
    return table("What to do about unsteady cases.", columns, first_rows(rows))


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
                words.verdict(case["verdict"]),
                words.ratio(case["ratio"]),
                ends if known else words.MISSING,
                words.number(case["pairs"]),
                words.si(case["a_time_s"], "s"),
                words.si(case["b_time_s"], "s"),
                words.percent(case["margin_ratio"]),
            )
        )
    columns = (
        "Pair", "Verdict", "Ratio#", "95 % interval#", "Pairs#", "First#", "Second#", "Margin#",
    )  # fmt: skip
    caption = "Interleaved pairs: time of the second over time of the first."
    return table(caption, columns, rows)


def operators(run: Run) -> list[Table]:
    """Return the top operators of each traced case, folded, with the way to its trace."""
    made = []
    for record in run.finished:
        found = record["series"].get("top_operators") or []
        trace = record["facts"].get("trace")
        if not found and not isinstance(trace, str):
            continue
        rows = [
            (
                record.shorten(str(row["operator"]), 60),
                words.number(row["calls"]),
                words.si(_number(row["self_time_s"]), "s"),
                words.percent(_number(row["share"])),
            )
            for row in found[:MAX_OPERATORS]
        ]
        where = ""
        if isinstance(trace, str):
            where = f"Trace: {record.shorten(trace, 400)}. {OPEN_TRACE}"
        columns = ("Operator", "Calls#", "Self time#", "Share#")
        shown = f"the {len(rows)} first of {len(found):,}" if len(found) > len(rows) else "all"
        caption = f"Operators by their own time, {shown}; profiled apart from the timing."
        fold = f"Top operators: {record.shorten(record['case'], 160)}"
        made.append(replace(table(caption, columns, rows, fold), note=where))
    return made


def _number(value: Any) -> Any:
    """Return `value` if it is a number, None for anything else: series are not checked for it."""
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def case_facts(record: Record) -> list[tuple[str, str]]:
    """Return the facts of a case as names and texts, for the list of all cases."""
    return [
        (record.shorten(str(name), 80), machine.text(value, str(name)))
        for name, value in list(record["facts"].items())[: machine.MAX_ITEMS]
    ]
