"""Where does an epoch of a log begin? Legend as in `counts`: K draws."""

from collections.abc import Sequence

import numpy as np

from gptcore.audit.counts import Windows, count_repeats, find_rank_overlap
from gptcore.audit.labels import Mask, count_distinct, equals_next, renumber, sort_order, zeros
from gptcore.audit.log import DrawLog, Whole
from gptcore.audit.passes import are_blocks, are_passes
from gptcore.audit.visits import equal_visits
from gptcore.checks import check_whole


def find_epochs(
    log: DrawLog, windows: Windows, rank: Whole, epoch_draws: int | None
) -> tuple[Whole, str]:
    """Return the epoch of each draw, from 0, and how it is known, as in `audits.Audit`.

    Raises:
        ValueError: `epoch_draws` is given although the log has epochs, or does not fit the ranks.
    """
    if log.epoch is not None:
        if epoch_draws is not None:
            raise ValueError("the log has a column epoch and epoch_draws is given: leave one out")
        return renumber(log.epoch), "column"
    ranks: list[Whole | slice] = [slice(None)]
    if rank.any():
        ranks = [np.flatnonzero(rank == r) for r in range(int(rank.max()) + 1)]
    if epoch_draws is not None:
        each, rest = divmod(check_whole("epoch_draws", epoch_draws), len(ranks))
        if rest:
            raise ValueError(
                f"epoch_draws is {epoch_draws} over {len(ranks)} ranks: give the draws of all "
                "ranks together, a multiple of their number"
            )
        return _cut_every(len(log), ranks, [each] * len(ranks)), "epoch_draws"
    epoch = _cut_passes(log, windows, rank, ranks)
    if epoch is None:
        return zeros(len(log)), "unknown"
    return epoch, "passes"


