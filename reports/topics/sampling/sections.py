"""The section on what the sampling showed the model."""

from __future__ import annotations

from functools import partial

import pandas as pd

from reports import words
from reports.blocks import Plot, Plotter, Section, Table, by_setting, missing, titled
from reports.conditions import by_arm
from reports.load import Run, over
from reports.numbers import Heading
from reports.topics.sampling import figures, frames, tables


def _longest(frame: pd.DataFrame) -> pd.DataFrame:
    """Return, of each sampler, the case with the most epochs."""
    order = frame.sort_values("epochs", kind="stable")
    return order.drop_duplicates("variant", keep="last").sort_index()


def _of_cases(frame: pd.DataFrame, cases: pd.DataFrame) -> pd.DataFrame:
    """Return the rows that belong to `cases`, the 2 x 2 first so that its colours stay."""
    rows = frame[frame["case"].isin(cases["case"])]
    return rows.iloc[(~frames.is_core(rows)).argsort(kind="stable")]


def section(run: Run, plot: Plotter) -> list[Section]:
    """Return what each sampler showed the model, against theory."""
    cases = run.cases("coverage")
    plots: list[Plot] = []
    shown: list[Table] = []
    series = [
        run.series("coverage", name)
        for name in ("coverage_curve", "visits_histogram", "visits_by_position")
    ]
    cells, main = frames.two_by_two(cases), frames.whole_text(cases)
    for setting, (part, *parts, four) in by_setting(plot, main, *series, cells):
        last = _longest(part)
        core = last if four.empty else last[frames.is_core(last)]
        plots += _plots(plot, last, core, parts, setting)
        if not four.empty:
            shown.append(titled(tables.two_by_two(four), setting))
        shown.append(titled(tables.coverage(part), setting))
    for setting, (part,) in by_setting(plot, frames.scarce_text(cases)):
        shown.append(titled(tables.scarce_text(part), setting))
    plots += _consequences(run, plot)
    return [
        Section(
            "sampling",
            "Sampling",
            "What did the sampling show the model?",
            "A target is a token that the model is asked to predict. In one epoch-equivalent, a "
            "sampler draws as many targets as the training part holds; random windows repeat some "
            "of them and miss others. z is the distance of an observed number from exact theory, "
            "in standard deviations: chance alone rarely takes it beyond ±2.",
            plots,
            shown,
            missing=missing(run, "coverage", "coverage case") if cases.empty else "",
        )
    ]


def _plots(
    plot: Plotter, last: pd.DataFrame, core: pd.DataFrame, series: list[pd.DataFrame], setting: str
) -> list[Plot]:
    """Return the figures of one setting; a table of the section has the counts behind them.

    Args:
        plot: draws them.
        last: of each sampler, the case with the most epochs.
        core: those of them that are a cell of the 2 x 2, all where it is not complete.
        series: coverage curves, histograms of visits, visits by position.
        setting: what the cases have in common.
    """
    curves, histogram, position = series
    curves = _of_cases(curves, last).dropna(subset=["epochs", "covered"])
    longest = f"After the most epochs measured. {setting}."
    equal = "Samplers that are named together have equal lines."
    curve: dict[str, Heading] = {
        "variant": "Sampler", "epochs": "Epoch-equivalents",
        "covered": ("Targets shown", words.percent), "expected": ("In theory", words.percent),
    }  # fmt: skip
    return [
        *plot(
            figures.covered, _of_cases(curves[curves["epochs"] <= 2], core),
            "How much of the text was shown",
            f"Lines: observed. Rings: exact theory, where it is known. {equal} {setting}.",
            "Share of targets shown at least once, by epochs.", curve,
        ),
        *plot(
            figures.missed, curves[curves["covered"] < 1 - 1e-9], "How much was still missing",
            f"A line that ends has reached zero. {equal} {setting}.",
            "Share of targets not shown yet, by epochs.", curve,
            ("Show it with a linear axis", partial(figures.missed, log=False)),
        ),
        *plot(
            figures.visits, _of_cases(histogram, core).dropna(subset=["visits", "targets"]),
            "How often a target was shown",
            f"One bar: every target was shown equally often. Many bars: chance decided. {longest}",
            "How many targets were shown how often.",
            {"variant": "Sampler", "visits": "Times shown", "targets": "Targets"},
        ),
        *plot(
            figures.positions,
            _of_cases(position, core).dropna(subset=["visits_min", "visits_max"]),
            "Where in the text targets were shown",
            f"Line: mean over each hundredth of the text. Band: least and most visits. {longest}",
            "How often targets were shown along the text.",
            {"variant": "Sampler", "bin_start": "From token", "visits_mean": "Mean visits",
             "visits_min": "Least", "visits_max": "Most"},
        ),
    ]  # fmt: skip


def _consequences(run: Run, plot: Plotter) -> list[Plot]:
    """Return the final loss against what training missed, for each setting with samplers."""
    runs = by_arm(run.cases("convergence"))
    runs = runs[runs["missed_targets"].notna() & runs["final_test_loss"].notna()]
    runs = runs.assign(missed=over(runs["missed_targets"], runs["train_tokens"] - 1))
    runs = runs.dropna(subset=["missed"])
    plots: list[Plot] = []
    for setting, (part,) in by_setting(plot, runs):
        if len(set(part["sampler"])) > 1:
            plots += plot(
                figures.consequence, part, "What missed targets mean for the loss",
                "Small marks: one seed each. Large marks: means. If missing targets cost anything, "
                "the marks at the right stand higher. Samplers differ in more than what they miss, "
                f"for example in the order of the text. {setting}.",
                "Final test loss by the share of targets that training missed.",
                {"variant": "Sampler", "seed": "Seed", "missed": ("Missed", words.percent),
                 "final_test_loss": ("Final test loss", words.loss)},
            )  # fmt: skip
    return plots
