"""Theory of the samplers that read the text in order, or shuffle it in a bounded buffer.

Legend as in `expectations`: N tokens, windows of T inputs, M = N - T starts, K draws.
"""

from collections.abc import Callable

import numpy as np

from gptcore.sampling.base import Sampler
from gptcore.sampling.samplers import BlockBufferShuffle
from gptcore.theory.avoidance import Floats
from gptcore.theory.by_rank import Whole
from gptcore.theory.lattice import Missed, Visits


class InOrderTheory:
    """The lattice in order, S >= w: nothing is random. The first min(K, m) windows are shown."""

    def __init__(self, sampler: Sampler) -> None:
        self.sampler = sampler
        self.epoch = sampler.draws_per_epoch or sampler.lattice.total
        counts = np.array(sampler.lattice.counts)
        self.begins = np.cumsum(counts) - counts
        self.counts = counts
        self.starts = np.array([len(part) - sampler.block_size for part in sampler.segments])

    def missed(self, draws: int, width: int) -> Missed:
        """Return the items that windows of `width` miss."""
        shown = self._shown(draws)
        missed = int((self.starts + width - 1 - shown * width).sum())
        first = self.sampler.block_size - 1  # an interior item is at least T from both ends
        inner = np.maximum(0, self.starts - first)
        seen = self._before(self.starts, shown, width) - self._before(first, shown, width)
        interior = int((inner - np.where(inner > 0, seen, 0)).sum())
        return Missed(float(missed - interior), float(interior))

    def never(self, width: int) -> int:
        """Return how many items no draw ever shows."""
        return int(sum(self.missed(self.epoch, width)))

    def visits(self, draws: int) -> Visits:
        """Return the other expectations: `distinct` windows were drawn, `extra` once more."""
        width = self.sampler.targets_per_window
        targets = self.sampler.n_tokens - len(self.starts)
        share = self.epoch * width / targets
        mean, extra = draws / self.epoch, draws % self.epoch / self.epoch
        parted = self.sampler.lattice.stride > width
        return Visits(
            sd_missed=0.0,
            distinct=min(draws, self.epoch),
            gaps=float(np.maximum(0, self._shown(draws) - 1).sum()) if parted else 0.0,
            variance=share * extra * (1 - extra) + share * (1 - share) * mean**2,
        )

    def _shown(self, draws: int) -> Whole:
        """Return the windows shown in each segment."""
        return np.asarray(np.clip(min(draws, self.epoch) - self.begins, 0, self.counts))

    def _before(self, item: Whole | int, shown: Whole, width: int) -> Whole:
        """Return how many items before `item` the first `shown` windows of each row show."""
        whole, rest = np.divmod(item, self.sampler.lattice.stride)
        part = np.where(whole < shown, np.minimum(rest, width), 0)
        return np.asarray(np.minimum(whole, shown) * width + part)


class BufferTheory:
    """The grid through a buffer of b blocks: block i enters it after draw max(0, i - b + 1).

    Until no block is left to enter, a draw leaves it there with 1 - 1/b; then the order is uniform.
    Epochs are independent. Missed targets cost O(1), or O(blocks) where epochs are cut and repeat.
    """

    def __init__(self, sampler: BlockBufferShuffle) -> None:
        self.n = sampler.lattice.total
        self.epoch = sampler.draws_per_epoch or self.n
        self.held = min(sampler.buffer, self.n)
        self.size = size = sampler.block_size
        order = InOrderTheory(sampler)
        self.rows, self.counts, begins = order.starts, order.counts, order.begins
        self.n_targets = int((self.rows + size - 1).sum())
        # Only the first and the last block of a row have targets that are not interior.
        self.ends = np.concatenate([begins, begins + self.counts - 1])
        left = np.concatenate([np.zeros_like(begins), (self.counts - 1) * size])
        right = np.minimum(left + size, np.tile(self.rows, 2))
        self.outer = size - np.maximum(0, right - np.maximum(left, size - 1))
        self.outer[: len(begins)] *= self.counts > 1  # a row of one block has it once

    def missed(self, draws: int, width: int) -> Missed:
        """Return how many items of all rows are expected to be missed by windows of `width`."""
        left = self._left(draws)
        total = left * width + self.never(width)
        outer = float(self.outer @ self._over_epochs(draws, self._unseen, self.ends))
        inner = float(np.maximum(0, self.rows - self.size + 1).sum())
        interior = inner - self.size * (self.n - left) + float(self.outer.sum()) - outer
        return Missed(total - interior, interior)

    def never(self, width: int) -> int:
        """Return the items behind the last block of each row, and between narrow windows."""
        return int((self.rows + width - 1 - self.counts * width).sum())

    def visits(self, draws: int) -> Visits:
        """Return the other expectations; the sd only where the number of blocks is certain."""
        blocks = np.arange(self.n)
        epochs, rest = divmod(draws, self.epoch)
        full, part = 1 - self._unseen(self.epoch, blocks), 1 - self._unseen(rest, blocks)
        variance = epochs * full * (1 - full) + part * (1 - part)
        overall = draws * self.size / self.n_targets
        spread = self.size * float((variance + (epochs * full + part - overall) ** 2).sum())
        outside = (self.n_targets - self.size * self.n) * overall**2
        certain = draws <= self.epoch or self.epoch == self.n
        return Visits(
            sd_missed=0.0 if certain else None,
            distinct=self.n - self._left(draws),
            gaps=self._gaps(draws),
            variance=(spread + outside) / self.n_targets,
        )

    def _left(self, draws: int) -> float:
        """Return the expected number of blocks that are never drawn."""
        if draws <= self.epoch:
            return float(self.n - draws)
        if self.epoch == self.n:
            return 0.0
        return float(self._over_epochs(draws, self._unseen, np.arange(self.n)).sum())

    def _over_epochs(
        self, draws: int, unseen: Callable[[int, Whole], Floats], blocks: Whole
    ) -> Floats:
        epochs, rest = divmod(draws, self.epoch)
        once = unseen(rest, blocks)
        return once * unseen(self.epoch, blocks) ** epochs if epochs else once

    def _unseen(self, draws: int, blocks: Whole) -> Floats:
        """Return the probability of each block to be left after `draws` draws of an epoch."""
        feeding = min(draws, self.n - self.held)
        enter = np.maximum(0, blocks - self.held + 1)
        stay = (1 - 1 / self.held) ** np.maximum(0, feeding - enter)
        return np.asarray(stay * (self.n - draws) / self.held if draws > feeding else stay)

    def _pair_unseen(self, draws: int, blocks: Whole) -> Floats:
        """Return the probability that a block and the next one are both left."""
        b, feeding = self.held, min(draws, self.n - self.held)
        enter, later = np.maximum(0, blocks - b + 1), np.maximum(0, blocks - b + 2)
        alone = np.minimum(later, feeding) - np.minimum(enter, feeding)
        both = np.maximum(0, feeding - later)
        stay = (1 - 1 / b) ** alone * max(0.0, 1 - 2 / b) ** both
        if draws <= feeding:
            return np.asarray(stay)
        left = self.n - draws
        return np.asarray(stay * left * (left - 1) / (b * max(1, b - 1)))

    def _gaps(self, draws: int) -> float | None:
        """Return the expected islands less one: a block ends one if the next is not seen."""
        if len(self.rows) > 1:
            return None
        unseen = self._over_epochs(draws, self._unseen, np.arange(self.n))
        both = self._over_epochs(draws, self._pair_unseen, np.arange(self.n - 1))
        return max(0.0, float((unseen[1:] - both).sum()) - float(unseen[-1]))
