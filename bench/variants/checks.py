"""Checks that a variant does the same work as gptcore: equal logits, losses and updates."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from bench.variants.base import Variant
from gptcore.model.config import ModelConfig
from gptcore.model.gpt import GPT
from gptcore.ops import gelu
from gptcore.training.config import TrainConfig

CHECK = ModelConfig(vocab_size=61, block_size=16, n_layer=2, n_head=2, n_embd=16)
"""A small model with every part of a large one, on which updates are compared quickly."""

CHECK_STEPS = 3
CHECK_REPEATS = gelu.MIN_NUMEL // (2 * CHECK.block_size * 4 * CHECK.n_embd)
"""Copies of two windows in a batch, so many that our GELU uses oneDNN (`gelu.MIN_NUMEL` numbers
between the layers of the MLP). Means over the batch are those over the two windows."""

LOGIT_TOLERANCE = 1e-3
"""Largest difference between logits, which have sizes of 1 to 10. Another order of float32 sums
changes them by at most 1e-5 in each layer; a wrong mask, position or GELU by at least 1e-2."""
LOSS_TOLERANCE = 1e-4
"""Largest relative difference between losses after updates. Rounding changes them by 1e-6; a wrong
gradient, or weight decay on a wrong parameter, by at least 1e-3."""


def training_losses(make: Callable[[GPT], Variant]) -> list[float]:
    """Return the losses of a small model before each of CHECK_STEPS updates and after the last."""
    draws = torch.Generator().manual_seed(0)
    model = GPT(CHECK)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.2 * torch.randn(weight.shape, generator=draws))
    return _train(make(model), draws)


def _train(variant: Variant, draws: torch.Generator) -> list[float]:
    ids = torch.randint(CHECK.vocab_size, (2, CHECK.block_size + 1), generator=draws)
    ids = ids.repeat(CHECK_REPEATS, 1)
    inputs, targets = ids[:, :-1].contiguous(), ids[:, 1:].contiguous()
    variant.model.train()
    optimizer = variant.make_optimizer(TrainConfig(CHECK_STEPS, learning_rate=1e-2))
    losses = [float(variant.loss(inputs, targets).detach())]
    for _ in range(CHECK_STEPS):
        variant.step(optimizer, inputs, targets)
        losses.append(float(variant.loss(inputs, targets).detach()))
    return losses


@torch.no_grad()
def check_logits(name: str, expected: Tensor, logits: Tensor) -> None:
    """Check the logits of a variant against ours for the same weights and tokens.

    Raises:
        ValueError: they differ by more than LOGIT_TOLERANCE.
    """
    apart = float((expected - logits).abs().max())
    if not apart <= LOGIT_TOLERANCE:
        raise ValueError(
            f"logits of {name} differ from those of gptcore by up to {apart:.2g} (allowed: "
            f"{LOGIT_TOLERANCE:g}): it is not the same model; use another version of it"
        )
