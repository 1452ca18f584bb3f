"""Texts of any size → a folder of token shards, written in parallel and piece by piece.

A shard is a file of llm.c's format (`token_files.py`): a header with the number of tokens, then
GPT-2's ids as uint16. A file is one document, and <|endoftext|> stands behind each. All texts
together are cut into parts of about SHARD_BYTES, one for each shard. A text is cut only between a
character that is no white space and white space behind it, where GPT-2's pattern cuts any text. So
the shards, one behind the other, hold the tokens of the whole texts.

All texts are read and checked before the plan is written. The shards follow, and the manifest with
their checksums comes last. A shard is in the folder whole or not at all, so a run that was killed
goes on with those that are missing.
"""

import codecs
import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from gptcore.data.finding_files import find_files, kind_of
from gptcore.data.naming import distinct
from gptcore.data.processes import run_all
from gptcore.data.token_files import (
    LLMC_HEADER_BYTES,
    MANIFEST,
    PLAN,
    joint_sha256,
    llmc_header,
    read_manifest,
)
from gptcore.data.tokenizer import VOCAB_SIZE, encode
from gptcore.files import lock_folder, remove_partials, write_atomically, write_whole
from gptcore.reading import open_regular

SHARD_BYTES = 2**26
"""Bytes of text in a shard; the last part of a text that has no place to cut may be longer."""
PIECE = 2**20
"""Bytes of text that are tokenized at once."""
END = np.array([VOCAB_SIZE - 1], dtype="<u2")

# Between a character that is no white space and ASCII white space. The lookbehinds are the other
# characters of Unicode's White_Space, in UTF-8.
_BORDER = re.compile(
    rb"(?<=[\x21-\x7e\x80-\xff])(?<!\xc2[\x85\xa0])(?<!\xe1\x9a\x80)"
    rb"(?<!\xe2\x80[\x80-\x8a\xa8\xa9\xaf])(?<!\xe2\x81\x9f)(?<!\xe3\x80\x80)(?=[\t-\r ])"
)
_LOOK_BACK = 3  # bytes of the longest of these characters
_MARKS = (
    (b"\x1f\x8b", "gzip"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"\xfd7zXZ", "xz"),
    (b"BZh", "bz2"),
)

Progress = Callable[[str, float, float | None], None]


class Part(NamedTuple):
    """Bytes of a text file that belong to one shard.

    Attributes:
        path: the file.
        begin: the first byte.
        end: the byte behind the last one.
        is_last: whether the text ends here, so that <|endoftext|> follows.
        sha256: of these bytes, hexadecimal.
    """

    path: str
    begin: int
    end: int
    is_last: bool
    sha256: str


class Written(NamedTuple):
    """A shard in the folder: its file, its tokens and its SHA-256."""

    file: str
    n_tokens: int
    sha256: str


def write_shards(
    specs: Sequence[str],
    out: Path,
    *,
    processes: int,
    progress: Progress = lambda _what, _done, _total: None,
) -> dict[str, Any]:
    """Tokenize texts into a folder, or finish it; return the manifest and what was resumed.

    Args:
        specs: texts in UTF-8, folders of texts, or patterns of names.
        out: the folder: a new or an empty one, or that of a run with the same texts.
        processes: how many run at a time; with 1, everything happens in this process.
        progress: is told "reading" or "tokenizing", the bytes done, and all bytes if known.

    Raises:
        ValueError: a file is no text in UTF-8, changed while it was read, or is not in the texts
            of an earlier run in this folder; or the folder holds something else, or lies in one
            whose texts are read.
    """
    texts = find_texts(specs)
    _check_apart(out, specs)
    with lock_folder(out):
        remove_partials(out)
        shards = plan_shards(texts, progress)
        _check_plan(out, shards)
        paths = [out / shard_name(i) for i in range(len(shards))]
        written = [_finished(path) for path in paths if os.path.lexists(path)]
        resumed = len(written)
        tasks = [task for task in zip(paths, shards, strict=True) if not os.path.lexists(task[0])]
        sizes = [sum(part.end - part.begin for part in shard) for _, shard in tasks]
        total = sum(part.end - part.begin for shard in shards for part in shard)
        done = total - sum(sizes)
        progress("tokenizing", done, total)
        for number, result in run_all(_write_shard, tasks, processes):
            written.append(result)
            done += sizes[number]
            progress("tokenizing", done, total)
        manifest = _manifest(shards, sorted(written))
        known = read_manifest(out)
        if known is not None and known != manifest:
            raise ValueError(
                f"{out / MANIFEST} describes other shards than those in the folder: they were "
                "changed after they were written; tokenize into a new folder"
            )
        write_whole(out / MANIFEST, json.dumps(manifest, indent=1) + "\n")
        return manifest | {
            "resumed": resumed,
            "empty": len(texts) - manifest["documents"],
        }


