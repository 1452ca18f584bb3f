"""What every sampler has: an endless stream of window starts, each a function of (seed, index).

Legend: N tokens, windows of T inputs, batches of B draws. A start lies in [0, M - 1] with
M = N - T, and the targets of start s are the tokens s + 1, …, s + T. With several segments, M
counts the starts of all of them.
"""

import copy
import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np

from gptcore.checks import check_whole
from gptcore.data.splits import Segment
from gptcore.sampling.keyed import Words, make_keys
from gptcore.sampling.windows import (
    Pieces,
    StartGrid,
    Starts,
    WindowOptions,
    check_segments,
    whole_batches,
    whole_windows,
)

KEPT_DRAWS, AT_ONCE = 2**8, 2**14
"""Draws that are made for a small request and kept for the next one; draws of a large request that
are made at once, because more of them do not fit into the caches of a processor."""

MOST_TOLD = 1000
"""Segments that a fingerprint lists."""

# SeedSequence((seed, number)) joins 32-bit words. With larger seeds, two pairs can be one stream.
LARGEST_SEED = 2**32 - 1


class SamplerOptions(WindowOptions, total=False):
    """The options of a sampler, besides where its windows lie.

    Attributes:
        seed: a whole number, 0 or more (default 0).
        batch_size: B (default 1); it matters only with `drop_last`.
        drop_last: whether an epoch is cut to whole batches (default False).
        corpus_sha256: checksum of the text, for the fingerprint.
        stride: S of `overlapping_stride`, less than T (default T // 2).
        buffer: blocks that the buffer of `block_buffer_shuffle` holds (default 1024).
        shuffle_epochs: epochs that `shuffled_across_epochs` shuffles together (default 4).
    """

    seed: int
    batch_size: int
    drop_last: bool
    corpus_sha256: str | None
    stride: int | None
    buffer: int | None
    shuffle_epochs: int | None


