"""Counts of an audit → findings: what neither chance nor common practice explains, in words."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from gptcore.audit.causes import (
    STREAMS,
    are_uneven,
    is_padding,
    why_missed,
    why_repeated,
    why_replayed,
    why_twice,
)
from gptcore.audit.counts import Windows
from gptcore.audit.epochs import are_shards
from gptcore.audit.facts import Facts
from gptcore.audit.labels import zeros
from gptcore.audit.passes import are_blocks, count_grid, is_in_order, longest_row
from gptcore.audit.replays import find_surprises
from gptcore.audit.unequal import FEWER, ODD, begins_inside, count_odd, find_short
from gptcore.audit.uneven import find_uneven, find_unreached
from gptcore.audit.visits import are_mixed, early_returns, equal_visits, find_echo
from gptcore.theory.expectations import expect

# A count is beyond chance if it lies this many standard deviations above its expectation. Missed
# targets come in runs, so their number is skewed: with six standard deviations, independent draws
# are flagged less than once in 1,000 logs.
BEYOND_SD = 6.0
EARLY_SD = 4.5
EARLY = (
    " Many windows come again before half of the others: epochs that are shuffled together, or a "
    "shuffle buffer that holds windows of two epochs, do this, and so does a data set that holds "
    "windows several times."
)
ODD_VISITS = "Whole passes, cut where the log ends, show all windows k or k + 1 times. "
FEW_DRAWS = 2**18  # are enough to see how many draws are made together


@dataclass(frozen=True)
class Finding:
    """Something that a log shows.

    Attributes:
        kind: the name of a count of `audits.Audit`, or "unknown_epochs", "unmatched_rows",
            "ambiguous_rows", "packed_rows", "changed_ids", "wrong_targets", "masked_targets".
        count: how many there are.
        example: one of them, in words.
        explanation: what it means, and what to do.
        severity: "fault", or "note" for what is intended in some loaders.
    """

    kind: str
    count: int
    example: str
    explanation: str
    severity: Literal["fault", "note"] = "fault"


def judge(facts: Facts, unplaced: int = 0) -> list[Finding]:
    """Return the findings of a log whose draws are known, but for a few `unplaced` tokens."""
    return [
        *_judge_missed(facts, unplaced),
        *_judge_epochs(facts),
        *_judge_repeats(facts),
        *_judge_parts(facts),
        *_judge_borders(facts),
        *_judge_identical(facts),
        *_judge_replays(facts),
        *_judge_unknown_epochs(facts),
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
        return _judge_reach(facts, places, unsure)
    if unsure and best.missed == best.borders:
        return [Finding("missed_targets", shown.missed, places, unsure.strip(), "note")]
    severity, reason = why_missed(facts, unplaced)
    return [Finding("missed_targets", shown.missed, places, f"{reason}{unsure}", severity)]


def _judge_reach(facts: Facts, places: str, unsure: str) -> list[Finding]:
    """Judge the targets that independent windows never show, against as many random ones."""
    assert facts.expected is not None
    missed, log = facts.at_best.missed, facts.log
    mean, sd = facts.expected["missed_targets"], facts.expected["sd_missed_targets"]
    if mean is None or sd is None or missed <= mean + BEYOND_SD * sd + 0.5:
        return []
    # Windows that repeat are judged as such. Do the distinct ones reach the text?
    distinct = expect(
        "random_replacement",
        n_tokens=log.n_tokens,
        block_size=log.block_size,
        draws=len(facts.windows),
    )
    assert distinct.missed_targets is not None
    assert distinct.sd_missed_targets is not None
    if missed <= distinct.missed_targets + BEYOND_SD * distinct.sd_missed_targets + 0.5:
        return []
    reason = (
        f"Independent random windows would miss {mean:.1f} ± {sd:.1f} targets, so these "
        f"windows do not reach the whole text: check the range of the random starts.{unsure}"
    )
    return [Finding("missed_targets", facts.shown.missed, places, reason)]


def _judge_epochs(facts: Facts) -> list[Finding]:
    """Judge epochs of passes that show fewer windows than other epochs do."""
    if not facts.fixed or not facts.is_epoch:
        return []
    cut = facts.epochs_from == "repeats"  # a few windows may be counted with the epoch before
    most = int(facts.shown_in_epoch.max())
    short = find_short(facts.shown_in_epoch, tolerance=max(1, int(FEWER * most)) if cut else 0)
    if not len(short):
        return []
    left = most - facts.shown_in_epoch[short]
    inside = begins_inside(facts.log) if short.tolist() == [0] else False
    severity: Literal["fault", "note"] = "fault"
    also = ""
    if inside is None and cut:
        also = " The log may also begin inside this epoch; a column step tells."
    if inside:
        severity, also = "note", " The log may also begin inside this epoch."
    return [
        Finding(
            "missed_in_epoch",
            int(left.sum()),
            f"epoch {short[0]} shows {most - left[0]} windows where other epochs show {most} "
            "(epochs are counted from 0)",
            f"{len(short)} of {facts.n_epochs} epochs show fewer windows than the others. Causes "
            "that fit: batches that a resumed run skips, windows that were waiting in a shuffle "
            "buffer or in workers when the loader was restarted, or a change of the number of "
            f"ranks inside an epoch.{also}",
            severity,
        )
    ]


def _judge_repeats(facts: Facts) -> list[Finding]:
    """Judge repeats of independent draws that are neither replays nor shared between ranks."""
    if facts.passes:
        return []
    assert facts.expected is not None
    mean, sd = facts.expected["repeated_windows"], facts.expected["sd_repeated_windows"]
    assert mean is not None and sd is not None  # noqa: PT018
    kept = facts.windows.of_draw
    kept = kept if facts.once.all() else kept[facts.once]
    count = len(kept) - int(np.count_nonzero(np.bincount(kept)))
    places, _ = count_grid(facts.windows, facts.log.n_starts)
    if count <= mean + BEYOND_SD * sd + 1 and not are_uneven(kept, places):
        echo = find_echo(kept, max(places, 2))
        if echo is None:
            return []
        example = f"many draws show the window that was shown {echo} draws before"
        told = STREAMS.format(k="Several", b=f"{echo} draws" if echo > 1 else "one draw")
        return [Finding("repeated_windows", count, example, told)]
    most = int(np.bincount(kept).argmax())
    return [
        Finding(
            "repeated_windows",
            count,
            f"{_window(facts.windows, most)} is drawn {int((kept == most).sum())} times",
            f"Independent draws would repeat {mean:.1f} ± {sd:.1f} windows. "
            f"{why_repeated(facts, kept)}",
        )
    ]


def _judge_parts(facts: Facts) -> list[Finding]:
    """Judge whether independent draws reach all parts of the text, and equally often."""
    windows, log = facts.windows, facts.log
    same = int(log.length.min()) == log.block_size and log.unsure is None
    if facts.passes or not same or (windows.stride <= 1 and are_blocks(windows)):
        return []
    # Ranks may share windows by chance; those that make the same draws count once.
    chosen = facts.once if _are_alike(facts) else facts.once | facts.shared & ~facts.replayed
    start = log.start if chosen.all() else log.start[chosen]
    stride = max(windows.stride, 1)
    first = int(windows.start[0]) % stride
    n_places = count_grid(windows, log.n_starts)[0]
    surprises = find_surprises(facts.windows.of_draw[:FEW_DRAWS], facts.rank[:FEW_DRAWS])
    cluster = min(len(log), FEW_DRAWS) / np.count_nonzero(surprises)
    unreached = find_unreached(windows, len(start) / cluster, log.n_starts)
    if unreached is not None:
        begin, end = unreached
        return [
            Finding(
                "limited_range",
                (end - begin + 1) // stride,
                f"no window starts between {begin} and {end}",
                f"{len(start):,} independent draws hardly ever leave out so long a stretch of the "
                "text: check the range of the random starts, and whether the whole text was read.",
            )
        ]
    region = find_uneven(start, n_places, first=first, stride=stride, cluster=cluster)
    if region is None:
        return []
    begin, end = (at * stride + first for at in (region.first, region.last))
    return [
        Finding(
            "uneven_visits",
            region.draws,
            f"{region.draws:,} draws start between {begin} and {end}, where "
            f"{region.expected:.1f} are expected",
            "Some parts of the text are drawn more often than others, beyond chance: weights of a "
            "sampler, sources that are mixed with probabilities, random starts that are not "
            "uniform, or workers or ranks that do not start equally often do this.",
        )
    ]


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
    if facts.passes:
        reason = (
            "The order is shuffled, but it is the same in each epoch. Seed it with (seed, epoch); "
            "a DistributedSampler needs set_epoch(epoch). A loader whose state was restored at "
            "the end of an epoch does this as well."
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
    if log.step is not None and not _has_new_pairs(log.step, facts):
        reason = (
            "All of these draws stand under the step at which they were first made. This is work "
            "done again from a checkpoint, which is right if the weights went back to that step."
        )
        return [Finding("replayed_draws", count, example, reason, "note")]
    severity, reason = why_replayed(facts)
    return [Finding("replayed_draws", count, example, reason, severity)]


def _judge_unknown_epochs(facts: Facts) -> list[Finding]:
    """Judge passes that do not show where an epoch ends."""
    if not facts.fixed or facts.is_epoch:
        return []
    returns_early = _return_early(facts)
    if returns_early and are_mixed(facts.windows.of_draw):
        early, repeats = early_returns(facts.windows.of_draw[facts.once])
        reason = why_twice(facts, repeats)[1]
        return [
            Finding(
                "shown_twice",
                facts.shown_twice,
                f"{early} of {repeats} windows come again before half of the others",
                f"No order of whole passes fits this log. Counted as one epoch, {reason}",
                "note" if are_shards(facts.windows.of_draw) else "fault",
            )
        ]
    if odd := _judge_odd(facts):
        return odd
    return [
        Finding(
            "unknown_epochs",
            len(facts.log),
            "the log is longer than the text and counts as one epoch",
            f"The epochs could not be told apart, so the audit says nothing about single epochs. "
            f"Give --epoch-draws or a column epoch.{EARLY * returns_early}",
            "note",
        )
    ]


def _judge_odd(facts: Facts) -> list[Finding]:
    """Judge how often passes of unknown length show each window."""
    window = facts.windows.of_draw
    in_order = 2 * np.count_nonzero(find_surprises(window, facts.rank)) < len(window)
    k = equal_visits(window, zeros(len(window)))
    longest = int(longest_row(window, zeros(len(window))).max())
    if in_order and k is not None and k > 1 and 4 * longest < len(facts.windows):
        return [
            Finding(
                "shown_twice",
                facts.shown_twice,
                f"no more than {longest} draws in a row show different windows",
                f"Windows come again at once, and nearly every window is shown exactly {k} times: "
                "several workers that each stream everything, in order, do this. Give each worker "
                "its own part or seed (torch.utils.data.get_worker_info).",
            )
        ]
    # Where a buffer holds windows of two passes, no pass stands alone in the log.
    seldom, often = count_odd(window, sharp=longest >= len(facts.windows))
    least = max(2, ODD * len(facts.windows), int(facts.rank.max()) + 1)
    findings = []
    if not in_order and often > least:
        reason = (
            "So an epoch shows windows twice: ranks or workers whose parts overlap, a change of "
            "the number of ranks inside an epoch, or draws that are made again after a restart."
        )
        example = f"{often} windows come at least twice more often than most others"
        findings.append(Finding("shown_twice", facts.shown_twice, example, ODD_VISITS + reason))
    if not in_order and seldom > least:
        reason = (
            "So an epoch leaves windows out: batches that a resumed run skips, or a change of the "
            "number of ranks inside an epoch."
        )
        example = f"{seldom} windows come at least twice less often than most others"
        findings.append(Finding("missed_in_epoch", seldom, example, ODD_VISITS + reason))
    return findings


def _return_early(facts: Facts) -> bool:
    """Return whether fixed windows come again earlier than in one shuffled pass after another.

    One in eight comes early by chance; windows that follow each other in order do so together.
    """
    if facts.expected is not None or facts.rank.any():
        return False
    window = facts.windows.of_draw[facts.once]
    early, repeats = early_returns(window)
    together = len(window) / np.count_nonzero(find_surprises(window, zeros(len(window))))
    spread = math.sqrt(repeats * 7 / 64 * together)
    return early > max(repeats / 4, repeats / 8 + EARLY_SD * spread)


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
                f"{_window(windows, windows.of_draw[later])} at {log.place(earlier)} and again at "
                f"{log.place(later)}",
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
                f"{_window(windows, 0)} and {_window(windows, min(1, len(windows) - 1))}",
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
    alike = _are_alike(facts)
    if facts.passes and not ((facts.fixed and facts.is_epoch) or alike):
        return []
    if not (facts.passes or alike):
        mean = _expect_rank_overlap(facts)
        if count <= mean + BEYOND_SD * math.sqrt(mean) + 1:
            return []
    draw = int(facts.shared.argmax())
    example = f"{_window(windows, windows.of_draw[draw])}, again at {facts.log.place(draw)}"
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


def _are_alike(facts: Facts) -> bool:
    """Return whether two ranks make the same draws in the same order."""
    rank, n_ranks = facts.rank, int(facts.rank.max()) + 1
    if n_ranks == 1 or len(rank) < 4 * n_ranks:
        return False
    window = facts.windows.of_draw
    return len({window[rank == r].tobytes() for r in range(n_ranks)}) < n_ranks


def _window(windows: Windows, index: int | np.int64) -> str:
    return f"the window at {windows.start[index]} of length {windows.length[index]}"


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
