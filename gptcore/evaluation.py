"""The loss on a text, every target scored exactly once.

Shapes: N tokens in the text, T tokens in a window, B windows in a batch. Token 0 is never a target.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from gptcore.checks import check_whole
from gptcore.devices import autocast
from gptcore.loss import token_losses
from gptcore.model import GPT
from gptcore.stats import mean_interval


@dataclass(frozen=True)
class Evaluation:
    """Loss of a model on a text.

    Attributes:
        loss_nats_per_token: mean over all targets.
        bits_per_byte: the same information per byte of text; None where bytes are unknown.
        n_targets: N - 1, over all texts.
        interval_95: of `loss_nats_per_token`, by `mean_interval`; None for a short text.
    """

    loss_nats_per_token: float
    bits_per_byte: float | None
    n_targets: int
    interval_95: tuple[float, float] | None


def evaluate(
    model: GPT,
    ids: Tensor | Sequence[Tensor],
    *,
    block_size: int,
    batch_size: int = 16,
    device: torch.device,
    n_bytes: int | None,
    precision: str = "fp32",
    seed: int = 0,
    on_batch: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Score every target of a text once and return the loss with its interval.

    Args:
        model: on `device`.
        ids: (N,), int64, N > T; or several such texts, each scored by itself.
        block_size: T, the longest context, at most that of the model.
        batch_size: B; it decides the speed, not the result.
        device: of the model.
        n_bytes: length of the text in bytes, for `bits_per_byte`.
        precision: one of `devices.PRECISIONS`.
        seed: of the bootstrap.
        on_batch: called after each batch with the batches done and their number.

    Raises:
        ValueError: an argument is outside its range.
    """
    if n_bytes is not None:
        check_whole("n_bytes", n_bytes)
    sweep = partial(
        sweep_losses,
        model,
        block_size=block_size,
        batch_size=batch_size,
        device=device,
        precision=precision,
        on_batch=on_batch,
    )
    losses = torch.cat([sweep(part) for part in ([ids] if isinstance(ids, Tensor) else ids)])
    losses = losses.double()
    total_bits = losses.sum().item() / math.log(2)
    return Evaluation(
        loss_nats_per_token=losses.mean().item(),
        bits_per_byte=None if n_bytes is None else total_bits / n_bytes,
        n_targets=len(losses),
        interval_95=mean_interval(losses.numpy(), block_len=block_size, seed=seed),
    )


def sweep_losses(
    model: GPT,
    ids: Tensor,
    *,
    block_size: int,
    batch_size: int = 16,
    device: torch.device,
    precision: str = "fp32",
    stride: int | None = None,
    on_batch: Callable[[int, int], None] | None = None,
) -> Tensor:
    """Return the loss of every target 1 … N - 1 in order: (N - 1,), float32, nats, on the CPU.

    A window of T tokens moves by `stride`, the last one ends with the text, and each scores the
    targets that no window before it has: beyond the first window a target is predicted from at
    least T - stride + 1 tokens.

    Args:
        model: on `device`; its training or evaluation mode is kept.
        ids: (N,), int64, N > T.
        block_size: T, at most that of the model.
        batch_size: B.
        device: of the model.
        precision: one of `devices.PRECISIONS`.
        stride: in [1, T]; None: T / 2, rounded up.
        on_batch: called after each batch with the batches done and their number.

    Raises:
        ValueError: an argument is outside its range.
    """
    check_whole("block_size", block_size)
    check_whole("batch_size", batch_size)
    stride = (block_size + 1) // 2 if stride is None else stride
    check_whole("stride", stride)
    if stride > block_size:
        raise ValueError(f"stride is {stride}; it must be at most block_size = {block_size}")
    if ids.dim() != 1 or ids.dtype != torch.int64 or len(ids) <= block_size:
        raise ValueError(
            f"ids are {ids.dtype} of shape {tuple(ids.shape)}; they must be one row of more than "
            f"block_size = {block_size} int64 ids: use a longer text or a smaller block_size"
        )
    windows = ids.unfold(0, block_size + 1, 1)  # (N - T, T + 1), a view
    last = len(windows) - 1
    starts = torch.tensor([*range(0, last, stride), last])
    scored = torch.cat([torch.tensor([0]), starts[:-1] + block_size])  # targets before each window
    is_new = starts[:, None] + torch.arange(block_size) >= scored[:, None]  # (windows, T)
    n_batches = math.ceil(len(starts) / batch_size)
    pieces: list[Tensor] = []
    was_training = model.training
    model.eval()
    try:
        with torch.inference_mode(), autocast(device, precision):
            for first in range(0, len(starts), batch_size):
                chosen = slice(first, first + batch_size)
                batch = windows[starts[chosen]].to(device)
                losses = token_losses(model, batch[:, :-1], batch[:, 1:])
                pieces.append(losses.cpu()[is_new[chosen]])
                if on_batch:
                    on_batch(len(pieces), n_batches)
    finally:
        model.train(was_training)
    return torch.cat(pieces)
