"""A block of a text under n-gram models of all that surrounds it.

Legend: N tokens in the text.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy

from gptcore.data.tokenizer import VOCAB_SIZE
from gptcore.data.tokens import Ids

ADDED = 0.1  # is added to the unigram count of each id of the vocabulary
MU = 50.0  # weight of the unigram model in the Dirichlet prior of the bigram model, in tokens
AT_ONCE = 2**20  # tokens of the text that are counted at once

Floats = npt.NDArray[np.float64]
Whole = npt.NDArray[np.integer]


@dataclass(frozen=True)
class Block:
    """The tokens start … stop - 1 as the test part of the text.

    Attributes:
        start: first token.
        stop: one past the last token.
        unigram: mean cross-entropy of the block's tokens under the unigram model of the
            complement, in nats.
        bigram: mean cross-entropy under the bigram model, of all tokens but the first, in nats.
        js: Jensen-Shannon divergence of the token frequencies of block and complement, in nats.
        unseen: share of the block's tokens that do not occur in the complement.
    """

    start: int
    stop: int
    unigram: float
    bigram: float
    js: float
    unseen: float


class BlockCounts:
    """Unigram and bigram counts of a text; subtracting a block's gives those of its complement."""

    def __init__(self, ids: Whole, vocab_size: int = VOCAB_SIZE) -> None:
        self.vocab_size = vocab_size
        types = np.unique(np.concatenate([np.unique(part) for part in in_parts(ids)]))
        few = len(types) <= 2**16
        self.words: Whole = np.empty(len(ids), dtype=np.uint16 if few else np.uint32)
        for part, words in zip(in_parts(ids), in_parts(self.words), strict=True):
            words[:] = np.searchsorted(types, part)  # rank of each id, (N,)
        self.word_counts = count(self.words, len(types))
        self.context_counts = count(self.words[:-1], len(types))
        # The rank of each bigram, (N - 1,).
        self.pairs: Whole = self.words[:-1].astype(np.uint32 if few else np.uint64)
        self.pairs *= self.pairs.dtype.type(len(types))
        self.pairs += self.words[1:]
        distinct = np.unique(np.concatenate([np.unique(part) for part in in_parts(self.pairs)]))
        for part in in_parts(self.pairs):
            part[:] = np.searchsorted(distinct, part)
        self.pair_counts = count(self.pairs, len(distinct)).astype(np.uint32)

    def measure(self, start: int, stop: int) -> tuple[Block, Floats, Floats]:
        """Return a block, and the losses of its tokens under the unigram and the bigram model."""
        words, pairs = self.words[start:stop], self.pairs[start : stop - 1]
        # The unigram model of the complement, with ADDED counts.
        inside = count(words, len(self.word_counts))
        outside = self.word_counts - inside
        n_outside = len(self.words) - len(words)
        p_unigram = (outside + ADDED) / (n_outside + ADDED * self.vocab_size)

        # The bigram model of the complement: no bigram with a token of the block counts.
        touching = slice(max(start - 1, 0), stop)
        pairs_inside = count(self.pairs[touching], len(self.pair_counts))
        contexts = self.context_counts - count(self.words[:-1][touching], len(self.word_counts))
        p_bigram = MU * p_unigram[words[1:]]
        p_bigram += self.pair_counts[pairs] - pairs_inside[pairs]
        p_bigram /= contexts[words[:-1]] + MU

        unigram, bigram = -np.log(p_unigram)[words], -np.log(p_bigram)
        block = Block(
            start=start,
            stop=stop,
            unigram=float(unigram.mean()),
            bigram=float(bigram.mean()),
            js=_jensen_shannon(inside / len(words), outside / n_outside),
            unseen=float((outside[words] == 0).mean()),
        )
        return block, unigram, bigram


def count(ranks: Whole, size: int) -> Ids:
    """Return how often each of the ranks 0, …, size - 1 occurs."""
    counts = np.zeros(size, dtype=np.int64)
    for part in in_parts(ranks):  # because bincount copies what it counts to int64
        counts += np.bincount(part, minlength=size)
    return counts


def in_parts(values: Whole) -> Iterator[Whole]:
    """Yield the values in parts of AT_ONCE, as views."""
    return (values[first : first + AT_ONCE] for first in range(0, len(values), AT_ONCE))


def _jensen_shannon(p: Floats, q: Floats) -> float:
    """Return the entropy of the mean of two distributions less the mean of their entropies."""
    entr = scipy.special.entr
    return float(entr((p + q) / 2).sum() - (entr(p).sum() + entr(q).sum()) / 2)
