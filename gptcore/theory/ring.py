"""Theory of `RechunkedDocuments`: each epoch cuts a ring of all documents at a uniform place.

Legend as in `lattice`: N tokens, windows of T inputs, K draws; a row of items for each segment. An
epoch draws r of its m = ⌊N / T⌋ windows, and s = N - m·T tokens of the ring are in none as targets.
"""

from collections import Counter
from collections.abc import Callable
from functools import partial

import numpy as np

from gptcore.sampling.rechunking import RechunkedDocuments
from gptcore.theory.avoidance import ratio
from gptcore.theory.by_rank import fold_period
from gptcore.theory.lattice import Missed, Visits, Whole


class RingTheory:
    """Expectations of a sampler for which all tokens of the ring are alike.

    A window begins at each of the N places of the ring with the same probability and shows w ≤ T
    items in a row, and no item lies in two windows of an epoch. So an epoch of r draws shows an
    item with probability r·w / N. Epochs are independent.
    """

    def __init__(self, sampler: RechunkedDocuments) -> None:
        self.block_size, self.n_tokens = sampler.block_size, sampler.n_tokens
        self.blocks, self.epoch = sampler.n_blocks, sampler.draws_per_epoch or sampler.n_blocks
        self.spare = self.n_tokens - self.blocks * self.block_size
        self.documents = Counter(map(len, sampler.segments))

    def missed(self, draws: int, width: int) -> Missed:
        """Return how many items, inside a document each, are expected to be missed."""
        beyond = self.block_size + 1 - width
        chance, edge, interior = self.unseen(draws, width), 0, 0
        for size, number in self.documents.items():
            items, inner = max(0, size - beyond), max(0, size - 2 * self.block_size + 1)
            interior += number * inner
            edge += number * (items - inner)
        return Missed(chance * edge, chance * interior)

    def never(self, width: int) -> int:  # noqa: ARG002
        """Return 0, because a window may begin at every token."""
        return 0

    def visits(self, draws: int) -> Visits:
        """Return the other expectations."""
        # An epoch shows a target at most once, so its visits are a sum of coin flips.
        epochs, rest = divmod(draws, self.epoch)
        whole, part = (taken * self.block_size / self.n_tokens for taken in (self.epoch, rest))
        return Visits(
            sd_missed=0.0 if self._is_certain(draws) else None,
            distinct=self.n_tokens * (1 - self.unseen(draws, 1)),
            gaps=self._gaps(draws),
            variance=epochs * whole * (1 - whole) + part * (1 - part),
        )

    def _is_certain(self, draws: int) -> bool:
        """Return whether all seeds miss equally many targets: in one epoch, or where none is."""
        return draws <= self.epoch or self.epoch * self.block_size == self.n_tokens

    def unseen(self, draws: int, width: int) -> float:
        """Return the probability that no draw shows an item."""
        return self._over_epochs(draws, lambda taken: 1 - taken * width / self.n_tokens)

    def _over_epochs(self, draws: int, unseen: Callable[[int], float]) -> float:
        """Return the probability of what each epoch, by its draws, does independently."""
        epochs, rest = divmod(draws, self.epoch)
        return unseen(rest) * unseen(self.epoch) ** epochs

    def _gaps(self, draws: int) -> float:
        """Return the expected islands of shown targets, less one for each document with any.

        A target ends an island if it is shown and the next one of its document is not.
        """
        one = self.unseen(draws, self.block_size)
        two = self._over_epochs(draws, self._two_unseen)
        gaps = 0.0
        for size, number in self.documents.items():
            run = self._over_epochs(draws, partial(self._run_unseen, size))
            gaps += number * ((size - 1) * (one - two) - one + run)
        return max(0.0, gaps)  # less than 0 only by rounding

    def _two_unseen(self, taken: int) -> float:
        """Return the probability that an epoch shows neither of two targets next to each other."""
        # Both are shown if they lie in one window that is drawn, or in two neighbours that are.
        borders = self.blocks - (self.spare > 0) if self.blocks > 1 else 0
        pairs = taken * (taken - 1) / max(1, self.blocks * (self.blocks - 1))
        both = taken * (self.block_size - 1) + borders * pairs
        return max(0.0, 1 - (2 * taken * self.block_size - both) / self.n_tokens)

    def _run_unseen(self, length: int, taken: int) -> float:
        """Return the probability that an epoch shows no target of a run on the ring."""
        touched, places = self._touch(length)
        kinds, kind = np.unique(touched, return_inverse=True)
        chance = np.array([ratio(self.blocks, int(count), taken) for count in kinds])
        return float(places @ chance[kind]) / self.n_tokens

    def _touch(self, length: int) -> tuple[Whole, Whole]:
        """Return how many windows may touch a run of targets, and for how many places of the cut.

        Count from the first target behind the cut. The m windows have the places from 0 to m·T - 1,
        and the run those from p on. Places that are T apart are alike, but for those at the end.
        """
        size, n, end = self.block_size, self.n_tokens, self.blocks * self.block_size
        inside = max(0, end - length + 1)  # runs that end before place m·T
        begin, within = fold_period(0, inside, size)
        again = max(0, n - length + 1)  # the first run that goes round the ring
        round_begin, around = fold_period(again, max(0, end - again), size)
        late = np.arange(inside, min(end, again))  # runs that end among the s other places
        spare = np.arange(end, n)  # runs that begin there
        touched = [
            (begin % size + length - 1) // size + 1,
            self.blocks + 1 + (round_begin % size + length - 1 - n) // size,
            self.blocks - late // size,
            np.maximum(0, (spare + length - 1 - n) // size + 1),
        ]
        places = [within, around, np.ones_like(late), np.ones_like(spare)]
        return np.minimum(np.concatenate(touched), self.blocks), np.concatenate(places)
