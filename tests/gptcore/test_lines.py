"""Files of lines: what is in one after each failing call, each kill and each flipped byte."""

import errno
import os
import random
import re
import subprocess
import sys
import zlib
from pathlib import Path

import pytest

from gptcore.files import WriteError
from gptcore.lines import Appender, dump_line, load_line, load_lines
from tests.helpers.checkout import ROOT
from tests.helpers.failing_calls import Fault

VALUE = {"step": 3, "loss": 2.5e-7, "text": "a\nß\u2028\ud800", "none": None, "deep": [{"x": -1}]}


def read(path: Path) -> tuple[list[int], list[str]]:
    values, warnings = load_lines(path.read_bytes(), path.name, load_line)
    return [value["n"] for value in values], warnings


def line(n: int) -> str:
    return dump_line({"n": n, "text": "x" * 50})


def test_a_line_survives_a_round_trip_with_its_checksum_last():
    text = dump_line(VALUE)
    value = load_line(text)
    assert list(value) == [*VALUE, "crc32"]
    assert value == VALUE | {"crc32": value["crc32"]}
    assert text.isascii()
    assert "\n" not in text


def test_the_checksum_is_that_of_the_bytes_before_it():
    begin, checksum = re.fullmatch(r'(.*),"crc32":"([0-9a-f]{8})"\}', dump_line(VALUE)).groups()
    assert checksum == f"{zlib.crc32(begin.encode()):08x}"
    assert dump_line({"a": 1}) == '{"a":1,"crc32":"a702fc6e"}'


def test_no_flipped_byte_changes_a_value_unnoticed():
    whole = dump_line({"n": 1, "loss": 0.125, "text": "crc32"}).encode()
    for at in range(len(whole)):
        for flip in range(1, 256):
            damaged = bytearray(whole)
            damaged[at] ^= flip
            try:
                value = load_line(damaged.decode())
            except ValueError:
                continue
            assert "crc32" not in value, damaged  # the key itself is damaged: readers ask for it


@pytest.mark.parametrize(
    "text",
    [
        '{"a":1,"crc32":"a702fc6f"}',  # another checksum
        '{"a":2,"crc32":"a702fc6e"}',  # another value
        '{"crc32":"a702fc6e","a":1}',  # not last
        '{"a":1,"crc32":"A702FC6E"}',
        '{"a":1,"crc32": "a702fc6e"}',
        '{"a":1,"crc32":null}',
        '{"a":1,"crc32":"a702fc6e"}{"a":1,"crc32":"a702fc6e"}',
        '{"a":NaN}',
        "[1]",
        "",
    ],
)
def test_a_line_that_was_not_written_so_is_refused(text):
    with pytest.raises(ValueError, match=r"checksum|JSON|Extra data|Expecting"):
        load_line(text)


def test_a_line_that_cannot_be_read_costs_itself_and_a_warning_that_names_it():
    content = b"\n".join(
        [line(1).encode(), b'{"n":2,"crc32":"00000000"}', b"\xff", line(4).encode()]
    )
    values, warnings = load_lines(content, "log.jsonl", load_line)
    assert [value["n"] for value in values] == [1, 4]
    assert [text.partition(" cannot")[0] for text in warnings] == [
        "log.jsonl line 2", "log.jsonl line 3"
    ]  # fmt: skip
    assert "checksum" in warnings[0]


CODES = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG)


@pytest.mark.parametrize("for_good", [False, True])
@pytest.mark.parametrize("short", [False, True])
@pytest.mark.parametrize("call", ["write", "fsync"])
@pytest.mark.parametrize("code", CODES)
def test_after_every_failing_call_no_line_is_lost_and_the_next_one_stands(
    tmp_path, call, short, for_good, code
):
    for kth in range(1, 7):
        path, told, failed, messages = tmp_path / f"{kth}", [], [], []
        fault = Fault(call, kth, code, short=short and call == "write", for_good=for_good)
        with Appender(path) as lines, fault.active():
            for n in range(5):
                try:
                    lines.append(line(n))
                    told.append(n)
                except WriteError as error:
                    failed.append(n)
                    messages.append(str(error).partition(";")[0])
        values, warnings = read(path)
        assert messages == [f"cannot write {path}: {os.strerror(code)}"] * (kth <= 5)
        assert [n for n in values if n not in failed] == told
        assert len(warnings) <= (1 if for_good else 0)  # what could not be cut off
        if not for_good:
            assert values == told
            assert path.read_text() == "".join(f"{line(n)}\n" for n in told)


