"""What the train and the test part of a split share: positions, targets and n-grams, counted."""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import numpy.typing as npt

from gptcore.checks import LARGEST, check_whole
from gptcore.data.chain import in_files
from gptcore.data.splits import Segment, Split, WindowSplit
from gptcore.data.tokens import Ids, check_range

Hashes = npt.NDArray[np.uint64]

AT_ONCE = 2**20
"""N-grams that are hashed at once."""
MOST_NGRAMS = 2**21
"""About so many n-grams of the test part are held at once; more are counted in several rounds."""


@dataclass(frozen=True)
class Leakage:
    """What a test part shares with its train part.

    A position is a place in the text. A part shows its segments or windows. The first token of
    each segment or window is an input only, and never a target.

    Attributes:
        shared_tokens: positions that both parts show.
        shared_targets: positions that are a target in both parts.
        fraction_of_test_targets_trained: of the targets scored in testing, the share that were
            also targets in training. A target in several test windows counts once for each.
        ngram: n, tokens in an n-gram.
        shared_ngrams: distinct n-grams of the test part that occur anywhere in the train part.
        shared_ngrams_share: shared_ngrams / n_test_ngrams; None where the test part has none.
        n_test_tokens: positions that the test part shows.
        n_test_targets: targets scored in testing.
        n_test_ngrams: distinct n-grams of the test part.
    """

    shared_tokens: int
    shared_targets: int
    fraction_of_test_targets_trained: float
    ngram: int
    shared_ngrams: int
    shared_ngrams_share: float | None
    n_test_tokens: int
    n_test_targets: int
    n_test_ngrams: int

    def as_dict(self) -> dict[str, float | None]:
        """Return the values under their JSON names, which contain n, as in `shared_13grams`."""
        name = f"{self.ngram}grams"
        return {
            "ngram": self.ngram,
            "shared_tokens": self.shared_tokens,
            "shared_targets": self.shared_targets,
            f"shared_{name}": self.shared_ngrams,
            f"shared_{name}_share": self.shared_ngrams_share,
            "fraction_of_test_targets_trained": self.fraction_of_test_targets_trained,
            "n_test_tokens": self.n_test_tokens,
            "n_test_targets": self.n_test_targets,
            f"n_test_{name}": self.n_test_ngrams,
        }


@dataclass(frozen=True, eq=False)
class Spans:
    """Pieces of the text, each the positions start, …, stop - 1; int64 of shape (P,)."""

    start: Ids
    stop: Ids

    def count(self) -> int:
        """Return the number of positions, of each piece anew."""
        return int((self.stop - self.start).sum())

    def union(self) -> "Spans":
        """Return the same positions as pieces in order that do not touch each other."""
        order = np.argsort(self.start, kind="stable")
        start, reach = self.start[order], np.maximum.accumulate(self.stop[order])
        apart = start[1:] > reach[:-1]
        return Spans(start[np.append(True, apart)], reach[np.append(apart, True)])

    def count_shared(self, union: "Spans") -> int:
        """Return the number of positions, of each piece anew, that a union holds as well."""
        before = np.concatenate([[0], np.cumsum(union.stop - union.start)])

        def held_before(position: Ids) -> Ids:
            piece = np.searchsorted(union.start, position, side="right")
            missing = (union.stop[piece - 1] - position).clip(0)
            return np.where(piece > 0, before[piece] - missing, 0)

        return int((held_before(self.stop) - held_before(self.start)).sum())


def default_ngram(vocab_size: int) -> int:
    """Return the n of n-grams that are about as long, in bytes, as 13 tokens of GPT-2.

    Shorter ones occur in any two texts of a language: of the 13-grams of characters in the last
    tenth of three novels, 7 to 14 % occur before it. A token of byte-pair encoding with V ids is
    about 1 + 2.8 · √((log₂ V - 8) / 7.6) bytes of English long: 1 for 256 ids or fewer, 2.4 for
    1,024 and 3.8 for GPT-2's 50,257. Decision 45 has the texts that this was measured on.
    """
    bits = math.log2(max(256, check_whole("vocab_size", vocab_size, at_most=LARGEST)))
    token_bytes = 1 + 2.8 * math.sqrt((bits - 8) / (math.log2(50_257) - 8))
    return max(13, round(13 * 3.8 / token_bytes))


