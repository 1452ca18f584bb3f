"""Does a log of draws go through the text in passes?

Two questions are answered in turn: whether the windows lie on a grid, and whether the draws are
ordered or spread more evenly than independent ones.
Legend as in `counts`: K draws, T inputs in the longest window, M = N - T starts.
"""

import math
import sys

import numpy as np
from scipy.special import gammaincc

from gptcore.audit.counts import Windows, count_repeats, expect_repeats
from gptcore.audit.labels import (
    Mask,
    by_group,
    count_distinct,
    equals_next,
    group_sizes,
    renumber,
    sort_order,
)
from gptcore.audit.log import DrawLog, Whole
from gptcore.audit.visits import count_pairs, expect_pairs, log10_chance_of_equal_visits

# A log is taken for passes over the text if it lies this many standard deviations from independent
# draws. CLEAR_PASSES_Z is enough where all starts ascend, or where less than half of the expected
# repeats occur, as in short logs. Equal visits of all windows are taken for passes where their
# chance is less than 1 in 100,000.
PASSES_Z = 4.5
CLEAR_PASSES_Z = 3.0
LOG10_EQUAL_VISITS = -5
# The smallest distance between starts that spread evenly, in mean distances, and how seldom the
# smallest distance between independent starts is as large as the one that was found.
SPREAD, SPREAD_ON_GRID, LARGEST = 0.17, 0.4, 3.2
FEWEST_SPREAD, FEWEST_ON_GRID, AT_MOST_SPREAD, CHANCE_SPREAD = 5, 80, 2**16, 1e-4
FEWEST_BY_LENGTH = 8
# Draws in a row without a repeat are taken for a pass where their chance is less than 1 in 10^6.
LOG10_NO_REPEATS = -6
AT_MOST, AT_MOST_ROWS = 2**20, 2**14  # draws in which the longest row, and all rows, are looked for


# --- do the windows lie on a grid? -----------------------------------------------------------


