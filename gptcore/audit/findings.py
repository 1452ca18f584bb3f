"""Counts of an audit → findings: what neither chance nor common practice explains, in words."""

import math

import numpy as np
import numpy.typing as npt

from gptcore.audit.causes import is_padding, why_missed, why_replayed, why_twice
from gptcore.audit.facts import Facts
from gptcore.audit.finding import Finding, are_alike, tell_window
from gptcore.audit.judging_draws import BEYOND_SD, judge_parts, judge_reach, judge_repeats
from gptcore.audit.judging_epochs import judge_epochs, judge_unknown_epochs
from gptcore.audit.passes import count_grid, is_by_length, is_in_order


def judge(facts: Facts, unplaced: int = 0) -> list[Finding]:
    """Return the findings of a log whose draws are known, but for a few `unplaced` tokens."""
    return [
        *_judge_missed(facts, unplaced),
        *judge_epochs(facts),
        *judge_repeats(facts),
        *judge_parts(facts),
        *_judge_borders(facts),
        *_judge_identical(facts),
        *_judge_replays(facts),
        *judge_unknown_epochs(facts),
        *_judge_twice(facts),
        *_judge_ranks(facts),
    ]


def _judge_missed(facts: Facts, unplaced: int) -> list[Finding]:
    """Judge the targets that are never shown, apart from those lost at borders.

    Where rows may have several places, only what is missed at best is a fault.
    """
    shown, best = facts.shown, facts.at_best
    if shown.missed == shown.borders:
        return []
    places = (
        f"{shown.head} before the first window, {shown.tail} after the last, "
        f"{shown.inside} between windows, {shown.borders} at block borders"
    )
    unsure = (
        f" Rows whose tokens the text holds several times leave the number open: it is between "
        f"{best.missed} and {facts.missed_at_most}."
        if facts.log.unsure is not None
        else ""
    )
    if facts.expected is not None:
        return judge_reach(facts, places, unsure)
    if unsure and best.missed == best.borders:
        return [Finding("missed_targets", shown.missed, places, unsure.strip(), "note")]
    severity, reason = why_missed(facts, unplaced)
    return [Finding("missed_targets", shown.missed, places, f"{reason}{unsure}", severity)]


def _judge_borders(facts: Facts) -> list[Finding]:
    """Judge the targets that no window can show because they lie between two windows."""
    if facts.shown.border is None:
        return []
    start, length, size = facts.shown.border
    first = start + length + 1
    what = f"target {first}" if size == 1 else f"targets {first} to {first + size - 1}"
    return [
        Finding(
            "lost_at_borders",
            facts.shown.borders,
            f"{what}, next after the window at {start} of length {length}",
            "Neighbouring windows leave out the same few targets every time. The reason may be "
            "blocks of T + 1 tokens at stride T + 1, or labels that are shifted inside the block. "
            "Let neighbouring blocks overlap by one token.",
        )
    ]


def _judge_identical(facts: Facts) -> list[Finding]:
    """Judge epochs that have the same order as an earlier one."""
    if not facts.identical:
        return []
    later, earlier = facts.identical[0]
    example = f"epoch {later} has the order of epoch {earlier} (epochs are counted from 0)"
    count = len(facts.identical)
    first = facts.epoch == earlier
    groups = (facts.stream[first], facts.epoch[first])
    if any(is_in_order(facts.log.start[first], group) for group in groups):
        reason = "The loader reads the text in order, so without shuffling all epochs are equal."
        return [Finding("identical_epochs", count, example, reason, "note")]
    if is_by_length(facts.log.length):
        reason = "The loader sorts its windows by length, so that all epochs are equal."
        return [Finding("identical_epochs", count, example, reason, "note")]
    if facts.passes:
        reason = (
            "The order is shuffled, but it is the same in each epoch. Seed it with (seed, epoch); "
            "a DistributedSampler needs set_epoch(epoch). A loader whose state was restored at "
            "the end of an epoch does this as well. If one order for all epochs is intended, say "
            "so: --sampler shuffled_once."
        )
    else:
        reason = (
            "The draws are random, but they are the same in each epoch. Seed them with (seed, "
            "epoch), also in each worker: a seed that worker_init_fn sets anew starts them again."
        )
    return [Finding("identical_epochs", count, example, reason)]


def _judge_replays(facts: Facts) -> list[Finding]:
    """Judge runs of draws that were made before; those under the same steps are a note."""
    if facts.replay is None:
        return []
    log = facts.log
    draw, earlier = facts.replay
    example = f"the run from {log.place(draw)} on repeats the run from {log.place(earlier)} on"
    count = int(facts.replayed.sum())
    went_back = log.step is not None and bool((log.step[1:] < log.step[:-1]).any())
    if log.step is not None and went_back and not _has_new_pairs(log.step, facts):
        reason = (
            "All of these draws stand under the step at which they were first made. This is work "
            "done again from a checkpoint, which is right if the weights went back to that step."
        )
        return [Finding("replayed_draws", count, example, reason, "note")]
    severity, reason = why_replayed(facts)
    return [Finding("replayed_draws", count, example, reason, severity)]


