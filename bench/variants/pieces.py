"""gptcore with single optimisations replaced by the usual way to do the same work."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from bench.variants.base import FullLogits, Variant
from gptcore.model.config import ModelConfig
from gptcore.model.gpt import GPT, MLP, Attention, Transformer
from gptcore.ops import bfloat16
from gptcore.training.config import TrainConfig
from gptcore.training.step import make_optimizer

PIECES = {
    "chunked-loss": "head and cross-entropy in chunks, together with their gradients",
    "gelu-again": "GELU's output computed again in backward instead of kept",
    "onednn-gelu": "on a CPU, GELU as the epilogue of a product",
    "sparse-gradient": "gradient of the embedding only for the tokens that occur",
    "fused-adamw": "AdamW as one kernel instead of a loop over operations",
    "sdpa": "attention as one kernel without a matrix of all pairs of tokens",
    "fused-qkv": "queries, keys and values in one product",
    "bf16-products": "in bf16 on a CPU, linear layers and attention whose products use all threads",
}
"""Optimisation of gptcore that can be taken away → its meaning."""

USUAL = ("chunked-loss", "gelu-again", "onednn-gelu", "sparse-gradient", "bf16-products")
"""Optimisations that the usual short GPT lacks."""


class _LoopAdamW:
    """Mixin for a variant: AdamW as a loop over parameters and operations."""

    model: Any

    def make_optimizer(self, config: TrainConfig) -> torch.optim.Optimizer:
        """Return AdamW with weight decay on matrices only."""
        groups = make_optimizer(self.model, config).param_groups
        chosen = [{"params": g["params"], "weight_decay": g["weight_decay"]} for g in groups]
        betas = (config.beta1, config.beta2)
        return torch.optim.AdamW(
            chosen, lr=config.learning_rate, betas=betas, foreach=False, fused=False
        )


class _OwnLoop(_LoopAdamW, Variant):
    """gptcore with AdamW as a loop."""


class _FullLogitsLoop(_LoopAdamW, FullLogits):
    """All logits at once, and AdamW as a loop."""


class _KeptMLP(MLP):
    """The MLP with the output of its GELU kept for backward."""

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.dropout(self._project(self.c_fc(x)))
        return out


class _TorchMLP(MLP):
    """The MLP with torch's own GELU."""

    def _project(self, x: Tensor) -> Tensor:
        out: Tensor = self.c_proj(F.gelu(x, approximate="tanh"))
        return out


class _UsualMLP(_KeptMLP, _TorchMLP):
    """The MLP without either of the two optimisations."""


MLPS: dict[frozenset[str], type[MLP]] = {
    frozenset(): MLP,
    frozenset({"gelu-again"}): _KeptMLP,
    frozenset({"onednn-gelu"}): _TorchMLP,
    frozenset({"gelu-again", "onednn-gelu"}): _UsualMLP,
}
"""Optimisations of the MLP taken away → the class without them."""


class _DenseTransformer(Transformer):
    """The transformer with a dense gradient of the embedding; it has no cache."""

    def forward(self, idx: Tensor, cache: object = None) -> tuple[Tensor, None]:
        assert cache is None, "variants decode without a cache"
        x = self.wte(idx)  # (B, T, C)
        if self.config.positions:
            x = x + self.wpe(torch.arange(idx.shape[1], device=idx.device))
        x = self.drop(x)
        for block in self.h:
            x = block(x)
        return self.ln_f(x), None


class _Attention(Attention):
    """Attention with exchangeable products and kernel; it has no cache."""

    def forward(self, x: Tensor, cache: object = None) -> Tensor:
        assert cache is None, "variants decode without a cache"
        rows, n, _ = x.shape
        heads = (part.view(rows, n, self.n_head, -1).transpose(1, 2) for part in self.project(x))
        y = self.attend(*heads)  # (B, H, T, D)
        out: Tensor = self.resid_dropout(self.c_proj(y.transpose(1, 2).flatten(2)))
        return out

    def project(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return queries, keys and values, each (B, T, C), from one product."""
        qkv: Tensor = self.c_attn(x)
        return qkv.chunk(3, dim=-1)

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Return the attention output (B, H, T, D), from one kernel."""
        dropout = self.dropout if self.training else 0.0
        return bfloat16.scaled_dot_product_attention(q, k, v, dropout_p=dropout, is_causal=True)


class _TorchAttention(_Attention):
    """Attention by torch's own kernel in every precision."""

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        dropout = self.dropout if self.training else 0.0
        return F.scaled_dot_product_attention(q, k, v, dropout_p=dropout, is_causal=True)


class _SeparateProducts(_Attention):
    """Attention with one product each for queries, keys and values."""

    def project(self, x: Tensor) -> tuple[Tensor, ...]:
        weights, biases = self.c_attn.weight.chunk(3), self.c_attn.bias.chunk(3)
        return tuple(self.linear(x, w, b) for w, b in zip(weights, biases, strict=True))

    def linear(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """Return one of the three products."""
        return bfloat16.linear(x, weight, bias)


class _WrittenOutAttention(_Attention):
    """Attention written as its formula: softmax(Q K^T / sqrt(D)) V, with a mask."""

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        n, dim = q.shape[-2:]
        later = torch.ones(n, n, dtype=torch.bool, device=q.device).triu(1)
        scores = (q @ k.transpose(-2, -1) / math.sqrt(dim)).masked_fill(later, -math.inf)
        shares = F.dropout(F.softmax(scores, dim=-1), self.dropout, self.training)
        return shares @ v


class _PlainAttention(_SeparateProducts, _WrittenOutAttention):
    """Attention without any of the optimisations."""

    def linear(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return F.linear(x, weight, bias)


ATTENTION: dict[frozenset[str], type[Attention]] = {
    frozenset(): Attention,
    frozenset({"sdpa"}): _WrittenOutAttention,
    frozenset({"fused-qkv"}): _SeparateProducts,
    frozenset({"bf16-products"}): _TorchAttention,
    frozenset({"sdpa", "fused-qkv", "bf16-products"}): _PlainAttention,
}
"""Optimisations of attention taken away → the class without them."""


def without(model: GPT, pieces: Iterable[str]) -> Variant:
    """Return gptcore without some of PIECES, built again around the weights of `model`."""
    gone = frozenset(pieces)
    bare = _built_without(gone, model.config)
    bare.load_state_dict(model.state_dict(), assign=True)
    bare.lm_head.weight = bare.transformer.wte.weight  # tied again
    if "fused-adamw" in gone:
        return (_FullLogitsLoop if "chunked-loss" in gone else _OwnLoop)(bare)
    return (FullLogits if "chunked-loss" in gone else Variant)(bare)


def _built_without(gone: frozenset[str], config: ModelConfig) -> GPT:
    """Return the model without some pieces, and without weights (on the device "meta")."""
    with torch.device("meta"):
        model = GPT(config)
        if "sparse-gradient" in gone:
            model.transformer = _DenseTransformer(config)
        for block in model.transformer.h:
            block.attn = ATTENTION[gone & {"sdpa", "fused-qkv", "bf16-products"}](config)
            if config.mlp:
                block.mlp = MLPS[gone & {"gelu-again", "onednn-gelu"}](config)
            if "bf16-products" in gone:
                for part in block.children():
                    _use_torch_linear(part)
    return model


def _use_torch_linear(part: nn.Module) -> None:
    """Replace the linear layers of `part` by torch's own."""
    for name, layer in part.named_children():
        if isinstance(layer, nn.Linear):
            setattr(part, name, nn.Linear(layer.in_features, layer.out_features))
