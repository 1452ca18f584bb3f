"""The same work on the processor and on an accelerator, as ratios of times."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from reports import words
from reports.blocks import Finding, Plotter, Section, Table, dicts, table
from reports.claims import apart
from reports.load import Run, as_text, over, over_rounds

TUTORIAL = 45.0
"""The ratio of the tutorial that introduced Model 5: 45 s for a forward pass on a CPU, 1 s on a
GPU."""
ALIKE = ["setting", "model", "work", "precision", "compile"]


def ratios(models: pd.DataFrame) -> pd.DataFrame:
    """Return each work that was timed on the CPU and on an accelerator, with the ratio of times.

    `low` and `high` are the ratios of the rounds that are worst and best for the accelerator.
    """
    timed = models[models["time_s"].gt(0)]
    timed = timed.assign(compile=as_text(timed["compile"]))
    on_cpu = timed["device"].astype(str).str.startswith("cpu")
    both = timed[on_cpu].merge(timed[~on_cpu], on=ALIKE, suffixes=("", "_other"))
    low, high = over_rounds(both, "", "_other")
    both = both.assign(ratio=over(both["time_s"], both["time_s_other"]), low=low, high=high)
    return both.sort_values("n_params", ascending=False, kind="stable")


def find(run: Run) -> Iterator[Finding]:
    """Say how many times faster the accelerator is, for the largest model of each work."""
    every = ratios(run.cases("model"))
    for _, row in every.drop_duplicates("work").iterrows():
        what, device = words.subject(dict(row)), words.device(row["device_other"])
        claim = f"{what} is {words.number(row['ratio'])} times faster on {device} than on the CPU"
        faster = row["low"] > 1
        if not faster:
            claim = f"{what} showed no clear difference in time between {device} and the CPU"
        claim += apart(row, every[every["work"].eq(row["work"]) & every["model"].eq(row["model"])])
        yield Finding(
            79,
            "speed",
            claim if faster else "",
            words.sentence(claim).removesuffix("."),
            f"{words.si(row['time_s'], 's')} against {words.si(row['time_s_other'], 's')}; the "
            f"slowest and fastest rounds allow ratios from {words.number(row['low'])} to "
            f"{words.number(row['high'])}. In {row['precision']}; {row['setting']}. The tutorial "
            f"that introduced Model 5 reports a factor of {TUTORIAL:g} for a forward pass, without "
            "its batch size and devices.",
            (row["case"], row["case_other"]),
        )


def section(run: Run, _: Plotter) -> list[Section]:
    """Return the ratios; without an accelerator, what would stand here."""
    models = run.cases("model")
    if models.empty:
        return []
    found = ratios(models)
    missing = (
        "No case of this run was timed on an accelerator. On a machine with one, the same command "
        "times each model on both, and this section has the ratio of their times for a forward "
        f"pass and for a training step, beside the factor of {TUTORIAL:g} that the tutorial "
        "reports."
    )
    return [
        Section(
            "devices",
            "CPU and accelerator",
            "How much faster is an accelerator?",
            "A CPU and an accelerator are compared by the same work, with the same sizes and in "
            "the same precision.",
            tables=[] if found.empty else [comparison(found)],
            missing=missing if found.empty else "",
        )
    ]


def comparison(frame: pd.DataFrame) -> Table:
    """Return the ratio of times of each work."""
    cells = [
        (
            f"{words.sentence(words.subject(row)).removesuffix('.')}, {row['precision']}, "
            f"{row['setting']}",
            words.device(row["device_other"]),
            words.si(row["time_s"], "s"),
            words.si(row["time_s_other"], "s"),
            words.ratio(row["ratio"]),
            f"{words.number(row['low'])} to {words.number(row['high'])}",
        )
        for row in dicts(frame)
    ]
    columns = (
        "Work",
        "Accelerator",
        "Time on the CPU#",
        "Time on it#",
        "Ratio#",
        "Range of rounds#",
    )
    note = "The two were timed one after the other, so the range is that of their rounds."
    return table("Time on the CPU over time on the accelerator.", columns, cells, note=note)
