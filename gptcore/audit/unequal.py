"""Does an epoch show fewer windows than the other epochs do?

Legend as in `counts`: K draws. A pass over fixed windows shows each window once, so all whole
epochs show equally many. With drop_last they all leave out the same number, though not the same
windows. The last epoch may be cut short where the log ends, and the first where it begins.
"""

import math

import numpy as np

from gptcore.audit.labels import zeros
from gptcore.audit.log import DrawLog, Whole
from gptcore.audit.passes import log_distinct, longest_row, rows_without_repeats

FEWER = 0.01  # of a pass: so much may differ between passes whose ends are found from repeats
NEARLY = 0.85  # of a pass: after a short one, the next begins after its first few windows
ODD = 0.05  # of the windows: so many may be shown more, or less, often than whole passes explain
NEARLY_TWICE = 1.7
LOG10_CHANCE = -6
FEW_DRAWS = 2**18  # tell most logs that are not in order
CHANCE_TOO_SHORT = 1e-3


def find_short(shown: Whole, *, tolerance: int = 0) -> Whole:
    """Return the epochs that show fewer windows than is usual in the log.

    Most loaders show equally many in all whole epochs. Where streams drop a batch each, the numbers
    vary; then an epoch is short if it lies five times as far below the median as epochs usually do.

    Args:
        shown: int64 of shape (E,), the distinct windows of each epoch in order; the last epoch may
            be cut short.
        tolerance: windows by which epochs may differ anyway.
    """
    if len(shown) < 2:
        return np.empty(0, dtype=np.int64)
    left = int(shown.max()) - shown[:-1]  # windows that each whole epoch leaves out
    usual = int(np.sort(left)[(len(left) - 1) // 2]) if len(left) > 1 else 0
    regular = 2 * np.count_nonzero(left == usual) >= len(left)
    spread = 0.0 if regular or len(left) == 1 else float(np.median(np.abs(left - usual)))
    return np.flatnonzero(left > usual + max(5 * spread, tolerance))


def begins_inside(log: DrawLog) -> bool | None:
    """Return whether the log begins inside an epoch; None if no column tells."""
    first = [int(column.min()) for column in (log.epoch, log.step) if column is not None]
    return max(first) > 1 if first else None


def cut_at_repeats(window: Whole, places: int) -> Whole | None:
    """Return the epoch of each draw where a pass ends with the first window that comes again.

    So an epoch that leaves out windows is found, too. The answer is None unless nearly all passes
    are equally long and at most two that follow each other are shorter, and unless independent
    draws from so many places would hardly ever come in such long rows without a repeat.

    Args:
        window: int64 of shape (K,), indices of windows.
        places: windows that a draw may choose from.
    """
    distinct = int(window.max()) + 1
    begins = rows_without_repeats(longest_row(window, zeros(len(window))))
    if len(begins) * distinct > 2 * len(window) + 4 * distinct:
        return None
    sizes = np.diff(begins, append=len(window))
    most = int(sizes.max())
    short = np.flatnonzero(most - sizes[:-1] > max(1, FEWER * most))
    regular = len(sizes) - 1 - len(short) + (most - sizes[-1] <= FEWER * most)
    if not 0 < len(short) <= 2 or np.ptp(short) > 1 or regular < 1 or 10 * most < 9 * distinct:
        return None
    after = np.append(False, np.isin(np.arange(len(sizes) - 1), short))[:-1]
    exact = np.delete(sizes[:-1], np.union1d(short, np.flatnonzero(after)))
    padded = (window[begins[1:]] == window[begins[:-1]]).any()
    if (exact != distinct).any() or padded:
        return None
    chance = sum(log_distinct(size, places) for size in sizes.tolist())
    if chance / math.log(10) + len(sizes) * math.log10(len(window)) > LOG10_CHANCE:
        return None
    if len(short) == 2 and sizes[short[1]] < NEARLY * most:
        if most < distinct:
            return None
        begins = np.delete(begins, short[1])  # one epoch, in which windows come again
    return _number(begins, len(window))


def is_too_short(window: Whole, size: int) -> bool:
    """Return whether passes of so many draws go on without a repeat too often.

    A draw of the next pass was left out by the pass before with probability 1 - size/D.

    Args:
        window: int64 of shape (K,), indices of windows.
        size: draws in a pass.
    """
    distinct = int(window.max()) + 1
    if size >= distinct:
        return False
    more = int(longest_row(window, zeros(len(window))).max()) - size
    if more < 1:
        return False
    return more * math.log1p(-size / distinct) + math.log(len(window)) < math.log(CHANCE_TOO_SHORT)


def cut_at_descents(window: Whole) -> Whole | None:
    """Return the epoch of each draw where each epoch reads in order and may leave out windows.

    The answer is None unless each epoch begins near the first window, ends near the last, and has
    no leap over a quarter of the windows, which may be a restart; the log may end anywhere.
    """
    distinct = int(window.max()) + 1
    near = max(5, distinct // 20)
    first = np.flatnonzero(np.diff(window[:FEW_DRAWS]) <= 0) + 1
    if (window[first] > near).any():
        return None
    begins = np.append(0, np.flatnonzero(window[1:] <= window[:-1]) + 1)
    ends = window[begins[1:] - 1]
    leaps = np.diff(window, append=0).max() > max(2, distinct // 4)
    if (
        leaps
        or len(begins) < 2
        or (window[begins] > near).any()
        or (ends < distinct - 1 - near).any()
    ):
        return None
    return _number(begins, len(window))


def _number(begins: Whole, draws: int) -> Whole:
    """Return the epoch of each draw, from the first draw of each epoch."""
    return np.repeat(np.arange(len(begins)), np.diff(begins, append=draws))


def count_odd(window: Whole, *, sharp: bool) -> tuple[int, int]:
    """Return the windows that are shown too seldom, and too often, for whole passes of any length.

    In passes that the end of the log cuts short, all windows are shown k or k + 1 times. The k is
    chosen that leaves the fewest windows over. Padding shows windows more often, and a shuffle
    buffer that holds windows of two passes shows some more and some less often. So where passes are
    not sharp, or no window is shown too seldom, only those count that are shown nearly twice as
    often as most.
    """
    shown = np.bincount(np.bincount(window))
    k = int((shown + np.append(shown[1:], 0)).argmax())
    seldom, often = int(shown[:k].sum()), int(shown[k + 2 :].sum())
    if sharp and min(seldom, often) > ODD * (int(window.max()) + 1):
        return seldom, often
    most = int(shown.argmax())
    return 0, int(shown[max(most + 2, math.ceil(NEARLY_TWICE * most)) :].sum())
