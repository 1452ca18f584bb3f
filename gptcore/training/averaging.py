"""An exponential moving average (EMA) of the weights, for evaluation.

After update t the average moves towards the weights by a share of their distance. The share is
1 - ema_decay, or 9 / (10 + t) while that is larger, so that a short run forgets its first, random
weights too. The average is a function of the weights after each update alone.
"""

import copy

import torch

from gptcore.model.gpt import GPT
from gptcore.training.config import TrainConfig


def begin_average(model: GPT) -> GPT:
    """Return a copy of a model, whose weights are to become the average of the model's."""
    return copy.deepcopy(model).requires_grad_(False).eval()


@torch.no_grad()
def update_average(average: GPT, model: GPT, step: int, config: TrainConfig) -> None:
    """Move the average towards the weights that update `step` of the model has made.

    Args:
        average: from `begin_average`; its weights are changed in place.
        model: the model, on the same device.
        step: the number of updates done, from 1.
        config: the settings with `ema_decay`; the average is over about the last
            1 / (1 - ema_decay) updates.
    """
    assert config.ema_decay is not None, "an average needs a decay"
    share = max(1 - config.ema_decay, 9 / (10 + step))
    for mean, weight in zip(average.parameters(), model.parameters(), strict=True):
        mean.lerp_(weight, share)