class Sampler(ABC):
    """An endless stream of window starts.

    Attributes:
        name: the name in `SAMPLERS`.
        joins: whether a window may join several segments, so that its start does not tell it.
        stream_version: counts how often the stream of a seed has changed, from 1 on.
        segments: where the windows lie.
        n_tokens: N, tokens in the segments.
        block_size: T.
        seed: a whole number, 0 or more.
        batch_size: B.
        drop_last: whether epochs are cut to whole batches.
        all_starts: every token at which a window may start, whatever the sampler chooses.
        n_starts: M, how many these are; N where windows join segments.
        lattice: the starts that the sampler chooses from.
        draws_per_epoch: draws in each epoch; None without epochs, or where their length varies.
        targets_per_window: T, or T - 1 where labels are shifted inside the block.
    """

    name: ClassVar[str]
    joins: ClassVar[bool] = False
    stream_version: ClassVar[int] = 1
    _kept: tuple[int, Starts] | None = None

    def __init__(
        self,
        *,
        n_tokens: int | None = None,
        segments: Sequence[Segment] | None = None,
        block_size: int,
        seed: int = 0,
        batch_size: int = 1,
        drop_last: bool = False,
        corpus_sha256: str | None = None,
    ) -> None:
        self.segments = check_segments(
            n_tokens=n_tokens, segments=segments, block_size=block_size, joins=self.joins
        )
        self.stream_tokens = None if n_tokens is None else int(n_tokens)
        self.block_size = int(block_size)
        self.n_tokens = sum(map(len, self.segments))
        self.seed = check_whole("seed", seed, at_least=0, at_most=LARGEST_SEED)
        self.batch_size = check_whole("batch_size", batch_size)
        self.drop_last = bool(drop_last)
        self.corpus_sha256 = corpus_sha256
        self.all_starts = StartGrid(self.segments, 0 if self.joins else self.block_size)
        self.n_starts = self.all_starts.total
        self.lattice = StartGrid(self.segments, self.all_starts.block_size, self._stride())
        self.draws_per_epoch = self._count_epoch()

    def starts(self, first: int, count: int) -> Starts:
        """Return the starts of draws first, …, first + count - 1: int64 of shape (count,).

        Raises:
            ValueError: a number is out of range, or windows join segments; use `pieces` then.
        """
        first = check_whole("first draw", first, at_least=0)
        count = check_whole("count of draws", count)
        starts = np.empty(count, dtype=np.int64)  # fails at once where memory is not enough
        done = 0
        while done < count:
            part = self._some(first + done, count - done)
            starts[done : done + len(part)] = part
            done += len(part)
        return starts

    def pieces(self, first: int, count: int) -> Pieces:
        """Return what draws first, …, first + count - 1 show; every sampler can tell this."""
        return whole_windows(self.starts(first, count), self.block_size)

    @abstractmethod
    def starts_at(self, draws: Starts) -> Starts:
        """Return the starts of these draws, which increase: int64 of the same shape."""

    def pieces_at(self, draws: Starts) -> Pieces:
        """Return what these draws show, which increase; pieces number them from 0."""
        return whole_windows(self.starts_at(draws), self.block_size)

    def with_seed(self, seed: int) -> Self:
        """Return the same sampler with another seed."""
        other = copy.copy(self)
        other.seed = check_whole("seed", seed, at_least=0, at_most=LARGEST_SEED)
        other.draws_per_epoch = other._count_epoch()  # what the seed gives the whole stream, too
        other._kept = None
        return other

    def epoch(self, index: int) -> int | None:
        """Return the epoch that draw `index` belongs to, or None for a sampler without epochs."""
        index = check_whole("draw", index, at_least=0)
        return None if self.draws_per_epoch is None else index // self.draws_per_epoch

    @property
    def draws_per_order(self) -> int | None:
        """The draws after which a new random order begins: an epoch, or several."""
        return self.draws_per_epoch

    @property
    def targets_per_window(self) -> int:
        """The number of targets s + 1, … that a window with start s shows."""
        return self.block_size

    @property
    def n_targets(self) -> int:
        """The tokens that may be a target: all but the first of each segment.

        Where windows join segments, the first token of one follows another segment, and is one too.
        """
        return self.n_tokens - (0 if self.joins else len(self.segments))

    def fingerprint(self) -> dict[str, Any]:
        """Return what the stream of draws depends on, as JSON values."""
        return {
            "sampler": self.name,
            "corpus_sha256": self.corpus_sha256,
            "segments": tell_segments(self.segments),
            "block_size": self.block_size,
            "batch_size": self.batch_size,
            "drop_last": self.drop_last,
            "seed": self.seed,
            **({"stream_version": version} if (version := self.stream_version) > 1 else {}),
            **self._extras(),
        }

    def shard(self, rank: int, world: int, first: int = 0) -> "Sampler | Shard":
        """Return the draws of one of `world` ranks: first + rank, first + rank + world, ….

        To go on with any number of ranks, give the draw that `resume` returns as `first`.

        Raises:
            ValueError: `world` is not positive, or `rank` is outside [0, world).
        """
        shard = Shard(self, rank, world, first)
        return self if (shard.world, shard.first) == (1, 0) else shard

    def state(self, next_draw: int) -> dict[str, Any]:
        """Return what to save, as JSON values, so that a sampler can go on with `next_draw`."""
        return {
            "next_draw": check_whole("next_draw", next_draw, at_least=0),
            "fingerprint": self.fingerprint(),
        }

    def resume(self, state: Mapping[str, Any]) -> int:
        """Return the next draw of a state that this sampler or any shard of it saved.

        The batch size may be another one, except with `drop_last`, where epochs depend on it.

        Raises:
            ValueError: the state was saved for another stream of draws, or is not a state.
        """
        saved = state.get("fingerprint") if isinstance(state, Mapping) else None
        if not isinstance(saved, Mapping) or "next_draw" not in state:
            raise ValueError("this is not a sampler state: give what state(next_draw) returned")
        own = self.fingerprint()
        old = {"world": 1} | {"stream_version": 1} | dict(saved)
        new = {"world": 1} | {"stream_version": 1} | own
        if not self.drop_last and old.get("drop_last") is False:
            old["batch_size"] = self.batch_size
        for key in own | new | old:  # the name first
            if old.get(key) != new.get(key):
                raise ValueError(_refusal(key, old.get(key), new.get(key)))
        return check_whole("saved next_draw", state["next_draw"], at_least=0)

    def check_stream(self, length: int) -> None:
        """Refuse a stream of `length` tokens if this sampler was made for another stream.

        Raises:
            ValueError: the length is not n_tokens, or is less than the segments need.
        """
        needed = self.stream_tokens or self.segments[-1].stop
        if length < needed or (self.stream_tokens is not None and length != needed):
            raise ValueError(
                f"the stream has {length} tokens and the sampler is for {needed}: "
                "make the sampler for this stream"
            )

    def _stride(self) -> int:
        """Return the distance from one start of the lattice to the next."""
        return 1

    def _extras(self) -> dict[str, int]:
        """Return the parameters that only this sampler has."""
        return {}

    def _count_epoch(self) -> int | None:
        """Return the draws in an epoch: the whole lattice, or whole batches of it."""
        return whole_batches(self.lattice.total, self.batch_size, self.drop_last)

    def _rng(self, number: int) -> np.random.Generator:
        """Return the generator of the epoch or chunk with this number."""
        return np.random.default_rng(np.random.SeedSequence((self.seed, number)))

    def _rng_once(self, use: int = 0) -> np.random.Generator:
        """Return a generator for what the whole stream shares, independent of those of `_rng`."""
        return np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(use,)))

    def _keys(self, use: int, numbers: Starts | int) -> Words:
        """Return the keys of epochs with these numbers, (n,) or (1,); `use` tells them apart."""
        return make_keys(self.seed, use, np.atleast_1d(np.asarray(numbers, dtype=np.int64)))

    def _some(self, first: int, count: int) -> Starts:
        """Return the starts of the first ones of these draws."""
        if count >= KEPT_DRAWS:
            return self.starts_at(np.arange(first, first + min(count, AT_ONCE)))
        number, offset = divmod(first, KEPT_DRAWS)
        kept = self._kept
        if kept is None or kept[0] != number:
            begin = number * KEPT_DRAWS
            self._kept = kept = (number, self.starts_at(np.arange(begin, begin + KEPT_DRAWS)))
        return kept[1][offset : offset + count]


