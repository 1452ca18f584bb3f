"""How evenly draws visit the windows: more evenly, or less, than independent draws would?

The measure is the number of pairs of draws that show the same window, Σ v(v - 1)/2 over the visits
v of each window. K independent uniform draws from n windows have K(K - 1)/(2n) such pairs on
average, and any two pairs are independent of each other, so mean and variance are exact. Pearson's
statistic of the visits is a linear function of the pairs; unlike the number of repeated windows,
the pairs still tell something when every window has been shown many times.
"""

import math

import numpy as np
import numpy.typing as npt
from scipy.special import bdtrc

from gptcore.audit.labels import count_distinct, equals_next, sort_order
from gptcore.audit.log import Whole

MOST_TURN, MOST_REPEATS = 128, 20  # draws in a turn; at most one draw in so many is a repeat
AT_MOST, CHANCE_ECHO = 2**18, 1e-5  # draws that are compared at all lags

Floats = npt.NDArray[np.float64]


def count_pairs(window: Whole, group: Whole) -> Floats:
    """Return, for each group, the pairs of its draws that show the same window."""
    n_windows = int(window.max()) + 1
    if not group.any():
        shown = np.bincount(window)
        return np.array([(int(shown @ shown) - len(window)) / 2])
    keys = np.sort(group * n_windows + window)
    first = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]]))
    visits = np.diff(first, append=len(keys)).astype(np.float64)
    groups = int(group.max()) + 1
    return np.bincount(keys[first] // n_windows, visits * (visits - 1) / 2, groups).astype(float)


def expect_pairs(draws: npt.ArrayLike, n_windows: npt.ArrayLike) -> tuple[Floats, Floats]:
    """Return mean and variance of the pairs among independent uniform draws; both are exact."""
    k, n = np.asarray(draws, dtype=np.float64), np.asarray(n_windows, dtype=np.float64)
    pairs = k * (k - 1) / 2
    return pairs / n, pairs / n * (1 - 1 / n)


def equal_visits(window: Whole, group: Whole) -> int | None:
    """Return k where at least nine of ten windows of each group are shown exactly k times."""
    n_windows = int(window.max()) + 1
    visits = np.unique(group * n_windows + window, return_counts=True)[1]
    most = int(np.bincount(visits).argmax())
    return most if 10 * np.count_nonzero(visits == most) >= 9 * len(visits) else None


def log10_chance_of_equal_visits(k: int, n_windows: int) -> float:
    """Return log10 P(k·n independent uniform draws show each of n windows exactly k times).

    The probability is (kn)! / (k!^n · n^(kn)).
    """
    draws = k * n_windows
    log = math.lgamma(draws + 1) - n_windows * math.lgamma(k + 1) - draws * math.log(n_windows)
    return log / math.log(10)


def early_returns(window: Whole) -> tuple[int, int]:
    """Return how many repeats come within half a pass of the last one, and how many there are.

    Where one shuffled pass follows another, one repeat in eight comes so early: the difference of
    two uniform places lies below -1/2 of a pass that often. In shuffled copies of one set, or in
    streams that are mixed, it is two in five or more.
    """
    order = sort_order(window)
    again = equals_next(window, order)[:-1]
    between = (order[1:] - order[:-1])[again]
    distinct = len(window) - len(between)
    return int(np.count_nonzero(2 * between < distinct)), len(between)


def are_mixed(window: Whole) -> bool:
    """Return whether streams that each show every window once are mixed in turns of equal length.

    For some number k of streams and of draws in a turn, the first pass of each stream hardly
    repeats a window. Epochs that are shuffled together have no such turns.
    """
    distinct = int(window.max()) + 1
    most = round(len(window) / distinct)
    for k in range(2, most + 1):
        first = window[: k * distinct]
        for turn in range(1, min(MOST_TURN, distinct) + 1):
            keys = np.arange(len(first)) // turn % k * distinct + first
            if MOST_REPEATS * (len(first) - count_distinct(keys)) < len(first):
                return True
    return False


def find_echo(window: Whole, n_windows: int) -> int | None:
    """Return the lag at which draws come again far more often than independent draws would.

    Streams of the same draws, mixed in turns of b, repeat a window b draws later. Independent draws
    from n windows are equal with probability 1/n at any lag.
    """
    window = window[:AT_MOST]
    lags = range(1, min(MOST_TURN, len(window) // 2) + 1)
    equal = [int(np.count_nonzero(window[lag:] == window[:-lag])) for lag in lags]
    if not equal:
        return None
    lag = int(np.argmax(equal)) + 1
    chance = len(equal) * float(bdtrc(max(equal) - 1, len(window) - lag, 1 / n_windows))
    return lag if chance < CHANCE_ECHO else None
