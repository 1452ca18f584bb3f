"""Train and test parts of a token stream: tokens are split first, windows are drawn afterwards.

`random_windows` makes the windows first and splits them afterwards. It is a negative control: its
parts share targets.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np

from gptcore.checks import check_fraction, check_whole
from gptcore.data.tokens import Ids


@dataclass(frozen=True)
class Segment:
    """The tokens start, start + 1, …, stop - 1."""

    start: int
    stop: int

    def __post_init__(self) -> None:
        start = check_whole("segment start", self.start, at_least=0)
        stop = check_whole("segment stop", self.stop, at_least=start + 1)
        object.__setattr__(self, "start", start)
        object.__setattr__(self, "stop", stop)

    def __len__(self) -> int:
        return self.stop - self.start


@dataclass(frozen=True)
class Split:
    """The segments to train on and those to test on, each in order and disjoint."""

    train: tuple[Segment, ...]
    test: tuple[Segment, ...]


@dataclass(frozen=True, eq=False)
class WindowSplit:
    """The starts of the windows to train on and to test on: int64, increasing."""

    train: Ids
    test: Ids


def make_split(
    spec: str, n_tokens: int, train_fraction: float = 0.9, *, embargo: int = 0, block_size: int
) -> Split:
    """Return the split that `spec` names.

    Args:
        spec: a name in `SPLITS`; "block:K/N", the K-th of N equal blocks, K from 1, where
            `train_fraction` does not matter; or "interleaved:N", N small test blocks.
        n_tokens: N, tokens in the stream.
        train_fraction: f in (0, 1); ⌊f·N⌋ tokens are for training. f is the decimal number as
            written, and not the binary number closest to it.
        embargo: tokens on each side of a test block that neither part uses; they are taken from
            the training part.
        block_size: T; each segment must hold one window, T + 1 tokens.

    Raises:
        ValueError: there is no such split, an argument is out of range, or a segment is too short.
    """
    if spec in SPLITS:
        return SPLITS[spec](n_tokens, train_fraction, embargo=embargo, block_size=block_size)
    if match := re.fullmatch(r"block:([0-9]{1,9})/([0-9]{1,9})", spec):
        check_fraction("train_fraction", train_fraction)
        k, n_blocks = int(match[1]), int(match[2])
        return block_split(n_tokens, k, n_blocks, embargo=embargo, block_size=block_size)
    if match := re.fullmatch(r"interleaved:([0-9]{1,9})", spec):
        return interleaved_split(
            n_tokens, train_fraction, n_blocks=int(match[1]), embargo=embargo, block_size=block_size
        )
    raise ValueError(
        f"split is {spec!r}: give {', '.join(SPLITS)}, block:K/N (as in block:10/10) or "
        "interleaved:N (as in interleaved:8)"
    )


def tail_split(
    n_tokens: int, train_fraction: float = 0.9, *, embargo: int = 0, block_size: int
) -> Split:
    """Return the split that trains on the first ⌊f·N⌋ tokens and tests on the rest.

    Arguments and errors are those of `make_split`, here and in the next functions.
    """
    boundary = _boundary(n_tokens, train_fraction)
    return _hold_out(n_tokens, [(boundary, n_tokens)], embargo, block_size)


def head_split(
    n_tokens: int, train_fraction: float = 0.9, *, embargo: int = 0, block_size: int
) -> Split:
    """Return the split that tests on the beginning and trains on the last ⌊f·N⌋ tokens."""
    n_test = n_tokens - _boundary(n_tokens, train_fraction)
    return _hold_out(n_tokens, [(0, n_test)], embargo, block_size)


def middle_split(
    n_tokens: int, train_fraction: float = 0.9, *, embargo: int = 0, block_size: int
) -> Split:
    """Return the split that tests on the middle and trains on what surrounds it.

    With b = ⌊f·N⌋, ⌊b/2⌋ training tokens come before the test block and b - ⌊b/2⌋ after it, each
    less an embargo.
    """
    boundary = _boundary(n_tokens, train_fraction)
    start = boundary // 2
    return _hold_out(n_tokens, [(start, start + n_tokens - boundary)], embargo, block_size)


def block_split(
    n_tokens: int, k: int, n_blocks: int, *, embargo: int = 0, block_size: int
) -> Split:
    """Return the split that tests on the `k`-th of `n_blocks` blocks and trains on the others.

    Block k, from 1, is the tokens ⌊(k - 1)·N/n⌋, …, ⌊k·N/n⌋ - 1. The lengths of blocks differ by
    one at most, and the last of 10 blocks is the tail for a train fraction of 0.9.

    Raises:
        ValueError: n_blocks is less than 2, k is not in [1, n_blocks], or as in `make_split`.
    """
    n_tokens = check_whole("n_tokens", n_tokens)
    n_blocks = check_whole("number of blocks", n_blocks, at_least=2)
    k = check_whole("block", k, at_most=n_blocks)
    block = ((k - 1) * n_tokens // n_blocks, k * n_tokens // n_blocks)
    return _hold_out(n_tokens, [block], embargo, block_size)


def blocked_kfold(
    n_tokens: int, n_folds: int, *, embargo: int = 0, block_size: int
) -> tuple[Split, ...]:
    """Return the `n_folds` splits of `block_split`, whose test blocks together cover the stream."""
    n_folds = check_whole("number of folds", n_folds, at_least=2)
    return tuple(
        block_split(n_tokens, k, n_folds, embargo=embargo, block_size=block_size)
        for k in range(1, n_folds + 1)
    )


def interleaved_split(
    n_tokens: int,
    train_fraction: float = 0.9,
    *,
    n_blocks: int,
    embargo: int = 0,
    block_size: int,
) -> Split:
    """Return the split whose parts alternate: train, test, train, test, ….

    The ⌊f·N⌋ training tokens and the test tokens are each cut into `n_blocks` pieces whose lengths
    differ by one at most. One piece gives the tail.
    """
    boundary = _boundary(n_tokens, train_fraction)
    n_blocks = check_whole("number of blocks", n_blocks)
    if n_blocks > n_tokens:
        raise ValueError(f"number of blocks is {n_blocks}: give at most the {n_tokens} tokens")
    trained = [boundary * i // n_blocks for i in range(n_blocks + 1)]
    tested = [(n_tokens - boundary) * i // n_blocks for i in range(n_blocks + 1)]
    blocks = [(trained[i + 1] + tested[i], trained[i + 1] + tested[i + 1]) for i in range(n_blocks)]
    return _hold_out(n_tokens, blocks, embargo, block_size)


def random_windows(
    n_tokens: int, train_fraction: float = 0.9, *, block_size: int, stride: int, seed: int = 0
) -> WindowSplit:
    """Return windows at 0, S, 2S, …, assigned to train and test part at random.

    With S <= T neighbouring windows overlap, so the parts share targets. This is a negative
    control, on which nobody should evaluate a model. Of W windows ⌊f·W⌋ are for training.

    Args:
        n_tokens: N, tokens in the stream.
        train_fraction: f in (0, 1).
        block_size: T; a window covers T + 1 tokens.
        stride: S, tokens from one start to the next.
        seed: seed of the assignment.

    Raises:
        ValueError: an argument is out of range, or one part has no window.
    """
    n_tokens = check_whole("n_tokens", n_tokens)
    block_size = check_whole("block_size", block_size)
    starts = np.arange(0, n_tokens - block_size, check_whole("stride", stride), dtype=np.int64)
    n_train = int(check_fraction("train_fraction", train_fraction) * len(starts))
    if not 0 < n_train < len(starts):
        raise ValueError(
            f"{n_tokens} tokens have {len(starts)} windows, {n_train} of them to train on: use a "
            "longer text or shorter windows, or divide the windows in another way"
        )
    generator = np.random.default_rng(check_whole("seed", seed, at_least=0))
    order = generator.permutation(starts)
    return WindowSplit(np.sort(order[:n_train]), np.sort(order[n_train:]))


def _boundary(n_tokens: int, train_fraction: float) -> int:
    """Return ⌊f·N⌋, the number of tokens to train on before any embargo."""
    n_tokens = check_whole("n_tokens", n_tokens)
    return int(check_fraction("train_fraction", train_fraction) * n_tokens)


def _hold_out(
    n_tokens: int, blocks: Sequence[tuple[int, int]], embargo: int, block_size: int
) -> Split:
    """Return the split that tests on `blocks`, in order, and trains on what lies between them."""
    block_size = check_whole("block_size", block_size)
    embargo = check_whole("embargo", embargo, at_least=0)
    edges = [0, *chain.from_iterable(blocks), n_tokens]
    train = []
    for start, stop in zip(edges[::2], edges[1::2], strict=True):
        if start == stop:  # a test block at an end of the stream
            continue
        first, last = start + embargo * (start > 0), stop - embargo * (stop < n_tokens)
        if embargo and first >= last:
            raise ValueError(
                f"embargo is {embargo} tokens and leaves nothing of a training part of "
                f"{stop - start}: lower it"
            )
        train.append((first, last))
    for part, spans in ("train", train), ("test", blocks):
        length = min((stop - start for start, stop in spans), default=0)
        if length <= block_size:
            subject = f"a {part} segment" if len(spans) > 1 else f"the {part} part"
            raise ValueError(
                f"{subject} has {length} tokens and one window needs {block_size + 1}: use a "
                "longer text or shorter windows, or divide the text in another way"
            )
    return Split(tuple(Segment(*span) for span in train), tuple(Segment(*span) for span in blocks))


# To add a split, write a function of n_tokens, and add a line here.
SPLITS: dict[str, Callable[..., Split]] = {
    "tail": tail_split,
    "head": head_split,
    "middle": middle_split,
}
