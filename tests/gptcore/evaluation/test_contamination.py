import numpy as np
import pytest
import torch

from gptcore.evaluation.contamination import CONTINUATION, PROMPT, matched_lengths, place_prompts
from gptcore.model import GPT, ModelConfig, generate

CPU = torch.device("cpu")
MODEL = GPT(ModelConfig(vocab_size=31, block_size=128, n_layer=2, n_head=2, n_embd=16))


def test_a_continuation_that_the_model_writes_is_matched_up_to_its_first_change():
    rows = []
    for seed, changed in ((0, None), (1, 7), (2, 0), (3, CONTINUATION - 1)):
        prompt = torch.randint(31, (PROMPT,), generator=torch.Generator().manual_seed(seed))
        ids = generate(MODEL, prompt, CONTINUATION, temperature=0, device=CPU)
        if changed is not None:
            ids[PROMPT + changed] = (ids[PROMPT + changed] + 1) % 31
        rows.append(ids)
    starts = place_prompts(4 * (PROMPT + CONTINUATION))
    found = matched_lengths(MODEL, torch.cat(rows), starts, device=CPU)
    assert found.tolist() == [CONTINUATION, 7, 0, CONTINUATION - 1]


@pytest.mark.parametrize("n_tokens", [100, 101, 1234, 100_000])
def test_prompts_spread_over_the_text_and_share_no_token(n_tokens):
    starts = place_prompts(n_tokens)
    length = PROMPT + CONTINUATION
    assert (starts[0], len(starts)) == (0, min(400, n_tokens // length))
    assert starts[-1] + length <= n_tokens < starts[-1] + 2 * length + 1
    assert (np.diff(starts) >= length).all()


def test_a_text_too_short_and_a_model_too_small_are_refused():
    with pytest.raises(ValueError, match="the text has 99 tokens"):
        place_prompts(99)
    small = GPT(ModelConfig(vocab_size=31, block_size=98, n_layer=0, n_head=1, n_embd=4))
    with pytest.raises(ValueError, match="the probe reads 99 tokens at once"):
        matched_lengths(small, torch.zeros(200, dtype=torch.int64), np.array([0]), device=CPU)
