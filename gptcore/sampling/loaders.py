"""Samplers behind torch's DataLoader: the same draws in the same order with any number of workers.

Legend: windows of T inputs, batches of B draws. One rank of several uses `Sampler.shard`.
"""

import itertools
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import (
    ConcatDataset,
    DataLoader,
    Dataset,
    IterableDataset,
    get_worker_info,
)
from torch.utils.data import Sampler as TorchSampler

from gptcore.checks import check_whole
from gptcore.data.splits import Segment
from gptcore.sampling.base import AT_ONCE, Sampler, Shard
from gptcore.sampling.batches import WindowDataset, gather, gather_draws
from gptcore.sampling.windows import whole_batches


class StartSampler(TorchSampler[int]):
    """Yields the starts of draws first, …, first + draws - 1, as the indices of a `StartDataset`.

    A DataLoader keeps this order with any number of workers. Windows that join documents have no
    such index: `WindowStream` yields them.

    Raises:
        ValueError: a number is out of range, or the windows of the sampler may join documents.
    """

    def __init__(self, sampler: Sampler | Shard, draws: int, *, first: int = 0) -> None:
        sampler.starts(0, 1)  # refuses windows that have no start alone
        self.sampler = sampler
        self.draws = check_whole("draws", draws)
        self.first = check_whole("first draw", first, at_least=0)

    def __len__(self) -> int:
        return self.draws

    def __iter__(self) -> Iterator[int]:
        end = self.first + self.draws
        for draw in range(self.first, end, AT_ONCE):
            yield from self.sampler.starts(draw, min(AT_ONCE, end - draw)).tolist()


class StartDataset(Dataset[tuple[Tensor, Tensor]]):
    """The windows at all starts, for torch's DataLoader.

    Item s is a pair of inputs, the tokens s, …, s + T - 1, and targets, each of shape (T,).
    """

    def __init__(self, ids: Tensor, block_size: int) -> None:
        gather(ids, [0], block_size)  # refuses a stream that has no window
        self.ids = ids
        self.block_size = int(block_size)

    def __len__(self) -> int:
        return len(self.ids) - self.block_size

    def __getitem__(self, start: int) -> tuple[Tensor, Tensor]:
        if not 0 <= start < len(self):
            raise IndexError(f"start {start} is outside [0, {len(self)})")
        window = self.ids[start : start + self.block_size + 1]
        return window[:-1], window[1:]


class WindowStream(IterableDataset[tuple[Tensor, Tensor]]):
    """Yields batches of draws first, first + 1, …: inputs and targets, each of shape (B, T).

    Give it to a DataLoader with batch_size=None. Worker w of W makes the batches w, w + W, …, and
    the DataLoader takes one from each worker in turn. So all batches come once and in order.

    Args:
        ids: int64 of shape (N,), the stream that the sampler was made for.
        sampler: where the windows come from; on rank r of several, `sampler.shard(r, world)`.
        batch_size: B.
        draws: draws to make in all, a multiple of B; without it the stream does not end.
        first: the draw to begin with, as `Sampler.resume` returns it.

    Raises:
        ValueError: a number is out of range, `draws` is not a multiple of B, or the sampler was
            made for another stream. When batches are read: there are more workers than batches.
    """

    def __init__(
        self,
        ids: Tensor,
        sampler: Sampler | Shard,
        *,
        batch_size: int,
        draws: int | None = None,
        first: int = 0,
    ) -> None:
        self.batch_size = check_whole("batch_size", batch_size)
        self.first = check_whole("first draw", first, at_least=0)
        self.draws = None if draws is None else check_whole("draws", draws)
        if self.draws is not None and self.draws % self.batch_size:
            raise ValueError(
                f"draws is {draws} and batch_size {batch_size}: give a multiple of batch_size"
            )
        sampler.check_stream(len(ids))
        gather(ids, [0], sampler.block_size)  # refuses a stream that is not flat int64
        self.ids = ids
        self.sampler = sampler

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        worker = get_worker_info()
        batch, workers = (0, 1) if worker is None else (worker.id, worker.num_workers)
        batches = None if self.draws is None else self.draws // self.batch_size
        if batches is not None and workers > batches:
            raise ValueError(
                f"there are {workers} workers for {batches} batches: use fewer workers"
            )
        while batches is None or batch < batches:
            first = self.first + batch * self.batch_size
            yield gather_draws(self.ids, self.sampler, first, self.batch_size)
            batch += workers


def loader_passes(
    ids: Tensor,
    segments: Sequence[Segment],
    *,
    block_size: int,
    batch_size: int,
    shuffle: bool,
    drop_last: bool,
    seed: int,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the batches of a torch DataLoader over windows at stride T, pass after pass, endlessly.

    Torch's own RandomSampler shuffles, with a generator that is seeded anew for each pass. So the
    order of a pass depends on the seed and the number of the pass alone, and a training run is
    resumed with the same batches when the first ones of a new iterator are left out.

    Args:
        ids: int64 of shape (N,).
        segments: the parts of the stream that windows lie in.
        block_size: T.
        batch_size: B; without `drop_last` the last batch of a pass may be smaller.
        shuffle: whether each pass has a new random order.
        drop_last: whether windows that do not fill a batch at the end of a pass are left out.
        seed: a whole number, 0 or more.

    Raises:
        ValueError: a number is out of range, a segment is too short, or `drop_last` leaves no
            batch.
    """
    seed = check_whole("seed", seed, at_least=0)
    parts = [WindowDataset(ids[part.start : part.stop], block_size) for part in segments]
    windows: ConcatDataset[tuple[Tensor, Tensor]] = ConcatDataset(parts)
    whole_batches(len(windows), batch_size, drop_last)  # refuses a pass without a batch
    generator = torch.Generator()
    loader = DataLoader(
        windows, batch_size=batch_size, shuffle=shuffle, drop_last=drop_last, generator=generator
    )
    return _endless(loader, generator, seed)


def _endless(
    loader: DataLoader[tuple[Tensor, Tensor]], generator: torch.Generator, seed: int
) -> Iterator[tuple[Tensor, Tensor]]:
    for number in itertools.count():
        words = np.random.SeedSequence((seed, number)).generate_state(1, np.uint64)
        generator.manual_seed(int(words[0] >> np.uint64(1)))  # torch takes a signed number
        yield from loader
