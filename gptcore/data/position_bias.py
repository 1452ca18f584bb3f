"""Is the test part at the end of a text special? A profile over all positions, without a GPT.

A block as long as the test part moves over the text. Each block is scored by n-gram models of its
complement, the text before and after it, as if the block were the test part. The last block is the
tail. Legend: N tokens, blocks of L = N - ⌊f·N⌋ tokens.
"""

import itertools
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from gptcore.checks import check_whole
from gptcore.data.block_counts import Block, BlockCounts, Floats, Whole, in_parts
from gptcore.data.cleaning import authored_spans
from gptcore.data.corpora import Corpus
from gptcore.data.splits import Segment, tail_split
from gptcore.data.tokenizer import VOCAB_SIZE, count_bytes, encode, token_bytes
from gptcore.data.tokens import Ids, check_range
from gptcore.intervals import mean_interval

N_BLOCKS = 60
MOST_TOKENS = 2**28
NOTABLE_Z = 2.0  # beyond it the verdict calls the tail special; a convention, not a test
ROUNDING = 1e-12  # values this close are equal: they are sums of the same terms in another order

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Tail:
    """How the last block, the tail, compares with all blocks.

    Attributes:
        unigram: as in `Block`, and so are `bigram`, `js` and `unseen`.
        rank_unigram: 1 for the highest of all blocks; equal values share the better rank. The
            other ranks are defined alike.
        n_blocks: number of blocks, with the tail.
        mean_unigram: mean over the blocks, with the tail; `mean_bigram` likewise.
        sd_unigram: standard deviation over the blocks, with divisor `n_blocks` because the blocks
            are all there are and not a sample; `sd_bigram` likewise.
        z_unigram: (unigram - mean_unigram) / sd_unigram; None where all blocks are equal.
        z_bigram: the same for the bigram model.
        unigram_interval_95: `intervals.mean_interval` of `unigram`, with the model of the tail's
            complement held fixed; None for a short tail.
        bigram_interval_95: the same for the bigram model.
    """

    unigram: float
    bigram: float
    js: float
    unseen: float
    rank_unigram: int
    rank_bigram: int
    rank_js: int
    rank_unseen: int
    n_blocks: int
    mean_unigram: float
    mean_bigram: float
    sd_unigram: float
    sd_bigram: float
    z_unigram: float | None
    z_bigram: float | None
    unigram_interval_95: tuple[float, float] | None
    bigram_interval_95: tuple[float, float] | None

    @property
    def is_special(self) -> bool:
        """Whether `z_unigram` is above `NOTABLE_Z` or below -`NOTABLE_Z`."""
        return self.z_unigram is not None and abs(self.z_unigram) > NOTABLE_Z


@dataclass(frozen=True)
class Bias:
    """How special the tail of a text is.

    Attributes:
        n_tokens: N.
        boilerplate_tokens: tokens of the tail that are Project Gutenberg's header or licence. This
            and the next four are None where the text of the tokens is not known.
        boilerplate_tokens_of_text: such tokens in the whole text.
        boilerplate_share_of_test: boilerplate_tokens / tokens in the tail.
        boilerplate_explains: share of `tail.unigram - tail.mean_unigram` that disappears when the
            boilerplate is left out; it can be above 1 or below 0. None unless there is boilerplate
            and the tail is special.
        tail_without_boilerplate: the tail of the text without its boilerplate; None where there
            is no boilerplate.
        tail: the tail of the text as it is.
        profile: all blocks in order; the last one is the tail.
    """

    n_tokens: int
    boilerplate_tokens: int | None
    boilerplate_tokens_of_text: int | None
    boilerplate_share_of_test: float | None
    boilerplate_explains: float | None
    tail_without_boilerplate: Tail | None
    tail: Tail
    profile: tuple[Block, ...]

    @property
    def verdict(self) -> str:
        """The answer in one sentence."""
        tail, rest = self.tail, self.tail_without_boilerplate
        direction = "harder" if tail.unigram > tail.mean_unigram else "easier"
        kind = f"special, {direction} than most" if tail.is_special else "ordinary"
        sentence = f"The tail is {kind}: {_standing(tail)}"
        if rest is not None:
            share = f"{100 * (self.boilerplate_share_of_test or 0):.1f} %"
            sentence += (
                f"; {self.boilerplate_tokens or 0:,} of its tokens ({share}) are Project "
                "Gutenberg's header or licence"
            )
            if self.boilerplate_explains is not None:
                explained = 100 * min(max(self.boilerplate_explains, 0.0), 1.0)
                sentence += f", which explain {explained:.0f} % of the difference"
            sentence += f", and without them {_standing(rest)}"
        return f"{sentence}; blocks overlap, so this describes the text and is not a test."

    def as_dict(self) -> dict[str, Any]:
        """Return all values and the verdict under their JSON names."""
        return asdict(self) | {"verdict": self.verdict}


