"""The section on convergence."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pandas as pd
from matplotlib.figure import Figure

from reports import words
from reports.blocks import (
    MAX_BARS,
    Other,
    Plot,
    Plotter,
    Section,
    Table,
    by_setting,
    first_cases,
    missing,
    titled,
)
from reports.conditions import by_arm, experiment, series_by_arm
from reports.load import Run
from reports.numbers import Heading
from reports.topics.convergence import figures, findings, tables, variance


def section(run: Run, plot: Plotter) -> list[Section]:
    """Return whether training learned, and which arms ended with the lower loss."""
    cases, comparisons = by_arm(run.cases("convergence")), run.cases("comparison")
    plots: list[Plot] = []
    shown: list[Table] = []
    series = [series_by_arm(run, name) for name in ("loss_curve", "test_curve")]
    for setting, (part, train, test) in by_setting(plot, cases, *series):
        plots += _curves(plot, part, train, test, setting)
        shown.append(titled(tables.training(part), setting, tables.shared_text(part)))
    designs = run.cases("design")
    if not designs.empty:
        shown.append(tables.designs(designs))
    points = {r["case"]: r["samples"].get("difference", []) for r in run.finished}
    comparisons = comparisons[comparisons["difference"].notna()]
    along = run.series("comparison", "difference_curve")
    names = pd.Series([experiment(case) for _, case in comparisons.iterrows()], comparisons.index)
    for name in plot.parts(dict.fromkeys(names)):
        pairs = comparisons[names == name]
        told = f"Experiment: {name}"
        plots += _differences(plot, pairs.assign(points=pairs["case"].map(points)), told)
        plots += _difference_curves(plot, pairs, along, told)
        shown.append(titled(tables.comparisons(pairs), told))
        if pairs["reached_loss"].notna().any():
            shown.append(titled(tables.spans(pairs), told))
    shown += variance.shown(run.cases("outcome"), run.series("outcome", "variance"))
    return [
        Section(
            "convergence",
            "Convergence",
            "Did training converge, and which runs ended with the lower loss?",
            "The runs of an experiment differ in the settings of their arms alone. Each seed "
            "trains a model in every arm, from the same initial weights where these have one "
            "shape, so differences are taken within a seed. An interval that contains zero "
            "resolves no difference. It does not show that two arms are equal either: that takes "
            "the equivalence test against the margin, which is the gain of 10 % more steps.",
            plots,
            shown,
            missing=missing(run, "convergence", "training run") if cases.empty else "",
        )
    ]


def _difference_curves(
    plot: Plotter, pairs: pd.DataFrame, along: pd.DataFrame, setting: str
) -> list[Plot]:
    """Return the figure of the differences of one experiment along training."""
    told = pairs["a"].map(words.arm) + f" {words.MINUS} " + pairs["b"].map(words.arm)
    curves = along[along["case"].isin(pairs["case"])]
    curves = curves.assign(variant=curves["case"].map(told.set_axis(pairs["case"])))
    return plot(
        figures.difference_curves, curves.dropna(subset=["tokens", "difference"]),
        "The difference along training",
        "First minus second: below zero, the first is better. Line: mean over paired seeds. "
        "Band: 95 % interval by sign flips, which holds at each point alone and not for the "
        f"whole line; fewer than 6 seeds have none. {setting}.",
        "Paired difference in test loss, by training tokens.",
        {"variant": "First minus second", "tokens": "Tokens",
         "difference": ("Difference", words.signed), "low": ("From", words.signed),
         "high": ("To", words.signed)},
    )  # fmt: skip


def _curves(
    plot: Plotter, cases: pd.DataFrame, train: pd.DataFrame, test: pd.DataFrame, setting: str
) -> list[Plot]:
    """Return the curves of the test loss and of the training loss of one setting."""
    of_case = cases[["case", "unigram_test_loss", "train_tokens_per_s"]]
    train, test = (
        figures.with_seconds(
            frame.dropna(subset=["tokens", "loss"]).merge(of_case, on="case")
        ).rename(columns={"unigram_test_loss": "unigram"})
        for frame in (train, test)
    )
    seeds = (
        "Line: mean over seeds. Band: lowest to highest seed. Unigram counts are a model that "
        "knows token frequencies alone; below the dotted line at zero, a model has learned more. "
        "The first tenth of training may lie above the figure."
    )
    numbers: dict[str, Heading] = {
        "variant": "Arm", "seed": "Seed", "tokens": "Tokens", "loss": ("Loss", words.loss),
    }  # fmt: skip
    of_test = partial(figures.losses, what="test loss", mark_points=True)
    of_train = partial(figures.losses, what="training loss", mark_points=False)
    return [
        *plot(
            of_test, test, "Loss on unseen text", f"{seeds} {setting}.",
            "Test loss above that of unigram counts, by training tokens.", numbers,
            _by_seconds(of_test, test),
        ),
        *plot(
            of_train, figures.running_median(train), "Loss while training",
            f"Running median of each run. {seeds} {setting}.",
            "Training loss above that of unigram counts, by training tokens.", numbers,
            _by_seconds(of_train, train),
        ),
    ]  # fmt: skip


def _by_seconds(draw: Callable[..., Figure], curves: pd.DataFrame) -> Other | None:
    """Return the figure along the time of training, where the speed of each arm is known."""
    if not curves["seconds"].gt(0).any() or curves["seconds"].isna().any():
        return None
    return "Show it by seconds, at the median speed of each arm", partial(draw, by="seconds")


def _differences(plot: Plotter, pairs: pd.DataFrame, setting: str) -> list[Plot]:
    """Return the figure of the paired differences of one experiment; a table has its numbers."""
    pairs, more = first_cases(findings.family(pairs), MAX_BARS, "pairs")
    told = pairs["a"].map(words.arm) + f" {words.MINUS} " + pairs["b"].map(words.arm)
    return plot(
        figures.differences, pairs.assign(told=told), "Which runs ended with the lower loss",
        "First minus second: left of zero, the first is better. Rings: one seed each. Triangles "
        "point to what was shown. Square: equal to within the margin, which is shaded. Large ring: "
        f"not decided. Lines: 95 % intervals by sign flips. {setting}.{more}",
        "Paired differences in final test loss.",
        {"told": "First minus second", "difference": ("Difference", words.signed),
         "low": ("From", words.signed), "high": ("To", words.signed), "n_seeds": "Seeds"},
    )  # fmt: skip
