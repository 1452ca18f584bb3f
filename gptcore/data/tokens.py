"""The token stream, and the check of its ids."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gptcore.checks import LARGEST_INT64, as_array, check_whole
from gptcore.data import tokenizer
from gptcore.data.chain import in_files
from gptcore.reading import check_regular

Ids = npt.NDArray[np.int64]
SMALL_TYPES = (np.uint16, np.uint32)
CHECKED_AT_ONCE = 2**24


def check_ids(ids: Sequence[int] | npt.NDArray[Any], vocab_size: int) -> Ids:
    """Return token ids as a contiguous int64 array of shape (N,), unchanged in value.

    Raises:
        ValueError: as `check_range`.
    """
    return np.ascontiguousarray(check_range(ids, vocab_size), dtype=np.int64)


def check_range(ids: Sequence[int] | npt.NDArray[Any], vocab_size: int) -> npt.NDArray[Any]:
    """Return token ids as an array of shape (N,), in the type that they have.

    Raises:
        ValueError: they are not flat, empty, not integers, or outside [0, vocab_size).
    """
    vocab_size = check_whole("vocab_size", vocab_size, at_most=LARGEST_INT64)
    array = as_array("token ids", ids)
    if array.ndim != 1 or array.size == 0:
        raise ValueError(f"token ids have shape {array.shape}: give a flat sequence, not empty")
    if array.dtype.kind not in "iu":
        raise ValueError(f"token ids are {array.dtype}: give integers, as a tokenizer returns them")
    low, high = array.min(), array.max()
    if low < 0 or high >= vocab_size:
        raise ValueError(
            f"token ids go from {low} to {high}: they must lie in [0, {vocab_size}); "
            "use the vocabulary that encoded them"
        )
    return array


@dataclass(frozen=True, eq=False)
class TokenStream:
    """Token ids in reading order.

    Attributes:
        ids: (N,), each in [0, vocab_size): of any integer type where they are mapped from disk,
            and then a `Chain` where they lie in several files; uint16 or uint32 where given so, to
            save memory; int64 otherwise.
        vocab_size: number of ids in the vocabulary.
        n_bytes: length of the text in UTF-8, in bytes; None where it is not known.
    """

    ids: Ids
    vocab_size: int
    n_bytes: int | None = None

    def __post_init__(self) -> None:
        if not in_files(self.ids):
            array = check_range(self.ids, self.vocab_size)
            dtype = array.dtype if array.dtype in SMALL_TYPES else np.int64
            object.__setattr__(self, "ids", np.ascontiguousarray(array, dtype=dtype))
        if self.n_bytes is not None:
            check_whole("n_bytes", self.n_bytes)

    @classmethod
    def from_text(cls, text: str, dtype: npt.DTypeLike = np.int64) -> "TokenStream":
        """Return the GPT-2 tokens of `text`; np.uint16 holds them in a quarter of the memory."""
        ids = tokenizer.encode(text, dtype)
        return cls(ids, tokenizer.VOCAB_SIZE, tokenizer.count_bytes(text))

    @classmethod
    def open(cls, path: Path, vocab_size: int) -> "TokenStream":
        """Return the stream that `save` wrote, mapped from disk so that it takes no memory.

        Every id is read once, to be checked.

        Raises:
            ValueError: there is no such file, `save` did not write it, or an id is outside the
                vocabulary.
        """
        check_regular(path)
        try:
            ids = np.load(path, mmap_mode="r", allow_pickle=False)
        except Exception as error:  # np.load has many, as that of a damaged header
            reason = getattr(error, "strerror", None) or "it is not a NumPy file"
            raise ValueError(
                f"cannot open tokens at {path}: {reason}; write it with TokenStream.save"
            ) from None
        is_saved = isinstance(ids, np.memmap) and ids.dtype in SMALL_TYPES
        if not is_saved or ids.ndim != 1:
            raise ValueError(
                f"{path} does not hold uint16 or uint32 tokens: write it with TokenStream.save"
            )
        for first in range(0, max(1, len(ids)), CHECKED_AT_ONCE):
            check_ids(ids[first : first + CHECKED_AT_ONCE], vocab_size)
        return cls(ids, vocab_size)

    def save(self, path: Path) -> None:
        """Write the ids as a .npy file: uint16 where the vocabulary allows it, else uint32.

        Raises:
            ValueError: `path` does not end in .npy.
        """
        if path.suffix != ".npy":
            raise ValueError(f"{path} does not end in .npy: give a name that does")
        np.save(path, self.ids.astype(np.uint16 if self.vocab_size <= 2**16 else np.uint32))

    def __len__(self) -> int:
        return len(self.ids)

    def compact(self) -> "tuple[TokenStream, tokenizer.CompactVocabulary]":
        """Return the stream in a vocabulary of only the ids that occur, and that vocabulary."""
        vocabulary = tokenizer.CompactVocabulary.from_ids(self.ids)
        stream = TokenStream(vocabulary.encode(self.ids), vocabulary.size, self.n_bytes)
        return stream, vocabulary
