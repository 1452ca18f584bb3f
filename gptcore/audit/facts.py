"""Everything that is counted over one log of draws, before anything is judged.

Legend as in `counts`: N tokens, K draws, T inputs in the longest window.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from gptcore.audit.counts import (
    Shown,
    Windows,
    bound_missed,
    count_missed,
    count_repeats,
    count_shown_twice,
    expect_repeats,
    find_identical_epochs,
    find_rank_overlap,
    find_windows,
)
from gptcore.audit.epochs import find_epochs
from gptcore.audit.labels import Mask, group_sizes, renumber, zeros
from gptcore.audit.log import DrawLog, Whole
from gptcore.audit.passes import are_blocks, are_fixed, are_passes, are_spread, count_grid
from gptcore.audit.replays import find_reruns
from gptcore.audit.unequal import cut_at_descents, cut_at_repeats, is_too_short
from gptcore.theory.expectations import expect


@dataclass(frozen=True, eq=False)
class Facts:
    """The counts of one log.

    Attributes:
        log: the draws.
        windows: the distinct windows of the log.
        rank: int64 of shape (K,), the rank of each draw, numbered from 0.
        epoch: int64 of shape (K,), the epoch of each draw, numbered from 0.
        epochs_from: how the epochs are known, as in `audits.Audit`.
        is_epoch: whether an epoch here is one epoch of the loader; False where the epochs are
            unknown and the log is longer than the text.
        may_go_on: whether the log is one pass that may end before its epoch does.
        stream: int64 of shape (K,), a number for each pair of rank and epoch.
        shown_in_epoch: int64 of shape (E,), the distinct windows of each epoch.
        repeated_in_epoch: draws minus distinct windows in each epoch, summed.
        shown: which targets no window shows.
        at_best: the same, if all windows with tokens that occur several times are shown.
        missed_at_most: how many are not shown for certain.
        shown_twice: targets in two or more windows of one epoch, summed over epochs.
        identical: (epoch, earlier epoch) with the same draws in the same order.
        replayed: which draws belong to a run of draws that was made before.
        replay: (draw, earlier draw) at which the first such run begins, or None.
        passes: whether ranks pass over the text rather than draw independently.
        fixed: whether they pass over fixed windows, so that an epoch shows each window once.
        rank_overlap: windows shown by two or more ranks in one epoch, summed over epochs.
        shared: which draws repeat a window that another rank showed first in that epoch.
        once: which draws are no replay, in no identical epoch, and not shared.
        expected: what as many independent draws as `once` has would show, as in `audits.Audit`.
    """

    log: DrawLog
    windows: Windows
    rank: Whole
    epoch: Whole
    epochs_from: str
    is_epoch: bool
    may_go_on: bool
    stream: Whole
    shown_in_epoch: Whole
    repeated_in_epoch: int
    shown: Shown
    at_best: Shown
    missed_at_most: int
    shown_twice: int
    identical: list[tuple[int, int]]
    replayed: Mask
    replay: tuple[int, int] | None
    passes: bool
    fixed: bool
    rank_overlap: int
    shared: Mask
    once: Mask
    expected: dict[str, float | None] | None

    @property
    def n_epochs(self) -> int:
        """The number of epochs."""
        return int(self.epoch.max()) + 1

    @property
    def missed_in_epoch(self) -> int | None:
        """The windows that whole epochs do not show, or None; as in `audits.Audit`."""
        if not self.fixed or self.epochs_from == "unknown":
            return None
        return int((len(self.windows) - self.shown_in_epoch[:-1]).sum())


def count_facts(log: DrawLog, epoch_draws: int | None = None) -> Facts:
    """Return the counts of a log.

    Raises:
        ValueError: `epoch_draws` does not fit the log.
    """
    windows = find_windows(log)
    window = windows.of_draw
    rank = zeros(len(log)) if log.rank is None else renumber(log.rank)
    epoch, epochs_from = _find_epochs(log, windows, rank, epoch_draws)
    stream = renumber(rank * (int(epoch.max()) + 1) + epoch)
    # A log of unknown epochs that is longer than the text may hold several of them.
    is_epoch = epochs_from != "unknown" or 4 * int(log.length.sum()) < 5 * log.n_tokens

    # Only draws that are not made again tell whether the loader passes over the text.
    identical = find_identical_epochs(window, epoch, rank)
    again = np.isin(epoch, [later for later, _ in identical])
    replayed, replay = find_reruns(
        log, windows, rank, epoch, stream=stream, is_epoch=is_epoch, identical=again
    )
    known = replay is not None or epochs_from not in ("unknown", "passes")
    if not known and (cut := _cut_again(log, windows, rank, epoch, epochs_from)) is not None:
        epoch, epochs_from, is_epoch = cut, "repeats", True
        stream = renumber(rank * (int(epoch.max()) + 1) + epoch)
    new = ~replayed & ~again
    # Ranks that pass over the text together may each look random.
    passes = are_passes(log, windows, stream, new) or (
        bool(rank.any()) and are_passes(log, windows, epoch, new)
    )
    rank_overlap, shared = find_rank_overlap(window, epoch, rank)
    once = new & ~shared
    reach = _count_reach(log, windows, epoch, epoch_draws, passes=passes)
    return Facts(
        log=log,
        windows=windows,
        rank=rank,
        epoch=epoch,
        epochs_from=epochs_from,
        is_epoch=is_epoch,
        stream=stream,
        identical=identical,
        replayed=replayed,
        replay=replay,
        passes=passes,
        **reach,
        rank_overlap=rank_overlap,
        shared=shared,
        once=once,
        expected=None if reach["fixed"] else _expect_independent(log, windows, int(once.sum())),
    )


def _expect_independent(log: DrawLog, windows: Windows, draws: int) -> dict[str, float | None]:
    """Return what `draws` independent draws would miss and repeat; None where theory has no value.

    They choose from the coarsest grid of starts that has all windows of the log. The theory of
    missed targets needs all starts and windows of one length.
    """
    places, stride = count_grid(windows, log.n_starts)
    mean, variance = expect_repeats(draws, places)
    expected: dict[str, float | None] = {
        "missed_targets": None,
        "sd_missed_targets": None,
        "repeated_windows": float(mean),
        "sd_repeated_windows": math.sqrt(float(variance)),
    }
    if stride <= 1 and int(log.length.min()) == log.block_size:
        theory = expect(
            "random_replacement", n_tokens=log.n_tokens, block_size=log.block_size, draws=draws
        )
        expected["missed_targets"] = theory.missed_targets
        expected["sd_missed_targets"] = theory.sd_missed_targets
    return expected


def _find_epochs(
    log: DrawLog, windows: Windows, rank: Whole, epoch_draws: int | None
) -> tuple[Whole, str]:
    """Return the epoch of each draw, and how it is known; epochs in order may have holes."""
    epoch, epochs_from = find_epochs(log, windows, rank, epoch_draws)
    if epochs_from in ("unknown", "passes") and not rank.any():
        cut = cut_at_descents(windows.of_draw)
        if cut is not None:
            return cut, "passes"
    return epoch, epochs_from


def _may_go_on(
    log: DrawLog, windows: Windows, epoch: Whole, epoch_draws: int | None, shown: Shown
) -> bool:
    """Return whether the log is one pass whose windows that were not shown may still come.

    A pass in order shows everything up to its last window. Where it is not known how long an epoch
    is, a pass that shows half of the text or more is taken for a whole one.
    """
    if log.is_whole or len(windows) < len(log) or (epoch.any() and not log.is_cut):
        return False
    if log.is_cut:
        return True
    if epoch_draws is not None:
        return epoch_draws > len(log)
    in_order = bool((log.start[1:] > log.start[:-1]).all())
    return 2 * shown.missed > log.n_tokens and not (in_order and shown.inside)


def _cut_again(
    log: DrawLog, windows: Windows, rank: Whole, epoch: Whole, epochs_from: str
) -> Whole | None:
    """Return the epoch of each draw where passes have different lengths, else None."""
    if not are_blocks(windows):
        return None
    if epochs_from == "passes":
        size = int(np.count_nonzero(epoch == 0))
        if rank.any() or not epoch.any() or not is_too_short(windows.of_draw, size):
            return None
    return cut_at_repeats(windows.of_draw, count_grid(windows, log.n_starts)[0])


def _count_reach(
    log: DrawLog, windows: Windows, epoch: Whole, epoch_draws: int | None, *, passes: bool
) -> dict[str, Any]:
    """Return whether windows are fixed, and what is missed or repeated; names as in `Facts`."""
    spread = are_spread(log, windows)
    shown = count_missed(windows, log.n_tokens, borders=not spread)
    at_best, at_most = bound_missed(log, windows, shown)
    fixed = passes and not spread and are_fixed(windows)
    repeats = count_repeats(windows.of_draw, epoch)
    return {
        "fixed": fixed,
        "may_go_on": _may_go_on(log, windows, epoch, epoch_draws, shown),
        "shown": shown,
        "at_best": at_best,
        "missed_at_most": at_most,
        "shown_in_epoch": group_sizes(epoch) - repeats,
        "repeated_in_epoch": int(repeats.sum()),
        "shown_twice": count_shown_twice(log, epoch),
    }
