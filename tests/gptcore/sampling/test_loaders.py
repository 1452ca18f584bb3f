from itertools import islice

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from gptcore.data.splits import Segment
from gptcore.sampling.loaders import StartDataset, StartSampler, WindowStream, loader_passes
from gptcore.sampling.samplers import SAMPLERS, make_sampler

# Each token is its own position, so that a window shows where it came from.
STREAM = torch.arange(103)

# torch advises against more workers than cores, and these tests want three on any machine.
pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create 3 worker")
SEGMENTS = [Segment(0, 40), Segment(60, 103)]


def starts_of(loader):
    """Return the starts of all windows, in order, once inputs and targets were checked."""
    starts = []
    for inputs, targets in loader:
        assert torch.equal(inputs + 1, targets)
        starts += inputs[:, 0].tolist()
    return starts


def stream(sampler, workers=0, **options):
    windows = WindowStream(STREAM, sampler, batch_size=4, **options)
    return DataLoader(windows, batch_size=None, num_workers=workers)


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_workers_change_no_draw_and_no_order(workers):
    sampler = make_sampler("random_phase_blocks", segments=SEGMENTS, block_size=8, seed=5)
    loader = stream(sampler, workers, draws=28)
    assert starts_of(loader) == sampler.starts(0, 28).tolist()
    dataset = StartDataset(STREAM, 8)
    order = StartSampler(sampler, 28, first=3)
    loader = DataLoader(dataset, batch_size=4, sampler=order, num_workers=workers)
    assert starts_of(loader) == sampler.starts(3, 28).tolist()
    assert len(order) == 28


@pytest.mark.parametrize("workers", [0, 3])
def test_ranks_together_make_the_draws_of_one(workers):
    sampler = make_sampler("shuffled_blocks", n_tokens=103, block_size=8, seed=5)
    ranks = [starts_of(stream(sampler.shard(rank, 2), workers, draws=12)) for rank in range(2)]
    assert np.stack(ranks, axis=1).ravel().tolist() == sampler.starts(0, 24).tolist()


@pytest.mark.parametrize("name", SAMPLERS)
def test_every_sampler_streams(name):
    sampler = make_sampler(name, n_tokens=103, block_size=8, seed=5)
    assert starts_of(stream(sampler, draws=8)) == sampler.starts(0, 8).tolist()


def test_a_stream_is_endless_and_goes_on_where_it_stopped():
    sampler = make_sampler("golden", n_tokens=103, block_size=8)
    batches = iter(stream(sampler, first=sampler.resume(sampler.state(7))))
    drawn = [start for _ in range(30) for start in next(batches)[0][:, 0].tolist()]
    assert drawn == sampler.starts(7, 120).tolist()


def test_long_runs_are_drawn_in_pieces():
    sampler = make_sampler("golden", n_tokens=103, block_size=8)
    assert list(StartSampler(sampler, 9_000, first=5)) == sampler.starts(5, 9_000).tolist()


def test_more_workers_than_batches_are_refused():
    sampler = make_sampler("golden", n_tokens=103, block_size=8)
    with pytest.raises(ValueError, match="3 workers for 2 batches"):
        list(stream(sampler, 3, draws=8))


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"draws": 6}, "give a multiple"),
        ({"draws": 0}, "draws is 0"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"first": -1}, "first draw is -1"),
        ({"ids": STREAM[:50]}, "has 50 tokens and the sampler is for 103"),
        ({"ids": STREAM.float()}, "flat int64"),
    ],
)
def test_bad_arguments_are_refused(change, complaint):
    sampler = make_sampler("golden", n_tokens=103, block_size=8)
    options = {"ids": STREAM, "sampler": sampler, "batch_size": 4} | change
    with pytest.raises(ValueError, match=complaint):
        WindowStream(**options)


def test_a_segment_beyond_the_stream_is_refused():
    sampler = make_sampler("golden", segments=[Segment(60, 104)], block_size=8)
    with pytest.raises(ValueError, match="has 103 tokens and the sampler is for 104"):
        WindowStream(STREAM, sampler, batch_size=4)


@pytest.mark.parametrize("start", [-1, 95])
def test_the_dataset_has_no_window_outside_the_stream(start):
    with pytest.raises(IndexError, match="outside"):
        StartDataset(STREAM, 8)[start]


def passes(shuffle, seed=0, drop_last=False):
    return loader_passes(
        STREAM,
        SEGMENTS,
        block_size=8,
        batch_size=4,
        shuffle=shuffle,
        drop_last=drop_last,
        seed=seed,
    )


def starts_of_passes(count, *args, **options):
    """Return the starts of `count` passes of nine windows each, in three batches."""
    batches = list(islice(passes(*args, **options), 3 * count))
    starts = starts_of(batches)
    return [starts[9 * i : 9 * i + 9] for i in range(count)]


def test_each_pass_of_a_dataloader_shows_the_windows_of_its_sampler():
    for shuffle, name in ((False, "sequential"), (True, "shuffled_blocks")):
        sampler = make_sampler(name, segments=SEGMENTS, block_size=8)
        for number, starts in enumerate(starts_of_passes(3, shuffle)):
            assert len(starts) == sampler.draws_per_epoch == 9
            promised = sampler.starts(9 * number, 9).tolist()
            assert sorted(starts) == sorted(promised)
            assert shuffle or starts == promised


def test_order_of_a_pass_depends_on_the_seed_and_its_number_alone():
    orders = [order for seed in range(5) for order in starts_of_passes(4, True, seed)]
    assert orders == [order for seed in range(5) for order in starts_of_passes(4, True, seed)]
    assert len(set(map(tuple, orders))) == len(orders)
    torch.manual_seed(7)  # the global generator plays no part
    assert starts_of_passes(4, True, 3) == orders[12:16]


def test_dropped_last_batch_is_left_out_of_every_pass():
    sizes = [len(inputs) for inputs, _ in islice(passes(True), 6)]
    assert sizes == [4, 4, 1, 4, 4, 1]
    sizes = [len(inputs) for inputs, _ in islice(passes(True, drop_last=True), 6)]
    assert sizes == [4] * 6


def test_passes_without_a_batch_are_refused():
    with pytest.raises(ValueError, match="drop_last leaves nothing of 2 blocks"):
        loader_passes(
            STREAM, [Segment(0, 17)], block_size=8, batch_size=4,
            shuffle=True, drop_last=True, seed=0,
        )  # fmt: skip
