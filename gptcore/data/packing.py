"""What is lost when documents are packed into rows of equal length, counted from lengths alone.

Legend: D documents, rows of R tokens. A model with T inputs reads rows of R = T + 1 tokens. A
document that is **cropped** fills what is left of its row, and the rest of it is thrown away.
"""

import heapq
from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice

from gptcore.checks import check_whole

BUFFER = 1000
"""Documents that `best_fit_crop` chooses from, as in nanochat."""
TOLD = 2**16
"""Documents between two calls of `progress`."""

OnProgress = Callable[[int, int], None]


@dataclass(frozen=True)
class Packing:
    """What one way of packing did to all documents.

    Attributes:
        n_tokens: tokens of all documents.
        row_tokens: R.
        rows: rows that are full, with their padding.
        cropped_tokens: tokens of cropped documents that are in no row.
        padding_tokens: places of rows that hold no token of a document.
        left_over_tokens: tokens at the end that do not fill a row, which is left out.
        whole_documents: documents that lie in one of the rows from beginning to end; those in what
            is left over do not count.
    """

    n_tokens: int
    row_tokens: int
    rows: int
    cropped_tokens: int = 0
    padding_tokens: int = 0
    left_over_tokens: int = 0
    whole_documents: int = 0

    @property
    def cropped_share(self) -> float:
        """The cropped tokens over all tokens."""
        return self.cropped_tokens / self.n_tokens

    @property
    def padding_share(self) -> float | None:
        """The padding over all places of the rows; None without a row."""
        return self.padding_tokens / (self.rows * self.row_tokens) if self.rows else None


def pack(
    lengths: Sequence[int],
    row_tokens: int,
    packing: str,
    *,
    buffer: int = BUFFER,
    progress: OnProgress | None = None,
) -> Packing:
    """Pack documents into rows, and count what is lost.

    Args:
        lengths: tokens of each document in their order, each at least 1. Where every document
            begins with a token of its own (BOS), the length counts it.
        row_tokens: R.
        packing: a key of `PACKINGS`.
        buffer: documents that `best_fit_crop` chooses from; the others do not choose.
        progress: called now and then with the documents done and all documents.

    Raises:
        ValueError: there is no document, a number is out of range, or no such packing.
    """
    if packing not in PACKINGS:
        raise ValueError(f"packing is {packing!r}: choose one of {', '.join(PACKINGS)}")
    row_tokens = check_whole("row_tokens", row_tokens)
    buffer = check_whole("buffer", buffer)
    if not len(lengths):
        raise ValueError("there is no document to pack: give at least one length")
    lengths = [check_whole("length of a document", length) for length in lengths]
    check_whole("sum of all lengths", sum(lengths))
    return PACKINGS[packing](lengths, row_tokens, buffer, progress or (lambda *_: None))


def _told(lengths: Sequence[int], progress: OnProgress) -> Iterable[int]:
    """Yield the lengths, and tell now and then how many were yielded."""
    for first in range(0, len(lengths), TOLD):
        yield from islice(lengths, first, first + TOLD)
        progress(min(first + TOLD, len(lengths)), len(lengths))


def _concatenate(lengths: Sequence[int], row: int, _: int, progress: OnProgress) -> Packing:
    """Join all documents and cut every R tokens; only the rest at the end is lost."""
    n_tokens = sum(lengths)
    end, whole = 0, 0
    for length in _told(lengths, progress):
        first, end = end // row, end + length
        whole += first == (end - 1) // row < n_tokens // row
    rows, rest = divmod(n_tokens, row)
    return Packing(n_tokens, row, rows, left_over_tokens=rest, whole_documents=whole)


def _greedy_crop(lengths: Sequence[int], row: int, _: int, progress: OnProgress) -> Packing:
    """Take documents in order, and crop the one that does not fit to what is left of the row."""
    return _best_fit_crop(lengths, row, 1, progress)  # a buffer of one document has no choice


def _greedy_pad(lengths: Sequence[int], row: int, _: int, progress: OnProgress) -> Packing:
    """Take documents in order, and pad the row where the next one does not fit.

    Only a document that is longer than a row is cropped. The last row is padded too.
    """
    rows = cropped = padding = whole = 0
    room = row
    for length in _told(lengths, progress):
        whole += length <= row
        if length > room:  # of a row that is not empty, unless the document is too long for any
            padding += room % row
            rows += room < row
            room = row
        cropped += max(0, length - room)
        room -= min(length, room)
        if not room:
            rows += 1
            room = row
    padding += room % row
    rows += room < row
    return Packing(sum(lengths), row, rows, cropped, padding, 0, whole)


def _best_fit_crop(lengths: Sequence[int], row: int, size: int, progress: OnProgress) -> Packing:
    """Fill each row with the largest document of the buffer that fits, again and again.

    Where none fits, the shortest one is cropped to what is left of the row. The buffer is filled
    up with the next documents before each choice. This is nanochat's loader, except that its
    buffer grows by several documents at once and its documents never end.
    """
    held = _Buffer(row)
    waiting = iter(_told(lengths, progress))
    rows = cropped = whole = fitted = 0
    room = row
    for length in islice(waiting, size):
        held.add(length)
    for _ in range(len(lengths)):
        length = held.take(room)
        fitted += length <= room  # whole in this row, which may never be full
        if length < room:
            room -= length
        else:
            cropped += length - room
            rows, whole = rows + 1, whole + fitted
            room, fitted = row, 0
        for following in islice(waiting, 1):
            held.add(following)
    return Packing(sum(lengths), row, rows, cropped, 0, row - room, whole)


class _Buffer:
    """Lengths of the documents in a buffer.

    Those that fit into a row are counted by length, and their lengths are sorted. So a choice takes
    no longer with more documents than a row has tokens.
    """

    def __init__(self, row_tokens: int) -> None:
        self.row_tokens = row_tokens
        self.counts: dict[int, int] = {}
        self.fitting: list[int] = []
        self.longer: list[int] = []

    def add(self, length: int) -> None:
        if length > self.row_tokens:
            heapq.heappush(self.longer, length)
            return
        if length not in self.counts:
            insort(self.fitting, length)
        self.counts[length] = self.counts.get(length, 0) + 1

    def take(self, room: int) -> int:
        """Remove and return the largest length up to `room`, or else the shortest of all."""
        place = bisect_right(self.fitting, room)
        if place:
            length = self.fitting[place - 1]
        elif self.fitting:
            length = self.fitting[0]
        else:
            return heapq.heappop(self.longer)
        self.counts[length] -= 1
        if not self.counts[length]:
            del self.counts[length]
            del self.fitting[bisect_left(self.fitting, length)]
        return length


# To add a packing, write a function of (lengths, row_tokens, buffer, progress), and add a line.
PACKINGS: dict[str, Callable[[Sequence[int], int, int, OnProgress], Packing]] = {
    "concatenate": _concatenate,
    "greedy_pad": _greedy_pad,
    "greedy_crop": _greedy_crop,
    "best_fit_crop": _best_fit_crop,
}
