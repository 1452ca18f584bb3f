"""What a person calls data → the files that hold it: a file, a folder, or a pattern of names."""

import glob
import os
import re
from collections.abc import Iterator
from pathlib import Path

from gptcore.data.tables import TABLE

MOST_FILES = 100_000

_PARTS = {
    "train": "train", "training": "train",
    "val": "val", "valid": "val", "validation": "val", "dev": "val",
    "test": "test",
}  # fmt: skip
PARTS = ("train", "val", "test")
KINDS = ("tokens", "table", "text")


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
        found = glob.iglob(spec, recursive=True)
        files = sorted(path for path in map(Path, found) if not path.is_dir())
    if not 0 < len(files) <= MOST_FILES:
        number = f"more than {MOST_FILES:,}" if files else "no"
        raise ValueError(f"{spec} has {number} files: give 1 to {MOST_FILES:,} files")
    kinds = [kind_of(path) for path in files]
    chosen = min(kinds, key=KINDS.index)
    taken = [path for path, kind in zip(files, kinds, strict=True) if kind == chosen]
    if chosen == "tokens":
        taken = [path for path in taken if path.suffix != ".idx"] or taken
    others = [path.name for path, kind in zip(files, kinds, strict=True) if kind != chosen]
    return taken, [name for name in others if name != "meta.pkl"]


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
