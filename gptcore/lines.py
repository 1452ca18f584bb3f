"""Files of lines, to which lines are added: each line is in the file whole or not at all.

A line is a JSON object that ends with a checksum, so that damage is noticed when it is read.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Self, TypeVar

from gptcore.files import SAFE, permissions, write_errors, write_whole
from gptcore.plain_text import shorten

Value = TypeVar("Value")

CHECKSUM = "crc32"


class VersionError(ValueError):
    """A line is of a version that cannot be read."""


class Appender:
    """Adds lines to a file; each line is in the file whole or not at all. Use it in `with`.

    A file that ends in the middle of a line, as a kill leaves it, loses that piece when it is
    opened (`was_torn`). After an error, what was written of a line is cut off again. If that
    fails too, the next line begins with a line break, so that it stands alone.

    Args:
        path: the file; a missing one is created. Another hard link to it keeps the old content.

    Raises:
        WriteError: the file cannot be written, or it is not a regular file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with write_errors(path):
            if permissions(path) is None:
                write_whole(path, b"")
            elif path.lstat().st_nlink > 1:
                write_whole(path, path.read_bytes())
            self._descriptor = os.open(path, os.O_RDWR | os.O_APPEND | SAFE)
            try:
                content = path.read_bytes()
                self._end = content.rfind(b"\n") + 1
                self.was_torn = self._end < len(content)
                if self.was_torn:
                    os.ftruncate(self._descriptor, self._end)
            except BaseException:
                os.close(self._descriptor)
                raise
        self._is_torn = False

    def append(self, line: str, *, flush: bool = True) -> None:
        """Add a line; with `flush`, the line is on disk when this returns.

        Raises:
            WriteError: the line could not be written; the file is as it was before.
        """
        data = line.encode() + b"\n"
        left = memoryview(b"\n" + data if self._is_torn else data)
        with write_errors(self._path):
            try:
                while left:
                    left = left[os.write(self._descriptor, left) :]
                if flush:
                    os.fsync(self._descriptor)
                self._end, self._is_torn = os.fstat(self._descriptor).st_size, False
            except BaseException:
                self._cut()
                raise

    def flush(self) -> None:
        """Wait until every line is on disk.

        Raises:
            WriteError: they could not be written there.
        """
        with write_errors(self._path):
            os.fsync(self._descriptor)

    def _cut(self) -> None:
        self._is_torn = True
        with suppress(OSError):
            os.ftruncate(self._descriptor, self._end)
            self._is_torn = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        with write_errors(self._path), suppress(InterruptedError):
            os.close(self._descriptor)


def dump_line(value: dict[str, Any]) -> str:
    """Return an object as one line of JSON that ends with the key `crc32`.

    Its value is the CRC-32 (`zlib.crc32`) of the bytes of the line that stand before `,"crc32":`,
    as 8 lower-case hexadecimal digits. The line is ASCII, and its line break is not part of it.

    Raises:
        ValueError: a number is NaN or infinite.
    """
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    begin = text.removesuffix("}")
    return f'{begin},"crc32":"{zlib.crc32(begin.encode()):08x}"}}'


def load_line(line: str) -> dict[str, Any]:
    """Return the object in a line of JSON.

    The key `crc32` is in it if the line has one; lines of older versions have none.

    Raises:
        ValueError: the line is not a JSON object, or it is not what was written.
    """
    value = json.loads(line, parse_constant=_refuse_constant)
    if not isinstance(value, dict):
        raise ValueError(f"a JSON object is needed, got {type(value).__name__}")
    if CHECKSUM in value:
        begin, _, end = line.rstrip().rpartition(f',"{CHECKSUM}":')
        if end != f'"{zlib.crc32(begin.encode()):08x}"}}':
            raise ValueError("its checksum (crc32) is wrong, so it was damaged or changed")
    return value


def load_lines(
    content: bytes, name: str, load: Callable[[str], Value]
) -> tuple[list[Value], list[str]]:
    """Return what `load` makes of each line that is not blank.

    A line that cannot be read is left out.

    Args:
        content: the bytes of a file.
        name: name of the file in warnings.
        load: raises a ValueError where a line is wrong.

    Returns:
        The values, and a warning for each line that is left out.

    Raises:
        VersionError: as `load` raised it, because then no other line can be read either.
    """
    values, warnings = [], []
    for number, line in enumerate(content.split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            values.append(load(line.decode()))
        except VersionError:
            raise
        except (ValueError, RecursionError, OverflowError) as error:
            reason = shorten(str(error), 300)
            warnings.append(f"{name} line {number} cannot be read and is left out: {reason}")
    return values, warnings


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not a JSON number")
