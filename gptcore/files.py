"""Files that are written whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PARTIAL = ".partial-"
"""How the names of unfinished files begin; a process that was killed may leave one behind."""


@contextmanager
def write_atomically(path: Path) -> Iterator[Path]:
    """Give a path to write to; what was written there replaces `path` when the block ends.

    After a crash or a power cut `path` is the old file or the new one, and after an exception in
    the block it is the old one. The path to write to lies in the same folder and has the same
    suffix, and only this process uses it.
    """
    partial = path.with_name(f"{PARTIAL}{os.getpid()}{path.suffix}")
    try:
        yield partial
        _flush(partial, os.O_RDWR)
        partial.replace(path)
    except BaseException:
        with suppress(OSError):
            partial.unlink()
        raise
    if hasattr(os, "O_DIRECTORY"):  # not on Windows, where folders cannot be opened
        _flush(path.parent, os.O_RDONLY | os.O_DIRECTORY)


def _flush(path: Path, mode: int) -> None:
    """Wait until a file, or the names in a folder, are on disk."""
    descriptor = os.open(path, mode)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
