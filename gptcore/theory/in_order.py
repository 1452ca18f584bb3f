"""Theory of the samplers that read the text in order, or shuffle it in a bounded buffer.

Legend as in `lattice`: N tokens, windows of T inputs, K draws; a row of items for each segment, of
which each window shows w in a row.
"""

from collections.abc import Callable

import numpy as np

from gptcore.sampling.base import Sampler
from gptcore.sampling.buffer import BlockBufferShuffle
from gptcore.theory.avoidance import Floats, ratio
from gptcore.theory.lattice import Missed, Visits, Whole


class InOrderTheory:
    """Theory of samplers that read a grid of stride S >= w in order, where nothing is random.

    The first min(K, m) windows are shown, where m is the number of draws in an epoch.
    """

    def __init__(self, sampler: Sampler) -> None:
        self.sampler = sampler
        self.epoch = sampler.draws_per_epoch or sampler.lattice.total
        counts = np.array(sampler.lattice.counts)
        self.begins = np.cumsum(counts) - counts
        self.counts = counts
        self.starts = np.array([len(part) - sampler.block_size for part in sampler.segments])

    def missed(self, draws: int, width: int) -> Missed:
        """Return how many items of all rows windows of `width` miss."""
        shown = self._shown(draws)
        missed = int((self.starts + width - 1 - shown * width).sum())
        # Interior items are those from `first` up to the number of starts.
        first = self.sampler.block_size - 1
        inner = np.maximum(0, self.starts - first)
        seen = self._before(self.starts, shown, width) - self._before(first, shown, width)
        interior = int((inner - np.where(inner > 0, seen, 0)).sum())
        return Missed(float(missed - interior), float(interior))

    def never(self, width: int) -> int:
        """Return how many items of all rows no draw shows."""
        return int(sum(self.missed(self.epoch, width)))

    def visits(self, draws: int) -> Visits:
        """Return the other expectations."""
        width = self.sampler.targets_per_window
        targets = self.sampler.n_tokens - len(self.starts)
        # `share` of the targets is shown in an epoch: ⌊mean⌋ times, and `extra` of it once more.
        share = self.epoch * width / targets
        mean, extra = draws / self.epoch, draws % self.epoch / self.epoch
        parted = self.sampler.lattice.stride > width  # there is a gap between any two windows
        return Visits(
            sd_missed=0.0,
            distinct=min(draws, self.epoch),
            gaps=float(np.maximum(0, self._shown(draws) - 1).sum()) if parted else 0.0,
            variance=share * extra * (1 - extra) + share * (1 - share) * mean**2,
        )

    def _shown(self, draws: int) -> Whole:
        """Return how many windows of each segment are shown."""
        return np.asarray(np.clip(min(draws, self.epoch) - self.begins, 0, self.counts))

    def _before(self, item: Whole | int, shown: Whole, width: int) -> Whole:
        """Return how many items before `item` the first `shown` windows of each row show."""
        whole, rest = np.divmod(item, self.sampler.lattice.stride)
        part = np.where(whole < shown, np.minimum(rest, width), 0)
        return np.asarray(np.minimum(whole, shown) * width + part)


