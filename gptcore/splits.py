"""Train and test segments of a token stream: tokens are split first, windows drawn afterwards."""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

from gptcore.tokens import check_whole


@dataclass(frozen=True)
class Segment:
    """The tokens start, start + 1, …, stop - 1."""

    start: int
    stop: int

    def __post_init__(self) -> None:
        check_whole("segment start", self.start, at_least=0)
        check_whole("segment stop", self.stop, at_least=self.start + 1)

    def __len__(self) -> int:
        return self.stop - self.start


@dataclass(frozen=True)
class Split:
    """The segments to train on and those to test on, each in order and disjoint."""

    train: tuple[Segment, ...]
    test: tuple[Segment, ...]


def tail_split(
    n_tokens: int, train_fraction: float = 0.9, *, embargo: int = 0, block_size: int
) -> Split:
    """Return the split that tests on the end of the stream.

    Args:
        n_tokens: N, tokens in the stream.
        train_fraction: f in (0, 1); the first ⌊f·N⌋ tokens are for training, where f is the
            decimal number as written, not its binary neighbour.
        embargo: tokens at the end of the training part that nobody uses.
        block_size: T; each part must hold one window, T + 1 tokens.

    Raises:
        ValueError: an argument is out of range, or a part is shorter than T + 1.
    """
    n_tokens = check_whole("n_tokens", n_tokens)
    block_size = check_whole("block_size", block_size)
    embargo = check_whole("embargo", embargo, at_least=0)
    boundary = int(check_fraction("train_fraction", train_fraction) * n_tokens)
    if embargo and embargo >= boundary:
        raise ValueError(
            f"embargo is {embargo} tokens and swallows the training part of {boundary}: lower it"
        )
    for part, length in ("train", boundary - embargo), ("test", n_tokens - boundary):
        if length <= block_size:
            raise ValueError(
                f"the {part} part has {length} tokens and one window needs {block_size + 1}: "
                "use a longer text, a smaller block_size or another train_fraction"
            )
    return Split((Segment(0, boundary - embargo),), (Segment(boundary, n_tokens),))


def check_fraction(name: str, value: float) -> Fraction:
    """Return the decimal number that `value` is written as, exactly.

    Raises:
        ValueError: it is not a number strictly between 0 and 1.
    """
    if not isinstance(value, float) or not 0 < value < 1:
        raise ValueError(f"{name} is {value!r}: give a number strictly between 0 and 1")
    return Fraction(repr(float(value)))


# A split is one function of n_tokens, and one line here.
SPLITS: dict[str, Callable[..., Split]] = {
    "tail": tail_split,
}
