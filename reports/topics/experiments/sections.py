"""The section on whole experiments: a table for each question."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pandas as pd

from reports import words
from reports.blocks import (
    MAX_BARS,
    Plot,
    Plotter,
    Section,
    Table,
    dicts,
    first_cases,
    table,
    titled,
)
from reports.load import Run
from reports.topics.experiments import figures
from reports.topics.experiments.findings import initial, rows


def section(run: Run, plot: Plotter) -> list[Section]:
    """Return what was worked out from whole experiments; none where nothing was."""
    frames = {make: rows(run, name) for name, make in TABLES.items()}
    frames[weights] = initial(run.cases("convergence"))
    shown = [
        titled(make(part), f"Experiment: {name}")
        for make, frame in frames.items()
        for name, part in _by_experiment(plot, frame)
    ]
    if not shown:
        return []
    return [
        Section(
            "experiments",
            "Experiments",
            "What do whole experiments show, beyond pairs?",
            "Each table is worked out from all runs of one experiment. Losses are test losses in "
            "nats/token. An arm is the set of settings in which its runs differ from the others.",
            [*_changes(run, plot), *_repeats(run, plot), *_copying(run, plot)],
            shown,
        )
    ]


def _by_experiment(plot: Plotter, frame: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield the name of each experiment of a frame, and the part of the frame that is of it."""
    for name in plot.parts(dict.fromkeys([] if frame.empty else frame["experiment"])):
        yield name, frame[frame["experiment"] == name]


def _changes(run: Run, plot: Plotter) -> list[Plot]:
    """Return the figures of rises, steps and noise, whose numbers are in the tables."""
    marks = "Triangle: shown at an adjusted p of 0.05. Ring: not decided. Lines: 95 % intervals."
    found: list[Plot] = []
    for name, needed, draw, title, told in (
        ("onset", ["rise"], figures.rises, "Whether the test loss rises for good", marks),
        ("staircase", ["size"], figures.steps, "Steps at the borders of epochs", marks),
        ("noise", ["sd", "sd_low", "sd_high"], figures.noise, "How much the seed changes the loss",
         "Dots: standard deviation over seeds. Lines: 95 % intervals."),
    ):  # fmt: skip
        frame = rows(run, name).dropna(subset=needed)
        for experiment, arms in _by_experiment(plot, frame):
            arms, more = first_cases(arms, MAX_BARS, "arms")
            found += plot(
                draw, arms, title, f"{told} Experiment: {experiment}.{more}", f"{title}, by arm.",
                {"arm": ("Arm", words.arm), needed[0]: "Value",
                 f"{needed[0]}_low": "From", f"{needed[0]}_high": "To"},
            )  # fmt: skip
    return found


def _repeats(run: Run, plot: Plotter) -> list[Plot]:
    """Return the figure of the loss by passes and unique tokens, one for each experiment."""
    frame = rows(run, "repeat_cells")
    frame = frame[frame["loss"].notna() & frame["passes"].gt(0) & frame["train_tokens"].gt(0)]
    unique = frame["train_tokens"].map(lambda n: f"{words.number(n)} unique tokens")
    return [
        each
        for name, cells in frame.assign(variant=unique).groupby("experiment", sort=False)
        for each in plot(
            figures.repeats, cells, "Loss on repeated text",
            f"Each point: mean over its seeds. Experiment: {name}.",
            "Test loss by passes over repeated text.",
            {"variant": "Text", "passes": "Passes", "loss": ("Loss", words.loss)},
        )
    ]  # fmt: skip


def _copying(run: Run, plot: Plotter) -> list[Plot]:
    """Return the figure of the copying of the current token, for each experiment on weights."""
    compared = initial(run.cases("convergence"))
    if compared.empty:
        return []
    points = run.series("convergence", "copying")
    points = points.merge(compared[["case", "experiment", "arm"]], on="case")
    points = points.dropna(subset=["tokens", "copy_probability"])
    points["variant"] = points["arm"].map(words.arm)
    by = ["experiment", "variant", "tokens"]
    means = points.groupby(by, sort=False)["copy_probability"].mean().reset_index()
    return [
        each
        for name, part in means.groupby("experiment", sort=False)
        for each in plot(
            figures.copying, part, "How much a model copies its input",
            f"Means over seeds. Experiment: {name}.",
            "Probability of the current token as the next one, by training tokens.",
            {"variant": "Arm", "tokens": "Tokens",
             "copy_probability": ("Probability", words.percent)},
        )
    ]  # fmt: skip


