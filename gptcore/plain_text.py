"""Makes text of unknown origin safe to print: control characters and the like become visible."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Sequence


def visible(text: str, keep: str = "") -> str:
    r"""Return `text` with the escapes (\x1b, \u202e) of characters that hide or reorder others.

    These are control characters, direction marks, lone surrogates and unassigned code points.
    Characters in `keep` stay.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        char.encode("unicode_escape").decode() if _is_hidden(char) and char not in keep else char
        for char in text
    )


def in_one_line(message: str) -> str:
    """Return a message as one visible line, in which a very long word has no middle."""
    return re.sub(r"\S{400,}", lambda m: f"{m[0][:100]}…{m[0][-100:]}", visible(message.strip()))


def _is_hidden(char: str) -> bool:
    category = unicodedata.category(char)
    return category[0] == "C" or category in {"Zl", "Zp"}


def shorten(text: str, width: int = 60) -> str:
    """Return one visible line of at most `width` characters; "…" marks a cut."""
    line = visible(re.sub(r"\s+", " ", text.strip(), flags=re.ASCII))
    return line if len(line) <= width else f"{line[: width - 1]}…"


def columns(text: str) -> int:
    """Return the columns of a terminal that a visible text takes.

    East Asian wide characters and emoji take two; marks that stand over another character and
    joiners take none (Unicode Standard Annex 11).
    """
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.category(char) in {"Mn", "Me", "Cf"}
        else 2 if unicodedata.east_asian_width(char) in "WF"
        else 1
        for char in text
    )  # fmt: skip


def column_names(header: Sequence[str], known: Collection[str]) -> list[str]:
    """Return names of columns as they are compared: "Unique tokens" is unique_tokens.

    Raises:
        ValueError: a name in `known` stands twice, or has a unit.
    """
    names = []
    for written in header:
        shown = "".join(char for char in written if char.isprintable()).lower()
        name = re.sub(r"[ -]+", "_", shown.strip(" #;'\""))
        plain = re.split(r"_?[(\[]", name)[0]
        if plain != name and plain in known:
            raise ValueError(
                f"the column {shorten(written)!r} has a unit: give plain numbers, and name it "
                f"{plain}"
            )
        if name in known and name in names:
            raise ValueError(f"the column {name} is named twice: keep one of them")
        names.append(name)
    return names
