"""Theory of the samplers that treat all starts of a grid alike.

Legend: n starts at stride S in all segments, G_i of them in segment i; windows of T inputs; K
draws. A window counts here as w items in a row: its targets (w = T), or those with enough context,
or the pairs that it holds. The **row** of a segment has the M_i + w - 1 items that its windows can
show. Item p = 0, 1, … is shown by c_p neighbouring starts, and is missed with probability q(c_p).
"""

import math
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from gptcore.sampling.base import Sampler
from gptcore.theory.avoidance import Floats, Law

Whole = npt.NDArray[np.int64]


class Missed(NamedTuple):
    """Expected number of missed items."""

    edge: float
    interior: float


class Visits(NamedTuple):
    """The other expectations of a sampler; None where no exact value is known.

    Attributes:
        sd_missed: standard deviation of the missed targets.
        distinct: expected number of distinct starts.
        gaps: expected number of gaps.
        variance: expected population variance, over targets, of the visits in one run.
    """

    sd_missed: float | None
    distinct: float
    gaps: float | None
    variance: float | None


class Cells(NamedTuple):
    """A row in cells of neighbouring items that the same starts show.

    Attributes:
        first: number of the first start that shows the items of each cell.
        last: number of the last one.
        length: items in each cell.
        interior: whether the items are at least T from both ends of the segment.
    """

    first: Whole
    last: Whole
    length: Whole
    interior: npt.NDArray[np.bool_]

    @property
    def counts(self) -> Whole:
        """c, the number of starts that show the items of each cell."""
        return np.asarray(np.maximum(0, self.last - self.first + 1))


