import math

import pytest
import torch

from gptcore.loss import cross_entropy, next_token_loss, token_losses
from gptcore.model import GPT, ModelConfig

CONFIG = ModelConfig(vocab_size=11, block_size=5, n_layer=1, n_head=1, n_embd=8)


def test_loss_is_minus_the_log_probability_of_the_target():
    logits = torch.log(torch.tensor([[[0.5, 0.25, 0.25], [0.1, 0.1, 0.8]]]))
    loss = cross_entropy(logits, torch.tensor([[1, 2]]))
    # float32 rounds the logarithms.
    assert float(loss) == pytest.approx(-(math.log(0.25) + math.log(0.8)) / 2, rel=1e-6)


def test_loss_of_low_precision_logits_is_float32():
    logits = torch.randn(2, 3, 7, generator=torch.Generator().manual_seed(0)).bfloat16()
    targets = torch.tensor([[0, 1, 2], [3, 4, 5]])
    loss = cross_entropy(logits, targets)
    assert loss.dtype == torch.float32
    assert torch.equal(loss, cross_entropy(logits.float(), targets))


def test_mean_of_token_losses_is_the_loss():
    idx = torch.arange(12).view(2, 6) % 11
    model, inputs, targets = GPT(CONFIG), idx[:, :-1], idx[:, 1:]
    losses = token_losses(model, inputs, targets)
    assert losses.shape == (2, 5)
    # The same ten float32 numbers, added in another order.
    torch.testing.assert_close(losses.mean(), next_token_loss(model, inputs, targets))


def test_targets_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"targets are \(2, 2\) and logits \(2, 3, 7\)"):
        cross_entropy(torch.zeros(2, 3, 7), torch.zeros(2, 2, dtype=torch.int64))