def onset(frame: pd.DataFrame) -> Table:
    """Return from which evaluation on the test loss of each arm rises for good."""
    found = [
        (
            words.arm(arm["arm"]),
            words.number(arm["n_seeds"]),
            words.number(arm["train_tokens"]),
            words.number(arm["passes"]),
            words.number(arm["epochs"]),
            words.number(arm["between"]),
            words.loss(arm["lowest"]),
            words.loss(arm["final"]),
            words.signed(arm["rise"]),
            words.interval(arm["rise_low"], arm["rise_high"]),
            words.p_value(arm["p_adjusted"]),
            words.number(arm["detectable"]),
        )
        for arm in dicts(frame)
    ]
    columns = (
        "Arm", "Seeds#", "Train tokens#", "Passes#", "Lowest after passes#",
        "Passes between evaluations#", "Lowest loss#", "Last loss#", "Rise#", "95 % interval#",
        "p adjusted#", "Least rise found#",
    )  # fmt: skip
    return table(
        "From when on the test loss rises for good.",
        columns,
        found,
        note="The lowest loss is that of the mean over seeds. The rise is measured on each seed "
        "from the evaluation that the other seeds choose, so that noise alone gives none.",
    )


def staircase(frame: pd.DataFrame) -> Table:
    """Return by how much the training loss of each arm steps at the borders of epochs."""
    found = [
        (
            words.arm(arm["arm"]),
            words.number(arm["n_seeds"]),
            words.number(arm["borders"]),
            words.signed(arm["size"]),
            words.interval(arm["size_low"], arm["size_high"]),
            words.p_value(arm["p_adjusted"]),
            words.number(arm["detectable"]),
        )
        for arm in dicts(frame)
    ]
    columns = (
        "Arm", "Seeds#", "Borders#", "Step#", "95 % interval#", "p adjusted#", "Least step found#",
    )  # fmt: skip
    return table(
        "Step of the training loss at the borders of epochs.",
        columns,
        found,
        note="Mean training loss of the first twentieth of an epoch less that of the last "
        "twentieth of the epoch before, over all borders of a run.",
    )


def noise(frame: pd.DataFrame) -> Table:
    """Return the standard deviation over seeds of each arm."""
    found = [
        (
            words.arm(arm["arm"]),
            words.si(arm["n_params"], ""),
            words.number(arm["n_seeds"]),
            words.loss(arm["loss"]),
            words.number(arm["sd"]),
            f"{words.number(arm['sd_low'])} to {words.number(arm['sd_high'])}",
            words.p_value(arm["p_adjusted"]),
        )
        for arm in dicts(frame)
    ]
    columns = ("Arm", "Weights#", "Seeds#", "Mean loss#", "sd#", "95 % interval#", "p adjusted#")
    caption = "How much the final loss varies over seeds."
    return table(
        caption,
        columns,
        found,
        note="p is of the same variance as that of the first arm (Pitman's test).",
    )


def forms(frame: pd.DataFrame) -> Table:
    """Return how well each form of the law predicts cells that it did not see."""
    found = [
        (
            str(form["form"]),
            words.percent(form["error"]),
            words.percent(form["error_most_passes"]),
            f"{words.number(form['closest'])} of {words.number(form['n_cells'])}",
            words.p_value(form["p_adjusted"]),
        )
        for form in dicts(frame)
    ]
    columns = ("Form", "Error#", "Error at most passes#", "Closest in cells#", "p adjusted#")
    return table(
        "Three forms of the law of repeats on held-out cells.",
        columns,
        found,
        note="Error: mean absolute relative error of cells that the fit did not see; at most "
        "passes: of the cells with the most passes, from all others. p is against the form with "
        "the least error. docs/study.md gives the forms.",
    )


def cells(frame: pd.DataFrame) -> Table:
    """Return the loss of each cell of unique tokens and passes, and what the forms predict."""
    found = [
        (
            words.number(cell["train_tokens"]),
            words.number(cell["passes"]),
            words.number(cell["n_seeds"]),
            *(words.loss(cell[name]) for name in ("loss", "exponential", "bounded", "additive")),
        )
        for cell in dicts(frame)
    ]
    columns = (
        "Unique tokens#", "Passes#", "Seeds#", "Loss#", "Exponential#", "Bounded#", "Additive#",
    )  # fmt: skip
    return table(
        "Loss by unique tokens and passes, each predicted from all other cells.", columns, found
    )


def weights(frame: pd.DataFrame) -> Table:
    """Return the loss and the copying of each arm, before and after training."""
    found = [
        (
            words.arm(arm),
            words.number(len(runs)),
            words.loss(runs["ln_vocab"].mean()),
            words.loss(runs["initial_test_loss"].mean()),
            words.percent(runs["initial_copy_probability"].mean()),
            words.loss(runs["final_test_loss"].mean()),
            words.percent(runs["final_copy_probability"].mean()),
        )
        for arm, runs in frame.groupby("arm", sort=False)
    ]
    columns = (
        "Arm", "Runs#", "ln V#", "Loss before#", "Current token before#", "Loss after#",
        "Current token after#",
    )  # fmt: skip
    return table(
        "Initial weights: losses, and the probability of the current token.",
        columns,
        found,
        note="Current token: mean probability that the model gives to the token at a position as "
        "the next one. A model that copies its input gives it a high one.",
    )


TABLES: dict[str, Callable[[pd.DataFrame], Table]] = {
    "onset": onset,
    "staircase": staircase,
    "repeat_forms": forms,
    "repeat_cells": cells,
    "noise": noise,
}
"""Series of outcomes → its table."""
