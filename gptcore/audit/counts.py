"""Exact counts over a log of draws, and the counts that independent draws would have by chance.

Legend: N tokens, K draws, T inputs in the longest window, M = N - T starts. A window is a pair
(start, length); its targets are start + 1, …, start + length. A **stream** is what one rank drew
in one epoch. Memory and time depend on K and not on N.
"""

import functools
import hashlib
import itertools
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gptcore.audit.labels import (
    AT_ONCE,
    TABLE,
    Mask,
    by_group,
    distinct,
    group_sizes,
    is_sorted,
    renumber,
    sort_order,
)
from gptcore.audit.log import DrawLog, Whole

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

    @functools.cached_property
    def stride(self) -> int:
        """The greatest common divisor of the distances between starts; 0 for one start."""
        return int(np.gcd.reduce(np.diff(self.start))) if len(self) > 1 else 0

    @functools.cached_property
    def neighbours(self) -> tuple[int, int, int]:
        """How many windows overlap the next one, how many are close to it, and the gaps in tokens.

        Close windows have fewer inputs between them than the longest window has.
        """
        between = np.diff(self.start)
        between -= self.length[:-1]
        overlapping = int(np.count_nonzero(between < 0))
        close = int(np.count_nonzero(between < self.length.max()))
        return overlapping, close, int(between.clip(0, out=between).sum())


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


def find_windows(log: DrawLog) -> Windows:
    """Return the distinct windows of a log."""
    base = int(log.length.max()) + 1
    if base == int(log.length.min()) + 1:
        start, of_draw = distinct(log.start)
        return Windows(of_draw, start, np.broadcast_to(np.int64(base - 1), len(start)))
    if log.n_tokens * base >= 2**63:
        raise ValueError(f"windows of up to {base - 1} in {log.n_tokens} tokens: too large to tell")
    keys, of_draw = distinct(log.start * base + log.length)
    return Windows(of_draw, *np.divmod(keys, base))


def count_missed(windows: Windows, n_tokens: int, *, borders: bool = True) -> Shown:
    """Return how many targets are never shown, and where they are.

    Neighbours are windows next to each other in order of start; close neighbours leave out fewer
    than T targets. Targets are lost at borders in two cases. Either one or two targets, always the
    same number, lie between more than half of all close neighbours, and random windows, which leave
    gaps of all sizes, would do that less than once in 1,000 logs. Or exactly one target lies
    between any two neighbours. Without `borders`, the windows have none.
    """
    reach = windows.start + windows.length
    np.maximum.accumulate(reach, out=reach)
    head, tail = int(windows.start[0]), n_tokens - 1 - int(reach[-1])
    between = np.subtract(windows.start[1:], reach[:-1], out=reach[:-1])
    gaps = int(between.sum(where=between > 0))
    block_size = int(windows.length.max())
    close = int(np.count_nonzero(between < block_size))
    for size in (1, 2) if borders else ():
        count = int(np.count_nonzero(between == size)) if size < block_size else 0
        # A bound of log P(count or more): at most 2^n patterns of n neighbours, each gap of this
        # size with probability 1/(2T - 1).
        chance = close * math.log(2) - count * math.log(2 * block_size - 1)
        rare = chance < math.log(1e-3) and 2 * count > close
        if size < block_size and (rare or (size == 1 and 0 < count == len(between))):
            at = int((between == size).argmax())
            border = int(windows.start[at]), int(windows.length[at]), size
            return Shown(head, tail, size * count, gaps - size * count, border)
    return Shown(head, tail, 0, gaps, None)


def bound_missed(log: DrawLog, windows: Windows, shown: Shown) -> tuple[Shown, int]:
    """Return the fewest targets that may be missed, and where, and the largest number of them.

    Draws with tokens that the text holds several times may be any of its windows with these tokens.
    At best they show all of these, and at worst none that other draws do not show.
    """
    if log.unsure is None or log.possible is None:
        return shown, shown.missed
    sure = _covered(log.n_tokens, log.start[~log.unsure], log.length[~log.unsure])
    most = log.n_tokens - 1 - int(np.count_nonzero(sure))
    best = _covered(log.n_tokens, windows.start, windows.length) | log.possible[1:]
    holes = int(np.count_nonzero(~best))
    head = int(best.argmax())
    tail = int(best[::-1].argmax())
    return Shown(head, tail, 0, holes - head - tail, None), most


def _covered(n_tokens: int, start: Whole, length: Whole) -> Mask:
    """Return which of the targets 1, …, N - 1 the windows show."""
    change = np.bincount(start, minlength=n_tokens) - np.bincount(
        start + length, minlength=n_tokens
    )
    return np.asarray(np.cumsum(change)[:-1] > 0)


