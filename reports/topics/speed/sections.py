"""The section on speed: timings, the share of the peak, rooflines."""

from __future__ import annotations

from typing import Any

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
from reports.load import Run
from reports.topics.speed import figures, findings, tables


def section(run: Run, plot: Plotter) -> list[Section]:
    """Return how fast the models ran, and how far that is from what the machine can do."""
    models = run.cases("model")
    models = models[models["time_s"].notna()]
    plots: list[Plot] = []
    if not models.empty:
        labels = models.apply(words.case_label, axis=1)
        work = models["work"].map(words.work)
        steps = models.assign(label=labels)
        steps = steps[steps[list(PHASE_TIMES)].sum(axis=1) > 0]
        steps, more_steps = first_cases(steps, MAX_BARS, "cases")
        shares = models.assign(label=work + ": " + labels).dropna(subset=["mfu"])
        shares, more_shares = first_cases(shares, MAX_BARS, "cases")
        plots += plot(
            figures.phases, steps, "Where the time of a step goes",
            "Each bar is one training step. A speed-up of its longest part would gain most."
            f"{more_steps}",
            "Stacked bars of seconds per phase. " + " ".join(map(_phases_alt, dicts(steps))),
        )  # fmt: skip
        plots += plot(
            figures.share_of_peak, shares, "Share of the measured peak",
            "The line at 100 % is the fastest matrix product measured on this machine in the same "
            f"precision. Blue: fp32. Orange: any other precision.{more_shares}",
            "Bars of the share of peak. "
            + " ".join(f"{r['label']}: {words.percent(r['mfu'])}." for r in dicts(shares)),
        )  # fmt: skip
        plots += rooflines(run, plot)
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


def _phases_alt(case: dict[Any, Any]) -> str:
    known = {phase: case[key] for key, phase in PHASE_TIMES.items() if case[key] == case[key]}
    parts = [f"{phase} {words.si(time_s, 's')}" for phase, time_s in known.items()]
    return f"{case['label']}: {', '.join(parts)}."


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
        part, more = first_cases(part, MAX_DRAWN, "cases")
        plots += plot(
            figures.roofline, part, f"Roofline of {plain_text.shorten(device)}",
            "Below the slope, memory traffic is the limit; below the flat part, arithmetic. A "
            "slope is the rate of the level of memory that may hold the weights of a case. The "
            "gap between a point and the line above it is the most by which its speed could still "
            f"rise.{more}",
            "Roofline, both axes logarithmic. " + " ".join(map(_place, dicts(part))),
        )  # fmt: skip
    return plots


def _place(case: dict[str, object]) -> str:
    rate, roof = case["flops_per_s"], case["attainable_flops_per_s"]
    return (
        f"{case['number']}, {case['label']}: {words.number(case['intensity'])} FLOP/byte, "
        f"{words.si(rate, 'FLOP/s')} of {words.si(roof, 'FLOP/s')} attainable."
    )
