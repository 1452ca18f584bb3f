"""Variants must do the same work: their logits, losses and updates are compared with ours."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from bench.variants.base import Variant
from gptcore.model.config import ModelConfig
from gptcore.model.gpt import GPT
from gptcore.ops import gelu
from gptcore.training.config import TrainConfig

# --- is it the same model? --------------------------------------------------------------------

CHECK = ModelConfig(vocab_size=61, block_size=16, n_layer=2, n_head=2, n_embd=16)
"""What updates are compared on: everything that a large model has but its size, in no time."""

CHECK_STEPS = 3
CHECK_REPEATS = gelu.MIN_NUMEL // (2 * CHECK.block_size * 4 * CHECK.n_embd)
"""How often two windows are repeated in a batch: the MLP then has as many numbers between its
layers as our GELU needs before it uses oneDNN. Means over the batch are those of two windows."""

LOGIT_TOLERANCE = 1e-3
"""Between logits of size 1 to 10: orders of the same float32 sums differ by 1e-5 and less a layer;
a mask, a position or a GELU of the other kind that is wrong moves some by 1e-2 and more."""
LOSS_TOLERANCE = 1e-4
"""Relative, between losses before and after updates: rounding moves them by 1e-6, and a gradient
that is wrong somewhere, or a weight that is decayed and should not be, by 1e-3 and more."""


def training_losses(make: Callable[[GPT], Variant]) -> list[float]:
    """Return the losses of a small model before each of a few updates, and after the last."""
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
def check_logits(name: str, expected: Tensor, found: Tensor) -> None:
    """Check the logits of a variant against ours, of the same weights and tokens.

    Raises:
        ValueError: they differ by more than rounding.
    """
    apart = float((expected - found).abs().max())
    if not apart <= LOGIT_TOLERANCE:
        raise ValueError(
            f"logits of {name} differ from those of gptcore by up to {apart:.2g} (allowed: "
            f"{LOGIT_TOLERANCE:g}): it is not the same model; use another version of it"
        )
