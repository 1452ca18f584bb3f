"""How much memory the models take, by phase."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pandas as pd
from matplotlib.figure import Figure

from bench.ledger.schema import PHASE_PEAKS
from reports import drawing, words
from reports.blocks import (
    MAX_DRAWN,
    Finding,
    Plotter,
    Section,
    Table,
    dicts,
    first_cases,
    labelled,
    table,
)
from reports.load import Run, largest, over
from reports.words import case_label

GIB = 2**30


def memory_figure(models: pd.DataFrame) -> Figure:
    """Draw the peak of each phase of each case, beyond the memory held before the call.

    Args:
        models: cases with a column `label`, `peak_bytes` and the peaks of phases.
    """
    bars: list[tuple[float, str, float, str]] = []
    heads: list[tuple[float, str]] = []
    row = 0.0
    for _, case in models.iterrows():
        heads.append((row, case["label"]))
        known = {PHASE_PEAKS[name]: case[name] for name in PHASE_PEAKS if pd.notna(case[name])}
        for phase, peak in (known or {"whole call": case["peak_bytes"]}).items():
            row += 1
            bars.append((row, phase, peak / GIB, colour_of(phase)))
        row += 1.45
    figure, (axes,) = drawing.new_figure(0.27 * row, top_in=0.3, left_in=0.95)
    rows, phases, widths, colours = zip(*bars, strict=True)
    axes.barh(rows, widths, height=0.62, color=colours)
    top = max(max(widths), 1e-9)
    for at, width in zip(rows, widths, strict=True):
        axes.annotate(
            words.size(width * GIB), (width, at), xytext=(5, 0), va="center",
            textcoords="offset points",
        )  # fmt: skip
    for at, label in heads:
        axes.annotate(
            drawing.as_label(label, 56), (-0.14, at), xycoords=("axes fraction", "data"),
            va="center", annotation_clip=False,
        )  # fmt: skip
    axes.set(ylim=(row - 0.7, -0.6), xlim=(0, 1.22 * top), yticks=list(rows))
    axes.set_yticklabels(phases)
    axes.grid(visible=False)
    axes.set_xlabel("GiB beyond the memory held before the call")
    drawing.number_axis(axes.xaxis)
    return figure


def colour_of(phase: str) -> str:
    """Return the colour of a phase, the same as in the figure of phase times."""
    names = [name for name in PHASE_PEAKS.values() if name != "transfer"]
    return drawing.COLOURS[names.index(phase) if phase in names else 6]


def find(run: Run) -> Iterator[Finding]:
    """Say how much memory a step of the largest model takes, and in which phase."""
    for _, case in largest(run.cases("model"), "step", "peak_bytes").iterrows():
        phases = case[list(PHASE_PEAKS)].dropna().astype(float)
        highest = [
            PHASE_PEAKS[str(name)] for name in phases[phases >= 0.99 * case["peak_bytes"]].index
        ]
        phase = "phase" if len(highest) == 1 else "phases"
        where = f", in the {' and '.join(highest)} {phase}" if highest else ""
        each = "; ".join(f"{PHASE_PEAKS[str(k)]} {words.size(v)}" for k, v in phases.items())
        tokens = case["batch_size"] * case["block_size"] if _sized(case) else math.nan
        yield Finding(
            66,
            "memory",
            "",
            f"A training step of {words.model(case['model'])} peaks at "
            f"{words.size(case['peak_bytes'])} beyond the {words.size(case['base_bytes'])} held "
            f"before it{where}",
            f"{words.conditions(case)}: {words.size(case['peak_bytes'] / tokens)} for each token "
            f"of the batch.{f' Peak by phase: {each}.' if each else ''} The peak was "
            "read apart from the timing, in a call after two others.",
            (case["case"],),
        )


def _sized(case: pd.Series) -> bool:
    sizes = (case["batch_size"], case["block_size"])
    return all(isinstance(size, (int, float)) and size > 0 for size in sizes)


def memory_table(models: pd.DataFrame) -> Table:
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
                words.size(over(case["peak_bytes"], sizes.prod(skipna=False))),
            )
        )
    columns = (
        "Case", "Held before#", "Peak beyond it#", *(f"{p.capitalize()}#" for p in phases.values()),
        "Peak per token#",
    )  # fmt: skip
    return table(
        "Memory of one call. A peak counts what was needed beyond the memory held before.",
        columns,
        rows,
    )


def section(run: Run, plot: Plotter) -> list[Section]:
    """Return how much memory the models take; no section where it was not read."""
    models = run.cases("model")
    models = labelled(models[models["peak_bytes"].notna()])
    if models.empty:
        return []
    shown, more = first_cases(models, MAX_DRAWN, "cases")
    return [
        Section(
            "memory",
            "Memory",
            "How much memory do the models take?",
            "A peak is the most memory that one call needs beyond what was held before it: "
            "activations, gradients and optimizer state, but not the weights. On a CPU, peaks are "
            "read in a new process; on other devices, from torch's allocator. They are always read "
            "apart from the timing.",
            plot(
                memory_figure, shown, "Peak by phase",
                f"The longest bar of a case decides whether the case fits into memory.{more}",
                "Bars of the peak in each phase. " + " ".join(map(_peaks, dicts(shown))),
            ),
            [memory_table(models)],
        )
    ]  # fmt: skip


def _peaks(case: dict[str, object]) -> str:
    known = {phase: case[name] for name, phase in PHASE_PEAKS.items() if case[name] == case[name]}
    parts = [f"{phase} {words.size(peak)}" for phase, peak in known.items()]
    return f"{case['label']}: {', '.join(parts) or words.size(case['peak_bytes'])}."
