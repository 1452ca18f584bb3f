"""The user's own model as a variant, so that it is timed and trained as every other one."""

from __future__ import annotations

import torch
from torch import Tensor

from bench.variants.base import FullLogits, Variant
from gptcore.checking import ModelFile
from gptcore.model.foreign import ForeignModel
from gptcore.training.config import TrainConfig
from gptcore.training.step import make_optimizer


class Own(FullLogits):
    """The model of a file, asked for its logits and its loss as that file wants it.

    Its step is ours: the loss of the file, the backward pass, clipping at 1, and an update by the
    optimizer of the file, or by our AdamW where the file has none.

    Args:
        file: the model file.
        model: its model.
    """

    def __init__(self, file: ModelFile, model: ForeignModel) -> None:
        self.file, self.model = file, model

    def loss(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of the file for `targets` (B, T) after `inputs` (B, T)."""
        loss: Tensor = self.model.loss(inputs, targets)
        return loss

    def make_optimizer(self, config: TrainConfig) -> torch.optim.Optimizer:
        """Return the optimizer of the file; without one, AdamW as for every variant."""
        return self.file.make_optimizer(self.model.model) or make_optimizer(self.model, config)

    step = Variant.step
