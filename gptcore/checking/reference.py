"""GPT-2 as one function of its weights, right or with one or two named differences.

Shapes: B sequences, T tokens in each, C channels, H heads, V entries of the vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping

import torch
from torch import Tensor, nn

DIFFERENCES: dict[str, tuple[str, str, str]] = {
    "no_scale": ("fault", "attention without the division by sqrt(head size)",
        "Scores grow with the head size and the softmax becomes one-hot. The right line is "
        "att = (q @ k.transpose(-2, -1)) / math.sqrt(k.size(-1))."),
    "scale_by_channels": ("fault", "attention divided by sqrt(n_embd)",
        "Scores are too small by sqrt(n_head), so attention is too even. Divide by the square root "
        "of the size of one head: math.sqrt(k.size(-1)) once q, k and v are split into heads."),
    "scale_twice": ("fault", "attention divided by the head size",
        "The square root is missing, or the scale is applied twice, once more by "
        "scaled_dot_product_attention. (muP divides by the head size on purpose.)"),
    "self_hidden": ("fault", "attention in which no token sees itself",
        "The mask leaves out the diagonal. torch.tril(torch.ones(T, T)) with diagonal=0 is right."),
    "first_empty": ("fault", "attention in which no token sees itself, and the first sees nothing",
        "The mask leaves out the diagonal. torch.tril(torch.ones(T, T)) with diagonal=0 is right."),
    "query_is_key": ("fault", "attention in which queries and keys are the same",
        "The keys are computed from the weights of the queries, or overwritten by them. "
        "q, k, v = c_attn(x).split(n_embd, dim=2) is right."),
    "value_is_key": ("fault", "attention in which values and keys are the same",
        "The values are computed from the weights of the keys, or overwritten by them. "
        "q, k, v = c_attn(x).split(n_embd, dim=2) is right."),
    "no_attention_residual": ("fault", "blocks without the residual around attention",
        "The output of attention replaces the stream. x = x + attn(ln_1(x)) is right."),
    "no_mlp_residual": ("fault", "blocks without the residual around the MLP",
        "The output of the MLP replaces the stream. x = x + mlp(ln_2(x)) is right."),
    "post_norm": ("fault", "norms after the residual sums (post-norm)",
        "GPT-2 normalises what enters attention and MLP: x = x + attn(ln_1(x)), and not "
        "x = ln_1(x + attn(x)). Post-norm (GPT-1, BERT) needs a warm-up to train at all."),
    "norm_around": ("fault", "norms of what attention and MLP return",
        "GPT-2 normalises what enters them: x = x + attn(ln_1(x)), and not x = x + ln_1(attn(x))."),
    "residual_of_norm": ("fault", "residual sums of the normalised stream",
        "The norm replaces the stream. x = x + attn(ln_1(x)) is right, and not "
        "x = ln_1(x); x = x + attn(x)."),
    "no_gelu": ("fault", "an MLP without an activation",
        "Two linear layers in a row are one. c_proj(gelu(c_fc(x))) is right."),
    "gelu_last": ("fault", "an MLP whose activation comes after c_proj",
        "The activation stands between the two layers: c_proj(gelu(c_fc(x)))."),
    "no_last_norm": ("fault", "no norm before the head",
        "lm_head(ln_f(x)) is right."),
    "no_norms": ("fault", "no norms in the blocks",
        "x = x + attn(ln_1(x)) and x = x + mlp(ln_2(x)) are right."),
    "no_positions": ("fault", "no position embedding",
        "x = wte(idx) + wpe(torch.arange(T)) is right."),
    "no_mask": ("fault", "attention without a mask",
        "att.masked_fill(mask == 0, -inf) must stand before the softmax."),
    "mask_late": ("fault", "attention whose mask begins one too late",
        "torch.tril(torch.ones(T, T)) with diagonal=0 is right."),
    "relu": ("note", "an MLP with ReLU in place of GELU", "GPT-2 has GELU."),
    "silu": ("note", "an MLP with SiLU in place of GELU", "GPT-2 has GELU."),
    "relu_squared": ("note", "an MLP with the square of ReLU in place of GELU", "GPT-2 has GELU."),
    "parallel": ("note", "blocks whose attention and MLP read the same input",
        "GPT-J and PaLM are built so; GPT-2's MLP reads what attention has written."),
    "scaled_embedding": ("note", "token embeddings times sqrt(n_embd)",
        "Gemma and the first Transformer do so; GPT-2 does not."),
    "heads_interleaved": ("note", "heads whose q, k and v stand side by side in c_attn",
        "In GPT-2, c_attn(x) holds all queries, then all keys, then all values. Trained from "
        "scratch this order is as good, but it cannot read GPT-2's weights."),
    "key_first": ("note", "c_attn with the keys before the queries",
        "In GPT-2, c_attn(x) holds all queries, then all keys, then all values. Trained from "
        "scratch this order is as good, but it cannot read GPT-2's weights."),
}  # fmt: skip
WINDOWS = {
    f"window_{width}": ("note", f"attention that sees the last {width} tokens alone",
        "A sliding window, as in Mistral; GPT-2 sees the whole block.")
    for width in range(2, 16)
}  # fmt: skip
DIFFERENCES |= WINDOWS
"""Name → status, words, and what it means."""


def logits_of(
    weights: Mapping[str, Tensor],
    x: Tensor,
    n_head: int,
    *,
    gelu: str = "tanh",
    but: Collection[str] = (),
) -> Tensor:
    """Return logits (B, T, V) of GPT-2 for ids `x` (B, T).

    Args:
        weights: by the names of nanoGPT without "transformer."; matrices as (out, in), as in
            nn.Linear. Biases may be absent.
        x: token ids.
        n_head: H.
        gelu: "tanh", as GPT-2, or "none" for the exact one.
        but: names of DIFFERENCES.
    """
    n_layer = 1 + max(int(name.split(".")[1]) for name in weights if name.startswith("h."))
    stream = weights["wte.weight"][x]  # (B, T, C)
    if "scaled_embedding" in but:
        stream = stream * math.sqrt(stream.shape[-1])
    if "no_positions" not in but:
        stream = stream + weights["wpe.weight"][: x.shape[1]]
    for layer in range(n_layer):
        block = {
            name.removeprefix(f"h.{layer}."): weight
            for name, weight in weights.items()
            if name.startswith(f"h.{layer}.")
        }
        stream = _block(block, stream, n_head, gelu, but)
    if "no_last_norm" not in but:
        stream = _norm(weights, "ln_f", stream)
    return stream @ weights.get("lm_head.weight", weights["wte.weight"]).T


def _block(
    block: Mapping[str, Tensor], x: Tensor, n_head: int, gelu: str, but: Collection[str]
) -> Tensor:
    def attend(stream: Tensor) -> Tensor:
        return _attention(block, stream, n_head, but)

    def mix(stream: Tensor) -> Tensor:
        return _mlp(block, stream, gelu, but)

    if "parallel" in but:
        return x + attend(_norm(block, "ln_1", x)) + mix(_norm(block, "ln_2", x))
    for part, norm, missing in (
        (attend, "ln_1", "no_attention_residual"),
        (mix, "ln_2", "no_mlp_residual"),
    ):
        keep = 0.0 if missing in but else 1.0
        normed = x if "no_norms" in but else _norm(block, norm, x)
        if "post_norm" in but:
            x = _norm(block, norm, keep * x + part(x))
        elif "norm_around" in but:
            x = keep * x + _norm(block, norm, part(x))
        elif "residual_of_norm" in but:
            x = keep * normed + part(normed)
        else:
            x = keep * x + part(normed)
    return x


def _attention(block: Mapping[str, Tensor], x: Tensor, n_head: int, but: Collection[str]) -> Tensor:
    channels, length = x.shape[-1], x.shape[1]
    heads = _linear(block, "attn.c_attn", x)
    if "heads_interleaved" in but:  # (B, T, H, 3 D) → q, k, v
        q, k, v = heads.view(*x.shape[:2], n_head, 3, -1).permute(3, 0, 2, 1, 4)
    else:
        q, k, v = heads.view(*x.shape[:2], 3, n_head, -1).permute(2, 0, 3, 1, 4)  # (B, H, T, D)
    if "key_first" in but:
        q, k = k, q
    if "query_is_key" in but:
        k = q
    if "value_is_key" in but:
        v = k
    head_size = channels // n_head
    scale = 1 / math.sqrt(head_size)
    if "no_scale" in but:
        scale = 1.0
    elif "scale_by_channels" in but:
        scale = 1 / math.sqrt(channels)
    elif "scale_twice" in but:
        scale = 1 / head_size
    shown = torch.ones(length, length, dtype=torch.bool, device=x.device)
    if "no_mask" not in but:
        hidden = {"self_hidden", "first_empty"} & set(but)
        shown = shown.tril(-1 if hidden else int("mask_late" in but))
    for name in WINDOWS.keys() & set(but):
        shown = shown.triu(1 - int(name.removeprefix("window_")))
    shown[0, 0] |= "self_hidden" in but  # the first token has nobody else
    scores = (scale * q @ k.mT).masked_fill(~shown, -math.inf)
    y = scores.softmax(-1).nan_to_num() @ v
    return _linear(block, "attn.c_proj", y.transpose(1, 2).flatten(2))


_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "no_gelu": lambda x: x,
    "relu": nn.functional.relu,
    "silu": nn.functional.silu,
    "relu_squared": lambda x: nn.functional.relu(x).square(),
}


def _mlp(block: Mapping[str, Tensor], x: Tensor, gelu: str, but: Collection[str]) -> Tensor:
    def activate(hidden: Tensor) -> Tensor:
        for name, activation in _ACTIVATIONS.items():
            if name in but:
                return activation(hidden)
        return nn.functional.gelu(hidden, approximate=gelu)

    hidden = _linear(block, "mlp.c_fc", x)
    if "gelu_last" in but:
        return activate(_linear(block, "mlp.c_proj", hidden))
    return _linear(block, "mlp.c_proj", activate(hidden))


def _linear(block: Mapping[str, Tensor], name: str, x: Tensor) -> Tensor:
    return nn.functional.linear(x, block[f"{name}.weight"], block.get(f"{name}.bias"))


def _norm(block: Mapping[str, Tensor], name: str, x: Tensor) -> Tensor:
    weight = block[f"{name}.weight"]
    return nn.functional.layer_norm(x, weight.shape, weight, block.get(f"{name}.bias"), 1e-5)
