"""Files that are written whole, and locks: after failing calls, kills, and with links about."""

import errno
import os
import resource
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gptcore.files import (
    LOCK,
    PARTIAL,
    WriteError,
    lock_folder,
    remove_partials,
    write_atomically,
    write_whole,
)
from tests.helpers.checkout import ROOT
from tests.helpers.failing_calls import Fault

CODES = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_replaced_when_the_block_ends_and_not_before(tmp_path):
    path = tmp_path / "file.json"
    path.write_text("old")
    with write_atomically(path) as partial:
        partial.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert names(tmp_path) == ["file.json"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_a_write_that_fails_leaves_the_old_file_alone(tmp_path, error):
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(error), write_atomically(path) as partial:  # noqa: PT012
        partial.write_text("half")
        raise error
    assert path.read_text() == "old"
    assert names(tmp_path) == ["file"]


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("call", ["open", "close", "fsync", "replace", "chmod"])
def test_every_failing_call_gives_one_line_the_old_or_the_new_file_and_nothing_else(
    tmp_path, call, code
):
    path, kth = tmp_path / "file.md", 0
    while True:
        kth += 1
        path.write_text("old")
        fault = Fault(call, kth, code)
        with fault.active():
            try:
                write_whole(path, "new")
                message = None
            except WriteError as error:
                message = str(error)
        assert names(tmp_path) == ["file.md"]
        if not fault.happened:
            break
        assert message, f"{call} number {kth} failed without a word"
        assert message.startswith(f"cannot write {path}: {os.strerror(code)}; ")
        assert "\n" not in message
        assert path.read_text() in ("old", "new")  # new: only its name is perhaps not on disk
    assert kth > 1
    assert path.read_text() == "new"


def test_a_file_larger_than_the_limit_is_one_line(tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(WriteError, match=r"^cannot write \S+/file: File too large; raise"):
            write_whole(tmp_path / "file", b"x" * 5000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert names(tmp_path) == []


def test_a_file_that_takes_the_place_of_a_missing_folder_is_named(tmp_path):
    write_whole(tmp_path / "a" / "b" / "file", "x\n")
    with pytest.raises(WriteError, match=r"cannot write \S+/a/b/file/c: "):
        write_whole(tmp_path / "a" / "b" / "file" / "c", "x")


def test_permissions_are_those_of_the_old_file_or_of_any_new_one(tmp_path):
    (tmp_path / "usual").touch()
    write_whole(tmp_path / "file", "new")
    assert (tmp_path / "file").stat().st_mode == (tmp_path / "usual").stat().st_mode
    for mode in (0o600, 0o640, 0o444, 0o666):
        (tmp_path / "file").chmod(mode)
        write_whole(tmp_path / "file", f"{mode}")
        assert (tmp_path / "file").stat().st_mode & 0o777 == mode
        assert (tmp_path / "file").read_text() == f"{mode}"


def test_permissions_are_as_usual_where_a_library_puts_another_file_in_its_place(tmp_path):
    (tmp_path / "usual").touch()
    with write_atomically(tmp_path / "file") as partial:
        (tmp_path / "private").touch(mode=0o600)
        (tmp_path / "private").replace(partial)
    assert (tmp_path / "file").stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_a_private_file_is_never_readable_by_others_while_it_is_written(tmp_path):
    path = tmp_path / "file"
    path.touch(mode=0o600)
    with write_atomically(path) as partial:
        assert partial.stat().st_mode & 0o077 == 0


def test_the_name_to_write_to_cannot_be_guessed_and_has_the_suffix(tmp_path):
    seen = set()
    for _ in range(20):
        with write_atomically(tmp_path / "trace.json.gz") as partial:
            seen.add(partial.name)
    assert len(seen) == 20
    assert all(name.startswith(PARTIAL) and name.endswith(".gz") for name in seen)


def obstacles(folder: Path) -> dict[str, Path]:
    """Return name → what stands in the way of a file; `victim` must stay whole."""
    (folder / "victim").write_text("precious")
    (folder / "place").mkdir()
    os.mkfifo(folder / "pipe")
    targets = {"link": "victim", "dangling": "nothing", "loop": "loop", "to_folder": "place",
               "device": "/dev/null"}  # fmt: skip
    for name, target in targets.items():
        (folder / name).symlink_to(target)
    return {name: folder / name for name in (*targets, "place", "pipe")}


def test_links_folders_and_pipes_in_place_of_a_file_are_refused(tmp_path):
    for name, path in obstacles(tmp_path).items():
        before = path.lstat()
        for content in ("text", b"bytes"):
            with pytest.raises(WriteError, match=rf"cannot write \S+/{name}: it is "):
                write_whole(path, content)
        assert path.lstat().st_ino == before.st_ino
    assert (tmp_path / "victim").read_text() == "precious"
    assert not (tmp_path / "nothing").exists()
    assert not [name for name in names(tmp_path) if name.startswith(PARTIAL)]


def test_another_hard_link_keeps_the_old_content(tmp_path):
    (tmp_path / "victim").write_text("precious")
    os.link(tmp_path / "victim", tmp_path / "file")
    write_whole(tmp_path / "file", "new")
    assert (tmp_path / "victim").read_text() == "precious"


def test_what_killed_processes_left_is_removed_and_nothing_else(tmp_path):
    (tmp_path / "victim").write_text("precious")
    (tmp_path / f"{PARTIAL}1").write_text("half")
    (tmp_path / f"{PARTIAL}2.pt").symlink_to("victim")
    (tmp_path / f"{PARTIAL}folder").mkdir()
    (tmp_path / f"{PARTIAL}folder" / "half").write_text("half")
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").write_text("precious")
    (tmp_path / f"{PARTIAL}link").symlink_to("precious")
    remove_partials(tmp_path)
    remove_partials(tmp_path / "absent")
    assert names(tmp_path) == ["precious", "victim"]
    assert names(tmp_path / "precious") == ["file"]


def test_a_locked_folder_is_refused_until_the_lock_ends(tmp_path):
    folder = tmp_path / "new" / "run"
    with lock_folder(folder):
        for _ in range(2):
            with pytest.raises(WriteError, match="is in use by another run"), lock_folder(folder):
                pass
        assert names(folder) == [LOCK]
    assert names(folder) == []
    with lock_folder(folder):
        pass


HOLDER = """
import sys, time
from pathlib import Path
from gptcore.files import lock_folder
with lock_folder(Path(sys.argv[1])):
    print("locked", flush=True)
    time.sleep(60)
"""


def test_the_lock_of_a_killed_process_ends_with_it(tmp_path):
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as holder:
        assert holder.stdout.readline() == b"locked\n"
        with pytest.raises(WriteError, match="in use"), lock_folder(tmp_path):
            pass
        holder.kill()
    with lock_folder(tmp_path):
        assert names(tmp_path) == [LOCK]


COUNTER = """
import sys, time
from pathlib import Path
from gptcore.files import WriteError, lock_folder
folder, count = Path(sys.argv[1]), Path(sys.argv[1]) / "count"
done = 0
while done < 100:
    try:
        with lock_folder(folder):
            count.write_text(str(int(count.read_text()) + 1))
            done += 1
    except WriteError as error:
        assert "in use" in str(error), error
"""


def test_of_many_processes_that_come_and_go_one_at_a_time_has_the_lock(tmp_path):
    (tmp_path / "count").write_text("0")
    command = [sys.executable, "-c", COUNTER, str(tmp_path)]
    processes = [subprocess.Popen(command, cwd=ROOT) for _ in range(4)]
    assert [process.wait(timeout=60) for process in processes] == [0] * 4
    assert (tmp_path / "count").read_text() == "400"


def test_a_lock_that_was_there_keeps_its_content(tmp_path):
    (tmp_path / LOCK).write_text("a note")
    os.link(tmp_path / LOCK, tmp_path / "victim")
    with lock_folder(tmp_path), pytest.raises(WriteError, match="in use"), lock_folder(tmp_path):
        pass
    assert (tmp_path / LOCK).read_text() == (tmp_path / "victim").read_text() == "a note"


def test_no_link_and_nothing_else_is_taken_for_a_lock(tmp_path):
    for name, path in obstacles(tmp_path).items():
        folder = tmp_path / f"of-{name}"
        folder.mkdir()
        path.rename(folder / LOCK)
        with pytest.raises(WriteError, match=r"cannot write \S+/\.lock: it is "):
            lock_folder(folder).__enter__()
        assert names(folder) == [LOCK]
    assert (tmp_path / "victim").read_text() == "precious"


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EIO])
def test_a_disk_without_locks_is_one_line_and_leaves_nothing(tmp_path, monkeypatch, code):
    def flock(_file, _how):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("fcntl.flock", flock)
    with pytest.raises(WriteError, match=rf"cannot write \S+/\.lock: {os.strerror(code)}; "):
        lock_folder(tmp_path).__enter__()
    assert names(tmp_path) == []


WRITER = """
import sys
from pathlib import Path
from gptcore.files import write_whole
for i in range(10**9):
    write_whole(Path(sys.argv[1]), f"{i % 10}" * 100_000)
    print(flush=True)
"""


def test_a_killed_writer_leaves_the_old_or_the_new_file(tmp_path):
    path = tmp_path / "file"
    for i in range(5):
        command = [sys.executable, "-c", WRITER, str(path)]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as writer:
            writer.stdout.readline()
            time.sleep(0.003 * i)
            writer.kill()
        content = path.read_text()
        assert content == content[0] * 100_000
    remove_partials(tmp_path)
    assert names(tmp_path) == ["file"]


def test_a_file_is_on_disk_before_it_replaces_the_old_one_and_its_name_after(tmp_path, monkeypatch):
    calls = []
    fsync, replace = os.fsync, os.replace

    def flushed(descriptor):
        is_folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        calls.append("flush the folder" if is_folder else "flush the file")
        fsync(descriptor)

    def replaced(old, new, **options):
        calls.append("replace")
        replace(old, new, **options)

    monkeypatch.setattr(os, "fsync", flushed)
    monkeypatch.setattr(os, "replace", replaced)
    write_whole(tmp_path / "a.txt", "new")
    assert calls == ["flush the file", "replace", "flush the folder"]


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="open files are counted on Linux")
def test_a_lock_that_is_refused_leaves_no_file_open(tmp_path):
    with lock_folder(tmp_path):
        before = len(os.listdir("/proc/self/fd"))
        with pytest.raises(WriteError, match="in use by another run"), lock_folder(tmp_path):
            pass
        assert len(os.listdir("/proc/self/fd")) == before