def test_a_short_write_goes_on_where_it_stopped(tmp_path, monkeypatch):
    real = os.write
    monkeypatch.setattr(os, "write", lambda file, data: real(file, bytes(data)[:7]))
    with Appender(tmp_path / "log") as lines:
        for n in range(3):
            lines.append(line(n))
    assert read(tmp_path / "log") == ([0, 1, 2], [])


def test_an_interrupt_inside_a_write_leaves_no_piece(tmp_path, monkeypatch):
    real = os.write

    def interrupted(file, data):
        real(file, bytes(data)[:7])
        raise KeyboardInterrupt

    with Appender(tmp_path / "log") as lines:
        lines.append(line(1))
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", interrupted)
            with pytest.raises(KeyboardInterrupt):
                lines.append(line(2))
        lines.append(line(3))
    assert read(tmp_path / "log") == ([1, 3], [])


FULL = """
import resource, sys
from pathlib import Path
from gptcore.files import WriteError
from gptcore.lines import Appender, dump_line
limit = int(sys.argv[2])
with Appender(Path(sys.argv[1])) as lines:
    for n in range(40):
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit if n % 8 < 5 else 10**9, -1))
        try:
            lines.append(dump_line({"n": n, "text": "x" * 50}))
            print(n)
        except WriteError as error:
            assert "File too large" in str(error)
"""


@pytest.mark.parametrize("limit", [0, 1, 99, 100, 333, 1500])
def test_a_full_disk_that_is_emptied_again_costs_only_what_was_refused(tmp_path, limit):
    pytest.importorskip("resource")
    path = tmp_path / "log"
    path.touch()
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(path), str(limit)],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    told = [int(n) for n in done.stdout.split()]
    assert read(path) == (told, [])
    assert len(told) < 40


ENDLESS = """
import sys
from pathlib import Path
from gptcore.lines import Appender, dump_line
with Appender(Path(sys.argv[1])) as lines:
    for n in range(int(sys.argv[2]), 10**9):
        lines.append(dump_line({"n": n, "text": "x" * 5000}))
        print(n, flush=True)
"""


def test_kills_at_random_moments_lose_no_acknowledged_line(tmp_path):
    path, rng, last = tmp_path / "log", random.Random(0), -1
    for _ in range(8):
        command = [sys.executable, "-S", "-c", ENDLESS, str(path), str(last + 1)]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as process:
            for _ in range(rng.randrange(1, 30)):
                process.stdout.readline()
            process.kill()
            rest = process.stdout.read().splitlines()
        with Appender(path):
            values, warnings = read(path)
        assert not warnings
        assert values == list(range(len(values)))
        assert not rest or values[-1] >= int(rest[-1])
        last = values[-1]


def test_a_torn_end_is_cut_when_the_file_is_opened(tmp_path):
    path = tmp_path / "log"
    path.write_text(f"{line(1)}\n{line(2)[:20]}")
    with Appender(path) as lines:
        assert lines.was_torn
        lines.append(line(3))
    assert read(path) == ([1, 3], [])
    with Appender(path) as lines:
        assert not lines.was_torn


def test_links_are_not_followed_and_another_hard_link_stays_whole(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    for name, target in {"link": "victim", "dangling": "absent", "loop": "loop"}.items():
        (tmp_path / name).symlink_to(target)
        with pytest.raises(WriteError, match=rf"cannot write \S+/{name}: it is a symbolic link"):
            Appender(tmp_path / name)
    with pytest.raises(WriteError, match="it is a folder"):
        Appender(tmp_path)
    os.link(victim, tmp_path / "hard")
    with Appender(tmp_path / "hard") as lines:
        lines.append(line(1))
    assert victim.read_text() == "precious"
    assert read(tmp_path / "hard") == ([1], [])
