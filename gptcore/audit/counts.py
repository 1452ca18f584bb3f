"""Exact counts over a log of draws, and the counts that independent draws would have by chance.

Legend: N tokens, K draws, T inputs in the longest window, M = N - T starts. A window is a pair
(start, length); its targets are start + 1, …, start + length. A **stream** is what one rank drew
in one epoch. Memory and time depend on K and not on N.
"""

import itertools
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gptcore.audit.log import DrawLog, Whole

Mask = npt.NDArray[np.bool_]

# A repeated run counts as a replay if independent draws have fewer than this many in a whole log.
CHANCE_REPLAYS = 1e-3


@dataclass(frozen=True, eq=False)
class Windows:
    """The distinct windows of a log, in order of start and length.

    Attributes:
        of_draw: int64 of shape (K,), the index of the window of each draw.
        start: int64 of shape (D,), the first input of each distinct window.
        length: int64 of shape (D,), the inputs of each distinct window.
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
        head: targets before the first target that is shown.
        tail: targets after the last target that is shown.
        borders: targets between neighbouring windows that leave out the same few every time.
        inside: all other targets that are not shown.
        border: (start, length, targets left out) of the first window before such a border, or
            None.
    """

    head: int
    tail: int
    borders: int
    inside: int
    border: tuple[int, int, int] | None

    @property
    def missed(self) -> int:
        """The number of targets that no window shows."""
        return self.head + self.tail + self.borders + self.inside


def renumber(labels: Whole) -> Whole:
    """Return labels as 0, 1, …, in increasing order of the labels."""
    return np.unique(labels, return_inverse=True)[1]


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
    """Return how many targets are never shown, and where they are.

    Neighbours are windows next to each other in order of start; close neighbours leave out fewer
    than T targets. Targets are lost at borders in two cases. Either one or two targets, always the
    same number, lie between more than half of all close neighbours, and random windows, which leave
    gaps of all sizes, would do that less than once in 1,000 logs. Or exactly one target lies
    between any two neighbours.
    """
    reach = np.maximum.accumulate(windows.start + windows.length)
    between = windows.start[1:] - reach[:-1]
    head, tail = int(windows.start[0]), n_tokens - 1 - int(reach[-1])
    gaps = int(between.clip(0).sum())
    block_size = int(windows.length.max())
    close = between[between < block_size]
    for size in (1, 2):
        count = int(np.count_nonzero(close == size))
        # A bound of log P(count or more): at most 2^n patterns of n neighbours, each gap of this
        # size with probability 1/(2T - 1).
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
            f"{n_epochs} epochs of {log.n_tokens} tokens are too many to be counted: audit fewer "
            "epochs at a time"
        )
    begin = epoch * log.n_tokens + log.start  # epochs side by side on one axis
    order = np.argsort(begin, kind="stable")
    begin, end = begin[order], (begin + log.length)[order]
    reach = np.maximum.accumulate(end)
    # A window shows begin + 1, …, again for the second time or later; count each target once.
    again = np.minimum(end[1:], reach[:-1])
    counted = np.maximum.accumulate(np.concatenate([begin[:1], again[:-1]]))
    return int((again - np.maximum(begin[1:], counted)).clip(0).sum())


def count_repeats(window: Whole, group: Whole) -> Whole:
    """Return, for each group (a stream or an epoch), its draws minus its distinct windows."""
    keys = np.sort(group * (int(window.max()) + 1) + window)
    again = keys[1:][keys[1:] == keys[:-1]] // (int(window.max()) + 1)
    return np.bincount(again, minlength=int(group.max()) + 1)


def find_rank_overlap(window: Whole, epoch: Whole, rank: Whole) -> tuple[int, Mask]:
    """Return the windows shown by two or more ranks in one epoch, and the draws that do so.

    Returns:
        The number of such windows, summed over epochs; and bool of shape (K,), which draws repeat a
        window that another rank was the first to show in that epoch.
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
    """Return (epoch, earlier epoch) where all ranks made the same two or more draws in order."""
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
    """Find the runs of `run` draws or more that were made before in the same group.

    Runs are compared window by window, without a hash. The earlier run ends before the later one
    begins.

    Returns:
        Bool of shape (K,), which draws belong to such a run; and (draw, earlier draw), at which the
        first such run and the earlier one begin, or None.
    """
    marked = np.zeros(len(window), dtype=bool)
    order = np.argsort(group, kind="stable")
    keys = group * (int(window.max()) + 1) + window
    gram = np.unique(keys[order], return_inverse=True)[1]
    if len(gram) < 2 * run or int(gram.max()) + 1 == len(gram):
        return marked, None
    # Number the distinct runs, by doubling: two shorter runs that cover a run identify it.
    size = 1
    while size < run:
        step = min(size, run - size)
        paired = gram[:-step] * (int(gram.max()) + 1) + gram[step:]
        gram, size = np.unique(paired, return_inverse=True)[1], size + step
    # A run is a replay if its first occurrence ends before it begins.
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
    """Return the shortest run, 2 or more, that K independent draws hardly ever repeat.

    The expected number of repeats is less than CHANCE_REPLAYS.
    """
    if n_windows == 1:
        return draws
    pairs = 2 * math.log(draws) - math.log(2 * CHANCE_REPLAYS)
    return max(2, math.ceil(pairs / math.log(n_windows)))


def expect_repeats(
    draws: npt.ArrayLike, n_windows: npt.ArrayLike
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return mean and variance of draws minus distinct windows, for independent uniform draws.

    The mean is exact, K - n(1 - (1 - 1/n)^K); the variance is the occupancy limit
    n·e^-a (1 - (1 + a)e^-a), a = K/n (Weiss 1958).
    """
    k, n = np.asarray(draws, dtype=np.float64), np.asarray(n_windows, dtype=np.float64)
    with np.errstate(divide="ignore"):
        mean = k + n * np.expm1(k * np.log1p(-1 / n))
    load = k / n
    empty = np.exp(-load)
    return mean, n * empty * (-np.expm1(-load) - load * empty)
