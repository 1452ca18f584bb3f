import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptcore.audit.audits import audit_draws, audit_log
from gptcore.audit.counts import find_replays
from gptcore.audit.log import DrawLog
from gptcore.sampling.samplers import SAMPLERS, make_sampler
from tests.helpers.strategies import repeatable, shapes

COUNTS = (
    "draws",
    "missed_targets",
    "repeated_windows",
    "identical_epochs",
    "lost_at_borders",
    "replayed_draws",
    "rank_overlap",
)


def look(starts, length, n_tokens, *, epoch_draws=None, **columns):
    starts = np.asarray(starts, dtype=np.int64)
    lengths = np.broadcast_to(np.asarray(length, dtype=np.int64), starts.shape)
    columns = {name: np.asarray(values, dtype=np.int64) for name, values in columns.items()}
    return audit_draws(DrawLog(n_tokens, starts, lengths, **columns), epoch_draws=epoch_draws)


def faults(audit):
    return {
        finding.kind: finding.count for finding in audit.findings if finding.severity == "fault"
    }


def notes(audit):
    return {finding.kind: finding.count for finding in audit.findings if finding.severity == "note"}


def grid(n_blocks, length=8):
    return np.arange(n_blocks) * length


def permuted(n_blocks, *, epochs, seed=0, length=8):
    rng = np.random.default_rng(seed)
    return np.concatenate([rng.permutation(n_blocks) for _ in range(epochs)]) * length


def random_starts(draws, n_starts, seed=0):
    return np.random.default_rng(seed).integers(n_starts, size=draws)


# --- counts against counting by hand ---------------------------------------------------------


@st.composite
def logs(draw):
    """Draw (n_tokens, rows) with rows of start, length, epoch, rank."""
    n_tokens, block_size = draw(shapes(max_block=5, max_starts=20))
    row = st.tuples(
        st.integers(0, n_tokens - block_size - 1),
        st.integers(1, block_size),
        st.integers(0, 2),
        st.integers(0, 2),
    )
    return n_tokens, draw(st.lists(row, min_size=1, max_size=25))


@repeatable
@given(logs())
def test_counts_are_those_counted_by_hand(log):
    n_tokens, rows = log
    start, length, epoch, rank = zip(*rows, strict=True)
    audit = look(start, length, n_tokens, epoch=epoch, rank=rank)
    shown = {s + k for s, n, _, _ in rows for k in range(1, n + 1)}
    twice = shared = repeated = 0
    orders = []
    for e in sorted(set(epoch)):
        mine = [row for row in rows if row[2] == e]
        windows = [(s, n) for s, n, _, _ in mine]
        repeated += len(windows) - len(set(windows))
        targets = [s + k for s, n in windows for k in range(1, n + 1)]
        twice += sum(targets.count(t) > 1 for t in set(targets))
        ranks = {w: {row[3] for row in mine if row[:2] == w} for w in windows}
        shared += sum(len(r) > 1 for r in ranks.values())
        orders.append(sorted(((r, i, s, n) for i, (s, n, _, r) in enumerate(mine))))
    orders = [[(r, s, n) for r, _, s, n in order] for order in orders]
    assert audit.draws == len(rows)
    assert audit.missed_targets == n_tokens - 1 - len(shown)
    assert audit.repeated_windows == len(rows) - len({row[:2] for row in rows})
    assert audit.repeated_in_epoch == repeated
    assert audit.shown_twice == twice
    assert audit.rank_overlap == shared
    assert audit.identical_epochs == sum(
        len(order) > 1 and order in orders[:i] for i, order in enumerate(orders)
    )


@repeatable
@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 1)), min_size=1, max_size=30),
    st.integers(2, 6),
)
def test_replays_are_the_runs_found_by_hand(draws, run):
    window, group = (np.array(column) for column in zip(*draws, strict=True))
    expected = np.zeros(len(draws), dtype=bool)
    for g in (0, 1):
        at = np.flatnonzero(group == g)
        mine = window[at].tolist()
        for i in range(len(mine) - run + 1):
            if any(mine[j : j + run] == mine[i : i + run] for j in range(i - run + 1)):
                expected[at[i : i + run]] = True
    np.testing.assert_array_equal(find_replays(window, group, run)[0], expected)


# --- clean logs ------------------------------------------------------------------------------

