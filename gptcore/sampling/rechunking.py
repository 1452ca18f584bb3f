"""A sampler whose windows join documents: permuted and cut anew in each epoch.

Legend: D documents with N tokens together, windows of T inputs.
"""

from typing import Self

import numpy as np

from gptcore.checks import check_whole
from gptcore.sampling.base import Sampler
from gptcore.sampling.keyed import draw_below, permute, place_without
from gptcore.sampling.windows import Pieces, Starts, whole_batches


class RechunkedDocuments(Sampler):
    """Documents, which are the segments, in a new random order each epoch, and cut at new places.

    The documents of an epoch stand in a ring of N tokens, where the first one follows the last. The
    ring is cut into ⌊N / T⌋ windows from a random token on, and these are drawn in random order.
    The other N mod T tokens are no targets in this epoch. So all tokens are alike: each one is a
    target in an epoch with probability ⌊N / T⌋·T / N. A document may have any length.

    A window may begin in one document and go on in others, so `pieces` tells what it shows.
    """

    name = "rechunked_documents"
    joins = True

    stream_version = 2

    _ring: tuple[int, Starts, Starts, Starts] | None = None

    def with_seed(self, seed: int) -> Self:
        """Return the same sampler with another seed."""
        other = super().with_seed(seed)
        other._ring = None
        return other

    def starts_at(self, draws: Starts) -> Starts:  # noqa: ARG002
        """Refuse, because a start does not tell a window."""
        raise ValueError(
            f"a window of {self.name} may join several documents, so that its start does not tell "
            "its tokens: use pieces(first, count), or batches from gptcore.sampling.batches"
        )

    def pieces(self, first: int, count: int) -> Pieces:
        """Return what draws first, …, first + count - 1 show."""
        first = check_whole("first draw", first, at_least=0)
        count = check_whole("count of draws", count)
        return self.pieces_at(np.arange(first, first + count))

    def pieces_at(self, draws: Starts) -> Pieces:
        """Return what these draws show, which increase; pieces number them from 0."""
        assert self.draws_per_epoch is not None
        epochs, begins = np.unique(draws // self.draws_per_epoch, return_index=True)
        places = np.split(draws % self.draws_per_epoch, begins[1:])
        parts = []
        for epoch, begin, mine in zip(epochs.tolist(), begins, places, strict=True):
            draw, start, length = self._cut(epoch, self._ring_places(epoch, mine))
            parts.append((begin + draw, start, length))
        return Pieces(*map(np.concatenate, zip(*parts, strict=True)))

    def _count_epoch(self) -> int:
        self.n_blocks = self.n_tokens // self.block_size
        return whole_batches(self.n_blocks, self.batch_size, self.drop_last)

    def _ring_places(self, epoch: int, places: Starts) -> Starts:
        """Return where on the ring the windows at these places of an epoch begin."""
        return self._begins(epoch, permute(places, self.n_blocks, self._keys(0, epoch)))

    def _begins(self, epoch: int, windows: Starts) -> Starts:
        """Return where on the ring windows begin, which are numbered from the cut on."""
        return (self._cut_of(epoch) + windows * self.block_size) % self.n_tokens

    def _cut_of(self, epoch: int) -> int:
        """Return the token of the ring at which the first window of an epoch begins."""
        return int(draw_below(self._keys(1, epoch), 0, self.n_tokens)[0])

    def _order_key(self, epoch: int) -> int:
        """Return what the order of the documents depends on."""
        return epoch

    def _documents(self, epoch: int) -> tuple[Starts, Starts, Starts]:
        """Return the first token of each document, and where it begins and ends on the ring.

        The documents come twice, so that no window goes beyond them. Those of one epoch are kept.
        """
        number = self._order_key(epoch)
        if self._ring is None or self._ring[0] != number:
            n = len(self.segments)
            order = np.tile(permute(np.arange(n), n, self._keys(2, number)), 2)
            starts = np.array([part.start for part in self.segments], dtype=np.int64)[order]
            sizes = np.array([len(part) for part in self.segments], dtype=np.int64)[order]
            ends = np.cumsum(sizes)
            self._ring = (number, starts, ends - sizes, ends)
        return self._ring[1:]

    def _cut(self, epoch: int, begin: Starts) -> Pieces:
        """Return the pieces of windows that begin at these places of the ring."""
        starts, begins, ends = self._documents(epoch)
        # The documents of a window are neighbours on the ring: it has a piece of each.
        document = np.searchsorted(ends, begin, side="right")
        number = np.searchsorted(ends, begin + self.block_size, side="right") - document + 1
        draw = np.repeat(np.arange(len(begin)), number)
        before = np.cumsum(number) - number
        document = document[draw] + np.arange(len(draw)) - before[draw]
        low = np.maximum(begin[draw], begins[document])
        high = np.minimum(begin[draw] + self.block_size + 1, ends[document])
        return Pieces(draw, starts[document] + low - begins[document], high - low)


class RechunkedOnce(RechunkedDocuments):
    """Documents in one random order, the same in every epoch, but cut at new places.

    The windows of every epoch are drawn in one order of the places of the ring too, so that each
    comes about when the window of the same text came in the epoch before. With drop_last other
    windows are left out each time.
    """

    name = "rechunked_once"

    def _order_key(self, epoch: int) -> int:  # noqa: ARG002
        return 0

    def _ring_places(self, epoch: int, places: Starts) -> Starts:
        """Return where windows begin: the ring has blocks, and no two begin in one of them."""
        assert self.draws_per_epoch is not None
        size, last = self.block_size, self.n_tokens // self.block_size
        cut = self._cut_of(epoch)
        straight = -(-(self.n_tokens - cut) // size)  # windows that begin before the ring's end
        straight = min(straight, self.n_blocks)
        left = np.arange(self.draws_per_epoch, self.n_blocks)  # the places that no draw has
        missing = super()._ring_places(epoch, left) // size
        # Of the blocks 0, …, last, one has no window: before the cut, or at the end of the ring.
        empty = last - straight if last - straight < cut // size else last
        order = self._keys(3, 0)
        holes = permute(np.append(missing, empty), last + 1, order, inverse=True)
        block = permute(place_without(places, holes, last + 1), last + 1, order)
        window = block + np.where(block >= cut // size, -(cut // size), straight)
        return self._begins(epoch, window)
