"""Next-token cross-entropy, in nats: the one place where logits meet targets.

Shapes: B sequences, T tokens, N = B * T of them in one row, C channels, V ids in the vocabulary.
The softmax is taken in float32 (float64 for float64) whatever the precision of the logits.

Logits are the largest tensor of a small GPT: V numbers a token against C for anything else. So
`linear_cross_entropy` makes them for a chunk of tokens at a time, and turns each chunk into
gradients at once, while it is there, instead of keeping it for the backward pass.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from gptcore.bfloat16 import matmul
from gptcore.model import GPT
from gptcore.tied import Waiting

IGNORED = -100
"""A target that is not scored, as in torch."""

CHUNK_BYTES = 2**28
"""Bytes of logits made at a time: fewer took longer (docs/decisions/0016)."""

BLOCK_BYTES = 2**22
"""Logits that the softmax works on at a time, in float32: they stay in the processor's cache."""


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the mean loss (scalar, float32, nats per token) over targets that are not IGNORED.

    Args:
        logits: (B, T, V).
        targets: (B, T), int64 ids in [0, V), or IGNORED.

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
        logits.flatten(0, -2), targets.flatten(), ignore_index=IGNORED
    )


def linear_cross_entropy(
    hidden: Tensor, weight: Tensor, targets: Tensor, waiting: Waiting | None = None
) -> Tensor:
    """Return `cross_entropy(hidden @ weight.T, targets)` without ever holding all logits.

    With gradients on, they are made here too, so backward only scales and hands them on. Under
    autocast the products are made in its precision; losses and gradients are as wide as the inputs.

    Args:
        hidden: (B, T, C).
        weight: (V, C).
        targets: (B, T), int64 ids in [0, V), or IGNORED.
        waiting: as it came with `hidden`, where `weight` is the embedding as well: the gradient of
            `weight` is then added to the embedding's in place. Without it torch adds the two.

    Raises:
        ValueError: `targets` is not shaped as `hidden` without its last dimension; or, in backward,
            the gradient itself is to be differentiated.
    """
    _check_shape(hidden, targets)
    if torch.is_grad_enabled() and (hidden.requires_grad or weight.requires_grad):
        is_tied = waiting is not None and waiting.weight is weight and hidden.requires_grad
        loss: Tensor = _LinearCrossEntropy.apply(  # type: ignore[no-untyped-call]
            hidden, weight, targets, waiting if is_tied else None
        )
        return loss
    losses, _, _ = _chunked(hidden, weight, targets, _product_dtype(hidden))
    return losses.sum() / (targets != IGNORED).sum()


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
    """Return the loss of every target (B, T), float32, nats, for scoring: it has no gradient.

    Arguments as `next_token_loss`; the loss of an IGNORED target is 0.
    """
    hidden = model.hidden(inputs)
    _check_shape(hidden, targets)
    losses, _, _ = _chunked(hidden, model.lm_head.weight, targets, _product_dtype(hidden))
    return losses.view(targets.shape)


def _check_shape(hidden: Tensor, targets: Tensor) -> None:
    if targets.shape != hidden.shape[:-1]:
        raise ValueError(
            f"targets are {tuple(targets.shape)} and the model's output {tuple(hidden.shape)}; "
            "pass one target for each position of the inputs"
        )


class _LinearCrossEntropy(torch.autograd.Function):
    """Forward makes the mean loss and its gradients; backward scales them and hands them on.

    They are handed on to be written to, so a second backward makes them again.
    """

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor, waiting: Waiting | None
    ) -> Tensor:
        ctx.save_for_backward(hidden, weight, targets)
        ctx.waiting = waiting
        ctx.dtype = _product_dtype(hidden)
        losses, *ctx.gradients = _chunked(hidden, weight, targets, ctx.dtype, ctx.needs_input_grad)
        return losses.sum() / (targets != IGNORED).sum()

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
            _, *gradients = _chunked(hidden, weight, targets, ctx.dtype, ctx.needs_input_grad)
        # Reading a number from an accelerator would wait for it; there, multiplying is cheap.
        if scale.device.type != "cpu" or scale.item() != 1:
            gradients = [None if g is None else g.mul_(scale) for g in gradients]
        hidden_grad, weight_grad = gradients
        if ctx.waiting is not None and weight_grad is not None:
            ctx.waiting.store(weight_grad)
            weight_grad = None
        return hidden_grad, weight_grad, None, None


