"""The samplers by name; what they share is in `base`.

Legend: N tokens, windows of T inputs, M = N - T starts. The **grid** is the windows that start at
0, T, 2T, …. A sampler that permutes keeps one epoch in memory, 8 bytes for each draw, and one of
independent draws a chunk of them; the others keep nothing.
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
)
from gptcore.sampling.low_discrepancy import Golden, Stratified, VanDerCorput
from gptcore.sampling.rechunking import RechunkedDocuments, RechunkedOnce
from gptcore.sampling.windows import Starts, whole_batches


def make_sampler(name: str, **options: Unpack[SamplerOptions]) -> Sampler:
    """Return the sampler called `name`.

    Args:
        name: a key of `SAMPLERS`.
        **options: those of `SamplerOptions`; `block_size`, and `n_tokens` or `segments`, must be
            given.

    Raises:
        ValueError: there is no such sampler, an option is out of range or belongs to another
            sampler, or no window or batch fits.
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


class RandomReplacement(ChunkedSampler):
    """Independent uniform draws from all starts; there are no epochs, so nothing is dropped."""

    name = "random_replacement"

    def _count_epoch(self) -> None:
        return None

    def _make_chunk(self, number: int, rng: np.random.Generator) -> Starts:  # noqa: ARG002
        return rng.integers(self.lattice.total, size=CHUNK_DRAWS, dtype=np.int64)


class GridReplacement(RandomReplacement):
    """Independent uniform draws from the grid."""

    name = "grid_replacement"

    def _stride(self) -> int:
        return self.block_size


class Sequential(Sampler):
    """The grid in order, again and again, as a DataLoader with shuffle=False reads it."""

    name = "sequential"

    def _stride(self) -> int:
        return self.block_size

    def _draw(self, first: int, count: int) -> Starts:
        assert self.draws_per_epoch is not None
        numbers = np.arange(first, first + count, dtype=np.int64) % self.draws_per_epoch
        return self.lattice.place(numbers)


class RandomDistinct(ChunkedSampler):
    """All M starts, in a new random order each epoch.

    With drop_last an epoch leaves out the end of its permutation, which is other starts each time.
    """

    name = "random_distinct"

    def _make_chunk(self, number: int, rng: np.random.Generator) -> Starts:  # noqa: ARG002
        return rng.permutation(self.lattice.total)[: self.draws_per_epoch].astype(np.int64)


class ShuffledBlocks(RandomDistinct):
    """The grid in a new random order each epoch, as a DataLoader with shuffle=True reads it."""

    name = "shuffled_blocks"

    def _stride(self) -> int:
        return self.block_size


class ShuffledOnce(ShuffledBlocks):
    """The grid in one random order, the same in every epoch: the first epoch of `shuffled_blocks`.

    With drop_last every epoch leaves out the same blocks.
    """

    name = "shuffled_once"

    def _locate(self, draw: int) -> tuple[int, int]:
        return 0, super()._locate(draw)[1]


class ShuffledAcrossEpochs(ShuffledBlocks):
    """The blocks of `shuffle_epochs` epochs (default 4) in one random order, then of the next ones.

    So a block may come twice before another one has come once. Megatron's data set does this with
    all epochs of a run: give as many. An epoch is as many draws as the grid has blocks; with
    drop_last it is whole batches, and other blocks are left out in each order.
    """

    name = "shuffled_across_epochs"

    def __init__(self, *, shuffle_epochs: int | None = None, **options: Any) -> None:
        epochs = 4 if shuffle_epochs is None else shuffle_epochs
        self.shuffle_epochs = check_whole("shuffle_epochs", epochs)
        super().__init__(**options)

    @property
    def draws_per_order(self) -> int:
        """The draws of `shuffle_epochs` epochs."""
        assert self.draws_per_epoch is not None
        return self.shuffle_epochs * self.draws_per_epoch

    def _extras(self) -> dict[str, int]:
        return {"shuffle_epochs": self.shuffle_epochs}

    def _locate(self, draw: int) -> tuple[int, int]:
        return divmod(draw, self.draws_per_order)

    def _make_chunk(self, number: int, rng: np.random.Generator) -> Starts:  # noqa: ARG002
        blocks = self.lattice.total
        order = rng.permutation(self.shuffle_epochs * blocks)[: self.draws_per_order]
        return np.asarray(order.astype(np.int64) % blocks)


