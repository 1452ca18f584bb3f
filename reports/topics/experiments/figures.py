"""Figures of whole experiments: losses on repeated text, and the copying of the current token."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from reports import drawing, words


def repeats(cells: pd.DataFrame) -> Figure:
    """Draw the loss against the number of passes, a line for each number of unique tokens.

    Args:
        cells: with columns `passes`, `loss` and `variant`.
    """
    figure, axes = drawing.line_chart(cells, "test loss, nats/token", "passes", "loss")
    axes.set_xscale("log", base=2)
    axes.set_xlabel("passes over the unique tokens")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: words.tick(value)))
    return figure


def copying(points: pd.DataFrame) -> Figure:
    """Draw the probability of the current token along training, a line for each initialisation.

    Args:
        points: with columns `tokens`, `copy_probability` and `variant`, means over seeds.
    """
    title = "probability of the current token as the next one"
    figure, axes = drawing.line_chart(points, title, "tokens", "copy_probability")
    axes.set_xlabel("training tokens seen")
    drawing.number_axis(axes.xaxis)
    drawing.percent_axis(axes.yaxis)
    return figure
