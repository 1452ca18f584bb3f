"""How much memory the models take, by phase."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pandas as pd
from matplotlib.figure import Figure

from bench.ledger.schema import PHASE_PEAKS
from reports import claims, row_charts, words
from reports.blocks import (
    MAX_DRAWN,
    Finding,
    Plotter,
    Section,
    Table,
    first_cases,
    labelled,
    table,
)
from reports.load import Run, largest
from reports.numbers import shortly
from reports.words import case_label

BYTES = 4
"""Bytes of a weight, of its gradient, and of each of the two states that AdamW keeps of it: all are
float32 in every precision."""
KINDS = ("weights", "optimizer state", "gradients", "activations and the rest", "program")
"""The program is Python, its libraries and the texts, which any training program holds as well."""


def by_kind(models: pd.DataFrame) -> pd.DataFrame:
    """Return the cases with a column for each of KINDS, in bytes; NaN where it is not known.

    What is held before a call is the weights, the optimizer state and the program with its inputs;
    the peak beyond it is the gradients and the activations. Weights, gradients and optimizer state
    follow from the number of parameters, so what is left is measured.
    """
    weights = BYTES * models["n_params"]
    trains = models["work"].isin(["step", "forward_backward"])
    gradients = weights.where(trains, 0.0)
    state = (2 * weights).where(models["work"].eq("step"), 0.0)
    rest = models["peak_bytes"] - gradients
    program = models["base_bytes"] - weights - state
    known = rest.ge(0) & program.ge(0)
    kinds = dict(zip(KINDS, (weights, state, gradients, rest, program), strict=True))
    return models.assign(**{name: bytes_.where(known) for name, bytes_ in kinds.items()})


def memory_figure(models: pd.DataFrame) -> Figure:
    """Draw one stacked bar for each case: what holds the memory at the peak of a call.

    Args:
        models: cases from `by_kind` with a column `label`, every kind known, and `limit`, the
            memory of the device.
    """
    totals = models[list(KINDS)].sum(axis=1)
    unit = 2.0**30 if totals.max() > 2**30 else 2.0**20
    texts = [
        f"{words.size(total)}{'' if words.is_missing(limit) else f' of {words.size(limit)}'}"
        for total, limit in zip(totals, models["limit"], strict=True)
    ]
    return row_charts.stacks(
        models.assign(text=texts), KINDS, "memory at the peak of one call", _short, unit
    )


def _short(value: float) -> str:
    """Return a number of bytes as short as a tick or a part of a bar needs it: "1.5 GiB"."""
    return words.size(float(f"{value:.2g}"), 2) if value else "0"


def limits(run: Run, devices: pd.Series) -> list[float]:
    """Return the memory of the device of each case in bytes, NaN where it is not known."""
    known = {"cpu": run.fact("machine", "memory_bytes")}
    accelerators = run.fact("machine", "accelerator_facts")
    for name, facts in accelerators.items() if isinstance(accelerators, dict) else ():
        known[str(name)] = facts.get("memory_bytes") if isinstance(facts, dict) else None
    found = (known.get(str(device)) for device in devices)
    return [float(n) if type(n) is int and 0 < n < 2**60 else math.nan for n in found]


def find(run: Run) -> Iterator[Finding]:
    """Say how much memory a step of the largest model takes, and in which phase."""
    models = by_kind(run.cases("model"))
    for _, case in largest(models, "step", "peak_bytes").iterrows():
        same = models["work"].eq("step") & models["model"].eq(case["model"])
        apart_from = claims.apart(case, models[same])
        phases = case[list(PHASE_PEAKS)].dropna().astype(float)
        highest = [
            PHASE_PEAKS[str(name)] for name in phases[phases >= 0.99 * case["peak_bytes"]].index
        ]
        phase = "phase" if len(highest) == 1 else "phases"
        where = f", in the {claims.listed(highest)} {phase}" if highest else ""
        if len(highest) == len(phases) > 2:
            where = ", in every phase"
        each = "; ".join(f"{PHASE_PEAKS[str(k)]} {words.size(v)}" for k, v in phases.items())
        held = "; ".join(f"{name} {words.size(case[name])}" for name in KINDS)
        known = pd.notna(case["weights"])
        parts = f" At the peak: {held}." if known else ""
        training = case["weights"] + case["optimizer state"] if known else case["base_bytes"]
        yield Finding(
            66,
            "memory",
            "",
            f"A training step of {words.model(case['model'])}{apart_from} peaks at "
            f"{words.size(case['peak_bytes'])} beyond the {words.size(training)} "
            f"{'of its weights and optimizer state' if known else 'held before it'}{where}",
            f"{words.conditions(case)}.{parts}{f' Peak by phase: {each}.' if each else ''} The "
            "peak was read apart from the timing, in a call after two others.",
            (case["case"],),
        )


def memory_table(models: pd.DataFrame) -> Table:
    """Return held and peak memory, case by case: by phase, and by what holds it."""
    models = by_kind(models)
    phases = {name: phase for name, phase in PHASE_PEAKS.items() if models[name].notna().any()}
    kinds = [name for name in KINDS if models[name].gt(0).any()]
    rows = [
        (
            f"{case_label(case)}, {words.work(case['work'])}",
            words.size(case["base_bytes"]),
            words.size(case["peak_bytes"]),
            *(words.size(case[name]) for name in phases),
            *(words.size(case[name]) for name in kinds),
        )
        for _, case in models.iterrows()
    ]
    columns = (
        "Case", "Held between calls#", "Peak beyond it#",
        *(f"{phase.capitalize()}#" for phase in phases.values()),
        *(f"Of both, {name}#" for name in kinds),
    )  # fmt: skip
    return table(
        "Memory of one call. A peak counts what was needed beyond the memory held between calls: "
        "weights, optimizer state, and the program with its libraries and texts.",
        columns,
        rows,
    )


def section(run: Run, plot: Plotter) -> list[Section]:
    """Return how much memory the models take; no section where it was not read."""
    models = run.cases("model")
    models = labelled(models[models["peak_bytes"].notna()])
    if models.empty:
        return []
    models = models.assign(limit=limits(run, models["device"]))
    shown, told = shortly(by_kind(models).dropna(subset=list(KINDS)))
    shown, more = first_cases(shown, MAX_DRAWN, "cases")
    return [
        Section(
            "memory",
            "Memory",
            "How much memory do the models take?",
            "A peak is the most memory that one call needs beyond what is held between calls: "
            "activations and gradients, but neither the weights nor the optimizer state. Peaks are "
            "read in a new process, apart from the timing: from the operating system on a CPU, and "
            "from torch's allocator on other devices. Weights, gradients and optimizer state are "
            "computed from the number of parameters, four bytes each; the rest is measured.",
            plot(
                memory_figure, shown, "What holds the memory at the peak",
                "At the right: the total, and the memory of the device. A vertical line marks "
                "that limit where it is near. A longer batch adds to the activations alone."
                f"{told}{more}",
                "What holds the memory at the peak of each case.",
                {"label": "Case", **{name: (name.capitalize(), words.size) for name in KINDS},
                 "limit": ("Memory of the device", words.size)},
            ),
            [memory_table(models)],
        )
    ]  # fmt: skip
