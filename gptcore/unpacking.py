"""Compressed files, recognised by their content and decompressed in pieces up to a bound.

gzip, bzip2, xz and zstd are known, and zip and tar with one file.
"""

from __future__ import annotations

import bz2
import gzip
import importlib
import io
import lzma
import re
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

PIECE = 2**18
MOST_UNPACKED_BYTES = 2**29
"""The most bytes that come out of a compressed file, because a small one can become any size."""


def unpack(file: BinaryIO, path: Path | str, at_most: int) -> io.BufferedReader:
    """Return a file that gives what is inside `file`, and that closes it.

    Args:
        file: a regular file, open at its beginning.
        path: its name in errors.
        at_most: the most bytes that may come out.

    Raises:
        ValueError: the file is damaged, or it is an archive that is encrypted or holds another
            number of files than one. Reading from the result raises it where the file is damaged
            further on, or holds more than `at_most` bytes.
    """
    try:
        inner = _unpacked(file)
    except MemoryError:
        raise
    except Exception as error:  # which error a damaged file raises depends on the damage
        raise _damaged(path, error) from None
    if inner is not file:
        at_most = min(at_most, MOST_UNPACKED_BYTES)
    return io.BufferedReader(_Bounded(file, inner, path, at_most), PIECE)


class _Bounded(io.RawIOBase):
    """Bytes of a decompressed file, whose errors are ValueErrors and whose number is bounded."""

    def __init__(self, file: BinaryIO, inner: IO[bytes], path: Path | str, at_most: int) -> None:
        self._file, self._inner, self._path, self._at_most = file, inner, path, at_most
        self._done = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            piece = self._inner.read(min(len(buffer), self._at_most - self._done + 1))
        except MemoryError:
            raise
        except Exception as error:
            raise _damaged(self._path, error) from None
        self._done += len(piece)
        if self._done > self._at_most:
            raise too_large(self._path, self._at_most, "more bytes")
        buffer[: len(piece)] = piece
        return len(piece)

    def close(self) -> None:
        if not self.closed:
            self._inner.close()
            self._file.close()
        super().close()


def _unpacked(file: BinaryIO) -> IO[bytes]:
    """Return a file that gives what is inside `file`; the same one where it is not packed."""
    head = file.read(512)
    file.seek(0)
    inner: IO[bytes] = file
    if head.startswith(b"\x1f\x8b"):
        inner = gzip.GzipFile(fileobj=file)  # type: ignore[assignment]
    elif re.match(rb"BZh[1-9](1AY&SY|\x17rE8P\x90)", head):
        inner = _Streams(file, bz2.BZ2Decompressor)  # type: ignore[assignment]
    elif head.startswith(b"\xfd7zXZ\0"):
        inner = _Streams(file, _xz)  # type: ignore[assignment]
    elif head.startswith(b"\x28\xb5\x2f\xfd"):
        inner = _zstd().ZstdFile(file)
    elif head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _only_member(zipfile.ZipFile(file))
    if inner is not file:
        inner = io.BufferedReader(inner, PIECE)  # type: ignore[type-var]
        head = inner.peek(512)[:512]
    if head[257:262] == b"ustar" and b"\0" in head[:257]:
        return cast("IO[bytes]", _OnlyMember(tarfile.open(fileobj=inner, mode="r|")))
    return inner


class _Streams(io.RawIOBase):
    """The bytes of one compressed stream after another; anything else behind a stream is damage.

    BZ2File and LZMAFile take it for the end, and would lose a later stream that is damaged.
    """

    def __init__(self, file: BinaryIO, make: Callable[[], Any]) -> None:
        self._file, self._make, self._stream = file, make, make()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = b""
        while not data:
            given = b""
            if self._stream.eof:
                given = self._stream.unused_data.lstrip(b"\0")  # zeros may fill a block
                while not given and (piece := self._file.read(PIECE)):
                    given = piece.lstrip(b"\0")
                if not given:
                    return 0
                self._stream = self._make()
            elif self._stream.needs_input and not (given := self._file.read(PIECE)):
                raise EOFError("it ends too early")
            data = self._stream.decompress(given, len(buffer))
        buffer[: len(data)] = data
        return len(data)


def _xz() -> lzma.LZMADecompressor:
    return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=MOST_UNPACKED_BYTES)


def _zstd() -> Any:
    for name in ("compression.zstd", "backports.zstd"):
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    raise ValueError("zstd needs Python 3.14, or the package backports.zstd")


def _only_member(archive: zipfile.ZipFile) -> IO[bytes]:
    """Open the one file of a zip archive."""
    members = [member for member in archive.infolist() if not member.is_dir()]
    if min((member.header_offset for member in archive.infolist()), default=0) > 0:
        raise ValueError("other data stand before the archive")
    if len(members) != 1:
        raise ValueError(f"the archive holds {len(members):,} files, and one is needed")
    if members[0].flag_bits & 1:
        raise ValueError("the archive is encrypted")
    return archive.open(members[0])


class _OnlyMember(io.RawIOBase):
    """The one file of a tar archive, which is read from its beginning to its end."""

    def __init__(self, archive: tarfile.TarFile) -> None:
        self._archive = archive
        self._member = self._next()
        if self._member is None:
            raise ValueError("the archive holds no file")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        piece = self._member.read(len(buffer)) if self._member else b""
        if not piece and self._member:
            self._member = None
            if self._next() or self._more():
                raise ValueError("the archive holds several files, and one is needed")
        buffer[: len(piece)] = piece
        return len(piece)

    def _more(self) -> bool:
        """Return whether anything but zeros follows, where tarfile stops at a damaged header."""
        rest: Any = self._archive.fileobj
        return any(piece.strip(b"\0") for piece in iter(lambda: rest.read(PIECE), b""))

    def _next(self) -> IO[bytes] | None:
        while (member := self._archive.next()) is not None:
            if not member.isdir():
                return self._archive.extractfile(member) if member.isreg() else io.BytesIO()
        return None


def too_large(path: Path | str, at_most: int, found: str) -> ValueError:
    """Return the error for a file that has more than `at_most` bytes."""
    return ValueError(
        f"{path} has {found}, and at most {at_most:,} bytes are read (after decompression): give a "
        "smaller file"
    )


def _damaged(path: Path | str, error: Exception) -> ValueError:
    reason = str(getattr(error, "strerror", None) or error) or type(error).__name__
    return ValueError(
        f"{path} cannot be read ({reason.splitlines()[0]}): give a whole file, decompressed if "
        "need be"
    )