class LatticeTheory:
    """Expectations for a sampler whose draws follow a law of `avoidance`.

    Args:
        sampler: where the windows come from.
        law: function of n and K that returns the law.
    """

    def __init__(self, sampler: Sampler, law: Callable[[int, int], Law]) -> None:
        self.block_size = sampler.block_size
        self.stride = sampler.lattice.stride
        self.n = sampler.lattice.total
        self.law = law
        self.n_targets = sampler.n_tokens - len(sampler.segments)
        rows = (
            (starts, len(part) - self.block_size - 1 - (starts - 1) * self.stride)
            for part, starts in zip(sampler.segments, sampler.lattice.counts, strict=True)
        )
        # (starts, items after the last window) → number of segments that have these two.
        self.rows = Counter(rows)
        self._counted: dict[int, Floats] = {}

    def missed(self, draws: int, width: int) -> Missed:
        """Return how many items of all rows are expected to be missed by windows of `width`."""
        counts = self._counts(width)
        edge, interior = counts @ np.exp(self.law(self.n, draws).logs(counts.shape[1] - 1))
        return Missed(float(edge), float(interior))

    def never(self, width: int) -> int:
        """Return how many items of all rows no start shows."""
        return int(self._counts(width)[:, 0].sum())

    def visits(self, draws: int) -> Visits:
        """Return the other expectations."""
        law = self.law(self.n, draws)
        return Visits(
            sd_missed=self._sd_missed(law),
            distinct=-self.n * math.expm1(float(law.logs(1)[1])),
            gaps=self._gaps(law),
            variance=self._visits_variance(law),
        )

    def _counts(self, width: int) -> Floats:
        """Return the number of edge and of interior items by c, the starts that show them.

        The shape is (2, most + 1) for c = 0, …, most.
        """
        if width not in self._counted:
            most = min(-(-width // self.stride), max(starts for starts, _ in self.rows))
            total = np.zeros((2, most + 1))
            for (starts, tail), number in self.rows.items():
                count = partial(self._count, tail=tail, width=width, most=most)
                total += number * self._extend(starts, width, count)
            self._counted[width] = total
        return self._counted[width]

    def _count(self, starts: int, *, tail: int, width: int, most: int) -> Floats:
        cells = self._cells(starts, tail, width)
        return np.stack(
            [
                np.bincount(cells.counts, cells.length * kind, minlength=most + 1)
                for kind in (~cells.interior, cells.interior)
            ]
        )

    def _extend(self, starts: int, width: int, count: Callable[[int], Floats]) -> Floats:
        """Return count(starts), which is linear once the ends of a row do not influence each other.

        So a long row costs no more than two short ones.
        """
        enough = 2 * (-(-max(width, self.block_size) // self.stride) + 1)
        if starts <= enough + 1:
            return count(starts)
        short = count(enough)
        return short + (starts - enough) * (count(enough + 1) - short)

    def _cells(self, starts: int, tail: int, width: int) -> Cells:
        """Return a row cut where a window or the interior begins or ends."""
        stride = self.stride
        begins = stride * np.arange(starts, dtype=np.int64)
        n_starts = (starts - 1) * stride + 1 + tail
        end = n_starts + width - 1
        inner = min(self.block_size - 1, end), n_starts  # interior items: at least T from the ends
        cuts = np.unique(np.concatenate([begins, begins + width, inner, [end]]))
        left = cuts[:-1]
        first = np.maximum(0, -((width - 1 - left) // stride))
        last = np.minimum(left // stride, starts - 1)
        interior = (left >= self.block_size - 1) & (left < n_starts)
        return Cells(first, last, np.diff(cuts), interior)

    def _sd_missed(self, law: Law) -> float | None:
        """Return the standard deviation of the missed targets.

        The variance is Σ_u pairs[u]·q(u) - (Σ_j q(c_j))², where pairs[u] is the number of ordered
        pairs of targets that u starts show together. For long texts both sums are near (N·Q)² with
        Q = q(most), so their difference would lose all digits. Q² is therefore subtracted from
        each term: what remains of two targets that are far apart is their tiny covariance.
        """
        if law.draws == 1 or (law.certain and self.stride >= self.block_size):
            return 0.0
        if not law.any_set:
            return None
        counts = self._counts(self.block_size).sum(axis=0)
        most = len(counts) - 1
        log = law.logs(2 * most)
        if log[1] == -math.inf:
            return 0.0
        # Pairs without common starts are shown by c_i + c_j starts; then correct the near pairs.
        pairs = np.convolve(counts, counts)
        for (starts, tail), number in self.rows.items():
            if self.stride > 1 or starts < 2 * self.block_size:
                near = partial(self._near, tail=tail, most=most)
                pairs += number * self._extend(starts, self.block_size, near)
            else:
                pairs += number * _near_long(self.block_size, starts - self.block_size + 1)
        # Where Q = 0, the two sums can be subtracted as they are.
        if log[most] == -math.inf:
            chance = np.exp(log)
            variance = float(pairs @ chance - (counts @ chance[: most + 1]) ** 2)
            return math.sqrt(max(0.0, variance))
        # excess[u] = q(u) - Q², from log q(u) - 2·log Q without loss of digits.
        apart = law.log_apart(most)
        ratio = apart + (log - log[-1]) if apart > -math.inf else log - 2 * log[most]
        excess = np.sign(ratio) * -np.expm1(-np.abs(ratio)) * np.exp(np.maximum(log, 2 * log[most]))
        # outer = (Σ_j q(c_j))² - (Σ_j Q)², from Σ_j (q(c_j) - Q).
        common = math.exp(log[most])
        shift = float(counts[:-1] @ (-np.exp(log[:most]) * np.expm1(log[most] - log[:most])))
        outer = shift * (shift + 2 * float(counts.sum()) * common)
        return math.sqrt(max(0.0, float(pairs @ excess) - outer))

    def _near(self, starts: int, *, tail: int, most: int) -> Floats:
        """Return by u how the pairs change in number because some targets have common starts.

        A pair is shown by u starts in all: fewer than the sum of its two counts if it shares some.
        """
        cells = self._cells(starts, tail, self.block_size)
        shown = cells.counts > 0
        first, last, length = (part[shown] for part in cells[:3])
        counts = cells.counts[shown]
        near = np.zeros(2 * most + 1)
        for i in range(len(first)):
            # Cells i, …, stop - 1 share starts with cell i; each pair counts in both orders.
            stop = int(np.searchsorted(first, last[i], side="right"))
            weight = length[i] * length[i:stop] * 2.0
            weight[0] /= 2
            near += np.bincount(last[i:stop] - first[i] + 1, weight, minlength=len(near))
            near -= np.bincount(counts[i] + counts[i:stop], weight, minlength=len(near))
        return near

    def _gaps(self, law: Law) -> float:
        """Return the expected gaps: the islands of shown targets, minus one for each row with any.

        Start s ends an island if it is drawn and the next w = min(⌊T/S⌋, G - 1 - s) starts are not,
        with probability q(w) - q(w + 1) (Lander and Waterman 1988, here with the ends of the text).
        The terms of the last starts of a row telescope. A row without a draw has no island.
        """
        reach = self.block_size // self.stride
        log = law.logs(reach + 1)
        if log[reach] == -math.inf:
            return 0.0
        free, drawn = math.exp(log[reach]), -math.expm1(log[reach + 1] - log[reach])
        gaps = sum(
            number * (free * ((starts - reach) * drawn - 1) + law.at(starts))
            for (starts, _), number in self.rows.items()
            if starts > reach
        )
        return max(0.0, gaps)  # one draw leaves no gap, and rounding may give less than 0

    def _visits_variance(self, law: Law) -> float | None:
        """Return the mean over targets of E[visits²], minus the squared mean of all visits."""
        if law.spread is None:
            return None
        counts = self._counts(self.block_size).sum(axis=0)
        share = np.arange(len(counts)) / self.n
        within = law.spread * share * (1 - share)
        between = (law.draws * (share - self.block_size / self.n_targets)) ** 2
        return float(counts @ (within + between)) / self.n_targets


def _near_long(width: int, interior: int) -> Floats:
    """Return what `_near` returns at stride 1 and M >= 2T, in closed form.

    Pairs are counted by where their targets lie: at an end of the row, where c = 1, …, T - 1 starts
    show a target, or in the interior, where T do.
    """
    near = np.zeros(2 * width + 1)
    edge = np.arange(1, width)
    # Both targets at the same end: the larger c of the two instead of their sum.
    near[1:width] += 2 * (2 * edge - 1)
    near[2 : 2 * width - 1] -= 2 * (width - 1 - np.abs(np.arange(2, 2 * width - 1) - width))
    # An interior target with itself, and with an end target all of whose starts show it too.
    near[width] += interior + 4 * (width - 1)
    # An end target with an interior target that shares some of its starts.
    near[width + edge] += 4 * (width - 1 - 2 * edge)
    # Two interior targets that are close to each other.
    near[width + edge] += 2 * (interior - edge)
    near[2 * width] -= (2 * width - 1) * interior - width * (width - 1)
    return near
