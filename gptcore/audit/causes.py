"""What may have caused a count: sentences that name the causes which fit a log, and no others.

Legend as in `counts`: K draws, T inputs in the longest window.
"""

import math

import numpy as np

from gptcore.audit.facts import Facts
from gptcore.audit.finding import Severity
from gptcore.audit.labels import Mask, count_distinct, zeros
from gptcore.audit.log import Whole
from gptcore.audit.passes import count_grid
from gptcore.audit.visits import (
    count_pairs,
    equal_visits,
    expect_pairs,
    log10_chance_of_equal_visits,
)

CHANCE_PADDING = 1e-3  # repeats that are no padding look like it in fewer logs than this
DENSE = 0.8  # of the draws at both ends of the streams are padding, where whole batches are
FAR_BEYOND_SD = 8.0  # pairs of draws that show one window are skewed where windows are few

RESTART = (
    "After a restart the loader makes the same draws again instead of new ones. Save its position "
    "with the checkpoint, and continue from there."
)
STREAMS = (
    "{k} streams of the same draws are mixed, in turns of {b}. Workers that each stream "
    "everything do this, and so do workers whose random numbers have one seed. Give each "
    "worker its own part or seed (torch.utils.data.get_worker_info)."
)
PADDING = (
    "The first windows of an epoch come again at its end. This is padding, which makes batches or "
    "ranks equally long: accelerate does it with even_batches, and DistributedSampler does it "
    "without drop_last."
)


def why_replayed(facts: Facts) -> tuple[Severity, str]:
    """Return the severity and the explanation of draws that were made before."""
    assert facts.replay is not None
    draw, earlier = facts.replay
    window, epoch = facts.windows.of_draw, facts.epoch
    begins, lengths = _runs(facts.replayed)
    chance = _chance_of_run(facts, int(lengths[0]))
    streams = _mixed_streams(facts.replayed, begins, lengths, draw - earlier)
    if streams is not None:
        k, turn = streams
        told = STREAMS.format(k=k, b=f"{turn} draws" if turn > 1 else "one draw")
        also = f" A restart after {draw} draws fits as well." if len(begins) == 1 else ""
        return "fault", f"{told}{also} {chance}"
    # The windows of a padded epoch come again after a whole pass, and are few.
    back = begins - _before(window)[begins]
    padded = (2 * lengths <= back) & (10 * back >= 9 * min(len(facts.windows), _pass(facts)))
    inside = bool((epoch[begins] == epoch[begins - back]).all()) and facts.is_epoch
    several = len(begins) > 1 or (inside and (10 * lengths <= back).all())
    known = inside and facts.epochs_from != "unknown"
    if (padded.all() and several) or (known and is_padding(facts, np.flatnonzero(facts.replayed))):
        return "note", f"{PADDING} {chance}"
    also = ""
    if _place(epoch, draw) == _place(epoch, earlier) and epoch[draw] != epoch[earlier]:
        also += (
            " An order that is shuffled in the same way as in an earlier epoch fits as well: "
            "set_epoch is missing, or the seed does not change."
        )
    ends = (
        draw + lengths[0] == len(epoch)
        or epoch[draw] != epoch[min(draw + lengths[0], len(epoch) - 1)]
    )
    if _place(epoch, earlier) == 0 and (2 * lengths[0] <= _pass(facts) or (inside and ends)):
        also += (
            " The end of an epoch that is padded with its first windows fits as well "
            "(even_batches of accelerate, DistributedSampler)."
        )
    return "fault", f"{RESTART}{also} {chance}"


def why_repeated(facts: Facts, window: Whole) -> str:
    """Return why independent draws show windows more often than chance.

    Args:
        facts: the counts of the log.
        window: indices of windows, of the draws that are judged.
    """
    repeats = len(window) - count_distinct(window)
    k = equal_visits(window, zeros(len(window)))
    if 2 * np.count_nonzero(window[1:] == window[:-1]) > repeats:
        return (
            "Most of them come right after each other, so several streams of the same draws are "
            "mixed in turns of one: workers whose random numbers have one seed do this. Give each "
            "worker its own seed."
        )
    if k is not None and k > 1:
        return (
            f"Nearly every window that is drawn comes {k} times: {k} workers or ranks draw with "
            f"the same seed, or a seed is used {k} times."
        )
    start = facts.windows.start
    places, _ = count_grid(facts.windows, facts.log.n_starts)
    reach = places * (int(start[-1]) - int(start[0]) + 1) / facts.log.n_starts
    if reach < 0.9 * places and not are_uneven(window, max(2, round(reach))):
        return (
            f"All starts lie between {start[0]} and {start[-1]}, and there they are even: check "
            "the range of the random starts."
        )
    most = int(np.bincount(window).max())
    return (
        f"The most frequent window is drawn {most} times, where {len(window) / places:.1f} are "
        "expected. Some windows are preferred: weights of a sampler (WeightedRandomSampler), "
        "sources that are mixed with probabilities (interleave_datasets), or random starts that "
        "are not uniform do this."
    )


