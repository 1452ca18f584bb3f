"""What a series of draws showed the model: which targets, how often, and from which starts.

Legend: N tokens, windows of T inputs, M = N - T starts, K draws. All counts are over the targets
j = 1, …, N - 1. Edge targets are closer than T to an end of the text, min(j, N - j) < T, as in
`gptcore.theory`. With several segments this holds in each, and the targets of all segments are
numbered in one **row**.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Unpack

import numpy as np

from gptcore.checks import check_whole
from gptcore.coverage.tally import Counts, Tally
from gptcore.sampling.base import Sampler
from gptcore.sampling.windows import (
    Pieces,
    StartGrid,
    Starts,
    WindowOptions,
    as_starts,
    check_segments,
    whole_windows,
)

DRAWS_AT_ONCE = 2**20
"""Draws that `measure_draws` makes at once, so that memory stays bounded."""


class Runs(NamedTuple):
    """The row of targets as runs of equal visits. A run ends where a segment ends.

    Attributes:
        visits: visits of each target in the run.
        length: targets in the run.
        begin: place of its first target in the row.
    """

    visits: Counts
    length: Counts
    begin: Counts


@dataclass(frozen=True)
class Coverage:
    """What a series of draws showed.

    Attributes:
        n_tokens: N.
        block_size: T.
        draws: K.
        epochs: epoch-equivalents, λ: windows per target.
        missed_targets: targets in no window.
        missed_edge: missed edge targets.
        missed_interior: missed interior targets.
        missed_inputs: tokens that are an input of no window; the last token of each segment counts
            only where windows join segments.
        repeated_windows: draws minus distinct starts.
        visits_mean: windows per target, the mean over all targets.
        visits_sd: population standard deviation of the visits over targets.
        visits_dispersion: variance / mean of the visits.
        visits_min: fewest visits of a target.
        visits_max: most visits of a target.
        visits_gini: Gini coefficient of the visits; 0 where all targets have equally many.
        gaps: missed targets in a row, with shown targets of the same segment on both sides.
        longest_gap: most missed targets in a row, also at the ends of a segment.
        alignment_coverage: start coverage, distinct starts / M.
        runs: the visits themselves.
    """

    n_tokens: int
    block_size: int
    draws: int
    epochs: float
    missed_targets: int
    missed_edge: int
    missed_interior: int
    missed_inputs: int
    repeated_windows: int
    visits_mean: float
    visits_sd: float
    visits_dispersion: float
    visits_min: int
    visits_max: int
    visits_gini: float
    gaps: int
    longest_gap: int
    alignment_coverage: float
    runs: Runs = field(repr=False, compare=False)

    @property
    def visits(self) -> Counts:
        """The visits of each target, int64 of shape (targets,); made when read.

        The targets of all segments stand in a row, without the first token of each segment; with it
        where windows join segments.
        """
        return np.repeat(self.runs.visits, self.runs.length)

    def as_dict(self) -> dict[str, int | float]:
        """Return the numbers by name, without `runs`."""
        return {name: value for name, value in vars(self).items() if name != "runs"}


class VisitCounter:
    """Counts draws that come in pieces, and keeps the distinct starts but no array of N values.

    Memory is O(distinct starts): 1e7 draws from 1e9 tokens take about 1 GB.

    Args:
        targets_per_window: T unless given, or T - 1 where labels are shifted inside the block.
        joins: whether a window may join several segments, as `Sampler.joins` says.
        **windows: as in `WindowOptions`.
    """

    def __init__(
        self,
        *,
        targets_per_window: int | None = None,
        joins: bool = False,
        **windows: Unpack[WindowOptions],
    ) -> None:
        self.segments = check_segments(**windows, joins=joins)
        self.block_size = int(windows["block_size"])
        width = self.block_size if targets_per_window is None else targets_per_window
        self.targets_per_window = check_whole("targets_per_window", width, at_most=self.block_size)
        self.joins = joins
        self.lattice = StartGrid(self.segments, 0 if joins else self.block_size)
        self.draws = 0
        self._starts, self._pieces = Tally(), Tally()

    @classmethod
    def of(cls, sampler: Sampler) -> "VisitCounter":
        """Return a counter for the draws of a sampler."""
        return cls(
            segments=sampler.segments,
            block_size=sampler.block_size,
            targets_per_window=sampler.targets_per_window,
            joins=sampler.joins,
        )

    def add(self, draws: Pieces | Starts | Sequence[int]) -> None:
        """Count these draws: what `Sampler.pieces` returns, or the starts of whole windows.

        Raises:
            ValueError: the starts are not flat, empty, or not integers, or no window begins there.
        """
        if not isinstance(draws, Pieces):
            draws = whole_windows(as_starts(draws), self.block_size)
        ranks = self.lattice.rank(draws.start)
        if self.joins:
            first = draws.first
            last = np.append(first[1:], True)
            self._pieces.add(
                ((ranks * (self.block_size + 2) + draws.length) * 2 + first) * 2 + last
            )
            ranks = ranks[first]
        self._starts.add(ranks)
        self.draws += len(ranks)

    def result(self) -> Coverage:
        """Return the coverage by all draws so far.

        Raises:
            ValueError: no draw was counted.
        """
        if not self.draws:
            raise ValueError("no draw was counted: add starts first")
        size, width = self.block_size, self.targets_per_window
        runs = self._runs(width)
        targets = int(self._row_begins()[-1])
        free = runs.visits == 0
        missed = int(runs.length[free].sum())
        interior = self._count_interior(runs.begin[free], runs.length[free])
        # Where a window is one piece of T inputs and T targets, the target after an input is in the
        # same windows as the input, so as many inputs are missed as targets.
        unused = missed
        if width < size or self.joins:
            inputs = self._runs(size, inputs=True)
            unused = int(inputs.length[inputs.visits == 0].sum())
        mean = int(runs.length @ runs.visits) / targets
        variance = float(runs.length @ (runs.visits - mean) ** 2) / targets
        gaps, longest = self._measure_gaps(runs)
        distinct = len(self._starts.counted()[0])
        return Coverage(
            n_tokens=sum(map(len, self.segments)),
            block_size=size,
            draws=self.draws,
            epochs=mean,
            missed_targets=missed,
            missed_edge=missed - interior,
            missed_interior=interior,
            missed_inputs=unused,
            repeated_windows=self.draws - distinct,
            visits_mean=mean,
            visits_sd=float(np.sqrt(variance)),
            visits_dispersion=variance / mean,
            visits_min=int(runs.visits.min()),
            visits_max=int(runs.visits.max()),
            visits_gini=_gini(runs),
            gaps=gaps,
            longest_gap=longest,
            alignment_coverage=distinct / self.lattice.total,
            runs=runs,
        )

    def _row_begins(self) -> Counts:
        """Return where the targets of each segment begin in the row, and then where it ends."""
        sizes = (len(part) - (not self.joins) for part in self.segments)
        return np.cumsum([0, *sizes], dtype=np.int64)

    def _runs(self, width: int, *, inputs: bool = False) -> Runs:
        """Return the visits by windows of `width` targets, as the running sum of their changes."""
        first, last, times = self._joined(inputs) if self.joins else self._whole(width)
        # Visits go up at the first target of a window and down behind its last one. A run also
        # ends where a segment ends, where nothing changes.
        begins = self._row_begins()
        where = np.concatenate([begins, first, last])
        change = np.concatenate([np.zeros_like(begins), times, -times])
        order = np.argsort(where, kind="stable")
        where, visits = where[order], np.cumsum(change[order])
        length = np.diff(where)
        kept = length > 0
        return Runs(visits[:-1][kept], length[kept], where[:-1][kept])

    def _whole(self, width: int) -> tuple[Counts, Counts, Counts]:
        """Return where the targets of windows begin and end in the row, and how often each came."""
        ranks, times = self._starts.counted()
        part = np.searchsorted(np.cumsum(self.lattice.counts), ranks, side="right")
        first = ranks + part * (self.block_size - 1)
        return first, first + width, times

    def _joined(self, inputs: bool) -> tuple[Counts, Counts, Counts]:
        """Return the same for pieces: all tokens are targets but the first of a draw.

        All are inputs but the last one of a draw.
        """
        keys, times = self._pieces.counted()
        rank, length = np.divmod(keys // 4, self.block_size + 2)
        first, last = keys // 2 % 2, keys % 2
        if inputs:
            return rank, rank + length - last, times
        return rank + first, rank + length, times

    def _count_interior(self, begin: Counts, length: Counts) -> int:
        """Return how many targets of these runs are at least T from the ends of their segment."""
        begins = self._row_begins()
        part = np.searchsorted(begins, begin, side="right") - 1
        low = begins[part] + self.block_size - (not self.joins)
        high = begins[part + 1] - self.block_size + 1
        inner = np.minimum(begin + length, high) - np.maximum(begin, low)
        return int(np.maximum(0, inner).sum())

    def _measure_gaps(self, runs: Runs) -> tuple[int, int]:
        """Return the number of gaps, and the most missed targets in a row anywhere."""
        free = runs.visits == 0
        begins = self._row_begins()
        begin, end = runs.begin[free], (runs.begin + runs.length)[free]
        inside = ~np.isin(begin, begins) & ~np.isin(end, begins)
        return int(np.count_nonzero(inside)), int(runs.length[free].max(initial=0))


def measure_coverage(
    starts: Pieces | Starts | Sequence[int] | Iterator[Pieces | Starts],
    *,
    targets_per_window: int | None = None,
    joins: bool = False,
    **windows: Unpack[WindowOptions],
) -> Coverage:
    """Return the coverage of windows with the given starts.

    Args:
        starts: integers of shape (K,), each the start of a window, or pieces as a sampler returns
            them; or an iterator of these.
        targets_per_window: how many of the targets s + 1, … count; T unless given, and T - 1 where
            labels are shifted inside the block. A sampler has it as `targets_per_window`.
        joins: whether a window may join several segments; a sampler has it as `joins`.
        **windows: `block_size`, and `n_tokens` or `segments`, as in `WindowOptions`.

    Raises:
        ValueError: an argument is out of range, or `starts` are empty, not flat or not integers.
    """
    counter = VisitCounter(targets_per_window=targets_per_window, joins=joins, **windows)
    for piece in starts if isinstance(starts, Iterator) else [starts]:
        counter.add(piece)
    return counter.result()


def measure_draws(
    sampler: Sampler, draws: int, progress: Callable[[int, int], None] | None = None
) -> Coverage:
    """Return the coverage by the first K draws of a sampler.

    Args:
        sampler: where the windows come from.
        draws: K.
        progress: is told the draws done and K, now and then.
    """
    counter = VisitCounter.of(sampler)
    for first in range(0, check_whole("draws", draws), DRAWS_AT_ONCE):
        count = min(DRAWS_AT_ONCE, draws - first)
        counter.add(sampler.pieces(first, count))
        if progress is not None:
            progress(first + count, draws)
    return counter.result()


def histogram(runs: Runs) -> tuple[Counts, Counts]:
    """Return the visits that occur, in increasing order, and how many targets have each."""
    # Counting each value is much faster than sorting the values, but takes memory for the largest.
    if runs.visits.max() < 2**24:
        targets = np.bincount(runs.visits, runs.length).astype(np.int64)  # exact below 2^53
        visits = np.flatnonzero(targets)
        return visits, targets[visits]
    visits, place = np.unique(runs.visits, return_inverse=True)
    return visits, np.bincount(place, runs.length).astype(np.int64)


def _gini(runs: Runs) -> float:
    """Return Σ_i (2i - n - 1)·x_i / (n·Σ x) over the sorted visits x_1, …, x_n of all targets.

    Equal visits are summed together, so that the cost does not grow with n.
    """
    visits, targets = histogram(runs)
    above = np.cumsum(targets)
    weights = targets.astype(np.float64) * visits
    n = int(above[-1])
    return float(weights @ (2 * above - targets - n).astype(np.float64) / (n * weights.sum()))
