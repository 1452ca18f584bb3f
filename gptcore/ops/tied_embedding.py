"""The gradient of a matrix that is both embedding and head, without a second copy of it.

The head's gradient is as large as the matrix; the embedding's is a few rows. Autograd adds the two
into a third tensor, which is as large again (154 MB for GPT-2 small). Here the head stores its
gradient in a `Waiting` object instead. The embedding, which the backward pass reaches last, adds
its rows to that gradient in place and returns the sum. `embed` returns the `Waiting` object beside
the embedded tokens, and the caller passes it on to `cross_entropy.linear_cross_entropy`.
"""

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor


class Waiting:
    """Holds the head's gradient until the embedding adds its own, within one backward pass.

    Args:
        weight: the matrix that embedding and head share.
    """

    def __init__(self, weight: Tensor) -> None:
        self.weight = weight
        self._gradient: Tensor | None = None
        self._in_pass = -1

    def store(self, gradient: Tensor) -> None:
        """Keep `gradient` for the embedding, which will write to it."""
        if (earlier := self.collect()) is not None:  # another loss of the same tokens
            gradient.add_(earlier)
        self._gradient, self._in_pass = gradient, torch._C._current_graph_task_id()

    def collect(self) -> Tensor | None:
        """Return the gradient that this backward pass stored; drop one that another pass stored."""
        is_now = self._in_pass == torch._C._current_graph_task_id()
        gradient, self._gradient, self._in_pass = self._gradient, None, -1
        return gradient if is_now else None


def embed(ids: Tensor, weight: Tensor) -> tuple[Tensor, Waiting]:
    """Return the rows (B, T, C) of `ids` (B, T), and the place for the head's gradient."""
    waiting = Waiting(weight)
    rows: Tensor = _Embedding.apply(ids, weight, waiting)  # type: ignore[no-untyped-call]
    return rows, waiting


class _Embedding(torch.autograd.Function):
    """Looks up rows; its backward pass adds to the head's gradient where one is stored."""

    @staticmethod
    def forward(ctx: Any, ids: Tensor, weight: Tensor, waiting: Waiting) -> Tensor:
        ctx.save_for_backward(ids)
        ctx.shape, ctx.waiting = weight.shape, waiting
        return F.embedding(ids, weight)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[None, Tensor, None]:
        ids, rows = ctx.saved_tensors[0].flatten(), grad.flatten(0, -2)
        whole = ctx.waiting.collect()
        if whole is None:  # no head stored a gradient: return the rows alone
            few = torch.sparse_coo_tensor(ids[None], rows, ctx.shape, check_invariants=False)
            return None, few, None
        return None, whole.index_add_(0, ids, rows.to(whole.dtype)), None
