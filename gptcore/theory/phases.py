"""Theory of `RandomPhaseBlocks`: a grid that is shifted by a new phase in each epoch.

Legend as in `lattice`: N tokens, windows of T inputs, M = N - T starts, K draws.
"""

import math
from typing import NamedTuple

import numpy as np

from gptcore.sampling.phases import RandomPhaseBlocks
from gptcore.theory.avoidance import Floats, ratio
from gptcore.theory.by_rank import Items, RankTheory, fold_period
from gptcore.theory.lattice import Visits, Whole

LARGEST_BLOCK = 2**12
"""T up to which the standard deviation is computed; its cost grows with T²."""


class Way(NamedTuple):
    """One way in which K draws may divide into epochs.

    Attributes:
        chance: its probability.
        long: complete long epochs.
        short: complete short epochs.
        next_long: whether the epoch behind them, which is incomplete, is a long one.
        rest: the draws in that epoch.
    """

    chance: float
    long: int
    short: int
    next_long: bool
    rest: int


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
        long, short = self._shows(items, True, self.long), self._shows(items, False, self.short)
        for way in self._ways(draws):
            last = self._shows(items, way.next_long, way.rest)
            total += way.chance * (1 - long) ** way.long * (1 - short) ** way.short * (1 - last)
        return total

    def visits(self, draws: int) -> Visits:
        """Return the other expectations."""
        items = self._items(self.block_size)
        overall = draws * self.block_size / self.n_targets
        long, short = self._shows(items, True, self.long), self._shows(items, False, self.short)
        variance = 0.0
        for way in self._ways(draws):
            # An epoch visits an item once or not at all, so its visits are a sum of coin flips.
            last = self._shows(items, way.next_long, way.rest)
            flips = (long, way.long), (short, way.short), (last, 1)
            mean = sum(n * p for p, n in flips)
            within = sum(n * p * (1 - p) for p, n in flips)
            variance += way.chance * float(items.weight @ (within + (mean - overall) ** 2))
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
            sd_missed=0.0 if once else self._sd_missed(draws),
            distinct=self.phases.n_starts - unseen,
            gaps=0.0 if once else self.gaps(draws),
            variance=variance / self.n_targets,
        )

    def _shows(self, items: Items, long: bool, drawn: int) -> Floats:
        """Return the probability that `drawn` draws of one epoch show an item, for each kind.

        q·T + c ranks hold q blocks of an epoch, and one more for c of the phases.
        """
        size, b = self.block_size, self.b

        def below(rank: Whole) -> Whole:
            """Return how many of the ranks 0, …, rank - 1 have a phase below b."""
            return np.asarray(rank // size * b + np.minimum(rank % size, b))

        whole, rest = np.divmod(items.shown_by, size)
        in_long = below(items.rank + rest) - below(items.rank)
        phases, blocks = (b, self.a + 1) if long else (size - b, self.a)
        one_more = (in_long if long else rest - in_long) / max(1, phases)
        numbers, kind = np.unique(whole, return_inverse=True)
        unseen = np.array([[ratio(blocks, int(q) + i, drawn) for q in numbers] for i in (0, 1)])
        fewer, more = unseen[:, kind]
        return np.asarray(1 - fewer + one_more * (fewer - more))

    def _ways(self, draws: int) -> list[Way]:
        """Return the ways in which K draws may divide into epochs."""
        # For each offset: complete epochs, long ones among them, whether the next is long, and the
        # draws in it. This is the arithmetic of RandomPhaseBlocks, for all offsets at once.
        size, b = self.block_size, self.b
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
            Way(times / size, x, e - x, bool(kind), r)
            for (e, x, kind, r), times in zip(ways.T.tolist(), number.tolist(), strict=True)
        ]

    def _sd_missed(self, draws: int) -> float | None:
        """Return the standard deviation of the missed targets; None where it is not known.

        It is known for one segment whose epochs are not cut to whole batches. Then r draws of the
        first epoch show r·T targets. A complete epoch shows all targets but x in front and y
        behind, so after some of them the smallest x and the smallest y are missed.
        """
        cut = self.short < self.a or (self.b > 0 and self.long < self.a + 1)
        if len(self.sampler.segments) > 1 or cut or self.block_size > LARGEST_BLOCK:
            return None
        mean, variance = sum(self.missed(draws, self.block_size)), 0.0
        for way in self._ways(draws):
            if way.long or (way.short and self.a):
                (both, ends, squares), rest = self._moments_of_ends(way), -mean
                moment = squares + 2 * both + 2 * rest * ends + rest**2
            else:
                moment = (self.n_targets - way.rest * self.block_size - mean) ** 2
            variance += way.chance * moment
        return math.sqrt(max(0.0, variance))

    def _moments_of_ends(self, way: Way) -> tuple[float, float, float]:
        """Return E[x·y], E[x + y] and E[x² + y²] of the smallest x and y of all epochs."""
        size = self.block_size
        both = ends = squares = 0.0
        for front in np.array_split(np.arange(size), max(1, size * size >> 20)):
            at_least = np.ones((len(front), size))  # P(x >= s and y >= t)
            for kind, times in (True, way.long), (False, way.short):
                if times:
                    at_least *= self._ends(front, kind) ** times
            if way.rest:
                at_least *= self._last_ends(front, way)
            # E[x] = Σ_s P(x >= s), and E[x²] = Σ_s (2s - 1)·P(x >= s), for s = 1, 2, ….
            x, odd = at_least[front > 0, 0], 2 * front[front > 0] - 1
            both += float(at_least[front > 0, 1:].sum())
            ends += float(x.sum())
            squares += float(odd @ x)
            if front[0] == 0:
                y = at_least[0, 1:]
                ends += float(y.sum())
                squares += float((2 * np.arange(1, size) - 1) @ y)
        return both, ends, squares

    def _ends(self, front: Whole, long: bool) -> Floats:
        """Return P(x >= s and y >= t) of one complete epoch, for s in `front` and t < T.

        x is the phase: below b in a long epoch, where x + y = b - 1, and otherwise in [b, T), where
        x + y = T + b - 1. Without any block, nothing is shown.
        """
        size, b = self.block_size, self.b
        if not long and not self.a:
            return np.ones((len(front), size))
        s, t = front[:, None], np.arange(size)
        if long:
            return np.asarray(np.maximum(0, b - s - t) / b)
        most = np.minimum(size - 1, size + b - 1 - t)
        return np.asarray(np.maximum(0, most - np.maximum(s, b) + 1) / (size - b))

    def _last_ends(self, front: Whole, way: Way) -> Floats:
        """Return the same of the incomplete epoch, where the first or last block may be missing."""
        blocks = self.a + 1 if way.next_long else self.a
        one = way.rest / blocks
        two = one * (way.rest - 1) / max(1, blocks - 1)
        ends = self._ends(front, way.next_long)
        behind = self._ends(np.zeros(1, dtype=np.int64), way.next_long)
        either = (one - two) * (ends[:, :1] + behind)
        return np.asarray(1 - 2 * one + two + either + two * ends)