class BufferTheory:
    """Theory of `BlockBufferShuffle`: the blocks of the grid pass through a buffer of b blocks.

    Block i enters the buffer after max(0, i - b + 1) draws. While blocks enter, a draw leaves a
    block in the buffer with probability 1 - 1/b; the rest of the buffer is drawn in uniform order.
    Epochs are independent. The missed targets take O(1) time, or O(blocks) where epochs are cut by
    drop_last and there are several.
    """

    def __init__(self, sampler: BlockBufferShuffle) -> None:
        self.n = sampler.lattice.total
        self.epoch = sampler.draws_per_epoch or self.n
        self.held = min(sampler.buffer, self.n)
        self.size = size = sampler.block_size
        order = InOrderTheory(sampler)
        self.rows, self.counts, begins = order.starts, order.counts, order.begins
        self.n_targets = int((self.rows + size - 1).sum())
        # Only the first and the last block of a row, `ends`, have targets that are not interior;
        # `outer` counts these targets.
        self.ends = np.concatenate([begins, begins + self.counts - 1])
        left = np.concatenate([np.zeros_like(begins), (self.counts - 1) * size])
        right = np.minimum(left + size, np.tile(self.rows, 2))
        self.outer = size - np.maximum(0, right - np.maximum(left, size - 1))
        self.outer[: len(begins)] *= self.counts > 1  # the only block of a row counts once

    def missed(self, draws: int, width: int) -> Missed:
        """Return how many items of all rows are expected to be missed by windows of `width`."""
        left = self._left(draws)
        total = left * width + self.never(width)
        outer = float(self.outer @ self._over_epochs(draws, self._unseen, self.ends))
        inner = float(np.maximum(0, self.rows - self.size + 1).sum())
        interior = inner - self.size * (self.n - left) + float(self.outer.sum()) - outer
        return Missed(total - interior, interior)

    def never(self, width: int) -> int:
        """Return how many items lie behind the last block of a row or between narrow windows."""
        return int((self.rows + width - 1 - self.counts * width).sum())

    def visits(self, draws: int) -> Visits:
        """Return the other expectations; `sd_missed` only where the number of blocks is certain."""
        # The variance of the visits of each block, and the distance of its mean from the overall.
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
        # After an epoch, blocks that entered long before its end are left with less than e⁻⁶⁴.
        late = max(0, self.epoch - 65 * self.held)
        return float(self._over_epochs(draws, self._unseen, np.arange(late, self.n)).sum())

    def _over_epochs(
        self, draws: int, unseen: Callable[[int, Whole], Floats], blocks: Whole
    ) -> Floats:
        """Return the probability `unseen` of blocks in one epoch, for K draws over all epochs."""
        epochs, rest = divmod(draws, self.epoch)
        once = unseen(rest, blocks)
        return once * unseen(self.epoch, blocks) ** epochs if epochs else once

    def _unseen(self, draws: int, blocks: Whole) -> Floats:
        """Return the probability that each block is not drawn in the first draws of an epoch."""
        feeding = min(draws, self.n - self.held)
        enter = np.maximum(0, blocks - self.held + 1)
        stay = (1 - 1 / self.held) ** np.maximum(0, feeding - enter)
        return np.asarray(stay * (self.n - draws) / self.held if draws > feeding else stay)

    def _pair_unseen(self, draws: int, blocks: Whole) -> Floats:
        """Return the probability that each block and the next one are both not drawn."""
        b, feeding = self.held, min(draws, self.n - self.held)
        enter, later = np.maximum(0, blocks - b + 1), np.maximum(0, blocks - b + 2)
        # A draw leaves a block that is alone in the buffer with 1 - 1/b, and both with 1 - 2/b.
        alone = np.minimum(later, feeding) - np.minimum(enter, feeding)
        both = np.maximum(0, feeding - later)
        stay = (1 - 1 / b) ** alone * max(0.0, 1 - 2 / b) ** both
        if draws <= feeding:
            return np.asarray(stay)
        left = self.n - draws
        return np.asarray(stay * left * (left - 1) / (b * max(1, b - 1)))

    def _row_unseen(self, draws: int, first: int, count: int) -> float:
        """Return the probability that none of the `count` blocks from `first` on is drawn."""
        feeding = min(draws, self.n - self.held)
        # How many of them are in the buffer at each draw.
        inside = np.clip(np.arange(feeding) + self.held - first, 0, count)
        if len(inside) and inside.max() >= self.held:
            return 0.0
        stay = float(np.exp(np.log1p(-inside / self.held).sum()))
        # Once all blocks have entered, the rest of the buffer is drawn in uniform order.
        return stay * ratio(self.held, count, draws - feeding)

    def _gaps(self, draws: int) -> float:
        """Return the expected islands of shown blocks, less one for each row with any.

        A block ends an island if it is drawn and the next one of its row is not.
        """
        blocks = np.arange(self.n)
        unseen = self._over_epochs(draws, self._unseen, blocks)
        both = self._over_epochs(draws, self._pair_unseen, blocks[:-1])
        last = np.cumsum(self.counts) - 1
        within = np.ones(self.n - 1, dtype=np.bool_)
        within[last[:-1]] = False
        gaps = float((unseen[1:] - both)[within].sum()) - float(unseen[last].sum())
        if len(self.counts) > 1:
            epochs, rest = divmod(draws, self.epoch)
            for first, count in zip(last + 1 - self.counts, self.counts, strict=True):
                once = self._row_unseen(rest, int(first), int(count))
                gaps += once * (self._row_unseen(self.epoch, int(first), int(count)) ** epochs)
        return max(0.0, gaps)
