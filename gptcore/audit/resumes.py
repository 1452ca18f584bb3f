"""What a resume did: the log of an unbroken run against that of the same run, interrupted.

Legend: A draws of the resumed run, B draws of the unbroken one. Each draw of A is matched with the
draw of B that it is, and everything is counted from this: what has no partner in B is repeated or
another window, what has none in A is skipped, and partners in another order are reordered.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from gptcore.audit.counts import find_windows
from gptcore.audit.labels import Mask, by_group, is_sorted, renumber, sort_order, zeros
from gptcore.audit.log import DrawLog, Whole

RUN = 8  # draws that must agree in a row, where two logs are laid beside each other again
MOST_STRETCHES = 200  # each takes a look at both logs


Keys = list[tuple[Whole, Whole]]
Pair = tuple[Whole, Whole] | None


@dataclass(frozen=True, eq=False)
class Matched:
    """Two logs, draw by draw.

    Attributes:
        after: int64 of shape (A,), the draws of the resumed log in the order of the run, without
            those that it made again from a checkpoint.
        before: int64 of shape (B,), the same of the unbroken log.
        partner: int64 of shape (A,), the index in `before` of the same draw, or -1.
        redone: int64, the draws of the resumed log that it makes again later, at the same steps.
        is_ordered: whether the order is that of steps, or of one process.
        repeated: bool of shape (A,), draws without a partner whose window the unbroken log shows.
        other: bool of shape (A,), draws whose window the unbroken log never shows.
        beyond: bool of shape (A,), draws made after the end of the unbroken log.
        skipped: bool of shape (B,), draws without a partner.
        not_reached: bool of shape (B,), draws that the resumed run may still make.
        reordered: bool of shape (A,), draws at another place among those that have partners.
        wrong_epoch: bool of shape (A,), partners of another epoch, or None.
        in_step: bool of shape (A,), reordered draws that stay in their step, or None.
        jump: (draw, draw) of the resumed and the unbroken log: from the first of these draws on, at
            which the logs differ, the resumed run makes those that follow the second; or None.
    """

    after: Whole
    before: Whole
    partner: Whole
    redone: Whole
    is_ordered: bool
    repeated: Mask
    other: Mask
    beyond: Mask
    skipped: Mask
    not_reached: Mask
    reordered: Mask
    wrong_epoch: Mask | None
    in_step: Mask | None
    jump: tuple[int, int] | None


def match_logs(after: DrawLog, before: DrawLog) -> Matched:
    """Match the draws of a resumed run with those of the unbroken run."""
    steps, ranks, epochs = (_both(after, before, name) for name in ("step", "rank", "epoch"))
    same_ranks = ranks and np.array_equal(np.unique(ranks[0]), np.unique(ranks[1]))
    by = "step" if steps else "rank" if same_ranks else "line"
    new, old = _order(after, by), _order(before, by)
    window = find_windows(_join(after, before)).of_draw
    a, b = window[: len(after)][new], window[len(after) :][old]
    keys, labels = [(a, b)], None
    if epochs:
        size = int(window.max()) + 1
        epoch = renumber(np.concatenate(epochs))
        labels = epoch[: len(after)][new], epoch[len(after) :][old]
        keys.insert(0, (labels[0] * size + a, labels[1] * size + b))
    partner, is_open = _find_partners(keys, labels)
    beyond, not_reached = _find_ends(keys, labels, partner, is_open=is_open)
    alone = (partner < 0) & ~beyond
    has_partner = np.zeros(len(b), dtype=np.bool_)
    has_partner[partner[partner >= 0]] = True
    shown, matched = np.isin(a, b), partner[partner >= 0]
    reordered = np.zeros(len(a), dtype=np.bool_)
    reordered[partner >= 0] = matched != np.sort(matched)
    several = after.rank is not None and bool((after.rank != after.rank[0]).any())
    return Matched(
        new,
        old,
        partner,
        np.setdiff1d(np.arange(len(after)), new),
        by == "step" or not several,
        repeated=alone & shown,
        other=alone & ~shown,
        beyond=beyond,
        skipped=~has_partner & ~not_reached,
        not_reached=not_reached,
        reordered=reordered,
        wrong_epoch=_differ(labels, partner) if labels else None,
        in_step=reordered & ~_differ((steps[0][new], steps[1][old]), partner) if steps else None,
        jump=_find_jump(a, b, new, old),
    )


def _both(after: DrawLog, before: DrawLog, name: str) -> Pair:
    """Return a column of both logs, None where one of them lacks it."""
    columns = getattr(after, name), getattr(before, name)
    return None if any(column is None for column in columns) else columns


def _join(after: DrawLog, before: DrawLog) -> DrawLog:
    """Return the windows of both logs in one."""
    parts = (after, before)
    start, length = (np.concatenate([getattr(p, n) for p in parts]) for n in ("start", "length"))
    return DrawLog(after.n_tokens, start, length)


def _order(log: DrawLog, by: str) -> Whole:
    """Return the draws that count, in the order of steps, of turns of ranks, or of lines."""
    kept = np.flatnonzero(~_are_redone(log))
    rank = zeros(len(kept)) if log.rank is None else renumber(log.rank[kept])
    if by == "step" and log.step is not None:
        size = int(rank.max(initial=0)) + 1
        turn = renumber(log.step[kept]) * size + rank
    elif by == "rank":
        turn = _number(rank) * (int(rank.max(initial=0)) + 1) + rank
    else:
        return kept
    return kept if is_sorted(turn) else kept[sort_order(turn)]


def _number(group: Whole) -> Whole:
    """Return how many draws of the same group come before each draw."""
    order = sort_order(group)
    ordered = group[order]
    number = np.empty_like(order)
    number[order] = np.arange(len(group)) - np.searchsorted(ordered, ordered)
    return number


def _are_redone(log: DrawLog) -> Mask:
    """Return the draws of steps that the log makes again later, from a checkpoint.

    A rank whose step decreases began again. A rank that never does was there only before or after
    a restart, which the other ranks tell.
    """
    if log.step is None:
        return np.zeros(len(log), dtype=np.bool_)
    rank = zeros(len(log)) if log.rank is None else renumber(log.rank)
    order = by_group(rank)
    step, mine = log.step[order], rank[order]
    back = np.append(False, (step[1:] < step[:-1]) & (mine[1:] == mine[:-1]))
    if not back.any():
        return back
    total = np.cumsum(back)
    attempt = np.empty(len(log), dtype=np.int64)
    attempt[order] = total - total[np.searchsorted(mine, mine)]
    never = ~np.isin(rank, mine[back])
    attempt[never] = np.maximum.accumulate(np.where(never, 0, attempt))[never]
    begins = np.full(int(attempt.max()) + 2, np.iinfo(np.int64).max)
    np.minimum.at(begins, attempt, log.step)
    later = np.minimum.accumulate(begins[::-1])[::-1][1:]
    return log.step >= later[attempt]


def _find_partners(keys: Keys, epochs: Pair) -> tuple[Whole, bool]:
    """Return the partner of each draw, and whether the order differs up to the end.

    Args:
        keys: the windows of both logs, and before them, where epochs are known, the pairs of epoch
            and window.
        epochs: the epochs of both logs, if known.
    """
    (a, b), at = keys[-1], (0, 0)
    partner = np.full(len(a), -1)
    for i, j, length in _stretches(keys):
        partner[i : i + length] = np.arange(j, j + length)
        # A few windows of other epochs may be equal by chance.
        other = keys[0][0][i : i + length] != keys[0][1][j : j + length]
        partner[i : i + length][_in_short_runs(other)] = -1
        at = i + length, j + length
    is_open = at[0] < len(a) and at[1] < len(b)
    pooled = _pool(partner, keys, epochs, len(a), len(b))
    # Without epochs, the end of one log behind that of the other has partners only if all has.
    if not is_open and epochs is None:
        rest = np.ones(len(b), dtype=np.bool_)
        rest[pooled[pooled >= 0]] = False
        if (pooled[at[0] :] < 0).any() or rest[at[1] :].any():
            pooled = _pool(partner, keys, epochs, *at)
    late = pooled[at[0] :]
    late = late[late >= 0]
    return pooled, is_open and bool((late[1:] < late[:-1]).any())


def _in_short_runs(mask: Mask) -> Mask:
    """Return which of the marked draws stand in fewer than RUN marked ones in a row."""
    runs = np.diff(np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]]))))[::2]
    short = mask.copy()
    short[mask] = np.repeat(runs < RUN, runs)
    return short


def _stretches(keys: Keys) -> Iterator[tuple[int, int, int]]:
    """Yield (draw of A, draw of B, length) of the stretches in which both logs go on alike."""
    i = j = 0
    for _ in range(MOST_STRETCHES):
        for number, (a, b) in enumerate(keys):
            # Windows of other epochs are the same draws only where many agree in a row.
            shift = _find_shift(a[i:], b[j:], at_least=RUN if number else 1)
            if shift is not None:
                i, j = i + shift[0], j + shift[1]
                length = _agree(keys[-1], i, j)
                yield i, j, length
                i, j = i + length, j + length
                break
        else:
            return


def _agree(logs: tuple[Whole, Whole], i: int, j: int) -> int:
    """Return for how many draws from here on the logs have the same."""
    a, b = logs[0][i:], logs[1][j:]
    both = min(len(a), len(b))
    differ = a[:both] != b[:both]
    return int(differ.argmax()) if differ.any() else both


def _find_shift(a: Whole, b: Whole, *, at_least: int) -> tuple[int, int] | None:
    """Return how many draws to leave out of each log until both go on alike, the fewest."""
    run = min(RUN, len(a), len(b))
    if run < at_least:
        return None
    both = min(len(a), len(b))
    agree = np.append(0, np.cumsum(a[:both] == b[:both]))
    beside = np.flatnonzero(agree[run:] - agree[:-run] == run)
    ahead, again = _find(a[:run], b), _find(b[:run], a)
    found = [(int(at), int(at)) for at in beside[:1]]
    found += [(0, int(at)) for at in ahead[:1]] + [(int(at), 0) for at in again[:1]]
    return min(found, key=max, default=None)


def _find(wanted: Whole, among: Whole) -> Whole:
    """Return all places at which the wanted draws come in a row."""
    at = np.flatnonzero(among[: len(among) - len(wanted) + 1] == wanted[0])
    for k in range(1, len(wanted)):
        at = at[among[at + k] == wanted[k]]
    return at


def _pool(partner: Whole, keys: Keys, epochs: Pair, end_a: int, end_b: int) -> Whole:
    """Match what no stretch holds, up to the ends: the k-th draw of a window with the k-th."""
    partner = partner.copy()
    free = np.zeros(len(keys[-1][1]), dtype=np.bool_)
    free[:end_b] = True
    free[partner[partner >= 0]] = False
    for number, (a, b) in enumerate(keys):
        left = np.flatnonzero(partner[:end_a] < 0)
        if number and epochs:  # neither an epoch that B lacks nor a repeat in its own is wrong
            mine, its = keys[0]
            shown = mine[(partner >= 0) & (mine == its[partner])]
            left = left[np.isin(epochs[0], epochs[1])[left] & ~np.isin(mine[left], shown)]
        rest = np.flatnonzero(free)
        order = rest[sort_order(b[rest])]
        place = np.searchsorted(b[order], a[left]) + _number(renumber(a[left]))
        fits = place < np.searchsorted(b[order], a[left], side="right")
        partner[left[fits]] = order[place[fits]]
        free[partner[left[fits]]] = False
    return partner


def _find_ends(keys: Keys, epochs: Pair, partner: Whole, *, is_open: bool) -> tuple[Mask, Mask]:
    """Return the draws of A beyond the end of B, and those of B that A may still make.

    They have no partner and come last. A window that B never shows stands there against a draw of
    B that is skipped. Where the order differs up to the end, the longer log may have as many draws
    more as it is longer. An epoch that A has left is not made any further.
    """
    (a, b) = keys[0]
    with_partner = np.zeros(len(b), dtype=np.bool_)
    with_partner[partner[partner >= 0]] = True
    alone = [np.flatnonzero(partner < 0), np.flatnonzero(~with_partner)]
    last = [int((partner >= 0).nonzero()[0].max(initial=-1)), int(partner.max(initial=-1))]
    tails = [draws[draws > end] for draws, end in zip(alone, last, strict=True)]
    new = tails[0][~np.isin(keys[-1][0][tails[0]], keys[-1][1])]
    ends = [tails[0][len(tails[1]) :], tails[1][len(new) :]]
    if is_open:
        fewer = max(len(b) - len(a), len(ends[1]))
        ends[1] = alone[1][len(alone[1]) - fewer :]
        if len(a) > len(b):
            new = alone[0][~np.isin(keys[-1][0][alone[0]], keys[-1][1])]
            ends[0] = new[max(len(new) - (len(a) - len(b)), 0) :]
    masks = [np.zeros(len(a), dtype=np.bool_), np.zeros(len(b), dtype=np.bool_)]
    for mask, end in zip(masks, ends, strict=True):
        mask[end] = True
    if epochs:
        masks[0] &= ~np.isin(a, b)
        masks[1] &= epochs[1] >= epochs[0].max()
    return masks[0], masks[1]


def _differ(values: tuple[Whole, Whole], partner: Whole) -> Mask:
    """Return which partners differ in a value."""
    found: Mask = (partner >= 0) & (values[0] != values[1][partner])
    return found


def _find_jump(a: Whole, b: Whole, new: Whole, old: Whole) -> tuple[int, int] | None:
    """Return the first draw at which the logs differ, and the draw of B that A makes there."""
    both = min(len(a), len(b))
    differ = np.flatnonzero(a[:both] != b[:both])
    if not len(differ):
        return None
    wanted = a[differ[0] : differ[0] + RUN]
    at = _find(wanted, b) if 1 < len(wanted) <= len(b) else wanted[:0]
    return (int(new[differ[0]]), int(old[at[0]])) if len(at) else None
