"""Does a log of draws go through the text in passes, and where does one pass end?

Statistics that tell draws in order, draws in blocks and shuffled passes from independent draws.
"""

import math

import numpy as np

from gptcore.audit.counts import Windows, count_repeats, expect_repeats
from gptcore.audit.log import Whole

# Standard deviations from independent draws at which a log is taken for passes over the text; the
# second where all starts ascend, or not half of the expected repeats are there, as in short logs.
PASSES_Z = 4.5
CLEAR_PASSES_Z = 3.0


def count_places(start: Whole, group: Whole, n_starts: int) -> Whole:
    """Return, for each group, the windows on the coarsest grid s + k·S that has all its starts."""
    order = np.lexsort((start, group))
    start, group = start[order], group[order]
    bounds = np.flatnonzero(np.concatenate([[True], group[1:] != group[:-1]]))
    steps = np.diff(start, prepend=start[0])
    steps[bounds] = 0
    stride = np.gcd.reduceat(steps, bounds)
    grid = np.maximum(stride, 1)
    places = np.where(stride > 0, (n_starts - 1 - start[bounds] % grid) // grid + 1, 1)
    full = np.ones(int(group[-1]) + 1, dtype=np.int64)
    full[group[bounds]] = places
    return full


def ascent_z(start: Whole, group: Whole) -> float:
    """Return by how many sd the starts of the groups ascend more often than in random order.

    Equal neighbours count as half; K values in random order have (K - 1)/2 ascents on average,
    with variance (K + 1)/12.
    """
    sizes = np.bincount(group)
    variance = float((sizes[sizes > 1] + 1).sum()) / 12
    return float(np.sign(_steps(start, group)).sum()) / 2 / math.sqrt(variance) if variance else 0.0


def ascend(start: Whole, group: Whole) -> bool:
    """Return whether more than three of four neighbours in a group do not descend."""
    steps = _steps(start, group)
    return bool(4 * int((steps >= 0).sum()) > 3 * len(steps))


def _steps(start: Whole, group: Whole) -> Whole:
    """Return from each start to the next of its group, group by group."""
    order = np.argsort(group, kind="stable")
    steps: Whole = np.diff(start[order])[np.diff(group[order]) == 0]
    return steps


def count_grid(windows: Windows, n_starts: int) -> tuple[int, int]:
    """Return the windows on the coarsest grid that has all starts, and its stride, 0 for one."""
    stride = int(np.gcd.reduce(windows.start - windows.start[0]))
    places = count_places(windows.start, np.zeros_like(windows.start), n_starts)
    return max(int(places[0]), len(windows)), stride


def are_fixed(windows: Windows, n_starts: int) -> bool:
    """Return whether the windows lie on a grid, or side by side with hardly an overlap."""
    between = windows.start[1:] - (windows.start + windows.length)[:-1]
    overlapping = int(np.count_nonzero(between < 0))
    return count_grid(windows, n_starts)[1] > 1 or 20 * overlapping <= len(windows)


def are_blocks(windows: Windows, n_starts: int) -> bool:
    """Return whether windows are fixed and not only few: on a grid, or close to the next one.

    Random windows that hardly overlap are far apart.
    """
    between = windows.start[1:] - (windows.start + windows.length)[:-1]
    close = int(np.count_nonzero(between < windows.length.max()))
    on_grid = count_grid(windows, n_starts)[1] > 1
    return on_grid or (are_fixed(windows, n_starts) and 2 * close > len(between))


def nearby_overlap_z(start: Whole, stream: Whole, n_starts: int, block_size: int) -> float:
    """Return by how many sd draws soon after each other overlap less than independent ones.

    Pairs up to a quarter of a pass over the text apart are compared, at most 32 draws. Two
    independent uniform starts are less than T apart with probability (M(2T - 1) - T(T - 1))/M²,
    those on one grid of stride T or more with one over its places.
    """
    order = np.argsort(stream, kind="stable")
    start, stream = start[order], stream[order]
    stride = int(np.gcd.reduce(start - start[0]))
    width = min(block_size, n_starts)
    near = (n_starts * (2 * width - 1) - width * (width - 1)) / n_starts**2
    if stride >= block_size:
        near = 1 / ((n_starts - 1 - int(start[0]) % stride) // stride + 1)
    pairs = close = 0
    for lag in range(1, 1 + min(32, n_starts // (4 * block_size), len(start) - 1)):
        same = stream[lag:] == stream[:-lag]
        pairs += int(np.count_nonzero(same))
        close += int(np.count_nonzero(same & (np.abs(start[lag:] - start[:-lag]) < block_size)))
    spread = math.sqrt(pairs * near * (1 - near))
    return (pairs * near - close) / spread if spread else 0.0


def are_passes(start: Whole, window: Whole, stream: Whole, n_starts: int, block_size: int) -> bool:
    """Return whether the streams run over the text in passes rather than draw independently.

    They do if they ascend, if draws soon after each other overlap less than independent ones, or if
    fewer windows repeat than independent draws from the grid would.
    """
    descents = np.count_nonzero(_steps(start, stream) < 0)
    if ascent_z(start, stream) > (PASSES_Z if descents else CLEAR_PASSES_Z):
        return True
    if nearby_overlap_z(start, stream, n_starts, block_size) > PASSES_Z:
        return True
    mean, variance = expect_repeats(np.bincount(stream), count_places(start, stream, n_starts))
    spread = float(variance.sum())
    expected, repeats = float(mean.sum()), int(count_repeats(window, stream).sum())
    beyond = CLEAR_PASSES_Z if 2 * repeats < expected else PASSES_Z
    return spread > 0 and expected - repeats > beyond * math.sqrt(spread)


def find_pass(window: Whole) -> int | None:
    """Return P, the draws in a pass, where the log is passes of P draws without a repeat.

    P is more than two thirds of the distinct windows, as with drop_last a pass leaves some out. A
    log without repeats is one pass. A second pass that the log cuts short must return to windows
    of the first. A log that goes on from the middle of its first pass, or goes through it again
    and then further, was restarted: it has no P.

    Args:
        window: int64 of shape (K,), indices of windows.
    """
    n_draws = len(window)
    order = np.argsort(window, kind="stable")
    again = window[order][1:] == window[order][:-1]
    now, before = order[1:][again], order[:-1][again]
    if not len(now):
        return n_draws
    first, distinct = int(now.min()), n_draws - len(now)
    if _is_restarted(window, first, int(before[now.argmin()]), distinct):
        return None
    tight = np.argsort(now - before, kind="stable")[:1000]
    shortest = 2 * distinct // 3 + 1
    for upper in range(first, shortest - 1, -1000):
        sizes = np.arange(upper, max(upper - 1000, shortest - 1), -1)
        fits = (now[tight] // sizes[:, None] > before[tight] // sizes[:, None]).all(axis=1)
        for size in sizes[fits].tolist():
            if (now // size > before // size).all():
                rest = window[size:]
                returns = 2 * int(np.isin(rest, window[:size]).sum()) > len(rest)
                return size if returns else None
    return None


def cut_ordered(window: Whole) -> Whole | None:
    """Return the epoch of each draw where a stream reads its windows in order, several times over.

    An epoch begins where the first window follows the last one. Any other step back is a restart
    inside an epoch, and a leap over half of the windows or more one that goes back into the epoch
    before. None if the stream is not in order, has one epoch, or leaves out a window in an epoch
    before the last.

    Args:
        window: int64 of shape (K,), indices of windows.
    """
    distinct, place = np.unique(window, return_inverse=True)
    steps = np.diff(place)
    begins = (place[1:] == 0) & (place[:-1] == len(distinct) - 1) & (steps < 0)
    leaps = (steps > 1) & (2 * steps >= len(distinct))
    regular = int(np.count_nonzero(begins | (steps == 1)))
    if not begins.any() or ((steps >= 0) & (steps != 1) & ~leaps).any():
        return None
    epoch = np.concatenate([[0], np.cumsum(begins.astype(np.int64) - leaps)])
    if int(epoch.min()) < 0 or 4 * regular <= 3 * len(steps):
        return None
    shown = np.unique(epoch * len(distinct) + place) // len(distinct)
    return epoch if (np.bincount(shown)[:-1] == len(distinct)).all() else None


def _is_restarted(window: Whole, first: int, earlier: int, distinct: int) -> bool:
    """Return whether the draws from the first repeat on are those from `earlier` up to there."""
    run = first - earlier
    same = run > 2 and np.array_equal(window[first : first + run], window[earlier:first])
    return same and (earlier > 0 or distinct > first)
