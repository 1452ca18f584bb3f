"""One run → the sections on memory and on how far its numbers can be trusted; the rooflines."""

from __future__ import annotations

import pandas as pd

from bench.ledger import plain_text
from bench.ledger.schema import PHASE_PEAKS
from reports import figures_trust, findings_trust, tables, tables_trust, words
from reports.findings_trust import UNSTEADY
from reports.load import Run, stability
from reports.section import Plot, Plotter, Section, dicts, missing

MAX_DRAWN = 8
"""Cases in one figure; tables hold them all."""
MAX_TRIALS = 300


def _labelled(models: pd.DataFrame) -> pd.DataFrame:
    if models.empty:
        return models
    labels = models["work"].map(words.work) + ": " + models.apply(tables.case_label, axis=1)
    return models.assign(label=labels)


def _first(frame: pd.DataFrame, n: int, what: str) -> tuple[pd.DataFrame, str]:
    """Return the first `n` rows, and the words that say so where there are more."""
    return frame.head(n), f" The first {n} of {len(frame):,} {what}." if len(frame) > n else ""


def placed(models: pd.DataFrame) -> pd.DataFrame:
    """Return the cases that have a place on the roofline, numbered."""
    known = models[models["intensity"].gt(0) & models["flops_per_s"].gt(0)]
    return _labelled(known).assign(number=range(1, len(known) + 1))


def rooflines(run: Run, plot: Plotter) -> list[Plot]:
    """Return one roofline for each device."""
    start, _ = findings_trust.ceilings(run)
    points = placed(run.cases("model"))
    devices = points["device"].map(str)
    plots: list[Plot] = []
    for device in dict.fromkeys(devices):
        part = points[devices == device]
        copy = start.get((device, "copy_bytes_per_s"), float("nan"))
        peaks = [start.get((device, f"gemm_{p}_flops_per_s")) for p in part["precision"]]
        # A byte that is copied is read and written.
        part = part.assign(peak=pd.Series(peaks, part.index, dtype=float), bandwidth=2 * copy)
        if part[["peak", "bandwidth"]].isna().all(axis=None):
            continue
        part, more = _first(part, MAX_DRAWN, "cases")
        plots += plot(
            figures_trust.roofline, part, f"Under the roof of {plain_text.shorten(device)}",
            "Under the slope, memory traffic limits; under the flat part, arithmetic. The gap "
            f"between a point and its roof is what is left to gain.{more}",
            "Roofline, both axes logarithmic. " + " ".join(map(_place, dicts(part))),
        )  # fmt: skip
    return plots


def _place(case: dict[str, object]) -> str:
    rate, roof = case["flops_per_s"], case["attainable_flops_per_s"]
    return (
        f"{case['number']}, {case['label']}: {words.number(case['intensity'])} FLOP/byte, "
        f"{words.si(rate, 'FLOP/s')} of {words.si(roof, 'FLOP/s')} attainable."
    )


def memory_section(run: Run, plot: Plotter) -> list[Section]:
    """Return how much memory the models take; nothing where it was not read."""
    models = run.cases("model")
    models = _labelled(models[models["peak_bytes"].notna()])
    if models.empty:
        return []
    shown, more = _first(models, MAX_DRAWN, "cases")
    return [
        Section(
            "memory",
            "Memory",
            "How much memory does it take?",
            "Peaks are above what was held before the call: activations, gradients and optimizer "
            "state, and not the weights. On a CPU they are read in a fresh process, elsewhere from "
            "the allocator; always apart from the timing.",
            plot(
                figures_trust.memory, shown, "Peak by phase",
                f"The longest bar of a case is what decides whether it fits.{more}",
                "Bars of the peak in each phase. " + " ".join(map(_peaks, dicts(shown))),
            ),
            [tables_trust.memory(models)],
        )
    ]  # fmt: skip


def _peaks(case: dict[str, object]) -> str:
    known = {phase: case[name] for name, phase in PHASE_PEAKS.items() if case[name] == case[name]}
    parts = [f"{phase} {words.size(peak)}" for phase, peak in known.items()]
    return f"{case['label']}: {', '.join(parts) or words.size(case['peak_bytes'])}."


def trust_section(run: Run, plot: Plotter) -> list[Section]:
    """Return how steady the cases ran and what pairs say; nothing where neither is known."""
    verdicts = [found.get("verdict") for r in run.finished if (found := stability(r))]
    frame = findings_trust.pairs(run)
    unfinished = [r for r in run.unfinished if r["group"] == "pair"]
    if not verdicts and frame.empty and not unfinished:
        return []
    unsteady = sum(verdict in UNSTEADY for verdict in verdicts)
    plots: list[Plot] = []
    for _, case in frame[frame["trials"].gt(0)].iterrows():
        plots += _self_plot(run, plot, case)
    lines = [] if not verdicts else [_how_steady(len(verdicts), unsteady)]
    lines += [f"{f.headline}." for f in findings_trust.self_comparison(run)]
    return [
        Section(
            "trust",
            "Trust",
            "Can these numbers be trusted?",
            "Two variants timed in turns share whatever the machine does meanwhile, so their ratio "
            "is better known than either time. One thing timed against itself shows how often such "
            f"a comparison cries wolf. {' '.join(lines)}",
            plots,
            [
                *([tables_trust.unsteady(run.finished)] if unsteady else []),
                *([tables_trust.pairs(frame)] if not frame.empty else []),
            ],
            missing=missing(run, "pair", "interleaved pair") if frame.empty else "",
        )
    ]


def _how_steady(n: int, unsteady: int) -> str:
    cases = words.count(n, "timed case")
    return f"{unsteady} of {cases} ran noisy or drifting."


def _self_plot(run: Run, plot: Plotter, case: pd.Series) -> list[Plot]:
    trials = run.series("pair", "trials")
    trials = trials[trials["case"] == case["case"]].dropna(subset=["trial", "ratio"])
    trials, more = _first(trials, MAX_TRIALS, "comparisons")
    where = words.base_conditions(case["base"])
    return plot(
        figures_trust.self_comparisons, trials.assign(margin_ratio=case["margin_ratio"]),
        "One thing against itself",
        "Dots: ratio of the times; lines: 95 % interval. Shade: differences too small to matter. "
        f"Orange diamonds: intervals that leave out 1. "
        f"{words.sentence(words.subject(case['base']))} {where}{'.' if where else ''}{more}",
        f"{words.count(len(trials), 'comparison')} of one thing with itself: ratios from "
        f"{words.ratio(trials['ratio'].min())} to {words.ratio(trials['ratio'].max())}, "
        f"{words.number(case['false_alarms'])} called slower or faster.",
    )  # fmt: skip
