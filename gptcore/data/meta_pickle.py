"""nanoGPT's meta.pkl → a vocabulary, read so that a pickle cannot run anything.

A pickle is a program for a small machine, and some of its instructions call any function of Python.
So its instructions are listed first, without running them. A pickle is refused unless all of them
only make dictionaries, lists, strings, whole numbers, booleans and None. The unpickler then refuses
every class as well.
"""

import io
import pickle
import pickletools
from pathlib import Path
from typing import Any, NoReturn

from gptcore.checks import check_whole
from gptcore.data.vocabulary import LARGEST_VOCABULARY, Vocabulary
from gptcore.plain_text import shorten
from gptcore.reading import read_bytes

MOST_META_BYTES = 2**24
MOST_META_STEPS = 2**22

_NUMBERING = {"BINPUT", "LONG_BINPUT", "PUT"}
_ALLOWED = _NUMBERING | {
    "PROTO", "FRAME", "STOP", "MARK", "MEMOIZE", "BINGET", "LONG_BINGET", "GET",
    "EMPTY_DICT", "DICT", "SETITEM", "SETITEMS", "EMPTY_LIST", "LIST", "APPEND", "APPENDS",
    "NONE", "NEWTRUE", "NEWFALSE", "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1",
    "UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8",
}  # fmt: skip


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> NoReturn:
        raise pickle.UnpicklingError(f"it refers to {module}.{name}")


def read_meta(path: Path) -> Vocabulary:
    """Return the vocabulary that a meta.pkl of nanoGPT describes.

    It is a dictionary with `vocab_size`, or with `itos`, the text of each id, or with both.

    Raises:
        ValueError: the file is not such a dictionary, or is a pickle with other values than
            dictionaries, lists, strings and whole numbers, which is not opened.
    """
    content = read_bytes(path, at_most=MOST_META_BYTES)
    try:
        _check_instructions(content)
        meta = _Unpickler(io.BytesIO(content)).load()
    except MemoryError:
        raise
    except Exception as error:  # a damaged pickle raises errors of many kinds
        reason = shorten(str(error) or type(error).__name__, 100)
        raise ValueError(
            f"{path} is not opened ({reason}): a pickle can run code, so it may hold only "
            "dictionaries, lists, strings and whole numbers; write it so, or move it away and give "
            "--vocab-size"
        ) from None
    return _vocabulary(meta, path)


def _check_instructions(content: bytes) -> None:
    """Raise an error unless every instruction of a pickle makes plain values."""
    for number, (code, argument, _) in enumerate(pickletools.genops(content)):
        if code.name not in _ALLOWED:
            raise ValueError(f"it has the instruction {code.name}")
        if number > MOST_META_STEPS:
            raise ValueError(f"it has more than {MOST_META_STEPS:,} instructions")
        # A number far beyond those in use would make the unpickler take memory for all below it.
        if code.name in _NUMBERING and not (isinstance(argument, int) and argument <= number):
            raise ValueError("it numbers its values out of order")


def _vocabulary(meta: Any, path: Path) -> Vocabulary:
    itos = meta.get("itos") if isinstance(meta, dict) else None
    size = meta.get("vocab_size") if isinstance(meta, dict) else None
    pieces = None
    if itos is not None:
        named = dict(enumerate(itos)) if isinstance(itos, list) else itos
        if not isinstance(named, dict) or any(type(name) is not int for name in named):
            raise ValueError(f'{path}: "itos" must give the text of each id, 0, 1, 2, …')
        missing = next((i for i in range(len(named)) if not isinstance(named.get(i), str)), None)
        if missing is not None:
            raise ValueError(f'{path}: "itos" has no text for the id {missing}: give one for each')
        pieces = tuple(named[i] for i in range(len(named)))
        if any("\ud800" <= character <= "\udfff" for piece in pieces for character in piece):
            raise ValueError(f'{path}: "itos" has half of a surrogate pair: give whole characters')
    if size is None and pieces:
        size = len(pieces)
    if size is None:
        raise ValueError(
            f'{path} has no vocabulary, which is "vocab_size" or "itos" in a dictionary: write it '
            "as nanoGPT's prepare.py does"
        )
    size = check_whole(f"{path}: vocab_size", size, at_most=LARGEST_VOCABULARY)
    try:
        return Vocabulary(size, None if pieces is None else path.name, pieces)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
