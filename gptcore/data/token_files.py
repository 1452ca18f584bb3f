"""Files of token ids, mapped from disk: those of nanoGPT, llm.c, Megatron, and NumPy.

A file is recognised by its first bytes and by its name. Nothing that it says about itself is
trusted: lengths are compared with the size of the file before any memory is taken, and each id is
read once, in pieces, for the largest one and for the checksum of the file.
"""

import hashlib
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from gptcore.console import Progress
from gptcore.data import tokenizer
from gptcore.data.meta_pickle import read_meta
from gptcore.data.tokens import Ids
from gptcore.data.vocabulary import GPT2, Vocabulary, gpt2
from gptcore.reading import open_regular, read_json

LARGEST_ID = 2**32 - 1
AT_ONCE = 2**22  # bytes of a file that are read at once
LLMC_HEADER_BYTES = 1024
LLMC = {20240520: (1, "<u2"), 20240801: (7, "<u4")}
"""Magic number of llm.c → version and type of the ids: GPT-2's, Llama 3's."""
PLAN, MANIFEST = ".plan.json", "manifest.json"
"""What `gptcore tokenize` writes beside its shards, first and last (`shards.py`)."""
LLMC_OTHERS = {
    20240326: "the weights of a model",
    20240327: "a state for debugging",
    20240328: "a tokenizer",
    20240522: "questions with several answers",
}
MEGATRON_MAGIC = b"MMIDIDX\0\0"
MEGATRON_HEADER_BYTES = 34
MEGATRON_TYPES = {1: "u1", 2: "i1", 3: "<i2", 4: "<i4", 5: "<i8", 8: "<u2"}
_OTHERS = {
    b"PK\x03\x04": "a zip archive, as PyTorch's weights are",
    b"GGUF": "weights in GGUF",
    b"\x1f\x8b": "compressed by gzip",
    b"\x28\xb5\x2f\xfd": "compressed by zstd",
    b"\xfd7zX": "compressed by xz",
    b"\x93NUM": "a NumPy file: name it .npy",
}


@dataclass(frozen=True, eq=False)
class DataFile:
    """The tokens of one file.

    Attributes:
        name: name of the file without its ending, or of the text.
        format: "text", "nanogpt", "llm.c", "megatron", "npy", "jsonl", "parquet" or "arrow".
        ids: (N,), each in [0, largest].
        largest: the largest id.
        sha256: SHA-256 of the file, hexadecimal; of a text, that of the cleaned text.
        vocabulary: what the ids stand for, as far as the file or a meta.pkl beside it says so.
        starts: (D,), where its documents begin, the first one at 0; None where it has no borders.
        n_bytes: length of the text in UTF-8, in bytes; None where it is not known.
        n_empty: documents without any token, which are left out.
    """

    name: str
    format: str
    ids: Ids
    largest: int
    sha256: str
    vocabulary: Vocabulary | None = None
    starts: Ids | None = None
    n_bytes: int | None = None
    n_empty: int = 0


class _Layout(NamedTuple):
    """Where the ids of a file lie, and what is known of them."""

    format: str
    dtype: np.dtype[Any]
    offset: int
    n_ids: int
    vocabulary: Vocabulary | None = None


def read_token_file(path: Path) -> DataFile:
    """Return the tokens of a file that ends in .bin, .idx or .npy.

    Raises:
        ValueError: it is not a regular file, its header or its length is wrong, it holds no ids or
            something else than ids, or one of them is outside [0, 2**32).
    """
    starts, n_empty = None, 0
    index = path.with_suffix(".idx")
    if path.suffix == ".idx" or (path.suffix == ".bin" and _is_megatron(index)):
        path = path.with_suffix(".bin")
        dtype, lengths = _read_index(index)
        starts, n_empty = _begins(lengths)
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        if starts is None:
            layout = _layout(file, path, size)
        else:
            layout = _Layout("megatron", dtype, 0, int(lengths.sum()))
        if layout.n_ids == 0:
            raise ValueError(f"{path} holds no token ids: give a file that has some")
        expected = layout.offset + layout.n_ids * layout.dtype.itemsize
        if expected != size:
            raise ValueError(
                f"{path} has {size:,} bytes, and {expected:,} belong to the {layout.n_ids:,} "
                f"{layout.dtype.name} ids that {index if starts is not None else 'its header'} "
                "names: it is cut or damaged; write it again"
            )
        largest, sha256 = _scan(file, path, layout, size)
        ids = np.memmap(file, layout.dtype, "r", layout.offset, (layout.n_ids,))
    _check_manifest(path, sha256)
    vocabulary = layout.vocabulary
    meta = path.with_name("meta.pkl")
    if layout.format in ("nanogpt", "npy") and os.path.lexists(meta):
        vocabulary = read_meta(meta)
    if vocabulary is not None and vocabulary.tokenizer == GPT2 and largest >= vocabulary.size:
        vocabulary = None  # a file of this format, with ids of another tokenizer
    return DataFile(
        path.stem, layout.format, ids, largest, sha256, vocabulary, starts, n_empty=n_empty
    )  # fmt: skip


