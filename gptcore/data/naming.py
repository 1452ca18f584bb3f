"""Names of several texts: equal ones are told apart by the folders of their files."""

import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

MOST_FOLDERS = 50


def tell_apart(names: Mapping[str, str]) -> dict[str, str]:
    """Return spec → name, where equal names get the suffix or the folders of their files.

    Args:
        names: what names a text (a path, or a name that is no path) → the name of the text. No two
            paths are the same file.
    """
    told = dict(names)
    for depth in range(MOST_FOLDERS):
        counts = Counter(told.values())
        for spec, name in told.items():
            if counts[name] > 1 and os.path.exists(spec):
                *folders, file = Path(os.path.abspath(spec)).parts[1:]
                told[spec] = "_".join([*folders[-depth:], names[spec]]) if depth else file
    return told


def distinct(specs: list[str]) -> list[str]:
    """Return what names texts, in order, each text once: two spellings of a path are one."""
    first: dict[str, str] = {}
    for spec in specs:
        first.setdefault(os.path.realpath(spec) if os.path.exists(spec) else spec, spec)
    return list(first.values())
