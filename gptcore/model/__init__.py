"""The model: GPT-2 from scratch, its loss, its cost in FLOPs, and text from it.

    >>> from gptcore.model import GPT, PRESETS, n_params
    >>> n_params(PRESETS["gpt2"])
    124439808
    >>> model = GPT(PRESETS["model1"])

Read `gpt` from top to bottom for the model itself. Parameters carry the names of GPT-2 in
`transformers`, so that published weights load (`load_gpt2_state_dict`).
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
from gptcore.model.generation import generate
from gptcore.model.gpt import GPT
from gptcore.model.kv_cache import KVCache
from gptcore.model.loss import next_token_loss, token_losses
from gptcore.model.pretrained import load_gpt2_state_dict

__all__ = [
    "GPT",
    "PRESETS",
    "KVCache",
    "ModelConfig",
    "flops_per_token",
    "forward_bytes",
    "forward_flops",
    "generate",
    "load_gpt2_state_dict",
    "matmul_weights",
    "n_params",
    "next_token_loss",
    "token_losses",
    "training_bytes",
    "training_flops",
]
