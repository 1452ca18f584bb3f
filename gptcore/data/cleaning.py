"""A decoded text → the text that its author wrote, with a record of what was removed.

Line ends become LF. A byte-order mark is removed, and so are Project Gutenberg's header and
licence.
"""

import re
from typing import NamedTuple

BYTE_ORDER_MARK = "\ufeff"

# The pattern of a marker. Before it stands a line end or the beginning of the text, and blanks or
# what another format has left: tags and entities of HTML, RTF, Markdown.
_END = "\r\n\x85\u2028\u2029"
_DRESS = (
    r"(?:[ \t\f\v\xa0\ufeff\u200b-\u200d\u2060>_\[({|]|&nbsp;|&\#160;|<[^<>\r\n]{0,200}>"
    r"|\\[a-z]{1,8}[0-9]*)*+"
)
_STAR = r"(?:\\?[*\u2217\u204e\uff0a=]|&\#42;|&\#x2a;|&ast;)"
_PG = (
    r"(?:(?:THE|THIS|AN?)\s+)?(?:COPYRIGHTED\s+)?(?:PROJE[CK]?TO?|PRO[GY]E[CT]TO)\s+GUTENBERG"
    r"(?:\s*\(TM\)|\s*&(?:trade|reg);)?(?:\s+OF\s+(?:AUSTRALIA|CANADA)\b)?"
)
_BOOK = r"E[-\u2010-\u2014]?(?:BOOK|TEXT)"
_MARKER = re.compile(
    rf"""(?<![^{_END}]) {_DRESS} (?:
      (?P<opens>
        {_STAR}{{2,}}+ (?:\s|&nbsp;)*+ (?:START|BEGINNING) \s+ OF \s+ {_PG} (?!\s+LICEN[CS]E)
        | (?:{_STAR}++ \s*+)?+ (?:START|BEGINNING) \s+ OF \s+ {_PG} \s+ {_BOOK} \b
      )
      | (?P<closes>
        {_STAR}{{2,}}+ (?:\s|&nbsp;)*+ END \s+ OF \s+ {_PG} (?!\s+LICEN[CS]E)
        | \*{{2,}}+ \s*+ THIS \s+ IS \s+ {_PG} [^\r\n]* ABOVE
      )
      | (?P<ends>
        (?:{_STAR}++ \s*+)?+
        (?:END\s+OF|ENDE\s+DIESE[SR]?|(?:FINE?|FIM)\s+D[EIOU]L?|EIN(?:DE|D)\s+VAN(?:\s+(?:HET|DIT))?)
        (?:\s+LIVRE\s+[ÉE]LECTRONIQUE)?
        \s+ {_PG} (?: ['\u2019]S\b | \s+{_BOOK} | [ \t]*+ (?=[{_END}]|\Z) )
      )
      | (?P<small_print>
        (?: \*++ \s*+ START \s*+ \*++ \s*+ THE \s+ SMALL \s+ PRINT (?s:.{{0,30000}}?)
          [\r\n] [ \t]*+ )?
        (?: \* \s*+ END \s*+ \*? \s*+ THE \s+ SMALL \s+ PRINT | (?<=\[)"SMALL\ PRINT"\ V\. )
      )
    )""",
    re.IGNORECASE | re.VERBOSE,
)
_HEADER = re.compile(
    rf"[\s\ufeff]*+\**+\s*+{_PG}(?:['\u2019]S)?\s+{_BOOK}(?:\s+OF\b|\s*[,:#(\[])", re.IGNORECASE
)
_STARS_AT_END = re.compile(rf"{_STAR}{{2}}(?:[\]_)}}|]|<[^<>]{{0,200}}>|\\[a-z]{{1,8}})*$")
_LEGAL = re.compile(r"gutenberg|licen[cs]e|copyright|e-?text|e-?book|royalt|donat|edition", re.I)
_MADE = r"(?:produced|prepared|transcribed|scanned|digiti[sz]ed|proofread|typed|created|converted)"
_CREDIT = re.compile(
    rf"""\[?(?:(?:this|the)\s+)?(?:project\s+gutenberg\s+)?
    (?:(?:html|text|file|edition|version|{_BOOK})\s+)*+ (?:(?:was|were|originally)\s+)*+
    (?: {_MADE}\b [^.]{{0,160}}? | (?<=version\s) ) \bby\b""",
    re.IGNORECASE | re.VERBOSE,
)
_LINE = re.compile(rf"[^{_END}]*+(?:\r\n?|[\n\x85\u2028\u2029]|\Z)")
MARKER_LINES, CREDIT_LINES = 6, 20
"""The most lines of a marker, whose title may be broken, and of a paragraph of credits."""
HEADER_CHARACTERS, LICENCE_CHARACTERS = 20_000, 3_000


