"""The door for files: what is read, and that all else is a ValueError of one line, at once."""

import bz2
import codecs
import gzip
import io
import json
import lzma
import os
import socket
import stat
import subprocess
import sys
import tarfile
import zipfile
import zlib

import pytest

from gptcore import unpacking
from gptcore.reading import (
    open_text,
    parse_json,
    read_bytes,
    read_json,
    read_lines,
    read_text,
)
from tests.helpers.checkout import ROOT

TEXT = "start,length\n" + "".join(f"{17 * i % 1009},8\n" for i in range(2000))
DATA = TEXT.encode()


def zipped(*names, method=zipfile.ZIP_DEFLATED):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name in names:
            archive.writestr(name, b"" if name.endswith("/") else DATA)
    return file.getvalue()


def encrypted():
    content = bytearray(zipped("a.csv"))
    content[6] |= 1
    content[content.index(b"PK\x01\x02") + 8] |= 1
    return bytes(content)


def tarred(*names, mode="w"):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode) as archive:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size = len(DATA)
            archive.addfile(member, io.BytesIO(DATA))
    return file.getvalue()


PACKED = {
    "plain": DATA,
    "gzip": gzip.compress(DATA),
    "gzip of two members": gzip.compress(DATA[:99]) + gzip.compress(DATA[99:]),
    "bzip2": bz2.compress(DATA),
    "xz": lzma.compress(DATA),
    "zip": zipped("a.csv"),
    "zip in a folder": zipped("a/", "a/a.csv"),
    "zip with xz": zipped("a.csv", method=zipfile.ZIP_LZMA),
    "tar": tarred("a.csv"),
    "tar with gzip": tarred("a.csv", mode="w:gz"),
}


def _with_dictionary(content, size):
    """Return an xz file whose header wants a dictionary of `size` bytes (2 to the power of n)."""
    place = content.index(b"\x21\x01") + 2  # LZMA2, one byte of properties
    content[place] = 2 * (size.bit_length() - 1) - 24
    end = 12 + 4 * (content[12] + 1) - 4
    content[end : end + 4] = zlib.crc32(content[12:end]).to_bytes(4, "little")
    return bytes(content)


@pytest.mark.parametrize("name", PACKED)
def test_a_file_is_unpacked_by_its_content_whatever_its_name(tmp_path, name):
    (tmp_path / "table.csv").write_bytes(PACKED[name])
    assert read_text(tmp_path / "table.csv") == TEXT
    with open_text(tmp_path / "table.csv") as lines:
        assert list(lines) == TEXT.splitlines(keepends=True)


