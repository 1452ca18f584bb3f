"""A resumed run beside the unbroken one: what is repeated, skipped, reordered, of another epoch."""

import tracemalloc
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptcore.audit import DrawLog, audit_resume
from tests.helpers.strategies import repeatable

COUNTS = ("repeated", "skipped", "reordered", "wrong_epoch", "other_windows")
P0, P1, P2 = (np.random.default_rng(seed).permutation(100) for seed in range(3))
WHOLE = np.concatenate([P0, P1])


def log(windows, **columns):
    windows = np.asarray(windows, dtype=np.int64)
    columns = {name: np.asarray(values, dtype=np.int64) for name, values in columns.items()}
    return DrawLog(100_000, windows * 8, np.full(len(windows), 8), **columns)


def join(*parts):
    return np.concatenate(parts)


def found(after, before=None, **more):
    """Return the counts that are not zero."""
    result = audit_resume(after, log(WHOLE) if before is None else before).as_dict()
    return {name: result[name] for name in (*COUNTS, "beyond", "not_reached") if result[name]}


@pytest.mark.parametrize(
    ("after", "counts"),
    [
        (WHOLE, {}),
        (WHOLE[:150], {"not_reached": 50}),
        (join(WHOLE, P2[:30]), {"beyond": 30}),
        (join(P0[:60], P0[40:], P1), {"repeated": 20}),
        (join(P0[:60], P0[40:], P1[:80]), {"repeated": 20, "not_reached": 20}),
        (join(P0[:50], P0[55:], P1), {"skipped": 5}),
        (join(P0[:50], P0[55:], P1, P2[:5]), {"skipped": 5, "beyond": 5}),
        (join(P0[:50], P1, P2[:50]), {"skipped": 50, "beyond": 50}),
        (join(P0[:50], P0, P1), {"repeated": 50}),
        (join(P0[:50], np.arange(500, 650)), {"other_windows": 150, "skipped": 150}),
        (join(P0[:40], P0[43:39:-1], P0[44:], P1), {"reordered": 4}),
        (join(P0[:96], P0[:95:-1], P1), {"reordered": 4}),
        (join(P0[:90], P1[:10], P0[90:], P1[10:]), {"reordered": 20}),
        (join(P0[:60], P0[70:], P1[:50], P1[40:]), {"skipped": 10, "repeated": 10}),
    ],
)
def test_what_a_resume_did_is_found(after, counts):
    assert found(log(after)) == counts


