"""The loss of a model on a batch: next-token cross-entropy in nats, as a mean or of every target.

Shapes: B sequences, T tokens in each, C channels. `ops.cross_entropy` does the work, in chunks of
tokens, so that the logits of a batch never exist at once.
"""

import torch
from torch import Tensor

from gptcore.model.foreign import ForeignModel
from gptcore.model.gpt import GPT
from gptcore.ops.cross_entropy import IGNORE_INDEX, linear_cross_entropy, linear_losses


def next_token_loss(model: GPT, inputs: Tensor, targets: Tensor) -> Tensor:
    """Return the mean loss of `model` (scalar, float32, nats per token).

    Args:
        model: its body maps ids (B, T) to channels (B, T, C), and its head those to logits.
        inputs: (B, T), int64.
        targets: (B, T), int64: for every input the token after it, or IGNORE_INDEX.
    """
    hidden, waiting = model.transformer(inputs)
    return linear_cross_entropy(hidden, model.lm_head.weight, targets, waiting)


@torch.no_grad()
def token_losses(model: GPT | ForeignModel, inputs: Tensor, targets: Tensor) -> Tensor:
    """Return the loss of every target (B, T), float32, nats, without gradients.

    The arguments are those of `next_token_loss`; the loss of a target IGNORE_INDEX is 0. For a
    model of another implementation it is the cross-entropy of the logits, whatever loss that one
    is trained with.
    """
    if isinstance(model, ForeignModel):
        logits = model(inputs).float().flatten(0, 1)  # (B * T, V)
        losses = torch.nn.functional.cross_entropy(
            logits, targets.flatten(), ignore_index=IGNORE_INDEX, reduction="none"
        )
        return losses.view(targets.shape)
    return linear_losses(model.hidden(inputs), model.lm_head.weight, targets)
