"""The section on convergence."""

from __future__ import annotations

import pandas as pd

from reports import words
from reports.blocks import (
    MAX_BARS,
    Plot,
    Plotter,
    Section,
    Table,
    by_setting,
    dicts,
    first_cases,
    missing,
    titled,
)
from reports.conditions import by_arm, experiment, series_by_arm
from reports.load import Run
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
        f"Paired difference in test loss against training tokens: {'; '.join(told)}.",
    )  # fmt: skip


def _curves(
    plot: Plotter, cases: pd.DataFrame, train: pd.DataFrame, test: pd.DataFrame, setting: str
) -> list[Plot]:
    """Return the curves of the test loss and of the training loss of one setting."""
    test = test.merge(cases[["case", "unigram_test_loss"]], on="case")
    test = test.rename(columns={"unigram_test_loss": "unigram"})
    seeds = "Line: mean over seeds. Band: lowest to highest seed."
    ends = " ".join(
        f"{variant}: final test loss {words.loss(rows['final_test_loss'].mean())}."
        for variant, rows in cases.groupby("variant", sort=False)
    )
    return [
        *plot(
            figures.test_loss, test.dropna(subset=["tokens", "loss"]), "Loss on unseen text",
            f"{seeds} Below the dotted line, a model has learned more than token frequencies. "
            f"{setting}.",
            f"Test loss against training tokens, by arm. {ends}",
        ),
        *plot(
            figures.train_loss, train.dropna(subset=["tokens", "loss"]), "Loss while training",
            f"{seeds} {setting}.",
            f"Training loss against training tokens, by arm. {ends}",
        ),
    ]  # fmt: skip


def _differences(plot: Plotter, pairs: pd.DataFrame, setting: str) -> list[Plot]:
    """Return the figure of the paired differences of one experiment."""
    pairs, more = first_cases(findings.family(pairs), MAX_BARS, "pairs")
    return plot(
        figures.differences, pairs, "Which runs ended with the lower loss",
        "First minus second: left of zero, the first is better. Circles: one seed each. "
        "Diamond and bar: mean and 95 % interval by sign flips. Shade: differences within the "
        "margin. "
        f"{setting}.{more}",
        "Paired differences with intervals. "
        + " ".join(
            f"{words.arm(r['a'])} minus {words.arm(r['b'])}: "
            f"{words.signed(r['difference'])}, "
            f"{words.interval(r['low'], r['high'])}."
            for r in dicts(pairs)
        ),
    )  # fmt: skip