def count_shown_twice(log: DrawLog, epoch: Whole) -> int:
    """Return the targets in two or more windows of one epoch, summed over epochs."""
    n_epochs = int(epoch.max()) + 1
    if n_epochs * log.n_tokens >= 2**62:
        raise ValueError(
            f"{n_epochs} epochs of {log.n_tokens} tokens are too many to be counted: audit fewer "
            "epochs at a time"
        )
    begin = epoch * log.n_tokens  # epochs side by side on one axis
    begin += log.start
    same = log.length.min() == log.length.max()
    order = None if same else sort_order(begin)
    if same:
        begin.sort()
    reach = counted = int(begin.min())
    total = 0
    for first in range(0, len(begin), AT_ONCE):
        part = slice(first, first + AT_ONCE)
        start = begin[part] if order is None else begin[order[part]]
        end = start + (log.length[part] if order is None else log.length[order[part]])
        # A window shows start + 1, …, again for the second time or later; count each target once.
        reached = np.maximum.accumulate(np.append(reach, end))
        again = np.minimum(end, reached[:-1])
        done = np.maximum.accumulate(np.append(counted, again))
        total += int((again - np.maximum(start, done[:-1])).clip(0).sum())
        reach, counted = int(reached[-1]), int(done[-1])
    return total


def count_repeats(window: Whole, group: Whole) -> Whole:
    """Return, for each group (a stream or an epoch), its draws minus its distinct windows."""
    n_windows, n_groups = int(window.max()) + 1, int(group.max()) + 1
    keys = window if n_groups == 1 else group * n_windows + window
    if n_windows * n_groups < TABLE * len(window):
        shown = np.bincount(keys, minlength=n_windows * n_groups).reshape(n_groups, -1)
        repeats: Whole = group_sizes(group) - np.count_nonzero(shown, axis=1)
        return repeats
    keys = np.sort(keys)
    again = keys[1:][keys[1:] == keys[:-1]] // n_windows
    return np.bincount(again, minlength=n_groups)


def find_rank_overlap(window: Whole, epoch: Whole, rank: Whole) -> tuple[int, Mask]:
    """Return the windows shown by two or more ranks in one epoch, and the draws that do so.

    Returns:
        The number of such windows, summed over epochs; and bool of shape (K,), which draws repeat a
        window that another rank was the first to show in that epoch.
    """
    n_ranks, n_windows = int(rank.max()) + 1, int(window.max()) + 1
    if n_ranks == 1:
        return 0, np.zeros(len(window), dtype=np.bool_)
    found, of_draw = distinct(epoch * n_windows + window)
    # The rank that shows each window first; the windows that another rank shows too.
    first = np.empty(len(found), dtype=np.int64)
    first[of_draw[::-1]] = rank[::-1]
    marked: Mask = rank != first[of_draw]
    shared = np.zeros(len(found), dtype=np.bool_)
    shared[of_draw[marked]] = True
    return int(np.count_nonzero(shared)), marked


def find_identical_epochs(window: Whole, epoch: Whole, rank: Whole) -> list[tuple[int, int]]:
    """Return (epoch, earlier epoch) where all ranks made the same two or more draws in order."""
    if not epoch.any():
        return []
    stream = epoch * (int(rank.max()) + 1) + rank
    order = np.arange(len(stream)) if is_sorted(stream) else sort_order(stream)
    cuts = np.flatnonzero(np.diff(epoch[order])) + 1
    bounds = [0, *cuts.tolist(), len(order)]
    earlier: dict[bytes, int] = {}
    pairs = []
    for i, (begin, end) in enumerate(itertools.pairwise(bounds)):
        if end - begin > 1:
            draws = order[begin:end]
            shown = hashlib.sha256(window[draws].tobytes() + rank[draws].tobytes()).digest()
            first = earlier.setdefault(shown, i)
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
    marked = np.zeros(len(window), dtype=np.bool_)
    if not len(window) or not count_repeats(window, group).any():
        return marked, None
    order = by_group(group)
    gram = window
    if group.any():
        gram = group * (int(window.max()) + 1)
        gram += window
        gram = gram[order]
    gram, at = _repeated(gram)
    # Number the repeated runs, by doubling: two shorter runs that cover a run identify it, and both
    # are repeated where it is.
    size = 1
    while size < run and len(at):
        step = min(size, run - size)
        then = np.minimum(np.searchsorted(at, at + step), len(at) - 1)
        both = at[then] == at + step
        paired = gram[both] * (int(gram.max()) + 1) + gram[then[both]]
        (gram, at), size = _repeated(paired, at[both]), size + step
    if not len(at):
        return marked, None
    # A run is a replay if its first occurrence ends before it begins.
    first = np.empty(int(gram.max()) + 1, dtype=np.int64)
    first[gram[::-1]] = at[::-1]
    again = at - first[gram] >= run
    if not again.any():
        return marked, None
    change = np.zeros(len(window) + 1, dtype=np.int64)
    change[at[again]] += 1
    change[at[again] + run] -= 1
    marked[order] = np.cumsum(change[:-1]) > 0
    begin = int(again.argmax())
    pair = int(at[begin]), int(first[gram[begin]])
    return marked, pair if isinstance(order, slice) else (int(order[pair[0]]), int(order[pair[1]]))


def _repeated(labels: Whole, at: Whole | None = None) -> tuple[Whole, Whole]:
    """Return the labels that occur more than once, numbered, and the places `at` of those."""
    if not len(labels):
        return labels, labels
    number = renumber(labels)
    again = (np.bincount(number) > 1)[number]
    return number[again], np.flatnonzero(again) if at is None else at[again]


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
