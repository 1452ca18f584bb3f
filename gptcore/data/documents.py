"""Where the documents of a text begin, and how many tokens each has."""

import itertools
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from gptcore.checks import LARGEST
from gptcore.data.corpora import Corpus, load_corpus
from gptcore.data.splits import Segment
from gptcore.data.tokenizer import VOCAB_SIZE, count_bytes, encode, token_bytes
from gptcore.data.tokens import TokenStream
from gptcore.reading import open_text, parse_json, read_lines

SEPARATOR = "<|endoftext|>"
MOST_FILES = 100_000
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


def document_lengths(spec: str) -> list[int]:
    """Return the tokens of each document that `spec` names.

    `spec` is a text file with a whole number in each line, which is the length of a document; a
    file that ends in .jsonl, with an object in each line whose "text" is a document; a folder,
    each file of which is one; or a text with known documents, as `document_starts` says.

    Raises:
        ValueError: a file cannot be read, a length is not a whole number of at least 1, or
            documents are not known.
    """
    path = Path(spec)
    if spec and path.is_dir():
        return _lengths_of_files(path)
    if path.is_file() and path.name.endswith((".jsonl", ".jsonl.gz", ".jsonl.zst")):
        return _lengths_of_json_lines(path)
    if path.is_file() and _holds_numbers(path):
        return _listed_lengths(path)
    corpus = load_corpus(spec)
    return [len(part) for part in document_segments(corpus, TokenStream.from_text(corpus.text))]


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


def _lengths_of_files(folder: Path) -> list[int]:
    paths = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    if not 0 < len(paths) <= MOST_FILES:
        raise ValueError(
            f"{folder} holds {len(paths):,} files: give a folder of 1 to {MOST_FILES:,} texts"
        )
    return [len(encode(load_corpus(str(path)).text, np.uint16)) for path in paths]


def _lengths_of_json_lines(path: Path) -> list[int]:
    lengths = []
    for number, line in enumerate(read_lines(path), 1):
        if not line.strip():
            continue
        value = parse_json(line, f"{path} line {number}")
        text = value.get("text") if isinstance(value, dict) else None
        if not isinstance(text, str) or not text:
            raise ValueError(
                f'{path} line {number} has no document: give an object whose "text" is one'
            )
        lengths.append(len(encode(text, np.uint16)))
    return _some(lengths, path)


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
    return _some(lengths, path)


def _some(lengths: list[int], path: Path) -> list[int]:
    if not lengths:
        raise ValueError(f"{path} holds no document: give at least one")
    return lengths
