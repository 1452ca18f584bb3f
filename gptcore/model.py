"""GPT-2, a decoder-only transformer: configuration, model, layers, KV cache, loading of weights.

Shapes, in this order wherever they appear:
    B  sequences in a batch
    T  tokens in a sequence, at most `block_size`
    C  channels of the residual stream, `n_embd`
    H  attention heads, `n_head`; each has D = C / H channels
    V  ids in the vocabulary, `vocab_size`

Parameters have the names of GPT-2 in `transformers` (`transformer.h.0.attn.c_attn.weight` …).
Source: Radford et al., "Language Models are Unsupervised Multitask Learners" (2019).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from gptcore.checks import LARGEST_INT64, check_number, check_whole
from gptcore.ops.bfloat16 import Linear, scaled_dot_product_attention
from gptcore.ops.gelu import gelu
from gptcore.ops.tied_embedding import Waiting, embed


@dataclass(frozen=True)
class ModelConfig:
    """The shape of a GPT; the defaults are those of GPT-2 small.

    Attributes:
        vocab_size: V.
        block_size: the largest T.
        n_layer: the number of blocks; with 0 the model is a bigram model.
        n_head: H; it divides `n_embd`.
        n_embd: C.
        dropout: the probability of dropout, in [0, 1), after the embedding, in attention and after
            both projections of a block.
        positions: whether learned position embeddings are added.
        mlp: whether an MLP follows the attention of each block.

    Raises:
        ValueError: a field is outside its range.
    """

    vocab_size: int = 50257
    block_size: int = 1024
    n_layer: int = 12
    n_head: int = 12
    n_embd: int = 768
    dropout: float = 0.0
    positions: bool = True
    mlp: bool = True

    def __post_init__(self) -> None:
        sizes = {"vocab_size": 1, "block_size": 1, "n_layer": 0, "n_head": 1, "n_embd": 1}
        for name, least in sizes.items():
            size = check_whole(name, getattr(self, name), at_least=least, at_most=LARGEST_INT64)
            object.__setattr__(self, name, size)
        if self.n_embd % self.n_head:
            nearest = max(1, round(self.n_embd / self.n_head)) * self.n_head
            raise ValueError(
                f"n_embd is {self.n_embd}; it must be a multiple of n_head = {self.n_head}, "
                f"for instance {nearest}"
            )
        object.__setattr__(self, "dropout", check_number("dropout", self.dropout, "[0, 1)"))
        for name in ("positions", "mlp"):
            if type(getattr(self, name)) is not bool:
                raise ValueError(f"{name} is {getattr(self, name)!r}: give True or False")


# Each of model1 … model5 adds one idea to the one before: token embedding, attention and positions,
# several heads and an MLP, depth, the size of GPT-2 small.
PRESETS: dict[str, ModelConfig] = {
    "model1": ModelConfig(block_size=256, n_layer=0, n_head=1, n_embd=128, positions=False),
    "model2": ModelConfig(block_size=256, n_layer=1, n_head=1, n_embd=128, mlp=False),
    "model3": ModelConfig(block_size=256, n_layer=1, n_head=4, n_embd=128),
    "model4": ModelConfig(block_size=256, n_layer=4, n_head=4, n_embd=128),
    "model5": ModelConfig(block_size=256),
    "gpt2": ModelConfig(),
    "gpt2-medium": ModelConfig(n_layer=24, n_head=16, n_embd=1024),
    "gpt2-large": ModelConfig(n_layer=36, n_head=20, n_embd=1280),
    "gpt2-xl": ModelConfig(n_layer=48, n_head=25, n_embd=1600),
}


class GPT(nn.Module):
    """Token ids (B, T) → logits (B, T, V) of the next token at every position.

    The initial weights depend on `config` and `seed` alone. They are drawn on the CPU from a
    separate generator, so that torch's global generator is unchanged and every device starts from
    the same weights. Under `torch.device("meta")` the model is built with shapes but no weights.

    Args:
        config: the shape.
        seed: the seed of the initial weights, at least 0.
    """

    def __init__(self, config: ModelConfig, *, seed: int = 0) -> None:
        super().__init__()
        check_whole("seed", seed, at_least=0, at_most=LARGEST_INT64)
        self.config = config
        with torch.device("meta"):  # only shapes: the layers' own initialisation is not used
            self.transformer = Transformer(config)
            self.lm_head = nn.Linear(config.n_embd, config.vocab_size, bias=False)
        self.to_empty(device=torch.get_default_device())
        self.lm_head.weight = self.transformer.wte.weight  # tied: one matrix for both ends
        self._draw_weights(seed)

    def forward(self, idx: Tensor) -> Tensor:
        """Return logits (B, T, V) for `idx` (B, T), int64."""
        logits: Tensor = self.lm_head(self.hidden(idx))
        return logits

    def next_logits(self, idx: Tensor, cache: KVCache | None = None) -> Tensor:
        """Return logits (B, V) of the token after `idx` (B, T); `hidden` lists the arguments."""
        logits: Tensor = self.lm_head(self.hidden(idx, cache)[:, -1])
        return logits

    def hidden(self, idx: Tensor, cache: KVCache | None = None) -> Tensor:
        """Return the channels (B, T, C) that the head turns into logits, for `idx` (B, T), int64.

        Args:
            idx: the tokens; with a cache, the tokens that follow those in the cache.
            cache: keys and values of earlier calls; those of `idx` are added to it. It cannot be
                used where gradients are needed.

        Raises:
            ValueError: T, the cached tokens included, is greater than `config.block_size`.
        """
        hidden: Tensor
        hidden, _ = self.transformer(idx, cache)
        return hidden

    @property
    def n_params(self) -> int:
        """Number of parameters; the matrix shared by embedding and head counts once."""
        return sum(parameter.numel() for parameter in self.parameters())

    @torch.no_grad()
    def _draw_weights(self, seed: int) -> None:
        """Initialise as GPT-2 does.

        Weights are normal with mean 0 and standard deviation 0.02, which is divided by
        sqrt(2 n_layer) for projections into the residual stream. Biases are 0, scales of norms 1.
        """
        if self.lm_head.weight.is_meta:
            return
        generator = torch.Generator("cpu").manual_seed(seed)
        residual_std = 0.02 / math.sqrt(2 * max(self.config.n_layer, 1))
        for name, weight in self.named_parameters():
            if name.endswith(".bias"):
                weight.zero_()
            elif ".ln_" in name:
                weight.fill_(1)
            else:
                std = residual_std if name.endswith(".c_proj.weight") else 0.02
                draw = torch.empty(weight.shape, dtype=weight.dtype, device="cpu")
                weight.copy_(draw.normal_(0, std, generator=generator))


class Transformer(nn.Module):
    """Token embeddings plus position embeddings, then the blocks, then a last norm.

    If `recompute` is true, training keeps only the input of each block and computes the block's
    activations again in the backward pass. They then take a fifth of the memory, at the cost of one
    more forward pass of the blocks.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.recompute = False
        self.wte = nn.Embedding(config.vocab_size, config.n_embd)
        if config.positions:
            self.wpe = nn.Embedding(config.block_size, config.n_embd)
        self.drop = nn.Dropout(config.dropout)
        self.h = nn.ModuleList(Block(config) for _ in range(config.n_layer))
        self.ln_f = nn.LayerNorm(config.n_embd)

    def forward(self, idx: Tensor, cache: KVCache | None = None) -> tuple[Tensor, Waiting | None]:
        """Map ids (B, T) to channels (B, T, C).

        Beside them comes the place where the tied head's gradient can wait for that of the
        embedding, to be passed to `loss.linear_cross_entropy`; None leaves adding them to torch.
        """
        past = cache.length if cache is not None else 0
        end = past + idx.shape[1]
        if end > self.config.block_size:
            raise ValueError(
                f"the sequence has {end} tokens; this model reads at most block_size = "
                f"{self.config.block_size}: shorten it or build a model with a larger block_size"
            )
        waiting = None
        if idx.device.type in ("cpu", "cuda") and not torch.compiler.is_compiling():
            x, waiting = embed(idx, self.wte.weight)  # (B, T, C)
        else:
            x = self.wte(idx)
        # Positions tell attention the order of tokens; new tokens come after those in the cache.
        if self.config.positions:
            x = x + self.wpe(torch.arange(past, end, device=idx.device))  # (B, T, C) + (T, C)
        x = self.drop(x)
        # Each block adds to the residual stream x; its shape stays (B, T, C).
        for layer, block in enumerate(self.h):
            if self.recompute and self.training:
                x = checkpoint(block, x, use_reentrant=False)
            else:
                x = block(x, cache.of_layer(layer) if cache is not None else None)
        if cache is not None:
            cache.length = end
        return self.ln_f(x), waiting


