"""The samplers by name; what they share is in `sampler`.

Those with a permutation keep one epoch in memory, 8 bytes a draw; the others keep nothing.
"""

from collections.abc import Callable
from typing import Any, Unpack

import numpy as np

from gptcore.checks import check_whole
from gptcore.sampling.base import (
    CHUNK_DRAWS,
    ChunkedSampler,
    Sampler,
    SamplerOptions,
    whole_batches,
)
from gptcore.sampling.low_discrepancy import Golden, Stratified, VanDerCorput
from gptcore.sampling.windows import Starts, count_starts


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
    return whole_batches(count_blocks(n_tokens, block_size), batch_size, drop_last)


class RandomReplacement(ChunkedSampler):
    """Any start, independent and uniform; without epochs, so nothing is ever dropped."""

    name = "random_replacement"

    def _count_epoch(self) -> None:
        return None

    def _make_chunk(self, number: int, rng: np.random.Generator) -> Starts:  # noqa: ARG002
        return rng.integers(self.lattice.total, size=CHUNK_DRAWS, dtype=np.int64)


class GridReplacement(RandomReplacement):
    """Blocks of the fixed grid, independent and uniform."""

    name = "grid_replacement"

    def _stride(self) -> int:
        return self.block_size


class Sequential(Sampler):
    """The grid in order, over and over: a DataLoader with shuffle=False."""

    name = "sequential"

    def _stride(self) -> int:
        return self.block_size

    def _draw(self, first: int, count: int) -> Starts:
        assert self.draws_per_epoch is not None
        numbers = np.arange(first, first + count, dtype=np.int64) % self.draws_per_epoch
        return self.lattice.place(numbers)


class RandomDistinct(ChunkedSampler):
    """All M starts, permuted afresh each epoch of M draws.

    With drop_last an epoch leaves out the end of its permutation: other starts every epoch.
    """

    name = "random_distinct"

    def _make_chunk(self, number: int, rng: np.random.Generator) -> Starts:  # noqa: ARG002
        return rng.permutation(self.lattice.total)[: self.draws_per_epoch].astype(np.int64)


class ShuffledBlocks(RandomDistinct):
    """The grid, permuted afresh each epoch: a DataLoader with shuffle=True."""

    name = "shuffled_blocks"

    def _stride(self) -> int:
        return self.block_size