def are_uneven(window: Whole, places: int) -> bool:
    """Return whether independent uniform draws would hardly visit the windows so unevenly."""
    pairs = float(count_pairs(window, zeros(len(window)))[0])
    mean, variance = expect_pairs(len(window), places)
    return bool(pairs > mean + FAR_BEYOND_SD * math.sqrt(variance) + 1)


def why_twice(facts: Facts, again: int) -> tuple[Severity, str]:
    """Return the severity and the explanation of windows that an epoch shows again.

    Args:
        facts: the counts of the log.
        again: draws that show a window again.
    """
    window, epoch = facts.windows.of_draw[facts.once], facts.epoch[facts.once]
    told = f"{again} draws show a window that their epoch has already shown"
    k = equal_visits(window, epoch)
    if k is not None and k > 1:
        chance = log10_chance_of_equal_visits(k, len(facts.windows)) * facts.n_epochs
        return "fault", (
            f"{told}: nearly every window is shown exactly {k} times. Independent draws do this "
            f"with a probability of 1 in 10^{-chance:.0f}. Causes that fit: {k} workers that each "
            "stream everything (give each its part by get_worker_info), ranks that each have an "
            f"order of everything, a data set that holds each window {k} times, or {k} epochs that "
            "count as one (give --epoch-draws or a column epoch)."
        )
    draws, before = np.flatnonzero(facts.once), _before(epoch * len(facts.windows) + window)
    repeat = draws[before >= 0]
    if is_padding(facts, repeat):
        return "note", f"{told}. {PADDING}"
    together = ""
    total = equal_visits(facts.windows.of_draw, zeros(len(facts.log)))
    if total is not None and total > 1:
        together = (
            f" Over the whole log, nearly every window comes {total} times: {total} epochs that "
            "are shuffled together do this, as the data set of Megatron has them. If that is "
            "intended, say so: --sampler shuffled_across_epochs."
        )
    unsure = facts.log.unsure
    if unsure is not None and (unsure[repeat] | unsure[draws[before[before >= 0]]]).all():
        return "note", (
            f"{told}. All of them hold tokens that occur at several places of the text, so they "
            "may be other windows with the same tokens."
        )
    return "fault", (
        f"{told}, and so show its targets twice. Causes that fit: sampling with replacement or "
        "with weights, epochs that are shuffled together, an order that is put together from "
        f"several sources, or batches that are made again after a restart.{together}"
    )


def why_missed(facts: Facts, unplaced: int) -> tuple[Severity, str]:
    """Return the severity and the explanation of targets that passes never show.

    Args:
        facts: the counts of the log.
        unplaced: tokens of packed rows that do not tell their place.
    """
    shown, windows, size = facts.at_best, facts.windows, facts.log.block_size
    reach = np.maximum.accumulate(windows.start + windows.length)
    between = (windows.start[1:] - reach[:-1]).clip(0)
    hole = min(int(between.max()), shown.inside + shown.borders) if len(between) else 0
    if max(shown.head, shown.tail) < size and not shown.inside:
        return "note", (
            "The ends that are missed are shorter than a window, so a fixed grid never shows "
            "them. A grid that is shifted by a new random phase in each epoch does."
        )
    if shown.head + shown.tail + shown.inside <= unplaced:
        return "note", (
            f"The rows hold {unplaced} tokens of documents that do not tell their place: they are "
            "too few, or the text has them several times. These may be the targets that are missed."
        )
    if max(shown.head, shown.tail, hole) < size:
        return "fault", (
            f"All holes are shorter than a window; the longest has {hole} targets. Causes that "
            "fit: documents or rows that are cut to a length, a last row that is dropped because "
            "it is not full, a stride that is longer than the windows, or short documents that are "
            "left out."
        )
    if facts.may_go_on:
        return "note", (
            f"The log shows {len(windows)} windows once each, and may end before its epoch does. "
            "Audit a whole epoch to learn which targets it misses: give --epoch-draws, draw more "
            "batches, or audit the loader itself to its end."
        )
    return "fault", f"Whole windows are missing. Causes that fit: {_causes_of_holes(facts, hole)}."


