"""Runs of draws that were made before: which of them are evidence of a restart?

A loader that reads in order, from shuffled shards or through a small shuffle buffer repeats runs in
every epoch. So a run counts by its **surprises**: its first draw, and each draw that does not
follow the one before it by a common step. Legend as in `counts`: K draws.
"""

import math

import numpy as np

from gptcore.audit.counts import CHANCE_REPLAYS, Windows, chance_run, count_repeats, find_replays
from gptcore.audit.epochs import are_shards
from gptcore.audit.labels import Mask, by_group, count_distinct, group_sizes, renumber, zeros
from gptcore.audit.log import DrawLog, Whole
from gptcore.audit.passes import (
    LOG10_NO_REPEATS,
    are_passes,
    count_grid,
    is_by_length,
    is_in_order,
    log10_chance_of_no_repeats,
)

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
    most = int((group_sizes(epoch) - count_repeats(window, epoch)).max())
    returning = int(epoch.max()) > 0 and 2 * len(windows) <= 3 * most
    run = _chance_run(window, rank)
    again, pair = find_replays(window, rank, run)
    across = again & ~identical
    if returning or not is_epoch:
        across &= _are_surprising(window, rank, again, in_order=not returning)
        if identical.any():  # and the last epoch, cut short, has the same order again
            last = epoch == epoch.max()
            across &= ~(last & across[last].all())
    elif epoch.any() and pair is not None:  # packed documents: those in order are no evidence
        across &= _find_heads(log, window, run) | find_replays(window, stream, run)[0]
    if rank.any():
        across |= _find_joint(window, rank) & ~identical
    if returning and is_epoch and _keep_order(log, stream, ~again):
        across &= False
    replayed = across | find_replays(window, stream, run)[0] if returning and pair else across
    if is_epoch:
        short = _find_short(log, windows, stream if returning else rank, stream, across)
        if short is not None:
            replayed, run = short | across, 2
    return replayed, _first_pair(window, rank, replayed, run)


def _keep_order(log: DrawLog, stream: Whole, fresh: Mask) -> bool:
    """Return whether each epoch has the order of the text, or of the lengths."""
    return is_by_length(log.length) or is_in_order(log.start[fresh], renumber(stream[fresh]))


def _find_heads(log: DrawLog, window: Whole, run: int) -> Mask:
    """Return the draws in runs that one stream made before, of those that do not read on.

    Each draw that begins where the one before it ends counts with that one.
    """
    heads = np.append(True, log.start[1:] != log.start[:-1] + log.length[:-1])
    found = find_replays(window[heads], zeros(int(np.count_nonzero(heads))), run)[0]
    kept: Mask = found[np.cumsum(heads) - 1]
    return kept


def _find_joint(window: Whole, rank: Whole) -> Mask:
    """Return the draws in runs that all ranks made before together, as after a restart."""
    both, joint = window * (int(rank.max()) + 1) + rank, zeros(len(window))
    found, pair = find_replays(both, joint, chance_run(len(window), int(window.max()) + 1))
    return found if pair is None else found & _are_surprising(window, joint, found, in_order=False)


def _find_short(
    log: DrawLog, windows: Windows, group: Whole, stream: Whole, across: Mask
) -> Mask | None:
    """Return the runs of two draws or more, where all else passes over fixed windows once each.

    Independent draws repeat two draws by chance in some logs. So either this is rare, or the other
    draws are in order or come in rows without a repeat that independent draws hardly ever make.
    """
    window = windows.of_draw
    places, stride = count_grid(windows, log.n_starts)
    if stride <= 1:
        return None
    found, pair = find_replays(window, group, 2)
    if pair is None:
        return None
    rest, group = window[~found], group[~found]
    if 10 * count_repeats(rest, group).sum() > found.sum():
        return None
    if chance_run(len(window), places) > 2 and not is_in_order(log.start, stream):
        chance = log10_chance_of_no_repeats(rest, zeros(len(rest)), np.array([places]))
        if chance >= LOG10_NO_REPEATS:
            return None
    return found if are_passes(log, windows, stream, ~(found | across)) else None


def _chance_run(window: Whole, rank: Whole) -> int:
    """Return the shortest run that a rank hardly ever repeats by chance.

    A rank that keeps a shard of its own chooses from fewer windows.
    """
    n_windows, n_ranks = int(window.max()) + 1, int(rank.max()) + 1
    mine = n_windows
    if n_ranks > 1:
        mine = count_distinct(window * n_ranks + rank) // n_ranks
    return chance_run(len(window), max(mine, 2) if n_windows > 1 else 1)


def _are_surprising(window: Whole, rank: Whole, marked: Mask, *, in_order: bool) -> Mask:
    """Return the draws of repeated runs whose surprises are more than chance explains.

    Args:
        window: int64 of shape (K,), indices of windows.
        rank: int64 of shape (K,), the rank of each draw.
        marked: bool of shape (K,), the draws of repeated runs.
        in_order: the answer for a log that has hardly a surprise.
    """
    if not marked.any():
        return marked
    order = by_group(rank)
    surprise = find_surprises(window[order], rank[order])
    if np.count_nonzero(surprise) < FEW_SURPRISES:
        return marked & (in_order and not are_shards(window))
    found = _find_surprising(window[order][surprise], rank[order][surprise])
    # Each surprise stands for the draws up to the next one.
    kept = np.empty_like(marked)
    kept[order] = found[np.cumsum(surprise) - 1]
    return kept & marked


def _find_surprising(window: Whole, rank: Whole) -> Mask:
    """Return the draws in runs that are made again less than CHANCE_REPLAYS times by chance.

    A loader with a small shuffle buffer repeats short runs: each further draw matches with a
    probability q, which is estimated from the draws outside the runs. The square root of q is used,
    because neighbours in a buffer stay neighbours.
    """
    distinct = count_distinct(window)
    run = chance_run(len(window), distinct)
    single, double = (find_replays(window, rank, length)[0] for length in (1, 2))
    while True:
        found, pair = find_replays(window, rank, run)
        if pair is None:
            return found
        rate = (np.count_nonzero(double & ~found) / 2 + 1 / distinct) / (
            np.count_nonzero(single & ~found) + 1
        )
        if math.log(len(window)) + run / 2 * math.log(min(rate, 1)) < math.log(CHANCE_REPLAYS):
            return found
        run *= 2


def find_surprises(window: Whole, rank: Whole) -> Mask:
    """Return which draws do not follow the one before them by a step that is common in the log."""
    steps, of_draw, counts = np.unique(np.diff(window), return_inverse=True, return_counts=True)
    common = counts > max(0.05, 4 / (int(window.max()) + 1)) * len(window)
    same = rank[1:] == rank[:-1]
    return np.concatenate([[True], ~(common & (steps != 0))[of_draw] | ~same])


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
