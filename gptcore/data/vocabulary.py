"""What token ids stand for: GPT-2's pieces of text, strings that a file names, or nothing known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from gptcore.checks import check_whole
from gptcore.data import tokenizer
from gptcore.plain_text import shorten

AnyIds = npt.NDArray[np.integer]
LARGEST_VOCABULARY = 2**32
GPT2 = "gpt2"


@dataclass(frozen=True)
class Vocabulary:
    """The ids 0, …, size - 1.

    Attributes:
        size: number of ids; ids at the end may be unused, as where 50,257 are padded to 50,304.
        tokenizer: "gpt2"; the name of the file that `pieces` are from; or None where it is not
            known what the ids stand for.
        pieces: the text of each id; None for GPT-2's, and where it is not known.
    """

    size: int
    tokenizer: str | None = None
    pieces: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        check_whole("vocab_size", self.size, at_most=LARGEST_VOCABULARY)
        least = tokenizer.VOCAB_SIZE if self.tokenizer == GPT2 else len(self.pieces or ())
        if self.size < least:
            raise ValueError(
                f"vocab_size is {self.size} and the vocabulary has {least} ids: give at least that"
            )

    @property
    def is_known(self) -> bool:
        """Whether it is known what text the ids stand for."""
        return self.tokenizer == GPT2 or self.pieces is not None

    @property
    def in_words(self) -> str:
        """What the ids are, for messages."""
        names = {GPT2: "GPT-2's tokens", None: "ids of an unknown tokenizer"}
        name = names.get(self.tokenizer, f"the tokens of {self.tokenizer}")
        return f"{name} ({self.size:,} ids)"

    def matches(self, other: Vocabulary) -> bool:
        """Return whether ids stand for the same text in both, but for unused ones."""
        return (self.tokenizer == GPT2, self.pieces) == (other.tokenizer == GPT2, other.pieces)

    def with_size(self, size: int | None) -> Vocabulary:
        """Return the same vocabulary with unused ids at its end; None leaves it as it is."""
        return self if size is None else replace(self, size=size)

    def token_bytes(self, ids: AnyIds) -> npt.NDArray[np.int64] | None:
        """Return how many bytes of UTF-8 each id stands for; None where it is not known."""
        if self.tokenizer == GPT2:
            lengths = tokenizer.token_bytes(np.minimum(ids, tokenizer.VOCAB_SIZE - 1))
            return np.where(ids < tokenizer.VOCAB_SIZE, lengths, 0)
        if self.pieces is None:
            return None
        lengths = np.array([*(len(piece.encode()) for piece in self.pieces), 0], dtype=np.int64)
        return np.asarray(lengths[np.minimum(ids, len(self.pieces))])

    def to_bytes(self, ids: AnyIds) -> bytes | None:
        """Return the bytes of UTF-8 that ids stand for; None where it is not known.

        Each id gives as many as `token_bytes` says, also where the ids begin or end in a character.
        """
        known = ids[ids < self._n_known]
        if self.pieces is not None:
            return "".join(self.pieces[i] for i in known.tolist()).encode()
        if self.tokenizer != GPT2:
            return None
        return tokenizer.gpt2_encoding().decode_bytes(known.tolist())

    @property
    def _n_known(self) -> int:
        """The ids below it stand for text."""
        return tokenizer.VOCAB_SIZE if self.pieces is None else len(self.pieces)

    def decode(self, ids: Sequence[int] | AnyIds) -> str | None:
        """Return the text of ids, with U+FFFD for those that are unused; None if not known."""
        flat = np.asarray(ids, dtype=np.int64).tolist()
        if self.pieces is not None:
            known = len(self.pieces)
            return "".join(self.pieces[i] if i < known else "\ufffd" for i in flat)
        if self.tokenizer != GPT2:
            return None
        if max(flat, default=0) < tokenizer.VOCAB_SIZE:
            return tokenizer.decode(flat)
        unused = tokenizer.encode("\ufffd").tolist()
        return tokenizer.decode(
            [j for i in flat for j in ([i] if i < tokenizer.VOCAB_SIZE else unused)]
        )

    def encode(self, text: str) -> npt.NDArray[np.int64]:
        """Return the ids of a text; where it is not known what they stand for, read them from it.

        Ids are then whole numbers with spaces or commas between them.

        Raises:
            ValueError: the text has a character that no id stands for, or an id is not one.
        """
        if self.tokenizer == GPT2:
            return tokenizer.encode(text)
        if self.pieces is None:
            return self._listed(text)
        unknown = next((character for character in text if character not in self._ids), None)
        if unknown is not None:
            raise ValueError(
                f"no token of {self.tokenizer} stands for {unknown!r}: leave this character out"
            )
        return np.array([self._ids[character] for character in text], dtype=np.int64)

    def _listed(self, text: str) -> npt.NDArray[np.int64]:
        words = text.replace(",", " ").split()
        for word in words:
            if not (word.isascii() and word.isdigit() and len(word) < 11 and int(word) < self.size):
                raise ValueError(
                    f"{shorten(repr(word), 30)} is no token id, and it is not known what text the "
                    f"ids stand for: give ids from 0 to {self.size - 1} with spaces between them"
                )
        return np.array([int(word) for word in words], dtype=np.int64)

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {piece: i for i, piece in enumerate(self.pieces or ())}

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        pieces = None if self.pieces is None else list(self.pieces)
        return {"size": self.size, "tokenizer": self.tokenizer, "pieces": pieces}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Vocabulary:
        """Return what `as_dict` gave."""
        pieces = values["pieces"]
        return cls(values["size"], values["tokenizer"], None if pieces is None else tuple(pieces))


def gpt2() -> Vocabulary:
    """Return GPT-2's vocabulary."""
    return Vocabulary(tokenizer.VOCAB_SIZE, GPT2)
