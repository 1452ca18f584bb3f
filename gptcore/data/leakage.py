"""What the train and the test part of a split share: a certificate, measured and not assumed."""

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

    A position is a place in the text. A part shows its segments or windows; the first token of
    each is input only, never a target.

    Attributes:
        shared_tokens: positions that both parts show.
        shared_targets: positions that are a target in both parts.
        fraction_of_test_targets_trained: of the targets scored in testing, the share that training
            had as targets; a target that several test windows score counts once for each.
        ngram: n, tokens in an n-gram.
        shared_ngrams: distinct n-grams of the test part that the train part has too, wherever.
        shared_ngrams_share: of the distinct n-grams of the test part; None where it has none.
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
        """Return the values under their JSON names, which hold n: `shared_13grams`."""
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
    """Count what train and test share, exactly, in some 60 bytes of memory for each token.

    Args:
        ids: (N,), the token stream.
        split: segments, in which all windows are shown; or the starts of the windows shown.
        block_size: T; a window covers T + 1 tokens.
        ngram: n; 13 is the length by which GPT-3's authors looked for test text in training text
            (arXiv:2005.14165, appendix C), there in words.

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
    """Return which tokens a part shows (N,), and how often each is a target (N,)."""
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
            f"{block_size + 1}; split this text with this block_size"
        )
    ends = np.bincount(stops, minlength=n_tokens + 1)
    depth, targets = (
        np.cumsum(np.bincount(first, minlength=n_tokens + 1) - ends)[:n_tokens]
        for first in (starts, starts + 1)
    )
    return depth > 0, targets


def _ngrams(ids: Ids, n: int, parts: tuple[Mask, ...]) -> list[Mask]:
    """Return for each part which distinct n-grams, by rank, lie wholly inside it."""
    ranks = _ngram_ranks(ids, n)
    found = []
    for shown in parts:
        before = np.concatenate([[0], np.cumsum(shown)])
        inside = before[n:] - before[: len(ranks)] == n
        present = np.zeros(len(ids), dtype=np.bool_)
        present[ranks[inside]] = True
        found.append(present)
    return found


def _ngram_ranks(ids: Ids, n: int) -> Ids:
    """Return for each start the rank of its n-gram among the distinct ones: (N - n + 1,) or (0,).

    By doubling, as in suffix sorting (Karp, Miller, Rosenberg 1972): an n-gram is known by the
    ranks of two shorter ones that together cover it.
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
