"""The interface of a variant, which is one way to do the work of a GPT."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from gptcore.devices import autocast, matmul_precision
from gptcore.model.generation import generate
from gptcore.model.gpt import GPT
from gptcore.model.loss import next_token_loss
from gptcore.ops.cross_entropy import cross_entropy
from gptcore.training.config import TrainConfig
from gptcore.training.step import EndPhase, make_optimizer, train_step


class Variant:
    """One way to do the work of a GPT; this class is gptcore itself.

    Args:
        model: a GPT with the initial weights, on its device; the variant may change it.

    Attributes:
        model: the module that holds the parameters.
    """

    def __init__(self, model: GPT) -> None:
        self.model: Any = model

    def logits(self, inputs: Tensor) -> Tensor:
        """Return logits (B, T, V) for `inputs` (B, T)."""
        logits: Tensor = self.model(inputs)
        return logits

    def loss(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean loss (scalar, float32, nats per token) of `targets` (B, T)."""
        return next_token_loss(self.model, inputs, targets)

    def make_optimizer(self, config: TrainConfig) -> torch.optim.Optimizer:
        """Return AdamW with weight decay on matrices only, fused where torch has it."""
        return make_optimizer(self.model, config)

    def step(
        self,
        optimizer: torch.optim.Optimizer,
        inputs: Tensor,
        targets: Tensor,
        *,
        precision: str = "fp32",
        end_phase: EndPhase = lambda _phase: None,
    ) -> None:
        """Update the weights once; `end_phase` as in `gptcore.training.step.train_step`."""
        train_step(self.model, optimizer, inputs, targets, precision=precision, end_phase=end_phase)

    def decode(self, prompt: Tensor, new_tokens: int) -> Tensor:
        """Return `prompt` (B, T) with `new_tokens` more tokens, each the likeliest one (greedy)."""
        device = next(self.model.parameters()).device
        return generate(self.model, prompt, new_tokens, temperature=0, device=device)


class FullLogits(Variant):
    """A variant that computes all logits at once, then torch's cross-entropy, as is usual.

    The phase "forward" of its step contains the head, which gptcore counts as "loss".
    """

    def loss(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean loss; arguments as in `Variant.loss`."""
        return cross_entropy(self.logits(inputs), targets)

    def step(
        self,
        optimizer: torch.optim.Optimizer,
        inputs: Tensor,
        targets: Tensor,
        *,
        precision: str = "fp32",
        end_phase: EndPhase = lambda _phase: None,
    ) -> None:
        """Update the weights once; arguments as in `Variant.step`."""
        optimizer.zero_grad(set_to_none=True)
        with matmul_precision(precision):
            with autocast(inputs.device, precision):
                logits = self.logits(inputs)
            end_phase("forward")
            with autocast(inputs.device, precision):
                loss = cross_entropy(logits, targets)
            end_phase("loss")
            del logits  # from here on, only the graph holds them
            loss.backward()  # type: ignore[no-untyped-call]
        end_phase("backward")
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        optimizer.step()
        end_phase("optimizer")

    def decode(self, prompt: Tensor, new_tokens: int) -> Tensor:
        """Generate without a cache: each token reads the whole text again; as `Variant.decode`."""
        ids = prompt.to(next(self.model.parameters()).device)
        with torch.inference_mode():
            for _ in range(new_tokens):
                likeliest = self.logits(ids)[:, -1].argmax(-1, keepdim=True)
                ids = torch.cat([ids, likeliest], dim=1)
        return ids.cpu()
