"""Theory of `Stratified`: one start from every stratum, in an order that is new in each epoch."""

from typing import NamedTuple

import numpy as np

from gptcore.sampling.low_discrepancy import Stratified
from gptcore.theory.avoidance import Floats, ratio
from gptcore.theory.by_rank import Items, RankTheory, fold_period
from gptcore.theory.lattice import Visits, Whole


class Spans(NamedTuple):
    """The strata that each run of ranks touches.

    Attributes:
        first: the share of the first one that is in the run.
        whole: how many strata behind it are wholly in the run.
        last: the share of the next one that is in the run, 0 if the run ends before.
    """

    first: Floats
    whole: Whole
    last: Floats


class StratifiedTheory(RankTheory):
    """Theory of `Stratified`: each epoch draws one start from every stratum, in random order.

    The ranks that show an item touch a first stratum, of which they have the share p, then m whole
    ones, and a last one with the share r. If k of the n strata are drawn, none of the m is with
    probability C(n-m, k) / C(n, k). The item is then missed with probability
    1 - h₁(p + r) + h₂·p·r, where h_i is the probability that i given strata of the other n - m are
    all drawn. Epochs are independent.
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
        spans = self._spans(items)
        epochs, rest = divmod(draws, self.epoch)
        once = self._unseen(spans, rest)
        return once * self._unseen(spans, self.epoch) ** epochs if epochs else once

    def visits(self, draws: int) -> Visits:
        """Return the other expectations."""
        items = self._items(self.block_size)
        p, m, r = self._spans(items)
        # The elementary symmetric polynomials of the shares p, 1, …, 1, r.
        e1, e2 = p + m + r, p * r + m * (p + r) + m * (m - 1) / 2
        epochs, rest = divmod(draws, self.epoch)
        # Mean and variance of the visits of each item, summed over the epochs.
        mean, variance = np.zeros(len(e1)), np.zeros(len(e1))
        for times, drawn in (epochs, self.epoch), (1, rest):
            h1, h2 = _all_drawn(self.n, drawn)
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
            gaps=0.0 if once else self.gaps(draws),
            variance=float(items.weight @ (variance + (mean - overall) ** 2)) / self.n_targets,
        )

    def _unseen(self, spans: Spans, drawn: int) -> Floats:
        """Return the probability that one epoch of `drawn` draws misses each item."""
        p, m, r = spans
        numbers, kind = np.unique(m, return_inverse=True)
        none = np.array([ratio(self.n, int(q), drawn) for q in numbers])
        h1, h2 = np.array([_all_drawn(self.n - int(q), drawn) for q in numbers]).T
        chance = none[kind] * (1 - h1[kind] * (p + r) + h2[kind] * p * r)
        return np.asarray(np.maximum(0, chance))  # less than 0 only by rounding

    def _spans(self, items: Items) -> Spans:
        """Return the strata that show each item."""
        begin, end = items.rank, items.rank + items.shown_by
        first, last = self._stratum(begin), self._stratum(end)
        size = self._begin(first + 1) - self._begin(first)
        one = first == last
        return Spans(
            (np.minimum(end, self._begin(first + 1)) - begin) / size,
            np.where(one, 0, last - first - 1),
            np.where(one, 0, (end - self._begin(last)) / (self.size + (last < self.longer))),
        )

    def _stratum(self, rank: Whole) -> Whole:
        """Return the stratum of each rank; n for the rank behind the last one."""
        short = self.longer + (rank - self.border) // self.size
        return np.where(rank < self.border, rank // (self.size + 1), short)

    def _begin(self, stratum: Whole) -> Whole:
        """Return the first rank of each stratum."""
        return np.asarray(stratum * self.size + np.minimum(stratum, self.longer))


def _all_drawn(n: int, drawn: int) -> tuple[float, float]:
    """Return h₁ and h₂: the probabilities that 1 and 2 given strata of n are all drawn."""
    one = drawn / max(1, n)
    return one, one * (drawn - 1) / max(1, n - 1)