class Block(nn.Module):
    """Attention moves information between tokens; the MLP then transforms each token by itself."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(config.n_embd)
        self.attn = Attention(config)
        self.has_mlp = config.mlp
        if config.mlp:
            self.ln_2 = nn.LayerNorm(config.n_embd)
            self.mlp = MLP(config)

    def forward(self, x: Tensor, cache: LayerCache | None = None) -> Tensor:
        """Add the outputs of attention and MLP to the residual stream (B, T, C)."""
        x = x + self.attn(self.ln_1(x), cache)
        if self.has_mlp:
            x = x + self.mlp(self.ln_2(x))
        return x


class Attention(nn.Module):
    """Causal multi-head self-attention: each token attends to itself and the tokens before it."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.n_head = config.n_head
        self.dropout = config.dropout
        self.c_attn = Linear(config.n_embd, 3 * config.n_embd)  # queries, keys, values at once
        self.c_proj = Linear(config.n_embd, config.n_embd)
        self.resid_dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, cache: LayerCache | None = None) -> Tensor:
        """Map (B, T, C) to (B, T, C); with a cache, the new tokens attend to its tokens as well."""
        # One product makes the queries, keys and values of all heads.
        heads = self.c_attn(x).unflatten(-1, (3, self.n_head, -1))  # (B, T, 3, H, D)
        q, k, v = (part.transpose(1, 2) for part in heads.unbind(2))  # each (B, H, T, D)
        # With a cache, k and v also hold the past tokens: (B, H, past + T, D).
        if cache is not None:
            k, v = cache.extend(k, v)
        new, past = q.shape[2], k.shape[2] - q.shape[2]
        mask = None
        if past and new > 1:  # each new token attends to all past tokens, and to new ones up to it
            mask = torch.ones(new, past + new, dtype=torch.bool, device=x.device).tril(past)
        # softmax(q @ k.T / sqrt(D)) @ v in each head. Without past tokens the mask is causal; a
        # single new token needs no mask, since it attends to all tokens.
        dropout = self.dropout if self.training else 0.0
        y = scaled_dot_product_attention(
            q, k, v, attn_mask=mask, dropout_p=dropout, is_causal=not past
        )
        # Put the heads side by side, (B, H, T, D) → (B, T, C), and mix them by a projection.
        out: Tensor = self.resid_dropout(self.c_proj(y.transpose(1, 2).flatten(2)))
        return out


