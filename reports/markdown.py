"""Text of unknown origin → Markdown that shows it as it is, on GitHub and in CommonMark.

Backslashes do not stop all that a renderer adds: GitHub links `@name`, `#1`, `GH-1` and commits in
the finished text, and turns `:tada:` into a picture. Only code spans are left alone. So a word is
plain where nothing in it could ever mean something, and every other word goes into a code span.
"""

from __future__ import annotations

import re

from markupsafe import Markup

from gptcore.plain_text import visible

_MARKS = "(\u201c\u2018\u00ab"
_ENDS = ".,;:?!%)\u201d\u2019\u00bb\u2026"
_NUMBER = r"[+\u2212\u00b1\u00d7~]?\d+(?:[.,]\d+)*"
_PLAIN = re.compile(
    rf"""[{_MARKS}]*
    (?: {_NUMBER}(?:[\u2013/]{_NUMBER})?                      # a point stands between digits alone
      | [^\W_]+(?:['\u2019\u2013/-][^\W_]+)*                  # letters, joined by - or ' or /
      | [=\u00b7\u00d7\u2212\u2013\u2014\u00b1\u2192%/]          # a sign between two words
    )?
    [{_ENDS}]*""",
    re.VERBOSE,
)
_LINKED = re.compile(r"(?i)(?:https?|ftp|mailto):|gh-\d|(?<![^\W_])[0-9a-f]{7,64}(?![^\W_])")
"""Links of GitHub that are plain words otherwise: the begin of an address, an issue, a commit."""


def escape(text: object) -> Markup:
    """Return `text` in one line of Markdown that renders as it is, whatever it holds."""
    runs: list[tuple[bool, list[str]]] = []
    for word in re.split(r"[ \t\n\r\f\v]+", visible(str(text), keep="\n\t").strip()):
        plain = all(map(_is_plain, re.split(r"[\u00a0\u2007\u202f]", word)))
        if not runs or runs[-1][0] != plain:
            runs.append((plain, []))
        runs[-1][1].append(word)
    line = " ".join(" ".join(part) if plain else code(" ".join(part)) for plain, part in runs)
    return Markup(re.sub(r"^(\d+)([.)])", r"\1\\\2", line))  # else it begins a list


def _is_plain(word: str) -> bool:
    return bool(_PLAIN.fullmatch(word)) and not _LINKED.search(word)


def code(text: object) -> Markup:
    """Return `text` as code spans, in one line.

    Between them stand "|", which would end a cell of a table, and "<", which simple renderers take
    for HTML in a code span, too.
    """
    line = re.sub(r"\s+", " ", visible(str(text), keep="\n\t"), flags=re.ASCII).strip(" ")
    parts = re.split("([|<])", line)
    return Markup("".join(_BETWEEN.get(part) or _span(part) for part in parts if part))


_BETWEEN = {"|": "&#124;", "<": "&lt;"}


def _span(text: str) -> str:
    longest = max(map(len, re.findall("`+", text)), default=0)
    fence = "`" * (longest + 1)
    pad = " " if text[0] in "` " or text[-1] in "` " else ""
    return f"{fence}{pad}{text}{pad}{fence}"
