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
from reports.load import Run
from reports.topics.convergence import figures, findings, tables


def section(run: Run, plot: Plotter) -> list[Section]:
    """Return whether training learned, and which sampler ended with the lower loss."""
    cases, comparisons = run.cases("convergence"), run.cases("comparison")
    plots: list[Plot] = []
    shown: list[Table] = []
    series = [run.series("convergence", name) for name in ("loss_curve", "test_curve")]
    for setting, (part, train, test) in by_setting(plot, cases, *series):
        plots += _curves(plot, part, train, test, setting)
        shown.append(titled(tables.training(part), setting, tables.shared_text(part)))
    designs = run.cases("design")
    if not designs.empty:
        shown.append(tables.designs(designs))
    points = {r["case"]: r["samples"].get("difference", []) for r in run.finished}
    comparisons = comparisons[comparisons["difference"].notna()]
    names = comparisons["corpus"].map(str)
    for name in plot.parts(dict.fromkeys(names)):
        pairs = comparisons[names == name]
        corpus = f"Corpus: {words.corpus(pairs['corpus'].iloc[0])}"
        plots += _differences(plot, pairs.assign(points=pairs["case"].map(points)), corpus)
        shown.append(titled(tables.comparisons(pairs), corpus))
    return [
        Section(
            "convergence",
            "Convergence",
            "Did training converge, and which sampler ended with the lower loss?",
            "Each seed trains a model with every sampler from the same initial weights, so "
            "differences are taken within a seed. An interval that contains zero resolves no "
            "difference. It does not show that two samplers are equal either: that takes the "
            "equivalence test against the margin, which is the gain of 10 % more steps.",
            plots,
            shown,
            missing=missing(run, "convergence", "training run") if cases.empty else "",
        )
    ]


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
            f"Test loss against training tokens, by sampler. {ends}",
        ),
        *plot(
            figures.train_loss, train.dropna(subset=["tokens", "loss"]), "Loss while training",
            f"{seeds} {setting}.",
            f"Training loss against training tokens, by sampler. {ends}",
        ),
    ]  # fmt: skip


def _differences(plot: Plotter, pairs: pd.DataFrame, corpus: str) -> list[Plot]:
    """Return the figure of the paired differences on one corpus."""
    pairs, more = first_cases(findings.family(pairs), MAX_BARS, "pairs")
    return plot(
        figures.differences, pairs, "Which sampler ended with the lower loss",
        "First minus second: left of zero, the first is better. Circles: one seed each. "
        "Diamond and bar: mean and 95 % interval by sign flips. Shade: differences within the "
        "margin. "
        f"{corpus}.{more}",
        "Paired differences with intervals. "
        + " ".join(
            f"{words.sampler(r['a'])} minus {words.sampler(r['b'])}: "
            f"{words.signed(r['difference'])}, "
            f"{words.interval(r['low'], r['high'])}."
            for r in dicts(pairs)
        ),
    )  # fmt: skip
