"""Faults inside epochs and in the law of the draws, and sound loaders that look like them."""

import numpy as np
import pytest

from gptcore.audit import audit, audit_tokens
from gptcore.sampling import make_sampler
from tests.helpers.draw_logs import faults, look, notes, random_starts

N = 100 * 8 + 1  # the tokens of 100 windows


def epochs_of(orders):
    """Return (starts, epoch) of orders of windows of 8 tokens."""
    return np.concatenate(orders) * 8, np.repeat(np.arange(len(orders)), [*map(len, orders)])


def shuffles(epochs, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.permutation(100) for _ in range(epochs)]


# --- epochs that show fewer windows ----------------------------------------------------------


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("in_order", [True, False])
@pytest.mark.parametrize("chosen", [0, 1])
def test_an_epoch_that_skips_half_of_its_windows_is_found(known, in_order, chosen):
    orders = [np.arange(100)] * 3 if in_order else shuffles(3)
    orders[chosen] = orders[chosen][np.sort(np.random.default_rng(1).permutation(100)[:50])]
    starts, epoch = epochs_of(orders)
    columns = {"epoch": epoch} if known else {"step": np.arange(len(starts))}
    found = look(starts, 8, N, **columns)
    assert set(faults(found)) == {"missed_in_epoch"}
    # Without the column, a few windows count with the epoch before.
    assert abs(found.findings[0].count - 50) <= (0 if known else 10)


def test_batches_that_an_epoch_skips_are_counted():
    orders = shuffles(3)
    orders[1] = np.delete(orders[1], range(40, 48))
    starts, epoch = epochs_of(orders)
    assert faults(look(starts, 8, N, epoch=epoch)) == {"missed_in_epoch": 8}
    assert look(starts, 8, N, epoch=epoch).missed_in_epoch == 8


@pytest.mark.parametrize("first", [0, 5])
def test_a_log_that_begins_inside_an_epoch_gets_a_note(first):
    orders = shuffles(3)
    orders[0] = orders[0][60:]
    starts, epoch = epochs_of(orders)
    found = look(starts, 8, N, epoch=epoch + first)
    assert ("missed_in_epoch" in notes(found)) == (first > 0)


def test_epochs_that_drop_their_last_batch_are_equally_long():
    starts, epoch = epochs_of([order[:96] for order in shuffles(4)])
    for columns in ({"epoch": epoch}, {}):
        cut = {name: column[:350] for name, column in columns.items()}
        assert faults(look(starts[:350], 8, N, **cut)) == {}
        assert "missed_in_epoch" not in notes(look(starts, 8, N, **columns))


def test_a_change_of_ranks_inside_an_epoch_is_found():
    for seed in range(10):
        one, other = shuffles(2, seed)
        starts = np.append(one[:50], other[50:]) * 8
        rank = np.append(np.arange(50) % 2, np.arange(50) % 4)
        columns = {"epoch": np.zeros(100), "rank": rank}
        assert {"shown_twice", "rank_overlap"} & set(faults(look(starts, 8, N, **columns)))
        del columns["rank"]
        assert "shown_twice" in faults(look(starts, 8, N, **columns))


def test_shards_that_overlap_are_found_without_an_epoch_column():
    rng = np.random.default_rng(0)
    shards = [np.arange(60), np.arange(40, 100)]
    order = [np.stack([rng.permutation(shard) for shard in shards], axis=1).ravel()] * 1
    order += [np.stack([rng.permutation(shard) for shard in shards], axis=1).ravel() for _ in "ab"]
    assert "shown_twice" in faults(look(np.concatenate(order) * 8, 8, N))


# --- sound loaders that look like it ---------------------------------------------------------


def through_buffer(order, size, rng):
    held, out = [], []
    for window in order:
        held.append(window)
        if len(held) == size:
            out.append(held.pop(int(rng.integers(size))))
    return np.array(out + held)


@pytest.mark.parametrize("size", [5, 30, 50])
def test_epochs_that_a_shuffle_buffer_blurs_are_sound(size):
    for seed in range(10):
        rng = np.random.default_rng(seed)
        starts = through_buffer(np.concatenate(shuffles(3, seed)), size, rng) * 8
        assert faults(look(starts, 8, N)) == {}


def test_a_second_epoch_in_order_that_is_cut_short_is_no_replay():
    order = np.concatenate([
        np.arange(2_500)[worker::3][at : at + 8] for at in range(0, 840, 8) for worker in range(3)
    ])  # fmt: skip
    starts, epoch = epochs_of([order, order[:1_300]])
    assert faults(look(starts, 8, 2_500 * 8 + 1, epoch=epoch)) == {}


