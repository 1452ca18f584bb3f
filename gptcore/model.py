"""GPT-2: a decoder-only transformer, top to bottom.

Shapes, in this order wherever they appear:
    B  sequences in a batch
    T  tokens in a sequence, at most `block_size`
    C  channels of the residual stream, `n_embd`
    H  attention heads, `n_head`; each has D = C / H channels
    V  ids in the vocabulary, `vocab_size`

Parameters carry the names of GPT-2 in `transformers` (`transformer.h.0.attn.c_attn.weight` …).
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

from gptcore.bfloat16 import Linear, scaled_dot_product_attention
from gptcore.gelu import gelu
from gptcore.tied import Waiting, embed


def check_int(name: str, value: object, minimum: int) -> None:
    """Raise ValueError unless `value` is an int (no bool) in [minimum, 2^63), as torch has them."""
    if type(value) is not int or value < minimum:
        raise ValueError(f"{name} is {value!r}; it must be an integer of at least {minimum}")
    if value >= 2**63:
        raise ValueError(f"{name} is {value}; it must be less than 2^63")


@dataclass(frozen=True)
class ModelConfig:
    """Shape of a GPT; the defaults are GPT-2 small.

    Attributes:
        vocab_size: V.
        block_size: the longest T.
        n_layer: number of blocks; 0 leaves a bigram model.
        n_head: H; divides `n_embd`.
        n_embd: C.
        dropout: probability in [0, 1), after the embedding, in attention and in both projections.
        positions: add learned position embeddings.
        mlp: follow each block's attention by an MLP.

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
        for name in ("vocab_size", "block_size", "n_head", "n_embd"):
            check_int(name, getattr(self, name), minimum=1)
        check_int("n_layer", self.n_layer, minimum=0)
        if self.n_embd % self.n_head:
            nearest = max(1, round(self.n_embd / self.n_head)) * self.n_head
            raise ValueError(
                f"n_embd is {self.n_embd}; it must be a multiple of n_head = {self.n_head}, "
                f"for instance {nearest}"
            )
        if type(self.dropout) not in (int, float) or not 0 <= self.dropout < 1:
            raise ValueError(f"dropout is {self.dropout!r}; it must be a number in [0, 1)")
        for name in ("positions", "mlp"):
            if type(getattr(self, name)) is not bool:
                raise ValueError(f"{name} is {getattr(self, name)!r}; it must be True or False")


# Each rung of the ladder model1 … model5 adds one idea to the rung before.
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

    Weights depend on `config` and `seed` alone: they are drawn on the CPU from a generator of
    their own, so the global one stays untouched and every device starts from the same weights.
    Built under `torch.device("meta")` the model has shapes but no weights.

    Args:
        config: the shape.
        seed: of the initial weights, at least 0.
    """

    def __init__(self, config: ModelConfig, *, seed: int = 0) -> None:
        super().__init__()
        check_int("seed", seed, minimum=0)
        self.config = config
        with torch.device("meta"):  # shapes only: the layers' own random draws would be thrown away
            self.transformer = Transformer(config)
            self.lm_head = nn.Linear(config.n_embd, config.vocab_size, bias=False)
        self.to_empty(device=torch.get_default_device())
        self.lm_head.weight = self.transformer.wte.weight  # tied: one matrix for both ends
        self._draw_weights(seed)

    def forward(self, idx: Tensor) -> Tensor:
        """Return logits (B, T, V) for `idx` (B, T), int64."""
        logits: Tensor = self.lm_head(self.hidden(idx))
        return logits

    def next_logits(self, idx: Tensor, cache: KVCache | None = None, last: int = 1) -> Tensor:
        """Return logits (B, last, V) of the last positions of `idx` (B, T); rest as `hidden`."""
        logits: Tensor = self.lm_head(self.hidden(idx, cache)[:, -last:])
        return logits

    def hidden(self, idx: Tensor, cache: KVCache | None = None) -> Tensor:
        """Return the channels (B, T, C) that the head turns into logits, for `idx` (B, T), int64.

        Args:
            idx: the tokens; with a cache, those after the tokens that it has.
            cache: what earlier calls read; it takes in `idx`. Without gradients only.

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
        """Initialise as GPT-2: N(0, 0.02), residual projections / sqrt(2 n_layer), biases 0."""
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
    """Token embeddings plus position embeddings, the blocks, a last norm.

    With `recompute` set, training keeps only what goes into each block and computes its inside
    again in backward: a fifth of the memory there, for one more forward pass of the blocks.
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
        if self.config.positions:
            x = x + self.wpe(torch.arange(past, end, device=idx.device))
        x = self.drop(x)
        for layer, block in enumerate(self.h):
            if self.recompute and self.training:
                x = checkpoint(block, x, use_reentrant=False)
            else:
                x = block(x, cache.of_layer(layer) if cache is not None else None)
        if cache is not None:
            cache.length = end
        return self.ln_f(x), waiting


class Block(nn.Module):
    """Attention moves information between tokens, then the MLP works on each token alone."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(config.n_embd)
        self.attn = Attention(config)
        self.has_mlp = config.mlp
        if config.mlp:
            self.ln_2 = nn.LayerNorm(config.n_embd)
            self.mlp = MLP(config)

    def forward(self, x: Tensor, cache: LayerCache | None = None) -> Tensor:
        """Add what both have to say to the residual stream (B, T, C)."""
        x = x + self.attn(self.ln_1(x), cache)
        if self.has_mlp:
            x = x + self.mlp(self.ln_2(x))
        return x


