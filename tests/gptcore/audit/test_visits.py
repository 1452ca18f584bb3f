"""Windows visited too evenly, too unevenly, or in runs that were drawn before."""

import numpy as np
import pytest

from gptcore.audit.visits import count_pairs, expect_pairs, log10_chance_of_equal_visits
from tests.helpers.draw_logs import faults, look, notes, permuted, random_starts

N = 250 * 8 + 1  # the tokens of 250 windows


def reason(audit, kind):
    return next(finding.explanation for finding in audit.findings if finding.kind == kind)


def streams(k, *, order, turn=8):
    """Return the starts of k workers that take turns; each has its own order, or all have one."""
    own = [permuted(250, epochs=1, seed=seed if order == "own" else 0) for seed in range(k)]
    turns = [mine[at : at + turn] for at in range(0, 250, turn) for mine in own]
    return np.concatenate(turns)


# --- too evenly: each window k times ---------------------------------------------------------


def test_pairs_have_the_mean_and_variance_that_are_counted():
    rng = np.random.default_rng(0)
    draws = rng.integers(7, size=(20_000, 12))
    pairs = np.array([count_pairs(row, np.zeros_like(row))[0] for row in draws])
    mean, variance = expect_pairs(12, 7)
    # The error of the mean is 0.02 and that of the variance 0.1.
    assert abs(pairs.mean() - mean) < 0.1
    assert abs(pairs.var() - variance) < 0.5


def test_chance_of_equal_visits_is_that_of_all_outcomes():
    # Of the 3^6 = 729 sequences, 90 hold each of three windows twice.
    assert 10 ** log10_chance_of_equal_visits(2, 3) == pytest.approx(90 / 729)


@pytest.mark.parametrize("k", [2, 3, 4, 8])
@pytest.mark.parametrize("blocks", [12, 40, 250])
def test_a_set_that_holds_each_window_several_times_is_found(k, blocks):
    starts = np.random.default_rng(k).permutation(np.tile(np.arange(blocks) * 8, k))
    audit = look(starts, 8, blocks * 8 + 1, epoch=np.zeros(len(starts)))
    assert faults(audit)["shown_twice"] == blocks * 8
    assert f"exactly {k} times" in reason(audit, "shown_twice")
    assert "a probability of 1 in 10^" in reason(audit, "shown_twice")


@pytest.mark.parametrize("k", [2, 3, 5])
def test_workers_that_each_stream_everything_are_named(k):
    audit = look(streams(k, order="own"), 8, N, epoch=np.zeros(250 * k))
    assert f"{k} workers that each stream everything" in reason(audit, "shown_twice")
    audit = look(streams(k, order="one"), 8, N, epoch=np.zeros(250 * k))
    assert faults(audit) == {"replayed_draws": 250 * (k - 1)}
    assert f"{k} streams of the same draws are mixed, in turns of 8" in reason(
        audit, "replayed_draws"
    )


def test_mixed_streams_are_found_without_an_epoch_column():
    audit = look(streams(3, order="own"), 8, N)
    assert "No order of whole passes fits this log" in reason(audit, "shown_twice")


def test_workers_with_one_seed_and_one_window_a_batch_are_named():
    starts = np.repeat(random_starts(100, 4_000), 2)
    audit = look(starts, 8, 4_008)
    assert faults(audit) == {"repeated_windows": len(starts) - len(set(starts.tolist()))}
    assert "come right after each other" in reason(audit, "repeated_windows")


# --- too unevenly ----------------------------------------------------------------------------


@pytest.mark.parametrize("draws", [250, 1_250, 10_000])
def test_weights_of_a_sampler_are_named(draws):
    rng = np.random.default_rng(0)
    weights = rng.exponential(size=250)
    starts = rng.choice(250, size=draws, p=weights / weights.sum()) * 8
    audit = look(starts, 8, N, epoch=np.zeros(draws))
    assert "weights of a sampler" in reason(audit, "repeated_windows")


def test_a_range_that_is_too_small_is_named():
    audit = look(random_starts(1_000, 125) * 8, 8, N)
    assert "check the range" in reason(audit, "repeated_windows")


# --- runs that were drawn before -------------------------------------------------------------


@pytest.mark.parametrize("columns", [{}, {"epoch": np.repeat([0, 1, 2], [250, 250, 60])}])
def test_the_end_of_a_second_epoch_drawn_again_is_found(columns):
    starts = permuted(250, epochs=2)
    audit = look(np.concatenate([starts, starts[-60:]]), 8, N, **columns)
    assert faults(audit) == {"replayed_draws": 60}
    assert "a probability of about 1 in 10^139" in reason(audit, "replayed_draws")


def test_half_of_an_epoch_in_the_order_of_another_names_the_missing_set_epoch():
    starts = permuted(250, epochs=2)
    audit = look(np.concatenate([starts, starts[:125]]), 8, N)
    assert faults(audit) == {"replayed_draws": 125}
    assert "set_epoch is missing" in reason(audit, "replayed_draws")


