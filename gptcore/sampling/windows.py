"""Where windows fit: segments of a token stream, and evenly spaced starts inside them.

Legend: N tokens in all segments together, windows of T inputs. A segment of N_i tokens has
M_i = N_i - T starts, and M = Σ M_i. A start is an index into the whole stream. No window crosses
the end of a segment.
"""

import itertools
from collections.abc import Sequence
from typing import NamedTuple, Required, TypedDict

import numpy as np
import numpy.typing as npt

from gptcore.checks import as_array, check_whole
from gptcore.data.splits import Segment

Starts = npt.NDArray[np.int64]

LONGEST_WINDOW = 2**24  # because gptcore.theory makes arrays of this length


class WindowOptions(TypedDict, total=False):
    """The text that windows lie in, and how long they are: give `n_tokens` or `segments`.

    Attributes:
        n_tokens: N, tokens in the stream.
        segments: the parts of a stream that windows lie in, in order and disjoint.
        block_size: T.
    """

    n_tokens: int | None
    segments: Sequence[Segment] | None
    block_size: Required[int]


class Pieces(NamedTuple):
    """The tokens that draws show: those of a draw are its pieces, one behind the other.

    A window of T inputs has T + 1 tokens, each of which is the target of the one before it. In most
    samplers it is one piece of the stream. Where it joins several segments it has a piece of each.

    Attributes:
        draw: int64 of shape (P,), the draw of each piece, counted from 0, in order.
        start: int64 of shape (P,), the first token of each piece.
        length: int64 of shape (P,), the tokens of each piece; those of one draw add up to T + 1.
    """

    draw: Starts
    start: Starts
    length: Starts

    @property
    def first(self) -> npt.NDArray[np.bool_]:
        """Whether each piece is the first one of its draw: bool of shape (P,)."""
        return np.diff(self.draw, prepend=-1) > 0

    def targets(self) -> tuple[Starts, Starts]:
        """Return where the targets of each piece begin and end; all but the first of its draw."""
        return self.start + self.first, self.start + self.length

    def tokens(self) -> Starts:
        """Return the places of all tokens in the stream: int64 of shape (draws, T + 1)."""
        before = np.cumsum(self.length) - self.length
        places = np.arange(int(self.length.sum())) + np.repeat(self.start - before, self.length)
        return np.asarray(places.reshape(int(self.draw[-1]) + 1, -1))


def whole_windows(starts: Starts, block_size: int) -> Pieces:
    """Return windows of one piece each, the tokens s, …, s + T."""
    return Pieces(
        np.arange(len(starts)), starts, np.broadcast_to(np.int64(block_size + 1), starts.shape)
    )


def count_starts(n_tokens: int, block_size: int) -> int:
    """Return M = N - T, the number of windows in one segment.

    Raises:
        ValueError: N or T is not a positive whole number, or N <= T.
    """
    n_tokens = check_whole("n_tokens", n_tokens)
    block_size = check_whole("block_size", block_size, at_most=LONGEST_WINDOW)
    if n_tokens <= block_size:
        raise ValueError(
            f"n_tokens is {n_tokens} and one window of block_size {block_size} needs "
            f"{block_size + 1}: use a longer text or shorter windows"
        )
    return n_tokens - block_size


def count_blocks(n_tokens: int, block_size: int) -> int:
    """Return the number of windows in one segment that start at a multiple of T."""
    return (count_starts(n_tokens, block_size) - 1) // block_size + 1


def whole_batches(n_blocks: int, batch_size: int, drop_last: bool) -> int:
    """Return `n_blocks`, or with `drop_last` as many of them as fill whole batches.

    Raises:
        ValueError: there is no whole batch.
    """
    batch_size = check_whole("batch_size", batch_size)
    if not drop_last:
        return n_blocks
    if n_blocks < batch_size:
        raise ValueError(
            f"drop_last leaves nothing of {n_blocks} blocks at batch_size {batch_size}: "
            "use a smaller batch_size or a longer text"
        )
    return n_blocks - n_blocks % batch_size


def count_epoch_blocks(
    n_tokens: int, block_size: int, *, batch_size: int = 1, drop_last: bool = False
) -> int:
    """Return the draws in one epoch of the grid of stride T, or with `drop_last` whole batches.

    Raises:
        ValueError: the grid has no whole batch.
    """
    return whole_batches(count_blocks(n_tokens, block_size), batch_size, drop_last)


