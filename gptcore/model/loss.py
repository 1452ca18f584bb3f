"""Next-token cross-entropy in nats, from logits or from the channels that the head reads.

Shapes: B sequences, T tokens, N = B * T tokens in one row, C channels, V ids in the vocabulary.
The softmax is computed in float32 (float64 for float64 logits), whatever the precision of the
logits.

The logits are the largest tensor of a small GPT: V numbers per token, where other activations have
a few times C. So `linear_cross_entropy` computes them for one chunk of tokens at a time, and turns
each chunk into gradients immediately instead of keeping it for the backward pass.
"""

import torch
from torch import Tensor

from gptcore.model.gpt import GPT
from gptcore.ops.cross_entropy import (
    check_shape,
    chunked_losses,
    linear_cross_entropy,
    product_dtype,
)


def next_token_loss(model: GPT, inputs: Tensor, targets: Tensor) -> Tensor:
    """Return the mean loss of `model` (scalar, float32, nats per token).

    Args:
        model: maps ids (B, T) to channels (B, T, C), and its head those to logits.
        inputs: (B, T), int64.
        targets: (B, T), int64: for every input the token after it, or IGNORED.
    """
    hidden, waiting = model.transformer(inputs)
    return linear_cross_entropy(hidden, model.lm_head.weight, targets, waiting)


@torch.no_grad()
def token_losses(model: GPT, inputs: Tensor, targets: Tensor) -> Tensor:
    """Return the loss of every target (B, T), float32, nats, without gradients.

    The arguments are those of `next_token_loss`; the loss of an IGNORED target is 0.
    """
    hidden = model.hidden(inputs)
    check_shape(hidden, targets)
    losses, _, _ = chunked_losses(hidden, model.lm_head.weight, targets, product_dtype(hidden))
    return losses.view(targets.shape)
