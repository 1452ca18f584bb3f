"""GPT-2 of other packages with our weights: `transformers` and `litgpt`.

A package is imported only when its model is made. The models keep the defaults of their package
and use torch's attention. Cross-entropy, clipping and fused AdamW are the same for all variants and
come from `bench.variants.base.FullLogits`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from bench.variants.base import FullLogits
from gptcore.model.config import ModelConfig
from gptcore.model.gpt import GPT

INPUT_FIRST = (".c_attn.weight", ".c_proj.weight", ".c_fc.weight")
"""`transformers` stores these (in, out); `nn.Linear` holds (out, in)."""


def _check_shape(config: ModelConfig, whose: str) -> None:
    if not (config.positions and config.mlp):
        raise ValueError(
            f"{whose} has no model without positions or MLP: choose model3, model4, model5 or gpt2"
        )


class Transformers(FullLogits):
    """GPT-2 of Hugging Face's transformers."""

    def __init__(self, model: GPT) -> None:
        from transformers import AutoModelForCausalLM, GPT2Config

        config = model.config
        _check_shape(config, "transformers")
        device = model.lm_head.weight.device
        theirs = GPT2Config(
            vocab_size=config.vocab_size,
            n_positions=config.block_size,
            n_layer=config.n_layer,
            n_head=config.n_head,
            n_embd=config.n_embd,
            resid_pdrop=config.dropout,
            embd_pdrop=config.dropout,
            attn_pdrop=config.dropout,
            use_cache=False,  # training needs no cache of keys and values
            bos_token_id=None,
            eos_token_id=None,
        )
        with torch.random.fork_rng(devices=[]):  # for its initial weights, which are replaced
            make: Any = AutoModelForCausalLM.from_config
            peer = make(theirs, attn_implementation="sdpa")
        state = {
            name: weight.t() if name.endswith(INPUT_FIRST) else weight
            for name, weight in model.state_dict().items()
        }
        peer.load_state_dict(state, strict=True)
        self.model = peer.to(device)

    def logits(self, inputs: Tensor) -> Tensor:
        """Return logits (B, T, V) for `inputs` (B, T)."""
        logits: Tensor = self.model(inputs).logits
        return logits

    def decode(self, prompt: Tensor, new_tokens: int) -> Tensor:
        """Return `prompt` with the likeliest tokens, by the package's own `generate` and cache."""
        ids = prompt.to(self.model.device)
        generated: Tensor = self.model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=new_tokens,
            do_sample=False,
            use_cache=True,
        )
        return generated.cpu()


# Our name → litgpt's name, inside a block.
_LITGPT_NAMES = {
    "ln_1": "norm_1",
    "ln_2": "norm_2",
    "attn.c_attn": "attn.qkv",
    "attn.c_proj": "attn.proj",
    "mlp.c_fc": "mlp.fc",
    "mlp.c_proj": "mlp.proj",
}


class _WithPositions(nn.Module):
    """Token embedding plus learned position embedding; litgpt itself has only rotary positions."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.tokens = nn.Embedding(config.vocab_size, config.n_embd)
        self.positions = nn.Embedding(config.block_size, config.n_embd)

    def forward(self, idx: Tensor) -> Tensor:
        """Map ids (B, T) to channels (B, T, C)."""
        x: Tensor = self.tokens(idx) + self.positions.weight[: idx.shape[1]]
        return x


class LitGPT(FullLogits):
    """Lightning's litgpt in the shape of GPT-2, its rotary positions replaced by learned ones."""

    def __init__(self, model: GPT) -> None:
        from litgpt.config import Config
        from litgpt.model import GPT as Theirs  # noqa: N811

        config = model.config
        _check_shape(config, "litgpt")
        if config.dropout:
            raise ValueError("litgpt has no dropout: compare a model with dropout = 0")
        device = model.lm_head.weight.device
        peer = Theirs(
            Config(
                block_size=config.block_size,
                vocab_size=config.vocab_size,
                padded_vocab_size=config.vocab_size,
                n_layer=config.n_layer,
                n_head=config.n_head,
                n_embd=config.n_embd,
                intermediate_size=4 * config.n_embd,
                rotary_percentage=0.0,
                parallel_residual=False,
                bias=True,
                norm_class_name="LayerNorm",
                norm_eps=1e-5,
                mlp_class_name="GptNeoxMLP",
                gelu_approximate="tanh",
            )
        )
        peer.transformer.wte = _WithPositions(config)
        peer.lm_head.weight = peer.transformer.wte.tokens.weight
        peer.load_state_dict(_litgpt_state(model.state_dict()), strict=True)
        self.model = peer.to(device)

    def logits(self, inputs: Tensor) -> Tensor:
        """Return logits (B, T, V) for `inputs` (B, T)."""
        logits: Tensor = self.model(inputs)
        return logits

    def decode(self, prompt: Tensor, new_tokens: int) -> Tensor:
        """Refuse, because the embedding does not learn at which position a cached token stands."""
        raise ValueError(
            f"litgpt cannot decode {new_tokens} tokens after {tuple(prompt.shape)}: with a cache, "
            "its embedding does not get positions; use gptcore, plain or transformers"
        )


def _litgpt_state(own: dict[str, Any]) -> dict[str, Any]:
    """Return our weights under litgpt's names."""
    state = {}
    for name, weight in own.items():
        renamed = name.replace(".wte.", ".wte.tokens.").replace(".wpe.", ".wte.positions.")
        for ours, theirs in _LITGPT_NAMES.items():
            renamed = renamed.replace(f".{ours}.", f".{theirs}.")
        state[renamed] = weight
    return state
