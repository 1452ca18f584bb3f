"""Tables of timings, ceilings, rooflines and operators."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from gptcore import plain_text
from reports import words
from reports.blocks import Table, table
from reports.load import Run, over, over_processes
from reports.topics.speed import checks, findings
from reports.words import case_label


def _time_interval(case: pd.Series) -> str:
    """Return the range over processes where there are several; else how well one is known.

    Processes differ by more than the rounds of one do, so an interval over rounds is too narrow.
    """
    if over_processes(case):
        ends = words.si_range(case["process_low_s"], case["process_high_s"], "s")
        return f"{ends} (range of {words.number(case['processes'])} processes)"
    if pd.isna(case["time_low_s"]) or pd.isna(case["time_high_s"]):
        n = "" if pd.isna(case["rounds"]) else f" (range of {words.number(case['rounds'])} rounds)"
        return f"{_range(case)}{n}"
    ends = words.si_range(case["time_low_s"], case["time_high_s"], "s")
    return f"{ends} (one process)" if case["processes"] > 1 else ends


def _range(case: pd.Series) -> str:
    return words.si_range(case["time_min_s"], case["time_max_s"], "s")


def _processes(case: pd.Series) -> str:
    if pd.isna(case["processes"]) or pd.isna(case["process_low_s"]):
        return words.number(case["processes"])
    spread = words.si_range(case["process_low_s"], case["process_high_s"], "s")
    return f"{words.number(case['processes'])}: {spread}"


def _state(case: pd.Series) -> str:
    """Return how steady a case ran, with all that a reader has to know beside its time."""
    stable = words.steadiness(case["stability"])
    return stable if pd.isna(case["caution"]) else words.steadiness(case["caution"])


def speed(models: pd.DataFrame) -> Table:
    """Return time, speed and share of peak of every timed case, without empty columns."""
    has = models.notna().any()
    columns: list[tuple[str, bool, Callable[[pd.Series], str]]] = [
        ("Case", True, case_label),
        ("Work", True, lambda case: words.work(case["work"])),
        ("Time#", True, lambda case: words.si(case["time_s"], "s")),
        ("95 % interval, or range#", True, _time_interval),
        ("Rounds#", True, lambda case: words.number(case["rounds"])),
        ("Steadiness", has["stability"] or has["caution"], _state),
        ("New processes: range of medians#", has["processes"], _processes),
        ("Time on the device#", has["device_time_s"], lambda c: words.si(c["device_time_s"], "s")),
        ("Compile time#", has["compile_s"], lambda case: words.si(case["compile_s"], "s")),
        ("Tokens/s#", True, lambda case: words.number(case["tokens_per_s"])),
        # The table of the roofline has the rate, where there is one.
        (
            "Arithmetic rate#",
            not has["attainable_flops_per_s"],
            lambda case: words.si(case["flops_per_s"], "FLOP/s"),
        ),
        ("Share of peak#", True, lambda case: words.percent(case["mfu"])),
        (
            "Share of datasheet peak#",
            has["mfu_datasheet"],
            lambda c: words.percent(c["mfu_datasheet"]),
        ),
    ]
    shown = [(name, cell) for name, present, cell in columns if present]
    rows = [tuple(cell(case) for _, cell in shown) for _, case in models.iterrows()]
    caption = "Time of one call: the median over rounds."
    return _with_cost(table(caption, tuple(name for name, _ in shown), rows), models)


PRESETS = re.compile(r"model[1-5]|gpt2(-medium|-large|-xl)?")


def _with_cost(made: Table, models: pd.DataFrame) -> Table:
    """Return a table with the command that says what training costs at the largest model's speed.

    The command knows the presets alone.
    """
    steps = findings.timed(models, "step")
    names = ("block_size", "time_s", "time_min_s", "time_max_s", "tokens_per_s")
    is_preset = [PRESETS.fullmatch(str(name)) is not None for name in steps["model"]]
    known = steps[list(names)].astype(float).gt(0).all(axis=1) & np.array(is_preset, dtype=bool)
    for _, case in steps[known].head(1).iterrows():
        tokens = case["tokens_per_s"] * case["time_s"]
        times = (case[name] for name in ("time_max_s", "time_s", "time_min_s"))
        speeds = ",".join(f"{over(tokens, time_s):.4g}" for time_s in times)
        return replace(
            made,
            note=f"What 1e9 tokens cost at this speed of {words.model(case['model'])} (slowest "
            "round, median, fastest round); add --price for an hour of this machine:",
            command=f"gptcore cost --tokens 1e9 --model {case['model']} --block-size "
            f"{case['block_size']:.0f} --tokens-per-s {speeds}",
        )
    return made


MAX_OPERATORS = 15
OPEN_TRACE = "Open the file at ui.perfetto.dev (it stays on your machine) or in chrome://tracing."


def ceilings(run: Run) -> Table:
    """Return the measured ceilings of the machine, at the start and at the end of the run."""
    start, end = findings.ceilings(run)
    several = len({device for device, _ in start}) > 1
    rows: list[tuple[str, ...]] = []
    for device, name in dict.fromkeys([*start, *end]):
        before, after = start.get((device, name)), end.get((device, name))
        unit = "B/s" if name.endswith("bytes_per_s") else "FLOP/s"
        change = over(after, before) - 1
        at_end = (words.si(after, unit), words.signed_percent(change)) if end else ()
        label = words.ceiling(device if several else "", name)
        rows.append((label, words.si(before, unit), *at_end))
    speed = run.environment["metrics"].get("reference_speed") if run.environment else None
    blank = ("", "") if end else ()
    rows.append(("Speed relative to the reference machine", words.number(speed), *blank))
    if end:
        unused = {key for key in start if key[0]} - findings.used_ceilings(run.cases("model"))
        moved = sorted(key for key in unused if findings.has_changed(start[key], end.get(key)))
        names = ", ".join(words.ceiling(*key) for key in moved)
        note = (
            f"Some ceilings changed on which no share of the peak rests: {names}." if moved else ""
        )
        columns: tuple[str, ...] = ("Ceiling", "At the start#", "At the end#", "Change#")
        caption = "Ceilings of this machine at the start and at the end."
        return table(caption, columns, rows, note=note)
    caption = "Ceilings of this machine, measured at the start of the run."
    note = (
        "The ceilings were not measured again, because the run did not end properly. A change of "
        "the machine during the run would not show."
    )
    return table(caption, ("Ceiling", "Highest rate#"), rows, note=note)


def roofline(models: pd.DataFrame) -> Table:
    """Return the rate that the roofline allows each case, and the rate that it reached."""
    rows = []
    for _, case in models.iterrows():
        limit = findings.bound(case)
        rows.append(
            (
                f"{case['number']}: {case_label(case)}, {words.work(case['work'])}",
                words.number(case["intensity"]),
                words.si(case["attainable_flops_per_s"], "FLOP/s"),
                words.si(case["flops_per_s"], "FLOP/s"),
                words.percent(over(case["flops_per_s"], case["attainable_flops_per_s"])),
                limit or words.MISSING,
            )
        )
    columns = (
        "Case",
        "FLOP/byte#",
        "Attainable#",
        "Reached#",
        "Share of attainable#",
        "Limited by",
    )
    gap = checks.flops_gap(models)
    note = "" if gap.empty else f"FLOPs by formula and by torch's counter {_agree(gap)}."
    caption = "Roofline: the rate that this machine allows each case, and the rate it reached."
    return table(caption, columns, rows, note=note)


def _agree(gap: pd.Series[float]) -> str:
    n = words.count(len(gap), "case")
    if gap.max() == 0:
        return f"are equal in {n}"
    return f"agree within {words.percent(gap.max())} in {n}"


def operators(run: Run) -> list[Table]:
    """Return the top operators of each traced case, folded, with the path of its trace."""
    made = []
    for record in run.finished:
        operators = record["series"].get("top_operators") or []
        trace = record["facts"].get("trace")
        if not operators and not isinstance(trace, str):
            continue
        rows = [
            (
                plain_text.shorten(str(row["operator"]), 60),
                words.number(row["calls"]),
                words.si(_number(row["self_time_s"]), "s"),
                words.percent(_number(row["share"])),
            )
            for row in operators[:MAX_OPERATORS]
        ]
        where = ""
        if isinstance(trace, str):
            where = f"Trace: {plain_text.shorten(trace, 400)}. {OPEN_TRACE}"
        columns = ("Operator", "Calls#", "Self time#", "Share#")
        shown = (
            f"the first {len(rows)} of {len(operators):,}" if len(operators) > len(rows) else "all"
        )
        caption = f"Operators by self time, {shown}. They were profiled apart from the timing."
        fold = f"Top operators: {plain_text.shorten(record['case'], 160)}"
        made.append(table(caption, columns, rows, fold, note=where))
    return made


def _number(value: Any) -> Any:
    """Return `value` if it is a number, None for anything else: series are not checked for it."""
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None