def count_places(start: Whole, group: Whole, n_starts: int) -> Whole:
    """Return, for each group, the windows on the coarsest grid s + k·S that has all its starts."""
    order = by_group(group)
    start, group = start[order], group[order]
    bounds = np.flatnonzero(np.concatenate([[True], group[1:] != group[:-1]]))
    # S is the greatest common divisor of the distances between the starts of a group.
    steps = np.zeros_like(start)
    np.subtract(start[1:], start[:-1], out=steps[1:])
    steps[bounds] = 0
    stride = np.gcd.reduceat(steps, bounds)
    grid = np.maximum(stride, 1)
    # Short windows at the end of the text start after the last place of the longest ones.
    places = np.where(stride > 0, (n_starts - 1 - start[bounds] % grid) // grid + 1, 1).clip(1)
    full = np.ones(int(group[-1]) + 1, dtype=np.int64)
    full[group[bounds]] = places
    return full


def count_grid(windows: Windows, n_starts: int) -> tuple[int, int]:
    """Return the windows on the coarsest grid that has all starts, and S; S = 0 for one start.

    Windows that lie side by side without a grid, as documents do, are counted with those that would
    fill the gaps between them.
    """
    if windows.stride == 1 and are_blocks(windows):
        gaps = windows.neighbours[2] / float(windows.length.mean())
        return len(windows) + round(gaps), windows.stride
    grid = max(windows.stride, 1)
    places = (n_starts - 1 - int(windows.start[0]) % grid) // grid + 1 if windows.stride else 1
    return max(places, len(windows)), windows.stride


def are_fixed(windows: Windows) -> bool:
    """Return whether the windows lie on a grid, or side by side with hardly an overlap."""
    return windows.stride > 1 or 20 * windows.neighbours[0] <= len(windows)


def are_spread(log: DrawLog, windows: Windows) -> bool:
    """Return whether the starts spread evenly over the text from the first draw on.

    So do multiples of the golden ratio and van der Corput's sequence: no two of the first k starts
    are close to each other or far apart. The smallest of their k distances on the circle, in mean
    distances, is 0.45 or more, and the largest 2 or less; 0.19 and 2.95 where the log begins inside
    a sequence. Among k independent uniform starts
    it is above x with probability (1 - x)^(k - 1) (Lévy 1939). A shuffled pass has neighbours among
    its first draws, so four beginnings of the log are looked at. Van der Corput's starts are on a
    grid if M is divisible by a power of two; more is asked of starts on a grid.
    """
    on_grid = 1 < windows.stride <= log.block_size + 2
    k, distances, largest = min(len(log), log.n_starts // 8, AT_MOST_SPREAD), [], [0.0]
    for draws in (k, k // 2, k // 4, k // 8):
        if draws >= FEWEST_SPREAD:
            starts = np.sort(log.start[:draws])
            between = np.diff(starts, append=starts[0] + log.n_starts)
            distances.append(float(between.min()) * draws / log.n_starts)
            largest.append(float(between.max()) * draws / log.n_starts)
    if not distances or min(distances) < (SPREAD_ON_GRID if on_grid else SPREAD):
        return False
    if max(largest) > LARGEST or (on_grid and k < FEWEST_ON_GRID):
        return False
    return (k - 1) * math.log1p(-min(distances[0], 0.99)) < math.log(CHANCE_SPREAD)


def are_blocks(windows: Windows) -> bool:
    """Return whether the windows lie on a grid, or side by side and close to each other.

    A few random windows hardly overlap either, but they are far apart.
    """
    close = 2 * windows.neighbours[1] > len(windows) - 1
    return windows.stride > 1 or (are_fixed(windows) and close)


# --- are the draws passes over the text? -----------------------------------------------------


def are_passes(log: DrawLog, windows: Windows, stream: Whole, chosen: Mask) -> bool:
    """Return whether the streams pass over the text rather than draw independently.

    They do if their starts ascend, if draws soon after each other overlap less than independent
    ones, or if the windows are visited more evenly than independent draws from the grid would.

    Args:
        log: the draws.
        windows: the distinct windows of the log.
        stream: int64 of shape (K,), the stream of each draw.
        chosen: bool of shape (K,), the draws to look at.
    """
    start, window = log.start, windows.of_draw
    if not chosen.all():
        start, window, stream = start[chosen], window[chosen], stream[chosen]
    stream = renumber(stream)
    descents = np.count_nonzero(_steps(start, stream) < 0)
    if ascent_z(start, stream) > (PASSES_Z if descents else CLEAR_PASSES_Z):
        return True
    if nearby_overlap_z(start, stream, log.n_starts, log.block_size) > PASSES_Z:
        return True
    places = count_places(start, stream, log.n_starts)
    if windows.stride == 1 and are_blocks(windows):
        places[:] = count_grid(windows, log.n_starts)[0]
    return are_even(window, stream, places)


def are_even(window: Whole, stream: Whole, places: Whole) -> bool:
    """Return whether the streams visit their windows more evenly than independent draws would.

    Args:
        window: int64 of shape (K,), indices of windows.
        stream: int64 of shape (K,), the stream of each draw, numbered from 0.
        places: windows that each stream may choose from.
    """
    draws, pairs = group_sizes(stream), count_pairs(window, stream)
    # Repeats say most where few windows are shown twice, pairs where all are shown several times.
    for count, (mean, variance) in (
        (count_repeats(window, stream).sum(), expect_repeats(draws, places)),
        (pairs.sum(), expect_pairs(draws, places)),
    ):
        expected, spread = float(mean.sum()), float(variance.sum())
        beyond = CLEAR_PASSES_Z if 2 * count < expected else PASSES_Z
        if spread > 0 and expected - count > beyond * math.sqrt(spread):
            return True
    if log10_chance_of_no_repeats(window, stream, places) < LOG10_NO_REPEATS:
        return True
    # These are rough in short streams. Are all visits equal?
    k = draws // places
    exact = (k > 0) & (draws == k * places) & (pairs == places * k * (k - 1) / 2)
    chances = [
        log10_chance_of_equal_visits(int(k[i]), int(places[i])) for i in np.flatnonzero(exact)
    ]
    return bool(exact.all()) and sum(chances) < LOG10_EQUAL_VISITS


def log10_chance_of_no_repeats(window: Whole, stream: Whole, places: Whole) -> float:
    """Return log10 of the chance that independent draws come in such long rows without a repeat.

    The birthday problem: L independent uniform draws from n windows are distinct with probability
    n!/((n - L)! n^L). Two tests use it, and the smaller chance counts. The longest row may begin at
    any of the K draws (Bonferroni). Rows that each end before their first repeat are independent,
    so Fisher's method combines their chances. Thus parts of an epoch tell a pass, even where the
    rest was drawn by another plan.

    Args:
        window: int64 of shape (K,), indices of windows.
        stream: int64 of shape (K,), the stream of each draw, numbered from 0.
        places: windows that each stream may choose from.
    """
    window, stream = window[:AT_MOST], stream[:AT_MOST]
    order = by_group(stream)
    window, stream = window[order], stream[order]
    row = longest_row(window, stream)
    begins = np.flatnonzero(np.diff(stream, prepend=-1))
    longest = np.maximum.reduceat(row, begins) if len(row) else row
    pairs = set(zip(longest.tolist(), places[stream[begins]].tolist(), strict=True))
    best = min((log_distinct(length, n) for length, n in pairs), default=0.0)
    best += math.log(max(len(window), 1))
    begins = rows_without_repeats(row[:AT_MOST_ROWS])
    sizes = np.diff(begins, append=len(row[:AT_MOST_ROWS]))
    total = sum(
        log_distinct(int(size), int(places[stream[at]]))
        for at, size in zip(begins, sizes, strict=True)
    )
    together = max(float(gammaincc(len(begins), -total)), sys.float_info.min)  # Fisher 1932
    return min(best, math.log(together)) / math.log(10)


def log_distinct(length: int, n: int) -> float:
    """Return log P(so many independent uniform draws from n windows are distinct)."""
    if length > n:
        return 0.0  # there are more windows than was thought
    return math.lgamma(n + 1) - math.lgamma(n - length + 1) - length * math.log(n)


def rows_without_repeats(row: Whole) -> Whole:
    """Return where rows of draws begin if each ends before its first repeat.

    Args:
        row: int64 of shape (K,), the result of `longest_row`.
    """
    first = np.arange(1, len(row) + 1) - row
    begins = [0]
    while (after := int(np.searchsorted(first, begins[-1], side="right"))) < len(row):
        begins.append(after)
    return np.array(begins)


def longest_row(window: Whole, stream: Whole) -> Whole:
    """Return how many draws up to each one, in the same stream, show distinct windows."""
    key = stream * (int(window.max(initial=0)) + 1) + window
    order = sort_order(key)
    again = np.flatnonzero(equals_next(key, order))
    first = np.zeros(len(window), dtype=np.int64)  # the first draw of the row
    first[order[again + 1]] = order[again] + 1
    begins = np.flatnonzero(np.diff(stream, prepend=-1))
    first[begins] = np.maximum(first[begins], begins)
    row: Whole = np.arange(1, len(window) + 1) - np.maximum.accumulate(first)
    return row


def ascent_z(start: Whole, group: Whole) -> float:
    """Return by how many sd the starts of the groups ascend more often than in random order.

    Equal neighbours count as half an ascent. K values in random order have (K - 1)/2 ascents on
    average, with variance (K + 1)/12.
    """
    sizes = group_sizes(group)
    variance = float((sizes[sizes > 1] + 1).sum()) / 12
    steps = _steps(start, group)
    ascents = np.count_nonzero(steps > 0) - np.count_nonzero(steps < 0)
    return ascents / 2 / math.sqrt(variance) if variance else 0.0


def nearby_overlap_z(start: Whole, stream: Whole, n_starts: int, block_size: int) -> float:
    """Return by how many sd draws soon after each other overlap less than independent ones.

    The pairs compared are at most 32 draws and a quarter of a pass over the text apart. Two
    independent uniform starts are less than T apart with probability (M(2T - 1) - T(T - 1))/M². On
    a grid of stride T or more they must be equal, with probability 1 / places on the grid.
    """
    order = by_group(stream)
    start, stream = start[order], stream[order]
    # The probability that two independent draws are close to each other.
    stride = int(np.gcd.reduce(np.diff(start))) if len(start) > 1 else 0
    width = min(block_size, n_starts)
    near = (n_starts * (2 * width - 1) - width * (width - 1)) / n_starts**2
    if stride >= block_size:
        near = 1 / ((n_starts - 1 - int(start[0]) % stride) // stride + 1)
    # The number of pairs that are.
    pairs = close = 0
    for lag in range(1, 1 + min(32, n_starts // (4 * block_size), len(start) - 1)):
        same = stream[lag:] == stream[:-lag]
        pairs += int(np.count_nonzero(same))
        between = start[lag:] - start[:-lag]
        close += int(np.count_nonzero(same & (np.abs(between, out=between) < block_size)))
        del between  # before the next one is made
    spread = math.sqrt(pairs * near * (1 - near))
    return (pairs * near - close) / spread if spread else 0.0


def is_in_order(start: Whole, group: Whole) -> bool:
    """Return whether the draws of each group follow a plan rather than chance.

    More than three of four steps do not descend, or most steps are repeated, as in streams that are
    read in turns.
    """
    steps = _steps(start, group)
    ascends = 4 * int((steps >= 0).sum()) > 3 * len(steps)
    return bool(ascends or 2 * count_distinct(steps) < len(steps))


def is_by_length(length: Whole) -> bool:
    """Return whether draws come in order of their length, up or down, as in a curriculum."""
    steps = length[1:] - length[:-1]
    up, down = int(np.count_nonzero(steps > 0)), int(np.count_nonzero(steps < 0))
    return max(up, down) > FEWEST_BY_LENGTH and 5 * min(up, down) < 2 * max(up, down)


def _steps(start: Whole, group: Whole) -> Whole:
    """Return the difference from each start to the next of its group, group by group."""
    if not group.any():
        return np.diff(start)
    order = by_group(group)
    steps: Whole = np.diff(start[order])[np.diff(group[order]) == 0]
    return steps
