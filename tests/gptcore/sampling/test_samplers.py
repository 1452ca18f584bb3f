import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from gptcore.sampling.samplers import CHUNK_DRAWS, SAMPLERS, make_sampler
from gptcore.sampling.windows import count_blocks
from tests.helpers.strategies import repeatable, shapes

GRID = ["sequential", "shuffled_blocks"]


@pytest.mark.parametrize("name", SAMPLERS)
@repeatable
@given(
    shape=shapes(),
    seed=st.integers(0, 2**32 - 1),
    cuts=st.lists(st.integers(1, 60), min_size=1, max_size=5),
)
def test_starts_do_not_depend_on_how_they_are_asked_for(name, shape, seed, cuts):
    assume(not (name == "shift_in_block" and shape[1] == 1))  # it has no target

    def make():
        return make_sampler(name, n_tokens=shape[0], block_size=shape[1], seed=seed)

    sampler, total = make(), sum(cuts)
    firsts = np.cumsum([0, *cuts[:-1]]).tolist()
    pieces = [sampler.starts(first, count) for first, count in zip(firsts, cuts, strict=True)]
    whole = make().starts(0, total)
    np.testing.assert_array_equal(np.concatenate(pieces), whole)
    np.testing.assert_array_equal(make().starts(total - 1, 1), whole[-1:])


@pytest.mark.parametrize("name", SAMPLERS)
@repeatable
@given(shape=shapes(), seed=st.integers(0, 9), first=st.integers(0, 10**15))
def test_starts_are_int64_and_in_range(name, shape, seed, first):
    n_tokens, block_size = shape
    assume(not (name == "shift_in_block" and block_size == 1))  # it has no target
    sampler = make_sampler(name, n_tokens=n_tokens, block_size=block_size, seed=seed)
    starts = sampler.starts(first, 40)
    assert starts.dtype == np.int64
    assert starts.shape == (40,)
    assert starts.min() >= 0
    assert starts.max() < sampler.n_starts == n_tokens - block_size


def test_random_starts_cross_chunks_without_a_seam():
    sampler = make_sampler("random_replacement", n_tokens=10**9, block_size=8, seed=3)
    whole = sampler.starts(0, 3 * CHUNK_DRAWS)
    part = sampler.starts(CHUNK_DRAWS - 5, CHUNK_DRAWS + 10)
    np.testing.assert_array_equal(part, whole[CHUNK_DRAWS - 5 : 2 * CHUNK_DRAWS + 5])
    assert len(np.unique(whole)) > 3 * CHUNK_DRAWS - 5


def test_random_starts_are_uniform():
    sampler = make_sampler("random_replacement", n_tokens=17, block_size=7, seed=0)
    counts = np.bincount(sampler.starts(0, 50_000), minlength=10)
    chi_squared = ((counts - 5_000) ** 2 / 5_000).sum()
    assert chi_squared < 27.9  # the 0.999 quantile with 9 degrees of freedom; the seed is fixed


def test_a_trillion_tokens_cost_no_memory():
    sampler = make_sampler("random_replacement", n_tokens=10**12, block_size=256)
    starts = sampler.starts(10**15, 1_000)
    assert 2**32 < starts.max() < 10**12
    grid = make_sampler("sequential", n_tokens=10**12, block_size=256)
    assert grid.starts(3 * 10**9, 2).tolist() == [768 * 10**9, 768 * 10**9 + 256]


def test_seed_and_epoch_do_not_add_up():
    first, second = (
        make_sampler("shuffled_blocks", n_tokens=1_001, block_size=10, seed=seed).starts(0, 200)
        for seed in (0, 1)
    )
    assert not np.array_equal(first[100:], second[:100])
    assert not np.array_equal(first[:100], first[100:])


def test_sequential_is_the_grid_over_and_over():
    sampler = make_sampler("sequential", n_tokens=13, block_size=4)
    assert sampler.draws_per_epoch == 3
    assert sampler.starts(0, 7).tolist() == [0, 4, 8, 0, 4, 8, 0]


@repeatable
@given(shapes())
def test_the_grid_holds_every_whole_window(shape):
    n_tokens, block_size = shape
    blocks = count_blocks(n_tokens, block_size)
    assert (blocks - 1) * block_size + block_size + 1 <= n_tokens
    assert blocks * block_size + block_size + 1 > n_tokens


@repeatable
@given(shape=shapes(), seed=st.integers(0, 9))
def test_shuffled_blocks_shows_the_grid_once_per_epoch(shape, seed):
    n_tokens, block_size = shape
    sampler = make_sampler("shuffled_blocks", n_tokens=n_tokens, block_size=block_size, seed=seed)
    blocks = sampler.draws_per_epoch
    grid = [block * block_size for block in range(blocks)]
    for epoch in range(3):
        assert sorted(sampler.starts(epoch * blocks, blocks).tolist()) == grid


def test_drop_last_leaves_out_other_blocks_every_epoch():
    shape = {"n_tokens": 101, "block_size": 10, "batch_size": 4, "drop_last": True}
    sampler = make_sampler("shuffled_blocks", **shape)
    assert sampler.draws_per_epoch == 8
    epochs = [sampler.starts(8 * epoch, 8) for epoch in range(20)]
    assert all(len(np.unique(epoch)) == 8 for epoch in epochs)
    assert len(np.unique(epochs)) == 10
    last = make_sampler("sequential", **shape).starts(0, 80)
    assert np.unique(last).tolist() == list(range(0, 80, 10))


def test_epochs_are_counted_in_draws():
    grid = make_sampler("sequential", n_tokens=13, block_size=4)
    assert [grid.epoch(i) for i in (0, 2, 3, 300)] == [0, 0, 1, 100]
    endless = make_sampler("random_replacement", n_tokens=13, block_size=4, drop_last=True)
    assert endless.draws_per_epoch is None
    assert endless.epoch(5) is None


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"n_tokens": 8}, "n_tokens is 8 and one window of block_size 8 needs 9"),
        ({"n_tokens": 0}, "n_tokens is 0"),
        ({"block_size": 0}, "block_size is 0"),
        ({"block_size": 2.0}, "block_size is 2.0"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"batch_size": True}, "batch_size is True"),
        ({"seed": -1}, "seed is -1"),
        ({"seed": True}, "seed is True"),
        ({"seed": None}, "seed is None"),
    ],
)
def test_bad_arguments_are_refused(name, change, complaint):
    with pytest.raises(ValueError, match=complaint):
        make_sampler(name, **{"n_tokens": 100, "block_size": 8} | change)


@pytest.mark.parametrize("name", GRID)
def test_an_epoch_without_a_whole_batch_is_refused(name):
    with pytest.raises(ValueError, match="drop_last leaves nothing of 3 blocks at batch_size 4"):
        make_sampler(name, n_tokens=13, block_size=4, batch_size=4, drop_last=True)


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("draws", [(-1, 2), (0, 0), (0, -1), (0.0, 1), (True, 1)])
def test_bad_draws_are_refused(name, draws):
    with pytest.raises(ValueError, match="draw"):
        make_sampler(name, n_tokens=13, block_size=4).starts(*draws)


def test_an_unknown_sampler_is_refused_with_the_names():
    with pytest.raises(ValueError, match="choose one of random_replacement, sequential"):
        make_sampler("shuffle", n_tokens=13, block_size=4)
