import math

import pytest
import torch
import transformers  # its models load on their first use: that takes seconds

from gptcore.model.config import ModelConfig
from gptcore.model.generation import generate
from gptcore.model.gpt import GPT
from gptcore.model.pretrained import load_gpt2_state_dict

CPU = torch.device("cpu")
CONFIG = ModelConfig(vocab_size=31, block_size=32, n_layer=2, n_head=2, n_embd=16, dropout=0.3)
PROMPT = torch.tensor([3, 1, 4])


@pytest.fixture
def model() -> GPT:
    model = GPT(CONFIG)
    with torch.no_grad():
        model.transformer.wpe.weight.mul_(50)  # so that the text does not repeat one token
    return model


def test_greedy_text_equals_that_of_transformers():
    shape = {"n_layer": 2, "n_head": 2, "n_embd": 16}
    config = transformers.GPT2Config(
        vocab_size=31, n_positions=32, bos_token_id=0, eos_token_id=None, **shape
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        theirs = transformers.GPT2LMHeadModel(config).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.add_(torch.empty_like(parameter).normal_(0, 0.5, generator=generator))
    ours = GPT(ModelConfig(vocab_size=31, block_size=32, **shape))
    load_gpt2_state_dict(ours, theirs.state_dict())
    expected = theirs.generate(
        PROMPT[None], attention_mask=torch.ones(1, 3), max_new_tokens=20, do_sample=False
    )
    assert torch.equal(generate(ours, PROMPT, 20, temperature=0, device=CPU), expected[0])
    assert len(set(expected[0].tolist())) > 5  # not one token over and over


@pytest.mark.parametrize("length", [1, 3, 31, 32, 33, 40])
def test_text_with_the_cache_equals_that_without(model, length):
    prompt = torch.arange(length) * 7 % 31
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.eval().parameters():
            parameter.add_(torch.empty_like(parameter).normal_(0, 0.5, generator=generator))
    ids = prompt
    for _ in range(35):  # from within the block to beyond its end
        with torch.no_grad():
            ids = torch.cat([ids, model(ids[None, -32:])[0, -1:].argmax(-1)])
    assert torch.equal(generate(model, prompt, 35, temperature=0, device=CPU), ids)
    assert len(set(ids[length:].tolist())) > 2  # not one token over and over


def test_within_the_block_each_token_is_read_once(model, monkeypatch):
    read = []
    real = model.next_logits

    def spy(idx, *cache):
        read.append(idx.shape[1])
        return real(idx, *cache)

    monkeypatch.setattr(model, "next_logits", spy)
    generate(model, PROMPT, 32, device=CPU)
    assert read == [3] + [1] * 29 + [32, 32]  # 32 positions are full; then all move


def test_each_new_token_is_reported_with_the_number_asked_for(model):
    calls = []
    generate(model, PROMPT, 3, device=CPU, on_token=lambda *call: calls.append(call))
    assert calls == [(1, 3), (2, 3), (3, 3)]


def test_rows_of_a_batch_are_the_texts_of_single_prompts(model):
    prompts = torch.stack([PROMPT, PROMPT + 5, PROMPT])
    options = {"temperature": 0.8, "top_k": 20, "top_p": 0.9, "device": CPU}
    together = generate(model, prompts, 35, seed=4, **options)
    alone = [generate(model, row, 35, seed=4 + i, **options) for i, row in enumerate(prompts)]
    assert torch.equal(together, torch.stack(alone))


def test_top_p_draws_among_the_tokens_that_transformers_keeps(model):
    logits = model.eval()(PROMPT[None])[0, -1:].detach()
    scores = transformers.TopPLogitsWarper(0.6)(None, logits / 2.0)
    kept = scores[0].isfinite().nonzero().flatten()
    prompts = PROMPT.expand(300, -1)  # each row has a seed of its own
    ids = generate(model, prompts, 1, temperature=2.0, top_p=0.6, seed=0, device=CPU)[:, -1]
    drawn = set(ids.tolist())
    assert drawn == set(kept.tolist())
    assert 3 < len(drawn) < 31


def test_a_tiny_top_p_is_greedy(model):
    greedy = generate(model, PROMPT, 20, temperature=0, device=CPU)
    assert torch.equal(generate(model, PROMPT, 20, top_p=1e-9, device=CPU), greedy)


def test_text_begins_with_the_prompt_and_has_the_length_asked_for(model):
    ids = generate(model, PROMPT, 7, device=CPU)
    assert torch.equal(ids[:3], PROMPT)
    assert ids.shape == (10,)


def test_no_new_tokens_give_the_prompt(model):
    assert torch.equal(generate(model, PROMPT, 0, device=CPU), PROMPT)


def test_seed_decides_the_text(model):
    first, again, other = (generate(model, PROMPT, 20, seed=s, device=CPU) for s in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_the_global_generator_is_left_alone(model):
    before = torch.get_rng_state()
    generate(model, PROMPT, 5, device=CPU)
    assert torch.equal(before, torch.get_rng_state())


def test_a_text_longer_than_the_block_goes_on_from_its_last_tokens(model):
    prompt = torch.arange(40) % 31
    assert torch.equal(
        generate(model, prompt, 5, temperature=0, device=CPU)[40:],
        generate(model, prompt[8:], 5, temperature=0, device=CPU)[32:],
    )


def test_top_1_is_greedy(model):
    greedy = generate(model, PROMPT, 20, temperature=0, device=CPU)
    assert torch.equal(generate(model, PROMPT, 20, top_k=1, device=CPU), greedy)


def test_a_temperature_near_zero_is_greedy(model):
    greedy = generate(model, PROMPT, 20, temperature=0, device=CPU)
    assert torch.equal(generate(model, PROMPT, 20, temperature=1e-300, device=CPU), greedy)


def test_tokens_are_drawn_with_the_softmax_probabilities(model):
    temperature, draws = 0.01, 2000  # so low that the four most likely differ by far
    logits = model.eval()(PROMPT[None])[0, -1].detach()
    top = logits.topk(4).indices
    expected = torch.softmax(logits[top].double() / temperature, dim=0)
    prompts = PROMPT.expand(draws, -1)  # each row has a seed of its own
    ids = generate(model, prompts, 1, temperature=temperature, top_k=4, seed=0, device=CPU)[:, -1]
    observed = torch.stack([(ids == token).double().mean() for token in top])
    assert observed.sum() == pytest.approx(1.0, abs=1e-12)  # nothing outside the top 4
    # Four standard errors of a share of 1/2 in 2,000 draws.
    torch.testing.assert_close(observed, expected, atol=4 * math.sqrt(0.25 / draws), rtol=0)


@pytest.mark.parametrize("training", [True, False])
def test_dropout_is_off_and_the_mode_of_the_model_kept(model, training):
    model.train(training)
    first, second = (generate(model, PROMPT, 10, temperature=0, device=CPU) for _ in range(2))
    assert torch.equal(first, second)
    assert model.training is training


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"prompt_ids": PROMPT[:0]}, r"shape \(0,\).*not empty"),
        ({"prompt_ids": PROMPT[None, None]}, r"shape \(1, 1, 3\)"),
        ({"prompt_ids": PROMPT.float()}, "torch.float32"),
        ({"prompt_ids": torch.tensor([31])}, r"\[31, 31\].*\[0, 31\)"),
        ({"prompt_ids": torch.tensor([-1])}, r"\[-1, -1\]"),
        ({"new_tokens": -1}, "new_tokens is -1"),
        ({"temperature": -0.5}, "temperature is -0.5"),
        ({"temperature": math.nan}, "temperature is nan"),
        ({"temperature": math.inf}, "temperature is inf"),
        ({"temperature": True}, "temperature is True"),
        ({"top_k": 0}, "top_k is 0"),
        ({"top_k": 32}, "top_k is 32.*vocab_size = 31"),
        ({"top_p": 0}, "top_p is 0"),
        ({"top_p": 1.5}, r"top_p is 1.5.*\(0, 1\]"),
        ({"top_p": math.nan}, "top_p is nan"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_generate_refuses(model, arguments, message):
    given = {"prompt_ids": PROMPT, "new_tokens": 1} | arguments
    with pytest.raises(ValueError, match=message):
        generate(model, device=CPU, **given)


def test_a_diverged_model_is_refused(model):
    with torch.no_grad():
        model.lm_head.weight.fill_(math.nan)
    with pytest.raises(ValueError, match="not finite"):
        generate(model, PROMPT, 1, temperature=0, device=CPU)
