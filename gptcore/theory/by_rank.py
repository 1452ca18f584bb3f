"""Theory of the samplers whose starts are not alike: a grid shifted by a phase, or strata.

What shows an item depends here on which starts show it, not only on how many. The **rank** of a
start is its number among all starts of all segments, in reading order.
Legend as in `lattice`: N tokens, windows of T inputs, M = N - T starts, K draws, rows of items.
"""

from abc import ABC, abstractmethod
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from gptcore.sampling.base import Sampler
from gptcore.sampling.low_discrepancy import Stratified
from gptcore.sampling.samplers import RandomPhaseBlocks
from gptcore.theory.avoidance import Floats
from gptcore.theory.lattice import Missed, Visits, Whole


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


class PhaseTheory(RankTheory):
    """Theory of `RandomPhaseBlocks`: each epoch shows every T-th rank, from a random phase on.

    So an epoch shows an item at most once. Long epochs have a phase below b = M mod T and one block
    more. If l of the c ranks that show an item have such a phase, a long epoch shows it with
    probability l/b, times the share of the blocks of the epoch that are drawn. Epochs are
    independent. All values are averaged over the offset of the sampler, which decides which epochs
    are long.
    """

    def __init__(self, sampler: RandomPhaseBlocks) -> None:
        super().__init__(sampler)
        self.phases = sampler
        self.a, self.b = sampler.short_blocks, sampler.long_phases
        batch = sampler.batch_size if sampler.drop_last else 1
        self.short, self.long = self.a - self.a % batch, self.a + 1 - (self.a + 1) % batch

    def fold(self, first: int, number: int, count: int) -> list[tuple[Whole, Whole]]:
        """Fold by the phase of the first rank; a run of T ranks has all phases in any case."""
        return [fold_period(first, number, 1 if count == self.block_size else self.block_size)]

    def unseen(self, items: Items, draws: int) -> Floats:
        """Return the probability that no draw shows an item, for each kind."""
        total = np.zeros(len(items.rank))
        for chance, long_epochs, short_epochs, last in self._chances(items, draws):
            # x long epochs, y short ones and the last one all miss it.
            (p, x), (r, y) = long_epochs, short_epochs
            total += chance * (1 - p) ** x * (1 - r) ** y * (1 - last)
        return total

    def visits(self, draws: int) -> Visits:
        """Return the other expectations."""
        items = self._items(self.block_size)
        overall = draws * self.block_size / self.n_targets
        variance = 0.0
        for chance, (p, x), (r, y), last in self._chances(items, draws):
            # An epoch visits an item once or not at all, so its visits are a sum of coin flips.
            mean = x * p + y * r + last
            within = x * p * (1 - p) + y * r * (1 - r) + last * (1 - last)
            variance += chance * float(items.weight @ (within + (mean - overall) ** 2))
        # Two kinds of starts, each as an item that one rank shows: with phase below b, and others.
        kinds = Items(
            np.array([0, self.b]),
            np.ones(2, dtype=np.int64),
            np.array([self.b * (self.a + 1), (self.block_size - self.b) * self.a]),
            np.zeros(2, dtype=np.bool_),
        )
        unseen = float(kinds.weight @ self.unseen(kinds, draws))
        once = draws == 1
        return Visits(
            sd_missed=0.0 if once else None,
            distinct=self.phases.n_starts - unseen,
            gaps=0.0 if once else None,
            variance=variance / self.n_targets,
        )

    def _chances(
        self, items: Items, draws: int
    ) -> list[tuple[float, tuple[Floats, int], tuple[Floats, int], Floats]]:
        """Return the ways in which K draws may divide into epochs, one tuple for each.

        Returns:
            The probability of this way; the probability that a complete long epoch shows each item,
            with the number of such epochs; the same for short epochs; the probability that the
            last epoch, which is incomplete, shows each item.
        """
        size, b = self.block_size, self.b

        def below(rank: Whole) -> Whole:
            """Return how many of the ranks 0, …, rank - 1 have a phase below b."""
            return np.asarray(rank // size * b + np.minimum(rank % size, b))

        # The probability that one draw of a long or of a short epoch shows an item.
        in_long = below(items.rank + items.shown_by) - below(items.rank)
        by_long = in_long / max(1, b) / (self.a + 1)
        by_short = (items.shown_by - in_long) / (size - b) / max(1, self.a)
        # For each offset: complete epochs, long ones among them, whether the next is long, and the
        # draws in it. This is the arithmetic of RandomPhaseBlocks, for all offsets at once.
        offset = np.arange(size, dtype=np.int64)
        unit, total = self.phases.epoch_unit, self.phases.draws_in_t_epochs
        epochs = ((draws // unit + 1) * size - offset - 1) // total
        long_epochs = (epochs * b + offset) // size
        next_long = ((epochs + 1) * b + offset) // size - long_epochs
        rest = draws - unit * ((epochs * total + offset) // size)
        # Offsets that agree in all four are one way.
        ways, number = np.unique(
            np.stack([epochs, long_epochs, next_long, rest]), axis=1, return_counts=True
        )
        return [
            (
                times / size,
                (by_long * self.long, x),
                (by_short * self.short, e - x),
                (by_long if kind else by_short) * r,
            )
            for (e, x, kind, r), times in zip(ways.T.tolist(), number.tolist(), strict=True)
        ]


class StratifiedTheory(RankTheory):
    """Theory of `Stratified`: each epoch draws one start from every stratum, in random order.

    An item is missed if each stratum with ranks that show it is not drawn, or drawn at another
    rank. There are at most three such strata; let p₁, p₂, p₃ be the shares of their ranks that show
    the item. If k of the n strata are drawn, it is missed with probability
    1 - h₁e₁ + h₂e₂ - h₃e₃. Here e_i is the i-th elementary symmetric polynomial of p₁, p₂, p₃, and
    h_i = C(n-i, k-i) / C(n, k) is the probability that i given strata are all drawn. Epochs are
    independent.
    """

    def __init__(self, sampler: Stratified) -> None:
        super().__init__(sampler)
        self.n = sampler.n_strata
        self.epoch = sampler.draws_per_epoch or self.n
        self.size, self.longer = divmod(sampler.n_starts, self.n)
        self.border = self.longer * (self.size + 1)  # the rank at which the shorter strata begin

    def fold(self, first: int, number: int, count: int) -> list[tuple[Whole, Whole]]:
        """Fold by the place of the first rank in its stratum, where all strata are equally long."""
        # Runs that end before the border, runs that touch it, and runs that begin behind it.
        early = min(max(0, self.border - count + 1 - first), number)
        late = min(max(0, first + number - self.border), number - early)
        among = number - early - late
        return [
            fold_period(first, early, self.size + 1),
            fold_period(first + early, among, max(1, among)),
            fold_period(first + early + among, late, self.size),
        ]

    def unseen(self, items: Items, draws: int) -> Floats:
        """Return the probability that no draw shows an item, for each kind."""
        polynomials = self._polynomials(items)
        epochs, rest = divmod(draws, self.epoch)
        once = self._unseen(polynomials, rest)
        return once * self._unseen(polynomials, self.epoch) ** epochs if epochs else once

    def visits(self, draws: int) -> Visits:
        """Return the other expectations."""
        items = self._items(self.block_size)
        e1, e2, _ = self._polynomials(items)
        epochs, rest = divmod(draws, self.epoch)
        # Mean and variance of the visits of each item, summed over the epochs.
        mean, variance = np.zeros(len(e1)), np.zeros(len(e1))
        for times, drawn in (epochs, self.epoch), (1, rest):
            h1, h2, _ = self._chances(drawn)
            mean += times * h1 * e1
            variance += times * (h1 * e1 + 2 * h2 * e2 - (h1 * e1) ** 2)
        overall = draws * self.block_size / self.n_targets
        # Two kinds of starts, each as an item that one rank shows: in a longer stratum, and others.
        kinds = Items(
            np.array([0, self.border % self.sampler.n_starts]),
            np.ones(2, dtype=np.int64),
            np.array([self.border, self.sampler.n_starts - self.border]),
            np.zeros(2, dtype=np.bool_),
        )
        once = draws == 1
        return Visits(
            sd_missed=0.0 if once else None,
            distinct=self.sampler.n_starts - float(kinds.weight @ self.unseen(kinds, draws)),
            gaps=0.0 if once else None,
            variance=float(items.weight @ (variance + (mean - overall) ** 2)) / self.n_targets,
        )

    def _chances(self, drawn: int) -> tuple[float, float, float]:
        """Return h₁, h₂, h₃: the probabilities that 1, 2 and 3 given strata are all drawn."""
        n = self.n
        one = drawn / n
        two = one * (drawn - 1) / max(1, n - 1)
        return one, two, two * (drawn - 2) / max(1, n - 2)

    def _unseen(self, polynomials: tuple[Floats, Floats, Floats], drawn: int) -> Floats:
        """Return the probability that one epoch of `drawn` draws misses each item."""
        (e1, e2, e3), (h1, h2, h3) = polynomials, self._chances(drawn)
        return np.maximum(0, 1 - h1 * e1 + h2 * e2 - h3 * e3)  # less than 0 only by rounding

    def _polynomials(self, items: Items) -> tuple[Floats, Floats, Floats]:
        """Return e₁, e₂, e₃ of each item."""
        # The stratum of the first rank that shows the item.
        end = items.rank + items.shown_by
        stratum = np.where(
            items.rank < self.border,
            items.rank // (self.size + 1),
            self.longer + (items.rank - self.border) // self.size,
        )
        # The share of this stratum, and of the next two, that shows the item.
        shares = []
        for number in (stratum, stratum + 1, stratum + 2):
            begin = number * self.size + np.minimum(number, self.longer)
            size = self.size + (number < self.longer)
            overlap = np.minimum(end, begin + size) - np.maximum(items.rank, begin)
            shares.append(np.maximum(0, overlap) / size)
        p, r, s = shares
        return p + r + s, p * r + p * s + r * s, p * r * s