def test_two_draws_that_come_again_by_chance_are_no_replay():
    wrong = 0
    for seed in range(400):
        rng = np.random.default_rng(seed)
        starts = rng.integers(60, size=12)
        starts[7:9] = starts[2:4]
        wrong += "replayed_draws" in faults(look(starts * 8, 8, 60 * 8 + 1))
    assert wrong == 0


@pytest.mark.parametrize("name", ["golden", "van_der_corput"])
@pytest.mark.parametrize(("n_tokens", "size"), [(2_001, 8), (65_536 + 128, 128), (142_515, 256)])
def test_low_discrepancy_samplers_raise_no_fault(name, n_tokens, size):
    for draws in (40, 100, 158, 300, 1_000):
        for seed in range(5):
            sampler = make_sampler(name, n_tokens=n_tokens, block_size=size, seed=seed)
            starts = np.asarray(sampler.starts(0, draws))
            assert faults(look(starts, size, n_tokens)) == {}
            assert faults(look(starts, size, n_tokens, rank=np.arange(draws) % 4)) == {}


# --- independent draws -----------------------------------------------------------------------


@pytest.mark.parametrize("stride", [1, 8])
def test_a_part_of_the_text_that_is_drawn_more_often_is_found(stride):
    places = 800 if stride == 1 else 100
    for seed in range(5):
        starts = random_starts(300, places, seed)
        hot = places // 3 + random_starts(60, places // 10, seed)
        starts = np.random.default_rng(seed).permutation(np.append(starts, hot)) * stride
        found = look(starts, 8, places * stride + (8 if stride == 1 else 1))
        assert {"uneven_visits", "repeated_windows"} & set(faults(found))


@pytest.mark.parametrize(("low", "high"), [(0, 640), (80, 720), (160, 800)])
def test_a_range_that_leaves_out_a_fifth_of_the_text_is_found(low, high):
    starts = low + random_starts(200, high - low)
    assert "limited_range" in faults(look(starts, 8, 808))
    assert faults(look(random_starts(200, 800), 8, 808)) == {}


def test_draws_that_come_again_after_a_few_others_are_mixed_streams():
    for turn in (1, 4):
        own = random_starts(160, 40).reshape(-1, turn)
        starts = np.repeat(own, 2, axis=0).ravel() * 8
        assert set(faults(look(starts, 8, 40 * 8 + 1))) & {"repeated_windows", "replayed_draws"}


# --- rows of tokens --------------------------------------------------------------------------


def test_passages_that_repeat_leave_open_what_is_missed():
    rng = np.random.default_rng(0)
    base = rng.integers(500, size=4_000)
    text = np.concatenate([base, base[1_000:3_000], rng.integers(500, size=2_000), base[500:3_500]])
    starts = rng.integers(len(text) - 16, size=350)
    shown = np.zeros(len(text), dtype=bool)
    for start in starts:
        shown[start + 1 : start + 17] = True
    missed = int((~shown[1:]).sum())
    found = audit_tokens(np.stack([text[s : s + 17] for s in starts]), text)
    assert found.missed_at_least < missed < found.missed_at_most
    assert abs(found.missed_targets - missed) < 0.1 * missed
    assert faults(found) == {}


def test_a_hole_beside_repeated_passages_is_found_and_one_that_they_may_fill_is_not():
    base = np.random.default_rng(0).integers(50_000, size=320)
    text = np.concatenate([base, base, base[:1]])
    rows = np.stack([text[at : at + 17] for at in range(0, 640, 16)])
    assert faults(audit_tokens(rows[:20], text)) == {}
    hole = audit_tokens(np.delete(rows, [3, 23], axis=0), text)
    assert faults(hole)["missed_targets"] == 32
    assert "between 32 and" in hole.findings[0].explanation


def test_one_padded_row_does_not_shorten_the_rows_beside_it():
    ids = np.random.default_rng(0).integers(2, 50_000, size=8 * 20 + 4)
    rows = [ids[at : at + 9] for at in range(0, 161, 8)]
    full = np.stack([np.append(row, np.zeros(9 - len(row), dtype=np.int64)) for row in rows])
    kept = np.arange(9) < np.array([len(row) for row in rows])[:, None]
    batch = {"input_ids": full[:, :-1], "labels": np.where(kept, full, -100)[:, 1:]}
    found = audit([batch], ids)
    assert (found.missed_targets, faults(found)) == (0, {})


def test_the_last_token_of_a_document_is_no_padding_where_both_are_equal():
    rng = np.random.default_rng(0)
    documents = [np.append(rng.integers(2, 50_000, size=5 + i % 7), 0) for i in range(20)]
    full, kept = np.zeros((20, 13), dtype=np.int64), np.zeros((20, 13), dtype=bool)
    for i, document in enumerate(documents):
        full[i, : len(document)], kept[i, : len(document)] = document, True
    batch = {"input_ids": full[:, :-1], "labels": np.where(kept, full, -100)[:, 1:]}
    assert faults(audit([batch], documents)) == {}


