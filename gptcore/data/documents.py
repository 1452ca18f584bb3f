"""Where the documents of a text begin, and how many tokens each has."""

import itertools
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from gptcore.checks import LARGEST
from gptcore.data.corpora import Corpus
from gptcore.data.finding_files import kind_of
from gptcore.data.sources import load_source
from gptcore.data.splits import Segment
from gptcore.data.token_files import DataFile
from gptcore.data.tokenizer import VOCAB_SIZE, count_bytes, token_bytes
from gptcore.data.tokens import Ids, TokenStream
from gptcore.data.vocabulary import GPT2, Vocabulary
from gptcore.reading import open_text, read_lines

SEPARATOR = "<|endoftext|>"
END_OF_TEXT = VOCAB_SIZE - 1
AT_ONCE = 2**20
_HEADING = re.compile(
    r"""^[ \t]*\[?(?:chapter|letter|part|book|volume|canto|stave|act|scene)[ \t]+
    (?:[ivxlcdm]+|[0-9]{1,3})\.?\]?[ \t]*\r?$""",
    re.IGNORECASE | re.MULTILINE | re.VERBOSE,
)


def document_starts(corpus: Corpus) -> list[int]:
    """Return the characters of a text at which its documents begin; the first one is 0.

    The documents of python-docs are its topics. In another text each "<|endoftext|>" ends a
    document. Without one, documents are chapters: they begin at a heading such as "CHAPTER I." or
    "Letter 4" that stands alone in its line. Headings that follow each other without any text
    between them, as in a table of contents, begin one document.

    Raises:
        ValueError: the text has no such borders.
    """
    text = corpus.text
    starts = _topics(text) if corpus.name == "python-docs" else []
    if not starts and SEPARATOR in text:
        ends = re.finditer(rf"(?:{re.escape(SEPARATOR)}\s*)+", text)
        starts = [match.end() for match in ends]
    if not starts:
        before = 0
        for heading in _HEADING.finditer(text):
            if before == 0 or text[before : heading.start()].strip():
                starts.append(heading.start())
            before = heading.end()
    first, last = len(text) - len(text.lstrip()), len(text.rstrip())
    starts = [start for start in starts if first < start < last]
    if not starts:
        raise ValueError(
            f"corpus {corpus.name!r} has no known documents: give a text with {SEPARATOR} after "
            "each document or with headings such as CHAPTER I. alone in a line, or python-docs"
        )
    return [0, *starts]


def document_segments(
    corpus: Corpus, stream: TokenStream, within: Sequence[Segment] | None = None
) -> tuple[Segment, ...]:
    """Return the tokens of each document of a text, in order.

    A token that two documents share belongs to the first of them.

    Args:
        corpus: the text.
        stream: all of its GPT-2 tokens, in GPT-2's ids; `compact` does not move tokens.
        within: the parts of the stream that are wanted, as the training part of a split; None: all
            of it. A document that goes beyond a part is cut there.

    Raises:
        ValueError: the text has no known documents, or `stream` holds other tokens.
    """
    starts = document_starts(corpus)
    edges = itertools.pairwise(starts)
    sizes = [count_bytes(corpus.text[start:stop]) for start, stop in edges]
    if stream.vocab_size != VOCAB_SIZE:
        raise ValueError(
            f"the stream has {stream.vocab_size} ids and GPT-2 {VOCAB_SIZE}: give the stream as it "
            "was before compact()"
        )
    ends = np.cumsum(token_bytes(stream.ids))
    if ends[-1] != corpus.n_bytes:
        raise ValueError(
            f"the stream stands for {ends[-1]} bytes and corpus {corpus.name!r} has "
            f"{corpus.n_bytes}: give all tokens of this text"
        )
    begins = np.concatenate([[0], ends[:-1]])
    borders = np.searchsorted(begins, np.cumsum([0, *sizes])).tolist()
    parts = [Segment(0, len(stream))] if within is None else within
    return tuple(
        Segment(max(start, part.start), min(stop, part.stop))
        for part in parts
        for start, stop in itertools.pairwise([*borders, len(stream)])
        if max(start, part.start) < min(stop, part.stop)
    )


