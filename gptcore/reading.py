"""The one door through which every file that a person gives is read.

A file may come from anywhere, so nothing about it is trusted. Only regular files are opened, no
more than a named number of bytes is taken, and whatever is wrong with a file becomes a ValueError
of one line that says what to do. A name is always the name of a file and never an address.

Compressed files are decompressed on the way (`gptcore/unpacking.py`); the bound holds for what
comes out.
"""

from __future__ import annotations

import codecs
import errno
import io
import json
import math
import os
import re
import shutil
import stat
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from gptcore.unpacking import PIECE, too_large, unpack

MOST_BYTES = 2**30
"""The most bytes of a text, after decompression."""
MOST_JSON_BYTES = 2**26
"""The most bytes of a file that is one JSON value, after decompression."""
MOST_LINE_CHARS = 2**20
"""The most characters of a line where a file is read line by line."""
MOST_LINES = 2**24
"""The most lines of a file that is read line by line."""
MOST_NESTING = 64
"""The most lists and objects inside each other in a JSON value."""

_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)
_MARKS = (  # longest first, because UTF-32's mark begins with that of UTF-16
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:")  # a drive of Windows is a single letter


def open_regular(path: Path | str) -> io.BufferedReader:
    """Open a file for reading, as it is on disk.

    The file is opened without waiting and checked once it is open, so that no pipe can block and
    nothing can take its place between the check and the reading.

    Raises:
        ValueError: there is no such file, it cannot be opened, or it is not a regular file.
    """
    flags = os.O_RDONLY | getattr(os, "O_BINARY", 0)
    flags |= getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)
    try:
        descriptor = os.open(path, flags)
    except (OSError, ValueError) as error:
        raise _unopened(path, error) from error
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        kind = next((words for test, words in _KINDS if test(mode)), "not a regular file")
        raise ValueError(f"{path} is {kind}: give the path of one regular file")
    return os.fdopen(descriptor, "rb")


