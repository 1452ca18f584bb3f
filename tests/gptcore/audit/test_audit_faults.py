import numpy as np
import pytest

from tests.helpers.draw_logs import faults, grid, look, notes, permuted, random_starts


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


@pytest.mark.parametrize("workers", [2, 4])
@pytest.mark.parametrize("apart", [False, True])
def test_workers_that_read_in_turns_repeat_their_order_as_a_note(workers, apart):
    order = np.arange(48).reshape((workers, -1) if apart else (-1, workers))
    starts = (order.T if apart else order[:, ::-1]).ravel() * 8
    assert notes(look(np.tile(starts, 3), 8, 385)) == {"identical_epochs": 2}


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


@pytest.mark.filterwarnings("error")
def test_short_windows_at_the_end_of_the_text_raise_no_warning():
    starts, lengths = np.array([4, 8, 3, 4, 9, 1, 5]), np.array([6, 2, 3, 3, 1, 8, 5])
    assert look(starts, lengths, 11, rank=np.array([0, 2, 2, 2, 0, 1, 1])).missed_targets == 1


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


@pytest.mark.parametrize(("blocks", "ranks", "seed"), [(30, 5, 26), (12, 4, 213), (60, 2, 1)])
def test_ranks_one_after_the_other_do_not_overlap_in_unknown_epochs(blocks, ranks, seed):
    order = np.stack([permuted(blocks, epochs=1, seed=2 * seed + i) for i in range(2)])
    starts = np.concatenate([order[:, rank::ranks].ravel() for rank in range(ranks)])
    rank = np.repeat(np.arange(ranks), 2 * blocks // ranks)
    assert faults(look(starts, 8, 8 * blocks + 1, rank=rank)) == {}


def test_two_ranks_that_go_on_where_one_of_four_stopped_are_found():
    order = permuted(100, epochs=1)
    starts = np.concatenate([order[:48], order[24:]])  # each of four ranks made twelve draws
    rank = np.concatenate([np.arange(48) % 4, np.arange(76) % 2])
    audit = look(starts, 8, 801, rank=rank, epoch=np.zeros(124))
    assert audit.passes
    assert "shown_twice" in faults(audit)


def test_padded_epochs_of_ranks_are_found_without_an_epoch_column():
    orders = [permuted(41, epochs=1, seed=seed) for seed in range(3)]
    starts = np.concatenate([np.append(order, order[0]) for order in orders])
    audit = look(starts, 8, 329, rank=np.tile([0, 1], 63))
    assert (audit.epochs, audit.epochs_from) == (3, "passes")
    assert notes(audit) == {"rank_overlap": 3}


def test_nothing_is_said_of_ranks_in_epochs_that_cannot_be_cut():
    orders = [permuted(41, epochs=1, seed=seed) for seed in range(3)]
    starts = np.concatenate([np.insert(order, 39, order[0]) for order in orders])
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
