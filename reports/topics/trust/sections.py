"""One run → the section on how far its numbers can be trusted."""

from __future__ import annotations

import pandas as pd

from reports import row_charts, words
from reports.blocks import MAX_BARS, Plot, Plotter, Section, first_cases, missing
from reports.load import UNSTEADY, Run, stability
from reports.topics.trust import figures, findings, tables

MAX_TRIALS = 300


def section(run: Run, plot: Plotter) -> list[Section]:
    """Return how steady the cases ran and what pairs say; no section where neither is known."""
    verdicts = [state["verdict"] for r in run.finished if (state := stability(r))]
    frame = findings.pairs(run)
    unfinished = [r for r in run.unfinished if r["group"] == "pair"]
    if not verdicts and frame.empty and not unfinished:
        return []
    unsteady = sum(verdict in UNSTEADY for verdict in verdicts)
    plots: list[Plot] = []
    for _, case in plot.parts(frame[frame["trials"].gt(0)].iterrows()):
        plots += _self_plot(run, plot, case)
    plots += _pairs_plot(plot, frame[~frame["is_self"] & frame["ratio"].gt(0)])
    lines = [] if not verdicts else [_how_steady(len(verdicts), unsteady)]
    lines += [f"{f.headline}." for f in findings.self_comparison(run)]
    return [
        Section(
            "trust",
            "Trust",
            "Can these numbers be trusted?",
            "Two variants timed in turns meet the same state of the machine, so their ratio is "
            "known better than either time. A case timed against an identical copy gives the "
            "false-alarm rate: how often such a comparison says slower or faster although nothing "
            f"differs. {' '.join(lines)}",
            plots,
            [
                *([tables.unsteady(run.finished)] if unsteady else []),
                *([tables.pairs(frame)] if not frame.empty else []),
            ],
            missing=missing(run, "pair", "interleaved pair") if frame.empty else "",
        )
    ]


def _how_steady(n: int, unsteady: int) -> str:
    cases = words.count(n, "timed case")
    return f"{unsteady} of {cases} {'was' if unsteady == 1 else 'were'} noisy or drifting."


def _pairs_plot(plot: Plotter, frame: pd.DataFrame) -> list[Plot]:
    """Return the figure of the pairs that were timed in turns; the table has its numbers."""
    labels = [
        f"{words.sentence(words.subject(case['base'])).removesuffix('.')}, {case['changed']}"
        for _, case in frame.iterrows()
    ]
    frame, more = first_cases(frame.assign(label=labels), MAX_BARS, "pairs")
    return plot(
        figures.pairs, frame, "Pairs timed in turns",
        f"Time of the second over time of the first. {row_charts.MARKS}{more}",
        "Ratios of pairs timed in turns.",
        {"label": "Pair", "ratio": ("Ratio", words.ratio), "ratio_low": ("From", words.ratio),
         "ratio_high": ("To", words.ratio), "pairs": "Pairs"},
    )  # fmt: skip


def _self_plot(run: Run, plot: Plotter, case: pd.Series) -> list[Plot]:
    trials = run.series("pair", "trials")
    trials = trials[trials["case"] == case["case"]].dropna(subset=["trial", "ratio"])
    trials, more = first_cases(trials, MAX_TRIALS, "comparisons")
    where = words.base_conditions(case["base"])
    return plot(
        figures.self_comparisons, trials.assign(margin_ratio=case["margin_ratio"]),
        "A case against an identical copy",
        "Dots: ratio of the times. Lines: 95 % interval. Shade: differences within the margin. "
        "Diamonds: intervals that exclude 1, though nothing differs. "
        f"{words.sentence(words.subject(case['base']))} {where}{'.' if where else ''}{more}",
        f"{words.count(len(trials), 'comparison')} of a case with an identical copy.",
        {"trial": "Comparison", "ratio": ("Ratio", words.ratio),
         "ratio_low": ("From", words.ratio), "ratio_high": ("To", words.ratio)},
    )  # fmt: skip