def check_regular(path: Path | str, *, at_most: int = 2**63) -> None:
    """Check that a file that another library opens by its name is a regular one.

    Raises:
        ValueError: as `open_regular`, or the file is too large.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
    if size > at_most:
        raise too_large(path, at_most, f"{size:,} bytes")


def open_file(path: Path | str, *, at_most: int = MOST_BYTES) -> io.BufferedReader:
    """Open a file for reading, decompressed.

    Args:
        path: the file.
        at_most: the most bytes that are read, both from the file and after decompression.

    Raises:
        ValueError: as `open_regular`, or the file is too large. Reading from the result raises it
            where the compressed data are damaged or too long.
    """
    file = open_regular(path)
    try:
        size = os.fstat(file.fileno()).st_size
        if size > at_most:
            raise too_large(path, at_most, f"{size:,} bytes")
        return unpack(file, path, at_most)
    except BaseException:
        file.close()
        raise


def open_text(path: Path | str, *, at_most: int = MOST_BYTES) -> io.TextIOWrapper:
    """Open a text for reading line by line; its line ends stay, and a byte-order mark does not.

    Raises:
        ValueError: as `open_file`. Reading raises it also where the bytes are not text.
    """
    file = open_file(path, at_most=at_most)
    try:
        encoding, mark = _encoding(file.peek(4)[:4])
        file.read(mark)
    except BaseException:
        file.close()
        raise
    return io.TextIOWrapper(file, encoding, newline="")


def read_lines(
    path: Path | str, *, at_most: int = MOST_BYTES, longest: int = MOST_LINE_CHARS
) -> Iterator[str]:
    """Yield the lines of a text with their ends, without holding the text in memory.

    Raises:
        ValueError: as `open_file`; or a line has `longest` characters or more, or is not text; or
            there are more than MOST_LINES.
    """
    with open_text(path, at_most=at_most) as file:
        number = 0
        while True:
            number += 1
            try:
                line = file.readline(longest)
            except UnicodeDecodeError as error:
                raise ValueError(
                    f"{path} is not {error.encoding.upper()} near line {number}: convert it to a "
                    "text in UTF-8"
                ) from None
            check_line(line, path, number, longest)
            if number > MOST_LINES:
                raise ValueError(f"{path} has more than {MOST_LINES:,} lines: give fewer")
            if not line:
                return
            yield line


def check_line(line: str, path: Path | str, number: int, longest: int = MOST_LINE_CHARS) -> None:
    """Check a line that `readline(longest)` returned.

    Raises:
        ValueError: it is longer, or binary.
    """
    if "\0" in line:
        raise ValueError(
            f"{path} has a NUL character in line {number}, so it is binary: give a text in UTF-8"
        )
    if len(line) == longest:
        raise ValueError(
            f"{path} has more than {longest:,} characters in line {number}: give a text "
            "with shorter lines"
        )


def read_bytes(path: Path | str, *, at_most: int = MOST_BYTES) -> bytes:
    """Return the bytes of a file, decompressed.

    Raises:
        ValueError: as `open_file`, or the compressed data are damaged or too long.
    """
    content = io.BytesIO()  # which gives its bytes without a copy
    with open_file(path, at_most=at_most) as file:
        shutil.copyfileobj(file, content, PIECE)
    return content.getvalue()


def read_text(path: Path | str, *, at_most: int = MOST_BYTES) -> str:
    """Return the text of a file, decompressed and without a byte-order mark.

    Raises:
        ValueError: as `read_bytes` and `decode`.
    """
    return decode(read_bytes(path, at_most=at_most), path).removeprefix("\ufeff")


@contextmanager
def naming(path: Path | str) -> Iterator[None]:
    """Put the name of a file before an error about its content that lacks the name.

    Raises:
        ValueError: the block raised one.
    """
    try:
        yield
    except ValueError as error:
        if str(path) in str(error):
            raise
        raise ValueError(f"{path}: {error}") from error


def read_json(path: Path | str, *, at_most: int = MOST_JSON_BYTES) -> Any:
    """Return the JSON value that a file holds.

    Raises:
        ValueError: as `read_text` and `parse_json`.
    """
    return parse_json(read_text(path, at_most=at_most), path)


def decode(content: bytes, name: Path | str) -> str:
    """Return bytes as text: UTF-8, or UTF-16 or UTF-32 with a byte-order mark, which stays.

    Raises:
        ValueError: the bytes are in another encoding or binary; `name` says of which file.
    """
    encoding, _ = _encoding(content[:4])
    try:
        # A NUL is found before memory is taken for the text.
        whole = encoding != "utf-8" or b"\0" not in content
        text = (content if whole else content[: content.index(0) + 1]).decode(encoding)
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{name} is not {encoding[:6].upper().rstrip('-')} at byte {error.start}: convert it "
            "to a text in UTF-8"
        ) from None
    if "\0" in text:
        raise ValueError(
            f"{name} has a NUL character at character {text.index(chr(0))}, so it is binary: give "
            "a plain text in UTF-8"
        )
    return text


def parse_json(text: str, name: Path | str) -> Any:
    """Return the value of a JSON text, whose numbers are all finite.

    Raises:
        ValueError: the text is not JSON, a key stands twice in one object, a number is beyond what
            a float holds, or the value is nested too deep; `name` says in which file or line.
    """
    try:
        value = json.loads(
            text,
            parse_constant=_refuse_constant,
            parse_int=_whole,
            parse_float=_finite,
            object_pairs_hook=unique_keys,
        )
    except RecursionError:
        raise _too_deep(name) from None
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise ValueError(f"{name} is not JSON ({error.msg}, {place}): correct it") from None
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
    if text.count("[") + text.count("{") > MOST_NESTING:
        _check_nesting(value, name)
    return value


def _unopened(path: Path | str, error: OSError | ValueError) -> ValueError:
    code = getattr(error, "errno", None)
    if code == errno.ENOENT and _ADDRESS.match(str(path)):
        return ValueError(
            f"{path} is an address, and only files are read: download it and give its path"
        )
    if code == errno.ENOENT:
        return ValueError(f"{path}: there is no such file; give the path of one that exists")
    if code == errno.ENXIO:
        return ValueError(f"{path} is a socket or a device: give the path of one regular file")
    if isinstance(error, OSError) and os.path.isdir(path):  # on Windows
        return ValueError(f"{path} is a folder: give the path of one regular file")
    reason = getattr(error, "strerror", None) or error
    return ValueError(f"{str(path)!r} cannot be opened ({reason}): give a file that can be read")


def _encoding(head: bytes) -> tuple[str, int]:
    """Return the encoding of a text that begins with `head`, and the bytes of its mark."""
    for mark, encoding in _MARKS:
        if head.startswith(mark):
            return encoding, len(mark)
    return "utf-8", 3 if head.startswith(codecs.BOM_UTF8) else 0


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number: give a finite number, or null")


def _whole(digits: str) -> int:
    if len(digits) > 300 and (len(digits) > 310 or math.isinf(float(digits))):
        raise ValueError(_beyond(digits))
    return int(digits)


def _finite(digits: str) -> float:
    number = float(digits)
    if number == 0 and re.search("[1-9]", digits.lower().partition("e")[0]):
        raise ValueError(f"the number {digits[:20]} is too close to 0: give 0, or a larger one")
    if math.isinf(number):
        raise ValueError(_beyond(digits))
    return number


def _beyond(digits: str) -> str:
    shown = digits if len(digits) <= 20 else f"{digits[:10]}… ({len(digits):,} characters)"
    return f"the number {shown} is too large: give one of at most 1.8e308"


def unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the object of these keys and values, for `json.loads`.

    Raises:
        ValueError: a key stands twice, and one of its values would be lost.
    """
    made = dict(pairs)
    if len(made) < len(pairs):
        twice = Counter(name for name, _ in pairs).most_common(1)[0][0]
        raise ValueError(f"the key {twice[:40]!r} stands twice in one object: keep one of them")
    return made


def _check_nesting(value: Any, name: Path | str) -> None:
    level = [value]
    for _ in range(MOST_NESTING + 1):
        level = [
            child
            for parent in level
            for child in (parent.values() if isinstance(parent, dict) else parent)
            if isinstance(child, list | dict)
        ]
        if not level:
            return
    raise _too_deep(name)


def _too_deep(name: Path | str) -> ValueError:
    return ValueError(
        f"{name} is nested too deep: at most {MOST_NESTING} lists and objects may stand inside "
        "each other"
    )
