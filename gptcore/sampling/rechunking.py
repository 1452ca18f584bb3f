"""A sampler whose windows join documents: permuted and cut anew in each epoch.

Legend: D documents with N tokens together, windows of T inputs.
"""

from typing import Self

import numpy as np

from gptcore.checks import check_whole
from gptcore.sampling.base import Sampler
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

    _kept: tuple[int, Pieces, Starts] | None = None

    def with_seed(self, seed: int) -> Self:
        """Return the same sampler with another seed."""
        other = super().with_seed(seed)
        other._kept = None
        return other

    def pieces(self, first: int, count: int) -> Pieces:
        """Return what draws first, …, first + count - 1 show."""
        first = check_whole("first draw", first, at_least=0)
        count = check_whole("count of draws", count)
        assert self.draws_per_epoch is not None
        parts, done = [], 0
        while done < count:
            epoch, offset = divmod(first + done, self.draws_per_epoch)
            last = min(offset + count - done, self.draws_per_epoch)
            whole, bounds = self._epoch(epoch)
            draw, start, length = (part[bounds[offset] : bounds[last]] for part in whole)
            parts.append((draw - offset + done, start, length))
            done += last - offset
        return Pieces(*map(np.concatenate, zip(*parts, strict=True)))

    def _count_epoch(self) -> int:
        self.n_blocks = self.n_tokens // self.block_size
        return whole_batches(self.n_blocks, self.batch_size, self.drop_last)

    def _draw(self, first: int, count: int) -> Starts:  # noqa: ARG002
        raise ValueError(
            f"a window of {self.name} may join several documents, so that its start does not tell "
            "its tokens: use pieces(first, count), or batches from gptcore.sampling.batches"
        )

    def _epoch(self, number: int) -> tuple[Pieces, Starts]:
        """Return the pieces of an epoch, and where those of each draw begin."""
        if self._kept is None or self._kept[0] != number:
            pieces = self._make_epoch(self._rng(number))
            bounds = np.append(np.flatnonzero(pieces.first), len(pieces.draw))
            self._kept = (number, pieces, bounds)
        return self._kept[1:]

    def _order_documents(self, rng: np.random.Generator) -> Starts:
        """Return the numbers of the documents in the order of the ring."""
        return rng.permutation(len(self.segments)).astype(np.int64)

    def _arrange(self, begin: Starts) -> Starts:
        """Return the places at which windows of the ring begin in the order of the draws."""
        return begin

    def _make_epoch(self, rng: np.random.Generator) -> Pieces:
        order = np.tile(self._order_documents(rng), 2)  # two rounds, so that no window goes beyond
        cut = rng.integers(self.n_tokens)
        blocks = rng.permutation(self.n_blocks)[: self.draws_per_epoch].astype(np.int64)
        begin = self._arrange((cut + blocks * self.block_size) % self.n_tokens)
        starts = np.array([part.start for part in self.segments], dtype=np.int64)[order]
        sizes = np.array([len(part) for part in self.segments], dtype=np.int64)[order]
        ends = np.cumsum(sizes)
        # The documents of a window are neighbours on the ring: it has a piece of each.
        document = np.searchsorted(ends, begin, side="right")
        number = np.searchsorted(ends, begin + self.block_size, side="right") - document + 1
        draw = np.repeat(np.arange(len(begin)), number)
        before = np.cumsum(number) - number
        document = document[draw] + np.arange(len(draw)) - before[draw]
        low = np.maximum(begin[draw], (ends - sizes)[document])
        high = np.minimum(begin[draw] + self.block_size + 1, ends[document])
        return Pieces(draw, starts[document] + low - (ends - sizes)[document], high - low)


class RechunkedOnce(RechunkedDocuments):
    """Documents in one random order, the same in every epoch, but cut at new places.

    The windows of every epoch are drawn in one order of the places of the ring too, so that each
    comes about when the window of the same text came in the epoch before. With drop_last other
    windows are left out each time.
    """

    name = "rechunked_once"

    def _order_documents(self, rng: np.random.Generator) -> Starts:  # noqa: ARG002
        return self._rng_once().permutation(len(self.segments)).astype(np.int64)

    def _arrange(self, begin: Starts) -> Starts:
        blocks = begin // self.block_size  # no two windows begin in one block of the ring
        by_block = np.empty(self.n_tokens // self.block_size + 1, dtype=np.int64)
        by_block[blocks] = begin
        return np.asarray(by_block[self._in_one_order(blocks)])
