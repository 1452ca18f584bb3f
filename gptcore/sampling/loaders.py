"""Samplers behind torch's DataLoader: the same draws in the same order with any number of workers.

Legend: windows of T inputs, batches of B draws. One rank of several uses `Sampler.shard`.
"""

from collections.abc import Iterator

from torch import Tensor
from torch.utils.data import Dataset, IterableDataset, get_worker_info
from torch.utils.data import Sampler as TorchSampler

from gptcore.checks import check_whole
from gptcore.sampling.base import CHUNK_DRAWS, Sampler, Shard
from gptcore.sampling.batches import gather, gather_draws


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
        for draw in range(self.first, end, CHUNK_DRAWS):
            yield from self.sampler.starts(draw, min(CHUNK_DRAWS, end - draw)).tolist()


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