# What is true of a sampler by its design.
TRUE_OF = {
    "sequential": {"identical_epochs"},
    "overlapping_stride": {"shown_twice"},
    "stratified": {"unknown_epochs"},
    "t_plus_1_stride": {"lost_at_borders", "identical_epochs"},
    "shift_in_block": {"lost_at_borders", "identical_epochs"},
}


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("epochs", [1, 3])
@pytest.mark.parametrize("name", SAMPLERS)
def test_clean_log_has_no_findings_but_what_is_true_of_its_sampler(name, epochs, seed):
    n_tokens, block_size = 4_005 + 7 * seed, 16
    sampler = make_sampler(name, n_tokens=n_tokens, block_size=block_size, seed=seed)
    draws = epochs * (sampler.draws_per_epoch or n_tokens // block_size)
    starts = sampler.starts(0, draws)
    audit = look(starts, block_size - (name == "shift_in_block"), n_tokens)
    kinds = {finding.kind for finding in audit.findings} - TRUE_OF.get(name, set())
    assert kinds <= {"missed_targets"}
    assert "missed_targets" not in faults(audit)
    assert audit.replayed_draws == 0


@pytest.mark.parametrize("load", [0.1, 1, 5])
def test_independent_windows_raise_no_finding(load):
    for seed in range(30):
        draws = int(load * 3_000 / 32)
        audit = look(random_starts(draws, 3_000 - 32, seed), 32, 3_000)
        assert audit.findings == ()
        assert audit.missed_targets > 0 or load > 1
        assert audit.expected["missed_targets"] > 0


def test_epochs_through_a_small_shuffle_buffer_repeat_no_run():
    for seed in range(20):
        rng = np.random.default_rng(seed)
        starts = np.concatenate([np.argsort(np.arange(60) + 3 * rng.random(60)) for _ in range(4)])
        audit = look(starts * 8, 8, 481)
        assert (audit.epochs, audit.findings) == (4, ())


def test_shuffled_epochs_with_drop_last_are_found_without_an_epoch_column():
    for seed in range(10):
        rng = np.random.default_rng(seed)
        starts = np.concatenate([rng.permutation(50)[:40] for _ in range(4)]) * 8
        audit = look(starts, 8, 401)
        assert (audit.epochs, audit.epochs_from) == (4, "passes")
        assert set(faults(audit)) <= {"missed_targets"}


def test_a_short_tail_is_a_note():
    assert notes(look(grid(20), 8, 166)) == {"missed_targets": 5}


def test_gaps_of_random_windows_are_no_borders():
    for seed in range(200):
        assert look(random_starts(60, 2_000, seed), 4, 2_004).lost_at_borders == 0


def test_phases_that_return_are_no_repeats_beyond_chance():
    rng = np.random.default_rng(0)
    phases = [3, 5, 3]
    starts = np.concatenate([rng.permutation(60) * 32 + phase for phase in phases])
    assert faults(look(starts, 32, 60 * 32 + 8)) == {}


# --- planted faults --------------------------------------------------------------------------


def test_a_missing_block_is_found():
    audit = look(np.delete(grid(20), 7), 8, 161)
    assert faults(audit) == {"missed_targets": 8}
    assert audit.lost_at_borders == 0
    assert "8 between windows" in audit.findings[0].example


def test_a_missing_block_is_found_in_a_short_log_in_order():
    assert faults(look(np.delete(grid(10), [3, 4, 7]), 8, 81)) == {"missed_targets": 24}


def test_a_dropped_last_batch_is_found():
    assert faults(look(grid(18), 8, 161)) == {"missed_targets": 16}


def test_random_windows_that_never_reach_the_second_half_are_found():
    assert "missed_targets" in faults(look(random_starts(500, 2_000), 8, 4_000))


def test_a_window_shown_twice_in_an_epoch_is_found():
    starts = np.insert(permuted(40, epochs=1), 30, permuted(40, epochs=1)[3])
    for columns in ({}, {"epoch": np.zeros(41)}):
        audit = look(starts, 8, 321, **columns)
        assert (audit.repeated_windows, audit.repeated_in_epoch, audit.shown_twice) == (1, 1, 8)
        assert faults(audit) == {"shown_twice": 8}


def test_overlapping_blocks_are_a_note():
    assert notes(look(np.arange(40) * 7, 8, 282)) == {"shown_twice": 39}


def test_a_shuffle_that_is_never_renewed_is_found():
    starts = np.tile(permuted(40, epochs=1), 3)
    for columns in ({}, {"epoch": np.repeat([5, 6, 9], 40)}, {"epoch_draws": 40}):
        audit = look(starts, 8, 321, **columns)
        assert faults(audit) == {"identical_epochs": 2}
        assert (audit.epochs, audit.replayed_draws, audit.repeated_windows) == (3, 0, 80)


def test_epochs_are_identical_however_the_ranks_are_mixed():
    order = permuted(40, epochs=1)
    mixed, apart = np.arange(40), np.argsort(np.arange(40) % 2, kind="stable")
    rows = np.concatenate([mixed, apart])
    audit = look(order[rows], 8, 321, rank=rows % 2, epoch=np.repeat([0, 1], 40))
    assert faults(audit) == {"identical_epochs": 1}


def test_an_unshuffled_loader_repeats_its_order_as_a_note():
    audit = look(np.tile(grid(40), 3)[:100], 8, 321)
    assert notes(audit) == {"identical_epochs": 1}
    assert audit.epochs == 3


@pytest.mark.parametrize("n_blocks", [2, 3, 50])
def test_targets_between_blocks_of_t_plus_1_are_lost(n_blocks):
    audit = look(np.arange(n_blocks) * 9, 8, 9 * n_blocks)
    assert faults(audit) == {"lost_at_borders": n_blocks - 1}
    assert audit.missed_targets == n_blocks - 1


def test_targets_of_labels_shifted_inside_the_block_are_lost():
    audit = look(permuted(40, epochs=2), 7, 321)
    assert faults(audit) == {"lost_at_borders": 39}
    assert "target 8, " in audit.findings[0].example


def test_lost_targets_and_a_dropped_tail_are_told_apart():
    audit = look(np.arange(30) * 9, 8, 300)
    assert (audit.lost_at_borders, audit.missed_targets) == (29, 59)


def test_targets_lost_at_the_ends_of_documents_are_found():
    lengths = np.random.default_rng(0).integers(3, 9, size=60)
    starts = np.concatenate([[0], np.cumsum(lengths + 1)[:-1]])
    assert look(starts, lengths, int((lengths + 1).sum())).lost_at_borders == 59


def test_a_missing_document_is_found():
    lengths = np.random.default_rng(0).integers(3, 9, size=60)
    starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
    kept = np.arange(60) != 20
    audit = look(starts[kept], lengths[kept], int(lengths.sum()) + 1)
    assert faults(audit) == {"missed_targets": lengths[20]}


def test_a_restart_that_draws_from_the_beginning_again_is_found():
    run = random_starts(300, 5_000)
    audit = look(np.concatenate([run, run[:120]]), 8, 5_008)
    assert faults(audit) == {"replayed_draws": 120}
    assert audit.findings[0].example == "the run from draw 300 on repeats the run from draw 0 on"


def test_a_restart_of_random_draws_is_found_across_nominal_epochs():
    run = random_starts(300, 5_000)
    audit = look(np.concatenate([run, run[:120]]), 8, 5_008, epoch=np.arange(420) // 70)
    assert faults(audit) == {"replayed_draws": 120}


def test_a_restart_inside_an_epoch_is_found():
    order = permuted(50, epochs=1)
    starts = np.concatenate([order[:30], order[10:]])
    for columns in ({}, {"epoch": np.zeros(70)}):
        audit = look(starts, 8, 401, **columns)
        assert faults(audit) == {"replayed_draws": 20}


def test_a_window_drawn_three_times_running_is_no_replay():
    audit = look(np.insert(permuted(40, epochs=1), 9, [permuted(40, epochs=1)[9]] * 2), 8, 321)
    assert (audit.replayed_draws, audit.repeated_windows) == (0, 2)


@pytest.mark.parametrize("order", [grid(40), permuted(40, epochs=1)])
@pytest.mark.parametrize("back_to", [0, 5, 25])
def test_a_restart_is_not_taken_for_a_pass(order, back_to):
    audit = look(np.concatenate([order[:32], order[back_to:]]), 8, 321)
    assert faults(audit) == {"replayed_draws": 32 - back_to}
    assert audit.epochs == 1


def test_work_done_again_under_the_same_steps_is_a_note():
    run = random_starts(300, 5_000)
    starts = np.concatenate([run[:200], run[100:]])
    steps = np.concatenate([np.arange(200), np.arange(100, 300)]) // 4
    audit = look(starts, 8, 5_008, step=steps)
    assert notes(audit) == {"replayed_draws": 100}
    assert "work done again" in audit.findings[0].explanation
    steps = np.arange(400) // 4
    assert faults(look(starts, 8, 5_008, step=steps)) == {"replayed_draws": 100}


def test_short_coincidences_of_random_draws_are_no_replay():
    audit = look(random_starts(2_000, 12), 8, 20)
    assert audit.replayed_draws == 0


def test_ranks_with_one_seed_are_found():
    run = random_starts(100, 5_000)
    audit = look(np.repeat(run, 2), 8, 5_008, rank=np.tile([0, 1], 100))
    assert faults(audit) == {"rank_overlap": len(set(run.tolist()))}
    assert "same draws in the same order" in audit.findings[0].explanation


def test_ranks_that_are_not_sharded_are_found():
    starts = np.concatenate([permuted(40, epochs=1, seed=seed) for seed in (0, 1)])
    audit = look(starts, 8, 321, rank=np.repeat([0, 1], 40))
    assert faults(audit) == {"rank_overlap": 40}


def test_sharded_ranks_overlap_in_no_epoch():
    starts = permuted(40, epochs=3)
    for columns in ({}, {"epoch": np.repeat([0, 1, 2], 40)}, {"epoch_draws": 40}):
        audit = look(starts, 8, 321, rank=np.tile([0, 1], 60), **columns)
        assert (audit.rank_overlap, audit.findings) == (0, ())


def test_ranks_with_one_seed_are_found_where_chance_alone_shares_many_windows():
    audit = look(np.repeat(random_starts(60, 46), 2), 8, 54, rank=np.tile([0, 1], 60))
    assert "rank_overlap" in faults(audit)


def test_shards_dealt_anew_each_epoch_do_not_overlap_without_an_epoch_column():
    for seed in range(30):
        starts = permuted(12, epochs=2, seed=seed)
        assert look(starts, 8, 97, rank=np.tile([0, 1, 2], 8)).rank_overlap == 0


def test_padding_to_equal_ranks_is_a_note():
    starts = np.append(permuted(41, epochs=1), permuted(41, epochs=1)[0])
    audit = look(starts, 8, 329, rank=np.tile([0, 1], 21), epoch=np.zeros(42))
    assert notes(audit) == {"rank_overlap": 1}


def test_nothing_is_said_of_ranks_in_epochs_that_cannot_be_cut():
    orders = [permuted(41, epochs=1, seed=seed) for seed in range(3)]
    starts = np.concatenate([np.append(order, order[0]) for order in orders])
    audit = look(starts, 8, 329, rank=np.tile([0, 1], 63))
    assert (audit.epochs_from, faults(audit)) == ("unknown", {})
    assert notes(audit) == {"unknown_epochs": 126}


def test_chance_overlap_of_independent_ranks_is_no_finding():
    audit = look(random_starts(400, 500), 8, 508, rank=np.tile([0, 1], 200))
    assert audit.rank_overlap > 0
    assert audit.findings == ()


def test_random_starts_from_too_few_seeds_are_found():
    starts = np.repeat(random_starts(60, 5_000), 3)
    starts = np.random.default_rng(1).permutation(starts)
    assert faults(look(starts, 8, 5_008))["repeated_windows"] == 120


# --- arguments and output --------------------------------------------------------------------


def test_json_has_the_counts_and_findings(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("start,length\n0,8\n8,8\n0,8\n")
    result = json.loads(json.dumps(audit_log(path, n_tokens=30).as_dict()))
    assert set(COUNTS) <= set(result)
    assert all(type(result[name]) is int for name in COUNTS)
    for finding in result["findings"]:
        assert {"kind", "count", "example", "explanation"} <= set(finding)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"epoch_draws": 3, "epoch": [0, 0, 0]}, "leave one out"),
        ({"epoch_draws": 3, "rank": [0, 1, 0]}, "multiple"),
        ({"epoch_draws": 0}, "at least 1"),
    ],
)
def test_epochs_that_do_not_fit_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        look([0, 8, 16], 8, 40, **arguments)


def test_a_million_million_tokens_cost_no_memory():
    audit = look(random_starts(1_000, 10**12 - 256), 256, 10**12)
    assert audit.missed_targets > 9 * 10**11
    assert audit.findings == ()