def joint_sha256(sums: list[str]) -> str:
    """Return the SHA-256 of one file; of several, that of a text with theirs, one in each line."""
    return sums[0] if len(sums) == 1 else hashlib.sha256("\n".join(sums).encode()).hexdigest()


def llmc_header(n_tokens: int) -> bytes:
    """Return the header of a file of llm.c with so many of GPT-2's ids."""
    return np.array([20240520, 1, n_tokens], dtype="<i4").tobytes().ljust(LLMC_HEADER_BYTES, b"\0")


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """Return the manifest of a folder that `gptcore tokenize` wrote; None where there is none.

    Raises:
        ValueError: it is damaged.
    """
    path = folder / MANIFEST
    if not (os.path.lexists(folder / PLAN) and os.path.lexists(path)):
        return None
    manifest = read_json(path)
    shards = manifest.get("shards") if isinstance(manifest, dict) else None
    if not isinstance(shards, list) or not all(isinstance(shard, dict) for shard in shards):
        raise ValueError(f"{path} lists no shards: run gptcore tokenize again")
    return dict(manifest)


def _check_manifest(path: Path, sha256: str) -> None:
    """Compare a file of a folder of `gptcore tokenize` with the checksum in the manifest.

    Raises:
        ValueError: the folder is not finished, or the file is another one.
    """
    if not os.path.lexists(path.with_name(PLAN)):
        return
    manifest = read_manifest(path.parent)
    if manifest is None:
        raise ValueError(
            f"{path.parent} is not finished: run the same gptcore tokenize command again, which "
            "goes on with the shards that are missing"
        )
    if not any(
        s.get("file") == path.name and s.get("sha256") == sha256 for s in manifest["shards"]
    ):
        raise ValueError(
            f"{path} is not the shard that {MANIFEST} names: delete it and {MANIFEST}, and run the "
            "same gptcore tokenize command again"
        )


def _layout(file: BinaryIO, path: Path, size: int) -> _Layout:
    """Return the layout of a file that is not Megatron's."""
    head = file.read(LLMC_HEADER_BYTES)
    if path.suffix == ".npy":
        return _npy_layout(file, path)
    magic, version, count = np.frombuffer(head[:12].ljust(12, b"\0"), dtype="<i4").tolist()
    what = _OTHERS.get(head[:4]) or LLMC_OTHERS.get(magic)
    if head[:1] == b"\x80" and head[1:2] in b"\x02\x03\x04\x05" and len(head) > 1:
        what = "a pickle, which is not opened, because it can run code"
    if what:
        raise ValueError(f"{path} is {what}: give a file of token ids")
    if magic not in LLMC:
        if size % 2:
            raise ValueError(
                f"{path} has {size:,} bytes, an odd number, so it is no file of uint16 ids as "
                "nanoGPT writes: it is cut, or of another format (save other ids with numpy.save)"
            )
        return _Layout("nanogpt", np.dtype("<u2"), 0, size // 2)
    expected, dtype = LLMC[magic]
    if len(head) < LLMC_HEADER_BYTES or version != expected or count < 0:
        raise ValueError(
            f"{path} has the magic number {magic} of llm.c with version {version} and {count:,} "
            f"tokens in a header of {len(head)} bytes: version {expected} and "
            f"{LLMC_HEADER_BYTES} bytes are known; write it again"
        )
    vocabulary = gpt2() if magic == 20240520 else None
    return _Layout("llm.c", np.dtype(dtype), LLMC_HEADER_BYTES, count, vocabulary)


def _npy_layout(file: BinaryIO, path: Path) -> _Layout:
    file.seek(0)
    try:
        version = np.lib.format.read_magic(file)
        read = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }[version]
        shape, _, dtype = read(file)
    except Exception:  # a damaged header raises errors of many kinds
        raise ValueError(f"{path} is not a NumPy file: write it with numpy.save") from None
    if dtype.kind not in "iu" or len(shape) != 1:
        raise ValueError(
            f"{path} holds {dtype} of shape {shape}: give a flat array of integers, one token id "
            "after the other"
        )
    return _Layout("npy", dtype, file.tell(), shape[0])


def _is_megatron(index: Path) -> bool:
    """Return whether the file beside a .bin is an index of Megatron's."""
    if not os.path.lexists(index):
        return False
    with open_regular(index) as file:
        return file.read(len(MEGATRON_MAGIC)) == MEGATRON_MAGIC