def test_both_ends_are_told_by_their_lines_steps_and_tokens():
    steps = np.arange(200) // 4
    result = audit_resume(
        log(join(P0[:60], P0[40:], P1[:80]), step=steps, epoch=np.arange(200) // 120),
        log(WHOLE, step=steps, epoch=np.arange(200) // 100),
    )
    assert result.verdict == "The resumed run repeated 20 windows."
    assert result.tokens["repeated"] == 160
    assert result.begins["repeated"] == {"draw": 60, "line": None, "step": 15}
    (finding,) = result.findings
    assert (finding.kind, finding.severity) == ("repeated", "fault")
    assert "makes the draws that the unbroken run makes from draw 40 (step 10)" in (
        finding.explanation
    )


def test_the_end_is_skipped_where_the_resumed_run_has_left_its_epoch():
    epochs = np.arange(200) // 100
    after = join(P0[:60], P1[:40])
    unbroken = log(WHOLE, epoch=epochs)
    assert found(log(after, epoch=join(epochs[:60], epochs[100:140])), unbroken) == {
        "skipped": 40,
        "not_reached": 60,
    }


def test_windows_of_the_wrong_epoch_are_counted():
    epochs = np.arange(200) // 100
    moved = epochs.copy()
    moved[60:100] = 1
    assert found(log(WHOLE, epoch=moved), log(WHOLE, epoch=epochs)) == {"wrong_epoch": 40}
    # An epoch that the unbroken log does not have is its end, and no wrong one.
    after = log(join(P0[:50], P0[55:], P1[:5]), epoch=join(np.zeros(95), np.ones(5)))
    assert found(after, log(P0, epoch=np.zeros(100))) == {"skipped": 5, "beyond": 5}
    assert audit_resume(log(WHOLE), log(WHOLE)).wrong_epoch is None


def test_epochs_of_one_order_are_told_apart_by_their_column():
    text = np.arange(100)
    epochs = np.arange(300) // 100
    after = log(join(text[:30], text, text), epoch=join(epochs[:30], epochs[100:]))
    assert found(after, log(join(text, text, text), epoch=epochs)) == {"skipped": 70}


def test_work_done_again_from_a_checkpoint_is_a_note():
    steps = np.arange(200) // 4
    result = audit_resume(
        log(join(P0[:60], P0[40:], P1), step=join(steps[:60], steps[40:])), log(WHOLE, step=steps)
    )
    assert (result.redone, result.repeated, result.draws) == (20, 0, 200)
    assert [(f.kind, f.severity) for f in result.findings] == [("redone", "note")]
    assert result.verdict == "The resumed run showed the same windows in the same order."


def in_ranks(windows, n_ranks, first_step=0):
    """Return windows, ranks and steps of batches of four windows, dealt to ranks."""
    at = np.arange(len(windows))
    return windows, at % 4 * n_ranks // 4, at // 4 + first_step


def test_lines_of_ranks_may_be_mixed_in_any_way():
    windows, rank, step = in_ranks(WHOLE, 2)
    unbroken = log(windows, rank=rank, step=step)
    by_rank = np.argsort(rank, kind="stable")
    mixed = windows[by_rank], rank[by_rank]
    assert found(log(mixed[0], rank=mixed[1], step=step[by_rank]), unbroken) == {}
    assert found(log(mixed[0], rank=mixed[1]), log(windows, rank=rank)) == {}


@pytest.mark.parametrize("other", [1, 4])
def test_a_resume_with_other_ranks_counts_the_last_of_each_step(other):
    first, second = in_ranks(WHOLE[:120], 2), in_ranks(WHOLE[80:], other, first_step=20)
    windows, rank, step = (join(*parts) for parts in zip(first, second, strict=True))
    result = audit_resume(
        log(windows, rank=rank, step=step),
        log(WHOLE, rank=in_ranks(WHOLE, 2)[1], step=in_ranks(WHOLE, 2)[2]),
    )
    assert (result.redone, result.repeated, result.skipped, result.reordered) == (40, 0, 0, 0)


@repeatable
@given(st.lists(st.integers(0, 30), min_size=1, max_size=60), st.randoms())
def test_another_order_is_named_reordered_and_nothing_else(windows, random):
    other = windows.copy()
    random.shuffle(other)
    assert set(found(log(other), log(windows))) <= {"reordered"}
    assert bool(found(log(other), log(windows))) == (other != windows)


@repeatable
@given(st.permutations(range(4)), st.integers(0, 49))
def test_another_order_inside_a_batch_is_a_note(order, batch):
    after, steps = WHOLE.copy(), np.arange(200) // 4
    after[4 * batch : 4 * batch + 4] = after[4 * batch : 4 * batch + 4][list(order)]
    result = audit_resume(log(after, step=steps), log(WHOLE, step=steps))
    moved = int((after != WHOLE).sum())
    assert (result.reordered, result.reordered_in_step) == (moved, moved)
    assert [f.severity for f in result.findings] == ["note"] * (moved > 0)
    assert (" in another order inside their steps" in result.verdict) == (moved > 0)
    assert result.repeated == result.skipped == result.other_windows == 0


def slow_counts(after, before):
    """Count by hand, where no window comes twice in an epoch of the unbroken run.

    A draw is then known by its epoch and window, and needs no place.
    """
    have = Counter(after)
    again = sum(have[draw] - 1 for draw in have if draw in set(before))
    there = [at for at, draw in enumerate(before) if draw in have]
    until = there[-1] if there else -1
    left = max(epoch for epoch, _ in after)
    missing = [at for at, draw in enumerate(before) if draw not in have]
    return again, sum(at < until or before[at][0] < left for at in missing), len(missing)


@repeatable
@given(
    st.lists(st.tuples(st.integers(0, 40), st.integers(1, 40)), min_size=1, max_size=4),
    st.integers(0, 2**32 - 1),
)
def test_stretches_of_the_unbroken_run_are_counted_as_a_slow_reference_counts_them(jumps, seed):
    rng = np.random.default_rng(seed)
    windows, epochs = join(*(rng.permutation(20) for _ in range(3))), np.arange(60) // 20
    chosen = join(*(np.arange(first, min(first + length, 60)) for first, length in jumps))
    after = log(windows[chosen], epoch=epochs[chosen])
    result = audit_resume(after, log(windows, epoch=epochs))
    draws = list(zip(epochs.tolist(), windows.tolist(), strict=True))
    again, skipped, missing = slow_counts([draws[at] for at in chosen], draws)
    assert (result.repeated, result.other_windows, result.beyond) == (again, 0, 0)
    assert result.skipped + result.not_reached == missing
    assert result.wrong_epoch == 0
    fresh = list(dict.fromkeys(chosen))
    if fresh == sorted(fresh):  # else the run may still make what it left out
        assert result.skipped == skipped
    if not again:
        assert result.reordered == int((chosen != np.sort(chosen)).sum())


def test_what_the_logs_do_not_tell_is_said():
    told = " ".join(audit_resume(log(P0, rank=P0 % 2), log(P0, rank=P0 % 2)).unjudged)
    assert "column epoch" in told
    assert "several ranks and no column step" in told
    assert "counts as repeated" in told
    steps = np.arange(100)
    columns = {"epoch": steps // 50, "rank": steps % 2, "step": steps // 2}
    assert audit_resume(log(P0, **columns), log(P0, **columns)).unjudged == ()
    (no, *_) = audit_resume(log(P0), log(P0 + 200)).unjudged
    assert no.startswith("The logs have no draw in common")


def test_memory_grows_by_a_bounded_number_of_bytes_a_draw():
    windows = np.random.default_rng(0).permutation(200_000)
    after = log(join(windows[:90_000], windows[80_000:]) % 12_000)
    before = log(windows % 12_000)
    tracemalloc.start()
    try:
        audit_resume(after, before)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak / 410_000 < 150  # bytes for each draw of both logs: the arrays are int64