def measure_bias(
    source: Corpus | Sequence[int] | Ids,
    *,
    train_fraction: float = 0.9,
    n_test: int | None = None,
    vocab_size: int = VOCAB_SIZE,
) -> Bias:
    """Return how the tail of a text compares with all other blocks of its length.

    Args:
        source: a corpus, which is read as GPT-2's tokens; or tokens (N,) of any vocabulary, where
            the boilerplate is not known.
        train_fraction: f in (0, 1); the tail is the test part of `tail_split`.
        n_test: tokens of the tail, instead of `train_fraction`.
        vocab_size: number of ids; each token is in [0, vocab_size).

    Raises:
        ValueError: an argument is out of range, or the text is too short for N_BLOCKS blocks or
            has more than MOST_TOKENS.
    """
    boilerplate = None
    if isinstance(source, Corpus):
        ids = encode(source.text, np.uint16)
        boilerplate = boilerplate_mask(source.text, ids)
    else:
        ids = _in_few_bytes(source, vocab_size)
    at = _tail(len(ids), train_fraction, n_test)
    profile, tail = _profile(ids, at, vocab_size)
    rest = explains = None
    if boilerplate is not None and boilerplate.any():
        kept = ids[~boilerplate]
        _, rest = _profile(kept, _tail(len(kept), train_fraction, None), vocab_size)
        if tail.is_special:
            excess = tail.unigram - tail.mean_unigram
            explains = 1 - (rest.unigram - rest.mean_unigram) / excess
    in_tail = None if boilerplate is None else boilerplate[profile[-1].start :]
    return Bias(
        n_tokens=len(ids),
        boilerplate_tokens=None if in_tail is None else int(in_tail.sum()),
        boilerplate_tokens_of_text=None if boilerplate is None else int(boilerplate.sum()),
        boilerplate_share_of_test=None if in_tail is None else float(in_tail.mean()),
        boilerplate_explains=explains,
        tail_without_boilerplate=rest,
        tail=tail,
        profile=profile,
    )


def boilerplate_mask(text: str, ids: Whole) -> Mask:
    """Return whether each token of `text`, (N,), begins outside its `authored_spans`."""
    ends = [end for span in authored_spans(text) for end in span]
    ends_at = np.cumsum([count_bytes(text[a:b]) for a, b in itertools.pairwise([0, *ends])])
    # Count the tokens that begin before each end of a span.
    before, n_bytes = np.zeros(len(ends), dtype=np.int64), 0
    for part in in_parts(ids):
        lengths = token_bytes(part)
        stops = n_bytes + np.cumsum(lengths)
        before += np.searchsorted(stops - lengths, ends_at)
        n_bytes = int(stops[-1])
    is_boilerplate = np.ones(len(ids), dtype=np.bool_)
    for first, last in before.reshape(-1, 2):
        is_boilerplate[first:last] = False
    return is_boilerplate


def _tail(n_tokens: int, train_fraction: float, n_test: int | None) -> Segment:
    if n_test is None:
        return tail_split(n_tokens, train_fraction, block_size=1).test[0]
    return Segment(n_tokens - check_whole("n_test", n_test, at_most=n_tokens - 1), n_tokens)


def _in_few_bytes(ids: Sequence[int] | Ids, vocab_size: int) -> Whole:
    """Return checked ids in as little memory as they need."""
    if len(ids) > MOST_TOKENS:
        raise ValueError(
            f"the data have {len(ids):,} tokens, and position bias holds all of them in memory: "
            f"give at most {MOST_TOKENS:,}"
        )
    array = check_range(ids[:], vocab_size)  # in memory also where they lie in several files
    return array.astype(np.uint16 if vocab_size <= 2**16 else np.uint32)


def _profile(ids: Whole, tail: Segment, vocab_size: int) -> tuple[tuple[Block, ...], Tail]:
    """Measure N_BLOCKS blocks with evenly spaced starts from 0 to the tail, both included."""
    if tail.start < N_BLOCKS - 1:
        raise ValueError(
            f"the text has {len(ids)} tokens, {tail.start} of them before the tail: a profile of "
            f"{N_BLOCKS} blocks needs {N_BLOCKS - 1}; use a longer text or a larger train_fraction"
        )
    counts = BlockCounts(ids, vocab_size)
    starts = [i * tail.start // (N_BLOCKS - 1) for i in range(N_BLOCKS)]
    profile = tuple(counts.measure(start, start + len(tail))[0] for start in starts)
    _, *losses = counts.measure(tail.start, tail.stop)
    return profile, _place(profile, *map(mean_interval, losses))


def _place(
    profile: tuple[Block, ...],
    unigram_interval: tuple[float, float] | None,
    bigram_interval: tuple[float, float] | None,
) -> Tail:
    """Return how the last block compares with all blocks."""
    last = profile[-1]
    unigram, bigram, js, unseen = (
        np.array([getattr(block, name) for block in profile])
        for name in ("unigram", "bigram", "js", "unseen")
    )
    return Tail(
        unigram=last.unigram,
        bigram=last.bigram,
        js=last.js,
        unseen=last.unseen,
        rank_unigram=_rank_of_last(unigram),
        rank_bigram=_rank_of_last(bigram),
        rank_js=_rank_of_last(js),
        rank_unseen=_rank_of_last(unseen),
        n_blocks=len(profile),
        mean_unigram=float(unigram.mean()),
        mean_bigram=float(bigram.mean()),
        sd_unigram=float(unigram.std()),
        sd_bigram=float(bigram.std()),
        z_unigram=_z_of_last(unigram),
        z_bigram=_z_of_last(bigram),
        unigram_interval_95=unigram_interval,
        bigram_interval_95=bigram_interval,
    )


def _rank_of_last(values: Floats) -> int:
    """Return 1 + the number of values above the last."""
    return int((values > values[-1] + ROUNDING).sum()) + 1


def _z_of_last(values: Floats) -> float | None:
    """Return how many standard deviations the last value lies above the mean of all."""
    if np.ptp(values) <= ROUNDING:
        return None
    return float((values[-1] - values.mean()) / values.std())


def _standing(tail: Tail) -> str:
    """Return the rank of a tail among the blocks, in words."""
    if tail.z_unigram is None:
        return f"all {tail.n_blocks} blocks have a unigram cross-entropy of {tail.unigram:.3f} nats"
    return (
        f"its unigram cross-entropy of {tail.unigram:.3f} nats per token is rank "
        f"{tail.rank_unigram} of {tail.n_blocks} blocks (mean {tail.mean_unigram:.3f}, "
        f"sd {tail.sd_unigram:.3f}, z = {tail.z_unigram:+.1f})"
    )
