"""Matrix products and attention in bfloat16 on a CPU, faster than torch's.

oneDNN computes part of many bfloat16 products on one thread, and torch's backward pass of attention
is no faster in bfloat16 than in float32. This module builds both from products that use every
thread. For float32, on accelerators and under torch.compile it calls torch's own functions. The
measurements are in docs/decisions/0017.

Shapes: B sequences, T tokens, H heads of D channels each; N = B * T.
"""

import math
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

MANY_ROWS = 640
"""oneDNN uses every thread for products of at most this many rows."""

COLUMNS_A_THREAD = 128
"""Columns for each thread when a product of more rows is computed in pieces."""

QUERY_BLOCK = 256
"""Queries in one step of the backward pass: its memory grows with T instead of T²."""


def matmul(a: Tensor, b: Tensor, out: Tensor | None = None) -> Tensor:
    """Return a @ b for `a` (N, K) and `b` (K, M), as `torch.mm` does."""
    if len(a) <= MANY_ROWS or not _is_low(a):
        return torch.mm(a, b, out=out)
    if out is None:
        out = a.new_empty(len(a), b.shape[1])
    # Compute as many columns at a time as oneDNN divides among all threads.
    columns = COLUMNS_A_THREAD * torch.get_num_threads()
    for piece, result in zip(torch.split(b, columns, 1), torch.split(out, columns, 1), strict=True):
        torch.mm(a, piece, out=result)
    return out


def scaled_dot_product_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
) -> Tensor:
    """Return softmax(Q Kᵀ / √D) V of `q`, `k` and `v` (B, H, T, D), as torch's function does."""
    if is_causal and not dropout_p and _is_low(q):
        out: Tensor = _CausalAttention.apply(q, k, v)  # type: ignore[no-untyped-call]
        return out
    return F.scaled_dot_product_attention(
        q, k, v, attn_mask=attn_mask, dropout_p=dropout_p, is_causal=is_causal
    )


def linear(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Return x Wᵀ + b for `x` (..., in) and `weight` (out, in), as `F.linear` does."""
    kind = x.device.type
    if kind == "cpu" and torch.is_autocast_enabled(kind):
        low = x.to(torch.get_autocast_dtype(kind))
        if _is_low(low):
            out: Tensor = _Linear.apply(low, weight, bias)  # type: ignore[no-untyped-call]
            return out
    return F.linear(x, weight, bias)


class Linear(nn.Linear):
    """`nn.Linear` with a bias, computed by `linear`."""

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., in_features) to (..., out_features)."""
        return linear(x, self.weight, self.bias)


def _is_low(x: Tensor) -> bool:
    """Return whether this module's own operations apply to `x`."""
    is_low = x.dtype == torch.bfloat16 and x.device.type == "cpu"
    return is_low and not torch.compiler.is_compiling()


class _Linear(torch.autograd.Function):
    """x Wᵀ + b in bfloat16; the gradients of weight and bias have the dtypes of those."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        rows, matrix = x.flatten(0, -2), weight.to(x.dtype)
        ctx.save_for_backward(rows, matrix)
        ctx.wide = weight.dtype
        out = matmul(rows, matrix.t()).add_(bias.to(x.dtype))
        return out.view(*x.shape[:-1], -1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        rows, matrix = ctx.saved_tensors
        grads = grad.reshape(-1, grad.shape[-1])
        x_grad = matmul(grads, matrix).view(*grad.shape[:-1], -1)
        return x_grad, (grads.t() @ rows).to(ctx.wide), grads.sum(0).to(ctx.wide)


class _CausalAttention(torch.autograd.Function):
    """Torch's forward pass; a backward pass that recomputes P for QUERY_BLOCK queries at a time.

    P = exp(S - L), with the scores S and their log-sum-exp L, and out = P V. The gradients are
    dV = Pᵀ dout, dS = P (dout Vᵀ - sum(dout out)), dQ = dS K and dK = dSᵀ Q (Dao et al.,
    "FlashAttention", 2022). L and sum(dout out) are subtracted inside the products, as two more
    channels of their factors, so that only the difference is rounded to bfloat16. That difference
    is small wherever P is large.
    """

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        out: Tensor
        out, log_sum = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
            q, k, v, is_causal=True
        )
        ctx.save_for_backward(q, k, v, out, log_sum)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        q, k, v, out, log_sum = ctx.saved_tensors
        scale, (*_, n_tokens, d) = 1 / math.sqrt(q.shape[-1]), q.shape
        ones = torch.ones_like(log_sum)
        q, k = _join(q, log_sum / -scale), _join(k, ones, ones)
        grad, v = _join(grad, -(grad.float() * out).sum(-1)), _join(v, ones, ones)
        dq, dk, dv = (x.new_empty(*x.shape[:-1], d) for x in (q, k, v))
        # The last queries attend to all keys: their step sets dK and dV, and the others add to it.
        for start in reversed(range(0, n_tokens, QUERY_BLOCK)):
            new, end = slice(start, start + QUERY_BLOCK), min(start + QUERY_BLOCK, n_tokens)
            # P and dS of these queries: (B * H, queries, keys up to the last of the queries).
            p = _scaled_product(q[:, new], k[:, :end].mT, scale).exp_().tril_(start)
            ds = torch.bmm(grad[:, new], v[:, :end].mT).mul_(p)
            # The gradients have the D channels of the tokens, without the two that were added.
            kept = float(end < n_tokens)
            dv[:, :end].baddbmm_(p.mT, grad[:, new, :d], beta=kept)
            dk[:, :end].baddbmm_(ds.mT, q[:, new, :d], beta=kept, alpha=scale)
            dq[:, new].baddbmm_(ds, k[:, :end, :d], beta=0, alpha=scale)
        return dq.view(out.shape), dk.view(out.shape), dv.view(out.shape)


def _scaled_product(a: Tensor, b: Tensor, scale: float) -> Tensor:
    """Return scale * a @ b for batches of matrices, in one operation."""
    return torch.baddbmm(a.new_empty(1, 1, 1), a, b, beta=0, alpha=scale)


def _join(x: Tensor, *numbers: Tensor) -> Tensor:
    """Append two channels to `x` (B, H, T, D) and return it as (B * H, T, D + 2).

    One number (B, H, T) for each token is appended as a sum of two, which keeps more digits.
    """
    if len(numbers) == 1:
        first = numbers[0].to(x.dtype)
        numbers = (first, numbers[0] - first)
    more = torch.stack(numbers, -1).to(x.dtype)
    return torch.cat([x, more], -1).flatten(0, 1)
