"""What a series of draws showed the model: which targets, how often, and from which starts.

Legend: N tokens, windows of T inputs, M = N - T starts, K draws. All counts are over the targets
j = 1, …, N - 1. Edge targets are closer than T to an end of the text, min(j, N - j) < T, as in
`gptcore.theory`. With several segments this holds in each, and the targets of all segments are
numbered in one **row**.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Unpack

import numpy as np
import numpy.typing as npt

from gptcore.checks import check_whole
from gptcore.sampling.windows import StartGrid, Starts, WindowOptions, as_starts, check_segments

Counts = npt.NDArray[np.int64]

PENDING_DRAWS = 2**20
"""`VisitCounter` merges new draws when there are more than this, and more than distinct starts."""


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
        epochs: epoch-equivalents, λ = K·w / (number of targets), where a window has w targets.
        missed_targets: targets in no window.
        missed_edge: missed edge targets.
        missed_interior: missed interior targets.
        missed_inputs: tokens that are an input of no window; the last token of each segment does
            not count.
        repeated_windows: draws minus distinct starts.
        visits_mean: windows per target.
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
        """The visits of each target, int64 of shape (N - number of segments,); made when read."""
        return np.repeat(self.runs.visits, self.runs.length)

    def as_dict(self) -> dict[str, int | float]:
        """Return the numbers by name, without `runs`."""
        return {name: value for name, value in vars(self).items() if name != "runs"}


class VisitCounter:
    """Counts draws that come in pieces, and keeps the distinct starts but no array of N values.

    Memory is O(distinct starts): 1e7 draws from 1e9 tokens take about 1 GB.
    """

    def __init__(
        self, *, targets_per_window: int | None = None, **windows: Unpack[WindowOptions]
    ) -> None:
        self.segments = check_segments(**windows)
        self.block_size = int(windows["block_size"])
        width = self.block_size if targets_per_window is None else targets_per_window
        self.targets_per_window = check_whole("targets_per_window", width, at_most=self.block_size)
        self.lattice = StartGrid(self.segments, self.block_size)
        self.draws = 0
        self._ranks = np.empty(0, dtype=np.int64)
        self._times = np.empty(0, dtype=np.int64)
        self._pending: list[Starts] = []

    def add(self, starts: Starts | Sequence[int]) -> None:
        """Count these draws.

        Raises:
            ValueError: the starts are not flat, empty, or not integers, or no window begins there.
        """
        ranks = self.lattice.rank(as_starts(starts))
        self._pending.append(ranks)
        self.draws += len(ranks)
        if sum(map(len, self._pending)) > max(PENDING_DRAWS, len(self._ranks)):
            self._merge()

    def result(self) -> Coverage:
        """Return the coverage by all draws so far.

        Raises:
            ValueError: no draw was counted.
        """
        if not self.draws:
            raise ValueError("no draw was counted: add starts first")
        self._merge()
        size, width = self.block_size, self.targets_per_window
        runs = self._runs(width)
        n_tokens = sum(map(len, self.segments))
        targets = n_tokens - len(self.segments)
        free = runs.visits == 0
        missed = int(runs.length[free].sum())
        interior = self._count_interior(runs.begin[free], runs.length[free])
        # An input is missed if the target after it is, unless windows have fewer targets than T.
        unused = missed
        if width < size:
            inputs = self._runs(size)
            unused = int(inputs.length[inputs.visits == 0].sum())
        mean = self.draws * width / targets
        variance = float(runs.length @ (runs.visits - mean) ** 2) / targets
        gaps, longest = self._measure_gaps(runs)
        return Coverage(
            n_tokens=n_tokens,
            block_size=size,
            draws=self.draws,
            epochs=mean,
            missed_targets=missed,
            missed_edge=missed - interior,
            missed_interior=interior,
            missed_inputs=unused,
            repeated_windows=self.draws - len(self._ranks),
            visits_mean=mean,
            visits_sd=float(np.sqrt(variance)),
            visits_dispersion=variance / mean,
            visits_min=int(runs.visits.min()),
            visits_max=int(runs.visits.max()),
            visits_gini=_gini(runs),
            gaps=gaps,
            longest_gap=longest,
            alignment_coverage=len(self._ranks) / self.lattice.total,
            runs=runs,
        )

    def _merge(self) -> None:
        """Add the pending draws to the distinct starts: sorted ranks, and how often each came."""
        if not self._pending:
            return
        ranks, times = np.unique(np.concatenate(self._pending), return_counts=True)
        self._pending.clear()
        if len(self._ranks):
            both = np.concatenate([self._ranks, ranks])
            order = np.argsort(both, kind="stable")  # merges two sorted arrays in linear time
            both, times = both[order], np.concatenate([self._times, times])[order]
            new = np.flatnonzero(np.diff(both, prepend=-1))
            ranks, times = both[new], np.add.reduceat(times, new)
        self._ranks, self._times = ranks, times

    def _row_begins(self) -> Counts:
        """Return where the targets of each segment begin in the row, and then where it ends."""
        return np.cumsum([0, *(len(part) - 1 for part in self.segments)], dtype=np.int64)

    def _runs(self, width: int) -> Runs:
        """Return the visits by windows of `width` targets, as the running sum of their changes."""
        # The place of each window's first target in the row.
        begins = self._row_begins()
        part = np.searchsorted(np.cumsum(self.lattice.counts), self._ranks, side="right")
        first = self._ranks + part * (self.block_size - 1)
        # Visits go up at the first target of a window and down behind its last one. A run also
        # ends where a segment ends, where nothing changes.
        where = np.concatenate([begins, first, first + width])
        change = np.concatenate([np.zeros_like(begins), self._times, -self._times])
        order = np.argsort(where, kind="stable")
        where, visits = where[order], np.cumsum(change[order])
        length = np.diff(where)
        kept = length > 0
        return Runs(visits[:-1][kept], length[kept], where[:-1][kept])

    def _count_interior(self, begin: Counts, length: Counts) -> int:
        """Return how many targets of these runs are at least T from the ends of their segment."""
        begins = self._row_begins()
        part = np.searchsorted(begins, begin, side="right") - 1
        low = begins[part] + self.block_size - 1
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
    starts: Starts | Sequence[int] | Iterator[Starts],
    *,
    targets_per_window: int | None = None,
    **windows: Unpack[WindowOptions],
) -> Coverage:
    """Return the coverage of windows with the given starts.

    Args:
        starts: integers of shape (K,), each the start of a window; or an iterator of such arrays.
        targets_per_window: how many of the targets s + 1, … count; T unless given, and T - 1 where
            labels are shifted inside the block. A sampler has it as `targets_per_window`.
        **windows: `block_size`, and `n_tokens` or `segments`, as in `WindowOptions`.

    Raises:
        ValueError: an argument is out of range, or `starts` are empty, not flat or not integers.
    """
    counter = VisitCounter(targets_per_window=targets_per_window, **windows)
    for piece in starts if isinstance(starts, Iterator) else [starts]:
        counter.add(piece)
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
