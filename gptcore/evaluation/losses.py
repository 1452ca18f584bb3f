"""Evaluate a model on a text: every target is scored exactly once.

Shapes: N tokens in the text, T tokens in a window, B windows in a batch. Token 0 has no context, so
it is never a target.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Required, TypedDict, Unpack

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gptcore.checks import check_whole
from gptcore.devices import autocast
from gptcore.intervals import POPULATION, difference_interval, mean_interval, no_interval_reason
from gptcore.model.foreign import ForeignModel
from gptcore.model.gpt import GPT, evaluating
from gptcore.model.loss import token_losses


class SweepOptions(TypedDict, total=False):
    """The options of `sweep`.

    Attributes:
        block_size: T, the longest context, at most the model's block_size.
        device: where the model is.
        batch_size: B; it changes the speed and not the result. By default 16.
        precision: one of `devices.PRECISIONS`; by default "fp32".
        stride: the distance between starts, in [1, T]; by default T / 2, rounded up.
        on_batch: called after each batch with the number of batches done and the number of all.
    """

    block_size: Required[int]
    device: Required[torch.device]
    batch_size: int
    precision: str
    stride: int | None
    on_batch: Callable[[int, int], None] | None


@dataclass(frozen=True)
class Evaluation:
    """The loss of a model on one or several texts.

    Attributes:
        loss_nats_per_token: the mean loss over all targets.
        bits_per_byte: the total loss in bits per byte of text; None if `n_bytes` was not given.
        n_targets: the number of targets, N - 1 for each text.
        interval_95: the 95 % interval of the mean loss over the text that the scored text is a
            stretch of, from `intervals.mean_interval`; None if the text is too short for one.
        interval_reason: why there is no interval; None where there is one.
        baseline_loss_nats_per_token: the mean of the baseline's losses; None without a baseline.
        difference_nats_per_token: the loss less that of the baseline; None likewise.
        difference_interval_95: the 95 % interval of that difference over the same longer text, from
            `intervals.difference_interval`; None likewise, or where the text is too short.
        interval_population: what text the intervals are about, in words.
    """

    loss_nats_per_token: float
    bits_per_byte: float | None
    n_targets: int
    interval_95: tuple[float, float] | None
    interval_reason: str | None
    baseline_loss_nats_per_token: float | None = None
    difference_nats_per_token: float | None = None
    difference_interval_95: tuple[float, float] | None = None
    interval_population: str = POPULATION


def evaluate(
    model: GPT,
    ids: Tensor | Sequence[Tensor],
    *,
    n_bytes: int | None,
    baseline: npt.NDArray[np.floating] | None = None,
    **options: Unpack[SweepOptions],
) -> Evaluation:
    """Score every target of a text once and return the loss with its interval.

    Args:
        model: the model, on `device`.
        ids: (N,), int64, N > T; or several such texts: no context crosses from one into the next.
        n_bytes: the length of the text in bytes, for `bits_per_byte`; None if it is unknown.
        baseline: (n_targets,), the losses of another model on the same targets, as those of
            `count_losses` or `sweep_losses`; several texts are joined.
        **options: those of `SweepOptions`; `block_size` and `device` must be given.

    Raises:
        ValueError: an argument is outside its range, or a loss is not finite.
    """
    if n_bytes is not None:
        check_whole("n_bytes", n_bytes)
    texts = [ids] if isinstance(ids, Tensor) else ids
    losses = torch.cat([sweep_losses(model, text, **options) for text in texts])
    return summarise(losses.numpy(), n_bytes, baseline)


def summarise(
    losses: npt.NDArray[np.floating],
    n_bytes: int | None,
    baseline: npt.NDArray[np.floating] | None = None,
) -> Evaluation:
    """Return the mean of the losses of all targets (n_targets,), with its interval.

    Args:
        losses: in nats, in the order of the text; several texts are joined.
        n_bytes: as for `evaluate`.
        baseline: as for `evaluate`.
    """
    losses = losses.astype(np.float64)
    loss, total_bits = float(losses.mean()), float(losses.sum()) / math.log(2)
    alone = Evaluation(
        loss_nats_per_token=loss,
        bits_per_byte=None if n_bytes is None else total_bits / n_bytes,
        n_targets=len(losses),
        interval_95=mean_interval(losses),
        interval_reason=no_interval_reason(len(losses)),
    )
    if baseline is None:
        return alone
    mean = float(np.mean(baseline))
    return replace(
        alone,
        baseline_loss_nats_per_token=mean,
        difference_nats_per_token=loss - mean,
        difference_interval_95=difference_interval(losses, baseline),
    )


def count_losses(
    train: Iterable[npt.NDArray[np.integer]],
    test: Sequence[npt.NDArray[np.integer]],
    vocab_size: int,
) -> npt.NDArray[np.float64]:
    """Return the losses in nats of all targets of `test` under the token counts of `train`.

    One is added to the count of each of the `vocab_size` tokens (Laplace), so no loss is infinite.
    The first token of each text is no target.
    """
    counts = np.ones(vocab_size)
    for ids in train:
        counts += np.bincount(ids, minlength=vocab_size)
    targets = np.concatenate([ids[1:] for ids in test])
    return np.asarray(-np.log(counts / counts.sum())[targets])


@dataclass(frozen=True)
class Scores:
    """The losses of the targets of a text.

    Attributes:
        losses: (N - 1,), float32, nats, on the CPU: those of targets 1 … N - 1 in order.
        by_context: (T,), float64: the mean loss of the targets with 1, 2, …, T tokens of context.
            Every target of every window counts here, also those that a window before has scored.
        windows: the number of targets behind each of these means.
    """

    losses: Tensor
    by_context: Tensor
    windows: int


def sweep_losses(model: GPT, ids: Tensor, **options: Unpack[SweepOptions]) -> Tensor:
    """Return the loss of every target 1 … N - 1 in order, as `Scores.losses`; see `sweep`."""
    return sweep(model, ids, **options).losses


def sweep(model: GPT | ForeignModel, ids: Tensor, **options: Unpack[SweepOptions]) -> Scores:
    """Score every target 1 … N - 1 of a text once.

    Windows of T tokens start `stride` tokens apart, and the last window ends with the text. Each
    window scores only targets not yet scored, so after the first window every target has a context
    of T - stride + 1 tokens or more.

    Args:
        model: the model, on `device`; its training or evaluation mode is restored.
        ids: (N,), int64, N > T.
        **options: those of `SweepOptions`; `block_size` and `device` must be given.

    Raises:
        ValueError: an argument is outside its range, or a loss is not finite.
    """
    batch_size = check_whole("batch_size", options.get("batch_size", 16))
    block_size, device = options["block_size"], options["device"]
    on_batch = options.get("on_batch")
    starts, is_new = _cover(ids, block_size, options.get("stride"))
    _check_ids(ids, model.config.vocab_size)
    # Every possible window with the target of its last token: (N - T, T + 1), a view.
    windows = ids.unfold(0, block_size + 1, 1)
    batches = torch.split(starts, batch_size), torch.split(is_new, batch_size)
    pieces: list[Tensor] = []
    sums = torch.zeros(block_size, dtype=torch.float64)
    with evaluating(model), autocast(device, options.get("precision", "fp32")):
        for chosen, new in zip(*batches, strict=True):  # (B,) and (B, T)
            batch = windows[chosen].to(device)
            losses = token_losses(model, batch[:, :-1], batch[:, 1:]).cpu()
            if not losses.isfinite().all():
                raise ValueError(
                    "the model's loss is not finite, so training diverged: use another checkpoint"
                )
            pieces.append(losses[new])
            sums += losses.sum(0, dtype=torch.float64)
            if on_batch:
                on_batch(len(pieces), len(batches[0]))
    return Scores(torch.cat(pieces), sums / len(starts), len(starts))


def _check_ids(ids: Tensor, vocab_size: int) -> None:
    low, high = (int(end) for end in ids.aminmax())
    if low < 0 or high >= vocab_size:
        raise ValueError(
            f"ids span [{low}, {high}]; they must be in [0, {vocab_size}): encode the text with "
            "the vocabulary that the model was trained on"
        )


def _cover(ids: Tensor, block_size: int, stride: int | None) -> tuple[Tensor, Tensor]:
    """Return starts (W,) of windows that cover `ids`, and which of their targets (W, T) are new."""
    check_whole("block_size", block_size)
    stride = (block_size + 1) // 2 if stride is None else stride
    check_whole("stride", stride)
    if stride > block_size:
        raise ValueError(f"stride is {stride}; it must be at most block_size = {block_size}")
    if ids.dim() != 1 or ids.dtype != torch.int64 or len(ids) <= block_size:
        raise ValueError(
            f"ids are {ids.dtype} of shape {tuple(ids.shape)}; they must be one row of more than "
            f"block_size = {block_size} int64 ids: use a longer text or shorter windows"
        )
    last = len(ids) - block_size - 1
    starts = torch.tensor([*range(0, last, stride), last])
    # A target is new where its place in the text comes after all targets of the window before.
    scored = torch.cat([torch.tensor([0]), starts[:-1] + block_size])
    is_new = starts[:, None] + torch.arange(block_size) >= scored[:, None]
    return starts, is_new
