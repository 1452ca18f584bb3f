"""What the train and the test part of a split share: positions, targets and n-grams, counted."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gptcore.checks import check_whole
from gptcore.data.splits import Segment, Split, WindowSplit
from gptcore.data.tokens import Ids, check_ids

Mask = npt.NDArray[np.bool_]


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
            "shared_tokens": self.shared_tokens,
            "shared_targets": self.shared_targets,
            f"shared_{name}": self.shared_ngrams,
            f"shared_{name}_share": self.shared_ngrams_share,
            "fraction_of_test_targets_trained": self.fraction_of_test_targets_trained,
            "n_test_tokens": self.n_test_tokens,
            "n_test_targets": self.n_test_targets,
            f"n_test_{name}": self.n_test_ngrams,
        }


def certificate(
    ids: Sequence[int] | Ids, split: Split | WindowSplit, *, block_size: int, ngram: int = 13
) -> Leakage:
    """Count exactly what train and test part share, with about 60 bytes of memory per token.

    Args:
        ids: (N,), the token stream.
        split: segments, all of whose windows are shown; or the starts of the windows shown.
        block_size: T; a window covers T + 1 tokens.
        ngram: n. The authors of GPT-3 looked for test text in training text by n-grams of 13
            words (arXiv:2005.14165, appendix C).

    Raises:
        ValueError: a segment or window is shorter than T + 1 tokens or outside the stream, or an
            argument is not a positive whole number.
    """
    ids = check_ids(ids, np.iinfo(np.int64).max)
    block_size, ngram = check_whole("block_size", block_size), check_whole("ngram", ngram)
    train, train_targets = _shown(split.train, len(ids), block_size)
    test, test_targets = _shown(split.test, len(ids), block_size)
    trained = train_targets > 0
    in_train, in_test = _ngrams(ids, ngram, (train, test))
    n_targets, n_ngrams = int(test_targets.sum()), int(in_test.sum())
    shared_ngrams = int((in_train & in_test).sum())
    return Leakage(
        shared_tokens=int((train & test).sum()),
        shared_targets=int((trained & (test_targets > 0)).sum()),
        fraction_of_test_targets_trained=int(test_targets[trained].sum()) / n_targets,
        ngram=ngram,
        shared_ngrams=shared_ngrams,
        shared_ngrams_share=shared_ngrams / n_ngrams if n_ngrams else None,
        n_test_tokens=int(test.sum()),
        n_test_targets=n_targets,
        n_test_ngrams=n_ngrams,
    )


def _shown(part: tuple[Segment, ...] | Ids, n_tokens: int, block_size: int) -> tuple[Mask, Ids]:
    """Return whether a part shows each token, (N,), and how often the token is a target, (N,)."""
    if isinstance(part, np.ndarray):
        starts, stops = part, part + block_size + 1
    else:
        starts = np.array([segment.start for segment in part], dtype=np.int64)
        stops = np.array([segment.stop for segment in part], dtype=np.int64)
    if not len(starts):
        raise ValueError("a part of the split is empty: give at least one segment or window")
    if starts.min() < 0 or stops.max() > n_tokens or (stops - starts).min() <= block_size:
        raise ValueError(
            f"the split has tokens {starts.min()} to {stops.max() - 1} in pieces of at least "
            f"{(stops - starts).min()}: the text has {n_tokens} tokens and a window needs "
            f"{block_size + 1}; split this text for windows of that length"
        )
    # +1 where a piece begins and -1 where it ends: the running sum is how many pieces hold a token.
    ends = np.bincount(stops, minlength=n_tokens + 1)
    depth, targets = (
        np.cumsum(np.bincount(first, minlength=n_tokens + 1) - ends)[:n_tokens]
        for first in (starts, starts + 1)
    )
    return depth > 0, targets


def _ngrams(ids: Ids, n: int, parts: tuple[Mask, ...]) -> list[Mask]:
    """Return, for each part, whether each distinct n-gram lies wholly inside it, by rank."""
    ranks = _ngram_ranks(ids, n)
    in_parts = []
    for shown in parts:
        before = np.concatenate([[0], np.cumsum(shown)])  # tokens shown before each position
        inside = before[n:] - before[: len(ranks)] == n
        present = np.zeros(len(ids), dtype=np.bool_)
        present[ranks[inside]] = True
        in_parts.append(present)
    return in_parts


def _ngram_ranks(ids: Ids, n: int) -> Ids:
    """Return for each start the rank of its n-gram among the distinct ones: (N - n + 1,) or (0,).

    This is the doubling of suffix sorting (Karp, Miller, Rosenberg 1972): the ranks of two shorter
    n-grams that together cover an n-gram identify it.
    """
    if len(ids) < n:
        return ids[:0]
    ranks = np.unique(ids, return_inverse=True)[1]
    length = 1
    while length < n:
        step = min(length, n - length)
        pairs = ranks[:-step] * (int(ranks.max()) + 1) + ranks[step:]
        ranks = np.unique(pairs, return_inverse=True)[1]
        length += step
    return ranks
