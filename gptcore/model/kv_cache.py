"""The keys and values of the tokens that a model has read, kept for the tokens that follow.

Shapes: B sequences, H heads, T tokens read so far, D = C / H channels of a head.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from gptcore.model.config import ModelConfig


class KVCache:
    """Keys and values of the tokens read so far, so that each new token costs one token's work.

    Memory for block_size tokens is allocated once. A full cache takes no further token, because
    learned positions end there. Dropping the oldest token shifts every position and invalidates
    the cache; start a new one with the last tokens.

    Args:
        config: shape of the model.
        weight: a weight of the model; the cache has its device and dtype.
        batch_size: B, the number of rows that are read together.
    """

    def __init__(self, config: ModelConfig, weight: Tensor, batch_size: int = 1) -> None:
        head = (config.n_head, config.block_size, config.n_embd // config.n_head)
        shape = (config.n_layer, 2, batch_size, *head)  # each layer's: (2, B, H, block_size, D)
        self.memory = torch.empty(shape, dtype=weight.dtype, device=weight.device)
        self.length = 0

    def of_layer(self, layer: int) -> LayerCache:
        """Return the keys and values of one layer."""
        return LayerCache(self.memory[layer], self.length)


class LayerCache(NamedTuple):
    """The keys and values of one layer, (2, B, H, block_size, D); the first `length` are set."""

    memory: Tensor
    length: int

    def extend(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Store the keys and values (B, H, T, D) of new tokens; return those of all tokens."""
        end = self.length + k.shape[2]
        for kept, new in zip(self.memory, (k, v), strict=True):
            kept[:, :, self.length : end] = new
        keys, values = self.memory[:, :, :, :end]
        return keys, values
