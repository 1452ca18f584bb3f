import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from gptcore.data.splits import Segment
from gptcore.sampling.loaders import StartDataset, StartSampler, WindowStream
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
