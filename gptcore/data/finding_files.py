"""What a person calls data → the files that hold it: a file, a folder, or a pattern of names."""

import glob
import os
import re
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

from gptcore.data.corpora import CORPORA
from gptcore.data.naming import distinct
from gptcore.data.tables import TABLE

MOST_FILES = 100_000

_PARTS = {
    "train": "train", "training": "train",
    "val": "val", "valid": "val", "validation": "val", "dev": "val",
    "test": "test",
}  # fmt: skip
PARTS = ("train", "val", "test")
KINDS = ("tokens", "table", "text")


def find_parts(specs: Sequence[str]) -> tuple[dict[str, list[str]], list[str]]:
    """Return what to read for each part, in the order of the stream, and what is left out.

    Without a train part and another one, each file is a part of its own.

    Raises:
        ValueError: as `find_files`, or some files belong to no part.
    """
    part_of_file: dict[str, str | None] = {}
    left_out: list[str] = []
    for spec in specs:
        is_pattern = re.search(r"[*?\[]", spec) is not None
        if is_name(spec) or not (os.path.lexists(spec) or is_pattern):
            part_of_file[spec] = None
            continue
        paths, others = find_files(spec)
        left_out += others
        root = Path(spec) if Path(spec).is_dir() else None
        part_of_file |= {str(path): part_of(path, root) for path in paths}
    for file in [file for file in part_of_file if file.endswith(".idx")]:
        if f"{file.removesuffix('.idx')}.bin" in part_of_file:  # which is read with its index
            del part_of_file[file]
    files = distinct(sorted(part_of_file))
    found = {part_of_file[file] for file in files}
    if "train" not in found or not found & {"val", "test"}:
        return {f"file {i}": [file] for i, file in enumerate(files)}, left_out
    other = next((file for file in files if part_of_file[file] is None), None)
    if other is not None:
        raise ValueError(
            f"{other} belongs to no part, beside files of a train part and of another: name it "
            "train, val or test, or leave it out"
        )
    parts = {part: [file for file in files if part_of_file[file] == part] for part in PARTS}
    return {part: group for part, group in parts.items() if group}, left_out


def is_name(spec: str) -> bool:
    """Return whether data are named without a path."""
    return spec in CORPORA or spec.startswith("gutenberg:")


def find_files(spec: str) -> tuple[list[Path], list[str]]:
    """Return the files of a path, of a folder with all below it, or of a pattern, sorted.

    A folder may hold files of several kinds. Those of token ids come first (.bin, .npy), then
    tables (.jsonl, .parquet, .arrow), then texts: the files of the first kind that is there are
    taken, and the names of all others are returned beside them. Hidden files do not count.

    Raises:
        ValueError: there is no such file, or no file in it, or there are too many.
    """
    if os.path.isdir(spec):
        files = sorted(_walk(Path(spec)))
    elif os.path.lexists(spec) or not re.search(r"[*?\[]", spec):
        return [Path(spec)], []
    else:
        found = (Path(name) for name in glob.iglob(spec, recursive=True))
        files = sorted(islice((path for path in found if not path.is_dir()), MOST_FILES + 1))
    if not 0 < len(files) <= MOST_FILES:
        number = f"more than {MOST_FILES:,}" if files else "no"
        raise ValueError(f"{spec} has {number} files: give 1 to {MOST_FILES:,} files")
    kinds = [kind_of(path) for path in files]
    chosen = min(kinds, key=KINDS.index)
    taken = [path for path, kind in zip(files, kinds, strict=True) if kind == chosen]
    if chosen == "tokens":
        taken = [path for path in taken if path.suffix != ".idx"] or taken
    others = [path.name for path, kind in zip(files, kinds, strict=True) if kind != chosen]
    return taken, [name for name in others if name not in ("meta.pkl", "manifest.json")]


def kind_of(path: Path) -> str:
    """Return "tokens" for a file of token ids, "table" for one of documents, or "text"."""
    if path.suffix in (".bin", ".npy", ".idx"):
        return "tokens"
    return "table" if TABLE.search(path.name) else "text"


def part_of(path: Path, root: Path | None) -> str | None:
    """Return the part that a file's name tells: "train", "val" or "test"; None if it tells none.

    The first or the last word of the name counts, as in train.bin and in fineweb_val_000001.bin.
    If it tells nothing, the folders above do, up to `root`; without a root, the nearest one.
    """
    folders = list(path.parents)
    above = folders[: folders.index(root)] if root in folders else folders[:1]
    for name in (path.name.partition(".")[0], *(folder.name for folder in above)):
        words = re.findall("[a-z]+", name.lower())
        for word in (*words[:1], *words[-1:]):
            if word in _PARTS:
                return _PARTS[word]
    return None


def _walk(folder: Path) -> Iterator[Path]:
    """Yield the files below a folder; links to folders are not followed."""
    number = 0
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if not name.startswith("."):
                number += 1
                yield Path(place, name)
        if number > MOST_FILES:
            return