def certificate(
    ids: Sequence[int] | npt.NDArray[np.integer],
    split: Split | WindowSplit,
    *,
    block_size: int,
    ngram: int = 13,
    joins: bool = False,
    progress: Callable[[float, float], None] | None = None,
) -> Leakage:
    """Count exactly what train and test part share, with little memory beside the tokens.

    Args:
        ids: (N,), the token stream.
        split: segments, all of whose windows are shown; or the starts of the windows shown.
        block_size: T; a window covers T + 1 tokens.
        ngram: n. The authors of GPT-3 looked for test text in training text by n-grams of 13
            words (arXiv:2005.14165, appendix C). `default_ngram` gives a length for any vocabulary.
        joins: whether windows to train on may join segments, which may then be short, and whose
            first tokens are then targets.
        progress: called with the tokens read and those to read, in millions.

    Raises:
        ValueError: a segment or window is shorter than T + 1 tokens or outside the stream, or an
            argument is not a positive whole number.
    """
    ids = cast("Ids", ids) if in_files(ids) else check_range(ids, np.iinfo(np.int64).max)
    block_size, ngram = check_whole("block_size", block_size), check_whole("ngram", ngram)
    train = _shown(split.train, len(ids), block_size, joins=joins)
    test = _shown(split.test, len(ids), block_size)
    trained = Spans(train.start + (0 if joins else 1), train.stop)  # the targets
    tested = Spans(test.start + 1, test.stop)
    train, test_tokens, trained = train.union(), test.union(), trained.union()
    n_targets = tested.count()
    n_ngrams, shared_ngrams = _count_ngrams(ids, ngram, train, test_tokens, progress)
    return Leakage(
        shared_tokens=test_tokens.count_shared(train),
        shared_targets=tested.union().count_shared(trained),
        fraction_of_test_targets_trained=tested.count_shared(trained) / n_targets,
        ngram=ngram,
        shared_ngrams=shared_ngrams,
        shared_ngrams_share=shared_ngrams / n_ngrams if n_ngrams else None,
        n_test_tokens=test_tokens.count(),
        n_test_targets=n_targets,
        n_test_ngrams=n_ngrams,
    )


def _shown(
    part: tuple[Segment, ...] | Ids, n_tokens: int, block_size: int, *, joins: bool = False
) -> Spans:
    """Return the tokens that a part shows, piece by piece."""
    if isinstance(part, np.ndarray):
        starts, stops = part, part + block_size + 1
    else:
        starts = np.array([segment.start for segment in part], dtype=np.int64)
        stops = np.array([segment.stop for segment in part], dtype=np.int64)
    if not len(starts):
        raise ValueError("a part of the split is empty: give at least one segment or window")
    least = 1 if joins else block_size + 1
    if starts.min() < 0 or stops.max() > n_tokens or (stops - starts).min() < least:
        raise ValueError(
            f"the split has tokens {starts.min()} to {stops.max() - 1} in pieces of at least "
            f"{(stops - starts).min()}: the text has {n_tokens} tokens and a window needs "
            f"{block_size + 1}; split this text for windows of that length"
        )
    return Spans(starts, stops)


class _CollisionError(Exception):
    """Two n-grams differ and have one hash."""


