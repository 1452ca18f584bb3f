"""GPT-2's GELU, on a CPU in one half to two thirds of the time of torch's own.

torch takes each tanh from a library of vector functions; oneDNN has a faster GELU, but only as an
epilogue of its products. So the numbers are multiplied by an identity matrix, which leaves each as
it is, and come out of that product as their GELU. Measured: docs/decisions/0018.
"""

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

LINE_BYTES = 64
"""Of numbers that are multiplied at once: wider identities took longer."""

MIN_NUMEL = 2**18
"""Fewer numbers are sooner done by torch: a product takes a tenth of a millisecond to set up."""


def gelu(x: Tensor) -> Tensor:
    """Return x (1 + tanh(√(2/π) (x + 0.044715 x³))) / 2 of every number of `x`.

    One that is not finite may make those beside it NaN.
    """
    if torch.compiler.is_compiling() or not _is_fast(x):
        return F.gelu(x, approximate="tanh")
    out: Tensor = _Gelu.apply(x)  # type: ignore[no-untyped-call]
    return out


def _is_fast(x: Tensor) -> bool:
    """Return whether oneDNN's GELU of `x` is there, exact, and quick."""
    if x.device.type != "cpu" or x.numel() < MIN_NUMEL or x.numel() * x.itemsize % LINE_BYTES:
        return False
    if not x.is_contiguous():
        return False
    if torch.backends.cpu.get_cpu_capability() not in ("AVX2", "AVX512"):
        return False
    onednn: Any = torch.backends.mkldnn
    if not (onednn.is_available() and onednn.enabled):
        return False
    if x.dtype == torch.float32:  # products in less precision would round `x`
        switch = getattr(onednn, "matmul", None)  # since torch 2.9
        return getattr(switch, "fp32_precision", None) in ("none", "ieee")
    return x.dtype == torch.bfloat16 and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


class _Gelu(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        width = LINE_BYTES // x.itemsize
        same = torch.eye(width, dtype=x.dtype, device=x.device)
        rows = x.view(-1, width)
        out: Tensor = torch.ops.mkldnn._linear_pointwise(rows, same, None, "gelu", [], "tanh")
        return out.view(x.shape)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        x_grad: Tensor = torch.ops.aten.gelu_backward(grad, x, approximate="tanh")
        return x_grad
