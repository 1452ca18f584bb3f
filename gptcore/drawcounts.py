"""Exact counts over a log of draws, and what chance alone would make of them.

Legend: N tokens, K draws, T inputs in the longest window, M = N - T starts. A window is a pair
(start, length); its targets are start + 1, …, start + length. A stream is what one rank drew in
one epoch. Memory and time depend on K and never on N.
"""

import itertools
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gptcore.drawlog import DrawLog, Whole

Mask = npt.NDArray[np.bool_]

# A repeated run counts as a replay if chance makes fewer than this many in the whole log.
CHANCE_REPLAYS = 1e-3
# Standard deviations from independent draws at which a log is taken for passes over the text; the
# second where all starts ascend, or not half of the expected repeats are there, as in short logs.
PASSES_Z = 4.5
CLEAR_PASSES_Z = 3.0


@dataclass(frozen=True, eq=False)
class Windows:
    """The distinct windows of a log, in order of start and length.

    Attributes:
        of_draw: int64 of shape (K,), the index of each draw's window.
        start: int64 of shape (D,).
        length: int64 of shape (D,).
    """

    of_draw: Whole
    start: Whole
    length: Whole

    def __len__(self) -> int:
        return len(self.start)


@dataclass(frozen=True)
class Shown:
    """Targets that no window shows, and where they are.

    Attributes:
        head: those before the first target shown.
        tail: those after the last target shown.
        borders: those between neighbouring windows that leave out the same few, every time.
        inside: all others.
        border: (start, length, targets left out) of the first such neighbour, or None.
    """

    head: int
    tail: int
    borders: int
    inside: int
    border: tuple[int, int, int] | None

    @property
    def missed(self) -> int:
        """All of them."""
        return self.head + self.tail + self.borders + self.inside


def find_windows(log: DrawLog) -> Windows:
    """Return the distinct windows of a log."""
    base = int(log.length.max()) + 1
    if base == int(log.length.min()) + 1:
        start, of_draw = np.unique(log.start, return_inverse=True)
        return Windows(of_draw, start, np.full(len(start), base - 1, dtype=np.int64))
    if log.n_tokens * base >= 2**63:
        raise ValueError(f"windows of up to {base - 1} in {log.n_tokens} tokens: too large to tell")
    keys, of_draw = np.unique(log.start * base + log.length, return_inverse=True)
    return Windows(of_draw, *np.divmod(keys, base))


def count_missed(windows: Windows, n_tokens: int) -> Shown:
    """Return the targets never shown.

    Neighbours are windows next to each other in order of start, close ones if they start less than
    2T apart. Targets are lost at borders if the same one or two lie between more than half of all
    close neighbours, and random windows, which leave gaps of all sizes, would do that less than
    once in 1,000 logs; or if one lies between any two neighbours.
    """
    reach = np.maximum.accumulate(windows.start + windows.length)
    between = windows.start[1:] - reach[:-1]
    head, tail = int(windows.start[0]), n_tokens - 1 - int(reach[-1])
    gaps = int(between.clip(0).sum())
    block_size = int(windows.length.max())
    close = between[between < block_size]
    for size in (1, 2):
        count = int(np.count_nonzero(close == size))
        chance = len(close) * math.log(2) - count * math.log(2 * block_size - 1)
        rare = chance < math.log(1e-3) and 2 * count > len(close)
        if size < block_size and (rare or (size == 1 and 0 < count == len(between))):
            at = int((between == size).argmax())
            border = int(windows.start[at]), int(windows.length[at]), size
            return Shown(head, tail, size * count, gaps - size * count, border)
    return Shown(head, tail, 0, gaps, None)


def count_shown_twice(log: DrawLog, epoch: Whole) -> int:
    """Return the targets in two or more windows of one epoch, summed over epochs."""
    n_epochs = int(epoch.max()) + 1
    if n_epochs * log.n_tokens >= 2**62:
        raise ValueError(
            f"{n_epochs} epochs of {log.n_tokens} tokens: too many to lay side by side"
        )
    begin = epoch * log.n_tokens + log.start  # epochs side by side on one axis
    order = np.argsort(begin, kind="stable")
    begin, end = begin[order], (begin + log.length)[order]
    reach = np.maximum.accumulate(end)
    again = np.minimum(end[1:], reach[:-1])  # begin + 1, …, again: shown before, and here
    counted = np.maximum.accumulate(np.concatenate([begin[:1], again[:-1]]))
    return int((again - np.maximum(begin[1:], counted)).clip(0).sum())


