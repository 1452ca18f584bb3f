"""Theory of the samplers whose starts are not alike: shifted by epoch, or stratified by draw.

Legend as in `expectations`: N tokens, windows of T inputs, M = N - T starts, K draws.
"""

from abc import ABC, abstractmethod
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from gptcore.sampling.base import Sampler
from gptcore.sampling.low_discrepancy import Stratified
from gptcore.sampling.samplers import RandomPhaseBlocks
from gptcore.theory.avoidance import Floats
from gptcore.theory.lattice import Missed, Visits

Whole = npt.NDArray[np.int64]


class Targets(NamedTuple):
    """Items, `weight` of each kind: those that the `shown_by` ranks from `rank` on show."""

    rank: Whole
    shown_by: Whole
    weight: Whole
    interior: npt.NDArray[np.bool_]


class RankTheory(ABC):
    """What the phase and the strata share: items by the ranks that show them, folded by period."""

    def __init__(self, sampler: Sampler) -> None:
        self.sampler = sampler
        self.block_size = sampler.block_size
        self.n_targets = sampler.n_tokens - len(sampler.segments)
        self._kept: dict[int, Targets] = {}

    def missed(self, draws: int, width: int) -> Missed:
        """Return how many items of all rows are expected to be missed by windows of `width`."""
        items = self._items(width)
        missed = items.weight * self.unseen(items, draws)
        edge, interior = missed[~items.interior].sum(), missed[items.interior].sum()
        return Missed(float(edge), float(interior))

    def never(self, width: int) -> int:  # noqa: ARG002
        """Return 0: every start may be drawn."""
        return 0

    @abstractmethod
    def unseen(self, items: Targets, draws: int) -> Floats:
        """Return the probability that no draw shows an item."""

    @abstractmethod
    def fold(self, first: int, number: int, count: int) -> list[tuple[Whole, Whole]]:
        """Return ranks and weights for the runs of `count` ranks from first, first + 1, …."""

    def _items(self, width: int) -> Targets:
        if width not in self._kept:
            begin, parts = 0, []
            for part in self.sampler.segments:
                starts = len(part) - self.block_size
                parts += self._row(begin, starts, width)
                begin += starts
            self._kept[width] = Targets(*map(np.concatenate, zip(*parts, strict=True)))
        return self._kept[width]

    def _row(self, begin: int, starts: int, width: int) -> list[Targets]:
        """Return the items of one row: fewer ranks show those near its ends."""
        most = min(width, starts)
        ramp = np.arange(1, most, dtype=np.int64)
        ones, no = np.ones_like(ramp), np.zeros(len(ramp), dtype=np.bool_)
        rows = [
            Targets(np.full_like(ramp, begin), ramp, ones, no),
            Targets(begin + starts - ramp, ramp, ones, no),
        ]
        inner = starts >= self.block_size
        for rank, weight in self.fold(begin, starts - most + 1, most):
            repeat = max(1, width - starts + 1)
            rows.append(
                Targets(rank, np.full_like(rank, most), weight * repeat, np.full(len(rank), inner))
            )
        return rows


def fold_period(first: int, number: int, period: int) -> tuple[Whole, Whole]:
    """Return the first `period` of `number` ranks from `first` on, with how many are like each."""
    place = np.arange(min(number, period), dtype=np.int64)
    return first + place, number // period + (place < number % period)