def _product_dtype(hidden: Tensor) -> torch.dtype:
    """Return what the products of `hidden` are made in."""
    kind = hidden.device.type
    if torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind):
        return torch.get_autocast_dtype(kind)
    return hidden.dtype


def _chunked(
    hidden: Tensor,
    weight: Tensor,
    targets: Tensor,
    dtype: torch.dtype,
    makes_gradients: Sequence[bool] = (False, False),
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Return losses (N,) and, if wanted, gradients of their mean by `hidden` and `weight`.

    Products are made in `dtype`.
    """
    rows, ids, matrix = hidden.flatten(0, -2), targets.flatten(), weight.to(dtype)
    make_hidden, make_weight, *_ = makes_gradients
    scored = ids != IGNORED
    share = (scored.to(hidden.dtype) / scored.sum())[:, None]  # of each token in the mean
    n_chunks = max(1, math.ceil(len(ids) * len(weight) * dtype.itemsize / CHUNK_BYTES))
    chunks = [part.tensor_split(n_chunks) for part in (rows, ids, share)]
    buffer = rows.new_empty(len(chunks[1][0]), len(weight), dtype=dtype)
    losses, hidden_grads, weight_grad = [], [], None
    for x, target, weighting in zip(*chunks, strict=True):
        logits = matmul(x.to(dtype), matrix.t(), out=buffer[: len(x)])
        losses.append(_score(logits, target, make_gradient=make_hidden or make_weight))
        if make_hidden:
            hidden_grads.append(matmul(logits, matrix).to(hidden.dtype).mul_(weighting))
        if make_weight:
            weight_grad = _add_product(weight_grad, logits.t(), (x * weighting).to(dtype), weight)
    hidden_grad = torch.cat(hidden_grads).view_as(hidden) if make_hidden else None
    return torch.cat(losses), hidden_grad, weight_grad


def _score(logits: Tensor, targets: Tensor, *, make_gradient: bool) -> Tensor:
    """Return losses (N,); `logits` (N, V) become the gradient of each if wanted, else are lost."""
    wide = torch.float64 if logits.dtype == torch.float64 else torch.float32
    in_place = logits.dtype == wide and logits.device.type == "cpu"  # it reads rows, then writes
    n_blocks = max(1, math.ceil(logits.numel() * wide.itemsize / BLOCK_BYTES))
    losses = []
    for block, ids in zip(
        logits.tensor_split(n_blocks), targets.tensor_split(n_blocks), strict=True
    ):
        log_p = torch.log_softmax(block, -1, out=block) if in_place else block.log_softmax(-1, wide)
        losses.append(
            torch.nn.functional.nll_loss(log_p, ids, ignore_index=IGNORED, reduction="none")
        )
        if make_gradient:  # the probabilities, less 1 at the target
            minus_one = torch.full_like(log_p[:, :1], -1)
            p = log_p.exp_().scatter_add_(1, ids.clamp(min=0)[:, None], minus_one)
            if not in_place:
                block.copy_(p)
    return torch.cat(losses)


def _add_product(total: Tensor | None, a: Tensor, b: Tensor, like: Tensor) -> Tensor:
    """Return total + a @ b, in place and as wide as `like`; None counts as 0."""
    if total is None:
        return torch.mm(a, b).to(like.dtype)
    if a.dtype == like.dtype:
        return torch.addmm(total, a, b, out=total)  # as addmm_, which torch's FLOP counter misses
    return total.add_(torch.mm(a, b))
