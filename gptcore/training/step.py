"""One training step: forward pass, loss, backward pass, clipping and the update of the weights.

Steps are numbered by the updates done, so the first step is 1.
Shapes: B sequences in a batch, T tokens in a sequence.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from gptcore.devices import autocast, matmul_precision
from gptcore.model.foreign import ForeignModel
from gptcore.model.gpt import GPT
from gptcore.ops.cross_entropy import IGNORE_INDEX, linear_cross_entropy
from gptcore.training.config import TrainConfig

EndPhase = Callable[[str], None]
"""A callback that receives the name of each phase of a step at the moment when the phase ends."""


def make_optimizer(model: nn.Module, config: TrainConfig) -> torch.optim.AdamW:
    """Return AdamW with weight decay on matrices only, and torch's fused kernel where it exists."""
    parameters = list(model.parameters())
    groups: list[dict[str, Any]] = [
        {"params": [p for p in parameters if p.dim() >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
    ]
    betas = (config.beta1, config.beta2)
    try:
        return torch.optim.AdamW(groups, lr=config.learning_rate, betas=betas, fused=True)
    except RuntimeError:  # torch raises it where the device has no fused kernel
        return torch.optim.AdamW(groups, lr=config.learning_rate, betas=betas)


def train_step(
    model: GPT | ForeignModel,
    optimizer: torch.optim.Optimizer,
    inputs: Tensor,
    targets: Tensor,
    *,
    precision: str = "fp32",
    grad_clip: float = 1.0,
    end_phase: EndPhase | None = None,
) -> tuple[Tensor, Tensor]:
    """Update the weights once, without waiting for the device.

    Args:
        model: the model, in training mode, on the device of the batch.
        optimizer: the optimizer of its parameters.
        inputs: (B, T), int64.
        targets: (B, T), int64.
        precision: of the matrix products; weights, gradients and optimizer state stay float32.
        grad_clip: largest norm of the whole gradient; `math.inf` turns clipping off.
        end_phase: called after each phase with its name: forward (up to the head), loss (the head,
            the cross-entropy and the gradients of both), backward (of the rest), optimizer. In a
            model of another implementation, forward ends behind the loss. A callback that times
            phases must synchronise the device itself.

    Returns:
        The loss before the update and the norm of the gradient before clipping: scalars on the
        device, detached.
    """
    end_phase = end_phase or (lambda _phase: None)
    optimizer.zero_grad(set_to_none=True)
    loss = _add_gradient(model, inputs, targets, precision, end_phase)
    grad_norm = clip_gradient(model, grad_clip)
    optimizer.step()
    end_phase("optimizer")
    return loss, grad_norm.detach()


def accumulated_step(
    model: GPT,
    optimizer: torch.optim.Optimizer,
    inputs: Tensor,
    targets: Tensor,
    *,
    micro_batch_size: int,
    precision: str = "fp32",
    grad_clip: float = 1.0,
) -> tuple[Tensor, Tensor]:
    """Do the update of `train_step`, with a few windows in the model at a time.

    The loss is the mean over all targets of the batch that are scored, and so is the gradient: a
    micro-batch counts by its scored targets, and one without any changes nothing. Up to rounding
    both are those of `train_step`, unless the model has dropout, whose masks are others.

    Args:
        model: as in `train_step`, and so are the other arguments and the results.
        optimizer: the optimizer of its parameters.
        inputs: (B, T), int64.
        targets: (B, T), int64.
        micro_batch_size: windows in a micro-batch; the last one may have fewer.
        precision: of the matrix products.
        grad_clip: largest norm of the whole gradient.
    """
    optimizer.zero_grad(set_to_none=True)
    n_targets = (targets != IGNORE_INDEX).sum()
    losses = []
    for first in range(0, len(inputs), micro_batch_size):
        part = slice(first, first + micro_batch_size)
        losses.append(
            _add_gradient(model, inputs[part], targets[part], precision, n_targets=n_targets)
        )
    grad_norm = clip_gradient(model, grad_clip)
    optimizer.step()
    return torch.stack(losses).sum(), grad_norm.detach()


def _add_gradient(
    model: GPT | ForeignModel,
    inputs: Tensor,
    targets: Tensor,
    precision: str,
    end_phase: EndPhase = lambda _phase: None,
    n_targets: Tensor | None = None,
) -> Tensor:
    """Add the gradient of the loss on a batch to that of the parameters; return the loss."""
    if isinstance(model, ForeignModel):
        assert n_targets is None, "micro-batches need a loss that is divided by n_targets"
        with matmul_precision(precision):
            with autocast(inputs.device, precision):
                loss = model.loss(inputs, targets)
            end_phase("forward")
            loss.backward()  # type: ignore[no-untyped-call]
        end_phase("backward")
        return loss.detach()
    with matmul_precision(precision):
        with autocast(inputs.device, precision):
            # Contiguous inputs have one layout, so torch.compile compiles once for all batches.
            hidden, waiting = model.transformer(inputs.contiguous())
        end_phase("forward")
        with autocast(inputs.device, precision):
            weight = model.lm_head.weight
            loss = linear_cross_entropy(hidden, weight, targets, waiting, n_targets)
        end_phase("loss")
        loss.backward()  # type: ignore[no-untyped-call]
    end_phase("backward")
    return loss.detach()


def clip_gradient(model: nn.Module, greatest: float) -> Tensor:
    """Scale the gradient down to the norm `greatest` if it is larger; return its norm before.

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
