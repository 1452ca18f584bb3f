"""Orders of data that a log cannot tell from mistakes, declared and not."""

import itertools

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from gptcore.audit import audit
from gptcore.data.splits import Segment
from gptcore.sampling.loaders import WindowStream
from gptcore.sampling.samplers import make_sampler
from tests.helpers.draw_logs import faults, look, notes

N, T = 100 * 8 + 1, 8  # the tokens of 100 windows
ORDERS = ("shuffled_once", "shuffled_across_epochs", "rechunked_documents", "rechunked_once")


def draw(name, epochs, seed=0):
    """Return starts and epochs of the draws of a sampler on one document."""
    sampler = make_sampler(name, n_tokens=N, block_size=T, seed=seed)
    draws = round(epochs * 100)
    return sampler.starts(0, draws), [sampler.epoch(i) for i in range(draws)]


def pieces_of(sampler, draws):
    """Return (start, length, draw) as a log has them: targets are the tokens behind `start`."""
    pieces = sampler.pieces(0, draws)
    begin, end = pieces.targets()
    begin = np.maximum(begin, 1)  # the first token of the text is no target of a log
    kept = end > begin
    return begin[kept] - 1, (end - begin)[kept], pieces.draw[kept]


@pytest.mark.parametrize("name", ORDERS)
@pytest.mark.parametrize("epochs", [1, 1.5, 2, 3, 4, 6.5])
def test_what_a_declared_sampler_does_is_no_fault(name, epochs):
    for seed in (0, 1, 2, 33):  # with 33, two epochs of four are cut at the same places
        starts, epoch = draw(name, epochs, seed)
        for columns in ({}, {"epoch": epoch}):
            assert faults(look(starts, T, N, sampler=name, **columns)) == {}


@pytest.mark.parametrize("name", ["rechunked_documents", "rechunked_once"])
@pytest.mark.parametrize("mean", [5, 30, 200])
def test_pieces_of_documents_are_no_fault(name, mean):
    sizes = np.random.default_rng(mean).geometric(1 / mean, size=1_500 // mean)
    ends = np.cumsum(sizes)
    documents = [Segment(int(e - s), int(e)) for e, s in zip(ends, sizes, strict=True)]
    for seed in range(3):
        sampler = make_sampler(name, segments=documents, block_size=T, seed=seed)
        for epochs in (1, 2, 4):
            starts, lengths, at = pieces_of(sampler, epochs * sampler.draws_per_epoch)
            for columns in ({}, {"epoch": at // sampler.draws_per_epoch}):
                found = look(starts, lengths, sampler.n_tokens, sampler=name, **columns)
                assert faults(found) == {}


def test_a_live_loader_of_joined_documents_is_no_fault():
    rng = np.random.default_rng(0)
    documents = [rng.integers(50_000, size=size) for size in rng.integers(40, 200, size=12)]
    ends = np.cumsum([0, *map(len, documents)]).tolist()
    sampler = make_sampler(
        "rechunked_documents",
        segments=[Segment(a, b) for a, b in itertools.pairwise(ends)],
        block_size=16,
        seed=1,
    )
    ids = torch.from_numpy(np.concatenate(documents))
    draws = sampler.draws_per_epoch
    windows = WindowStream(ids, sampler, batch_size=1, draws=draws)
    found = audit(DataLoader(windows, batch_size=None), documents, sampler="rechunked_documents")
    assert (faults(found), found.epochs) == ({}, 1)
    assert found.missed_targets < 16


def test_one_order_is_a_note_where_it_is_declared_and_a_fault_where_not():
    starts, epoch = draw("shuffled_once", 3)
    for columns in ({}, {"epoch": epoch}):
        assert notes(look(starts, T, N, sampler="shuffled_once", **columns)) == {
            "identical_epochs": 2
        }
        undeclared = look(starts, T, N, **columns)
        assert faults(undeclared) == {"identical_epochs": 2}
        assert "--sampler shuffled_once" in undeclared.findings[0].explanation


def test_epochs_that_are_shuffled_together_are_recognised():
    sampler = make_sampler("shuffled_across_epochs", n_tokens=401 * T, block_size=T)
    draws = 4 * sampler.draws_per_epoch
    found = look(sampler.starts(0, draws), T, 401 * T, epoch=np.arange(draws) * 4 // draws)
    assert "shown_twice" in faults(found)
    told = {finding.kind: finding.explanation for finding in found.findings}
    assert "4 epochs that are shuffled together" in told["shown_twice"]


# --- a declaration does not hide what the sampler does not do ---------------------------------


def test_an_order_that_changes_once_is_not_one_order():
    starts = np.concatenate([draw("shuffled_once", 2)[0], draw("shuffled_once", 1, 5)[0]])
    assert faults(look(starts, T, N, sampler="shuffled_once")) == {"identical_epochs": 1}


def test_blocks_that_no_epoch_of_a_pool_shows_are_a_fault():
    starts, _ = draw("shuffled_across_epochs", 4)
    shard = starts[starts < 80 * 8]
    assert faults(look(shard, T, N, sampler="shuffled_across_epochs"))
    few = starts[~np.isin(starts, [80, 400, 560])]
    assert "missed_targets" in faults(look(few, T, N, sampler="shuffled_across_epochs"))


def test_a_restart_of_a_pool_is_a_fault():
    starts, _ = draw("shuffled_across_epochs", 4)
    again = np.concatenate([starts[:200], starts[100:]])
    assert "replayed_draws" in faults(look(again, T, N, sampler="shuffled_across_epochs"))


def test_windows_that_documents_never_show_are_a_fault():
    starts, _ = draw("rechunked_documents", 1)
    dropped = look(starts[:-3], T, N, sampler="rechunked_documents")
    assert "missed_targets" in faults(dropped)


def test_an_unknown_sampler_is_refused():
    with pytest.raises(ValueError, match="no sampler is called 'shuffled_twice'"):
        look([0, 8], T, N, sampler="shuffled_twice")