class OverlappingStride(RandomDistinct):
    """The starts 0, S, 2S, … with S < T (default T // 2), in a new random order each epoch."""

    name = "overlapping_stride"

    def __init__(self, *, block_size: int, stride: int | None = None, **options: Any) -> None:
        half = max(1, check_whole("block_size", block_size) // 2)
        self.stride = half if stride is None else check_whole("stride", stride)
        if stride is not None and self.stride >= block_size:
            raise ValueError(
                f"stride is {stride} and block_size {block_size}: windows overlap only with a "
                "smaller stride; use shuffled_blocks for a stride of a whole window"
            )
        super().__init__(block_size=block_size, **options)

    def _stride(self) -> int:
        return self.stride

    def _extras(self) -> dict[str, int]:
        return {"stride": self.stride}


class TPlus1Stride(Sequential):
    """Blocks of T + 1 tokens at stride T + 1, in order; one token in T + 1 is never a target."""

    name = "t_plus_1_stride"

    def _stride(self) -> int:
        return self.block_size + 1


class ShiftInBlock(Sequential):
    """The grid in order, with labels shifted inside the block, so its last input has no target.

    A window shows the T - 1 targets s + 1, …, s + T - 1. As with the other samplers, the text has
    one more token to the right of a window, although this sampler does not use it.
    """

    name = "shift_in_block"

    def __init__(self, *, block_size: int, **options: Any) -> None:
        if check_whole("block_size", block_size) == 1:
            raise ValueError("block_size is 1 and shift_in_block then has no target: use 2 or more")
        super().__init__(block_size=block_size, **options)

    @property
    def targets_per_window(self) -> int:
        """T - 1, the number of targets s + 1, …, s + T - 1."""
        return self.block_size - 1


class BlockBufferShuffle(ChunkedSampler):
    """The grid through a shuffle buffer of `buffer` blocks (default 1024), as streaming loaders do.

    A draw takes a random block out of the buffer, and the next block of the grid takes its place.
    When no block is left to enter, the buffer is emptied in random order. Each epoch begins with
    the first blocks of the grid in the buffer.
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
        # While blocks enter: each draw takes the block of a random slot and refills the slot.
        slots = rng.integers(len(held), size=blocks - len(held)).tolist()
        for draw, slot in enumerate(slots):
            order[draw] = held[slot]
            held[slot] = len(held) + draw
        # No block is left: empty the buffer.
        order[len(slots) :] = rng.permutation(held)
        return order[: self.draws_per_epoch]


class RandomPhaseBlocks(ChunkedSampler):
    """A grid of stride T over all M starts, with a new random phase and order each epoch.

    A phase in [0, T) gives M // T blocks, or one more if it is less than b = M mod T. Which epochs
    are long, with one block more, is fixed in advance: epoch e is, if ⌊((e + 1)·b + o) / T⌋ is
    larger than ⌊(e·b + o) / T⌋, where o is uniform in [0, T) and from the seed. The phase of an
    epoch is uniform among the phases that give its length. So the phase of each epoch is uniform
    over all seeds, any T epochs in a row are M draws, and the epoch of a draw is arithmetic.
    """

    name = "random_phase_blocks"

    def _count_epoch(self) -> None:
        self.short_blocks, self.long_phases = divmod(self.n_starts, self.block_size)
        a, b = self.short_blocks, self.long_phases
        self.offset = int(self._rng_once().integers(self.block_size))
        self.epoch_unit, self.draws_in_t_epochs = 1, self.n_starts
        if self.drop_last:
            # An epoch is whole batches. If long epochs have one batch more, the unit is a batch.
            short = whole_batches(a, self.batch_size, True)
            self.draws_in_t_epochs = short * self.block_size
            if b and (a + 1) % self.batch_size == 0:  # a long epoch has one batch more
                self.epoch_unit = self.batch_size
                self.draws_in_t_epochs = short // self.batch_size * self.block_size + b

    def epoch(self, index: int) -> int:
        """Return the epoch that draw `index` belongs to."""
        return self._locate(check_whole("draw", index, at_least=0))[0]

    def _begin(self, epoch: int) -> int:
        """Return the first draw of an epoch."""
        steps = (epoch * self.draws_in_t_epochs + self.offset) // self.block_size
        return steps * self.epoch_unit

    def _locate(self, draw: int) -> tuple[int, int]:
        steps = (draw // self.epoch_unit + 1) * self.block_size
        epoch = (steps - self.offset - 1) // self.draws_in_t_epochs
        return epoch, draw - self._begin(epoch)

    def _make_chunk(self, number: int, rng: np.random.Generator) -> Starts:
        # Is this epoch long? Then its phase is one of the first b, otherwise one of the others.
        period, b, o = self.block_size, self.long_phases, self.offset
        long = ((number + 1) * b + o) // period - (number * b + o) // period
        phase = rng.integers(b) if long else rng.integers(b, period)
        length = self._begin(number + 1) - self._begin(number)
        order = rng.permutation(self.short_blocks + long).astype(np.int64)[:length]
        return np.asarray(phase + period * self._arrange(order))

    def _arrange(self, order: Starts) -> Starts:
        """Return the blocks of an epoch in the order in which they are drawn."""
        return order


class OneDocument(RandomPhaseBlocks):
    """What `RechunkedDocuments` is for one document, which has nothing to permute or to join."""

    name = RechunkedDocuments.name


class OneDocumentOnce(RandomPhaseBlocks):
    """What `RechunkedOnce` is for one document: new phases, but one order of the blocks."""

    name = RechunkedOnce.name

    def _arrange(self, order: Starts) -> Starts:
        return self._in_one_order(order)


def rechunked_documents(**options: Any) -> Sampler:
    """Return the sampler `rechunked_documents`, where each segment is a document."""
    return (RechunkedDocuments if _are_several(options) else OneDocument)(**options)


def rechunked_once(**options: Any) -> Sampler:
    """Return the sampler `rechunked_once`, where each segment is a document."""
    return (RechunkedOnce if _are_several(options) else OneDocumentOnce)(**options)


def _are_several(options: dict[str, Any]) -> bool:
    segments = options.get("segments")
    return segments is not None and len(segments) > 1


JOINING = (RechunkedDocuments.name, RechunkedOnce.name)  # a window may hold several segments

# To add a sampler, write a class, and add a line here.
SAMPLERS: dict[str, Callable[..., Sampler]] = {
    sampler.name: sampler
    for sampler in (
        RandomReplacement,
        Sequential,
        ShuffledBlocks,
        ShuffledOnce,
        ShuffledAcrossEpochs,
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
} | {f.__name__: f for f in (rechunked_documents, rechunked_once)}


OWNERS = {
    "stride": OverlappingStride.name,
    "buffer": BlockBufferShuffle.name,
    "shuffle_epochs": ShuffledAcrossEpochs.name,
}
"""Option → the one sampler that has it."""
