"""Books of Project Gutenberg by number: downloaded once, checked, and kept in a cache.

Beside each book the cache keeps its SHA-256, so that a file that was changed later is noticed.
"""

from __future__ import annotations

import errno
import hashlib
import io
import os
import re
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from gptcore.files import WriteError, write_whole
from gptcore.reading import decode, read_bytes
from gptcore.unpacking import too_large, unpack

if TYPE_CHECKING:
    import requests

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
DEADLINE_S = 60.0
"""The most seconds that one mirror may take."""
MOST_BOOK_BYTES = 2**26
"""The most bytes of a book, as sent and after decompression; Shakespeare's works have 5.6 MB."""
PIECE = 2**16


def fetch_book(number: int) -> Path:
    """Return the path of a book's file in the cache, after downloading it if necessary.

    The cache is the folder that the environment variable GPTCORE_CACHE names, or else the usual
    cache folder of the system. A file is put there only when it is complete and checked.

    Raises:
        ValueError: the book could not be downloaded, it was changed since, or the cache cannot be
            used.
    """
    import platformdirs  # imported here because only books need it

    folder = Path(os.environ.get("GPTCORE_CACHE") or platformdirs.user_cache_dir("gptcore"))
    path = folder / f"pg{number}.txt"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not _is_kept(path, KNOWN_SHA256.get(number)):
            if not os.access(folder, os.W_OK):  # asked before anything is downloaded
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
            content = _download(number)
            write_whole(path, content)
            _keep_sum(path, content)
    except (OSError, WriteError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ValueError(
            f"the cache {str(folder)!r} cannot be used ({reason}): set GPTCORE_CACHE to a folder "
            "that can be written"
        ) from error
    return path


def _is_kept(path: Path, known: str | None) -> bool:
    """Return whether the cache holds the book as it was downloaded.

    Raises:
        ValueError: the file was changed after its download.
    """
    if not path.exists():
        return False
    content, kept = read_bytes(path, at_most=MOST_BOOK_BYTES), _sum_path(path)
    found = hashlib.sha256(content).hexdigest()
    if kept.exists():
        if read_bytes(kept, at_most=1000).strip() != found.encode():
            raise ValueError(
                f"{path} was changed after its download (its SHA-256 is not the one in "
                f"{kept.name}): delete both files to download the book again, or give the path "
                "of a copy to use the changed text"
            )
    elif known in (None, found):  # kept by an earlier version, or put there by hand
        with suppress(WriteError):  # a cache that only this user cannot write is still read
            _keep_sum(path, content)
    return known in (None, found)


def _sum_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


def _keep_sum(path: Path, content: bytes) -> None:
    write_whole(_sum_path(path), f"{hashlib.sha256(content).hexdigest()}\n")


def _download(number: int) -> bytes:
    """Return the file of a book from the first mirror that has it.

    Raises:
        ValueError: no mirror has it.
    """
    failures = []
    for template in find_mirrors():
        url = template.replace("{number}", str(number))
        try:
            return _checked(_get_in_time(url), url, KNOWN_SHA256.get(number))
        except ValueError as error:
            failures.append(f"{url} ({error})")
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


def _checked(content: bytes, url: str, sha256: str | None) -> bytes:
    """Return the content, which may be compressed, as the bytes of a text.

    Raises:
        ValueError: it is not a text, or not the expected one.
    """
    content = unpack(io.BytesIO(content), url, MOST_BOOK_BYTES).read()
    text = decode(content, "the answer").lstrip("\ufeff \t\r\n")
    if re.match(r"<(!doctype|!--|\?xml|html|head|body|meta|title|script)", text, re.IGNORECASE):
        raise ValueError("a web page instead of a text")
    if not text:
        raise ValueError("an empty file")
    if sha256 and hashlib.sha256(content).hexdigest() != sha256:
        raise ValueError("its SHA-256 is not the known one: revised or damaged")
    return content


def _get_in_time(url: str) -> bytes:
    """Return what is at `url`, as it was sent.

    A server that sends a byte now and then keeps every single wait short. So the work is done in a
    thread, which is left behind at the deadline and stops at its next piece.

    Raises:
        ValueError: the download failed or took too long; the message says why.
    """
    got: list[bytes | ValueError] = []
    late = threading.Event()

    def work() -> None:
        try:
            got.append(_get(url, late))
        except Exception as error:  # requests and urllib3 have many, and not all are OSErrors
            got.append(error if type(error) is ValueError else ValueError(_reason(error)))

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        thread.join(DEADLINE_S)
    finally:
        late.set()
    result = got[0] if got else ValueError(f"not complete after {DEADLINE_S:g} s")
    if isinstance(result, ValueError):
        raise result
    return result


def _get(url: str, late: threading.Event) -> bytes:
    import requests

    from gptcore.console import Progress

    content, tell = bytearray(), Progress(url)
    with requests.get(
        url,
        headers={"User-Agent": "gptcore", "Accept-Encoding": "gzip"},
        hooks={"response": _leave_redirect},
        stream=True,
        timeout=TIMEOUT_S,
    ) as response:
        response.raise_for_status()
        length = response.headers.get("Content-Length", "")
        total = int(length) if re.fullmatch("[0-9]{1,18}", length) else None
        if total and total > MOST_BOOK_BYTES:
            raise too_large("the answer", MOST_BOOK_BYTES, f"{total:,} bytes")
        for piece in response.raw.stream(PIECE, decode_content=False):
            content += piece
            if late.is_set():
                break
            if len(content) > MOST_BOOK_BYTES:
                raise too_large("the answer", MOST_BOOK_BYTES, "more bytes")
            tell(len(content) / 1000, total and total / 1000, " kB")
    return bytes(content)


def _leave_redirect(response: requests.Response, **_options: object) -> None:
    """Close an answer that sends us on, because requests would read it to its end."""
    if response.is_redirect:
        response.close()


def _reason(error: Exception) -> str:
    """Return why a download failed, in a few words."""
    response = getattr(error, "response", None)
    if response is not None:
        return f"status {response.status_code}"
    if "timed out" in str(error):
        return "timed out"
    name = type(error).__name__
    return getattr(error, "strerror", None) or _REASONS.get(name, name)


_REASONS = {
    "ConnectionError": "no connection",
    "IncompleteRead": "the answer broke off",
    "InvalidSchema": "sent on to an address that is not http",
    "ProtocolError": "the answer broke off",
}
