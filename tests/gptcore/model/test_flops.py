from collections.abc import Iterator

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from gptcore.model import loss
from gptcore.model.config import PRESETS, ModelConfig
from gptcore.model.flops import flops_per_token, forward_flops, n_params, training_flops
from gptcore.model.gpt import GPT
from gptcore.ops import cross_entropy as cross_entropy_ops
from gptcore.ops.cross_entropy import cross_entropy

CONFIGS = [
    ModelConfig(vocab_size=61, block_size=32, n_layer=2, n_head=3, n_embd=24),
    ModelConfig(vocab_size=50, block_size=16, n_layer=3, n_head=2, n_embd=8, mlp=False),
    ModelConfig(vocab_size=50, block_size=16, n_layer=0, n_head=1, n_embd=8, positions=False),
]
PUBLISHED = {  # of the released checkpoints
    "gpt2": 124_439_808,
    "gpt2-medium": 354_823_168,
    "gpt2-large": 774_030_080,
    "gpt2-xl": 1_557_611_200,
}


@pytest.mark.parametrize("config", CONFIGS)
def test_n_params_equals_the_models(config):
    assert n_params(config) == GPT(config).n_params


@pytest.mark.parametrize("name", PUBLISHED)
def test_n_params_equals_the_published_number(name):
    assert n_params(PRESETS[name]) == PUBLISHED[name]


@pytest.fixture
def counter() -> Iterator[FlopCounterMode]:
    # The plain kernel: torch does not count the fused one of the CPU, and others recompute scores.
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        yield counter


@pytest.mark.parametrize("config", CONFIGS)
def test_forward_flops_equal_torchs_count(config, counter):
    GPT(config)(torch.zeros(2, 16, dtype=torch.int64))
    assert forward_flops(config, batch_size=2, block_size=16) == counter.get_total_flops()


@pytest.mark.parametrize("config", CONFIGS)
def test_training_flops_equal_torchs_count(config, counter):
    idx = torch.zeros(2, 16, dtype=torch.int64)
    cross_entropy(GPT(config)(idx), idx).backward()
    assert training_flops(config, batch_size=2, block_size=16) == counter.get_total_flops()


@pytest.mark.parametrize("chunks", [1, 3])
def test_flops_of_the_head_in_chunks_are_all_counted(monkeypatch, counter, chunks):
    config, idx = CONFIGS[0], torch.zeros(2, 16, dtype=torch.int64)
    monkeypatch.setattr(
        cross_entropy_ops, "CHUNK_BYTES", -(-2 * 16 * config.vocab_size * 4 // chunks)
    )
    loss.next_token_loss(GPT(config), idx, idx).backward()
    assert training_flops(config, batch_size=2, block_size=16) == counter.get_total_flops()


def test_flops_per_token_of_gpt2_follow_the_formula():
    matmul_weights = 12 * 12 * 768**2 + 50257 * 768
    expected = 6 * matmul_weights + 12 * 12 * 768 * 1024
    assert flops_per_token(PRESETS["gpt2"], context_len=1024) == expected


@pytest.mark.parametrize("context_len", [0, 33, 8.0])
def test_context_outside_the_block_is_refused(context_len):
    with pytest.raises(ValueError, match=f"context_len is {context_len}"):
        flops_per_token(CONFIGS[0], context_len)


def test_batch_of_nothing_is_refused():
    with pytest.raises(ValueError, match="batch_size is 0"):
        forward_flops(CONFIGS[0], batch_size=0, block_size=8)
