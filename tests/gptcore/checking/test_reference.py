import pytest
import torch

from gptcore.checking.reference import DIFFERENCES, logits_of
from gptcore.checking.subject import difference
from gptcore.model import GPT, ModelConfig


@pytest.fixture(scope="module")
def ours():
    model = GPT(ModelConfig(vocab_size=97, block_size=16, n_layer=2, n_head=4, n_embd=32)).double()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.2 * torch.randn(p.shape, generator=generator, dtype=p.dtype))
    return model


def logits(model, **how):
    weights = {name.removeprefix("transformer."): p for name, p in model.named_parameters()}
    x = torch.arange(32).view(2, 16) * 31 % 97
    with torch.no_grad():
        return logits_of(weights, x, 4, **how), model(x)


def test_the_reference_computes_what_our_gpt_computes(ours):
    found, expected = logits(ours)
    assert difference(found, expected) < 1e-9


@pytest.mark.parametrize("name", DIFFERENCES)
def test_each_difference_makes_one(ours, name):
    found, expected = logits(ours, but=(name,))
    assert difference(found, expected) > 0.02