def test_a_row_that_is_mostly_padding_is_found():
    ids = np.random.default_rng(0).integers(0, 50, size=8 * 20 + 3)
    rows = [ids[at : at + 9] for at in range(0, 161, 8)]
    full = np.stack([np.append(row, np.full(9 - len(row), ids[0])) for row in rows])
    assert "unmatched_rows" not in faults(audit([full], ids))


# --- the beginning of an epoch, and curricula ------------------------------------------------


@pytest.mark.parametrize("order", [np.arange(100), shuffles(1)[0]], ids=["in order", "shuffled"])
def test_windows_that_may_still_come_are_no_fault(order):
    assert notes(look(order[:40] * 8, 8, N)).keys() == {"missed_targets"}
    assert faults(look(order[:40] * 8, 8, N)) == {}
    assert faults(look(order[:70] * 8, 8, N, epoch_draws=100)) == {}
    assert faults(look(order[:70] * 8, 8, N, epoch_draws=70)) == {"missed_targets": 240}


def test_the_first_batches_of_a_live_loader_miss_nothing_yet():
    ids = np.random.default_rng(0).integers(50_000, size=N)
    rows = np.stack([ids[at * 8 :][:9] for at in shuffles(1)[0][:40]]).reshape(10, 4, 9)
    assert faults(audit(rows, ids, max_batches=5)) == {}
    assert faults(audit(rows, ids)) == {"missed_targets": 480}


def test_epochs_of_longer_windows_show_fewer_of_them():
    rng = np.random.default_rng(0)
    sizes = (8, 16, 32)
    starts = [rng.permutation(800 // size) * size for size in sizes]
    lengths = np.repeat(sizes, [*map(len, starts)])
    epoch = np.repeat(range(3), [*map(len, starts)])
    assert faults(look(np.concatenate(starts), lengths, N, epoch=epoch)) == {}


def test_epochs_sorted_by_length_repeat_their_order_as_a_note():
    rng = np.random.default_rng(0)
    length = rng.permutation(np.arange(20, 60))
    ends = np.cumsum(length)
    order = np.argsort(length)
    columns = {"epoch": np.repeat(range(3), 40)}
    starts = np.tile((ends - length)[order], 3)
    found = look(starts, np.tile(length[order], 3), int(ends[-1]) + 1, **columns)
    assert (faults(found), notes(found)) == ({}, {"identical_epochs": 2})


def test_two_workers_that_read_the_same_in_one_step_are_found():
    windows = np.repeat(np.arange(100).reshape(-1, 4), 2, axis=0).ravel()
    for epochs in (1, 2):
        step = np.arange(200 * epochs) // 8
        found = look(np.tile(windows, epochs) * 8, 8, N, step=step, epoch_draws=200)
        assert faults(found)


def test_shards_that_overlap_a_little_are_found_without_a_column_epoch():
    rng = np.random.default_rng(0)
    draws = [rng.permutation(52) + 48 * r for _ in range(4) for r in range(2)]
    rank = np.repeat([0, 1] * 4, 52)
    assert "rank_overlap" in faults(look(np.concatenate(draws) * 8, 8, N, rank=rank))


def test_a_jump_to_the_middle_of_an_epoch_in_order_is_found():
    orders = [np.arange(100), np.arange(50, 100), np.arange(100), np.arange(100)]
    assert faults(look(np.concatenate(orders) * 8, 8, N))


def test_ranks_padded_without_a_column_rank_are_a_note():
    starts, epochs = [], 5
    for order in shuffles(epochs):
        padded = np.append(order[:98], order[:2])  # 98 windows, 4 ranks, batches of 5
        starts.append(padded.reshape(5, 5, 4).swapaxes(1, 2).ravel())
    wanted = {"epoch": np.repeat(range(epochs), 100)}
    found = look(np.concatenate(starts) * 8, 8, N, **wanted)
    assert (faults(found), "shown_twice" in notes(found)) == ({}, True)


def test_long_documents_that_are_packed_anew_in_each_epoch_are_no_replay():
    rng = np.random.default_rng(0)
    documents = [rng.integers(50_000, size=size) for size in rng.integers(60, 200, size=60)]
    epochs = []
    for _ in range(3):
        flat = np.concatenate([documents[i] for i in rng.permutation(60)])
        epochs.append(np.stack([flat[at : at + 17] for at in range(0, len(flat) - 17, 16)]))
    turns = iter(epochs)
    loader = type("Loader", (), {"__iter__": lambda _: iter([next(turns)])})()
    assert "replayed_draws" not in faults(audit(loader, documents, epochs=3))
