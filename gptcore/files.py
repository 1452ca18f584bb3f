"""Files that are written whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PARTIAL = ".partial-"
"""Names of unfinished files begin with this. A process that was killed may leave such a file."""


@contextmanager
def write_atomically(path: Path) -> Iterator[Path]:
    """Give a path to write to. The file written there replaces `path` when the block ends.

    After a crash or a power cut, `path` is either the old file or the new one. After an exception
    in the block it is the old file. The path to write to is in the same folder, has the same
    suffix, and is used by this process alone.
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
