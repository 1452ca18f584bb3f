"""Named texts, loaded and cleaned, each with what is needed to recognise it again."""

import hashlib
import platform
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from gptcore.data.cleaning import clean_text
from gptcore.data.gutenberg import fetch_book
from gptcore.reading import decode, read_bytes


@dataclass(frozen=True)
class Corpus:
    """A text and its provenance.

    Attributes:
        text: the text, decoded and cleaned.
        name: name in `CORPORA`, or the stem of the file.
        source: where the text comes from, in words.
        licence: SPDX identifier, or "unknown".
        sha256: SHA-256 of `text` in UTF-8, hexadecimal.
        source_sha256: SHA-256 of the bytes before decoding and cleaning, and after decompression
            where the file is compressed, hexadecimal.
        n_bytes: length of `text` in UTF-8, in bytes.
        cleaning: the steps that changed something, in words and in order.
    """

    text: str
    name: str
    source: str
    licence: str
    sha256: str
    source_sha256: str
    n_bytes: int
    cleaning: tuple[str, ...]


class _Document(NamedTuple):
    """The bytes of a text before decoding, and where they come from."""

    content: bytes
    source: str
    licence: str


def load_corpus(spec: str, *, raw: bool = False) -> Corpus:
    """Return the corpus called `spec`, a book by its number, or the text file at that path.

    A text is in UTF-8, or in UTF-16 or UTF-32 with a byte-order mark, and may be compressed.

    Args:
        spec: a name in `CORPORA`, "gutenberg:NUMBER", or a path.
        raw: whether the text is only decoded, so that the byte-order mark, carriage returns and
            boilerplate stay.

    Raises:
        ValueError: there is no such name or file, it is not a readable text or is empty, or a
            book is not in the cache and could not be downloaded.
    """
    if spec in CORPORA:
        name, document = spec, CORPORA[spec]()
    elif spec.startswith("gutenberg:"):
        name, document = _read_book(spec)
    else:
        name, document = Path(spec).stem, _read_file(spec)
    source_sha256 = hashlib.sha256(document.content).hexdigest()
    text = decode(document.content, f"corpus {spec!r}")
    document = document._replace(content=b"")  # a long text need not be in memory three times
    text, steps = (text, ()) if raw else clean_text(text)
    if not text.strip():
        raise ValueError(f"corpus {spec!r} is empty or all white space: give a file that has text")
    encoded = text.encode()
    return Corpus(
        text=text,
        name=name,
        source=document.source,
        licence=document.licence,
        sha256=hashlib.sha256(encoded).hexdigest(),
        source_sha256=source_sha256,
        n_bytes=len(encoded),
        cleaning=steps,
    )


def _read_file(spec: str) -> _Document:
    path = Path(spec)
    if not spec or not path.exists():
        raise ValueError(
            f"no corpus and no file is called {spec!r}: the names are {', '.join(CORPORA)} and "
            "gutenberg:NUMBER; otherwise give the path of a file or a folder with data"
        )
    return _Document(read_bytes(path), f"local file {path.name}", "unknown")


def _read_book(spec: str) -> tuple[str, _Document]:
    """Return the name and the file of the Project Gutenberg book "gutenberg:NUMBER"."""
    digits = spec.removeprefix("gutenberg:")
    if not re.fullmatch("[1-9][0-9]{0,6}", digits):
        raise ValueError(f"corpus is {spec!r}: give the number of a book, as in gutenberg:829")
    path = fetch_book(int(digits))
    source = f"Project Gutenberg, book {digits}"
    return path.stem, _read_file(str(path))._replace(
        source=source, licence="LicenseRef-Project-Gutenberg"
    )


def _python_docs() -> _Document:
    """Return the English reference texts that Python's help() shows, in the order of their keys."""
    try:
        from pydoc_data.topics import topics
    except ImportError as error:
        raise ValueError(
            "corpus 'python-docs' is missing from this Python, which lacks pydoc_data: "
            "install the full standard library or give the path of a text file"
        ) from error
    text = "\n".join(topics[key] for key in sorted(topics))
    source = f"pydoc_data.topics of {platform.python_implementation()} {platform.python_version()}"
    return _Document(text.encode(), source, "PSF-2.0")


# To add a corpus, write a function that returns a _Document, and add a line here.
CORPORA: dict[str, Callable[[], _Document]] = {
    "python-docs": _python_docs,
}
