"""What the theories of `phases` and `strata` share: their starts are not alike.

What shows an item depends here on which starts show it, not only on how many. The **rank** of a
start is its number among all starts of all segments, in reading order.
Legend as in `lattice`: N tokens, windows of T inputs, M = N - T starts, K draws, rows of items.
"""

from abc import ABC, abstractmethod
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from gptcore.sampling.base import Sampler
from gptcore.theory.avoidance import Floats
from gptcore.theory.lattice import Missed, Whole


class Items(NamedTuple):
    """Kinds of items, with arrays of one length.

    Attributes:
        rank: the first rank that shows an item of this kind.
        shown_by: how many ranks show it: rank, rank + 1, ….
        weight: how many items are of this kind.
        interior: whether they are at least T from both ends of the segment.
    """

    rank: Whole
    shown_by: Whole
    weight: Whole
    interior: npt.NDArray[np.bool_]


class RankTheory(ABC):
    """What both theories share: the items of all rows, by the ranks that show them.

    Items whose probabilities are equal are folded into one kind, so that work does not grow with N.
    """

    def __init__(self, sampler: Sampler) -> None:
        self.sampler = sampler
        self.block_size = sampler.block_size
        self.n_targets = sampler.n_tokens - len(sampler.segments)
        self._kept: dict[int, Items] = {}

    def missed(self, draws: int, width: int) -> Missed:
        """Return how many items of all rows are expected to be missed by windows of `width`."""
        items = self._items(width)
        missed = items.weight * self.unseen(items, draws)
        edge, interior = missed[~items.interior].sum(), missed[items.interior].sum()
        return Missed(float(edge), float(interior))

    def never(self, width: int) -> int:  # noqa: ARG002
        """Return 0, because every start may be drawn."""
        return 0

    def gaps(self, draws: int) -> float:
        """Return the expected number of gaps: islands of shown items, less one in each row.

        An island ends at item p if p is shown and p + 1 is not. The ranks that show p or p + 1 are
        those that show an item of windows of T + 1. So the expected islands of a row are the missed
        items of windows of T, less those of windows of T + 1, plus 1. A row without a draw has no
        island.
        """
        size, begin, empty = self.block_size, 0, 0.0
        for part in self.sampler.segments if len(self.sampler.segments) > 1 else ():
            starts = len(part) - size
            ones = np.ones(1, dtype=np.int64)
            row = Items(begin * ones, starts * ones, ones, ones > 0)
            empty += float(self.unseen(row, draws)[0])
            begin += starts
        islands = sum(self.missed(draws, size)) - sum(self.missed(draws, size + 1))
        return max(0.0, islands + empty)  # less than 0 only by rounding

    @abstractmethod
    def unseen(self, items: Items, draws: int) -> Floats:
        """Return the probability that no draw shows an item, for each kind."""

    @abstractmethod
    def fold(self, first: int, number: int, count: int) -> list[tuple[Whole, Whole]]:
        """Fold `number` runs of `count` ranks each, which begin at first, first + 1, ….

        Returns:
            Pairs of arrays: where a run of each kind begins, and how many runs are of that kind.
        """

    def _items(self, width: int) -> Items:
        if width not in self._kept:
            begin, parts = 0, []
            for part in self.sampler.segments:
                starts = len(part) - self.block_size
                parts += self._row(begin, starts, width)
                begin += starts
            self._kept[width] = Items(*map(np.concatenate, zip(*parts, strict=True)))
        return self._kept[width]

    def _row(self, begin: int, starts: int, width: int) -> list[Items]:
        """Return the items of one row, whose starts have the ranks from `begin` on."""
        # The items at the two ends, which 1, 2, …, most - 1 ranks show.
        most = min(width, starts)
        ramp = np.arange(1, most, dtype=np.int64)
        ones, no = np.ones_like(ramp), np.zeros(len(ramp), dtype=np.bool_)
        rows = [
            Items(np.full_like(ramp, begin), ramp, ones, no),
            Items(begin + starts - ramp, ramp, ones, no),
        ]
        # The others, which `most` ranks show; in a short row all starts show some of them.
        inner = starts >= self.block_size
        for rank, weight in self.fold(begin, starts - most + 1, most):
            repeat = max(1, width - starts + 1)
            rows.append(
                Items(rank, np.full_like(rank, most), weight * repeat, np.full(len(rank), inner))
            )
        return rows


def fold_period(first: int, number: int, period: int) -> tuple[Whole, Whole]:
    """Fold the ranks first, …, first + number - 1 if ranks that are `period` apart are alike."""
    place = np.arange(min(number, period), dtype=np.int64)
    return first + place, number // period + (place < number % period)
