"""One run → the section "Your model"."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from bench.ledger.record import Record
from gptcore import plain_text
from reports import row_charts, words
from reports.blocks import IN_TURNS, ONE_PROCESS, Plotter, Section, Table, table
from reports.claims import verdict
from reports.labels import WORK_NOUNS
from reports.load import Run
from reports.topics.convergence import tables as convergence_tables
from reports.topics.own_model.findings import (
    CHECKS,
    LOADER,
    PAIRS,
    STEP,
    audit_of,
    own_peaks,
    records_of,
    with_status,
)
from reports.topics.peers.findings import compared
from reports.topics.peers.sections import MAX_DRAWN, RATIOS, ratios_figure

MODULE = "bench_own::"
EXPERIMENT = "own-"
"""How the key of the experiment begins that trains the user's model beside gptcore."""
PHASES = ("forward", "backward", "optimizer")


def section(run: Run, plot: Plotter) -> list[Section]:
    """Return what the checks found, and what the model costs, shows and learns."""
    own = [r for r in run.records.values() if str(r["case"]).startswith(MODULE)]
    if not own:
        return []
    checks, pairs, peaked = records_of(run, CHECKS), compared(run, PAIRS), own_peaks(run)
    loaders, steps = records_of(run, LOADER), run.cases(STEP)
    comparisons = run.cases("comparison")
    if "experiment" in comparisons:
        mine = comparisons["experiment"].astype(str).str.startswith(EXPERIMENT)
        comparisons = comparisons[mine & comparisons["difference"].notna()]
    lost = [r for r in run.unfinished if r in own]
    shown = [
        *([checks_table(checks)] if checks else []),
        *([costs_table(pairs)] if not pairs.empty else []),
        *differences_tables(run),
        *([peaks_table(peaked)] if not peaked.empty else []),
        *([steps_table(steps)] if not steps.empty else []),
        *([loader_table(loaders)] if loaders else []),
        *([convergence_tables.comparisons(comparisons)] if not comparisons.empty else []),
        *([lost_table(lost)] if lost else []),
    ]
    return [
        Section(
            "own-model",
            "Your model",
            "What do the checks say of your model, and what does it cost beside gptcore?",
            "The checks come first, because a model that sees the future or has another loss does "
            "other work: it is then not compared. gptcore is built at the same sizes. A ratio "
            "divides the time of your model by that of gptcore: above 1, gptcore is faster. Both "
            "are trained by the same loop, AdamW and learning rate, so that a difference in loss "
            "is that of the models, or of the loaders where these differ.",
            plots=plot(
                ratios_figure,
                pairs.head(MAX_DRAWN),
                "Your model beside gptcore",
                "Time of your model over time of gptcore. Right of 1: gptcore is faster. "
                f"{row_charts.MARKS}",
                "Time of your model over that of gptcore.",
                RATIOS | {"what": "Work"},
            ),
            tables=shown,
        )
    ]


def checks_table(records: list[Record]) -> Table:
    """Return every check that found something or was not made, faults first."""
    order = ("fault", "note", "skipped")
    rows = [
        tuple(
            plain_text.shorten(str(row[column] or ""), 600)
            for column in ("check", "status", "detail", "means")
        )
        for status in order
        for row in with_status(records, status)
    ]
    n_ok = len(with_status(records, "ok"))
    caption = f"What the checks found; {words.count(n_ok, 'more check')} found nothing."
    return table(caption, ("Check", "Result", "What was measured", "What it means"), rows)


def costs_table(frame: pd.DataFrame) -> Table:
    """Return the ratio of the times of each kind of work."""
    rows = [
        (
            words.sentence(WORK_NOUNS.get(str(case["work"]), str(case["what"]))).removesuffix("."),
            words.base_conditions(case["base"]),
            words.ratio(case["ratio"]),
            f"{words.ratio(case['ratio_low'])} to {words.ratio(case['ratio_high'])}",
            words.verdict(verdict(case)),
            words.si(case["b_time_s"], "s"),
            words.si(case["a_time_s"], "s"),
            words.number(case["n_params"]),
            words.number(case["n_params_ours"]),
        )
        for _, case in frame.iterrows()
    ]
    columns = (
        "Work", "Conditions", "Ratio#", "95 % interval#", "Your model is", "Its time#",
        "Time of gptcore#", "Its parameters#", "Those of gptcore#",
    )  # fmt: skip
    caption = "Time of your model over that of gptcore, timed in turns."
    return table(caption, columns, rows, note=f"{IN_TURNS} {ONE_PROCESS}")


def differences_tables(run: Run) -> list[Table]:
    """Return what is not the same in both models, which no ratio tells apart."""
    found: dict[tuple[str, ...], None] = {}
    for record in records_of(run, PAIRS):
        listed_there = record["facts"].get("differences")
        for each in listed_there if isinstance(listed_there, list) else ():
            if isinstance(each, dict):
                row = (str(each.get(name, "")) for name in ("what", "own", "other"))
                found[tuple(plain_text.shorten(text, 120) for text in row)] = None
    if not found:
        return []
    caption = "What else is not the same in both models, besides their code."
    return [table(caption, ("", "Your model", "gptcore"), found)]


def peaks_table(frame: pd.DataFrame) -> Table:
    """Return the peak memory of a forward and backward pass of both."""
    rows = [
        (
            words.conditions(case),
            words.size(case["peak_bytes"]),
            words.size(case["ours_bytes"]),
            words.ratio(case["times_ours"]),
        )
        for _, case in frame.iterrows()
    ]
    columns = ("Conditions", "Your model#", "gptcore#", "Ratio#")
    return table("Peak memory of a forward and backward pass.", columns, rows)


def steps_table(frame: pd.DataFrame) -> Table:
    """Return the time of a training step of the user's model, by phase."""
    rows = [
        (
            words.conditions(case),
            *(words.si(case[f"{name}_s"], "s") for name in ("time", *PHASES)),
            words.si(case["tokens_per_s"], "tokens/s"),
            words.size(case["peak_bytes"]),
        )
        for _, case in frame.iterrows()
    ]
    columns = (
        "Conditions", "Step#", "Forward and loss#", "Backward#", "Optimizer#", "Speed#", "Peak#",
    )  # fmt: skip
    return table("A training step of your model, in several new processes.", columns, rows)


def loader_table(records: list[Record]) -> Table:
    """Return what the loader's windows showed, and every finding of its audit."""
    rows = []
    for record in records:
        metrics = record["metrics"]
        expected = metrics.get("expected_missed_targets")
        counts = (
            f"{words.number(metrics.get('missed_targets'))} targets of the training part missed in "
            f"{words.number(metrics.get('audited_draws'))} windows; independent draws would miss "
            f"{words.number(expected)}"
        )
        rows.append(("coverage", "", counts))
        rows += [
            (
                plain_text.shorten(str(each["kind"]).replace("_", " "), 60),
                plain_text.shorten(str(each["severity"]), 20),
                plain_text.shorten(str(each.get("explanation")), 600),
            )
            for each in audit_of(record)
        ]
    return table(
        "What the loader of your file showed.", ("Finding", "Severity", "What it means"), rows
    )


def lost_table(records: Iterable[Record]) -> Table:
    """Return what did not run, and why."""
    rows = [
        (
            plain_text.shorten(str(r["case"]).removeprefix(MODULE), 90),
            plain_text.shorten(str(r["reason"]), 400),
        )
        for r in records
    ]
    return table("Not measured in this run.", ("Case", "Reason"), rows)
