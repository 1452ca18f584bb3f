"""Random numbers and random orders as functions of a key and an index; nothing is stored.

A key is a 64-bit number, and numbers of one key are independent of those of another. An order of
[0, n) is a keyed bijection: each number is two halves, high and low, and in turn each half is
shifted by a random function of the other (a Feistel network). A result that is not below n goes
through the network again, until it is (cycle walking). So the number at one place of an order, and
the place of one number, cost the same for any n. grain's index shuffle is built in the same way.

All functions take arrays of int64 or uint64 and return new ones; keys may differ from one element
to the next.
"""

import numpy as np
import numpy.typing as npt

from gptcore.sampling.windows import Starts

Words = npt.NDArray[np.uint64]
Numbers = Starts | Words | int

STEP = np.uint64(0x9E3779B97F4A7C15)
"""2⁶⁴/φ, φ the golden ratio, rounded to an odd number."""
ROUNDS, ROUNDS_OF_FEW, FEW = 10, 24, 2**12
"""Rounds of the network, and rounds where n is less than FEW: few numbers need more rounds until
all orders are equally likely (docs/decisions/0054-orders-from-keys.md has the measurements)."""
_ROUND_KEYS = [np.uint64(i * int(STEP) % 2**64) for i in range(ROUNDS_OF_FEW)]


def mix(words: Words) -> Words:
    """Return words that look independent of each other: the output function of SplitMix64."""
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))


def make_keys(seed: int, use: int, numbers: Starts) -> Words:
    """Return the keys of epochs with these numbers, for one of several uses of a seed.

    Args:
        seed: at most `base.LARGEST_SEED`, so that it and `use` are one word.
        use: what the keys are for, from 0 on.
        numbers: (n,), each 0 or more.
    """
    begin = mix(np.array([seed | use << 32], dtype=np.uint64) + STEP)
    return mix(begin + numbers.astype(np.uint64) * STEP)


def draw_below(keys: Words, index: Numbers, sizes: Numbers) -> Starts:
    """Return the number of a key at an index: uniform in [0, size), as SplitMix64 draws it."""
    places = np.atleast_1d(np.asarray(index)).astype(np.uint64)
    return scale(mix(keys + (places + np.uint64(1)) * STEP), sizes)


def scale(points: Words, size: Numbers) -> Starts:
    """Return ⌊points·size / 2⁶⁴⌋, the high half of a 128-bit product, from 32-bit halves."""
    low, half = np.uint64(2**32 - 1), np.uint64(32)
    sizes = np.asarray(size).astype(np.uint64)
    size_high, size_low = sizes >> half, sizes & low
    high, rest = points >> half, points & low
    middle = high * size_low + ((rest * size_low) >> half)
    other = rest * size_high + (middle & low)
    scaled: Starts = (high * size_high + (middle >> half) + (other >> half)).astype(np.int64)
    return scaled


def permute(
    places: Starts, n: int, keys: Words, *, among: Numbers | None = None, inverse: bool = False
) -> Starts:
    """Return the numbers at these places of the random order of [0, n) that a key stands for.

    Args:
        places: (k,), each in [0, among).
        n: from 1 to 2⁶².
        keys: (k,) or (1,).
        among: how many numbers the order has, from 1 to n; n unless given. It may differ from one
            place to the next.
        inverse: return the places of these numbers instead.
    """
    words = places.astype(np.uint64)
    sizes = np.broadcast_to(
        np.asarray(n if among is None else among).astype(np.uint64), words.shape
    )
    keys = np.broadcast_to(keys, words.shape)
    words = _network(words, n, keys, inverse)
    outside = np.flatnonzero(words >= sizes)
    while outside.size:
        words[outside] = _network(words[outside], n, keys[outside], inverse)
        outside = outside[words[outside] >= sizes[outside]]
    return words.astype(np.int64)


def place_without(
    places: Starts, holes: Starts, n: int, rows: Numbers = 0, hole_rows: Numbers = 0
) -> Starts:
    """Return the numbers at these places of 0, …, n - 1 when some of them are left out.

    Args:
        places: (k,).
        holes: (h,), the numbers that are left out, in any order.
        n: larger than all of these.
        rows: (k,), where several rows of numbers have other holes, the row of each place.
        hole_rows: (h,), the row of each hole.
    """
    holes = np.sort(holes + np.asarray(hole_rows) * n)
    begins = np.searchsorted(holes, np.arange(int(np.max(rows, initial=0)) + 1) * n)
    # Before hole j of a row there are j holes and all places below its number less j.
    below = holes - (np.arange(len(holes)) - begins[holes // n])
    before = np.searchsorted(below, places + np.asarray(rows) * n, side="right") - begins[rows]
    return np.asarray(places + before)


def _network(words: Words, n: int, keys: Words, inverse: bool) -> Words:
    """Send words through the network on pairs of a high half in [0, h) and one of `bits` bits.

    There are h·2^bits pairs: at least n, and less than n + 2^bits.
    """
    bits = max(1, (n - 1).bit_length() // 2)
    shift, low_mask, highs = np.uint64(bits), np.uint64(2**bits - 1), np.uint64(-(-n >> bits))
    high, low = words >> shift, words & low_mask
    rounds = range(ROUNDS_OF_FEW if n < FEW else ROUNDS)
    for number in reversed(rounds) if inverse else rounds:
        key = keys + _ROUND_KEYS[number]
        if number % 2:
            moved = mix(high ^ key) >> np.uint64(64 - bits)
            low = (low - moved if inverse else low + moved) & low_mask
        else:
            moved = ((mix(low ^ key) >> np.uint64(32)) * highs) >> np.uint64(32)
            high = high + (highs - moved if inverse else moved)
            high -= highs * (high >= highs)
    return (high << shift) | low