class MLP(nn.Module):
    """Two linear layers with a GELU between them; the hidden layer has 4 C channels."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.c_fc = Linear(config.n_embd, 4 * config.n_embd)
        self.c_proj = Linear(4 * config.n_embd, config.n_embd)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, T, C) to (B, T, C)."""
        x = self.c_fc(x)  # (B, T, 4 C)
        # GELU's output is as large as its input and cheap to compute, so it is not kept: the
        # backward pass computes it again. Under autocast it is kept, since computing it again would
        # also cast the weight again.
        if x.requires_grad and x.dtype == self.c_fc.weight.dtype:
            x = checkpoint(self._project, x, use_reentrant=False, preserve_rng_state=False)
        else:
            x = self._project(x)
        out: Tensor = self.dropout(x)
        return out

    def _project(self, x: Tensor) -> Tensor:
        out: Tensor = self.c_proj(gelu(x))
        return out


class KVCache:
    """Keys and values of the tokens read so far, so that each new token costs one token's work.

    Memory for block_size tokens is allocated once. A full cache takes no further token, because
    learned positions end there. Dropping the oldest token shifts every position and invalidates
    the cache; start a new one with the last tokens.

    Args:
        model: the model; the cache has its shape, device and dtype.
        batch_size: B, the number of rows that are read together.
    """

    def __init__(self, model: GPT, batch_size: int = 1) -> None:
        config, weight = model.config, model.lm_head.weight
        head = (config.n_head, config.block_size, config.n_embd // config.n_head)
        shape = (config.n_layer, 2, batch_size, *head)  # each layer's: (2, B, H, block_size, D)
        self.memory = torch.empty(shape, dtype=weight.dtype, device=weight.device)
        self.length = 0

    def of_layer(self, layer: int) -> LayerCache:
        """Return the keys and values of one layer."""
        return LayerCache(self.memory[layer], self.length)


class LayerCache(NamedTuple):
    """The keys and values of one layer, (2, B, H, block_size, D); the first `length` are set."""

    memory: Tensor
    length: int

    def extend(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Store the keys and values (B, H, T, D) of new tokens; return those of all tokens."""
        end = self.length + k.shape[2]
        for kept, new in zip(self.memory, (k, v), strict=True):
            kept[:, :, self.length : end] = new
        keys, values = self.memory[:, :, :, :end]
        return keys, values


# GPT-2's files and `transformers` store these as (in, out); `nn.Linear` has (out, in).
_INPUT_FIRST = (".c_attn.weight", ".c_proj.weight", ".c_fc.weight")


def load_gpt2_state_dict(model: GPT, state: Mapping[str, Tensor]) -> None:
    """Copy GPT-2 weights, as published or from `GPT2LMHeadModel.state_dict()`, into `model`.

    The `transformer.` prefix and `lm_head.weight` may be absent. The attention masks that older
    files hold are ignored.

    Args:
        model: a GPT of the same shape; it is unchanged if the weights do not fit.
        state: the tensor of each parameter name.

    Raises:
        ValueError: a name or shape does not fit, or the head is not tied to the embedding.
    """
    source: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if name.endswith((".attn.bias", ".attn.masked_bias")):
            continue
        full_name = name if name.startswith(("transformer.", "lm_head.")) else f"transformer.{name}"
        source[full_name] = tensor.t() if name.endswith(_INPUT_FIRST) else tensor
    if "transformer.wte.weight" in source:
        source.setdefault("lm_head.weight", source["transformer.wte.weight"])
    own = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    given = {name: tuple(tensor.shape) for name, tensor in source.items()}
    for name in sorted(own.keys() | given.keys()):
        if own.get(name) != given.get(name):
            raise ValueError(
                f"{name} is {given.get(name, 'absent')} in the weights and "
                f"{own.get(name, 'absent')} in the model; build the GPT with the weights' shape"
            )
    if not torch.equal(source["lm_head.weight"], source["transformer.wte.weight"]):
        raise ValueError(
            "lm_head.weight differs from transformer.wte.weight; a GPT has one matrix for both: "
            "use weights with a tied head"
        )
    model.load_state_dict(source)
