"""Runs of draws that were made before: which of them are evidence of a restart?

A loader that reads in order, from shuffled shards or through a small shuffle buffer repeats runs in
every epoch. So a run counts by its **surprises**: its first draw, and each draw that does not
follow the one before it by a common step. Legend as in `counts`: K draws.
"""

import math

import numpy as np

from gptcore.audit.counts import (
    CHANCE_REPLAYS,
    Mask,
    Windows,
    chance_run,
    count_repeats,
    find_replays,
)
from gptcore.audit.log import DrawLog, Whole
from gptcore.audit.passes import are_passes, count_grid

FEW_SURPRISES = 10  # a log with fewer is read in order

Pair = tuple[int, int] | None


def find_reruns(
    log: DrawLog,
    windows: Windows,
    rank: Whole,
    epoch: Whole,
    *,
    stream: Whole,
    is_epoch: bool,
    identical: Mask,
) -> tuple[Mask, Pair]:
    """Return the draws in runs that the same rank made before, and where the first run begins.

    Args:
        log: the draws.
        windows: the distinct windows of the log.
        rank: int64 of shape (K,), the rank of each draw.
        epoch: int64 of shape (K,), the epoch of each draw.
        stream: int64 of shape (K,), a number for each pair of rank and epoch.
        is_epoch: whether an epoch here is one epoch of the loader.
        identical: bool of shape (K,), the draws of epochs that equal an earlier one.

    Returns:
        Bool of shape (K,), and (draw, earlier draw) or None.
    """
    window = windows.of_draw
    # Where each epoch returns to the same windows, a run in order is no evidence across epochs.
    most = int((np.bincount(epoch) - count_repeats(window, epoch)).max())
    returning = int(epoch.max()) > 0 and 2 * len(windows) <= 3 * most
    group = stream if returning else rank
    run = chance_run(len(window), len(windows))
    replayed, pair = find_replays(window, group, run)
    if is_epoch and count_grid(windows, log.n_starts)[1] > 1:
        shorter, first = find_replays(window, group, 2)
        # Two draws are enough where nearly all else passes over fixed windows, once each.
        rest = count_repeats(window[~shorter], stream[~shorter]).sum() if first else 0
        if 10 * rest <= shorter.sum() and (not first or are_passes(log, windows, stream, ~shorter)):
            replayed, pair = shorter, first
    elif not is_epoch and not returning:
        replayed &= _are_surprising(window, rank, replayed, run)
        pair = _first_pair(window, rank, replayed, run)
    if returning:
        across, _ = find_replays(window, rank, run)
        across &= ~identical
        across &= _are_surprising(window, rank, across, run, in_order=False)
        if identical.any():
            across &= ~_is_cut_short(epoch, across)
        if (across & ~replayed).any():
            replayed = replayed | across
            pair = _first_pair(window, rank, replayed, run) or pair
    return replayed, pair


def _are_surprising(
    window: Whole, rank: Whole, marked: Mask, run: int, *, in_order: bool = True
) -> Mask:
    """Return the draws of marked runs whose surprises are more than chance explains.

    Args:
        window: int64 of shape (K,), indices of windows.
        rank: int64 of shape (K,), the rank of each draw.
        marked: bool of shape (K,), the runs of `run` draws or more.
        run: the shortest run that independent draws hardly ever repeat.
        in_order: the answer for all runs of a log that has hardly a surprise.
    """
    if not marked.any():
        return marked
    order = np.argsort(rank, kind="stable")
    window, rank, marked = window[order], rank[order], marked[order]
    surprise = _surprises(window, rank)
    if np.count_nonzero(surprise) < FEW_SURPRISES:
        return np.full(len(marked), in_order)
    # Number the marked runs, and count the surprises in each; the first draw of a run is one.
    begins = marked & np.concatenate([[True], ~marked[:-1] | (rank[1:] != rank[:-1])])
    number = np.cumsum(begins) - 1
    surprises = np.bincount(number[marked], weights=(surprise | begins)[marked]).astype(np.int64)
    least = max(run, _chance_of_local_order(surprises, int(np.count_nonzero(surprise & ~marked))))
    kept = np.zeros(len(marked), dtype=bool)
    kept[order] = marked & (surprises >= least)[number]
    return kept


def _surprises(window: Whole, rank: Whole) -> Mask:
    """Return which draws do not follow the one before them by a step that is common in the log."""
    steps, of_draw, counts = np.unique(np.diff(window), return_inverse=True, return_counts=True)
    common = counts > max(0.05, 4 / (int(window.max()) + 1)) * len(window)
    same = rank[1:] == rank[:-1]
    return np.concatenate([[True], ~(common & (steps != 0))[of_draw] | ~same])


def _chance_of_local_order(surprises: Whole, others: int) -> int:
    """Return the fewest surprises that a run repeats by chance less than CHANCE_REPLAYS times.

    A loader with a small shuffle buffer repeats short runs by chance q for each further draw. For
    each length, q is estimated from the shorter runs and from the surprises in no run.
    """
    ordered = np.sort(surprises)
    shorter = np.concatenate([[0], np.cumsum(ordered)])
    breaks = others + len(ordered)
    draws = breaks + int(shorter[-1])
    for i, length in enumerate(ordered.tolist()):
        rate = (int(shorter[i]) + 1) / (int(shorter[i]) + breaks + 2)
        if math.log(draws) + length * math.log(rate) < math.log(CHANCE_REPLAYS):
            return int(length)
    return draws + 1


def _is_cut_short(epoch: Whole, marked: Mask) -> Mask:
    """Return the last epoch if it is marked from its first draw on: its order is not new either."""
    last = epoch == epoch.max()
    return last if marked[last].all() else np.zeros_like(marked)


def _first_pair(window: Whole, rank: Whole, marked: Mask, run: int) -> Pair:
    """Return the first marked draw, and the first draw from which the same run was made before."""
    if not marked.any():
        return None
    draw = int(marked.argmax())
    mine = np.flatnonzero(rank == rank[draw])
    at = int(np.searchsorted(mine, draw))
    wanted = window[mine[at : at + run]]
    before = np.flatnonzero(window[mine[:at]] == wanted[0])
    for earlier in before.tolist():
        if np.array_equal(window[mine[earlier : earlier + len(wanted)]], wanted):
            return draw, int(mine[earlier])
    return None
