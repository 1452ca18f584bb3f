"""How the weights of a GPT begin: as in GPT-2, or as torch's layers begin by themselves."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import nn

from gptcore.model.config import ModelConfig


@torch.no_grad()
def _as_gpt2(model: nn.Module, config: ModelConfig, generator: torch.Generator) -> None:
    """Initialise as GPT-2 does.

    Weights are normal with mean 0 and standard deviation 0.02, which is divided by
    sqrt(2 n_layer) for projections into the residual stream. Biases are 0, scales of norms 1.
    """
    residual_std = 0.02 / math.sqrt(2 * max(config.n_layer, 1))
    for name, weight in model.named_parameters():
        if name.endswith(".bias"):
            weight.zero_()
        elif ".ln_" in name:
            weight.fill_(1)
        else:
            std = residual_std if name.endswith(".c_proj.weight") else 0.02
            draw = torch.empty(weight.shape, dtype=weight.dtype, device="cpu")
            weight.copy_(draw.normal_(0, std, generator=generator))


@torch.no_grad()
def _with_unit_embeddings(
    model: nn.Module, config: ModelConfig, generator: torch.Generator
) -> None:
    """Initialise as torch's layers do by themselves: embeddings N(0, 1), tied to the head.

    Weights and biases of linear layers are uniform within 1 / sqrt(inputs). The scale of the last
    norm is 1 / sqrt(C) instead of 1, so that the logits of other tokens have a standard deviation
    of 1; with 1 it would be sqrt(C). The token at a position is by far the likeliest next one,
    because the head is the matrix that embedded it.
    """
    inputs = 1
    for name, weight in model.named_parameters():
        if ".ln_" in name:
            last = name.endswith("ln_f.weight")
            weight.fill_(config.n_embd**-0.5 if last else float(name.endswith(".weight")))
            continue
        draw = torch.empty(weight.shape, dtype=weight.dtype, device="cpu")
        if name.endswith(("wte.weight", "wpe.weight")):
            draw.normal_(0, 1, generator=generator)
        else:  # the weight of a layer comes before its bias
            inputs = weight.shape[1] if weight.dim() == 2 else inputs
            draw.uniform_(-(inputs**-0.5), inputs**-0.5, generator=generator)
        weight.copy_(draw)


INITIALISATIONS: dict[str, Callable[[nn.Module, ModelConfig, torch.Generator], None]] = {
    "gpt2": _as_gpt2,
    "normal": _with_unit_embeddings,
}
"""Name → the function that draws the initial weights of a GPT from a generator."""
