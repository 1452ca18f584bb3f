"""A decoded text → the text that its author wrote, with a record of what was removed.

Line ends become LF. A byte-order mark is removed, and so are Project Gutenberg's header and
licence.
"""

import re

BYTE_ORDER_MARK = "\ufeff"

# A marker begins a line: it stands first, or after any of the three line ends or a byte-order mark.
_MARKER = re.compile(
    r"(?<![^\r\n\ufeff])\*\*\* ?(START|END) OF (?:THE|THIS) PROJECT GUTENBERG EBOOK[^*]{0,400}"
    r"\*\*\*[^\r\n]*(?:\r\n?|\n)?",
    re.IGNORECASE,
)


def clean_text(text: str) -> tuple[str, tuple[str, ...]]:
    """Return the text without what its author did not write, and the steps that changed it.

    A leading byte-order mark is removed, CRLF and CR become LF, and only the `authored_spans` stay.
    Blank lines next to a cut are removed, and one blank line separates two spans.
    """
    steps = []
    if text.startswith(BYTE_ORDER_MARK):
        text = text.removeprefix(BYTE_ORDER_MARK)
        steps.append("byte-order mark dropped")
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
        steps.append("newlines normalised")
    sides = {match[1].upper() for match in _MARKER.finditer(text)}
    if not sides:
        return text, tuple(steps)
    pieces = []
    for start, stop in authored_spans(text):
        piece = text[start:stop].lstrip("\n") if start else text[start:stop]
        pieces.append(piece.rstrip("\n") + "\n" if stop < len(text) else piece)
    names = [name for side, name in (("START", "header"), ("END", "licence")) if side in sides]
    steps.append(f"Project Gutenberg {' and '.join(names)} removed")
    return "\n".join(piece for piece in pieces if piece.strip("\n")), tuple(steps)


def authored_spans(text: str) -> list[tuple[int, int]]:
    r"""Return the (start, stop) characters that lie outside Project Gutenberg's boilerplate.

    Markers are lines like "\*\*\* START OF THE PROJECT GUTENBERG EBOOK …", with any line ends. A
    span of authored text lies between two neighbouring boundaries: from a START, or the beginning
    of the text, to an END, or the end of the text. Text without markers is therefore one span. If
    one marker is missing, only the other side is cut. A repeated header or licence is left out
    whole, and each of several books in one file is a span.
    """
    spans, start = [], 0
    opened = True  # nothing, or a START, stands before `start`
    for match in _MARKER.finditer(text):
        is_start = match[1].upper() == "START"
        if opened and not is_start:
            spans.append((start, match.start()))
        start, opened = match.end(), is_start
    if opened:
        spans.append((start, len(text)))
    return [span for span in spans if span[0] < span[1]]
