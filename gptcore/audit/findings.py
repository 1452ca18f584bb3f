"""Counts of an audit → findings: what chance and custom do not explain, in words.

Legend: K draws, T inputs in the longest window, M = N - T starts.
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from gptcore.audit.counts import Mask, Shown, Windows, expect_repeats
from gptcore.audit.log import DrawLog, Whole
from gptcore.audit.passes import ascend, count_grid
from gptcore.theory.expectations import expect

# Standard deviations above its expectation at which a count is beyond chance. Misses come in runs,
# so their number is skewed: at six, independent draws are flagged less than once in 1,000 logs.
BEYOND_SD = 6.0


@dataclass(frozen=True)
class Finding:
    """Something that a log shows.

    Attributes:
        kind: a count of `audit.Audit`, or "unknown_epochs", "unmatched_rows", "ambiguous_rows",
            "wrong_targets", "masked_targets".
        count: how many.
        example: one of them, in words.
        explanation: what it means, and what to do.
        severity: "fault", or "note" for what is as it should be in some loaders.
    """

    kind: str
    count: int
    example: str
    explanation: str
    severity: Literal["fault", "note"] = "fault"


def expect_independent(log: DrawLog, windows: Windows, draws: int) -> dict[str, float | None]:
    """Return what `draws` independent draws would miss and repeat, where theory says it."""
    block_size = int(log.length.max())
    n_starts = log.n_tokens - block_size
    places, stride = count_grid(windows, n_starts)
    mean, variance = expect_repeats(draws, places)
    expected: dict[str, float | None] = {
        "missed_targets": None,
        "sd_missed_targets": None,
        "repeated_windows": float(mean),
        "sd_repeated_windows": math.sqrt(float(variance)),
    }
    if stride <= 1 and int(log.length.min()) == block_size:
        theory = expect(
            "random_replacement", n_tokens=log.n_tokens, block_size=block_size, draws=draws
        )
        expected["missed_targets"] = theory.missed_targets
        expected["sd_missed_targets"] = theory.sd_missed_targets
    return expected


def judge_missed(
    shown: Shown, log: DrawLog, expected: dict[str, float | None] | None
) -> list[Finding]:
    """Judge targets never shown, other than those lost at borders."""
    if shown.missed == shown.borders:
        return []
    places = (
        f"{shown.head} before the first window, {shown.tail} after the last, "
        f"{shown.inside} between windows, {shown.borders} at block borders"
    )
    if expected is not None:
        mean, sd = expected["missed_targets"], expected["sd_missed_targets"]
        if mean is None or sd is None or shown.missed <= mean + BEYOND_SD * sd + 0.5:
            return []
        reason = (
            f"Independent random windows would miss {mean:.1f} ± {sd:.1f}: these do not reach the "
            "whole text."
        )
        return [Finding("missed_targets", shown.missed, places, reason)]
    short = max(shown.head, shown.tail) < int(log.length.max()) and not shown.inside
    reason = (
        "The ends are shorter than a window, so a fixed grid never shows them; a grid with a fresh "
        "phase each epoch does."
        if short
        else "Whole windows are missing: a last batch that is dropped, a shard that is not read, "
        "or a log that ends early."
    )
    return [Finding("missed_targets", shown.missed, places, reason, "note" if short else "fault")]


def judge_repeats(
    windows: Windows, expected: dict[str, float | None] | None, once: Mask
) -> list[Finding]:
    """Judge repeats among the draws that are neither replays nor shared between ranks."""
    assert expected is not None
    mean, sd = expected["repeated_windows"], expected["sd_repeated_windows"]
    assert mean is not None and sd is not None  # noqa: PT018
    kept = windows.of_draw[once]
    count = len(kept) - len(np.unique(kept))
    if count <= mean + BEYOND_SD * sd + 1:
        return []
    most = int(np.bincount(kept).argmax())
    return [
        Finding(
            "repeated_windows",
            count,
            f"{_window(windows, most)} is drawn {int((kept == most).sum())} times",
            f"Independent draws would repeat {mean:.1f} ± {sd:.1f}: check the range and the seeds "
            "of the random starts, in each worker too.",
        )
    ]


def judge_twice(
    log: DrawLog, windows: Windows, epoch: Whole, count: int, *, once: Mask
) -> list[Finding]:
    """Judge targets shown twice in an epoch of a loader that runs over fixed windows."""
    draws = np.flatnonzero(once)
    keys = epoch[draws] * len(windows) + windows.of_draw[draws]
    _, first, of_draw = np.unique(keys, return_index=True, return_inverse=True)
    again = np.flatnonzero(first[of_draw] != np.arange(len(draws)))
    if len(again):
        later, earlier = int(draws[again[0]]), int(draws[first[of_draw[again[0]]]])
        return [
            Finding(
                "shown_twice",
                count,
                f"{_window(windows, windows.of_draw[later])} at {log.place(earlier)} and again at "
                f"{log.place(later)}",
                f"{len(again)} draws show a window that their epoch has shown already, and so its "
                "targets: check how the order is made, and padding to equal ranks.",
            )
        ]
    stride = count_grid(windows, log.n_tokens - int(log.length.max()))[1]
    if (
        count
        and 1 < stride < log.length.max()
        and 4 * int(np.count_nonzero(np.diff(windows.start) == stride)) > 3 * len(windows)
    ):
        return [
            Finding(
                "shown_twice",
                count,
                f"{_window(windows, 0)} and {_window(windows, min(1, len(windows) - 1))}",
                f"Windows start every {stride} tokens and are longer, so they overlap: intended "
                "where such a stride was chosen.",
                "note",
            )
        ]
    return []


def judge_identical(pairs: list[tuple[int, int]], start: Whole, stream: Whole) -> list[Finding]:
    """Judge epochs in the same order as an earlier one."""
    if not pairs:
        return []
    later, earlier = pairs[0]
    example = f"epoch {later} (from 0) is epoch {earlier} again"
    if ascend(start, stream):
        reason = (
            "The loader reads in order: every epoch is the same, as without shuffling it must be."
        )
        return [Finding("identical_epochs", len(pairs), example, reason, "note")]
    reason = (
        "The order is shuffled, but not anew for each epoch: seed it with (seed, epoch); a "
        "DistributedSampler needs set_epoch(epoch)."
    )
    return [Finding("identical_epochs", len(pairs), example, reason)]


def judge_borders(shown: Shown) -> list[Finding]:
    """Judge targets that no window can show, as they lie between two."""
    if shown.border is None:
        return []
    start, length, size = shown.border
    first = start + length + 1
    what = f"target {first}" if size == 1 else f"targets {first} to {first + size - 1}"
    return [
        Finding(
            "lost_at_borders",
            shown.borders,
            f"{what}, next after the window at {start} of length {length}",
            "Neighbouring windows leave out the same few targets every time: blocks of T + 1 "
            "tokens at stride T + 1, or labels shifted inside the block. Let blocks overlap by one "
            "token.",
        )
    ]


def judge_replays(
    log: DrawLog, windows: Windows, replayed: Mask, replay: tuple[int, int] | None
) -> list[Finding]:
    """Judge runs of draws made before."""
    if replay is None:
        return []
    draw, earlier = replay
    count = int(replayed.sum())
    redone = 0
    if log.step is not None:
        redone = count - len(_new_rows(log.step, windows.of_draw, replayed))
    reason = (
        "After a restart the loader makes the same draws again instead of new ones: save its "
        "position with the checkpoint, and start there."
    )
    if redone == count:
        reason = (
            "All stand under the step at which they were first made: work done again from a "
            "checkpoint, which is right if the weights went back to that step too."
        )
    return [
        Finding(
            "replayed_draws",
            count,
            f"the run from {log.place(draw)} on repeats the run from {log.place(earlier)} on",
            reason,
            "note" if redone == count else "fault",
        )
    ]


def judge_ranks(
    log: DrawLog, windows: Windows, rank: Whole, epoch: Whole, count: int, shared: Mask, *,
    passes: bool, is_epoch: bool,
) -> list[Finding]:  # fmt: skip
    """Judge windows shown by several ranks: in passes any, otherwise those beyond chance."""
    n_ranks, n_epochs = int(rank.max()) + 1, int(epoch.max()) + 1
    if not count:
        return []
    streams = {windows.of_draw[rank == r].tobytes() for r in range(n_ranks)}
    alike = len(streams) < n_ranks and len(rank) >= 4 * n_ranks
    if passes and not (is_epoch or alike):
        return []
    if not (passes or alike):
        places, _ = count_grid(windows, log.n_tokens - int(log.length.max()))
        mean = sum(_expect_shared(np.bincount(rank[epoch == e]), places) for e in range(n_epochs))
        if count <= mean + BEYOND_SD * math.sqrt(mean) + 1:
            return []
    draw = int(shared.argmax())
    example = f"{_window(windows, windows.of_draw[draw])}, again at {log.place(draw)}"
    if alike:
        reason = (
            "Ranks make the same draws in the same order: seed them with (seed, rank) or shard."
        )
    elif count < n_ranks * n_epochs:
        reason = "No more than the padding that makes ranks equally long: drop_last avoids it."
        return [Finding("rank_overlap", count, example, reason, "note")]
    else:
        reason = "Ranks show the same windows in one epoch: each window should belong to one rank."
    return [Finding("rank_overlap", count, example, reason)]


def unknown_epochs(draws: int) -> Finding:
    """Return the finding of passes that do not show where an epoch ends."""
    return Finding(
        "unknown_epochs",
        draws,
        "the log is longer than the text and counts as one epoch",
        "Epochs could not be told apart, so nothing is said of them: give --epoch-draws or a "
        "column epoch.",
        "note",
    )


def unmatched_rows(count: int, example: int) -> Finding:
    """Return the finding of rows that the text lacks."""
    return Finding(
        "unmatched_rows",
        count,
        f"row {example}",
        "These rows are nowhere in the text, and the other counts leave them out: padding, special "
        "tokens, rows across documents, or another text.",
    )


def ambiguous_rows(count: int, example: int) -> Finding:
    """Return the finding of rows that occur at several places."""
    return Finding(
        "ambiguous_rows",
        count,
        f"row {example}",
        "The text has these rows' tokens at several places; they take those places in turn.",
        "note",
    )


def wrong_targets(count: int, example: str) -> Finding:
    """Return the finding of rows whose targets are not their next tokens."""
    return Finding(
        "wrong_targets",
        count,
        example,
        "The targets are neither the inputs moved by one token nor equal to them, so the model "
        "learns something else than the next token: check how they are made.",
    )


def masked_targets(count: int) -> Finding:
    """Return the finding of labels that give no loss."""
    reason = "These targets give no loss; the other counts take them for shown."
    return Finding("masked_targets", count, "labels of -100", reason, "note")


def _window(windows: Windows, index: int | np.int64) -> str:
    return f"the window at {windows.start[index]} of length {windows.length[index]}"


def _new_rows(step: Whole, window: Whole, replayed: Mask) -> npt.NDArray[np.int64]:
    """Return the replayed (step, window) pairs that no draw before them has."""
    pairs = np.unique(np.stack([step, window], axis=1), axis=0, return_index=True)[1]
    return pairs[replayed[pairs]]


def _expect_shared(draws: npt.NDArray[np.integer], places: int) -> float:
    """Return the expected windows that two ranks or more show, each drawing independently."""
    unseen = np.exp(draws * np.log1p(-1 / places)) if places > 1 else (draws == 0).astype(float)
    none = float(np.prod(unseen))
    single = sum(
        (1 - float(unseen[r])) * float(np.prod(np.delete(unseen, r))) for r in range(len(draws))
    )
    return places * max(0.0, 1 - none - single)
