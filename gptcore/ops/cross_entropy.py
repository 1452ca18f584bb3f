"""Next-token cross-entropy in nats, from logits, or from hidden states in chunks of tokens.

The logits are the largest tensor of a small GPT: V numbers per token, where other activations have
a few times C. So `linear_cross_entropy` takes the hidden states and the weight of the head, and
computes the logits of one chunk of tokens at a time. It turns each chunk into losses and gradients
immediately instead of keeping it for the backward pass. The softmax is computed in float32 (float64
for float64 logits), whatever the precision of the logits.

Shapes: B sequences, T tokens in each, N = B * T tokens, C channels, V ids in the vocabulary.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from gptcore.ops.bfloat16 import matmul
from gptcore.ops.tied_embedding import Waiting

IGNORE_INDEX = -100
"""The target id that is not scored; torch's default `ignore_index`."""

CHUNK_BYTES = 2**28
"""Bytes of logits in one chunk; smaller chunks took longer (docs/decisions/0016)."""

BLOCK_BYTES = 2**22
"""Bytes of float32 logits in one block of the softmax; a block stays in the processor's cache."""


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the mean loss (scalar, nats per token) over the targets that are not IGNORE_INDEX.

    Args:
        logits: (B, T, V).
        targets: (B, T), int64 ids in [0, V), or IGNORE_INDEX.

    Raises:
        ValueError: `targets` is not shaped as `logits` without its last dimension.
    """
    if targets.shape != logits.shape[:-1]:
        raise ValueError(
            f"targets are {tuple(targets.shape)} and logits {tuple(logits.shape)}; "
            "pass one target for each position of the inputs"
        )
    logits = logits if logits.dtype == torch.float64 else logits.float()
    return torch.nn.functional.cross_entropy(
        logits.flatten(0, -2), targets.flatten(), ignore_index=IGNORE_INDEX
    )


def linear_cross_entropy(
    hidden: Tensor,
    weight: Tensor,
    targets: Tensor,
    waiting: Waiting | None = None,
    n_targets: Tensor | None = None,
) -> Tensor:
    """Return `cross_entropy(hidden @ weight.T, targets)` without holding all logits at once.

    If gradients are enabled, they are computed in this call as well, and the backward pass only
    scales them. Under autocast the matrix products use autocast's precision, while losses and
    gradients have the precision of the inputs.

    Args:
        hidden: (B, T, C).
        weight: (V, C).
        targets: (B, T), int64 ids in [0, V), or IGNORE_INDEX.
        waiting: from `tied_embedding.embed`, if `weight` is also the embedding: the embedding then
            adds its gradient to that of `weight` in place. Without it torch adds the two.
        n_targets: what the sum of the losses is divided by, by default the number of targets
            scored. Divided by that of a whole batch, the losses of its parts add up to its mean.

    Raises:
        ValueError: `targets` is not shaped as `hidden` without its last dimension; or, in backward,
            the gradient itself is to be differentiated.
    """
    if torch.is_grad_enabled() and (hidden.requires_grad or weight.requires_grad):
        _check_shape(hidden, targets)
        is_tied = waiting is not None and waiting.weight is weight and hidden.requires_grad
        loss: Tensor = _LinearCrossEntropy.apply(  # type: ignore[no-untyped-call]
            hidden, weight, targets, waiting if is_tied else None, n_targets
        )
        return loss
    losses = linear_losses(hidden, weight, targets)
    return losses.sum() / _count(targets, n_targets)


def linear_losses(hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    """Return the loss of every target (B, T), nats, without gradients; 0 where it is IGNORE_INDEX.

    The arguments are those of `linear_cross_entropy`.
    """
    _check_shape(hidden, targets)
    losses, _, _ = chunked_losses(hidden, weight, targets, _product_dtype(hidden))
    return losses.view(targets.shape)


def _check_shape(hidden: Tensor, targets: Tensor) -> None:
    if targets.shape != hidden.shape[:-1]:
        raise ValueError(
            f"targets are {tuple(targets.shape)} and the model's output {tuple(hidden.shape)}; "
            "pass one target for each position of the inputs"
        )


class _LinearCrossEntropy(torch.autograd.Function):
    """Forward computes the mean loss and its gradients; backward scales and returns them.

    Autograd may write to the returned gradients, so a second backward pass computes them again.
    """

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        targets: Tensor,
        waiting: Waiting | None,
        n_targets: Tensor | None,
    ) -> Tensor:
        ctx.save_for_backward(hidden, weight, targets)
        ctx.waiting = waiting
        ctx.dtype = _product_dtype(hidden)
        ctx.n_targets = _count(targets, n_targets)
        losses, *ctx.gradients = chunked_losses(
            hidden, weight, targets, ctx.dtype, ctx.needs_input_grad, ctx.n_targets
        )
        mean: Tensor = losses.sum() / ctx.n_targets
        return mean

    @staticmethod
    def backward(ctx: Any, scale: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():  # that is create_graph=True
            raise ValueError(
                "linear_cross_entropy has no second derivative; for one, take "
                "cross_entropy(model(inputs), targets)"
            )
        gradients, ctx.gradients = ctx.gradients, None
        if gradients is None:
            hidden, weight, targets = ctx.saved_tensors
            _, *gradients = chunked_losses(
                hidden, weight, targets, ctx.dtype, ctx.needs_input_grad, ctx.n_targets
            )
        # On an accelerator `item` would wait for the device, and multiplying is cheap.
        if scale.device.type != "cpu" or scale.item() != 1:
            gradients = [None if g is None else g.mul_(scale) for g in gradients]
        hidden_grad, weight_grad = gradients
        if ctx.waiting is not None and weight_grad is not None:
            ctx.waiting.store(weight_grad)
            weight_grad = None
        return hidden_grad, weight_grad, None, None, None


def _count(targets: Tensor, n_targets: Tensor | None = None) -> Tensor:
    """Return what a sum of losses is divided by: `n_targets`, or the number of targets scored."""
    return (targets != IGNORE_INDEX).sum() if n_targets is None else n_targets


def _product_dtype(hidden: Tensor) -> torch.dtype:
    """Return the dtype of matrix products with `hidden`: autocast's, if it is enabled."""
    kind = hidden.device.type
    if torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind):
        return torch.get_autocast_dtype(kind)
    return hidden.dtype


