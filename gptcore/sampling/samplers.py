"""The samplers by name; what they share is in `base`.

Legend: N tokens, windows of T inputs, M = N - T starts. The **grid** is the windows that start at
0, T, 2T, …. The start of a draw is a function of the seed and of the number of the draw. So no
sampler stores an order, and its memory does not grow with the text; `keyed` makes random orders.
"""

from collections.abc import Callable
from typing import Any, Unpack

import numpy as np

from gptcore.checks import check_whole
from gptcore.sampling.base import Sampler, SamplerOptions
from gptcore.sampling.buffer import BlockBufferShuffle
from gptcore.sampling.keyed import permute
from gptcore.sampling.low_discrepancy import Golden, Stratified, VanDerCorput
from gptcore.sampling.phases import OneDocument, OneDocumentOnce, RandomPhaseBlocks
from gptcore.sampling.rechunking import RechunkedDocuments, RechunkedOnce
from gptcore.sampling.windows import Starts

CHUNK_DRAWS = 4096
"""Independent draws that have one generator; another number would give them another stream."""


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


class RandomReplacement(Sampler):
    """Independent uniform draws from all starts; there are no epochs, so nothing is dropped.

    They are made in chunks of CHUNK_DRAWS, each of which has a generator of its own.
    """

    name = "random_replacement"

    def _count_epoch(self) -> None:
        return None

    def starts_at(self, draws: Starts) -> Starts:
        """Return the starts of these draws, which increase."""
        chunks, begins = np.unique(draws // CHUNK_DRAWS, return_index=True)
        numbers = np.empty(len(draws), dtype=np.int64)
        for chunk, mine in zip(chunks, np.split(np.arange(len(draws)), begins[1:]), strict=True):
            rng = np.random.default_rng(np.random.SeedSequence((self.seed, int(chunk))))
            drawn = rng.integers(self.lattice.total, size=CHUNK_DRAWS, dtype=np.int64)
            numbers[mine] = drawn[draws[mine] % CHUNK_DRAWS]
        return self.lattice.place(numbers)


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

    def starts_at(self, draws: Starts) -> Starts:
        """Return the starts of these draws."""
        assert self.draws_per_epoch is not None
        return self.lattice.place(draws % self.draws_per_epoch)


class RandomDistinct(Sampler):
    """All M starts, in a new random order each epoch.

    With drop_last an epoch leaves out the end of its order, which is other starts each time.
    """

    name = "random_distinct"
    stream_version = 2

    def starts_at(self, draws: Starts) -> Starts:
        """Return the starts of these draws."""
        assert self.draws_per_order is not None
        order, place = np.divmod(draws, self.draws_per_order)
        total = self.lattice.total
        numbers = permute(place, total * self._copies(), self._keys(0, self._order_key(order)))
        return self.lattice.place(numbers % total)

    def _order_key(self, order: Starts) -> Starts | int:
        """Return what the order of an epoch depends on."""
        return order

    def _copies(self) -> int:
        """Return how often each start comes in an order."""
        return 1


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

    def _order_key(self, order: Starts) -> int:  # noqa: ARG002
        return 0


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

    def _copies(self) -> int:
        return self.shuffle_epochs


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