def document_lengths(spec: str, *, field: str = "text") -> list[int]:
    """Return the tokens of each document that `spec` names.

    `spec` is a text file with a whole number in each line, which is the length of a document; or
    any data that `load_source` reads: tables of documents, files of Megatron, several texts, each
    of which is a document, GPT-2's tokens with <|endoftext|> behind each document, or a text with
    known documents, as `document_starts` says.

    Args:
        spec: a path, or the name of a text.
        field: the key or column of a table that holds the text of a document.

    Raises:
        ValueError: a file cannot be read, a length is not a whole number of at least 1, or
            documents are not known.
    """
    path = Path(spec)
    if path.is_file() and kind_of(path) == "text" and _holds_numbers(path):
        return _listed_lengths(path)
    source = load_source(spec, field=field)
    if source.corpus is not None and not path.is_dir():
        return [len(part) for part in document_segments(source.corpus, source.stream)]
    files = (file for part in source.parts for file in part.files)
    return [n for file in files for n in _lengths_in(file, source.vocabulary)]


def _lengths_in(file: DataFile, vocabulary: Vocabulary) -> list[int]:
    """Return the tokens of each document of a file; a text is one document.

    Raises:
        ValueError: its documents are not known.
    """
    if file.starts is not None:
        return [int(n) for n in np.diff(file.starts, append=len(file.ids))]
    if file.format == "text":
        return [len(file.ids)]
    if vocabulary.tokenizer == GPT2:
        return _ended_lengths(file.ids)
    raise ValueError(
        f"{file.name} has token ids whose documents are not known: give a list of their lengths, "
        "or files that know them, as those of Megatron and JSON lines"
    )


def _ended_lengths(ids: Ids) -> list[int]:
    """Return the lengths of documents each of which ends with <|endoftext|>, perhaps but the last.

    Raises:
        ValueError: there is no such token.
    """
    pieces = range(0, len(ids), AT_ONCE)
    ends = np.concatenate(
        [
            first + 1 + np.flatnonzero(ids[first : first + AT_ONCE] == END_OF_TEXT)
            for first in pieces
        ]
    )
    if not len(ends):
        raise ValueError(
            f"the tokens have no {SEPARATOR}, which ends a document: give a list of the lengths of "
            "the documents"
        )
    edges = np.unique(np.concatenate([[0], ends, [len(ids)]]))
    return [int(length) for length in np.diff(edges)]


def _topics(text: str) -> list[int]:
    """Return where the topics of Python's help after the first one begin; empty if it has none."""
    try:
        from pydoc_data.topics import topics
    except ImportError:
        return []
    pieces = [f"{topics[key]}\n" for key in sorted(topics)]
    if text != "".join(pieces).removesuffix("\n"):
        return []  # another text of this name
    return list(itertools.accumulate(map(len, pieces[:-1])))


def _holds_numbers(path: Path) -> bool:
    """Return whether the first word of a file is a number."""
    with open_text(path) as file:
        try:
            words = file.read(100).split()
        except UnicodeDecodeError:
            return False
    return bool(words) and re.fullmatch(r"[+-]?[0-9][0-9.,_eE+-]*", words[0]) is not None


def _listed_lengths(path: Path) -> list[int]:
    lengths = []
    for number, line in enumerate(read_lines(path), 1):
        digits = line.strip()
        if not digits:
            continue
        whole = digits.isascii() and digits.isdigit() and len(digits) <= 16
        if not whole or not 1 <= int(digits) <= LARGEST:
            shown = digits if len(digits) <= 20 else f"{digits[:20]}…"
            raise ValueError(
                f"{path} line {number} is {shown!r}: give the length of one document in each line, "
                f"a whole number from 1 to {LARGEST}"
            )
        lengths.append(int(digits))
    if not lengths:
        raise ValueError(f"{path} holds no document: give at least one")
    return lengths
