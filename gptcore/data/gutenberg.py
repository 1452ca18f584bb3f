"""Books of Project Gutenberg by number: downloaded once, checked, and kept in a cache."""

import functools
import hashlib
import os
import re
from pathlib import Path

from gptcore.data.cleaning import decode_text

GUTENBERG_MIRRORS = (
    "https://www.gutenberg.org/cache/epub/{number}/pg{number}.txt",
    "https://aleph.gutenberg.org/cache/epub/{number}/pg{number}.txt",
    "https://gutenberg.pglaf.org/cache/epub/{number}/pg{number}.txt",
)
"""Addresses of books, tried in this order.

The environment variable GPTCORE_GUTENBERG replaces them: addresses in the same format, with spaces
between them.
"""

KNOWN_SHA256 = {829: "695e3237c3072d0d21a792aa1832f8494e734476a916d1a7fe3d5d6c6e9fc316"}
"""Book number → expected SHA-256 of its file; files of other books are not compared."""

TIMEOUT_S = (10.0, 20.0)  # for connecting, and for waiting for the next bytes


def fetch_book(number: int) -> Path:
    """Return the path of a book's file in the cache, after downloading it if necessary.

    The cache is the folder that the environment variable GPTCORE_CACHE names, or else the usual
    cache folder of the system. A file is put there only when it is complete and checked.

    Raises:
        ValueError: the book could not be downloaded, or the cache cannot be used.
    """
    import pooch  # imported here because only books need it, and importing it takes time

    folder = Path(os.environ.get("GPTCORE_CACHE") or pooch.os_cache("gptcore"))
    name, sha256 = f"pg{number}.txt", KNOWN_SHA256.get(number)
    download = functools.partial(_download_text, sha256)
    logger, failures = pooch.get_logger(), []
    level = logger.level
    logger.setLevel("WARNING")  # pooch announces every download
    try:
        for template in find_mirrors():
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


def find_mirrors() -> tuple[str, ...]:
    """Return the addresses to try, each with "{number}" in place of the number of the book.

    Raises:
        ValueError: GPTCORE_GUTENBERG has something else than such addresses.
    """
    mirrors = tuple(os.environ.get("GPTCORE_GUTENBERG", "").split()) or GUTENBERG_MIRRORS
    for mirror in mirrors:
        if not re.match("https?://", mirror) or "{number}" not in mirror:
            raise ValueError(
                f"GPTCORE_GUTENBERG has {mirror!r}: give addresses with spaces between them, each "
                "like https://example.org/pg{number}.txt"
            )
    return mirrors


def _download_text(sha256: str | None, url: str, path: str, _pooch: object) -> None:
    """Write the text at `url` to `path`, in the way in which pooch calls its downloaders.

    Raises:
        ValueError: the download failed, or the text is not the expected one; the message says why.
    """
    from pooch import HTTPDownloader

    download = HTTPDownloader(
        progressbar=_Bar(url), timeout=TIMEOUT_S, headers={"User-Agent": "gptcore"}
    )
    try:
        download(url, path, None)
    except OSError as error:  # all errors of requests are OSErrors
        raise ValueError(_reason(error)) from error
    content = Path(path).read_bytes()
    if content.lstrip()[:9].lower().startswith((b"<!doctype", b"<html")):
        raise ValueError("a web page instead of a text")
    if not decode_text(content, url).strip():
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
    """A progress bar with the methods that pooch calls; it shows the kilobytes that came."""

    total = 0  # bytes, set by pooch; 0 where it is unknown

    def __init__(self, url: str) -> None:
        from gptcore.console import Progress

        self._tell, self._done = Progress(url), 0

    def update(self, n_bytes: int) -> None:
        """Count bytes that came; a compressed text can have more of them than were announced."""
        self._done += n_bytes
        total = self.total / 1000 if self.total >= self._done > 0 else None
        self._tell(self._done / 1000, total, " kB")

    def reset(self) -> None:
        """Start counting again; pooch calls this at the end, and then counts all bytes at once."""
        self._done = 0

    def close(self) -> None:
        """Do nothing, because nothing is open."""