def _manifest(shards: list[list[Part]], written: list[Written]) -> dict[str, Any]:
    """Return what the folder holds, as JSON values."""
    parts = [part for shard in shards for part in shard]
    return {
        "format": "llm.c",
        "tokenizer": "gpt2",
        "n_tokens": sum(shard.n_tokens for shard in written),
        "n_bytes": sum(part.end - part.begin for part in parts),
        "sha256": joint_sha256([shard.sha256 for shard in written]),
        "documents": sum(part.is_last for part in parts),
        "shards": [shard._asdict() for shard in written],
    }


def shard_name(number: int) -> str:
    """Return the name of the file of a shard."""
    return f"shard_{number:06d}.bin"


def find_texts(specs: Sequence[str]) -> list[Path]:
    """Return the text files that paths, folders and patterns name, sorted within each.

    Raises:
        ValueError: there is no such file, or one is not a text.
    """
    names = distinct([str(path) for spec in specs for path in find_files(spec)[0]])
    for path in map(Path, names):
        if kind_of(path) != "text":
            raise ValueError(
                f"{path} holds token ids or a table of documents: give texts, one document a file; "
                "--corpus of the other commands reads this file as it is"
            )
    return [Path(name) for name in names]


def _check_apart(out: Path, specs: Sequence[str]) -> None:
    """Refuse a folder for shards that another run would take for texts.

    Raises:
        ValueError: it is one of the folders of texts, or lies in one.
    """
    for folder in filter(os.path.isdir, specs):
        if out.resolve().is_relative_to(Path(folder).resolve()):
            raise ValueError(f"{out} lies in {folder}, whose texts are read: give a folder outside")


def plan_shards(
    paths: Sequence[Path], progress: Progress = lambda _what, _done, _total: None
) -> list[list[Part]]:
    """Return the parts of each shard, after reading every text once.

    Raises:
        ValueError: a file is compressed or not UTF-8, or no file has any text.
    """
    shards: list[list[Part]] = [[]]
    room, done = SHARD_BYTES, 0
    for path in paths:
        with open_regular(path) as file:
            for part in _parts(file, path, room):
                shards[-1].append(part)
                room -= part.end - part.begin
                done += part.end - part.begin
                progress("reading", done, None)
                if room <= 0:
                    shards.append([])
                    room = SHARD_BYTES
    shards = [shard for shard in shards if shard]
    if not shards:
        raise ValueError("the texts are empty: give at least one that has a character")
    return shards


def _parts(file: BinaryIO, path: Path, room: int) -> Iterator[Part]:
    """Yield the parts of a text: the first has about `room` bytes, the others SHARD_BYTES."""
    begin = end = 0  # of the part that is being read
    sha256, tail = hashlib.sha256(), b""
    for block in _read(file, path):
        while end + len(block) - begin > room:
            # The first place to cut in this block that leaves at least `room` bytes before it.
            least = len(tail) + max(0, begin + room - end)
            border = _BORDER.search(tail + block, least)
            if border is None:
                break
            cut = border.start() - len(tail)
            sha256.update(block[:cut])
            end += cut
            yield Part(str(path), begin, end, False, sha256.hexdigest())
            tail, block = (tail + block[:cut])[-_LOOK_BACK:], block[cut:]
            begin, room, sha256 = end, SHARD_BYTES, hashlib.sha256()
        sha256.update(block)
        end += len(block)
        tail = (tail + block)[-_LOOK_BACK:]
    if end > begin:
        yield Part(str(path), begin, end, True, sha256.hexdigest())