def test_the_shards_of_a_loader_in_order_are_no_replay():
    shards = np.arange(400).reshape(-1, 8) * 8
    for seed in range(20):
        rng = np.random.default_rng(seed)
        starts = np.concatenate([shards[rng.permutation(50)].ravel() for _ in range(4)])
        audit = look(starts, 8, 400 * 8 + 1, epoch=np.arange(1_600) // 400)
        assert audit.findings == ()


@pytest.mark.parametrize("blocks", [12, 41, 100])
@pytest.mark.parametrize("shards", [2, 3, 5])
def test_a_few_shards_in_a_new_order_are_no_restart(blocks, shards):
    parts = np.array_split(np.arange(blocks) * 8, shards)
    for seed in range(20):
        rng = np.random.default_rng(seed)
        order = np.concatenate([rng.permutation(shards) for _ in range(4)])
        audit = look(np.concatenate([parts[i] for i in order]), 8, blocks * 8 + 1)
        assert faults(audit) == {}


# --- padding, and holes ----------------------------------------------------------------------


@pytest.mark.parametrize("extra", [1, 3, 14])
@pytest.mark.parametrize("epochs", [1, 3])
def test_padding_with_the_first_windows_is_a_note_that_names_it(extra, epochs):
    order = [permuted(250, epochs=1, seed=seed) for seed in range(epochs)]
    starts = np.concatenate([np.append(one, one[:extra]) for one in order])
    audit = look(starts, 8, N, epoch=np.arange(len(starts)) // (250 + extra))
    assert faults(audit) == {}
    (kind,) = notes(audit)
    assert "even_batches" in reason(audit, kind)
    assert "DistributedSampler" in reason(audit, kind)


def padded_batches(orders, *, size, ranks):
    """Return (starts, columns) of ranks that get whole batches, the last from the first windows."""
    rows = []
    for epoch, order in enumerate(orders):
        full = np.resize(order, -(-len(order) // (size * ranks)) * size * ranks)
        for i, batch in enumerate(full.reshape(-1, size)):
            rows += [(start, epoch, i % ranks) for start in batch]
    starts, epoch, rank = np.array(rows).T
    return starts, {"epoch": epoch, "rank": rank}


@pytest.mark.parametrize("columns", [("epoch",), ("rank", "epoch"), ()])
@pytest.mark.parametrize("shuffle", [True, False])
def test_padding_with_whole_batches_is_a_note(columns, shuffle):
    order = [permuted(100, epochs=1, seed=i) if shuffle else np.arange(100) * 8 for i in range(2)]
    starts, known = padded_batches(order, size=8, ranks=8)  # 28 of 128 windows are padding
    audit = look(starts, 8, 801, **{name: known[name] for name in columns})
    assert faults(audit) == {}
    assert audit.epochs == 2


def test_whole_windows_are_missing_only_where_a_hole_is_as_long_as_a_window():
    short = look(np.arange(40) * 8, 5, 8 * 40 + 1)
    assert "Whole windows" not in reason(short, "missed_targets")
    hole = look(np.delete(np.arange(40) * 8, [3, 4]), 8, 8 * 40 + 1)
    assert "Whole windows are missing" in reason(hole, "missed_targets")


# --- sound loaders ---------------------------------------------------------------------------


def sound_logs(rng, blocks):
    """Yield (starts, columns) of sound loaders over windows side by side."""
    epochs = int(rng.integers(2, 6))
    starts = np.concatenate([rng.permutation(blocks) for _ in range(epochs)])
    epoch = np.arange(len(starts)) // blocks
    cut = len(starts) - int(rng.integers(blocks))
    yield starts, {}
    yield starts[:cut], {}
    yield starts[:cut], {"epoch": epoch[:cut]}
    yield rng.integers(blocks, size=int(blocks * rng.uniform(0.5, 6))), {}
    yield rng.integers(blocks, size=3 * blocks), {"epoch": np.arange(3 * blocks) // blocks}
    padded = [np.append(one, one[: -blocks % 4]) for one in starts.reshape(epochs, blocks)]
    ranks = np.arange(sum(map(len, padded))) % 4
    of_epoch = np.repeat(np.arange(epochs), len(padded[0]))
    yield np.concatenate(padded), {"epoch": of_epoch, "rank": ranks}
    yield np.concatenate(padded), {"epoch": of_epoch}
    near = [np.argsort(np.arange(blocks) + 5 * rng.random(blocks)) for _ in range(4)]
    yield np.concatenate(near), {"epoch": np.arange(4 * blocks) // blocks}


@pytest.mark.parametrize("blocks", [41, 130])
def test_sound_loaders_raise_no_fault(blocks):
    for seed in range(40):
        for starts, columns in sound_logs(np.random.default_rng([seed, blocks]), blocks):
            audit = look(starts * 8, 8, blocks * 8 + 1, **columns)
            assert set(faults(audit)) <= {"missed_targets"} if not columns else not faults(audit)
