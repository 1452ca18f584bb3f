"""The model: a GPT-2 built from scratch, its loss, its cost in FLOPs, and generated text.

Read the modules in this order: `config` (the shape, and the presets), `gpt` (the model itself, top
down), `loss`, `kv_cache` and `generation`. `flops` counts parameters and operations from the shape
alone. Parameters have the names of GPT-2 in `transformers`: `load_pretrained` loads published
weights from a folder or from the Hugging Face hub, and `save_pretrained` writes such a folder.

    >>> import torch
    >>> from gptcore.model import GPT, ModelConfig, generate, n_params, next_token_loss
    >>> config = ModelConfig(vocab_size=65, block_size=32, n_layer=2, n_head=2, n_embd=16)
    >>> model = GPT(config, seed=0)
    >>> n_params(config) == model.n_params
    True
    >>> ids = torch.arange(33)[None]  # one window: 32 inputs and their 32 targets
    >>> loss = next_token_loss(model, ids[:, :-1], ids[:, 1:])  # nats per token
    >>> generate(model, ids[0, :4], new_tokens=6, device=torch.device("cpu")).shape
    torch.Size([10])
"""

from gptcore.model.config import PRESETS, ModelConfig
from gptcore.model.flops import (
    flops_per_token,
    forward_bytes,
    forward_flops,
    matmul_weights,
    n_params,
    training_bytes,
    training_flops,
)
from gptcore.model.foreign import ForeignModel
from gptcore.model.generation import generate
from gptcore.model.gpt import GPT
from gptcore.model.kv_cache import KVCache
from gptcore.model.loss import next_token_loss, token_losses
from gptcore.model.pretrained import (
    Pretrained,
    load_gpt2_state_dict,
    load_pretrained,
    save_pretrained,
)

__all__ = [
    "GPT",
    "PRESETS",
    "ForeignModel",
    "KVCache",
    "ModelConfig",
    "Pretrained",
    "flops_per_token",
    "forward_bytes",
    "forward_flops",
    "generate",
    "load_gpt2_state_dict",
    "load_pretrained",
    "matmul_weights",
    "n_params",
    "next_token_loss",
    "save_pretrained",
    "token_losses",
    "training_bytes",
    "training_flops",
]
