"""What `gptcore evaluate` scores: a text or a part of it, in the tokens of the model."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from gptcore.cli.data import describe_source, load_data, read_source
from gptcore.cli.models import Loaded, check_vocabulary
from gptcore.cli.options import Json
from gptcore.data.sources import Source
from gptcore.data.splits import Segment
from gptcore.data.tokenizer import encode
from gptcore.data.tokens import Ids
from gptcore.data.vocabulary import gpt2
from gptcore.data.words import count_words, detokenise, words_begun


@dataclass(frozen=True)
class Piece:
    """A stretch of text whose tokens follow each other.

    Attributes:
        ids: (N,), int64.
        n_bytes: (N,), the bytes of each token; None where it is not known what ids stand for.
        n_words: (N,), the words that begin in each token; None likewise.
    """

    ids: Ids
    n_bytes: Ids | None
    n_words: Ids | None


@dataclass(frozen=True)
class ScoredText:
    """What is scored.

    Attributes:
        pieces: the stretches of the text.
        segments: where in the text they lie, in the tokens of the data; None where the model has
            others.
        train: gives the ids of the training part, piece by piece; None where there is none in the
            model's tokens.
        source: the data.
        provenance: keys of the answer that say what text it is.
        totals: unit → how many of them the text as given has, where it was rewritten; else None.
    """

    pieces: list[Piece]
    segments: tuple[Segment, ...] | None
    train: Callable[[], Iterator[Ids]] | None
    source: Source
    provenance: Json
    totals: dict[str, int] | None = None

    def places(self, first: int) -> npt.NDArray[np.int64]:
        """Return the place in the text of each target, where `first` tokens of a piece are none."""
        if self.segments is not None:
            spans = [(segment.start, segment.stop) for segment in self.segments]
        else:
            ends = np.cumsum([0, *(len(piece.ids) for piece in self.pieces)]).tolist()
            spans = list(pairwise(ends))
        return np.concatenate([np.arange(start + first, stop) for start, stop in spans])


def load_text(args: argparse.Namespace, loaded: Loaded[Any]) -> ScoredText:
    """Return what the options name, in the tokens of the model.

    Raises:
        ValueError: there is no such text, or the model has other tokens than the data.
    """
    if args.file is None and args.detokenise:
        raise ValueError("--detokenise is for a text of --file: name one, or leave it out")
    if args.file is None:
        data = load_data(args, args.context or loaded.model.config.block_size)
        segments = tuple(data.split.test if args.part == "test" else data.split.train)
        parts = data.test_parts if args.part == "test" else data.train_parts
        told = data.provenance() | {"part": args.part}
        text = ScoredText(
            _pieces(data.source, parts), segments, data.train_pieces, data.source, told
        )
    else:
        text = _whole(args, read_source(args, args.file))
    if loaded.encode is not None:
        return _encoded_anew(text, loaded.encode)
    check_vocabulary(text.source, loaded.vocabulary)
    return text


def _whole(args: argparse.Namespace, source: Source) -> ScoredText:
    told = describe_source(source) | {"part": "whole"}
    totals = None
    ids = source.stream.ids[:].astype(np.int64)
    if args.detokenise:
        if source.corpus is None or source.vocabulary != gpt2():
            raise ValueError(
                f"--detokenise rewrites a text, and {source.name} is no single text: leave it out"
            )
        given = source.corpus.text
        ids = encode(detokenise(given))
        totals = {"byte": source.corpus.n_bytes, "word": count_words(given)}
    segment = Segment(0, len(ids))
    return ScoredText(_pieces(source, [ids]), (segment,), None, source, told, totals)


def _pieces(source: Source, parts: list[Ids]) -> list[Piece]:
    made = []
    for ids in parts:
        lengths, text = source.vocabulary.token_bytes(ids), source.vocabulary.to_bytes(ids)
        words = None if lengths is None or text is None else words_begun(text, lengths)
        made.append(Piece(ids, lengths, words))
    return made


def _encoded_anew(text: ScoredText, encode_text: Callable[[str], tuple[Ids, Ids]]) -> ScoredText:
    """Return the same text in the tokens of another tokenizer.

    Raises:
        ValueError: it is not known what text the ids of the data stand for.
    """
    pieces = []
    for piece in text.pieces:
        content = text.source.vocabulary.to_bytes(piece.ids)
        if content is None:
            raise ValueError(
                f"{text.source.name} has {text.source.vocabulary.in_words}, and this model has "
                "tokens of its own: give a text"
            )
        whole = content.decode(errors="replace")
        ids, lengths = encode_text(whole)
        pieces.append(Piece(ids, lengths, words_begun(whole.encode(), lengths)))
    return replace(text, pieces=pieces, segments=None, train=None)


def unit_counts(
    text: ScoredText, first: int
) -> tuple[dict[str, npt.NDArray[np.int64]], dict[str, int]]:
    """Return how many words and bytes each target has, and how many the scored text has as given.

    Units that are not known are left out.

    Args:
        text: what is scored.
        first: the first token of a piece that is a target.
    """
    counts: dict[str, npt.NDArray[np.int64]] = {}
    totals: dict[str, int] = {}
    for unit in ("word", "byte"):
        rows = [piece.n_words if unit == "word" else piece.n_bytes for piece in text.pieces]
        known = [row for row in rows if row is not None]
        if len(known) == len(rows):
            counts[unit] = np.concatenate([row[first:] for row in known])
            whole = sum(int(row.sum()) for row in known)
            given = whole if text.totals is None else text.totals[unit]
            totals[unit] = given - whole + int(counts[unit].sum())
    return counts, totals
