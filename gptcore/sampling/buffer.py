"""The grid through a shuffle buffer, where each draw is found without the draws before it."""

from typing import Any

import numpy as np

from gptcore.checks import check_whole
from gptcore.sampling.base import CHUNK_DRAWS, Sampler
from gptcore.sampling.keyed import Words, draw_below, permute
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

    def starts_at(self, draws: Starts) -> Starts:
        """Return the starts of these draws, which increase."""
        assert self.draws_per_epoch is not None
        epochs, begins = np.unique(draws // self.draws_per_epoch, return_index=True)
        parts = np.split(draws % self.draws_per_epoch, begins[1:])
        blocks = [self._blocks(int(e), part) for e, part in zip(epochs, parts, strict=True)]
        return self.lattice.place(np.concatenate(blocks))

    def _stride(self) -> int:
        return self.block_size

    def _extras(self) -> dict[str, int]:
        return {"buffer": self.buffer}

    def _blocks(self, epoch: int, places: Starts) -> Starts:
        """Return the blocks at these places of an epoch, which increase."""
        held = min(self.buffer, self.lattice.total)
        filling = self.lattice.total - held  # draws after which a block enters
        keys = self._keys(0, epoch)
        early, late = places[places < filling], places[places >= filling]
        slots = np.concatenate(
            [
                draw_below(keys, early, held),
                permute(late - filling, held, self._keys(1, epoch)),
            ]
        )
        before = np.minimum(places, filling)
        return _entered(slots, before, keys, held)


def _entered(slots: Starts, before: Starts, keys: Words, held: int) -> Starts:
    """Return the block that lies in each slot when the draws below `before` are made.

    Args:
        slots: (k,), each in [0, held).
        before: (k,), in increasing order.
        keys: of the slots of draws.
        held: blocks in the buffer; block b begins in slot b.
    """
    blocks, open_ = slots.copy(), np.arange(len(slots))
    stop = int(before[-1]) if len(before) else 0
    while open_.size and stop > 0:
        first = max(0, stop - max(held, CHUNK_DRAWS))
        draws = np.arange(first, stop)
        # Sorted by slot and then by draw, the draw that is looked for stands just before `before`.
        size = stop - first + 1
        table = np.sort(draw_below(keys, draws, held) * size + draws - first)
        at = np.searchsorted(table, slots[open_] * size + np.clip(before[open_] - first, 0, size))
        at -= 1
        found = (at >= 0) & (table[at] // size == slots[open_])
        blocks[open_[found]] = held + first + table[at[found]] % size
        open_, stop = open_[~found], first
    return blocks
