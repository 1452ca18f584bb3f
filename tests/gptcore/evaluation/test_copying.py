"""How likely a model holds it that the current token comes again."""

import pytest
import torch

from gptcore.evaluation.copying import copy_probability
from gptcore.model.config import ModelConfig
from gptcore.model.gpt import GPT

SHAPE = ModelConfig(vocab_size=500, block_size=16, n_layer=1, n_head=2, n_embd=32)
IDS = torch.randint(500, (300,), generator=torch.Generator().manual_seed(0))
CPU = torch.device("cpu")


def test_probability_is_that_of_the_logits():
    model = GPT(SHAPE, seed=0)
    with torch.inference_mode():
        told = torch.log_softmax(model.lm_head(model.hidden(IDS[None, :16])), -1)
    expected = told[0].gather(1, IDS[:16, None]).exp().mean()
    found = copy_probability(model, IDS[:16], block_size=16, device=CPU, windows=1)
    assert found == pytest.approx(expected.item(), rel=1e-5)


def test_unit_embeddings_copy_and_those_of_gpt2_do_not():
    copies = {
        init: copy_probability(GPT(SHAPE, seed=0, init=init), IDS, block_size=16, device=CPU)
        for init in ("normal", "gpt2")
    }
    assert 1 / 500 < copies["gpt2"] < 2 / 500  # a little above, because the head is tied
    assert copies["normal"] > 10 * copies["gpt2"]


def test_short_text_is_refused():
    with pytest.raises(ValueError, match="15 tokens"):
        copy_probability(GPT(SHAPE), IDS[:15], block_size=16, device=CPU)
