"""Next-token cross-entropy, in nats: the one place where logits meet targets.

Shapes: B sequences, T tokens, V ids in the vocabulary. The softmax is taken in float32 whatever
the precision of the logits.
"""

import torch
from torch import Tensor

from gptcore.model import GPT


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the mean loss (scalar, float32, nats per token).

    Args:
        logits: (B, T, V).
        targets: (B, T), int64 ids in [0, V).

    Raises:
        ValueError: `targets` is not shaped as `logits` without its last dimension.
    """
    return _cross_entropy(logits, targets, reduction="mean")


def next_token_loss(model: GPT, inputs: Tensor, targets: Tensor) -> Tensor:
    """Return the mean loss of `model` (scalar, float32, nats per token).

    Args:
        model: maps ids (B, T) to logits (B, T, V).
        inputs: (B, T), int64.
        targets: (B, T), int64: for every input the token after it.
    """
    return cross_entropy(model(inputs), targets)


def token_losses(model: GPT, inputs: Tensor, targets: Tensor) -> Tensor:
    """Return the loss of every target (B, T), float32, nats; arguments as `next_token_loss`."""
    logits = model(inputs)
    return _cross_entropy(logits, targets, reduction="none").view(targets.shape)


def _cross_entropy(logits: Tensor, targets: Tensor, *, reduction: str) -> Tensor:
    if targets.shape != logits.shape[:-1]:
        raise ValueError(
            f"targets are {tuple(targets.shape)} and logits {tuple(logits.shape)}; "
            "pass one target for each position of the inputs"
        )
    return torch.nn.functional.cross_entropy(
        logits.float().flatten(0, -2), targets.flatten(), reduction=reduction
    )
