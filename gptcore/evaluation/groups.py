"""The mean loss of groups of targets: by place in the text, by context, by visits in training."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gptcore.checks import as_row
from gptcore.evaluation.losses import Scores
from gptcore.intervals import mean_interval

STRETCHES = 20
MOST_VISITS = 40
"""Rows by visits at most; the last row holds this many visits and all above."""
FEWEST = 30
"""Targets in a group that has an interval, at least."""

Whole = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Group:
    """The targets that share a range of some quantity.

    Attributes:
        first, last: the ends of the range, both included.
        n_targets: the number of targets.
        loss: their mean loss, nats per token.
        interval_95: the 95 % interval of the mean, over a longer text of the same kind; None where
            there are too few targets for one.
    """

    first: int
    last: int
    n_targets: int
    loss: float
    interval_95: tuple[float, float] | None = None


def by_position(losses: npt.NDArray[np.floating], places: Whole) -> list[Group]:
    """Return the mean loss of up to STRETCHES stretches of equal numbers of targets.

    Args:
        losses: (n,), of the targets in the order of the text.
        places: (n,), the place of each of them in the text.
    """
    row, places = _rows(losses, places)
    edges = np.linspace(0, len(row), min(STRETCHES, len(row)) + 1).astype(int)
    means = np.add.reduceat(row, edges[:-1]) / np.diff(edges)
    return [
        Group(int(places[a]), int(places[b - 1]), int(b - a), float(mean))
        for a, b, mean in zip(edges[:-1], edges[1:], means, strict=True)
    ]


def by_context(scores: list[Scores]) -> list[Group]:
    """Return the mean loss by the number of tokens before a target: 1, 2, 3 to 4, 5 to 8, ….

    Different numbers of tokens are measured on different targets of the same windows.

    Args:
        scores: of one or several texts, swept with the same windows.
    """
    weights = np.array([score.windows for score in scores], dtype=np.float64)
    means = np.average([score.by_context.numpy() for score in scores], axis=0, weights=weights)
    ends = [2**i for i in range(len(means).bit_length()) if 2**i < len(means)] + [len(means)]
    begins = [0, *ends[:-1]]
    return [
        Group(a + 1, b, int(weights.sum()) * (b - a), float(means[a:b].mean()))
        for a, b in zip(begins, ends, strict=True)
    ]


def by_visits(losses: npt.NDArray[np.floating], visits: Whole) -> list[Group]:
    """Return the mean loss of the targets that training showed 0, 1, 2, … times.

    Args:
        losses: (n,), of the targets in the order of the text.
        visits: (n,), how often training showed each of them.

    Raises:
        ValueError: the two are not rows of equal length.
    """
    row, visits = _rows(losses, visits)
    level = np.minimum(visits, MOST_VISITS)
    groups = []
    for k in np.unique(level).tolist():
        chosen = level == k
        n, mean = int(chosen.sum()), float(row[chosen].mean())
        last = k if k < MOST_VISITS else int(visits.max())
        interval = _around(mean, _influence(row, chosen)) if n >= FEWEST else None
        groups.append(Group(k, last, n, mean, interval))
    return groups


def memorisation_gap(
    losses: npt.NDArray[np.floating], visits: Whole
) -> tuple[float, tuple[float, float] | None] | None:
    """Return the mean loss of unvisited targets less that of visited ones, with its interval.

    Both are targets of the training part of one text, so what differs is whether training showed
    them. The interval is that of `intervals.mean_interval`, over a longer text of the same kind.

    Args:
        losses: as for `by_visits`.
        visits: as for `by_visits`.

    Returns:
        None where fewer than FEWEST targets are unvisited, or visited.
    """
    row, visits = _rows(losses, visits)
    unseen = visits == 0
    if min(unseen.sum(), (~unseen).sum()) < FEWEST:
        return None
    gap = float(row[unseen].mean() - row[~unseen].mean())
    return gap, _around(gap, _influence(row, unseen) - _influence(row, ~unseen))


def _rows(losses: npt.NDArray[np.floating], other: Whole) -> tuple[Floats, Whole]:
    row = as_row("losses", losses)
    if other.shape != row.shape:
        raise ValueError(
            f"{len(row)} losses and an array of shape {other.shape}: give both for each target"
        )
    return row, other


def _influence(losses: Floats, chosen: npt.NDArray[np.bool_]) -> Floats:
    """Return n values of mean 0, whose mean varies as that of the chosen losses does.

    A mean over a part of the targets is a ratio of two sums; this is its linearisation (Cochran
    1977, Sampling Techniques, 6.3).
    """
    share = chosen.mean()
    return np.where(chosen, (losses - losses[chosen].mean()) / share, 0.0)


def _around(mean: float, influence: Floats) -> tuple[float, float] | None:
    ends = mean_interval(influence)
    return None if ends is None else (mean + ends[0], mean + ends[1])
