"""The section on what the sampling showed the model."""

from __future__ import annotations

import pandas as pd

from reports import words
from reports.blocks import Plot, Plotter, Section, Table, by_setting, dicts, missing, titled
from reports.load import Run
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
    """Return the figures of one setting.

    Args:
        plot: draws them.
        last: of each sampler, the case with the most epochs.
        core: those of them that are a cell of the 2 x 2, all where it is not complete.
        series: coverage curves, histograms of visits, visits by position.
        setting: what the cases have in common.
    """
    curves, histogram, position = series
    numbers = " ".join(
        f"{r['variant']}: {words.number(r['missed_targets'])} targets missed after "
        f"{words.number(r['epochs'])} epoch-equivalents, visits from "
        f"{words.number(r['visits_min'])} to {words.number(r['visits_max'])}."
        for r in dicts(last)
    )
    curves = _of_cases(curves, last).dropna(subset=["epochs", "covered"])
    longest = f"After the most epochs measured. {setting}."
    return [
        *plot(
            figures.covered, _of_cases(curves[curves["epochs"] <= 2], core),
            "How much of the text was shown",
            "Lines: observed. Circles: exact theory, where it is known. Equal lines cover each "
            f"other. {setting}.",
            f"Share of targets shown at least once against epochs. {numbers}",
        ),
        *plot(
            figures.missed, curves[curves["covered"] < 1 - 1e-9], "How much was still missing",
            "Each grid line is a tenth of the one above. A line that ends has reached zero. Equal "
            f"lines cover each other. {setting}.",
            f"Share of targets not shown yet, logarithmic, against epochs. {numbers}",
        ),
        *plot(
            figures.visits, _of_cases(histogram, core).dropna(subset=["visits", "targets"]),
            "How often a target was shown",
            f"One bar: every target was shown equally often. Many bars: chance decided. {longest}",
            f"Histogram of visits per target, by sampler. {numbers}",
        ),
        *plot(
            figures.positions,
            _of_cases(position, core).dropna(subset=["visits_min", "visits_max"]),
            "Where in the text targets were shown",
            f"Line: mean over each hundredth of the text. Band: least and most visits. {longest}",
            f"Visits along the training part, by sampler. {numbers}",
        ),
    ]  # fmt: skip