class Attention(nn.Module):
    """Causal multi-head self-attention: each token looks at itself and those before it."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.n_head = config.n_head
        self.dropout = config.dropout
        self.c_attn = Linear(config.n_embd, 3 * config.n_embd)  # queries, keys, values at once
        self.c_proj = Linear(config.n_embd, config.n_embd)
        self.resid_dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, cache: LayerCache | None = None) -> Tensor:
        """Map (B, T, C) to (B, T, C); with a cache, its tokens are looked at as well."""
        heads = self.c_attn(x).unflatten(-1, (3, self.n_head, -1))  # (B, T, 3, H, D)
        q, k, v = (part.transpose(1, 2) for part in heads.unbind(2))  # each (B, H, T, D)
        if cache is not None:
            k, v = cache.extend(k, v)
        new, past = q.shape[2], k.shape[2] - q.shape[2]
        mask = None
        if past and new > 1:  # a new token looks at all that are past, and at new ones up to itself
            mask = torch.ones(new, past + new, dtype=torch.bool, device=x.device).tril(past)
        dropout = self.dropout if self.training else 0.0
        y = scaled_dot_product_attention(
            q, k, v, attn_mask=mask, dropout_p=dropout, is_causal=not past
        )
        out: Tensor = self.resid_dropout(self.c_proj(y.transpose(1, 2).flatten(2)))  # (B, T, C)
        return out


class MLP(nn.Module):
    """Two layers with a GELU between them, four times as wide inside."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.c_fc = Linear(config.n_embd, 4 * config.n_embd)
        self.c_proj = Linear(4 * config.n_embd, config.n_embd)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, T, C) to (B, T, C)."""
        x = self.c_fc(x)
        # GELU's output is as large as its input and quick to make: backward makes it again. Not
        # under autocast, which would cast the weight again, too.
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
    """Keys and values of the tokens read so far: the next token then costs one token's work.

    Memory is set aside once, for block_size tokens. A full cache takes no further token: learned
    positions end there, and to drop the first token would move all others to new positions, so
    that nothing kept would still hold. Begin a new cache with the last tokens instead. Setting
    `length` back drops the tokens after it.

    Args:
        model: whose device and type it takes.
        batch_size: B, rows that are read together.
    """

    def __init__(self, model: GPT, batch_size: int = 1) -> None:
        config, weight = model.config, model.lm_head.weight
        head = (config.n_head, config.block_size, config.n_embd // config.n_head)
        shape = (config.n_layer, 2, batch_size, *head)  # each layer's: (2, B, H, block_size, D)
        self.memory = torch.empty(shape, dtype=weight.dtype, device=weight.device)
        self.length = 0

    def of_layer(self, layer: int) -> LayerCache:
        """Return the part of one layer."""
        return LayerCache(self.memory[layer], self.length)


class LayerCache(NamedTuple):
    """One layer's keys and values (2, B, H, block_size, D), of which `length` tokens are set."""

    memory: Tensor
    length: int

    def extend(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Add the keys and values of new tokens (B, H, T, D); return those of all tokens."""
        end = self.length + k.shape[2]
        for kept, new in zip(self.memory, (k, v), strict=True):
            kept[:, :, self.length : end] = new
        keys, values = self.memory[:, :, :, :end]
        return keys, values


# Stored input-first, (in, out), by GPT-2's files and `transformers`; `nn.Linear` holds (out, in).
_INPUT_FIRST = (".c_attn.weight", ".c_proj.weight", ".c_fc.weight")


def load_gpt2_state_dict(model: GPT, state: Mapping[str, Tensor]) -> None:
    """Copy GPT-2 weights, as published or from `GPT2LMHeadModel.state_dict()`, into `model`.

    The `transformer.` prefix and `lm_head.weight` may be absent; the mask buffers of older files
    are ignored.

    Args:
        model: a GPT of the same shape; it is left unchanged when the weights do not fit.
        state: parameter name → tensor.

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
