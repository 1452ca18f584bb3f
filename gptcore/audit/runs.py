"""Rows of several documents → the runs of text in them, with the place of each run.

Legend: N tokens in the text. A packed row holds pieces of documents, which special tokens may
separate. A run is a part of a row whose tokens follow each other in the text as well; it is maximal
where neither neighbour in the row continues it. Two runs may share one token: the last target of
the first and the first input of the second.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gptcore.audit.log import Whole

Flags = npt.NDArray[np.bool_]

MOST_PLACES = 2**24  # of runs that occur several times; beyond, any token may belong to one
CHANCE_RUNS = 1e-3  # expected accidental runs of the shortest length, for each place of a row


@dataclass(frozen=True, eq=False)
class Pieces:
    """Parts of rows that are looked up on their own, in one flat array.

    Attributes:
        tokens: int64, the tokens of all pieces, one piece after the other.
        begin: int64 of shape (P,), the first token of each piece.
        end: int64 of shape (P,), one past its last token.
        row: int64 of shape (P,), the row of each piece, in increasing order.
        chained: bool of shape (P,), whether the first token of a piece needs no input of the text.
        ended: bool of shape (P,), whether the last token of a piece is a target given for it.
        row_of_token: int64, the row of each token.
    """

    tokens: Whole
    begin: Whole
    end: Whole
    row: Whole
    chained: Flags
    ended: Flags
    row_of_token: Whole


@dataclass(frozen=True, eq=False)
class Runs:
    """Runs of text, in the order of their rows.

    Attributes:
        piece: int64 of shape (R,), the piece of each run.
        begin: int64 of shape (R,), the first token of each run in `Pieces.tokens`.
        start: int64 of shape (R,), the first token of each run in the text.
        length: int64 of shape (R,), the tokens of each run.
        chained: bool of shape (R,), whether the first token of the run is a target, although the
            run before it does not hold that target.
        shared: bool of shape (R,), whether the run before it holds its first token.
        ambiguous: bool of shape (R,), whether the run occurs at several places.
        possible: bool of shape (N,), the tokens of the text that such runs may be.
    """

    piece: Whole
    begin: Whole
    start: Whole
    length: Whole
    chained: Flags
    shared: Flags
    ambiguous: Flags
    possible: Flags


class TextIndex:
    """The suffixes of a text in order, to look up the longest run that begins at a token."""

    def __init__(self, ids: Whole, depth: int) -> None:
        """Sort the suffixes by their first `depth` tokens, by doubling."""
        rank, size = np.unique(ids, return_inverse=True)[1], 1
        while size < depth and int(rank.max()) + 1 < len(rank):
            after = np.zeros_like(rank)
            after[:-size] = rank[size:] + 1
            rank = np.unique(rank * (int(after.max()) + 1) + after, return_inverse=True)[1]
            size *= 2
        self.ids, self.order = ids, np.argsort(rank, kind="stable")

    def longest(self, tokens: Whole, begin: Whole, end: Whole) -> tuple[Whole, Whole]:
        """Return the length of the longest run from each `begin`, and a place where it occurs."""
        above = self.bound(tokens, begin, end)
        best, place = np.zeros_like(begin), np.zeros_like(begin)
        for at in (above - 1, above):
            there = self.order[at.clip(0, len(self.order) - 1)]
            length = _common(tokens, begin, end, self.ids, there)
            better = length > best
            best[better], place[better] = length[better], there[better]
        return best, place

    def bound(self, tokens: Whole, begin: Whole, end: Whole, *, after: bool = False) -> Whole:
        """Return the first suffix that is not less than the tokens.

        With `after`, it is the first one beyond all suffixes that begin with the tokens.
        """
        low, high = np.zeros_like(begin), np.full_like(begin, len(self.order))
        while (low < high).any():
            middle = (low + high) // 2
            there = self.order[middle.clip(0, len(self.order) - 1)]
            same = _common(tokens, begin, end, self.ids, there)
            ours = tokens[(begin + same).clip(0, len(tokens) - 1)]
            text = self.ids[(there + same).clip(0, len(self.ids) - 1)]
            whole = begin + same == end
            less = np.where(whole, after, (there + same == len(self.ids)) | (text < ours))
            less &= low < high
            low, high = np.where(less, middle + 1, low), np.where(less, high, middle.clip(low))
        return low


def least_run(ids: Whole) -> int:
    """Return the shortest run that hardly ever occurs in the text by accident.

    Two tokens of the text are equal with probability c; words that belong together count as half.
    """
    counts = np.unique(ids, return_counts=True)[1]
    equal = float(((counts / len(ids)) ** 2).sum())
    if equal >= 1:
        return len(ids)
    return max(3, math.ceil(2 * math.log(len(ids) / CHANCE_RUNS) / -math.log(equal)))


def find_runs(pieces: Pieces, index: TextIndex, documents: Whole) -> Runs:
    """Return the maximal runs of the pieces, each at one place of the text.

    Args:
        pieces: the pieces of all rows.
        index: the text.
        documents: the first token of each document.
    """
    piece, begin, length, place = _greedy(pieces, index, least_run(index.ids))
    piece, begin, length, place = _extend(pieces, index.ids, piece, begin, length, place)
    fresh = pieces.chained[piece] & (begin == pieces.begin[piece])
    starts = documents if len(documents) > 1 else documents[:0]
    place, ambiguous = _choose(pieces.tokens, index, begin, length, place, starts, fresh)
    row = pieces.row[piece]
    shared = np.zeros(len(piece), dtype=bool)
    shared[1:] = (row[1:] == row[:-1]) & (begin[1:] < (begin + length)[:-1])
    chained = ~shared & (pieces.chained[piece] | (begin > pieces.begin[piece]))
    possible = _possible(pieces.tokens, index, begin[ambiguous], length[ambiguous])
    return Runs(piece, begin, place, length, chained, shared, ambiguous, possible)


def _greedy(pieces: Pieces, index: TextIndex, least: int) -> tuple[Whole, Whole, Whole, Whole]:
    """Return (piece, begin, length, place) of the longest runs, from left to right.

    A run counts if it has `least` tokens or is a whole piece. A piece in which half of the tokens
    begin no run is given up.
    """
    found = []
    piece = np.flatnonzero(pieces.end - pieces.begin > 1)
    begin, end = pieces.begin[piece], pieces.end[piece]
    misses = np.zeros_like(piece)
    while len(piece):
        length, place = index.longest(pieces.tokens, begin, end)
        size = end - pieces.begin[piece]
        good = (length >= least) | (length == size)
        found.append(np.stack([piece, begin, length, place])[:, good])
        begin = np.where(good, begin + length - 1, begin + 1)
        misses = misses + ~good
        alive = (end - begin > 1) & (misses <= np.maximum(least, size // 2))
        piece, begin, end, misses = piece[alive], begin[alive], end[alive], misses[alive]
    table = np.concatenate(found, axis=1) if found else np.zeros((4, 0), dtype=np.int64)
    piece, begin, length, place = table[:, np.lexsort((table[1], table[0]))]
    return piece, begin, length, place


def _extend(
    pieces: Pieces, ids: Whole, piece: Whole, begin: Whole, length: Whole, place: Whole
) -> tuple[Whole, Whole, Whole, Whole]:
    """Extend each run to the left, and choose the token that it shares with the run before it.

    Where two runs overlap, the text of the first went on with the same tokens by accident. The
    shared token is then the one that most overlaps hold, which is the token between documents.
    """
    if not len(piece):
        return piece, begin, length, place
    same = np.concatenate([[False], piece[1:] == piece[:-1]])
    before = np.roll(begin, 1)
    floor = np.where(same, before + 1, pieces.begin[piece])
    back = np.zeros_like(begin)
    growing = np.ones(len(begin), dtype=bool)
    while growing.any():
        at, there = begin - back - 1, place - back - 1
        growing &= (at >= floor) & (there >= 0)
        growing &= pieces.tokens[at.clip(0)] == ids[there.clip(0)]
        back[growing] += 1
    left, last = begin - back, np.roll(begin + length, 1) - 1  # of the run, of the run before
    overlap = np.where(same, last - left + 1, 0).clip(0)
    # The tokens of all overlaps, and the most common of them in each.
    which = np.repeat(np.arange(len(begin)), overlap)
    offset = np.arange(len(which)) - np.repeat(np.cumsum(overlap) - overlap, overlap)
    token = pieces.tokens[left[which] + offset]
    _, of_token, counts = np.unique(token, return_inverse=True, return_counts=True)
    order = np.lexsort((offset, -counts[of_token], which))
    first = order[np.unique(which[order], return_index=True)[1]]
    start = np.where(same & (overlap == 0), np.maximum(left, last), left)
    start[which[first]] = left[which[first]] + offset[first]
    moved = begin - start
    ends = begin + length
    ends[:-1] = np.where(same[1:], np.minimum(ends[:-1], start[1:] + 1), ends[:-1])
    return piece, start, ends - start, place - moved


def _choose(
    tokens: Whole,
    index: TextIndex,
    begin: Whole,
    length: Whole,
    place: Whole,
    documents: Whole,
    fresh: Flags,
) -> tuple[Whole, Flags]:
    """Return the place of each run, and whether it has several that nothing tells apart.

    A run goes on where the run before it ended, or ends where the next one begins, if it can; a
    loader that reads in order cuts documents so. Otherwise a run that begins a document stands
    where one begins. Equal runs take in turn the places that no other run takes.
    """
    if not len(begin):
        return place, np.zeros(0, dtype=bool)
    low = index.bound(tokens, begin, begin + length)
    high = index.bound(tokens, begin, begin + length, after=True)
    ambiguous = high - low > 1
    guessed = np.zeros_like(ambiguous)  # documents that seem to follow the one before them
    for shared in (1, 0, 1, 0):
        after = np.roll(place + length, 1) - shared
        before = np.roll(place, -1) + shared - length
        for there, known in ((before, np.roll(ambiguous, -1)), (after, np.roll(ambiguous, 1))):
            open_ = np.flatnonzero(ambiguous & ~known & (there >= 0) & (there < len(index.ids)))
            ends = begin[open_] + length[open_]
            fits = _common(tokens, begin[open_], ends, index.ids, there[open_]) == length[open_]
            place[open_[fits]], ambiguous[open_[fits]] = there[open_[fits]], False
            guessed[open_[fits]] = fresh[open_[fits]] & (there is after)
    several, unsure = np.flatnonzero(ambiguous), ambiguous | guessed
    keys = np.stack([low[several], length[several], fresh[several]], axis=1)
    _, group = np.unique(keys, axis=0, return_inverse=True)
    order = np.argsort(group.ravel(), kind="stable")
    for members in np.split(several[order], np.flatnonzero(np.diff(group.ravel()[order])) + 1):
        if len(members):
            options = np.sort(index.order[low[members[0]] : high[members[0]]])
            at_start = options[np.isin(options, documents)]
            options = at_start if fresh[members[0]] and len(at_start) else options
            taken = np.isin(options, place[~ambiguous & (low == low[members[0]])])
            options = np.concatenate([options[~taken], options[taken]])
            place[members] = options[np.arange(len(members)) % len(options)]
            unsure[members] = len(options) > 1
    return place, unsure


def _possible(tokens: Whole, index: TextIndex, begin: Whole, length: Whole) -> Flags:
    """Return the tokens of the text that belong to any occurrence of the runs; bool, (N,)."""
    low = index.bound(tokens, begin, begin + length)
    high = index.bound(tokens, begin, begin + length, after=True)
    low, high, length = np.unique(np.stack([low, high, length]), axis=1)
    if int((high - low).sum()) > MOST_PLACES:
        return np.ones(len(index.ids), dtype=bool)
    change = np.zeros(len(index.ids) + 1, dtype=np.int64)
    for first, last, size in zip(low.tolist(), high.tolist(), length.tolist(), strict=True):
        places = index.order[first:last]  # distinct, so that each counts once
        change[places] += 1
        change[places + size] -= 1
    return np.cumsum(change[:-1]) > 0


def _common(tokens: Whole, begin: Whole, end: Whole, ids: Whole, place: Whole) -> Whole:
    """Return how many tokens from `begin` up to `end` equal those of the text from `place` on."""
    limit = np.minimum(end - begin, len(ids) - place)
    common = np.zeros_like(begin)
    alive, block = np.flatnonzero(limit > 0), 8
    while len(alive):
        offset = common[alive, None] + np.arange(block)
        same = offset < limit[alive, None]
        ours = tokens[(begin[alive, None] + offset).clip(0, len(tokens) - 1)]
        same &= ours == ids[(place[alive, None] + offset).clip(0, len(ids) - 1)]
        run = np.where(same.all(axis=1), block, same.argmin(axis=1))
        common[alive] += run
        alive, block = alive[run == block], min(2 * block, 256)
    return common