def _judge_twice(facts: Facts) -> list[Finding]:
    """Judge targets shown twice in one epoch of passes over the text."""
    if not facts.fixed or not facts.is_epoch:
        return []
    log, windows, count = facts.log, facts.windows, facts.shown_twice
    # Is a whole window shown again in its epoch?
    draws = np.flatnonzero(facts.once) if facts.repeated_in_epoch else np.empty(0, dtype=np.int64)
    keys = facts.epoch[draws] * len(windows) + windows.of_draw[draws]
    _, first, of_draw = np.unique(keys, return_index=True, return_inverse=True)
    again = np.flatnonzero(first[of_draw] != np.arange(len(draws)))
    if len(again):
        later, earlier = int(draws[again[0]]), int(draws[first[of_draw[again[0]]]])
        severity, reason = why_twice(facts, len(again))
        return [
            Finding(
                "shown_twice",
                count,
                f"{tell_window(windows, windows.of_draw[later])} at {log.place(earlier)} "
                f"and again at {log.place(later)}",
                reason,
                severity,
            )
        ]
    # Or do the windows overlap because their stride is smaller than they are?
    stride = count_grid(windows, log.n_starts)[1]
    regular = int(np.count_nonzero(np.diff(windows.start) == stride))
    if count and 1 < stride < log.block_size and 4 * regular > 3 * len(windows):
        return [
            Finding(
                "shown_twice",
                count,
                f"{tell_window(windows, 0)} and {tell_window(windows, min(1, len(windows) - 1))}",
                f"Windows start every {stride} tokens and are longer than that, so they overlap. "
                "This is intended where such a stride was chosen.",
                "note",
            )
        ]
    return []


def _judge_ranks(facts: Facts) -> list[Finding]:
    """Judge windows shown by several ranks: in passes any, otherwise those beyond chance."""
    windows, count = facts.windows, facts.rank_overlap
    if not count:
        return []
    alike = are_alike(facts)
    if facts.passes and not ((facts.fixed and facts.is_epoch) or alike):
        return []
    if not (facts.passes or alike):
        mean = _expect_rank_overlap(facts)
        if count <= mean + BEYOND_SD * math.sqrt(mean) + 1:
            return []
    draw = int(facts.shared.argmax())
    example = f"{tell_window(windows, windows.of_draw[draw])}, again at {facts.log.place(draw)}"
    if alike:
        reason = (
            "Ranks make the same draws in the same order. Seed them with (seed, rank), or give "
            "each rank a shard of the windows."
        )
    elif is_padding(facts, np.flatnonzero(facts.shared)):
        reason = (
            "The overlap is no more than the padding that makes ranks equally long "
            "(DistributedSampler without drop_last, even_batches of accelerate). drop_last avoids "
            "it."
        )
        return [Finding("rank_overlap", count, example, reason, "note")]
    else:
        reason = (
            "Ranks show the same windows in one epoch. Each window should belong to one rank. "
            "Causes that fit: ranks that shuffle with seeds of their own, ranks that each stream "
            "everything, or a sampler that does not know the ranks."
        )
    return [Finding("rank_overlap", count, example, reason)]


def _has_new_pairs(step: npt.NDArray[np.int64], facts: Facts) -> bool:
    """Return whether a replayed draw is the first with its pair of step and window."""
    pairs = np.stack([step, facts.windows.of_draw], axis=1)
    first = np.unique(pairs, axis=0, return_index=True)[1]
    return bool(facts.replayed[first].any())


def _expect_rank_overlap(facts: Facts) -> float:
    """Return the expected `rank_overlap` of ranks that draw independently."""
    places, _ = count_grid(facts.windows, facts.log.n_starts)
    return sum(
        _expect_shared(np.bincount(facts.rank[facts.epoch == e]), places)
        for e in range(facts.n_epochs)
    )


def _expect_shared(draws: npt.NDArray[np.integer], places: int) -> float:
    """Return the expected windows that two or more ranks show in one epoch.

    A window is shown by two or more ranks unless none shows it or a single one does.

    Args:
        draws: (ranks,), the independent draws of each rank.
        places: windows to choose from.
    """
    unseen = np.exp(draws * np.log1p(-1 / places)) if places > 1 else (draws == 0).astype(float)
    none = float(np.prod(unseen))
    single = sum(
        (1 - float(unseen[r])) * float(np.prod(np.delete(unseen, r))) for r in range(len(draws))
    )
    return places * max(0.0, 1 - none - single)