class OverlappingStride(RandomDistinct):
    """Starts every S < T tokens (default T // 2), permuted afresh each epoch."""

    name = "overlapping_stride"

    def __init__(self, *, block_size: int, stride: int | None = None, **options: Any) -> None:
        half = max(1, check_whole("block_size", block_size) // 2)
        self.stride = half if stride is None else check_whole("stride", stride)
        if stride is not None and self.stride >= block_size:
            raise ValueError(
                f"stride is {stride} and block_size {block_size}: windows overlap only with a "
                "smaller stride; use shuffled_blocks for a stride of block_size"
            )
        super().__init__(block_size=block_size, **options)

    def _stride(self) -> int:
        return self.stride

    def _extras(self) -> dict[str, int]:
        return {"stride": self.stride}


class TPlus1Stride(Sequential):
    """Blocks of T + 1 tokens at stride T + 1, in order: one token in T + 1 is never a target."""

    name = "t_plus_1_stride"

    def _stride(self) -> int:
        return self.block_size + 1


class ShiftInBlock(Sequential):
    """The grid in order, with labels shifted inside the block: its last input has no target.

    A window shows the T - 1 targets s + 1, …, s + T - 1. Like all others it lies in the text with
    one token to its right, though it does not use that token.
    """

    name = "shift_in_block"

    def __init__(self, *, block_size: int, **options: Any) -> None:
        if check_whole("block_size", block_size) == 1:
            raise ValueError("block_size is 1 and shift_in_block then has no target: use 2 or more")
        super().__init__(block_size=block_size, **options)

    @property
    def targets_per_window(self) -> int:
        """Targets that one window shows: s + 1, …, s + T - 1."""
        return self.block_size - 1


class BlockBufferShuffle(ChunkedSampler):
    """The grid through a shuffle buffer of `buffer` blocks (default 1024), as streaming loaders do.

    A draw takes a random block of the buffer, and the next block of the grid takes its place; when
    none is left the buffer is emptied in random order. Each epoch begins with an empty buffer.
    """

    name = "block_buffer_shuffle"

    def __init__(self, *, buffer: int = 1024, **options: Any) -> None:
        self.buffer = check_whole("buffer", buffer)
        super().__init__(**options)

    def _stride(self) -> int:
        return self.block_size

    def _extras(self) -> dict[str, int]:
        return {"buffer": self.buffer}

    def _make_chunk(self, number: int, rng: np.random.Generator) -> Starts:  # noqa: ARG002
        blocks = self.lattice.total
        held = list(range(min(self.buffer, blocks)))
        order = np.empty(blocks, dtype=np.int64)
        slots = rng.integers(len(held), size=blocks - len(held)).tolist()
        for draw, slot in enumerate(slots):
            order[draw] = held[slot]
            held[slot] = len(held) + draw
        order[len(slots) :] = rng.permutation(held)
        return order[: self.draws_per_epoch]


class RandomPhaseBlocks(ChunkedSampler):
    """The grid over all starts in a row, shifted by a fresh phase each epoch, and permuted.

    A phase in [0, T) leaves M // T blocks, or one more if it is less than b = M mod T. Epoch e is
    long if ⌊(e·b + o) / T⌋ grows there, o uniform in [0, T) from the seed, and its phase is uniform
    among those of that length. So each epoch's phase is uniform, T epochs are M draws, and the
    epoch of a draw is arithmetic; only the length of an epoch varies, by one.
    """

    name = "random_phase_blocks"

    def _count_epoch(self) -> None:
        self.short_blocks, self.long_phases = divmod(self.n_starts, self.block_size)
        a, b = self.short_blocks, self.long_phases
        self.offset = int(self._rng_once().integers(self.block_size))
        self.epoch_unit, self.draws_in_t_epochs = 1, self.n_starts
        if self.drop_last:
            short = whole_batches(a, self.batch_size, True)
            self.draws_in_t_epochs = short * self.block_size
            if b and (a + 1) % self.batch_size == 0:  # a long epoch has one batch more
                self.epoch_unit = self.batch_size
                self.draws_in_t_epochs = short // self.batch_size * self.block_size + b

    def epoch(self, index: int) -> int:
        """Return the epoch that draw `index` belongs to."""
        return self._locate(check_whole("draw", index, at_least=0))[0]

    def _begin(self, epoch: int) -> int:
        steps = (epoch * self.draws_in_t_epochs + self.offset) // self.block_size
        return steps * self.epoch_unit

    def _locate(self, draw: int) -> tuple[int, int]:
        steps = (draw // self.epoch_unit + 1) * self.block_size
        epoch = (steps - self.offset - 1) // self.draws_in_t_epochs
        return epoch, draw - self._begin(epoch)

    def _make_chunk(self, number: int, rng: np.random.Generator) -> Starts:
        period, b, o = self.block_size, self.long_phases, self.offset
        long = ((number + 1) * b + o) // period - (number * b + o) // period
        phase = rng.integers(b) if long else rng.integers(b, period)
        order = rng.permutation(self.short_blocks + long).astype(np.int64)
        length = self._begin(number + 1) - self._begin(number)
        return np.asarray(phase + period * order[:length])


# A sampler is one class, and one line here.
SAMPLERS: dict[str, Callable[..., Sampler]] = {
    sampler.name: sampler
    for sampler in (
        RandomReplacement,
        Sequential,
        ShuffledBlocks,
        RandomDistinct,
        GridReplacement,
        RandomPhaseBlocks,
        Stratified,
        Golden,
        VanDerCorput,
        OverlappingStride,
        BlockBufferShuffle,
        TPlus1Stride,
        ShiftInBlock,
    )
}


OWNERS = {"stride": OverlappingStride.name, "buffer": BlockBufferShuffle.name}
"""Option → the one sampler that has it."""


def make_sampler(name: str, **options: Unpack[SamplerOptions]) -> Sampler:
    """Return the sampler called `name`.

    Args:
        name: a key of `SAMPLERS`.
        **options: those of `SamplerOptions`; `block_size`, and `n_tokens` or `segments`, must be
            given.

    Raises:
        ValueError: no such sampler, an argument out of range or not of this sampler, or no window
            or batch fits.
    """
    if name not in SAMPLERS:
        raise ValueError(f"no sampler is called {name!r}: choose one of {', '.join(SAMPLERS)}")
    given = dict(options)
    for option, owner in OWNERS.items():
        value = given.pop(option, None)
        if value is not None and name != owner:
            raise ValueError(
                f"{option} is {value} and {name} has none: leave it out, or use {owner}"
            )
        if value is not None:
            given[option] = value
    return SAMPLERS[name](**given)