def _read(file: BinaryIO, path: Path) -> Iterator[bytes]:
    """Yield a text, piece by piece.

    Raises:
        ValueError: it is compressed or not UTF-8.
    """
    decoder, done, block = codecs.getincrementaldecoder("utf-8")(), 0, b"-"
    while block:
        block = file.read(PIECE)
        for mark, name in _MARKS:
            if done == 0 and block.startswith(mark):
                raise ValueError(f"{path} is compressed by {name}: decompress it first")
        waiting = len(decoder.getstate()[0])  # bytes of a character that is not complete
        try:
            decoder.decode(block, final=not block)
        except UnicodeDecodeError as error:
            place = done - waiting + error.start
            raise ValueError(
                f"{path} is not UTF-8 at byte {place:,}: convert it to UTF-8"
            ) from None
        yield block
        done += len(block)


def _check_plan(out: Path, shards: list[list[Part]]) -> None:
    """Write the plan of a new folder; compare that of an old one.

    Raises:
        ValueError: the folder is that of other texts or holds something else.
    """
    texts = [[[Path(p.path).name, p.end - p.begin, p.is_last, p.sha256] for p in s] for s in shards]
    plan = {"version": 1, "tokenizer": "gpt2", "shard_bytes": SHARD_BYTES, "parts": texts}
    content = json.dumps(plan) + "\n"
    path = out / PLAN
    if not os.path.lexists(path):
        other = next((entry.name for entry in out.iterdir() if entry.name != ".lock"), None)
        if other is not None:
            raise ValueError(f"{out} holds {other}: give a new or an empty folder")
        write_whole(path, content)
    with open_regular(path) as file:
        if file.read() != content.encode():
            raise ValueError(
                f"{out} was begun with other texts, or with another version: give the same texts "
                "in the same order, or a new folder"
            )


def _write_shard(path: Path, parts: Sequence[Part]) -> Written:
    """Write the tokens of these parts."""
    with write_atomically(path) as partial:
        with partial.open("r+b") as file:
            file.write(bytes(LLMC_HEADER_BYTES))
            for part in parts:
                for ids in _encoded(part):
                    file.write(ids.astype("<u2").tobytes())
            n_tokens = (file.tell() - LLMC_HEADER_BYTES) // 2
            file.seek(0)
            file.write(llmc_header(n_tokens))
        sha256 = _sha256(partial)
    return Written(path.name, n_tokens, sha256)


def _finished(path: Path) -> Written:
    """Return what is known of a shard that an earlier run wrote."""
    with open_regular(path) as file:
        head = file.read(LLMC_HEADER_BYTES)
        n_tokens = (os.fstat(file.fileno()).st_size - LLMC_HEADER_BYTES) // 2
    if head != llmc_header(n_tokens):
        raise ValueError(f"{path} is damaged: delete this file, and run the command again")
    return Written(path.name, n_tokens, _sha256(path))


def _sha256(path: Path) -> str:
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _encoded(part: Part) -> Iterator[np.ndarray[Any, Any]]:
    """Yield the ids of a part of a text, piece by piece.

    Raises:
        ValueError: the bytes are other ones than those of the plan.
    """
    sha256, kept = hashlib.sha256(), b""
    with open_regular(part.path) as file:
        file.seek(part.begin)
        left = part.end - part.begin
        while left and (block := file.read(min(PIECE, left))):
            sha256.update(block)
            left -= len(block)
            kept += block
            cut = _last_border(kept, len(kept) - len(block)) if left else len(kept)
            if cut:
                # Only a text that changed is not UTF-8 here, and its checksum is refused below.
                yield encode(kept[:cut].decode(errors="replace"), np.uint16)
                kept = kept[cut:]
    if left or sha256.hexdigest() != part.sha256:
        raise ValueError(f"{part.path} changed while it was read: give a file that stays as it is")
    if part.is_last:
        yield END


def _last_border(text: bytes, low: int) -> int:
    """Return the last place to cut at `low` or behind it; 0 if there is none."""
    near = 2**10
    while True:
        begin = max(low, len(text) - near)
        borders = [border.start() for border in _BORDER.finditer(text, begin)]
        if borders or begin == low:
            return borders[-1] if borders else 0
        near *= 4
