"""The section on speed: timings, the share of the peak, rooflines."""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd

from bench.ledger.schema import PHASE_TIMES
from gptcore import plain_text
from reports import words
from reports.blocks import (
    MAX_BARS,
    MAX_DRAWN,
    Plot,
    Plotter,
    Section,
    dicts,
    first_cases,
    labelled,
    missing,
)
from reports.load import Run, over
from reports.numbers import Heading, shortly
from reports.topics.speed import figures, findings, tables

STEP_NUMBERS: dict[str, Heading] = {
    "label": "Case",
    "time_s": ("Step", partial(words.si, unit="s")),
    **{name: (phase.capitalize(), partial(words.si, unit="s"))
       for name, phase in PHASE_TIMES.items()},
}  # fmt: skip
"""The numbers of the figure of the phases."""


def section(run: Run, plot: Plotter) -> list[Section]:
    """Return how fast the models ran, and how far that is from what the machine can do."""
    models = run.cases("model")
    models = models[models["time_s"].notna()]
    plots = _plots(run, models, plot) if not models.empty else []
    points = placed(models)
    return [
        Section(
            "speed",
            "Speed",
            "How fast do the models run on this machine?",
            "Each case was warmed up and then timed over several rounds. The share of peak divides "
            "the FLOP/s of a case, by formula, by those of the fastest matrix product measured on "
            f"this machine. A share far below 100{words.NBSP}% means that something other than "
            "arithmetic takes the time.",
            plots,
            [
                *([tables.speed(models)] if not models.empty else []),
                *([tables.roofline(points)] if not points.empty else []),
                *([tables.ceilings(run)] if not models.empty else []),
                *tables.operators(run),
            ],
            missing=missing(run, "model", "timing") if models.empty else "",
        )
    ]


def _plots(run: Run, models: pd.DataFrame, plot: Plotter) -> list[Plot]:
    """Return the figures of the timed models."""
    models, told = shortly(labelled(models))
    shown, more = first_cases(models[models["tokens_per_s"].gt(0)], MAX_BARS, "cases")
    steps, told_steps = shortly(labelled(models[models[list(PHASE_TIMES)].sum(axis=1) > 0]))
    steps, more_steps = first_cases(steps, MAX_BARS, "cases")
    times = single_rounds(run, models)
    kept, more_rounds = first_cases(times[["label"]].drop_duplicates(), MAX_DRAWN, "cases")
    return [
        *plot(
            figures.speeds, speeds(run, shown), "How fast each case runs",
            "Dots: the median of each process. Lines: its slowest to its fastest round."
            f"{told}{more}",
            "Tokens per second of each case.",
            {"label": "Case", "process": "Process", "value": "Tokens/s", "low": "Slowest round",
             "high": "Fastest round", "count": "Rounds"},
            ("Show it with a linear axis", partial(figures.speeds, log=False)),
        ),
        *plot(
            figures.phases, steps, "Where the time of a step goes",
            "Each bar is one training step, whose time stands at the right. A speed-up of its "
            f"longest part would gain most.{told_steps}{more_steps}",
            "Shares of the phases of a training step.",
            STEP_NUMBERS,
        ),
        *rooflines(run, plot),
        *plot(
            figures.rounds, times[times["label"].isin(kept["label"])], "Every round of each case",
            "Time of each round against the median of its case, in the order of time; each process "
            "has a marker of its own. At the right: the density of all rounds, where there are "
            f"{figures.FEWEST_ROUNDS} or more. Rounds that drift or fall into groups make a median "
            f"less sure.{told}{more_rounds}",
            "Time of every round against the median of its case.",
            {"label": "Case", "process": "Process", "round": "Round",
             "time_s": ("Time", partial(words.si, unit="s"))},
        ),
    ]  # fmt: skip


def single_rounds(run: Run, models: pd.DataFrame) -> pd.DataFrame:
    """Return every round of each case with its number and that of its process, both from 1."""
    records = {r["case"]: r for r in run.finished}
    found = []
    for case in dicts(models):
        each = records[case["case"]]
        times = each["samples"].get("time_s", [])
        sizes = each["facts"].get("process_rounds")
        known = isinstance(sizes, list) and all(type(n) is int and n > 0 for n in sizes)
        ends = np.cumsum(sizes if known and sum(sizes) == len(times) else [len(times)])
        found += [
            (case["case"], case["label"], i + 1, int(np.searchsorted(ends, i, "right")) + 1, time_s)
            for i, time_s in enumerate(times)
            if not words.is_missing(time_s) and time_s > 0
        ]
    return pd.DataFrame(found, columns=["case", "label", "round", "process", "time_s"])


def speeds(run: Run, models: pd.DataFrame) -> pd.DataFrame:
    """Return the tokens per second of each process of each case, as `row_charts.dots` takes it."""
    of_case = models[["case", "label", "tokens_per_s", "time_s"]].rename(
        columns={"time_s": "median_s"}
    )
    times = single_rounds(run, models).drop(columns="label").merge(of_case, on="case", how="right")
    times["time_s"] = times["time_s"].fillna(times["median_s"])
    times["process"] = times["process"].fillna(1)
    groups = times.groupby(["case", "label", "process"], sort=False)
    found = groups["time_s"].agg(["median", "max", "min", "count"]).reset_index()
    found = found.merge(of_case, on=["case", "label"])
    tokens = found["tokens_per_s"] * found["median_s"]
    return found.assign(
        value=over(tokens, found["median"]),
        low=over(tokens, found["max"]),
        high=over(tokens, found["min"]),
        text=[f"{words.number(rate)} tokens/s" for rate in found["tokens_per_s"]],
    )


def placed(models: pd.DataFrame) -> pd.DataFrame:
    """Return the cases that have a place on the roofline, numbered."""
    known = models[models["intensity"].gt(0) & models["flops_per_s"].gt(0)]
    return labelled(known).assign(number=range(1, len(known) + 1))


def rooflines(run: Run, plot: Plotter) -> list[Plot]:
    """Return one roofline for each device."""
    start, _ = findings.ceilings(run)
    points = placed(run.cases("model"))
    devices = points["device"].map(str)
    plots: list[Plot] = []
    for device in dict.fromkeys(devices):
        part = points[devices == device]
        copy = start.get((device, "copy_bytes_per_s"), float("nan"))
        peaks = [start.get((device, f"gemm_{p}_flops_per_s")) for p in part["precision"]]
        part = part.assign(
            peak=pd.Series(peaks, part.index, dtype=float),
            bandwidth=findings.bandwidth(part, copy),
        )
        if part[["peak", "bandwidth"]].isna().any(axis=1).all():
            continue
        part, told = shortly(part)
        part, more = first_cases(part, MAX_DRAWN, "cases")
        plots += plot(
            figures.roofline, part, f"Roofline of {plain_text.shorten(device)}",
            "Below the slope, memory traffic is the limit; below the flat part, arithmetic. A "
            "slope is the rate of the level of memory that may hold the weights of a case. The "
            "gap between a point and the line above it is the most by which its speed could still "
            f"rise. Both axes are logarithmic.{told}{more}",
            f"Roofline of {plain_text.shorten(device)}.",
            {"label": "Case", "intensity": "FLOP/byte",
             "flops_per_s": ("Rate", partial(words.si, unit="FLOP/s")),
             "attainable_flops_per_s": ("Attainable", partial(words.si, unit="FLOP/s"))},
        )  # fmt: skip
    return plots
