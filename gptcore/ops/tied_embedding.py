"""The gradient of a matrix that is both embedding and head, without a second copy of it.

The head's gradient is as large as the matrix, the embedding's is a few rows. Autograd adds the two
into a third tensor, again as large (154 MB for GPT-2 small). So the head's waits here for the
embedding, which is differentiated last, and which adds its rows and returns the sum. The embedding
hands out the place to wait, `Waiting`, and whoever takes the loss passes it on to the head.
"""

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor


class Waiting:
    """Where the head's gradient waits for that of the embedding, within one backward pass.

    Args:
        weight: the matrix.
    """

    def __init__(self, weight: Tensor) -> None:
        self.weight = weight
        self._gradient: Tensor | None = None
        self._in_pass = -1

    def store(self, gradient: Tensor) -> None:
        """Keep `gradient` for the embedding; it may be written to."""
        if (earlier := self.collect()) is not None:  # of another loss of the same tokens
            gradient.add_(earlier)
        self._gradient, self._in_pass = gradient, torch._C._current_graph_task_id()

    def collect(self) -> Tensor | None:
        """Return what this backward pass stored; what another pass stored is dropped."""
        is_now = self._in_pass == torch._C._current_graph_task_id()
        gradient, self._gradient, self._in_pass = self._gradient, None, -1
        return gradient if is_now else None


def embed(ids: Tensor, weight: Tensor) -> tuple[Tensor, Waiting]:
    """Return the rows (B, T, C) of `ids` (B, T), and where the head's gradient is to wait."""
    waiting = Waiting(weight)
    rows: Tensor = _Embedding.apply(ids, weight, waiting)  # type: ignore[no-untyped-call]
    return rows, waiting


class _Embedding(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, ids: Tensor, weight: Tensor, waiting: Waiting) -> Tensor:
        ctx.save_for_backward(ids)
        ctx.shape, ctx.waiting = weight.shape, waiting
        return F.embedding(ids, weight)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[None, Tensor, None]:
        ids, rows = ctx.saved_tensors[0].flatten(), grad.flatten(0, -2)
        whole = ctx.waiting.collect()
        if whole is None:
            few = torch.sparse_coo_tensor(ids[None], rows, ctx.shape, check_invariants=False)
            return None, few, None
        return None, whole.index_add_(0, ids, rows.to(whole.dtype)), None