def clean_text(text: str) -> tuple[str, tuple[str, ...]]:
    """Return the text without what its author did not write, and the steps that changed it.

    A byte-order mark at the beginning of the text, or of a line (where two files were joined), is
    removed, CRLF and CR become LF, and only the `authored_spans` stay.
    Blank lines next to a cut are removed, and one blank line separates two spans.
    """
    steps = []
    if BYTE_ORDER_MARK in text:
        before, text = len(text), re.sub(rf"(?<![^\r\n]){BYTE_ORDER_MARK}+", "", text)
        if len(text) < before:
            steps.append("byte-order mark dropped")
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
        steps.append("newlines normalised")
    boundaries = _boundaries(text)
    if not boundaries:
        return text, tuple(steps)
    pieces = []
    for start, stop in authored_spans(text):
        piece = text[start:stop].lstrip("\n") if start else text[start:stop]
        pieces.append(piece.rstrip("\n") + "\n" if stop < len(text) else piece)
    sides = {boundary.opens for boundary in boundaries}
    names = [name for side, name in ((True, "header"), (False, "licence")) if side in sides]
    steps.append(f"Project Gutenberg {' and '.join(names)} removed")
    return "\n".join(piece for piece in pieces if piece.strip("\n")), tuple(steps)


class Boundary(NamedTuple):
    """Where a marker of Project Gutenberg begins and ends, and whether a book opens after it."""

    start: int
    stop: int
    opens: bool


def authored_spans(text: str) -> list[tuple[int, int]]:
    r"""Return the (start, stop) characters that lie outside Project Gutenberg's boilerplate.

    Markers are lines like "\*\*\* START OF THE PROJECT GUTENBERG EBOOK …", "End of the Project
    Gutenberg Etext of …" and the "small print" of books before 2004, with any line ends. A span of
    authored text lies between two neighbouring boundaries: from a START, or the beginning of the
    text, to an END, or the end of the text. Text without markers is therefore one span. If one
    marker is missing, only the other side is cut. A repeated header or licence is left out whole,
    and each of several books in one file is a span. Credits right after a START ("Produced by …")
    belong to the header.
    """
    spans, start = [], 0
    opened = True  # nothing, or a START, stands before `start`
    for boundary in _boundaries(text):
        if opened and not boundary.opens:
            spans.append((start, boundary.start))
        start, opened = boundary.stop, boundary.opens
    if opened:
        spans.append((start, len(text)))
    return [span for span in spans if span[0] < span[1]]


def _boundaries(text: str) -> list[Boundary]:
    """Return the markers of a text in order; credits after a START belong to it."""
    boundaries: list[Boundary] = []
    position = 0
    while match := _MARKER.search(text, position):
        position = _end_of_marker(text, match)
        if match["ends"] and not _is_end(text, match.start(), position):
            continue  # a text about Project Gutenberg
        # The small print stands before the book, or at the end of the file.
        opens = match["opens"] or (match["small_print"] and not _is_blank(text, position))
        if opens:
            position = _skip_credits(text, position)
        boundaries.append(Boundary(match.start(), position, bool(opens)))
    if _HEADER.match(text) and not any(boundary.opens for boundary in boundaries):
        boundaries = [*_end_of_old_header(text), *boundaries]
    return boundaries


def _is_end(text: str, start: int, stop: int) -> bool:
    """Return whether "End of …" ends a book: the line is short, and a licence or little follows."""
    rest = text[stop : stop + LICENCE_CHARACTERS]
    follows = len(rest) < LICENCE_CHARACTERS // 3 or _LEGAL.search(rest)
    return bool(follows) and _paragraph(text, start, 3) is not None


def _end_of_marker(text: str, match: re.Match[str]) -> int:
    """Return where a marker ends: after the last line of its paragraph that ends with asterisks."""
    stop = end = _end_of_line(text, match.end())
    if match["ends"] or match["small_print"]:
        return stop
    for _ in range(MARKER_LINES - 1):
        start, end = end, _end_of_line(text, end)
        line = text[start : min(end, start + 1000)].strip()
        if not line or _MARKER.match(text, start):
            break
        if _STARS_AT_END.search(line):
            stop = end
    return stop


def _end_of_old_header(text: str) -> list[Boundary]:
    """Return the credits at the end of a header without any marker, if there are such credits."""
    for match in re.finditer(r"(?:\r\n?|\n)(?=\S)", text[:HEADER_CHARACTERS]):
        if _CREDIT.match(text, match.end()):
            return [Boundary(match.end(), _skip_credits(text, match.end()), opens=True)]
    return []


def _skip_credits(text: str, start: int) -> int:
    """Return where the paragraphs end that say who made the file; `start` if there are none."""
    while (span := _paragraph(text, start, CREDIT_LINES)) and _CREDIT.match(text, span[0]):
        start = span[1]
    return start


def _paragraph(text: str, start: int, most: int) -> tuple[int, int] | None:
    """Return the span of the paragraph at `start` or after it; None if it has over `most` lines."""
    blank = re.compile(r"[\s\ufeff]*+").match(text, start)
    assert blank, "no text at all is blank too"
    begin = end = blank.end()
    for _ in range(most):
        end = _end_of_line(text, end)
        if _is_blank(text, end, _end_of_line(text, end)):
            return begin, end
    return None


def _end_of_line(text: str, start: int) -> int:
    line = _LINE.match(text, start)
    assert line, "every position begins a line, which may be empty"
    return line.end()


def _is_blank(text: str, start: int, stop: int | None = None) -> bool:
    return not text[start : stop if stop is not None else start + 10_000].strip()
