"""Samplers: endless streams of window starts, each start a pure function of (seed, index).

N tokens, windows of T inputs: a start lies in [0, M - 1], M = N - T, and the targets of start s
are the tokens s + 1, …, s + T.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from gptcore.tokens import check_whole

Starts = npt.NDArray[np.int64]

# Part of the definition of random_replacement: another size is another stream.
CHUNK_DRAWS = 4096


def count_starts(n_tokens: int, block_size: int) -> int:
    """Return M = N - T, the number of windows.

    Raises:
        ValueError: N or T is not a positive whole number, or N <= T.
    """
    n_tokens = check_whole("n_tokens", n_tokens)
    block_size = check_whole("block_size", block_size)
    if n_tokens <= block_size:
        raise ValueError(
            f"n_tokens is {n_tokens} and one window of block_size {block_size} needs "
            f"{block_size + 1}: use a longer text or a smaller block_size"
        )
    return n_tokens - block_size


def count_blocks(n_tokens: int, block_size: int) -> int:
    """Return n_b, the number of windows that start at a multiple of T."""
    return (count_starts(n_tokens, block_size) - 1) // block_size + 1


def count_epoch_blocks(
    n_tokens: int, block_size: int, *, batch_size: int = 1, drop_last: bool = False
) -> int:
    """Return the draws in one epoch of the grid: n_b, or whole batches of it with `drop_last`.

    Raises:
        ValueError: the grid has no whole batch.
    """
    n_blocks = count_blocks(n_tokens, block_size)
    batch_size = check_whole("batch_size", batch_size)
    if not drop_last:
        return n_blocks
    if n_blocks < batch_size:
        raise ValueError(
            f"drop_last leaves nothing of {n_blocks} blocks at batch_size {batch_size}: "
            "use a smaller batch_size or a longer text"
        )
    return n_blocks - n_blocks % batch_size


class Sampler(ABC):
    """An endless stream of window starts.

    Attributes:
        name: the name in `SAMPLERS`.
        n_tokens: N.
        block_size: T.
        seed: a whole number, 0 or more.
        n_starts: M = N - T.
        draws_per_epoch: draws after which every block was drawn once; None without epochs.
    """

    name: ClassVar[str]

    def __init__(
        self,
        *,
        n_tokens: int,
        block_size: int,
        seed: int = 0,
        batch_size: int = 1,
        drop_last: bool = False,
    ) -> None:
        self.n_starts = count_starts(n_tokens, block_size)
        self.n_tokens = int(n_tokens)
        self.block_size = int(block_size)
        self.seed = check_whole("seed", seed, at_least=0)
        self.draws_per_epoch = self._count_epoch(batch_size=batch_size, drop_last=drop_last)

    def starts(self, first: int, count: int) -> Starts:
        """Return the starts of draws first, …, first + count - 1: int64 of shape (count,)."""
        first = check_whole("first draw", first, at_least=0)
        return self._draw(first, check_whole("count of draws", count))

    def epoch(self, index: int) -> int | None:
        """Return the epoch that draw `index` belongs to, or None for a sampler without epochs."""
        index = check_whole("draw", index, at_least=0)
        return None if self.draws_per_epoch is None else index // self.draws_per_epoch

    def _count_epoch(self, *, batch_size: int, drop_last: bool) -> int | None:
        """Return the draws in an epoch: here, of the grid."""
        return count_epoch_blocks(
            self.n_tokens, self.block_size, batch_size=batch_size, drop_last=drop_last
        )

    @abstractmethod
    def _draw(self, first: int, count: int) -> Starts:
        """Return `count` starts from draw `first` on; both are checked."""


class _ChunkedSampler(Sampler):
    """A sampler that makes its draws chunk by chunk, and keeps the chunk in use.

    A chunk is an epoch, or CHUNK_DRAWS draws of a sampler without epochs.
    """

    _kept: tuple[int, Starts] | None = None

    def _draw(self, first: int, count: int) -> Starts:
        starts = np.empty(count, dtype=np.int64)  # too many fail here, not after an hour
        size, done = self._chunk_draws, 0
        while done < count:
            number, offset = divmod(first + done, size)
            part = self._chunk(number)[offset : offset + count - done]
            starts[done : done + len(part)] = part
            done += len(part)
        return starts

    @property
    def _chunk_draws(self) -> int:
        return self.draws_per_epoch or CHUNK_DRAWS

    def _chunk(self, number: int) -> Starts:
        kept = self._kept
        if kept is None or kept[0] != number:
            rng = np.random.default_rng(np.random.SeedSequence((self.seed, number)))
            self._kept = kept = (number, self._make_chunk(rng))
        return kept[1]

    @abstractmethod
    def _make_chunk(self, rng: np.random.Generator) -> Starts:
        """Return one chunk of starts, int64 of shape (_chunk_draws,)."""


class RandomReplacement(_ChunkedSampler):
    """Any start, independent and uniform; without epochs, so nothing is ever dropped."""

    name = "random_replacement"

    def _count_epoch(self, *, batch_size: int, drop_last: bool) -> None:  # noqa: ARG002
        check_whole("batch_size", batch_size)

    def _make_chunk(self, rng: np.random.Generator) -> Starts:
        return rng.integers(self.n_starts, size=self._chunk_draws, dtype=np.int64)


class Sequential(Sampler):
    """The grid in order, over and over: a DataLoader with shuffle=False."""

    name = "sequential"

    def _draw(self, first: int, count: int) -> Starts:
        period = self.draws_per_epoch
        assert period is not None
        return np.arange(first, first + count, dtype=np.int64) % period * self.block_size


class ShuffledBlocks(_ChunkedSampler):
    """The grid, permuted afresh each epoch: a DataLoader with shuffle=True.

    With drop_last an epoch leaves out the end of its permutation: other blocks every epoch.
    """

    name = "shuffled_blocks"

    def _make_chunk(self, rng: np.random.Generator) -> Starts:
        order = rng.permutation(count_blocks(self.n_tokens, self.block_size))
        return order[: self._chunk_draws].astype(np.int64) * self.block_size


# A sampler is one class, and one line here.
SAMPLERS: dict[str, Callable[..., Sampler]] = {
    sampler.name: sampler for sampler in (RandomReplacement, Sequential, ShuffledBlocks)
}


def make_sampler(
    name: str,
    *,
    n_tokens: int,
    block_size: int,
    seed: int = 0,
    batch_size: int = 1,
    drop_last: bool = False,
) -> Sampler:
    """Return the sampler called `name`.

    Args:
        name: a key of `SAMPLERS`.
        n_tokens: N.
        block_size: T.
        seed: a whole number, 0 or more.
        batch_size: B; it matters only with `drop_last`.
        drop_last: an epoch of the grid is cut to whole batches.

    Raises:
        ValueError: no such sampler, an argument out of range, or no window or batch fits.
    """
    if name not in SAMPLERS:
        raise ValueError(f"no sampler is called {name!r}: choose one of {', '.join(SAMPLERS)}")
    return SAMPLERS[name](
        n_tokens=n_tokens,
        block_size=block_size,
        seed=seed,
        batch_size=batch_size,
        drop_last=drop_last,
    )
