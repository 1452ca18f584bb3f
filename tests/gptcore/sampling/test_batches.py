import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gptcore.data.splits import Segment
from gptcore.sampling.batches import WindowDataset, batch, dataloader, gather
from gptcore.sampling.samplers import SAMPLERS, make_sampler
from tests.helpers.strategies import repeatable, shapes

# Each token is its own position, so that a window shows where it came from.
STREAM = torch.arange(103)


def starts_of(loader):
    """Return the starts of one epoch."""
    return torch.cat([inputs[:, 0] for inputs, _ in loader]).tolist()


@repeatable
@given(shapes(), st.data())
def test_targets_are_the_tokens_to_the_right(shape, data):
    n_tokens, block_size = shape
    start = st.integers(0, n_tokens - block_size - 1)
    starts = data.draw(st.lists(start, min_size=1, max_size=9))
    inputs, targets = gather(torch.arange(n_tokens) + 70_000, starts, block_size)
    rows = np.array(starts)[:, None] + np.arange(block_size) + 70_000
    np.testing.assert_array_equal(inputs.numpy(), rows)
    np.testing.assert_array_equal(targets.numpy(), rows + 1)


def test_batches_are_int64_of_shape_b_t():
    for tensor in gather(STREAM, np.array([0, 5, 94]), 8):
        assert tensor.shape == (3, 8)
        assert tensor.dtype == torch.int64


@pytest.mark.parametrize("ids", [STREAM, STREAM.numpy()], ids=["tensor", "array"])
@pytest.mark.parametrize("name", ["sequential", "rechunked_documents"])
def test_targets_can_be_flattened_as_nanogpt_does(ids, name):
    segments = [Segment(0, 40), Segment(40, 103)]
    sampler = make_sampler(name, segments=segments, block_size=8, seed=0)
    _, y = batch(ids, sampler, 0, 4)
    assert y.view(-1).tolist() == y.flatten().tolist()


def test_starts_may_be_a_tensor():
    for ours, same in zip(
        gather(STREAM, torch.tensor([4, 9]), 8), gather(STREAM, [4, 9], 8), strict=True
    ):
        assert torch.equal(ours, same)


@pytest.mark.parametrize("starts", [[-1], [95], [0.5], [], [[1]]])
def test_bad_starts_are_refused(starts):
    with pytest.raises(ValueError, match="starts"):
        gather(STREAM, starts, 8)


@pytest.mark.parametrize("ids", [STREAM.int(), STREAM.float(), STREAM.reshape(1, -1)])
def test_a_stream_that_is_not_flat_int64_is_refused(ids):
    with pytest.raises(ValueError, match="give a flat int64 tensor"):
        gather(ids, [0], 8)


def test_a_stream_without_a_window_is_refused():
    with pytest.raises(ValueError, match="one window of block_size 8 needs 9"):
        gather(STREAM[:8], [0], 8)


@pytest.mark.parametrize("name", SAMPLERS)
def test_steps_take_the_draws_in_turn(name):
    sampler = make_sampler(name, n_tokens=len(STREAM), block_size=8, seed=2)
    batches = [batch(STREAM, sampler, step, 5)[0][:, 0] for step in range(7)]
    np.testing.assert_array_equal(torch.cat(batches).numpy(), sampler.starts(0, 35))


def test_a_sampler_for_another_stream_is_refused():
    sampler = make_sampler("sequential", n_tokens=50, block_size=8)
    with pytest.raises(ValueError, match="has 103 tokens and the sampler is for 50"):
        batch(STREAM, sampler, 0, 5)


@pytest.mark.parametrize(("step", "batch_size"), [(-1, 5), (0, 0), (True, 5)])
def test_bad_steps_are_refused(step, batch_size):
    sampler = make_sampler("sequential", n_tokens=103, block_size=8)
    with pytest.raises(ValueError, match="give a whole number"):
        batch(STREAM, sampler, step, batch_size)


@repeatable
@given(shapes(), st.integers(1, 15))
def test_the_dataset_has_every_window_of_its_stride(shape, stride):
    n_tokens, block_size = shape
    windows = WindowDataset(torch.arange(n_tokens), block_size, stride)
    assert [int(inputs[0]) for inputs, _ in windows] == list(
        range(0, n_tokens - block_size, stride)
    )
    for inputs, targets in windows:
        assert inputs.shape == targets.shape == (block_size,)
        assert torch.equal(inputs + 1, targets)


@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("n_tokens", [96, 97, 98, 103])
def test_the_plain_dataloader_shows_what_sequential_shows(n_tokens, drop_last):
    ids = torch.arange(n_tokens)
    loader = dataloader(ids, block_size=8, batch_size=5, shuffle=False, drop_last=drop_last)
    sampler = make_sampler(
        "sequential", n_tokens=n_tokens, block_size=8, batch_size=5, drop_last=drop_last
    )
    epoch = sampler.starts(0, sampler.draws_per_epoch).tolist()
    assert starts_of(loader) == starts_of(loader) == epoch


def test_the_shuffled_dataloader_shows_what_shuffled_blocks_shows():
    loader = dataloader(STREAM, block_size=8, batch_size=5, shuffle=True, drop_last=False)
    sampler = make_sampler("shuffled_blocks", n_tokens=103, block_size=8)
    epochs = [starts_of(loader) for _ in range(2)]
    assert epochs[0] != epochs[1]
    grid = sorted(sampler.starts(0, sampler.draws_per_epoch).tolist())
    assert sorted(epochs[0]) == sorted(epochs[1]) == grid


def test_the_same_seed_gives_the_same_shuffle():
    def first_epoch(seed):
        return starts_of(
            dataloader(STREAM, block_size=8, batch_size=5, shuffle=True, drop_last=True, seed=seed)
        )

    assert first_epoch(1) == first_epoch(1) != first_epoch(2)


def test_a_dataloader_without_a_whole_batch_is_refused():
    with pytest.raises(ValueError, match="drop_last leaves nothing of 12 blocks"):
        dataloader(STREAM, block_size=8, batch_size=13, shuffle=False, drop_last=True)


@pytest.mark.parametrize("dtype", [np.uint16, np.uint32, np.int64])
def test_windows_of_a_mapped_file_are_those_of_the_tensor(tmp_path, dtype):
    ids = np.arange(1_000) * 65
    np.save(tmp_path / "ids.npy", ids.astype(dtype))
    mapped = np.load(tmp_path / "ids.npy", mmap_mode="r")
    starts = np.array([0, 500, 3, 983])
    for ours, theirs in zip(
        gather(mapped, starts, 16), gather(torch.from_numpy(ids), starts, 16), strict=True
    ):
        assert ours.dtype == torch.int64
        assert torch.equal(ours, theirs)