@pytest.mark.parametrize("name", [name for name in PACKED if name not in ("plain", "tar")])
def test_a_cut_or_flipped_packed_file_is_never_read_as_another_text(tmp_path, name):
    content, read, errors = PACKED[name], 0, []
    wholes = {DATA, DATA[:99], b""} if "two" in name else {DATA}
    for place in range(10, len(content) - 1, max(1, len(content) // 150)):
        flipped = bytearray(content)
        flipped[place] ^= 1 << place % 8
        for damaged in (content[:place], bytes(flipped)):
            (tmp_path / "x").write_bytes(damaged)
            try:
                assert read_text(tmp_path / "x").encode() in wholes
                read += 1
            except ValueError as error:
                errors.append(str(error))
    assert not any("\n" in error for error in errors)
    assert read < 60  # flips in names and times, and cuts after the data


def second_is_damaged(first, second, place):
    """Return two compressed parts, the second of which has one wrong byte."""
    content = bytearray(first + second)
    content[len(first) + place] ^= 0x11
    return bytes(content)


TAR = tarred("a.csv")[: 512 * (2 + len(DATA) // 512)]
"""A tar archive without the zeros at its end, so that another member can follow."""


@pytest.mark.parametrize(
    "content",
    [
        second_is_damaged(bz2.compress(DATA), bz2.compress(DATA), 0),
        second_is_damaged(lzma.compress(DATA), lzma.compress(DATA), 1),
        second_is_damaged(gzip.compress(DATA), gzip.compress(DATA), 0),
        second_is_damaged(TAR, tarred("b.csv"), 148),  # the checksum of its header
        tarred("a.csv") + tarred("b.csv"),
        zipped("a.csv") + zipped("b.csv"),
        bz2.compress(DATA) + b"more",
        lzma.compress(DATA) + b"more",
    ],
)
def test_what_follows_the_first_part_of_a_packed_file_is_not_lost(tmp_path, content):
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(ValueError, match="x cannot be read") as error:
        read_text(tmp_path / "x")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("pack", [bz2.compress, lzma.compress, gzip.compress])
def test_zeros_between_and_after_streams_are_padding(tmp_path, pack):
    (tmp_path / "x").write_bytes(pack(DATA[:99]) + bytes(512) + pack(DATA[99:]) + bytes(512))
    assert read_text(tmp_path / "x") == TEXT


def test_an_xz_file_that_wants_much_memory_is_refused(tmp_path):
    (tmp_path / "x").write_bytes(_with_dictionary(bytearray(lzma.compress(b"a")), 2**30))
    with pytest.raises(ValueError, match=r"x cannot be read .*[Mm]emory"):
        read_text(tmp_path / "x")


@pytest.mark.parametrize(
    ("encoding", "mark"),
    [
        ("utf-8", b""),
        ("utf-8", codecs.BOM_UTF8),
        ("utf-16-le", codecs.BOM_UTF16_LE),
        ("utf-16-be", codecs.BOM_UTF16_BE),
        ("utf-32-le", codecs.BOM_UTF32_LE),
        ("utf-32-be", codecs.BOM_UTF32_BE),
    ],
)
def test_texts_may_have_a_byte_order_mark(tmp_path, encoding, mark):
    (tmp_path / "x").write_bytes(mark + "é\r\n".encode(encoding))
    assert read_text(tmp_path / "x") == "é\r\n"
    with open_text(tmp_path / "x") as lines:
        assert list(lines) == ["é\r\n"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"caf\xe9", r"x is not UTF-8 at byte 3: convert"),
        (codecs.BOM_UTF16_LE + b"a", "x is not UTF-16 at byte 2: convert"),
        (codecs.BOM_UTF32_LE + b"aaaa", "x is not UTF-32 at byte 4: convert"),
        (b"\xed\xa0\x80", "x is not UTF-8 at byte 0"),
        (b"a\0b", "x has a NUL character at character 1, so it is binary"),
        (encrypted(), r"x cannot be read \(the archive is encrypted\): give"),
        (zipped(), "holds 0 files, and one is needed"),
        (zipped("a", "b"), "holds 2 files, and one is needed"),
        (tarred("a", "b"), "holds several files"),
        (tarred("a", "b", mode="w:xz"), "holds several files"),
        (b"\x28\xb5\x2f\xfd....", r"zstd needs|cannot be read"),
        (gzip.compress(bytes(10**7)), r"x has more bytes, and at most 100,000 bytes are read"),
        (bz2.compress(bytes(10**7)), "x has more bytes"),
        (lzma.compress(bytes(10**7)), "x has more bytes"),
        (bytes(100_001), "x has 100,001 bytes, and at most 100,000"),
    ],
)
def test_what_is_no_text_is_refused_in_one_line(tmp_path, content, message):
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(ValueError, match=message) as error:
        read_text(tmp_path / "x", at_most=100_000)
    assert "\n" not in str(error.value)


def test_only_regular_files_are_opened_and_nothing_waits(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket"))
        for path, kind in {
            tmp_path: "a folder",
            tmp_path / "pipe": "a pipe",
            tmp_path / "link": "a pipe",
            tmp_path / "socket": "a socket",
            "/dev/zero": "a device",
            "/dev/stdin" if stat.S_ISCHR(os.fstat(0).st_mode) else "/dev/null": "a device",
        }.items():
            with pytest.raises(ValueError, match=rf"is {kind}.*: give the path of one regular"):
                read_bytes(path)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("none", "none: there is no such file"),
        ("-", "-: there is no such file"),
        ("a\0b", r"'a\\x00b' cannot be opened"),
        ("x" * 5000, "cannot be opened .*too long"),
        ("none/x", "there is no such file"),
        ("file:///etc/hostname", "is an address, and only files are read: download it"),
        ("http://localhost/x.csv", "is an address"),
        ("s3://bucket/x.csv", "is an address"),
    ],
)
def test_a_name_is_that_of_a_file(tmp_path, monkeypatch, path, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=message):
        read_bytes(path)


def test_a_symbolic_link_to_itself_is_refused(tmp_path):
    (tmp_path / "x").symlink_to("x")
    with pytest.raises(ValueError, match="cannot be opened"):
        read_bytes(tmp_path / "x")


def test_a_compressed_file_has_a_bound_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setattr(unpacking, "MOST_UNPACKED_BYTES", 1000)
    (tmp_path / "packed").write_bytes(gzip.compress(DATA))
    (tmp_path / "plain").write_bytes(DATA)
    assert read_text(tmp_path / "plain") == TEXT
    with pytest.raises(ValueError, match=r"more bytes, and at most 1,000 bytes"):
        read_text(tmp_path / "packed")


def test_lines_are_bounded_too(tmp_path):
    (tmp_path / "x").write_bytes(b"a" * 2**21)
    with pytest.raises(ValueError, match="more than 1,048,576 characters in line 1"):
        list(read_lines(tmp_path / "x"))
    (tmp_path / "x").write_bytes(b"a\nb\0")
    with pytest.raises(ValueError, match="NUL character in line 2"):
        list(read_lines(tmp_path / "x"))


BOMB = """
import resource, sys
from gptcore.reading import read_text
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    read_text(sys.argv[1], at_most=2**24)
except ValueError as error:
    print(error, file=sys.stderr)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_a_megabyte_that_becomes_a_gigabyte_takes_no_more_than_the_bound(tmp_path):
    (tmp_path / "bomb").write_bytes(gzip.compress(bytes(2**24)) * 64)
    done = subprocess.run(
        [sys.executable, "-c", BOMB, tmp_path / "bomb"], cwd=ROOT, capture_output=True, text=True
    )
    assert "at most 16,777,216 bytes" in done.stderr
    assert int(done.stdout) < 100_000  # kB; ru_maxrss is in kB on Linux


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"x is not JSON \(Expecting value, line 1, column 1\)"),
        ("{", "x is not JSON"),
        ('{"a": 1,}', "x is not JSON"),
        ("{'a': 1}", "x is not JSON"),
        ("NaN", "NaN is not a JSON number: give a finite number, or null"),
        ('{"a": -Infinity}', "-Infinity is not a JSON number"),
        ("1e400", "the number 1e400 is too large"),
        ("1" + "0" * 400, r"the number 1000000000… \(401 characters\) is too large"),
        ("9" * 5000, r"\(5,000 characters\) is too large"),
        ('{"a": 1, "a": 2}', "the key 'a' stands twice in one object"),
        (json.dumps({str(i): 1 for i in range(50_000)})[:-1] + ', "49999": 1}', "'49999' stands"),
        ("[" * 100_000, "nested too deep: at most 64"),
        ('{"a":' * 900 + "1" + "}" * 900, "nested too deep: at most 64"),
    ],
)
def test_json_that_is_none_is_refused_in_one_line(text, message):
    with pytest.raises(ValueError, match=message) as error:
        parse_json(text, "x")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "value", [None, 10**300, -1.5e-300, "é", [[[1]] * 100], {"a": {"b": [True, {}]}}]
)
def test_json_is_read_as_it_was_written(tmp_path, value):
    (tmp_path / "x").write_text(json.dumps(value), encoding="utf-16")
    assert read_json(tmp_path / "x") == value
