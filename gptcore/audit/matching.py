"""Rows of tokens → where in the text they come from."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gptcore.audit.log import Whole

_BASE = 0x9E3779B97F4A7C15  # odd, so it has an inverse modulo 2**64
_MASK = 2**64 - 1
AT_ONCE = 2**20  # windows of the text whose hashes are held in memory

Hashes = npt.NDArray[np.uint64]
Integers = npt.NDArray[np.integer]


@dataclass(frozen=True, eq=False)
class Match:
    """Where rows of tokens come from.

    Attributes:
        starts: int64 of shape (K,), the first token of each row; -1 where the text lacks the row.
        ambiguous: bool of shape (K,), whether the tokens of a row occur at several places that the
            other rows do not tell apart.
        possible: int64, each start that an ambiguous row may have.
    """

    starts: Whole
    ambiguous: npt.NDArray[np.bool_]
    possible: Whole


def match_rows(rows: Integers, ids: Integers) -> Match:
    """Return where each row of W tokens occurs in the text.

    A row is looked up by a 64-bit rolling hash of all its tokens and then compared token by token,
    so a match is exact. If a row occurs at several places, only those count that lie on the grid
    s + k·S (S > 1) of the rows that occur at one place, unless none does. Equal rows are assigned
    to their remaining places in turn, so that two passages with the same words are not taken for
    one passage that is shown twice.

    Args:
        rows: integers of shape (K, W), 1 <= W <= N.
        ids: integers of shape (N,).

    Raises:
        ValueError: an array has another shape or type, or the rows are longer than the text.
    """
    rows, ids = _check(rows, "rows", 2), _check(ids, "ids", 1)
    width = rows.shape[1]
    if width > len(ids):
        raise ValueError(f"rows have {width} tokens and the text {len(ids)}: give the whole text")
    wanted = _row_hashes(rows)
    distinct, of_row = np.unique(wanted, return_inverse=True)
    key, order = _places(distinct, ids, width)
    bounds = np.searchsorted(key, np.arange(len(distinct) + 1))
    left, count = bounds[of_row], np.diff(bounds)[of_row]
    starts = np.full(len(rows), -1)
    starts[count > 0] = order[left[count > 0]]
    starts[~_agree(rows, ids, starts)] = -1
    # Rows that occur at several places: assign equal rows to these places.
    ambiguous = np.zeros(len(rows), dtype=bool)
    possible = [order[:0]]
    several = np.flatnonzero((count > 1) & (starts >= 0))
    if len(several):
        single = starts[(count == 1) & (starts >= 0)]
        stride = int(np.gcd.reduce(single - single[0])) if len(single) else 0
        for group in _groups(left[several]):
            members = several[group]
            options = order[left[members[0]] : left[members[0]] + count[members[0]]]
            on_grid = options[(options - single[0]) % stride == 0] if stride > 1 else options
            options = on_grid if len(on_grid) else options
            # Fewer rows than places: begin at any, so that not all stand in the first passage.
            begin = int(wanted[members[0]]) >> 33 if len(members) < len(options) else 0
            starts[members] = options[(begin + np.arange(len(members))) % len(options)]
            ambiguous[members] = len(options) > 1
            possible += [options] * (len(options) > 1)
    return Match(starts, ambiguous, np.concatenate(possible))


def _places(wanted: Hashes, ids: Integers, width: int) -> tuple[Whole, Whole]:
    """Return where windows of the text have wanted hashes, and which; part by part of the text.

    Args:
        wanted: distinct hashes, in increasing order.
        ids: the text.
        width: tokens of a window.

    Returns:
        Indices into `wanted`, in increasing order, and the first token of each window.
    """
    begins = np.zeros(2**20, dtype=bool)  # which first 20 bits a wanted hash has
    begins[wanted >> np.uint64(44)] = True
    keys, places = [np.empty(0, dtype=np.int64)], [np.empty(0, dtype=np.int64)]
    for first in range(0, len(ids) - width + 1, AT_ONCE):
        hashes = _rolling_hashes(ids[first : first + AT_ONCE + width - 1], width)
        near = np.flatnonzero(begins[hashes >> np.uint64(44)])
        key = np.searchsorted(wanted, hashes[near]).clip(max=len(wanted) - 1)
        same = wanted[key] == hashes[near]
        keys.append(key[same])
        places.append(near[same] + first)
    key = np.concatenate(keys)
    order = np.argsort(key, kind="stable")
    return key[order], np.concatenate(places)[order]


def _check(tokens: Integers, name: str, ndim: int) -> Integers:
    array = np.asarray(tokens)
    if array.ndim != ndim or array.dtype.kind not in "iu" or array.size == 0:
        raise ValueError(
            f"{name} are {array.dtype} of shape {array.shape}: "
            f"give integers in {ndim} dimension{'s' * (ndim > 1)}, not empty"
        )
    return array


def _scramble(tokens: Integers) -> Hashes:
    """Return tokens as pseudo-random 64-bit numbers (finaliser of SplitMix64)."""
    mixed = tokens.astype(np.uint64) + np.uint64(_BASE)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    return mixed ^ (mixed >> np.uint64(31))


def _powers(base: int, count: int) -> Hashes:
    """Return base^0, base^1, … modulo 2**64."""
    powers = np.full(count, base, dtype=np.uint64)
    powers[0] = 1
    return np.cumprod(powers, dtype=np.uint64)


def _row_hashes(rows: Integers) -> Hashes:
    """Return the hash of each row, Σ_k x_k·b^k modulo 2**64, of its scrambled tokens x_k."""
    hashes = np.zeros(len(rows), dtype=np.uint64)
    for column, power in zip(rows.T, _powers(_BASE, rows.shape[1]), strict=True):
        hashes += _scramble(column) * power
    return hashes


def _rolling_hashes(ids: Integers, width: int) -> Hashes:
    """Return the hash of each window: the difference of two running sums, times b^-start."""
    sums = np.zeros(len(ids) + 1, dtype=np.uint64)
    np.cumsum(_scramble(ids) * _powers(_BASE, len(ids)), out=sums[1:])
    inverse = pow(_BASE, -1, _MASK + 1)
    return (sums[width:] - sums[:-width]) * _powers(inverse, len(ids) - width + 1)


def _agree(
    rows: Integers, ids: Integers, starts: Whole, chunk: int = 4096
) -> npt.NDArray[np.bool_]:
    """Return whether each row equals the text at its start, token by token."""
    windows = np.lib.stride_tricks.sliding_window_view(ids, rows.shape[1])
    same = np.empty(len(rows), dtype=bool)
    for i in range(0, len(rows), chunk):
        part = slice(i, i + chunk)
        same[part] = (windows[starts[part].clip(0)] == rows[part]).all(axis=1)
    return same & (starts >= 0)


def _groups(keys: npt.NDArray[np.integer]) -> list[npt.NDArray[np.intp]]:
    """Return the positions of each distinct key, in order of position."""
    order = np.argsort(keys, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(keys[order])) + 1)
