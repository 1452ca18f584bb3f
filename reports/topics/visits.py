"""How the loss of a training target depends on how often training showed it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from reports import drawing, line_charts, words
from reports.blocks import Finding, Plotter, Section, Table, by_setting, dicts, table, titled
from reports.conditions import place
from reports.load import Run

Row = dict[str, Any]


def find(run: Run) -> Iterator[Finding]:
    """Say for each setting whether showing a target lowered its loss, by how much, in which runs.

    Intervals of one run are about the text and not about other seeds, so a claim needs all runs of
    a setting to agree.
    """
    training = run.cases("convergence")
    frame = training[training["memorisation_gap_low"].notna()]
    for setting, part in frame.groupby("setting", sort=False):
        for _, rows in part.groupby("target_epochs", sort=True):
            cases = dicts(rows)
            gaps = [row["memorisation_gap"] for row in cases]
            low = all(row["memorisation_gap_low"] > 0 for row in cases)
            high = all(row["memorisation_gap_high"] < 0 for row in cases)
            size = words.number(abs(sum(gaps) / len(gaps)))
            claim = (
                f"Training targets that were shown ended {size} nats/token "
                f"{'below' if low else 'above'} those that were not"
                if low or high
                else "No difference in loss was resolved between training targets that were shown "
                "and those that were not"
            )
            yield Finding(
                54,
                "visits",
                "",
                f"{claim} after {words.count_of(cases[0]['target_epochs'], 'epoch-equivalent')}"
                f"{place(cases[0], training)}",
                f"{_gaps(cases)} Each interval is over a longer text of this kind, for one run. "
                f"Conditions: {setting}.",
                tuple(row["case"] for row in cases),
            )


def _gaps(cases: list[Row]) -> str:
    gaps = ", ".join(
        f"{words.signed(row['memorisation_gap'])} (95 % interval "
        f"{words.interval(row['memorisation_gap_low'], row['memorisation_gap_high'])})"
        for row in cases
    )
    return f"Loss of the targets not shown less that of those shown, for each seed: {gaps}."


def section(run: Run, plot: Plotter) -> list[Section]:
    """Return the loss by visits; no section where no training part was scored."""
    series = run.series("convergence", "loss_by_visits")
    if series.empty:
        return []
    frame = run.cases("convergence")
    scored = frame[frame["case"].isin(series["case"])]
    epochs = frame.set_index("case")["target_epochs"]
    series = series.assign(epochs=series["case"].map(epochs))
    plots, tables = [], []
    for setting, (part, curves) in by_setting(plot, scored, series):
        plots += plot(
            by_visits,
            curves.dropna(subset=["low", "loss", "visits", "epochs"]),
            "The loss of a target by how often it was shown",
            "Each line is one training length, the mean over seeds. Groups of fewer than 30 "
            f"targets are left out. {setting}.",
            "Loss of training targets by how often training showed them.",
            {
                "epochs": "Epoch-equivalents",
                "seed": "Seed",
                "visits": "Times shown",
                "targets": "Targets",
                "loss": ("Loss", words.loss),
            },
        )
        tables.append(titled(gaps(part), setting))
    return [
        Section(
            "visits",
            "Loss by visits",
            "Does showing a token more often lower its loss?",
            "After training the whole training part is scored. Random windows show some of its "
            "targets never and others several times, by chance alone, so the difference in loss "
            "is due to being shown. It is called the memorisation gap.",
            plots=plots,
            tables=tables,
        )
    ]


def by_visits(rows: pd.DataFrame) -> Figure:
    """Draw the mean loss over seeds by visits, one line for each training length."""
    means = rows.groupby(["epochs", "visits"], sort=True)["loss"].mean().reset_index()
    means["variant"] = means["epochs"].map(lambda n: words.count_of(n, "epoch-equivalent"))
    title = "loss of training targets, nats/token"
    figure, axes = line_charts.line_chart(means, title, "visits", "loss")
    axes.set_xlabel("times that training showed the target")
    drawing.number_axis(axes.xaxis)
    drawing.number_axis(axes.yaxis)
    return figure


def gaps(frame: pd.DataFrame) -> Table:
    """Return the losses of the parts and the memorisation gap of each run."""
    rows = [
        (
            words.number(row["target_epochs"]),
            words.number(row["seed"]),
            words.loss(row["train_part_loss"]),
            words.loss(row["final_test_loss"]),
            words.signed(row["memorisation_gap"]),
            words.interval(row["memorisation_gap_low"], row["memorisation_gap_high"]),
        )
        for row in dicts(frame.sort_values(["target_epochs", "seed"]))
    ]
    columns = ("Epoch-equivalents#", "Seed#", "Loss of the train part#", "Loss of the test part#",
               "Memorisation gap#", "95 % interval#")  # fmt: skip
    return table("Losses in nats/token after training, and the memorisation gap.", columns, rows)
