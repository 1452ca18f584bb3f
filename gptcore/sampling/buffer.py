"""The grid through a shuffle buffer, where each draw is found without the draws before it."""

from typing import Any

import numpy as np

from gptcore.checks import check_whole
from gptcore.sampling.base import Sampler
from gptcore.sampling.keyed import draw_below, permute
from gptcore.sampling.windows import Starts


class BlockBufferShuffle(Sampler):
    """The grid through a shuffle buffer of `buffer` blocks (default 1024), as streaming loaders do.

    A draw takes a random block out of the buffer, and the next block of the grid takes its place.
    When no block is left to enter, the buffer is emptied in random order. Each epoch begins with
    the first blocks of the grid in the buffer.

    The slot of a draw is a function of the seed and of the draw. The block in it entered after the
    last draw before that took from the same slot, so the sampler looks back until it finds that
    draw: over `buffer` draws on average. Memory grows with the buffer and not with the text.
    """

    name = "block_buffer_shuffle"
    stream_version = 2

    def __init__(self, *, buffer: int = 1024, **options: Any) -> None:
        self.buffer = check_whole("buffer", buffer)
        super().__init__(**options)

    def _stride(self) -> int:
        return self.block_size

    def _extras(self) -> dict[str, int]:
        return {"buffer": self.buffer}

    def starts_at(self, draws: Starts) -> Starts:
        """Return the starts of these draws, which increase."""
        assert self.draws_per_epoch is not None
        held = min(self.buffer, self.lattice.total)
        filling = self.lattice.total - held  # draws of an epoch after which a block enters
        epoch, place = np.divmod(draws, self.draws_per_epoch)
        late = place >= filling
        emptied = permute(place[late] - filling, held, self._keys(1, epoch[late]))
        slots = draw_below(self._keys(0, epoch), place, held)
        slots[late] = emptied
        return self.lattice.place(self._blocks(epoch, np.minimum(place, filling), slots, filling))

    def _blocks(self, epoch: Starts, before: Starts, slots: Starts, filling: int) -> Starts:
        """Return the block in each slot when `before` draws of an epoch are made.

        Each argument but `filling` is (k,). Block b of an epoch begins in slot b.
        """
        held = self.lattice.total - filling
        blocks, open_ = slots.copy(), np.arange(len(slots) if filling else 0)
        # The draws after which a block enters are numbered through all epochs.
        begin = epoch * filling
        group, stop = (epoch - epoch[0]) * held + slots, int((begin + before)[-1])
        while open_.size:
            first = max(int(begin[0]), stop - max(4 * held, len(slots)))
            number, place = np.divmod(np.arange(first, stop), filling)
            drawn = draw_below(self._keys(0, number), place, held)
            # Sorted by epoch, slot and draw, the draw looked for stands just before `before`.
            size = stop - first + 1
            table = ((number - epoch[0]) * held + drawn) * size + np.arange(stop - first)
            table = np.append(-1, np.sort(table))
            asked = group[open_] * size + np.clip((begin + before)[open_] - first, 0, size)
            last = table[np.searchsorted(table, asked) - 1]
            found = last // size == group[open_]
            done = open_[found]
            blocks[done] = held + first + last[found] % size - begin[done]
            open_, stop = open_[~found & (begin[open_] < first)], first
        return blocks
