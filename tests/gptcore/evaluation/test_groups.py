import numpy as np
import pytest
import torch

from gptcore.evaluation import groups
from gptcore.evaluation.losses import Scores, sweep
from gptcore.model.gpt import GPT
from gptcore.model.loss import token_losses
from tests.gptcore.evaluation.test_losses import CONFIG, CPU, text


def test_stretches_of_a_text_hold_every_target_once():
    losses = np.arange(101.0)
    rows = groups.by_position(losses, np.arange(1, 102))
    assert [row.first for row in rows] == [1, *(row.last + 1 for row in rows[:-1])]
    assert rows[-1].last == 101
    assert sum(row.n_targets * row.loss for row in rows) == pytest.approx(losses.sum())


def test_few_targets_have_a_stretch_each():
    rows = groups.by_position(np.array([3.0, 1.0]), np.array([7, 9]))
    assert [(row.first, row.last, row.loss) for row in rows] == [(7, 7, 3.0), (9, 9, 1.0)]


def test_mean_by_context_is_that_of_all_windows():
    model, ids = GPT(CONFIG, seed=3), text(61)
    scores = sweep(model, ids, block_size=8, stride=5, batch_size=3, device=CPU)
    starts = [*range(0, 52, 5), 52]
    windows = torch.stack([ids[start : start + 9] for start in starts])
    with torch.no_grad():
        losses = token_losses(model.eval(), windows[:, :-1], windows[:, 1:])
    assert scores.windows == len(starts)
    np.testing.assert_allclose(scores.by_context, losses.double().mean(0), rtol=1e-5)
    rows = groups.by_context([scores, scores])
    assert [(row.first, row.last) for row in rows] == [(1, 1), (2, 2), (3, 4), (5, 8)]
    assert rows[2].loss == pytest.approx(float(losses[:, 2:4].double().mean()), rel=1e-5)
    assert rows[2].n_targets == 2 * 2 * len(starts)


def test_texts_weigh_as_many_windows_as_they_have():
    one = Scores(torch.empty(0), torch.tensor([1.0, 3.0]).double(), 1)
    other = Scores(torch.empty(0), torch.tensor([2.0, 6.0]).double(), 3)
    assert [row.loss for row in groups.by_context([one, other])] == [1.75, 5.25]


def test_loss_by_visits_is_the_mean_of_each_group():
    rng = np.random.default_rng(0)
    visits = rng.poisson(1, 2000)
    losses = rng.normal(5, 1, 2000) - 0.5 * visits
    rows = groups.by_visits(losses, visits)
    assert [row.first for row in rows] == sorted(set(visits.tolist()))
    for row in rows:
        assert row.loss == pytest.approx(losses[visits == row.first].mean())
        assert (row.interval_95 is None) == (row.n_targets < groups.FEWEST)


def test_many_visits_are_one_group():
    visits = np.array([0, 39, 40, 55])
    rows = groups.by_visits(np.array([1.0, 2.0, 3.0, 5.0]), visits)
    assert [(row.first, row.last, row.loss) for row in rows][-1] == (40, 55, 4.0)


def test_interval_of_the_gap_holds_the_truth():
    """With independent losses, where the method promises 95 % at least."""
    held = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        visits = rng.poisson(1, 3000)
        losses = rng.exponential(2, 3000) + np.where(visits == 0, 0.4, 0.0)
        gap, ends = groups.memorisation_gap(losses, visits)
        held += ends[0] < 0.4 < ends[1]
        assert abs(gap - 0.4) < 0.5
    assert held >= 54  # the seeds are fixed; with other ones P(fewer | 95 %) = 3 %


def test_no_gap_where_all_targets_were_visited():
    assert groups.memorisation_gap(np.ones(100), np.ones(100, dtype=int)) is None


def test_losses_and_visits_have_to_match():
    with pytest.raises(ValueError, match="give both for each target"):
        groups.by_visits(np.ones(5), np.ones(4, dtype=int))
