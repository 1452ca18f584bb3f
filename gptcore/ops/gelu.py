"""GPT-2's GELU, on a CPU in one half to two thirds of the time of torch's function.

torch computes each tanh by a library of vector functions. oneDNN has a faster GELU, but applies it
only to the result of a matrix product. So this module multiplies the numbers by an identity matrix,
which does not change them, and lets oneDNN apply its GELU to that product. The measurements are in
docs/decisions/0018.
"""

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

LINE_BYTES = 64
"""Bytes in one row of the product, which is as wide as the identity; wider ones took longer."""

MIN_NUMEL = 2**18
"""torch is faster for fewer numbers: setting up a product takes a tenth of a millisecond."""


def gelu(x: Tensor) -> Tensor:
    """Return x (1 + tanh(√(2/π) (x + 0.044715 x³))) / 2 for every number of `x`.

    A number that is not finite may turn its neighbours into NaN.
    """
    if torch.compiler.is_compiling() or not _is_fast(x):
        return F.gelu(x, approximate="tanh")
    out: Tensor = _Gelu.apply(x)  # type: ignore[no-untyped-call]
    return out


def _is_fast(x: Tensor) -> bool:
    """Return whether oneDNN's GELU of `x` is available, exact and faster."""
    if x.device.type != "cpu" or x.numel() < MIN_NUMEL or x.numel() * x.itemsize % LINE_BYTES:
        return False
    if not x.is_contiguous():
        return False
    if torch.backends.cpu.get_cpu_capability() not in ("AVX2", "AVX512"):
        return False
    onednn: Any = torch.backends.mkldnn
    if not (onednn.is_available() and onednn.enabled):
        return False
    if x.dtype == torch.float32:  # products in lower precision would round `x`
        switch = getattr(onednn, "matmul", None)  # since torch 2.9
        return getattr(switch, "fp32_precision", None) in ("none", "ieee")
    return x.dtype == torch.bfloat16 and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


class _Gelu(torch.autograd.Function):
    """Forward: oneDNN's GELU of a product with the identity. Backward: torch's gradient."""

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
