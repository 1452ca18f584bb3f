"""Samplers that differ in the order of the data: one order, epochs together, documents cut anew."""

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from gptcore.data.splits import Segment
from gptcore.sampling.batches import batch
from gptcore.sampling.loaders import StartSampler, WindowStream
from gptcore.sampling.samplers import make_sampler

TEXT = {"n_tokens": 1_000, "block_size": 9}  # 111 blocks
DOCUMENTS = [Segment(0, 3), Segment(3, 4), Segment(6, 40), Segment(40, 52), Segment(60, 95)]
# Each token is its own position, so that a window shows where it came from.
STREAM = torch.arange(100)


def documents(seed=0, **options):
    name = options.pop("name", "rechunked_documents")
    return make_sampler(name, segments=DOCUMENTS, block_size=8, seed=seed, **options)


# --- one order, and several epochs together ---------------------------------------------------


def test_one_order_is_the_first_epoch_of_a_shuffle_again_and_again():
    first = make_sampler("shuffled_blocks", **TEXT, seed=3).starts(0, 111)
    starts = make_sampler("shuffled_once", **TEXT, seed=3).starts(5, 300)
    np.testing.assert_array_equal(starts, np.tile(first, 3)[5:305])


def test_epochs_that_are_shuffled_together_show_each_block_equally_often_in_the_end():
    sampler = make_sampler("shuffled_across_epochs", **TEXT, seed=3, shuffle_epochs=3)
    whole, half = sampler.starts(0, 333), sampler.starts(0, 111)
    assert (np.bincount(whole // 9) == 3).all()
    assert len(np.unique(half)) < 100  # one epoch of a shuffle would show all 111
    assert (np.bincount(sampler.starts(333, 333) // 9) == 3).all()
    assert (sampler.starts(333, 333) != whole).any()
    assert [sampler.epoch(draw) for draw in (0, 110, 111, 333)] == [0, 0, 1, 3]


def test_one_epoch_shuffled_alone_is_a_shuffle():
    options = TEXT | {"seed": 2, "batch_size": 4, "drop_last": True}
    alone = make_sampler("shuffled_across_epochs", shuffle_epochs=1, **options)
    shuffled = make_sampler("shuffled_blocks", **options)
    np.testing.assert_array_equal(alone.starts(0, 300), shuffled.starts(0, 300))


@pytest.mark.parametrize("epochs", [0, 1.5, True])
def test_epochs_to_shuffle_together_are_counted(epochs):
    with pytest.raises(ValueError, match="shuffle_epochs is"):
        make_sampler("shuffled_across_epochs", **TEXT, shuffle_epochs=epochs)


# --- documents cut anew ----------------------------------------------------------------------


def test_one_document_has_a_new_phase_in_each_epoch():
    phased = make_sampler("random_phase_blocks", **TEXT, seed=4)
    alone = make_sampler("rechunked_documents", **TEXT, seed=4)
    np.testing.assert_array_equal(alone.starts(0, 500), phased.starts(0, 500))


def test_one_order_of_one_document_moves_by_less_than_a_window():
    sampler = make_sampler("rechunked_once", n_tokens=909, block_size=9, seed=4)  # 100 a pass
    blocks = sampler.starts(0, 400).reshape(4, 100) // 9
    assert (np.diff(blocks, axis=0) == 0).all()
    phases = sampler.starts(0, 400).reshape(4, 100) % 9
    assert (np.ptp(phases, axis=1) == 0).all()
    assert len(np.unique(phases)) > 1


@pytest.mark.parametrize("name", ["rechunked_documents", "rechunked_once"])
def test_an_epoch_shows_each_token_once_but_for_a_rest(name):
    sampler = documents(name=name)
    assert (sampler.draws_per_epoch, sampler.n_tokens) == (10, 85)
    left_out = set()
    for epoch in range(20):
        tokens = sampler.pieces(10 * epoch, 10).tokens()
        targets = tokens[:, 1:].ravel()
        assert len(np.unique(targets)) == 80
        left_out |= {t for part in DOCUMENTS for t in range(part.start, part.stop)} - {*targets}
    assert len(left_out) > 40  # other ones each epoch


@pytest.mark.parametrize("name", ["rechunked_documents", "rechunked_once"])
def test_a_window_goes_on_in_whole_documents(name):
    begins = {part.start for part in DOCUMENTS}
    ends = {part.stop for part in DOCUMENTS}
    draw, start, length = documents(name=name).pieces(0, 500)
    assert (np.bincount(draw, length) == 9).all()
    later = np.flatnonzero(np.diff(draw) == 0) + 1
    assert set(start[later]) <= begins
    assert set((start + length)[later - 1]) <= ends
    assert len(later) > 100


def test_documents_get_another_order_each_epoch_or_keep_one():
    def followers(name):
        """Return which document each document was seen to be followed by."""
        pairs = set()
        for epoch in range(12):
            draw, start, length = documents(name=name, seed=1).pieces(10 * epoch, 10)
            for i in np.flatnonzero(np.diff(draw) == 0):
                pairs.add((int(start[i] + length[i]), int(start[i + 1])))
        return pairs

    assert len(followers("rechunked_once")) == 5  # a ring of five documents
    assert len(followers("rechunked_documents")) > 10


def test_one_order_visits_the_ring_in_the_same_order():
    long = [Segment(0, 400), Segment(400, 800)]
    sampler = make_sampler("rechunked_once", segments=long, block_size=8, seed=1)
    first = [sampler.pieces(100 * epoch, 100).tokens()[:, 0] for epoch in range(6)]
    apart = [np.abs(first[0] - other) for other in first[1:]]
    near = [np.mean(np.minimum(d, 800 - d) < 8) for d in apart]
    assert min(near) > 0.9  # the two documents may meet in another block at a border
    shuffled = make_sampler("rechunked_documents", segments=long, block_size=8, seed=1)
    other = shuffled.pieces(100, 100).tokens()[:, 0]
    assert np.mean(np.abs(shuffled.pieces(0, 100).tokens()[:, 0] - other) < 8) < 0.2


def test_a_start_alone_is_refused_where_windows_join_documents():
    for ask in (lambda s: s.starts(0, 1), lambda s: s.shard(0, 2).starts(0, 1)):
        with pytest.raises(ValueError, match="join several documents"):
            ask(documents())
    with pytest.raises(ValueError, match="join several documents"):
        StartSampler(documents(), 8)


# --- what reaches a model --------------------------------------------------------------------


@pytest.mark.parametrize("ids", [STREAM, STREAM.numpy().astype(np.uint16)])
def test_batches_are_the_pieces_one_behind_the_other(ids):
    sampler = documents(seed=2)
    inputs, targets = batch(ids, sampler, 3, 4)
    tokens = sampler.pieces(12, 4).tokens()
    np.testing.assert_array_equal(inputs.numpy(), tokens[:, :-1])
    np.testing.assert_array_equal(targets.numpy(), tokens[:, 1:])
    assert inputs.dtype == torch.int64


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
def test_a_loader_yields_the_same_windows_with_workers_and_ranks():
    sampler = documents(seed=2)
    tokens = sampler.pieces(3, 24).tokens()[:, 1:]
    loader = DataLoader(
        WindowStream(STREAM, sampler, batch_size=4, draws=24, first=3),
        batch_size=None,
        num_workers=2,
    )
    np.testing.assert_array_equal(torch.cat([t for _, t in loader]).numpy(), tokens)
    shard = sampler.shard(1, 3)
    _, targets = batch(STREAM, shard, 1, 4)
    whole = sampler.pieces(0, 24).tokens()
    np.testing.assert_array_equal(targets.numpy(), whole[1::3][4:8, 1:])


def test_the_text_must_hold_one_window():
    with pytest.raises(ValueError, match="one window of block_size 8 needs 9"):
        make_sampler("rechunked_documents", segments=[Segment(0, 4), Segment(4, 8)], block_size=8)
