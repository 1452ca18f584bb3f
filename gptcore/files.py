"""The one way in which files are written: whole or not at all, by one run at a time.

`write_atomically` and `write_whole` replace a file, and `lock_folder` keeps a second run out of a
folder; `gptcore/lines.py` adds lines to a file. No symbolic link is followed. Whatever the system
refuses becomes a WriteError: one line that names the file and says what to do.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows has no such lock, as the README says
    fcntl = None  # type: ignore[assignment]

LOCK = ".lock"
ATTEMPTS = 100
"""How often a lock is tried for while other runs create and remove the file of the lock."""
PARTIAL = ".partial-"
"""Names of unfinished files begin with this. A process that was killed may leave such a file."""

SAFE = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
"""Flags with which every file is opened that is written."""
_SPACE = "free some space there, or choose another place"
_RIGHTS = "choose a place that you may write to"
_LOCKS = "choose a folder on another disk, because this one cannot lock files"
_PARENT = "choose another place, because a folder in this path is a file"
_REMEDIES = {
    errno.ENOSPC: _SPACE,
    errno.EDQUOT: _SPACE,
    errno.EFBIG: "raise the limit on the size of a file (ulimit -f), or choose another place",
    errno.EACCES: _RIGHTS,
    errno.EPERM: _RIGHTS,
    errno.EROFS: _RIGHTS,
    errno.EIO: "check the disk, or choose a place on another one",
    errno.ENOLCK: _LOCKS,
    errno.ENOSYS: _LOCKS,
    errno.EOPNOTSUPP: _LOCKS,
    errno.EEXIST: _PARENT,
    errno.ENOTDIR: _PARENT,
    errno.ENAMETOOLONG: "choose a shorter name",
}


class WriteError(ValueError):
    """A file cannot be written; the message is one line with the file, the reason, a remedy."""


@contextmanager
def write_errors(path: Path) -> Iterator[None]:
    """Turn an OSError of the block, which writes to `path`, into a WriteError."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error) or type(error).__name__
        remedy = _REMEDIES.get(error.errno or 0, "choose another place")
        raise WriteError(f"cannot write {path}: {reason}; {remedy}") from None


@contextmanager
def write_atomically(path: Path) -> Iterator[Path]:
    """Give a path to write to. The file written there replaces `path` when the block ends.

    After a crash or a power cut, `path` is either the old file or the new one. After an exception
    in the block it is the old file. The path to write to is in the same folder, which is created if
    it is missing, has the same suffix, and is a new file with a name that cannot be guessed. The
    new file has the permissions of the old one, or those of any new file; another hard link to the
    old file keeps the old content.

    Raises:
        WriteError: the file cannot be written, or `path` is a symbolic link or anything else that
            is no regular file, which would be lost.
    """
    partial = path.with_name(f"{PARTIAL}{secrets.token_hex(8)}{path.suffix}")
    with write_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        mode = permissions(path)
        try:
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | SAFE
            os.close(os.open(partial, flags, 0o666 if mode is None else 0o600))
            if mode is None:
                mode = stat.S_IMODE(partial.stat().st_mode)  # 0o666 less the umask
            yield partial
            _flush(partial, os.O_RDWR | SAFE)
            partial.chmod(mode)  # the block may have put another file in its place
            partial.replace(path)
        except BaseException:
            with suppress(OSError):
                partial.unlink()
            raise
        _flush_names(path.parent)


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file atomically; a text becomes UTF-8, and its line ends stay as they are.

    Raises:
        WriteError: as `write_atomically`.
    """
    data = content.encode() if isinstance(content, str) else content
    with write_atomically(path) as partial:
        partial.write_bytes(data)


def remove_partials(folder: Path) -> None:
    """Delete what killed processes had written of files and folders in `folder`, under its lock."""
    with write_errors(folder):
        for partial in folder.glob(f"{PARTIAL}*"):
            with suppress(OSError):  # such a file only takes space
                if partial.is_dir() and not partial.is_symlink():
                    shutil.rmtree(partial, ignore_errors=True)
                else:
                    partial.unlink()


@contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Keep other runs out of a folder during the block; a missing folder is created.

    The lock is an advisory one (flock) on the file `.lock` in the folder. It ends with the process,
    even with a killed one. A `.lock` that was there before keeps its content; one that was created
    is removed again. Windows has no such lock: there the folder is only created.

    Raises:
        WriteError: another run has the lock, the folder cannot be written to, or its disk cannot
            lock files.
    """
    with write_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder / LOCK) if fcntl else nullcontext():
        yield


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with write_errors(path):
        descriptor, created = _lock(path)
    try:
        yield
    finally:
        _release(path, descriptor, remove=created)


def _lock(path: Path) -> tuple[int, bool]:
    """Return the descriptor of a file that is locked now, and whether the file is new."""
    for _ in range(ATTEMPTS):
        created = permissions(path) is None
        try:
            flags = os.O_RDWR | SAFE | (os.O_CREAT | os.O_EXCL if created else 0)
            descriptor = os.open(path, flags, 0o666)
        except FileExistsError:
            continue  # another run has created it since
        except FileNotFoundError:
            if created:
                raise
            continue  # the run that had created it has removed it since
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The file may have been removed since it was opened, and perhaps created anew.
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(descriptor), os.lstat(path)):
                    return descriptor, created
        except BlockingIOError:
            os.close(descriptor)
            break
        except BaseException:
            _release(path, descriptor, remove=created)
            raise
        os.close(descriptor)
    raise WriteError(f"{path.parent} is in use by another run: wait for it, or give another folder")


def _release(path: Path, descriptor: int, *, remove: bool) -> None:
    if remove:
        with suppress(OSError):
            path.unlink()
    with suppress(OSError):  # the lock ends with the process at the latest
        os.close(descriptor)


def permissions(path: Path) -> int | None:
    """Return the permissions of a regular file; None if there is no file.

    Raises:
        WriteError: it is something else.
    """
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return None
    if stat.S_ISREG(mode):
        return stat.S_IMODE(mode) & 0o777
    kind = "not a regular file; give another name"
    if stat.S_ISLNK(mode):
        kind = "a symbolic link; give the file that it names, or remove the link"
    elif stat.S_ISDIR(mode):
        kind = "a folder; give the name of a file"
    raise WriteError(f"cannot write {path}: it is {kind}")


def _flush_names(folder: Path) -> None:
    """Wait until the names in a folder are on disk, where the system and the disk can do that."""
    if not hasattr(os, "O_DIRECTORY"):  # on Windows folders cannot be opened
        return
    try:
        _flush(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        if error.errno != errno.EINVAL:  # which some network disks answer
            raise


def _flush(path: Path, mode: int) -> None:
    """Wait until a file or folder is on disk."""
    descriptor = os.open(path, mode)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
