"""What the fields of a case make of its run: copies of a piece, the shape, the updates."""

from dataclasses import replace

import pytest
import torch

from bench.experiments.convergence import shape_of, updates, with_copies
from bench.suite.training_cases import TrainCase
from gptcore.data.splits import Segment
from gptcore.model.flops import training_flops

CASE = TrainCase("x", "a", 0, block_size=8, batch_size=4, copied=0.5, copies=5)
IDS = torch.arange(1000)
PARTS = (Segment(0, 100), Segment(200, 300))


def test_copies_fill_their_share_and_repeat_text_that_is_not_kept():
    ids = with_copies(IDS, PARTS, CASE)
    assert len(ids) == 200
    kept, copies = ids[:120], ids[120:].view(5, 16)  # 0.5 * 200 / 5 is 20: two blocks of 8
    assert kept.tolist() == [*range(100), *range(200, 220)]
    assert copies.tolist() == [[*range(220, 236)]] * 5


def test_copies_of_less_than_a_block_are_refused():
    with pytest.raises(ValueError, match="copies is 50"):
        with_copies(IDS, PARTS, replace(CASE, copies=50))


def test_updates_are_those_of_the_epochs_or_of_the_budget():
    case = replace(CASE, target_epochs=2.0, n_layer=0, positions=False)
    shape = shape_of(case, vocab_size=50)
    assert (shape.n_layer, shape.positions, shape.mlp, shape.vocab_size) == (0, False, True, 50)
    assert updates(case, shape, n_targets=320) == 20
    flops = training_flops(shape, batch_size=4, block_size=8)
    assert updates(replace(case, budget_flops=7.2 * flops), shape, n_targets=320) == 7
    assert updates(replace(case, budget_flops=0.1 * flops), shape, n_targets=320) == 1
