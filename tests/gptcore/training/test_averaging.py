"""The average of the weights: its course, its place in a checkpoint, and what it is not."""

import math
from dataclasses import replace

import pytest
import torch

from gptcore.model.gpt import GPT
from gptcore.training import loop as training_loop
from gptcore.training.averaging import begin_average, update_average
from gptcore.training.checkpoints import load_checkpoint, model_from_checkpoint
from tests.gptcore.training.test_runs import run
from tests.helpers.counting import CONFIG, MODEL, steps_of

AVERAGED = replace(CONFIG, ema_decay=0.7)


def test_the_average_is_the_weighted_sum_written_out():
    model, rows = GPT(MODEL), []
    average = begin_average(model)
    expected = model.lm_head.weight.detach().clone()
    for step, _ in enumerate(steps_of(AVERAGED, model, average=average), 1):
        decay = min(0.7, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * model.lm_head.weight.detach()
        rows.append(decay)
    assert rows[0] == 2 / 11
    assert rows[-1] == pytest.approx(11 / 20)
    # Float32 rounding in 10 sums.
    torch.testing.assert_close(average.lm_head.weight, expected, rtol=1e-5, atol=1e-7)


def test_the_decay_is_reached_after_the_first_steps():
    model = GPT(MODEL)
    average = begin_average(model)
    before = average.lm_head.weight.clone()
    with torch.no_grad():
        model.lm_head.weight.add_(1.0)
    update_average(average, model, 1000, AVERAGED)
    # Float32 rounding of a sum near 1.
    torch.testing.assert_close(average.lm_head.weight, before + 0.3, rtol=0, atol=1e-6)


def test_the_average_changes_nothing_in_training(tmp_path):
    plain, averaged = run(tmp_path / "a"), run(tmp_path / "b", AVERAGED)
    assert plain["final_loss"] == averaged["final_loss"]


def test_an_average_that_is_not_finite_never_reaches_a_checkpoint(tmp_path, monkeypatch):
    def spoil(average, *_):
        with torch.no_grad():
            average.lm_head.weight[0, 0] = torch.inf

    monkeypatch.setattr(training_loop, "update_average", spoil)
    with pytest.raises(ValueError, match="diverged at step 2: a weight"):
        run(tmp_path, AVERAGED, checkpoint_every=2)
    assert load_checkpoint(tmp_path / "checkpoints") is None


def test_a_checkpoint_holds_the_average_beside_the_weights(tmp_path):
    run(tmp_path, AVERAGED)
    checkpoint = load_checkpoint(tmp_path / "checkpoints")
    last, mean = (model_from_checkpoint(checkpoint, average=flag) for flag in (False, True))
    assert not torch.equal(last.lm_head.weight, mean.lm_head.weight)
    assert torch.equal(mean.lm_head.weight, mean.transformer.wte.weight)


def test_a_checkpoint_without_an_average_says_so(tmp_path):
    run(tmp_path)
    checkpoint = load_checkpoint(tmp_path / "checkpoints")
    with pytest.raises(ValueError, match=r"has no average of the weights, which .* --ema-decay"):
        model_from_checkpoint(checkpoint, average=True)


def test_a_damaged_average_is_noticed(tmp_path):
    run(tmp_path, AVERAGED)
    path = tmp_path / "checkpoints/step-00000010.pt"
    content = load_checkpoint(tmp_path / "checkpoints")
    content["average"]["transformer.ln_f.weight"][0] = math.nan
    torch.save(content, path)
    with pytest.raises(ValueError, match=r"ln_f\.weight is not finite"):
        load_checkpoint(tmp_path / "checkpoints")


def test_a_run_does_not_gain_or_lose_its_average_when_it_is_resumed(tmp_path):
    run(tmp_path, AVERAGED)
    with pytest.raises(ValueError, match=r"ema_decay is 0\.7 there and None here"):
        run(tmp_path, resume=True)