def count_repeats(window: Whole, group: Whole) -> Whole:
    """Return, for each group (stream, epoch), its draws minus its distinct windows."""
    keys = np.sort(group * (int(window.max()) + 1) + window)
    again = keys[1:][keys[1:] == keys[:-1]] // (int(window.max()) + 1)
    return np.bincount(again, minlength=int(group.max()) + 1)


def find_rank_overlap(window: Whole, epoch: Whole, rank: Whole) -> tuple[int, Mask]:
    """Return the windows shown by two ranks or more in one epoch, summed over epochs.

    And which draws repeat a window that another rank was the first to show in that epoch.
    """
    n_ranks, n_windows = int(rank.max()) + 1, int(window.max()) + 1
    shown = epoch * n_windows + window
    _, first, of_draw = np.unique(shown, return_index=True, return_inverse=True)
    keys = np.sort(of_draw * n_ranks + rank)
    distinct = keys[np.concatenate([[True], keys[1:] != keys[:-1]])]
    ranks_of = np.bincount(distinct // n_ranks, minlength=len(first))
    marked: Mask = (ranks_of[of_draw] > 1) & (rank != rank[first][of_draw])
    return int(np.count_nonzero(ranks_of > 1)), marked


def find_identical_epochs(window: Whole, epoch: Whole, rank: Whole) -> list[tuple[int, int]]:
    """Return (epoch, earlier epoch) where all ranks made the same draws, two or more, in order."""
    order = np.lexsort((rank, epoch))
    cuts = np.flatnonzero(np.diff(epoch[order])) + 1
    bounds = [0, *cuts.tolist(), len(order)]
    draws = np.stack([window[order], rank[order]], axis=1)
    earlier: dict[bytes, int] = {}
    pairs = []
    for i, (begin, end) in enumerate(itertools.pairwise(bounds)):
        if end - begin > 1:
            first = earlier.setdefault(draws[begin:end].tobytes(), i)
            if first != i:
                pairs.append((i, first))
    return pairs


def find_replays(window: Whole, group: Whole, run: int) -> tuple[Mask, tuple[int, int] | None]:
    """Return which draws belong to a run of `run` draws or more made before in the same group.

    Runs are compared window by window (by doubling: no hash). The earlier run ends before the
    later one begins. Also returns the first (draw, earlier draw) that begins such a run.
    """
    marked = np.zeros(len(window), dtype=bool)
    order = np.argsort(group, kind="stable")
    keys = group * (int(window.max()) + 1) + window
    gram = np.unique(keys[order], return_inverse=True)[1]
    if len(gram) < 2 * run or int(gram.max()) + 1 == len(gram):
        return marked, None
    size = 1
    while size < run:
        step = min(size, run - size)
        paired = gram[:-step] * (int(gram.max()) + 1) + gram[step:]
        gram, size = np.unique(paired, return_inverse=True)[1], size + step
    first = np.unique(gram, return_index=True)[1][gram]
    at = np.flatnonzero(np.arange(len(gram)) - first >= run)
    if not len(at):
        return marked, None
    change = np.zeros(len(window) + 1, dtype=np.int64)
    change[at] += 1
    change[at + run] -= 1
    marked[order] = np.cumsum(change[:-1]) > 0
    return marked, (int(order[at[0]]), int(order[first[at[0]]]))


def chance_run(draws: int, n_windows: int) -> int:
    """Return the shortest run, 2 or more, that K independent draws repeat less than 1e-3 times."""
    if n_windows == 1:
        return draws
    pairs = 2 * math.log(draws) - math.log(2 * CHANCE_REPLAYS)
    return max(2, math.ceil(pairs / math.log(n_windows)))


def expect_repeats(
    draws: npt.ArrayLike, n_windows: npt.ArrayLike
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return mean and variance of draws minus distinct, for independent uniform draws.

    The mean is exact, K - n(1 - (1 - 1/n)^K); the variance is the occupancy limit
    n·e^-a (1 - (1 + a)e^-a), a = K/n (Weiss 1958).
    """
    k, n = np.asarray(draws, dtype=np.float64), np.asarray(n_windows, dtype=np.float64)
    with np.errstate(divide="ignore"):
        mean = k + n * np.expm1(k * np.log1p(-1 / n))
    load = k / n
    empty = np.exp(-load)
    return mean, n * empty * (-np.expm1(-load) - load * empty)


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
