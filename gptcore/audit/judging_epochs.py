"""Judge epochs of passes: do they show all windows, and where do they end?"""

import math
from typing import Literal

import numpy as np

from gptcore.audit.causes import why_twice
from gptcore.audit.facts import Facts
from gptcore.audit.finding import Finding
from gptcore.audit.labels import zeros
from gptcore.audit.log import Whole
from gptcore.audit.passes import longest_row
from gptcore.audit.replays import find_surprises
from gptcore.audit.unequal import FEWER, ODD, begins_inside, count_odd, find_short
from gptcore.audit.visits import are_mixed, early_returns, equal_visits

EARLY_SD = 4.5
EARLY = (
    " Many windows come again before half of the others: epochs that are shuffled together, or a "
    "shuffle buffer that holds windows of two epochs, do this, and so does a data set that holds "
    "windows several times."
)
ODD_VISITS = "Whole passes, cut where the log ends, show all windows k or k + 1 times. "


def judge_epochs(facts: Facts) -> list[Finding]:
    """Judge epochs of passes that show fewer windows than other epochs do."""
    if not facts.fixed or not facts.is_epoch:
        return []
    cut = facts.epochs_from == "repeats"  # a few windows may be counted with the epoch before
    most = int(facts.shown_in_epoch.max())
    short = find_short(facts.shown_in_epoch, tolerance=max(1, int(FEWER * most)) if cut else 0)
    if len(short) and int(facts.log.length.min()) < facts.log.block_size:
        short = np.intersect1d(short, find_short(_targets_in_epoch(facts)))  # longer, so fewer
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


def _targets_in_epoch(facts: Facts) -> Whole:
    """Return the targets of the distinct windows of each epoch."""
    shown = np.unique(facts.epoch * len(facts.windows) + facts.windows.of_draw)
    epoch, window = np.divmod(shown, len(facts.windows))
    return np.bincount(epoch, facts.windows.length[window]).astype(np.int64)


def judge_unknown_epochs(facts: Facts) -> list[Finding]:
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
        example = f"{often} windows come more often than whole passes explain"
        findings.append(Finding("shown_twice", facts.shown_twice, example, ODD_VISITS + reason))
    if not in_order and seldom > least:
        reason = (
            "So an epoch leaves windows out: batches that a resumed run skips, or a change of the "
            "number of ranks inside an epoch."
        )
        example = f"{seldom} windows come less often than whole passes explain"
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