def check_segments(
    *,
    n_tokens: int | None = None,
    segments: Sequence[Segment] | None = None,
    block_size: int,
    joins: bool = False,
) -> tuple[Segment, ...]:
    """Return the segments that `WindowOptions` stand for: those given, or the whole stream.

    Raises:
        ValueError: both `n_tokens` and `segments` or neither are given, the segments overlap or
            are not in order, or one is shorter than T + 1; where a window `joins` segments, all of
            them together are.
    """
    if (n_tokens is None) == (segments is None):
        raise ValueError("the text is not clear: give either n_tokens or segments")
    block_size = check_whole("block_size", block_size, at_most=LONGEST_WINDOW)
    if n_tokens is not None:
        return (Segment(0, count_starts(n_tokens, block_size) + block_size),)
    parts = tuple(segments or ())
    if not parts:
        raise ValueError("segments are empty: give at least one")
    for before, after in itertools.pairwise(parts):
        if after.start < before.stop:
            raise ValueError(
                f"segment {after.start}:{after.stop} begins before {before.start}:{before.stop} "
                "ends: give disjoint segments in reading order"
            )
    for part in () if joins else parts:
        if len(part) <= block_size:
            raise ValueError(
                f"segment {part.start}:{part.stop} has {len(part)} tokens and one window needs "
                f"{block_size + 1}: use shorter windows or leave the segment out"
            )
    count_starts(sum(map(len, parts)), block_size)
    return parts


class StartGrid:
    """The starts at 0, S, 2S, … from the beginning of each segment, numbered in reading order.

    With S = 1 these are all M starts, and a start's number is its **rank**.

    Attributes:
        segments: where the windows lie.
        block_size: T.
        stride: S.
        counts: G_i, starts in each segment.
        total: G, starts in all.
    """

    def __init__(self, segments: Sequence[Segment], block_size: int, stride: int = 1) -> None:
        self.segments = tuple(segments)
        self.block_size = block_size
        self.stride = stride
        self.counts = tuple((len(part) - block_size - 1) // stride + 1 for part in self.segments)
        self.total = sum(self.counts)
        self._ends = np.cumsum(self.counts, dtype=np.int64)
        self._begins = self._ends - np.array(self.counts, dtype=np.int64)
        self._firsts = np.array([part.start for part in self.segments], dtype=np.int64)

    def place(self, numbers: Starts) -> Starts:
        """Return the starts with these numbers, each in [0, G): int64 of the same shape."""
        if len(self.segments) == 1:
            return np.asarray(numbers * self.stride + self._firsts[0])
        part = np.searchsorted(self._ends, numbers, side="right")
        return np.asarray((numbers - self._begins[part]) * self.stride + self._firsts[part])

    def rank(self, starts: Starts) -> Starts:
        """Return the numbers of these starts; S must be 1.

        Raises:
            ValueError: no window begins at one of these starts.
        """
        part = np.maximum(np.searchsorted(self._firsts, starts, side="right") - 1, 0)
        ranks = starts - self._firsts[part] + self._begins[part]
        outside = (starts < self._firsts[part]) | (ranks >= self._ends[part])
        if outside.any():
            low, high = starts.min(), starts.max()
            allowed = ", ".join(f"[{p.start}, {p.stop - self.block_size})" for p in self.segments)
            if len(self.segments) > 3:
                allowed = "a segment, with the whole window"
            raise ValueError(
                f"starts go from {low} to {high}, and {starts[outside][0]} is not allowed: they "
                f"must lie in {allowed}, so that each window and its last target are inside"
            )
        return np.asarray(ranks)


def as_starts(starts: Starts | Sequence[int]) -> Starts:
    """Return starts as int64 of shape (K,).

    Raises:
        ValueError: they are not flat, empty, not integers, or too large for int64.
    """
    array = as_array("starts", starts)
    if array.ndim != 1 or array.size == 0:
        raise ValueError(f"starts have shape {array.shape}: give a flat sequence, not empty")
    if array.dtype.kind not in "iu":
        raise ValueError(f"starts are {array.dtype}: give integers")
    if array.dtype == np.uint64 and array.max() >= 2**63:
        raise ValueError(f"starts go up to {array.max()}: give positions in the text")
    return array.astype(np.int64, copy=False)


def check_starts(starts: Starts | Sequence[int], n_starts: int) -> Starts:
    """Return the starts of windows in a single segment as int64 of shape (K,).

    Raises:
        ValueError: they are not flat, empty, not integers, or outside [0, n_starts).
    """
    array, n_starts = as_starts(starts), check_whole("n_starts", n_starts, at_least=0)
    low, high = array.min(), array.max()
    if low < 0 or high >= n_starts:
        raise ValueError(
            f"starts go from {low} to {high}: they must lie in [0, {n_starts}), "
            "so that each window and its last target are inside the text"
        )
    return array
