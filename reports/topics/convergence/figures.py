"""Figures of loss curves and of differences between arms."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from reports import drawing, line_charts, row_charts, words
from reports.load import over
from reports.topics.convergence import findings

EARLY = 0.1
"""Share of training whose losses may lie outside the axes: they would compress all others."""
LONGER = 6.0
"""How many times the longest arm is as long as the shortest one, for a logarithmic axis."""
KINDS = {"equal": "same", "unresolved": "ambiguous", findings.NO_VERDICT: "ambiguous"}


def losses(curves: pd.DataFrame, what: str, *, mark_points: bool, by: str = "tokens") -> Figure:
    """Draw a line for each arm: mean over seeds, band from the lowest to the highest seed.

    Args:
        curves: points with `variant`, `tokens`, `loss`, `unigram` (the loss of unigram counts, NaN
            where unknown), and `seconds` where that axis is asked for.
        what: "test loss", for example.
        mark_points: whether the points are few enough to be marked.
        by: the horizontal axis: "tokens" or "seconds".
    """
    known = curves["unigram"].notna().all()
    shown = curves.assign(shown=curves["loss"] - (curves["unigram"] if known else 0.0))
    # Aggregated here: seaborn's own bands take several times as long as the drawing.
    groups = shown.groupby(["variant", by], sort=False)["shown"]
    bands = groups.agg(["mean", "min", "max"]).reset_index()
    lengths = bands.groupby("variant")[by].transform("max")
    late = bands[bands[by] >= EARLY * lengths]
    log = "x" if lengths.max() > LONGER * lengths.min() > 0 else ""
    if log:
        bands = bands[bands[by] > 0]
    low, high = float(late["min"].min()), float(late["max"].max())
    if known:
        low, high = min(low, -0.02), max(high, 0.02)
    room = 0.06 * max(high - low, 0.02)
    title = f"{what} above unigram counts, nats/token" if known else f"{what}, nats/token"
    figure, axes = line_charts.line_chart(
        bands, title, by, "mean", mark_points=mark_points, band=("min", "max"), log=log,
        limits=(low - room, high + room),
    )  # fmt: skip
    if known:
        axes.axhline(0, color=drawing.INK, linewidth=1.2, linestyle=(0, (2, 2)), zorder=1.5)
    drawing.number_axis(axes.yaxis)
    if log:
        drawing.log_axis(axes.xaxis, *axes.get_xlim())
    else:
        drawing.amount_axis(axes.xaxis)
    axes.set_xlabel("training tokens seen" if by == "tokens" else "seconds of training")
    return figure


def with_seconds(curves: pd.DataFrame) -> pd.DataFrame:
    """Return points with their seconds of training, at the median speed of their arm."""
    speeds = curves.groupby("variant")["train_tokens_per_s"].transform("median")
    return curves.assign(seconds=over(curves["tokens"], speeds))


def running_median(curves: pd.DataFrame, window_share: float = 0.04) -> pd.DataFrame:
    """Return the losses of each run as medians over a window: single batches differ by chance."""
    parts = []
    for _, run in curves.groupby("case", sort=False):
        window = max(1, 2 * int(window_share * len(run) / 2) + 1)
        smooth = run["loss"].rolling(window, center=True, min_periods=1).median()
        every = max(1, len(run) // 120)
        parts.append(run.assign(loss=smooth).iloc[::every])
    return pd.concat(parts) if parts else curves


def difference_curves(curves: pd.DataFrame) -> Figure:
    """Draw the mean paired difference along training, with its pointwise 95 % interval.

    Args:
        curves: points with columns `variant` (the pair), `tokens`, `difference`, `low` and `high`.
    """
    title = "difference in test loss, nats/token"
    figure, axes = line_charts.line_chart(
        curves, title, "tokens", "difference", band=("low", "high")
    )
    axes.axhline(
        0, color=drawing.INK, linewidth=1.2, zorder=1.5
    )  # above the bands, below the lines
    axes.set_xlabel("training tokens seen")
    drawing.amount_axis(axes.xaxis)
    drawing.number_axis(axes.yaxis)
    return figure


def differences(comparisons: pd.DataFrame) -> Figure:
    """Draw each paired comparison: a ring per seed, the mean with its 95 % interval, the margin.

    Args:
        comparisons: cases with columns `low` and `high`, the ends of their intervals, and `points`,
            the list of paired differences.
    """
    rows = [
        {
            "label": f"{words.arm(pair['a'])} {words.MINUS} {words.arm(pair['b'])}",
            "value": pair["difference"],
            "low": pair["low"],
            "high": pair["high"],
            "margin": pair["margin"],
            "points": list(pair["points"]),
            "kind": _kind(pair),
        }
        for _, pair in comparisons.iterrows()
    ]
    return row_charts.forest(
        pd.DataFrame(rows), "difference in final test loss, nats/token", log=False
    )


def _kind(pair: pd.Series) -> str:
    outcome = findings.outcome(pair)
    return KINDS.get(outcome, "lower" if pair["difference"] < 0 else "higher")
