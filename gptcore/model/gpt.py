"""GPT-2, a decoder-only transformer: the model, then its layers from the outside in.

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

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from gptcore.checks import LARGEST_INT64, check_whole
from gptcore.devices import host_memory_bytes
from gptcore.model.config import ModelConfig
from gptcore.model.flops import n_params
from gptcore.model.initialisation import INITIALISATIONS
from gptcore.model.kv_cache import KVCache, LayerCache
from gptcore.ops.bfloat16 import Linear, scaled_dot_product_attention
from gptcore.ops.gelu import gelu
from gptcore.ops.tied_embedding import Waiting, embed

BLOCK_BYTES = 2**16
"""Memory of the Python objects of one block, as measured with Python 3.11."""


class GPT(nn.Module):
    """Token ids (B, T) → logits (B, T, V) of the next token at every position.

    The initial weights depend on `config` and `seed` alone. They are drawn on the CPU from a
    separate generator, so that torch's global generator is unchanged and every device starts from
    the same weights. Under `torch.device("meta")` the model is built with shapes but no weights.

    Args:
        config: the shape.
        seed: the seed of the initial weights, at least 0.
        init: how they are drawn, a name of `initialisation.INITIALISATIONS`.

    Raises:
        ValueError: the seed or the initialisation is not one of those.
    """

    def __init__(self, config: ModelConfig, *, seed: int = 0, init: str = "gpt2") -> None:
        super().__init__()
        if init not in INITIALISATIONS:
            raise ValueError(f"init is {init!r}: choose one of {', '.join(INITIALISATIONS)}")
        check_whole("seed", seed, at_least=0, at_most=LARGEST_INT64)
        check_memory(config, copies=0 if torch.get_default_device().type == "meta" else 1)
        self.config = config
        with torch.device("meta"):  # only shapes: the layers' own initialisation is not used
            self.transformer = Transformer(config)
            self.lm_head = nn.Linear(config.n_embd, config.vocab_size, bias=False)
        self.to_empty(device=torch.get_default_device())
        self.lm_head.weight = self.transformer.wte.weight  # tied: one matrix for both ends
        if not self.lm_head.weight.is_meta:
            INITIALISATIONS[init](self, config, torch.Generator("cpu").manual_seed(seed))

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


def check_memory(config: ModelConfig, *, copies: int) -> None:
    """Check, before any memory is taken, that a GPT fits into this machine.

    Args:
        config: the shape.
        copies: how often each parameter is held; training holds it 4 times, as weight, gradient
            and two moments.

    Raises:
        ValueError: it takes more memory than there is.
    """
    n_bytes = 4 * copies * n_params(config) + BLOCK_BYTES * config.n_layer
    available = host_memory_bytes()
    if available is not None and n_bytes > available:
        raise ValueError(
            f"a GPT of {config.n_layer:.4g} layers and {n_params(config):.4g} parameters takes "
            f"{n_bytes / 1e9:.4g} GB, and this machine has {available / 1e9:.4g} GB: give a "
            "smaller model"
        )


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

        The second result is to be passed to `ops.cross_entropy.linear_cross_entropy`: the place
        where the head's gradient waits for that of the embedding (`ops.tied_embedding`). It is None
        where torch adds the two gradients.
        """
        past = cache.length if cache is not None else 0
        end = past + idx.shape[1]
        if end > self.config.block_size:
            raise ValueError(
                f"the sequence has {end} tokens; this model reads at most block_size = "
                f"{self.config.block_size}: shorten it or take a model that reads more"
            )
        # Look up the embedding of each token.
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


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Use `model` without dropout and without gradients; restore its mode afterwards."""
    was_training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        model.train(was_training)