def find_pass(window: Whole) -> int | None:
    """Return P, the draws in a pass, where the log is passes of P draws without a repeat.

    P is more than two thirds of the distinct windows, because with drop_last a pass leaves some
    out. A log without repeats is one pass. A second pass that the log cuts short must return to
    windows of the first. There is no P if the log was restarted: if it goes on from the middle of
    its first pass, or goes through that pass again and then further.

    Args:
        window: int64 of shape (K,), indices of windows.
    """
    n_draws = len(window)
    # Pairs of draws `before` and `now` that show the same window, with no other such draw between.
    order = sort_order(window)
    again = equals_next(window, order)[:-1]
    now, before = order[1:][again], order[:-1][again]
    if not len(now):
        return n_draws
    first, distinct = int(now.min()), n_draws - len(now)
    if (padded := _find_padded(window, first, distinct)) is not None:
        return padded
    restarted = _is_restarted(window, first, int(before[now.argmin()]), distinct)
    if restarted and not are_shards(window):
        return None
    # P fits if `before` and `now` lie in different passes for all pairs. Try P from the largest
    # down, 1000 sizes at a time, and first on the 1000 closest pairs, which rule out most sizes.
    between = now - before
    tight = np.argpartition(between, 1000)[:1000] if len(between) > 1000 else slice(None)
    shortest = 2 * distinct // 3 + 1
    for upper in range(first, shortest - 1, -1000):
        sizes = np.arange(upper, max(upper - 1000, shortest - 1), -1)
        fits = (now[tight] // sizes[:, None] > before[tight] // sizes[:, None]).all(axis=1)
        for size in sizes[fits].tolist():
            if (now // size > before // size).all():
                rest, shown = window[size:], np.zeros(int(window.max()) + 1, dtype=np.bool_)
                shown[window[:size]] = True
                returns = 2 * np.count_nonzero(shown[rest]) > len(rest)
                return size if returns else None
    return None


def _is_restarted(window: Whole, first: int, earlier: int, distinct: int) -> bool:
    """Return whether the draws from the first repeat on are those from `earlier` up to there."""
    run = first - earlier
    same = run > 2 and np.array_equal(window[first : first + run], window[earlier:first])
    return same and (earlier > 0 or distinct > first)


def _find_padded(window: Whole, first: int, distinct: int) -> int | None:
    """Return the draws in a pass where passes end with the windows that they began with.

    At least two passes have the same padding, since a single one may be a restart.
    """
    if first != distinct or 2 * distinct >= len(window):
        return None
    if not count_repeats(window, np.arange(len(window)) // distinct).any():
        return None
    padding = int((window[distinct : 2 * distinct] != window[:distinct]).argmax())
    size = distinct + padding
    if not 0 < 2 * padding <= distinct or 2 * size > len(window):
        return None
    passes = window[: len(window) // size * size].reshape(-1, size)
    whole = (np.sort(passes[:, :distinct], axis=1) == np.arange(distinct)).all()
    padded = (passes[:, distinct:] == passes[:, :padding]).all()
    shuffled = 2 * np.count_nonzero(np.diff(window) == 1) < len(window)
    return size if whole and padded and shuffled else None


def _find_period(window: Whole) -> int | None:
    """Return the draws in a pass where two passes or more have one order, which is no shuffle.

    A pass may show up to half of its windows again, as padding.
    """
    distinct = int(window.max()) + 1
    again = np.flatnonzero(window[distinct : 3 * distinct // 2 + 1] == window[0]) + distinct
    for size in again[2 * again <= len(window)].tolist():
        if np.array_equal(window[size:], window[:-size]):
            steps = count_distinct(np.diff(window[: size + 1]))
            return size if 2 * steps < size else None
    return None


def are_shards(window: Whole) -> bool:
    """Return whether a log in order may read shards in an order that changes.

    Shards jump from and to the same few places again and again, and a restart from and to any
    place. One jump at the end of a pass may be either; up to five shards of equal size are assumed
    there if all windows are shown equally often. Shards that are drawn with replacement do not make
    whole passes.

    Args:
        window: int64 of shape (K,), indices of windows.
    """
    place = renumber(window)
    size = int(place.max()) + 1
    jumps = np.flatnonzero((np.diff(place) != 1) & ((place[:-1] != size - 1) | (place[1:] != 0)))
    if not len(jumps) or 4 * len(jumps) > len(place):
        return False
    cuts = np.unique(np.concatenate([place[jumps] + 1, place[jumps + 1]]))
    cuts = cuts[(cuts > 0) & (cuts < size)]
    kinds = np.unique(place[jumps] * size + place[jumps + 1])
    if len(kinds) > 1 and len(jumps) >= max(3, 2 * len(cuts)):
        return True
    if count_repeats(place, np.arange(len(place)) // size).any():
        return False
    parts = np.arange(2, 6)[:, None]
    even = (np.abs(cuts * parts - size * np.round(cuts * parts / size)) <= parts).all(axis=1).any()
    return len(cuts) < len(jumps) or (bool(even) and len(place) % size == 0)


def cut_ordered(window: Whole) -> Whole | None:
    """Return the epoch of each draw where a stream reads its windows in order, several times over.

    An epoch begins where the first window follows the last one. Any other step back is a restart
    inside an epoch. A step forward over half of the windows or more is a restart that goes back
    into the epoch before. The answer is None if the stream is not in order, has one epoch, or
    leaves out a window in any epoch but the last.

    Args:
        window: int64 of shape (K,), indices of windows.
    """
    place = renumber(window)
    if (size := _find_period(place)) is not None:
        return np.arange(len(place)) // size
    if are_shards(place):
        return None
    last = int(place.max())
    begins = (place[1:] == 0) & (place[:-1] == last) & (last > 0)
    if not begins.any():
        return None
    steps = np.diff(place)
    leaps = (steps > 1) & (2 * steps > last)
    regular = int(np.count_nonzero(begins | (steps == 1)))
    if ((steps >= 0) & (steps != 1) & ~leaps).any():
        return None
    epoch = np.concatenate([[0], np.cumsum(begins.astype(np.int64) - leaps)])
    if int(epoch.min()) < 0 or 4 * regular <= 3 * len(steps):
        return None
    shown = np.bincount(epoch) - count_repeats(place, epoch)
    return epoch if (shown[:-1] == last + 1).all() else None


def _cut_passes(
    log: DrawLog, windows: Windows, rank: Whole, ranks: Sequence[Whole | slice]
) -> Whole | None:
    """Return the epoch of each draw where the log repeats whole passes, else None."""
    window = windows.of_draw
    # First try: every rank reads its windows in order.
    ordered = [cut_ordered(window[draws]) for draws in ranks]
    cuts = [cut for cut in ordered if cut is not None]
    if len(cuts) == len(ranks):
        epoch = np.empty(len(log), dtype=np.int64)
        for draws, cut in zip(ranks, cuts, strict=True):
            epoch[draws] = cut
        return epoch
    # Second try: shuffled passes. Ranks that keep their shard make passes of their own; ranks that
    # get a new shard each epoch make passes together.
    candidates = []
    for streams in [ranks, [slice(None)]] if len(ranks) > 1 else [ranks]:
        sizes = [size for draws in streams if (size := find_pass(window[draws]))]
        if len(sizes) < len(streams):
            continue
        if len(streams) > 1 or len(np.unique(rank[: sizes[0]])) == len(ranks):
            epoch = _cut_every(len(log), streams, sizes)
            if streams is not ranks or not _may_be_joint(window, epoch, rank, ranks):
                candidates.append(epoch)
    if not candidates:
        return None
    epoch = min(candidates, key=lambda epoch: find_rank_overlap(window, epoch, rank)[0])
    if int(epoch.max()) and not _is_first_pass(log, windows, rank, epoch == 0):
        return None
    return epoch


def _may_be_joint(window: Whole, epoch: Whole, rank: Whole, ranks: Sequence[Whole | slice]) -> bool:
    """Return whether ranks that seem to overlap may get a new shard in each epoch.

    All windows are then shown equally often, and no rank shows all of them, or all of its own
    equally often.
    """
    if len(ranks) == 1:
        return False
    own = [renumber(window[draws]) for draws in ranks]
    if all((equal_visits(shown, zeros(len(shown))) or 1) > 1 for shown in own):
        return False
    return (
        20 * min(int(shown.max()) + 1 for shown in own) <= 19 * (int(window.max()) + 1)
        and equal_visits(window, zeros(len(window))) is not None
        and find_rank_overlap(window, epoch, rank)[0] > 0
    )


def _cut_every(n_draws: int, streams: Sequence[Whole | slice], sizes: Sequence[int]) -> Whole:
    """Return the epoch of each draw if each stream has epochs of the given size."""
    place = np.arange(n_draws)
    epoch = np.empty_like(place)
    for draws, size in zip(streams, sizes, strict=True):
        epoch[draws] = place[: len(place[draws])] // size
    return epoch


def _is_first_pass(log: DrawLog, windows: Windows, rank: Whole, first: Mask) -> bool:
    """Return whether the first epoch passes over the text.

    Random draws may repeat none by chance, and all return where a restart makes them again.
    """
    return are_blocks(windows) or are_passes(log, windows, rank, first)