def _read_index(path: Path) -> tuple[np.dtype[Any], Ids]:
    """Return the type of the ids that an .idx describes, and the tokens of each document.

    Raises:
        ValueError: it is no such index, or it points outside of its .bin or not in order.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        head = file.read(MEGATRON_HEADER_BYTES)
        if not head.startswith(MEGATRON_MAGIC) or len(head) < MEGATRON_HEADER_BYTES:
            raise ValueError(f"{path} is not an index of Megatron: give the .bin and its own .idx")
        version, sequences, documents = np.frombuffer(head[9:17] + head[18:], "<u8").tolist()
        code = head[17]
        if version != 1 or code not in MEGATRON_TYPES:
            raise ValueError(
                f"{path} has version {version} and type {code}: version 1 and the types "
                f"{', '.join(map(str, MEGATRON_TYPES))} (integers) are known"
            )
        needed = MEGATRON_HEADER_BYTES + 12 * sequences + 8 * documents
        if size not in (needed, needed + sequences):  # a byte for each sequence may follow
            raise ValueError(
                f"{path} has {size:,} bytes, and {sequences:,} sequences in {documents:,} "
                f"documents need {needed:,}: it is cut or damaged; write it again"
            )
        lengths = _take(file, "<i4", sequences)
        pointers, borders = _take(file, "<i8", sequences), _take(file, "<i8", documents)
    dtype = np.dtype(MEGATRON_TYPES[code])
    ends = np.concatenate([[0], np.cumsum(lengths)])
    if (lengths < 0).any() or (pointers != ends[:-1] * dtype.itemsize).any():
        raise ValueError(
            f"{path} has sequences that do not follow each other in the .bin: it is damaged, or "
            "was not written by Megatron's builder"
        )
    whole = len(borders) > 1 and borders[0] == 0 and borders[-1] == sequences
    if not whole or (np.diff(borders) < 0).any():
        raise ValueError(
            f"{path} has documents that do not hold its {sequences:,} sequences in order: it is "
            "damaged; write it again"
        )
    return dtype, np.diff(ends[borders])


def _take(file: BinaryIO, dtype: str, count: int) -> Ids:
    content = file.read(count * np.dtype(dtype).itemsize)
    return np.frombuffer(content, dtype).astype(np.int64)


def _begins(lengths: Ids) -> tuple[Ids, int]:
    """Return where documents with these lengths begin, and how many are empty and left out."""
    begins = np.cumsum(lengths) - lengths
    return begins[lengths > 0], int((lengths == 0).sum())


def _scan(file: BinaryIO, path: Path, layout: _Layout, size: int) -> tuple[int, str]:
    """Read a whole file once; return its largest id and its SHA-256.

    Raises:
        ValueError: an id is negative or too large, or the file became shorter.
    """
    sha256, progress = hashlib.sha256(), Progress(f"checking {path.name}")
    file.seek(0)
    sha256.update(file.read(layout.offset))
    low, high, done = math.inf, -1, layout.offset
    at_once = AT_ONCE - AT_ONCE % layout.dtype.itemsize
    while piece := file.read(at_once):
        sha256.update(piece)
        done += len(piece)
        if len(piece) % layout.dtype.itemsize == 0:
            ids = np.frombuffer(piece, layout.dtype)
            low, high = min(low, int(ids.min())), max(high, int(ids.max()))
        progress(done / 1e6, size / 1e6, " MB")
    if done != size:
        raise ValueError(f"{path} changed while it was read: give a file that stays as it is")
    if low < 0 or high > LARGEST_ID:
        raise ValueError(
            f"{path} has ids from {low} to {high}: they must lie in [0, {LARGEST_ID}]; write the "
            "ids as a tokenizer returns them"
        )
    return high, sha256.hexdigest()


def decided_vocabulary(files: "list[DataFile]", vocab_size: int | None) -> Vocabulary:
    """Return the one vocabulary of several files.

    Where no file names one, it has `vocab_size` ids, or else the largest id + 1. If these are
    50,257, the ids are taken for GPT-2's.

    Raises:
        ValueError: the files have different vocabularies, or an id lies outside.
    """
    largest = max((file.largest for file in files if file.vocabulary is None), default=0)
    size = largest + 1 if vocab_size is None else vocab_size
    inferred = gpt2() if size == tokenizer.VOCAB_SIZE else Vocabulary(size)
    found = {file.vocabulary or inferred: file for file in reversed(files)}
    if len(found) > 1:
        (one, first), (other, second) = list(found.items())[:2]
        raise ValueError(
            f"{first.name} has {one.in_words} and {second.name} {other.in_words}: give files that "
            "one tokenizer wrote"
        )
    vocabulary = next(iter(found)).with_size(vocab_size)
    for file in files:
        if file.largest >= vocabulary.size:
            raise ValueError(
                f"{file.name} has ids up to {file.largest}: they must lie in [0, "
                f"{vocabulary.size}); use the vocabulary that encoded them"
            )
    return vocabulary
