"""The longest run of tokens that a piece of text has in common with other places of a text.

All suffixes of the text are ranked by their first 1, 2, 4, … tokens (prefix doubling: Manber and
Myers 1993, "Suffix arrays"). In the final order neighbours share the longest beginnings, and the
ranks tell how long these are.
"""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.integer]
Span = tuple[int, int]
"""First token, and the one past the last."""
Told = Callable[[int, int], None]
"""Is called with the number of rounds done, and that of all."""


def longest_copies(
    ids: Ints, pieces: Sequence[tuple[Span, Sequence[Span]]], on_round: Told | None = None
) -> list[int]:
    """Return for each piece the longest run of its tokens that stands elsewhere in the text, too.

    N tokens take time of order N (log N)^2, and 4 bytes for each token and each binary digit of the
    length of the longest piece.

    Args:
        ids: the text, (N,).
        pieces: each with the spans in which the other place may not begin; one of them holds the
            piece itself. Put as many tokens before the piece into it as the piece has, so that the
            other place does not reach into the piece.
        on_round: told of each doubling.

    Returns:
        Lengths in tokens, from 0 to the length of the piece.
    """
    longest = max((stop - start for (start, stop), _ in pieces), default=0)
    levels = _ranks(ids, longest, on_round)
    order = np.argsort(levels[-1][:-1], kind="stable")  # begins of suffixes
    place_of = np.empty_like(order)
    place_of[order] = np.arange(len(order))
    return [_longest(levels, order, place_of, *piece) for piece in pieces]


def _ranks(ids: Ints, longest: int, on_round: Told | None) -> list[Ints]:
    """Return the ranks of all suffixes by their first 2^k tokens for k = 0, 1, …, 2^k >= longest.

    A suffix that ends earlier is like no other. The rank -1 stands behind the last token.
    """
    distinct, rank = np.unique(ids, return_inverse=True)
    n_ranks, rounds = len(distinct), max(0, longest - 1).bit_length()
    levels: list[Ints] = [np.append(rank, -1).astype(np.int32)]
    for done in range(rounds):
        if n_ranks == len(ids):
            break
        step = 2**done
        pairs = levels[-1][:-1] * np.int64(n_ranks + 1)
        pairs[:-step] += levels[-1][step:-1] + 1
        distinct, rank = np.unique(pairs, return_inverse=True)
        n_ranks = len(distinct)
        levels.append(np.append(rank, -1).astype(np.int32))
        if on_round:
            on_round(done + 1, rounds)
    if on_round:
        on_round(rounds, rounds)
    return levels


def _longest(
    levels: list[Ints], order: Ints, place_of: Ints, piece: Span, left_out: Sequence[Span]
) -> int:
    """Return the longest run of one piece: each of its suffixes is held against two neighbours."""
    own = np.arange(*piece)
    hidden = np.unique(np.concatenate([place_of[first:last] for first, last in left_out]))
    # The nearest places that are not hidden lie around each run of consecutive hidden ones.
    begins = np.flatnonzero(np.diff(hidden, prepend=-2) > 1)
    run = np.searchsorted(hidden[begins], place_of[own], side="right") - 1
    ends = np.append(begins[1:], len(hidden)) - 1
    longest = 0
    for place in (hidden[begins] - 1, hidden[ends] + 1):
        neighbour = place[run]
        exists = (neighbour >= 0) & (neighbour < len(order))
        here, there = own[exists], order[neighbour[exists]]
        shared = np.minimum(_common(levels, here, there), piece[1] - here)
        longest = max(longest, int(shared.max(initial=0)))
    return longest


def _common(levels: list[Ints], a: Ints, b: Ints) -> Ints:
    """Return how many tokens the suffixes that begin at `a` and at `b` have in common."""
    shared = np.zeros_like(a)
    for k in reversed(range(len(levels))):
        same = levels[k][a + shared] == levels[k][b + shared]
        shared += same << np.int64(k)
    return shared
