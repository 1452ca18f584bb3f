"""Judge independent draws: do they reach the whole text, evenly, and each time anew?"""

import numpy as np

from gptcore.audit.causes import STREAMS, are_uneven, why_repeated
from gptcore.audit.facts import Facts
from gptcore.audit.finding import Finding, are_alike, tell_window
from gptcore.audit.passes import are_blocks, count_grid
from gptcore.audit.replays import find_surprises
from gptcore.audit.uneven import find_uneven, find_unreached
from gptcore.audit.visits import find_echo
from gptcore.theory.expectations import expect

# A count is beyond chance if it lies this many standard deviations above its expectation. Missed
# targets come in runs, so their number is skewed: with six standard deviations, independent draws
# are flagged less than once in 1,000 logs.
BEYOND_SD = 6.0
FEW_DRAWS = 2**18  # are enough to see how many draws are made together


def judge_reach(facts: Facts, places: str, unsure: str) -> list[Finding]:
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


def judge_repeats(facts: Facts) -> list[Finding]:
    """Judge repeats of independent draws that are neither replays nor shared between ranks."""
    once_each = facts.n_epochs > 1 and not facts.repeated_in_epoch  # epochs of the same windows
    if facts.passes or once_each:
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
            f"{tell_window(facts.windows, most)} is drawn {int((kept == most).sum())} times",
            f"Independent draws would repeat {mean:.1f} ± {sd:.1f} windows. "
            f"{why_repeated(facts, kept)}",
        )
    ]


def judge_parts(facts: Facts) -> list[Finding]:
    """Judge whether independent draws reach all parts of the text, and equally often."""
    windows, log = facts.windows, facts.log
    same = int(log.length.min()) == log.block_size and log.unsure is None
    if facts.passes or not same or (windows.stride <= 1 and are_blocks(windows)):
        return []
    # Ranks may share windows by chance; those that make the same draws count once.
    chosen = facts.once if are_alike(facts) else facts.once | facts.shared & ~facts.replayed
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