def _causes_of_holes(facts: Facts, hole: int) -> str:
    """Return what may leave out whole windows; the longest hole has so many targets."""
    shown, size, causes = facts.at_best, facts.log.block_size, []
    if facts.rank_overlap:
        causes.append("ranks that shuffle with seeds of their own, so that their parts overlap")
    if 2 * int(facts.windows.length.min()) < size:
        causes.append("documents that are cut to a length to fill rows, or left out")
    if hole >= size:
        causes += ["a shard that is not read", "batches that were lost at a restart"]
        causes.append("a last batch that is dropped after shuffling (drop_last)")
    if shown.tail >= size:
        causes.append("a last batch that is dropped (drop_last)" if hole < size else "")
        causes.append("a bounds check that ends each pass too early")
    if shown.head >= size:
        causes.append("a start that lies behind the beginning of the text")
    causes.append("a text of which only a part was read")
    if not facts.epoch.any() and not facts.log.is_whole:
        causes.append("a log that ends before its epoch does (give --epoch-draws)")
    return "; ".join(filter(None, causes))


def _runs(marked: Mask) -> tuple[Whole, Whole]:
    """Return where the runs of marked draws begin, and how long they are."""
    edges = np.diff(np.concatenate([[False], marked, [False]]).astype(np.int8))
    begins = np.flatnonzero(edges == 1)
    return begins, np.flatnonzero(edges == -1) - begins


def _before(label: Whole) -> Whole:
    """Return the last earlier place of each label, or -1."""
    order = np.argsort(label, kind="stable")
    same = label[order][1:] == label[order][:-1]
    before = np.full(len(label), -1, dtype=np.int64)
    before[order[1:][same]] = order[:-1][same]
    return before


def _pass(facts: Facts) -> int:
    """Return the draws in the longest epoch, where epochs are known; else the distinct windows."""
    return int(np.bincount(facts.epoch).max()) if facts.is_epoch else len(facts.windows)


def _place(epoch: Whole, draw: int) -> int:
    """Return how many draws of its epoch were made before a draw."""
    return int(np.count_nonzero(epoch[:draw] == epoch[draw]))


def is_padding(facts: Facts, draws: Whole) -> bool:
    """Return whether draws end their streams and show windows that an epoch began with.

    Both ends are a half of a stream or less, since whole batches may be padding. They hold nothing
    else, or so many draws that these hardly ever lie in both by chance.
    """
    order = np.argsort(facts.stream, kind="stable")
    sizes = np.bincount(facts.stream)
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    size = sizes[facts.stream]
    key = facts.epoch * len(facts.windows) + facts.windows.of_draw
    first = np.unique(key, return_index=True)[1]
    first = first[np.searchsorted(key[first], key[draws])]
    late = float(((size - place)[draws] / size[draws]).max())
    early = float(((place[first] + 1) / size[first]).max())
    total = int(sizes[np.unique(facts.stream[draws])].sum())
    exact = total * max(late, early) < len(draws) + 0.5
    rare = len(draws) * math.log(late * early) < math.log(CHANCE_PADDING)
    # DistributedSampler shows the first draw of some ranks again as the last draw of others.
    dealt = int((size - place)[draws].max()) == 1 and int(place[first].max()) == 0
    dealt &= bool(facts.rank.any())
    # Padding shows nearly all that its streams begin with, and is nearly all that they end with.
    begins = np.isin(facts.stream, facts.stream[first]) & ((place + 1) / size <= early)
    ends = np.isin(facts.stream, facts.stream[draws]) & ((size - place) / size <= late)
    both = max(np.count_nonzero(begins), np.count_nonzero(ends))
    dense = len(draws) >= DENSE * both - count_distinct(facts.stream[draws])  # a batch may be part
    # Without a column rank, the padding of ranks lies apart, and is as much in each epoch.
    in_epoch = np.bincount(facts.epoch[draws], minlength=facts.n_epochs)
    steady = facts.n_epochs > 1 and np.ptp(in_epoch[:-1]) == 0 < in_epoch[0]
    at_ends = (exact or (rare and (dense or steady))) and max(late, early) <= 0.5
    return bool(2 * len(draws) < len(place) and (dealt or at_ends))


def _mixed_streams(
    replayed: Mask, begins: Whole, lengths: Whole, turn: int
) -> tuple[int, int] | None:
    """Return how many equal streams are mixed, and the draws in a turn of each, or None."""
    draws, new = len(replayed), int(np.count_nonzero(~replayed))
    k = round(draws / new)
    regular = int(np.median(lengths)) == (k - 1) * turn and int(begins[0]) == turn
    near = abs(draws - k * new) <= max(draws // 10, turn)
    return (k, turn) if k > 1 and regular and near else None


def _chance_of_run(facts: Facts, length: int) -> str:
    """Say how probable it is that a shuffled log makes a run of so many draws again."""
    pairs = math.log(max(len(facts.log), 2)) * 2 - math.log(2)
    power = (length * math.log(max(len(facts.windows), 2)) - pairs) / math.log(10)
    if power < 1:
        return f"The first run has {length} draws."
    return (
        f"The first run has {length} draws; in a random order, draws like these are made again "
        f"with a probability of about 1 in 10^{power:.0f}."
    )
