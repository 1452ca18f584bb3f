"""Named texts, loaded and cleaned, each with what is needed to recognise it again."""

import functools
import hashlib
import os
import platform
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

BYTE_ORDER_MARK = "\ufeff"
GUTENBERG_MIRRORS = (
    "https://www.gutenberg.org/cache/epub/{number}/pg{number}.txt",
    "https://aleph.gutenberg.org/cache/epub/{number}/pg{number}.txt",
    "https://gutenberg.pglaf.org/cache/epub/{number}/pg{number}.txt",
)
"""Where books are, tried in this order; GPTCORE_GUTENBERG, in the same form, replaces them."""

KNOWN_SHA256 = {829: "695e3237c3072d0d21a792aa1832f8494e734476a916d1a7fe3d5d6c6e9fc316"}
"""Book number → SHA-256 of the file that is expected; other books are taken as they come."""

TIMEOUT_S = (10.0, 20.0)  # to connect, and between two pieces of an answer

# A line of its own, after any of the three line ends or a byte-order mark.
_MARKER = re.compile(
    r"(?<![^\r\n\ufeff])\*\*\* ?(START|END) OF (?:THE|THIS) PROJECT GUTENBERG EBOOK[^*]{0,400}"
    r"\*\*\*[^\r\n]*(?:\r\n?|\n)?",
    re.IGNORECASE,
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
    """Return the corpus called `spec`, a book by its number, or the UTF-8 text file at that path.

    Args:
        spec: a name in `CORPORA`, "gutenberg:NUMBER", or a path.
        raw: decode only; byte-order mark, carriage returns and boilerplate stay.

    Raises:
        ValueError: no such name or file, not a readable, non-empty UTF-8 text, or a book that is
            not in the cache and could not be downloaded.
    """
    if spec in CORPORA:
        name, document = spec, CORPORA[spec]()
    elif spec.startswith("gutenberg:"):
        name, document = _read_book(spec)
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

    A leading byte-order mark goes, CRLF and CR become LF, and only the `authored_spans` stay,
    without the blank lines next to a cut and with one between two of them.
    """
    steps = []
    if text.startswith(BYTE_ORDER_MARK):
        text = text.removeprefix(BYTE_ORDER_MARK)
        steps.append("byte-order mark dropped")
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
        steps.append("newlines normalised")
    sides = {match[1].upper() for match in _MARKER.finditer(text)}
    if not sides:
        return text, tuple(steps)
    pieces = []
    for start, stop in authored_spans(text):
        piece = text[start:stop].lstrip("\n") if start else text[start:stop]
        pieces.append(piece.rstrip("\n") + "\n" if stop < len(text) else piece)
    names = [name for side, name in (("START", "header"), ("END", "licence")) if side in sides]
    steps.append(f"Project Gutenberg {' and '.join(names)} removed")
    return "\n".join(piece for piece in pieces if piece.strip("\n")), tuple(steps)


def authored_spans(text: str) -> list[tuple[int, int]]:
    r"""Return the (start, stop) characters that lie outside Project Gutenberg's boilerplate.

    Markers are lines like "\*\*\* START OF THE PROJECT GUTENBERG EBOOK …"; line ends may be any.
    Two neighbours among them and the ends of the text enclose authored text if the left one is a
    START or the beginning and the right one an END or the end, but never from the beginning to a
    START. So everything stays where there is no marker; where one is missing only the other side
    is cut; a doubled header or licence goes whole; and of several books in one file each stays.
    """
    spans, start = [], 0
    opened = True  # nothing, or a START, stands before `start`
    for match in _MARKER.finditer(text):
        is_start = match[1].upper() == "START"
        if opened and not is_start:
            spans.append((start, match.start()))
        start, opened = match.end(), is_start
    if opened:
        spans.append((start, len(text)))
    return [span for span in spans if span[0] < span[1]]


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
        raise ValueError(
            f"no corpus and no file is called {spec!r}: the names are {', '.join(CORPORA)} and "
            "gutenberg:NUMBER; otherwise give a path to a UTF-8 text"
        )
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


def _read_book(spec: str) -> tuple[str, _Document]:
    """Return the name and the file of the Project Gutenberg book "gutenberg:NUMBER"."""
    digits = spec.removeprefix("gutenberg:")
    if not re.fullmatch("[1-9][0-9]{0,6}", digits):
        raise ValueError(f"corpus is {spec!r}: give the number of a book, as in gutenberg:829")
    path = _fetch_book(int(digits))
    source = f"Project Gutenberg, book {digits}"
    return path.stem, _read_file(str(path))._replace(
        source=source, licence="LicenseRef-Project-Gutenberg"
    )


def _fetch_book(number: int) -> Path:
    """Return the path of a book's file in the cache, after downloading it if need be.

    The cache is the folder GPTCORE_CACHE or else the usual one of the system. A file enters it
    whole and checked, or not at all.
    """
    import pooch  # only those who ask for a book pay for it

    folder = Path(os.environ.get("GPTCORE_CACHE") or pooch.os_cache("gptcore"))
    name, sha256 = f"pg{number}.txt", KNOWN_SHA256.get(number)
    download = functools.partial(_download_text, sha256)
    logger, failures = pooch.get_logger(), []
    level = logger.level
    logger.setLevel("WARNING")  # pooch announces every download
    try:
        for template in _mirrors():
            url = template.replace("{number}", str(number))
            try:
                return Path(pooch.retrieve(url, sha256, name, folder, downloader=download))
            except ValueError as error:
                failures.append(f"{url} ({error})")
    except OSError as error:
        raise ValueError(
            f"the cache {str(folder)!r} cannot be used ({error.strerror or type(error).__name__}): "
            "set GPTCORE_CACHE to a folder that can be written"
        ) from error
    finally:
        logger.setLevel(level)
    raise ValueError(
        f"book {number} could not be had from {', '.join(failures)}: download it by hand as plain "
        "UTF-8 text and give the path of the file"
    )


def _mirrors() -> tuple[str, ...]:
    """Return the templates of the addresses to try."""
    mirrors = tuple(os.environ.get("GPTCORE_GUTENBERG", "").split()) or GUTENBERG_MIRRORS
    for mirror in mirrors:
        if not re.match("https?://", mirror) or "{number}" not in mirror:
            raise ValueError(
                f"GPTCORE_GUTENBERG has {mirror!r}: give addresses with spaces between them, each "
                "like https://example.org/pg{number}.txt"
            )
    return mirrors


def _download_text(sha256: str | None, url: str, path: str, _pooch: object) -> None:
    """Write the text at `url` to `path`: a downloader for pooch.

    Raises:
        ValueError: it did not come whole, or is not the text that is expected; in words.
    """
    from pooch import HTTPDownloader

    download = HTTPDownloader(
        progressbar=_Bar(url), timeout=TIMEOUT_S, headers={"User-Agent": "gptcore"}
    )
    try:
        download(url, path, None)
    except OSError as error:  # as all errors of requests are
        raise ValueError(_reason(error)) from error
    content = Path(path).read_bytes()
    if content.lstrip()[:9].lower().startswith((b"<!doctype", b"<html")):
        raise ValueError("a web page instead of a text")
    if not _decode(content, url).strip():
        raise ValueError("an empty file")
    if sha256 and hashlib.sha256(content).hexdigest() != sha256:
        raise ValueError("its SHA-256 is not the known one: revised or damaged")


def _reason(error: OSError) -> str:
    """Return why a download failed, in a few words."""
    response = getattr(error, "response", None)
    if response is not None:
        return f"status {response.status_code}"
    if "timed out" in str(error):
        return "timed out"
    kinds = {"ConnectionError": "no connection", "ChunkedEncodingError": "the answer broke off"}
    name = type(error).__name__
    return error.strerror or kinds.get(name, name)


class _Bar:
    """The progress bar that pooch wants: it counts bytes and tells of thousands of them."""

    total = 0  # set by pooch, bytes; 0 where it is unknown

    def __init__(self, url: str) -> None:
        from gptcore.console import Progress

        self._tell, self._done = Progress(url), 0

    def update(self, n_bytes: int) -> None:
        """Count bytes that came; of a compressed text they may be more than was said."""
        self._done += n_bytes
        total = self.total / 1000 if self.total >= self._done > 0 else None
        self._tell(self._done / 1000, total, " kB")

    def reset(self) -> None:
        """Start counting again: pooch does at the end, to count all at once."""
        self._done = 0

    def close(self) -> None:
        """Do nothing more."""


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
