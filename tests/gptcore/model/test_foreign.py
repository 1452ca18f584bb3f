"""A GPT of ours behind the face of another implementation trains and is scored as itself."""

from dataclasses import replace

import pytest
import torch

from gptcore.model.foreign import ForeignModel
from gptcore.model.gpt import GPT
from gptcore.model.loss import next_token_loss, token_losses
from gptcore.ops.cross_entropy import IGNORE_INDEX
from gptcore.training.compiling import prepare
from gptcore.training.runs import run_training
from tests.helpers.counting import CONFIG, CPU, MODEL, batch_at, steps_of


def foreign(**options):
    model = GPT(MODEL, seed=3)
    return ForeignModel(
        model, MODEL, options.get("logits", GPT.forward), options.get("loss", next_token_loss)
    )


def test_it_trains_as_the_model_inside_does():
    own, other = (list(steps_of(CONFIG, m)) for m in (GPT(MODEL, seed=3), foreign()))
    # Float32 rounding in 10 steps; both draw the same dropout.
    assert [m.loss for m in other] == pytest.approx([m.loss for m in own], rel=1e-5)
    assert [m.grad_norm for m in other] == pytest.approx([m.grad_norm for m in own], rel=1e-4)


def test_it_is_scored_by_its_logits_and_not_by_its_own_loss():
    inputs, targets = batch_at(0)
    targets = targets.clone()
    targets[0, 0] = IGNORE_INDEX
    model = foreign(loss=lambda *_batch: 7.0)
    model.eval()
    expected = token_losses(model.model, inputs, targets)
    assert torch.allclose(token_losses(model, inputs, targets), expected, atol=1e-6)


def test_its_functions_get_batches_that_can_be_flattened_by_view():
    def loss(model, x, y):
        assert x.view(-1).shape == y.view(-1).shape
        return next_token_loss(model, x, y)

    inputs, targets = batch_at(0)
    assert not targets.is_contiguous()
    foreign(loss=loss).loss(inputs, targets).backward()


def test_a_run_of_it_is_kept_in_a_folder(tmp_path):
    options = {"device": CPU, "fingerprint": {}, "epochs_per_step": 0.5}
    summary = run_training(tmp_path / "run", foreign(), batch_at, CONFIG, **options)
    assert summary["finished"]
    assert summary["n_params"] == GPT(MODEL).n_params


def test_it_is_neither_compiled_nor_recomputed():
    assert prepare(foreign(), CONFIG, CPU) is None
    with pytest.raises(ValueError, match="neither compile nor recompute"):
        prepare(foreign(), replace(CONFIG, recompute=True), CPU)