def tell_segments(segments: Sequence[Segment]) -> list[list[int]] | str:
    """Return segments as JSON values: start and stop of each; of many, the SHA-256 of these."""
    ends = [[part.start, part.stop] for part in segments]
    if len(ends) <= MOST_TOLD:
        return ends
    return (
        f"{len(ends)} segments, {hashlib.sha256(np.array(ends, dtype='<i8').tobytes()).hexdigest()}"
    )


class Shard:
    """The draws first + rank, first + rank + world, … of a sampler; its own are numbered from 0."""

    def __init__(self, source: Sampler, rank: int, world: int, first: int = 0) -> None:
        self.source = source
        self.world = check_whole("world", world)
        self.rank = check_whole("rank", rank, at_least=0, at_most=self.world - 1)
        self.first = check_whole("first draw", first, at_least=0)

    def starts(self, first: int, count: int) -> Starts:
        """Return the starts of this shard's draws first, …, first + count - 1."""
        return self.source.starts_at(self._draws(first, count))

    def pieces(self, first: int, count: int) -> Pieces:
        """Return what this shard's draws first, …, first + count - 1 show."""
        return self.source.pieces_at(self._draws(first, count))

    def _draws(self, first: int, count: int) -> Starts:
        """Return the numbers that draws of this shard have in the whole stream."""
        first = check_whole("first draw", first, at_least=0)
        count = check_whole("count of draws", count)
        return self.first + self.rank + self.world * np.arange(first, first + count)

    @property
    def block_size(self) -> int:
        """T."""
        return self.source.block_size

    @property
    def joins(self) -> bool:
        """Whether a window may join several segments."""
        return self.source.joins

    def state(self, next_draw: int) -> dict[str, Any]:
        """Return what to save once every rank has made its draws below `next_draw`.

        All ranks return the same: the next draw of the whole stream. `Sampler.resume` reads it.
        """
        next_draw = check_whole("next_draw", next_draw, at_least=0)
        return self.source.state(self.first + next_draw * self.world)

    def check_stream(self, length: int) -> None:
        """Refuse a stream of `length` tokens if the sampler was made for another stream."""
        self.source.check_stream(length)


def _refusal(key: str, saved: object, own: object) -> str:
    """Return why a state is refused, one of whose facts is another."""
    if key == "world":
        return (
            f"the state was saved on {saved} ranks by an older version, which counted the draws of "
            "one rank: go on with that version, or begin a new run"
        )
    if key == "stream_version":
        return (
            f"the state is of version {saved} of this sampler and this is version {own}, which "
            "draws in another order: go on with the gptcore that began the run, or begin a new run"
        )
    return (
        f"the saved {key} is {saved!r} and the sampler's is {own!r}: resume with the settings of "
        "the first run"
    )
