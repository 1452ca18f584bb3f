"""How likely a model holds it that the token at a position comes again as the next one.

A model whose head is the matrix that embeds its tokens may begin by copying its input: with
embeddings from N(0, 1), an embedding is far closer to itself than to all others.
"""

import torch
from torch import Tensor

from gptcore.checks import check_whole
from gptcore.model.gpt import GPT, evaluating
from gptcore.model.loss import token_losses

WINDOWS = 16


def copy_probability(
    model: GPT,
    ids: Tensor,
    *,
    block_size: int,
    device: torch.device,
    windows: int = WINDOWS,
) -> float:
    """Return the mean probability that the model gives to the current token as the next one.

    Args:
        model: the model, on `device`; its training or evaluation mode is restored.
        ids: (N,), int64, N >= T, the text.
        block_size: T, tokens of a window, at most the model's block_size.
        device: where the model is.
        windows: number of windows, evenly spread over the text; all of their positions count.

    Returns:
        A number in [0, 1]; a model that knows nothing gives 1 / V.

    Raises:
        ValueError: the text is shorter than a window, or a number is not positive.
    """
    check_whole("block_size", block_size)
    if len(ids) < block_size:
        raise ValueError(
            f"the text has {len(ids)} tokens and a window {block_size}: use a longer text"
        )
    starts = torch.linspace(0, len(ids) - block_size, check_whole("windows", windows)).long()
    inputs = ids.unfold(0, block_size, 1)[starts].to(device)  # (windows, T)
    with evaluating(model):
        return float(token_losses(model, inputs, inputs).neg().exp().mean())
