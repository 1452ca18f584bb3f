"""Grids with a new random phase in each epoch.

Legend: T inputs in a window, M starts.
"""

import numpy as np

from gptcore.checks import check_whole
from gptcore.sampling.base import Sampler
from gptcore.sampling.keyed import draw_below, permute, place_without
from gptcore.sampling.rechunking import RechunkedDocuments, RechunkedOnce
from gptcore.sampling.windows import Starts, whole_batches


class RandomPhaseBlocks(Sampler):
    """A grid of stride T over all M starts, with a new random phase and order each epoch.

    A phase in [0, T) gives M // T blocks, or one more if it is less than b = M mod T. Which epochs
    are long, with one block more, is fixed in advance: epoch e is, if ⌊((e + 1)·b + o) / T⌋ is
    larger than ⌊(e·b + o) / T⌋, where o is uniform in [0, T) and from the seed. The phase of an
    epoch is uniform among the phases that give its length. So the phase of each epoch is uniform
    over all seeds, any T epochs in a row are M draws, and the epoch of a draw is arithmetic.
    """

    name = "random_phase_blocks"
    stream_version = 2

    def _count_epoch(self) -> None:
        self.short_blocks, self.long_phases = divmod(self.n_starts, self.block_size)
        a, b = self.short_blocks, self.long_phases
        self.offset = int(self._rng_once().integers(self.block_size))
        self.epoch_unit, self.draws_in_t_epochs = 1, self.n_starts
        if self.drop_last:
            # An epoch is whole batches. If long epochs have one batch more, the unit is a batch.
            short = whole_batches(a, self.batch_size, True)
            self.draws_in_t_epochs = short * self.block_size
            if b and (a + 1) % self.batch_size == 0:  # a long epoch has one batch more
                self.epoch_unit = self.batch_size
                self.draws_in_t_epochs = short // self.batch_size * self.block_size + b

    def epoch(self, index: int) -> int:
        """Return the epoch that draw `index` belongs to."""
        return self._locate(check_whole("draw", index, at_least=0))[0]

    def _begin(self, epoch: int) -> int:
        """Return the first draw of an epoch."""
        steps = (epoch * self.draws_in_t_epochs + self.offset) // self.block_size
        return steps * self.epoch_unit

    def _locate(self, draw: int) -> tuple[int, int]:
        steps = (draw // self.epoch_unit + 1) * self.block_size
        epoch = (steps - self.offset - 1) // self.draws_in_t_epochs
        return epoch, draw - self._begin(epoch)

    def starts_at(self, draws: Starts) -> Starts:
        """Return the starts of these draws, which increase."""
        first, last = (self._locate(int(draw))[0] for draw in draws[[0, -1]])
        begins = np.array([self._begin(epoch) for epoch in range(first, last + 2)])
        which = np.searchsorted(begins, draws, side="right") - 1
        # Is an epoch long? Then its phase is one of the first b, otherwise one of the others.
        period, b, o = self.block_size, self.long_phases, self.offset
        epochs = range(first, last + 1)
        long = np.array([((e + 1) * b + o) // period - (e * b + o) // period for e in epochs])
        numbers = np.array(epochs)
        drawn = draw_below(self._keys(1, numbers), 0, np.where(long, b, period - b))
        phase = np.where(long, drawn, b + drawn)
        blocks = self._blocks(first + which, draws - begins[which], self.short_blocks + long[which])
        return self.lattice.place(phase[which] + period * blocks)

    def _blocks(self, epoch: Starts, place: Starts, among: Starts) -> Starts:
        """Return the blocks at these places of epochs that have so many blocks."""
        return permute(place, self.short_blocks + 1, self._keys(0, epoch), among=among)


class OneDocument(RandomPhaseBlocks):
    """What `RechunkedDocuments` is for one document, which has nothing to permute or to join."""

    name = RechunkedDocuments.name


class OneDocumentOnce(RandomPhaseBlocks):
    """What `RechunkedOnce` is for one document: new phases, but one order of the blocks.

    With drop_last other blocks are left out in each epoch.
    """

    name = RechunkedOnce.name

    def _blocks(self, epoch: Starts, place: Starts, among: Starts) -> Starts:
        most, order = self.short_blocks + 1, self._keys(2, 0)
        epochs, first, row = np.unique(epoch, return_index=True, return_inverse=True)
        lengths = [self._begin(e + 1) - self._begin(e) for e in epochs.tolist()]
        sizes = among[first]
        # The blocks that no draw has: of the places behind the last draw, and the one of long
        # epochs alone.
        behind = [np.arange(*ends) for ends in zip(lengths, sizes.tolist(), strict=True)]
        rows = np.repeat(np.arange(len(epochs)), sizes - lengths)
        dropped = super()._blocks(epochs[rows], np.concatenate(behind), sizes[rows])
        short = np.flatnonzero(sizes < most)
        missing = np.append(dropped, np.full(len(short), most - 1))
        holes = permute(missing, most, order, inverse=True)
        place = place_without(place, holes, most, row, np.append(rows, short))
        return permute(place, most, order)