class PhaseTheory(RankTheory):
    """Each epoch shows one rank in T from its phase on, so an item at most once.

    Of the c ranks that show an item, `long` have a phase below b = M mod T. An epoch of that kind
    shows it with chance long/b, times the share of its blocks that are drawn; epochs differ
    independently. Averaged over the offset of `RandomPhaseBlocks`, which sets where epochs end.
    """

    def __init__(self, sampler: RandomPhaseBlocks) -> None:
        super().__init__(sampler)
        self.phases = sampler
        self.a, self.b = sampler.short_blocks, sampler.long_phases
        batch = sampler.batch_size if sampler.drop_last else 1
        self.short, self.long = self.a - self.a % batch, self.a + 1 - (self.a + 1) % batch

    def fold(self, first: int, number: int, count: int) -> list[tuple[Whole, Whole]]:
        """Return one rank for each phase; a run of T ranks has all phases wherever it begins."""
        return [fold_period(first, number, 1 if count == self.block_size else self.block_size)]

    def unseen(self, items: Targets, draws: int) -> Floats:
        """Return the probability that no draw shows an item."""
        total = np.zeros(len(items.rank))
        for chance, long_epochs, short_epochs, last in self._chances(items, draws):
            (p, x), (r, y) = long_epochs, short_epochs
            total += chance * (1 - p) ** x * (1 - r) ** y * (1 - last)
        return total

    def visits(self, draws: int) -> Visits:
        """Return the other expectations; an epoch visits an item at most once."""
        items = self._items(self.block_size)
        overall = draws * self.block_size / self.n_targets
        variance = 0.0
        for chance, (p, x), (r, y), last in self._chances(items, draws):
            mean = x * p + y * r + last
            within = x * p * (1 - p) + y * r * (1 - r) + last * (1 - last)
            variance += chance * float(items.weight @ (within + (mean - overall) ** 2))
        kinds = Targets(
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
        self, items: Targets, draws: int
    ) -> list[tuple[float, tuple[Floats, int], tuple[Floats, int], Floats]]:
        """Return the ways in which K draws may divide into epochs.

        Each has its probability; the chance that a whole long epoch shows each item, and their
        number; the same for short epochs; the chance that the last, begun epoch shows it.
        """
        size, b = self.block_size, self.b

        def below(rank: Whole) -> Whole:
            return np.asarray(rank // size * b + np.minimum(rank % size, b))

        in_long = below(items.rank + items.shown_by) - below(items.rank)
        by_long = in_long / max(1, b) / (self.a + 1)
        by_short = (items.shown_by - in_long) / (size - b) / max(1, self.a)
        offset = np.arange(size, dtype=np.int64)
        unit, total = self.phases.epoch_unit, self.phases.draws_in_t_epochs
        epochs = ((draws // unit + 1) * size - offset - 1) // total
        long_epochs = (epochs * b + offset) // size
        next_long = ((epochs + 1) * b + offset) // size - long_epochs
        rest = draws - unit * ((epochs * total + offset) // size)
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
    """An item is missed if each stratum that shows it is not drawn, or drawn elsewhere.

    The ranks that show it lie in at most three strata, of which they are the shares p. If k of the
    n strata are drawn it is missed with 1 - h₁e₁ + h₂e₂ - h₃e₃, e the elementary symmetric
    polynomials of the p and h_i = C(n-i, k-i) / C(n, k). Epochs are independent.
    """

    def __init__(self, sampler: Stratified) -> None:
        super().__init__(sampler)
        self.n = sampler.n_strata
        self.epoch = sampler.draws_per_epoch or self.n
        self.size, self.longer = divmod(sampler.n_starts, self.n)
        self.border = self.longer * (self.size + 1)  # the rank where shorter strata begin

    def fold(self, first: int, number: int, count: int) -> list[tuple[Whole, Whole]]:
        """Return one run of each kind: a kind is where it begins in its stratum."""
        early = min(max(0, self.border - count + 1 - first), number)
        late = min(max(0, first + number - self.border), number - early)
        among = number - early - late
        return [
            fold_period(first, early, self.size + 1),
            fold_period(first + early, among, max(1, among)),
            fold_period(first + early + among, late, self.size),
        ]

    def unseen(self, items: Targets, draws: int) -> Floats:
        """Return the probability that no draw shows an item."""
        polynomials = self._polynomials(items)
        epochs, rest = divmod(draws, self.epoch)
        once = self._unseen(polynomials, rest)
        return once * self._unseen(polynomials, self.epoch) ** epochs if epochs else once

    def visits(self, draws: int) -> Visits:
        """Return the other expectations."""
        items = self._items(self.block_size)
        e1, e2, _ = self._polynomials(items)
        epochs, rest = divmod(draws, self.epoch)
        mean, variance = np.zeros(len(e1)), np.zeros(len(e1))
        for times, drawn in (epochs, self.epoch), (1, rest):
            h1, h2, _ = self._chances(drawn)
            mean += times * h1 * e1
            variance += times * (h1 * e1 + 2 * h2 * e2 - (h1 * e1) ** 2)
        overall = draws * self.block_size / self.n_targets
        kinds = Targets(
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
        """Return the probability that 1, 2 and 3 given strata are all among those drawn."""
        n = self.n
        one = drawn / n
        two = one * (drawn - 1) / max(1, n - 1)
        return one, two, two * (drawn - 2) / max(1, n - 2)

    def _unseen(self, polynomials: tuple[Floats, Floats, Floats], drawn: int) -> Floats:
        (e1, e2, e3), (h1, h2, h3) = polynomials, self._chances(drawn)
        return np.maximum(0, 1 - h1 * e1 + h2 * e2 - h3 * e3)  # below 0 by rounding only

    def _polynomials(self, items: Targets) -> tuple[Floats, Floats, Floats]:
        end = items.rank + items.shown_by
        stratum = np.where(
            items.rank < self.border,
            items.rank // (self.size + 1),
            self.longer + (items.rank - self.border) // self.size,
        )
        shares = []
        for number in (stratum, stratum + 1, stratum + 2):
            begin = number * self.size + np.minimum(number, self.longer)
            size = self.size + (number < self.longer)
            overlap = np.minimum(end, begin + size) - np.maximum(items.rank, begin)
            shares.append(np.maximum(0, overlap) / size)
        p, r, s = shares
        return p + r + s, p * r + p * s + r * s, p * r * s
