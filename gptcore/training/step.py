"""One training step: forward pass, loss, backward pass, clipping and the update of the weights.

Steps are numbered by the updates done, so the first step is 1.
Shapes: B sequences in a batch, T tokens in a sequence.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from gptcore.devices import autocast, matmul_precision
from gptcore.model.gpt import GPT
from gptcore.ops.cross_entropy import linear_cross_entropy
from gptcore.training.config import TrainConfig


def make_optimizer(model: GPT, config: TrainConfig) -> torch.optim.AdamW:
    """Return AdamW with weight decay on matrices only, and torch's fused kernel where it exists."""
    parameters = list(model.parameters())
    groups: list[dict[str, Any]] = [
        {"params": [p for p in parameters if p.dim() >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
    ]
    betas = (config.beta1, config.beta2)
    try:
        return torch.optim.AdamW(groups, lr=config.learning_rate, betas=betas, fused=True)
    except RuntimeError:  # torch raises this on a device without a fused kernel
        return torch.optim.AdamW(groups, lr=config.learning_rate, betas=betas)


def train_step(
    model: GPT,
    optimizer: torch.optim.Optimizer,
    inputs: Tensor,
    targets: Tensor,
    *,
    precision: str = "fp32",
    grad_clip: float = 1.0,
    mark: Callable[[str], None] | None = None,
) -> tuple[Tensor, Tensor]:
    """Update the weights once; never wait for the device.

    Args:
        model: the model, in training mode, on the device of the batch.
        optimizer: the optimizer of its parameters.
        inputs: (B, T), int64.
        targets: (B, T), int64.
        precision: one of `devices.PRECISIONS`.
        grad_clip: the largest norm of the whole gradient; `math.inf` turns clipping off.
        mark: called after each phase with its name: forward (up to the head), loss (the head,
            the cross-entropy and the gradients of both), backward (of the rest), optimizer. To
            time phases it must synchronise the device.

    Returns:
        The loss before the update and the norm of the gradient before clipping: scalars on the
        device, detached.
    """
    mark = mark or (lambda _phase: None)
    optimizer.zero_grad(set_to_none=True)
    with matmul_precision(precision):
        with autocast(inputs.device, precision):
            # With inputs of one memory layout, a compiled model is compiled once.
            hidden, waiting = model.transformer(inputs.contiguous())
        mark("forward")
        with autocast(inputs.device, precision):
            loss = linear_cross_entropy(hidden, model.lm_head.weight, targets, waiting)
        mark("loss")
        loss.backward()  # type: ignore[no-untyped-call]
    mark("backward")
    grad_norm = _clip_gradient(model, grad_clip)
    optimizer.step()
    mark("optimizer")
    return loss.detach(), grad_norm.detach()


def _clip_gradient(model: GPT, greatest: float) -> Tensor:
    """Return the norm of the whole gradient, and scale the gradient to `greatest` if it is larger.

    On a CPU this takes at most half the time of torch's `clip_grad_norm_` (docs/decisions/0017).
    """
    parameters = [p for p in model.parameters() if p.grad is not None]
    grads = [p.grad.flatten() for p in parameters if p.grad is not None]
    if grads[0].device.type != "cpu":
        return torch.nn.utils.clip_grad_norm_(parameters, greatest)
    norm = torch.stack([grad.dot(grad) for grad in grads]).sum().sqrt()
    if not norm <= greatest:
        torch.nn.utils.clip_grads_with_norm_(parameters, greatest, norm)
    return norm
