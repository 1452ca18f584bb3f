"""Figures of whole experiments."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from reports import drawing, line_charts, row_charts, words
from reports.topics.experiments.findings import shown


def repeats(cells: pd.DataFrame) -> Figure:
    """Draw the loss against the number of passes, a line for each number of unique tokens.

    Args:
        cells: with columns `passes`, `loss` and `variant`.
    """
    figure, axes = line_charts.line_chart(cells, "test loss, nats/token", "passes", "loss", log="x")
    axes.set_xlabel("passes over the unique tokens (logarithmic)")
    drawing.log_axis(axes.xaxis, *axes.get_xlim(), shown=words.tick)
    drawing.number_axis(axes.yaxis)
    return figure


def copying(points: pd.DataFrame) -> Figure:
    """Draw the probability of the current token along training, a line for each initialisation.

    Args:
        points: with columns `tokens`, `copy_probability` and `variant`, means over seeds.
    """
    title = "probability of the current token as the next"
    figure, axes = line_charts.line_chart(points, title, "tokens", "copy_probability")
    axes.set_xlabel("training tokens seen")
    drawing.amount_axis(axes.xaxis)
    drawing.percent_axis(axes.yaxis)
    return figure


def _changes(frame: pd.DataFrame, name: str, xlabel: str) -> Figure:
    """Draw a change of the loss in each arm with its interval, and whether it is shown."""
    rows = [
        {
            "label": words.arm(arm["arm"]),
            "value": arm[name],
            "low": arm[f"{name}_low"],
            "high": arm[f"{name}_high"],
            "kind": _kind(arm[name]) if shown(arm["p_adjusted"]) else "ambiguous",
        }
        for _, arm in frame.iterrows()
    ]
    return row_charts.forest(pd.DataFrame(rows), xlabel, log=False)


def _kind(value: float) -> str:
    return "higher" if value > 0 else "lower"


def rises(arms: pd.DataFrame) -> Figure:
    """Draw by how much the test loss of each arm rises after its lowest mean."""
    return _changes(arms, "rise", "rise of the test loss, nats/token")


def steps(arms: pd.DataFrame) -> Figure:
    """Draw by how much the training loss of each arm steps at the borders of epochs."""
    return _changes(arms, "size", "step of the training loss, nats/token")


def noise(arms: pd.DataFrame) -> Figure:
    """Draw the standard deviation of the final loss over seeds, with its interval."""
    marks = pd.DataFrame(
        {
            "label": arms["arm"].map(words.arm),
            "text": arms["sd"].map(words.number),
            "value": arms["sd"],
            "low": arms["sd_low"],
            "high": arms["sd_high"],
        }
    )
    return row_charts.dots(marks, "sd over seeds, nats/token (logarithmic)", words.number)
