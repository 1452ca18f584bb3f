"""What a fixed model gains at inference: contexts, samples, and the law of either."""

from itertools import combinations

import numpy as np
import pytest
import torch

from gptcore.evaluation.inference_scaling import (
    best_of,
    fit_power,
    loss_by_context,
    predict_mean,
    sample_continuations,
)
from gptcore.model.config import ModelConfig
from gptcore.model.generation import generate
from gptcore.model.gpt import GPT

CPU = torch.device("cpu")
SHAPE = ModelConfig(vocab_size=11, block_size=8, n_layer=1, n_head=2, n_embd=8)


@pytest.fixture
def model():
    made = GPT(SHAPE, seed=1)
    with torch.no_grad():  # far from uniform, so that a wrong place would show
        made.transformer.wte.weight.mul_(20)
    return made


@pytest.fixture
def ids():
    return torch.randint(11, (60,), generator=torch.Generator().manual_seed(0))


def test_power_law_without_noise_is_found():
    x = [1, 2, 4, 8, 16]
    law = fit_power(x, [1.5 + 2.0 / i**0.7 for i in x])
    # exact data: what is left is the tolerance of the optimiser
    assert pytest.approx(1.5, abs=1e-5) == law.E
    assert law.beta == pytest.approx(0.7, abs=1e-5)
    assert law(64) == pytest.approx(1.5 + 2.0 / 64**0.7, rel=1e-5)


def test_the_interval_of_a_prediction_is_over_prompts_and_holds_the_law(monkeypatch):
    monkeypatch.setattr("gptcore.evaluation.inference_scaling.RESAMPLES", 20)
    x, generator = np.array([1, 2, 4, 8, 16]), np.random.default_rng(3)
    held = []
    for seed in range(4):
        own = generator.normal(0, 0.3, size=(40, 1))  # what makes a prompt hard at every budget
        values = 1.5 + own + 1 / x**0.7 + generator.normal(0, 0.1, size=(40, 5))
        value, low, high = predict_mean(x, values, 64, seed=seed)
        assert low < value < high
        assert high - low < 1
        held.append(low < 1.5 + 1 / 64**0.7 < high)
    assert sum(held) >= 3


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        ([1, 2, 4], [3, 2, 1], "at least 4"),
        ([1, 2, 4, 8], [3, 2, 1], "4 x and 3 y"),
        ([1, 2, 4, 8], [3, 2, 1, 0], "positive finite"),
        ([1, 2, 4, 8], [3, 2, 1, float("nan")], "positive finite"),
    ],
)
def test_power_law_refuses_what_it_cannot_fit(x, y, message):
    with pytest.raises(ValueError, match=message):
        fit_power(x, y)


@pytest.mark.parametrize("context", [1, 3, 8])
def test_loss_by_context_reads_exactly_that_many_tokens(model, ids, context):
    result = loss_by_context(model, ids, [20, 31], [context], horizon=4, device=CPU)
    expected = []
    for start in (20, 31):
        losses = [
            torch.nn.functional.cross_entropy(
                model(ids[None, place - context : place])[0, -1], ids[place]
            ).item()
            for place in range(start, start + 4)
        ]
        expected.append(np.mean(losses))
    # float32 logits, summed in another order
    assert result[:, 0] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("starts", "contexts", "message"),
    [
        ([20], [9], r"give some in \[1, 8\]"),
        ([20], [], "contexts are"),
        ([7], [8], "give some from 8 to 56"),
        ([57], [8], "give some from 8 to 56"),
        ([], [8], "0 starts"),
    ],
)
def test_loss_by_context_refuses_places_outside_the_text(model, ids, starts, contexts, message):
    with pytest.raises(ValueError, match=message):
        loss_by_context(model, ids, starts, contexts, horizon=4, device=CPU)


def test_samples_are_scored_by_the_text_and_by_the_model(model, ids):
    prompts, truth = ids[:10].view(2, 5), ids[10:16].view(2, 3)
    right, likely = sample_continuations(model, prompts, truth, samples=3, seed=5, device=CPU)
    drawn = generate(model, prompts.repeat_interleave(3, 0), 3, seed=5, device=CPU)
    row = drawn[4]  # the second sample of the second prompt
    log_p = model(row[None, :-1])[0].log_softmax(-1)
    expected = sum(log_p[place - 1, row[place]].item() for place in range(5, 8))
    assert likely[1, 1] == pytest.approx(expected, rel=1e-4)  # float32, another order
    assert right[1, 1] == (row[5:] == truth[1]).float().mean().item()


def test_samples_that_do_not_fit_the_block_are_refused(model, ids):
    with pytest.raises(ValueError, match="together at most 9 tokens"):
        sample_continuations(
            model, ids[:7].view(1, 7), ids[7:10].view(1, 3), samples=1, seed=0, device=CPU
        )


@pytest.mark.parametrize("k", [1, 2, 3, 5])
def test_best_of_k_is_the_mean_over_every_choice_of_k_samples(k):
    rng = np.random.default_rng(0)
    right, likely = rng.random((2, 4, 5))
    expected = [
        np.mean([r[max(chosen, key=lambda i: s[i])] for chosen in combinations(range(5), k)])
        for r, s in zip(right, likely, strict=True)
    ]
    assert best_of(right, likely, k) == pytest.approx(expected)


@pytest.mark.parametrize("k", [0, 6])
def test_best_of_more_samples_than_drawn_is_refused(k):
    with pytest.raises(ValueError, match=r"k is .*: give a whole number of at"):
        best_of(np.ones((2, 5)), np.ones((2, 5)), k)
