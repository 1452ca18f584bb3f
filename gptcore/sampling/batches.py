"""Window starts and a token stream → inputs and targets, int64 of shape (B, T)."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from gptcore.checks import as_array, check_whole
from gptcore.data.chain import Chain
from gptcore.sampling.base import Sampler, Shard
from gptcore.sampling.windows import Starts, check_starts, count_epoch_blocks, count_starts

Stream = Tensor | npt.NDArray[Any] | Chain


def gather(
    ids: Stream, starts: Starts | Sequence[int] | Tensor, block_size: int
) -> tuple[Tensor, Tensor]:
    """Return the windows at `starts`: inputs, and targets one token to the right.

    Args:
        ids: int64 of shape (N,), on any device; or a NumPy array of integers of that shape, in
            memory or mapped from disk, from which only the windows are read; or a chain of these.
        starts: integers of shape (B,), each in [0, N - T - 1].
        block_size: T.

    Returns:
        Two int64 tensors of shape (B, T), on the device of `ids`. The inputs are a view; the
        targets are contiguous, so that `targets.view(-1)` works.

    Raises:
        ValueError: `ids` is not flat and of integers, or a start is out of range.
    """
    block_size = check_whole("block_size", block_size)
    n_starts = _check_stream(ids, block_size)
    starts = check_starts(as_array("starts", starts), n_starts)
    if isinstance(ids, Tensor):
        windows = ids.unfold(0, block_size + 1, 1)
        # windows[starts] took 3.3 times as long (B = 64, T = 256, 2 CPU threads, torch 2.13).
        block = windows.index_select(0, torch.as_tensor(starts, device=ids.device))
    elif isinstance(ids, Chain):
        rows = ids[starts[:, None] + np.arange(block_size + 1)]
        block = torch.from_numpy(rows.astype(np.int64, copy=False))
    else:
        rows = np.lib.stride_tricks.sliding_window_view(ids, block_size + 1)[starts]
        block = torch.from_numpy(rows.astype(np.int64, copy=False))
    return _divide(block)


def batch(
    ids: Stream, sampler: Sampler | Shard, step: int, batch_size: int
) -> tuple[Tensor, Tensor]:
    """Return the inputs and targets of draws step·B, …, (step + 1)·B - 1, as `gather` does.

    Raises:
        ValueError: `sampler` is for a stream of another length, or a number is out of range.
    """
    step = check_whole("step", step, at_least=0)
    batch_size = check_whole("batch_size", batch_size)
    return gather_draws(ids, sampler, step * batch_size, batch_size)


def gather_draws(
    ids: Stream, sampler: Sampler | Shard, first: int, count: int
) -> tuple[Tensor, Tensor]:
    """Return the inputs and targets of draws first, …, first + count - 1, as `gather` does.

    The pieces of a window that joins segments stand one behind the other. So the first token of a
    segment is a target, whose inputs are the segments before it.

    Raises:
        ValueError: as `batch` does.
    """
    sampler.check_stream(len(ids))
    if not sampler.joins:
        return gather(ids, sampler.starts(first, count), sampler.block_size)
    _check_stream(ids, sampler.block_size)
    places = sampler.pieces(first, count).tokens()
    if isinstance(ids, Tensor):
        block = ids[torch.from_numpy(places).to(ids.device)]
    else:
        block = torch.from_numpy(ids[places].astype(np.int64, copy=False))
    return _divide(block)


def _divide(block: Tensor) -> tuple[Tensor, Tensor]:
    """Return the inputs and the targets of windows, int64 of shape (B, T + 1).

    nanoGPT calls `targets.view(-1)`. The copy takes 2 µs (B = 16, T = 256) to 20 µs (B = 64,
    T = 1,024; 1 CPU thread, torch 2.13), and the loss makes it anyway where it is not made here.
    """
    return block[:, :-1], block[:, 1:].contiguous()


class WindowDataset(Dataset[tuple[Tensor, Tensor]]):
    """The windows that start at 0, S, 2S, ….

    Item i is a pair of inputs and targets, each of shape (T,). S is T unless given.
    """

    def __init__(self, ids: Tensor, block_size: int, stride: int | None = None) -> None:
        self.n_starts = _check_stream(ids, block_size)
        self.ids = ids
        self.block_size = block_size
        self.stride = block_size if stride is None else check_whole("stride", stride)

    def __len__(self) -> int:
        return (self.n_starts - 1) // self.stride + 1

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        if not 0 <= index < len(self):
            raise IndexError(f"window {index} is outside [0, {len(self)})")
        start = index * self.stride
        window = self.ids[start : start + self.block_size + 1]
        return window[:-1], window[1:]


def dataloader(
    ids: Tensor,
    *,
    block_size: int,
    batch_size: int,
    shuffle: bool,
    drop_last: bool,
    seed: int = 0,
) -> DataLoader[tuple[Tensor, Tensor]]:
    """Return the usual DataLoader over windows at stride T.

    It shows the same windows each epoch as the sampler `sequential`, or with `shuffle` as
    `shuffled_blocks`, but in the order of torch's generator. Its last batch may be short, while a
    batch of a sampler continues into the next epoch.

    Raises:
        ValueError: a number is out of range, or `drop_last` leaves no batch.
    """
    windows = WindowDataset(ids, block_size)
    batch_size = check_whole("batch_size", batch_size)
    count_epoch_blocks(len(ids), block_size, batch_size=batch_size, drop_last=drop_last)
    generator = torch.Generator().manual_seed(check_whole("seed", seed, at_least=0))
    return DataLoader(
        windows, batch_size=batch_size, shuffle=shuffle, drop_last=drop_last, generator=generator
    )


def _check_stream(ids: Stream, block_size: int) -> int:
    """Return M, after checking that the stream is flat, of integers and long enough."""
    if not isinstance(ids, Tensor | np.ndarray | Chain):
        raise ValueError(f"the stream is {type(ids).__name__}: give a tensor or an array")
    is_integer = ids.dtype == torch.int64 if isinstance(ids, Tensor) else ids.dtype.kind in "iu"
    if ids.ndim != 1 or not is_integer:
        raise ValueError(
            f"the stream is {ids.dtype} of shape {tuple(ids.shape)}: give a flat int64 tensor, or "
            "a flat array of integers"
        )
    return count_starts(len(ids), block_size)
