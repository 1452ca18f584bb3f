"""Named texts, loaded and cleaned, each with what is needed to recognise it again."""

import hashlib
import platform
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

BYTE_ORDER_MARK = "\ufeff"
_MARKER = r"^\*\*\* ?{side} OF (?:THE|THIS) PROJECT GUTENBERG EBOOK[^*]{{0,400}}\*\*\*[^\n]*\n?"
_START, _END = (
    re.compile(_MARKER.format(side=side), re.IGNORECASE | re.MULTILINE) for side in ("START", "END")
)


@dataclass(frozen=True)
class Corpus:
    """A text and its provenance.

    Attributes:
        text: what is measured.
        name: name in `CORPORA`, or the stem of the file.
        source: where the text comes from, in words.
        licence: SPDX identifier, or "unknown".
        sha256: SHA-256 of `text` in UTF-8, hexadecimal.
        source_sha256: SHA-256 of the bytes before decoding and cleaning, hexadecimal.
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
    """A text as found: undecoded."""

    content: bytes
    source: str
    licence: str


def load_corpus(spec: str, *, raw: bool = False) -> Corpus:
    """Return the corpus called `spec`, or the one in the UTF-8 text file at that path.

    Args:
        spec: a name in `CORPORA`, or a path.
        raw: decode only; byte-order mark, carriage returns and boilerplate stay.

    Raises:
        ValueError: no such name or file, or not a readable, non-empty UTF-8 text.
    """
    if spec in CORPORA:
        name, document = spec, CORPORA[spec]()
    else:
        name, document = Path(spec).stem, _read_file(spec)
    text = _decode(document.content, spec)
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
        source_sha256=hashlib.sha256(document.content).hexdigest(),
        n_bytes=len(encoded),
        cleaning=steps,
    )


def clean_text(text: str) -> tuple[str, tuple[str, ...]]:
    """Return the text without what its author did not write, and the steps that changed it.

    A leading byte-order mark goes, CRLF and CR become LF, and whatever lies outside Project
    Gutenberg's START and END marker lines is cut, with the blank lines next to the cut. An END
    counts only after the START; where one marker is missing, only the other side is cut.
    """
    steps = []
    if text.startswith(BYTE_ORDER_MARK):
        text = text.removeprefix(BYTE_ORDER_MARK)
        steps.append("byte-order mark dropped")
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
        steps.append("newlines normalised")
    start = _START.search(text)
    end = _END.search(text, start.end() if start else 0)
    if end:
        text = text[: end.start()].rstrip("\n") + "\n"
    if start:
        text = text[start.end() :].lstrip("\n")
    if start or end:
        cut = " and ".join(["header"] * bool(start) + ["licence"] * bool(end))
        steps.append(f"Project Gutenberg {cut} removed")
    return text, tuple(steps)


def _decode(content: bytes, spec: str) -> str:
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"corpus {spec!r} is not UTF-8 at byte {error.start}: convert the file to UTF-8"
        ) from error
    if "\0" in text:
        raise ValueError(
            f"corpus {spec!r} has a NUL byte at byte {content.index(0)}, so it is binary: "
            "give a plain text file in UTF-8"
        )
    return text


def _read_file(spec: str) -> _Document:
    path = Path(spec)
    if not spec or not path.exists():
        if spec.startswith("gutenberg:"):
            remedy = "download the book as plain UTF-8 text and give the path of the file"
        else:
            remedy = f"the names are {', '.join(CORPORA)}; otherwise give a path to a UTF-8 text"
        raise ValueError(f"no corpus and no file is called {spec!r}: {remedy}")
    if not path.is_file():
        kind = "a directory" if path.is_dir() else "not a regular file"
        raise ValueError(f"corpus {spec!r} is {kind}: give the path of one text file")
    try:
        return _Document(path.read_bytes(), f"local file {path.name}", "unknown")
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ValueError(
            f"corpus {spec!r} cannot be read ({reason}): check the permissions of the file"
        ) from error


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


# A corpus is one function that returns a _Document, and one line here.
CORPORA: dict[str, Callable[[], _Document]] = {
    "python-docs": _python_docs,
}
