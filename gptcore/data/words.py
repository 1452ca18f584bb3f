"""Words of a text and the tokens in which they begin; the text format of WikiText undone.

Losses of models with different tokenizers are comparable for each byte. A loss for each word is
what papers of word-level models report. Words here are separated by ASCII white space.
"""

from __future__ import annotations

import re

import numpy as np
import numpy.typing as npt

_SPACE = np.frombuffer(b" \t\n\r\f\v", dtype=np.uint8)

# Lines of WikiText separate every sign by spaces and mark signs within a word by @.
_RULES = (
    (re.compile(r" @([-,.])@ "), r"\1"),  # well @-@ known, 1 @,@ 000
    (re.compile(r" ('(?:s|S|d|D|m|M|t|T|ll|re|ve|LL|RE|VE))\b"), r"\1"),
    (re.compile(r" n't\b"), "n't"),
    (re.compile(r"(?<=s) ' "), "' "),  # the plural's genitive
    (re.compile(r'" ([^"\n]*) "'), r'"\1"'),
    (re.compile(r"(?<=[(\[{]) "), ""),
    (re.compile(r" (?=[)\]}])"), ""),
    (re.compile(r" (?=[,.;:!?](?:\s|$|[\"')\]}]))"), ""),
    (re.compile(r"= (?==)"), "="),  # = = Heading = =
    (re.compile(r"[ ]+(?=\n)|(?<=\n)[ ]+"), ""),
)


def words_begun(text: bytes, lengths: npt.NDArray[np.integer]) -> npt.NDArray[np.int64]:
    """Return how many words begin in each token.

    Args:
        text: the bytes of the tokens, one behind the other.
        lengths: (n,), the bytes of each token.

    Returns:
        (n,); they add up to the words of the text.

    Raises:
        ValueError: the lengths do not add up to the text.
    """
    if int(lengths.sum()) != len(text):
        raise ValueError(f"the tokens have {lengths.sum()} bytes, and the text has {len(text)}")
    is_space = np.isin(np.frombuffer(text, dtype=np.uint8), _SPACE)
    begins = ~is_space & np.concatenate([[True], is_space[:-1]])[: len(text)]
    before = np.concatenate([[0], np.cumsum(begins)])  # words begun before each byte
    return np.asarray(np.diff(before[np.concatenate([[0], np.cumsum(lengths)])]), dtype=np.int64)


def count_words(text: str) -> int:
    """Return the number of words of a text."""
    content = text.encode()
    return int(words_begun(content, np.array([len(content)])).sum())


def detokenise(text: str) -> str:
    """Return text in the format of WikiText as it is usually written.

    In that format every sign stands between spaces ("well @-@ known , he said ."), as hardly any
    text does that models are trained on. GPT-2's authors undid it before scoring and did not
    publish how. These rules cover the same signs; of words they change none, and `<unk>` stays.
    """
    for pattern, replacement in _RULES:
        text = pattern.sub(replacement, text)
    return text