def _count_ngrams(
    ids: npt.NDArray[np.integer],
    n: int,
    train: Spans,
    test: Spans,
    progress: Callable[[float, float], None] | None,
) -> tuple[int, int]:
    """Return the distinct n-grams inside the test part, and those that the train part holds too.

    N-grams are looked up by hashes of 64 bits. All that have equal hashes are compared token by
    token; where two differ, everything is counted again with other hashes.
    """
    for seed in itertools.count():
        ngrams = _Ngrams(ids, n, seed, 1 + test.count() // MOST_NGRAMS, progress)
        try:
            counts = [ngrams.count(train, test, step) for step in range(ngrams.rounds)]
        except _CollisionError:
            continue
        break
    return sum(n for n, _ in counts), sum(n for _, n in counts)


@dataclass(frozen=True)
class _Ngrams:
    """The n-grams of a text by their hashes, divided into `rounds` by the hash."""

    ids: npt.NDArray[np.integer]
    n: int
    seed: int
    rounds: int
    progress: Callable[[float, float], None] | None = None

    def count(self, train: Spans, test: Spans, step: int) -> tuple[int, int]:
        """Count as `_count_ngrams` does, in one round."""
        parts = [self._distinct(*part) for part in self._inside(test, step)]
        if not sum(len(hashes) for hashes, _ in parts):
            return 0, 0
        hashes, place = self._distinct(*map(np.concatenate, zip(*parts, strict=True)))
        shared = np.zeros(len(hashes), dtype=np.bool_)
        n_ngrams = max(1, len(self.ids) - self.n + 1)
        for trained, at in self._inside(train, step):
            if self.progress:
                done = step * n_ngrams + int(at[-1]) + 1 if len(at) else step * n_ngrams
                self.progress(done / 1e6, self.rounds * n_ngrams / 1e6)
            index = np.minimum(np.searchsorted(hashes, trained), len(hashes) - 1)
            new = (hashes[index] == trained) & ~shared[index]
            self._check_equal(at[new], place[index[new]])
            shared[index[new]] = True
        return len(hashes), int(np.count_nonzero(shared))

    def _inside(self, union: Spans, step: int) -> Iterator[tuple[Hashes, Ids]]:
        """Yield hash and first position of the n-grams of a round that lie inside a union."""
        n_ngrams = len(self.ids) - self.n + 1
        for first in range(0, n_ngrams, AT_ONCE):
            place = np.arange(first, min(first + AT_ONCE, n_ngrams))
            piece = np.searchsorted(union.start, place, side="right") - 1
            place = place[(piece >= 0) & (union.stop[piece] - place >= self.n)]
            if len(place):
                hashes = self._hash(self.ids[place[0] : place[-1] + self.n])[place - place[0]]
                chosen = hashes % np.uint64(self.rounds) == step
                yield hashes[chosen], place[chosen]

    def _hash(self, ids: npt.NDArray[np.integer]) -> Hashes:
        """Return the hash of each n-gram, made from those of two shorter ones that cover it."""
        low, high = np.random.default_rng(self.seed).integers(2**63, size=2, dtype=np.uint64) | 1
        hashes: Hashes = ids.astype(np.uint64) * high
        length = 1
        while length < self.n:
            step = min(length, self.n - length)
            hashes ^= hashes >> np.uint64(32)
            hashes = hashes[:-step] * low + hashes[step:] * high
            length += step
        return hashes

    def _distinct(self, hashes: Hashes, place: Ids) -> tuple[Hashes, Ids]:
        """Return the distinct hashes in order, and where an n-gram of each begins."""
        order = np.argsort(hashes, kind="stable")
        hashes, place = hashes[order], place[order]
        again = hashes[1:] == hashes[:-1]
        self._check_equal(place[1:][again], place[:-1][again])
        first = np.append(True, ~again)[: len(hashes)]
        return hashes[first], place[first]

    def _check_equal(self, place: Ids, other: Ids) -> None:
        """Raise _CollisionError unless the n-grams that begin at both places are equal."""
        for offset in range(self.n):
            if (self.ids[place + offset] != self.ids[other + offset]).any():
                raise _CollisionError