def chunked_losses(
    hidden: Tensor,
    weight: Tensor,
    targets: Tensor,
    dtype: torch.dtype,
    makes_gradients: Sequence[bool] = (False, False),
    n_targets: Tensor | None = None,
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Return losses (N,) and, if asked for, the gradients of their mean by `hidden` and `weight`.

    Args:
        hidden: (B, T, C).
        weight: (V, C).
        targets: (B, T).
        dtype: the precision of matrix products.
        makes_gradients: whether to compute the gradient by `hidden` and that by `weight`.
        n_targets: what the sum is divided by in the mean, by default the number of targets scored.
    """
    rows, ids, matrix = hidden.flatten(0, -2), targets.flatten(), weight.to(dtype)
    make_hidden, make_weight, *_ = makes_gradients
    # The mean is over scored tokens, so each has the weight 1 / their number: (N, 1).
    scored = (ids != IGNORE_INDEX).to(hidden.dtype)
    share = (scored / _count(ids, n_targets))[:, None]
    # Divide the tokens into chunks; all chunks share one buffer for their logits.
    n_chunks = max(1, math.ceil(len(ids) * len(weight) * dtype.itemsize / CHUNK_BYTES))
    chunks = [part.tensor_split(n_chunks) for part in (rows, ids, share)]
    buffer = rows.new_empty(len(chunks[1][0]), len(weight), dtype=dtype)
    losses, hidden_grads, weight_grad = [], [], None
    for x, target, weighting in zip(*chunks, strict=True):  # n tokens of the N
        logits = matmul(x.to(dtype), matrix.t(), out=buffer[: len(x)])  # (n, V)
        # This overwrites `logits` with the gradient of each token's loss by its logits.
        losses.append(score_logits(logits, target, make_gradient=make_hidden or make_weight))
        # The chain rule through logits = x @ matrix.T, with each token's weight in the mean.
        if make_hidden:  # (n, V) @ (V, C)
            hidden_grads.append(matmul(logits, matrix).to(hidden.dtype).mul_(weighting))
        if make_weight:  # (V, n) @ (n, C), summed over the chunks
            weight_grad = _add_product(weight_grad, logits.t(), (x * weighting).to(dtype), weight)
    hidden_grad = torch.cat(hidden_grads).view_as(hidden) if make_hidden else None
    return torch.cat(losses), hidden_grad, weight_grad


def score_logits(logits: Tensor, targets: Tensor, *, make_gradient: bool) -> Tensor:
    """Return losses (N,) for `targets` (N,), and overwrite `logits` (N, V).

    With `make_gradient`, `logits` then hold the gradient of each token's loss by its logits;
    without it, their content is undefined.
    """
    wide = torch.float64 if logits.dtype == torch.float64 else torch.float32
    # On a CPU log_softmax reads a row before it writes that row, so it can work in place.
    is_cpu = logits.device.type == "cpu"
    in_place = logits.dtype == wide and is_cpu
    # On a CPU a block stays in the cache between its softmax, its losses and its gradient. An
    # accelerator would wait for the start of each block's kernels.
    n_blocks = max(1, math.ceil(logits.numel() * wide.itemsize / BLOCK_BYTES)) if is_cpu else 1
    losses = []
    for block, ids in zip(
        logits.tensor_split(n_blocks), targets.tensor_split(n_blocks), strict=True
    ):
        log_p = torch.log_softmax(block, -1, out=block) if in_place else block.log_softmax(-1, wide)
        losses.append(
            torch.nn.functional.nll_loss(log_p, ids, ignore_index=IGNORE_INDEX, reduction="none")
        )
        if make_gradient:  # softmax(logits) - onehot(target)
            minus_one = torch.full_like(log_p[:, :1], -1)
            p = log_p.exp_().scatter_add_(1, ids.clamp(min=0)[:, None], minus_one)
            if not in_place:
                block.copy_(p)
    return torch.cat(losses)


def _add_product(total: Tensor | None, a: Tensor, b: Tensor, like: Tensor) -> Tensor:
    """Add a @ b to `total` in place and return it, in the dtype of `like`; None counts as 0."""
    if total is None:
        return torch.mm(a, b).to(like.dtype)
    if a.dtype == like.dtype:
        return torch.addmm(total, a, b, out=total)  # torch's FLOP counter misses addmm_
    return total.add_(torch.mm(a, b))
