"""Data of any format → one stream of token ids, with the borders that no window crosses.

Files stand one behind the other in one stream: those of the train part first, then those of the
validation and the test part. So a place in the stream means the same to every sampler, count and
audit, whether the parts lie in one text or in separate files. Files mapped from disk stay there.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gptcore.console import Progress, counted
from gptcore.data.chain import link
from gptcore.data.corpora import Corpus, load_corpus
from gptcore.data.finding_files import PARTS, find_parts, is_name, kind_of
from gptcore.data.naming import distinct
from gptcore.data.splits import Segment, Split, make_split
from gptcore.data.tables import read_table
from gptcore.data.token_files import (
    DataFile,
    decided_vocabulary,
    joint_sha256,
    read_token_file,
)
from gptcore.data.tokenizer import encode
from gptcore.data.tokens import Ids, TokenStream
from gptcore.data.vocabulary import Vocabulary, gpt2

MOST_DOCUMENTS = 2**20
PICKLES = (".pkl", ".pickle", ".pt", ".pth", ".ckpt")


@dataclass(frozen=True, eq=False)
class Part:
    """Files that belong together, and their place in the stream.

    Attributes:
        name: "train", "val" or "test" where the names of files say so; else that of the file.
        place: the tokens of the stream that are theirs.
        files: the files, in the order of the stream.
    """

    name: str
    place: Segment
    files: tuple[DataFile, ...]

    def as_dict(self, vocab_size: int) -> dict[str, Any]:
        """Return what describes the part, as JSON values."""
        counts = [file.starts for file in self.files]
        known = [len(starts) for starts in counts if starts is not None]
        return {
            "name": self.name,
            "format": "+".join(dict.fromkeys(file.format for file in self.files)),
            "n_tokens": len(self.place),
            "vocab_size": vocab_size,
            "sha256": joint_sha256([file.sha256 for file in self.files]),
            "documents": sum(known) if len(known) == len(counts) else None,
            "files": len(self.files),
        }


@dataclass(frozen=True, eq=False)
class Source:
    """Data that somebody named, as one stream of tokens.

    Attributes:
        name: the name of the text, file or folder.
        stream: the tokens of all parts, one behind the other.
        vocabulary: what the ids stand for.
        parts: in the order of the stream.
        is_divided: whether the parts are train, val or test, which lie in separate files.
        starts: int64, increasing: where documents and files begin, which no window crosses.
        sha256: of the cleaned text or of the file; of several files, that of the list of theirs.
        corpus: the text, where the data are a single text; else None.
        cleaning: the steps of cleaning that changed something in a text.
        warnings: what was left out, as sentences.
    """

    name: str
    stream: TokenStream
    vocabulary: Vocabulary
    parts: tuple[Part, ...]
    is_divided: bool
    starts: Ids
    sha256: str
    corpus: Corpus | None
    cleaning: tuple[str, ...]
    warnings: tuple[str, ...]

    def part(self, name: str) -> Part:
        """Return the part "train", "val" or "test" of data that lie in separate files.

        Raises:
            ValueError: there is no such part.
        """
        for part in self.parts if self.is_divided else ():
            if part.name == name:
                return part
        has = ", ".join(part.name for part in self.parts) if self.is_divided else "no parts"
        raise ValueError(f"{self.name} has no part {name!r}: it has {has}")

    def split(
        self,
        spec: str,
        train_fraction: float,
        *,
        embargo: int,
        block_size: int,
        joins: bool = False,
    ) -> tuple[Split, list[str]]:
        """Return the segments to train on and to test on, and warnings of what is left out.

        Where parts lie in separate files, they are the split; the test part is "test" if there is
        one, else "val". Otherwise `make_split` divides the stream. Both are then cut where
        documents begin, and pieces of less than T + 1 tokens are left out.

        Args:
            spec: as in `make_split`; "tail" where parts lie in separate files.
            train_fraction: as in `make_split`.
            embargo: as in `make_split`.
            block_size: T.
            joins: whether windows to train on may join segments, which may then be short.

        Raises:
            ValueError: as `make_split`, or a part has no window.
        """
        if self.is_divided:
            if (spec, train_fraction, embargo) != ("tail", 0.9, 0):
                raise ValueError(
                    f"{self.name} has its parts in separate files "
                    f"({', '.join(part.name for part in self.parts)}): leave out --split, "
                    "--train-fraction and --embargo"
                )
            held_out = {part.name: part.place for part in self.parts[1:]}
            test = held_out.get("test", self.parts[1].place)
            split = Split((self.parts[0].place,), (test,))
        else:
            n_tokens = len(self.stream)
            split = make_split(
                spec, n_tokens, train_fraction, embargo=embargo, block_size=block_size
            )
        train, told = self._cut("train", split.train, 0 if joins else block_size)
        test_parts, also = self._cut("test", split.test, block_size)
        return Split(train, test_parts), [*told, *also]

    def _cut(
        self, name: str, within: Sequence[Segment], block_size: int
    ) -> tuple[tuple[Segment, ...], list[str]]:
        """Cut segments where documents begin; return the pieces that hold a window, and a warning.

        Raises:
            ValueError: no piece holds a window.
        """
        edges = [
            np.concatenate(
                [[s.start], self.starts[(self.starts > s.start) & (self.starts < s.stop)]]
            )
            for s in within
        ]
        first = np.concatenate(edges)
        stops = [np.append(edge[1:], s.stop) for edge, s in zip(edges, within, strict=True)]
        last = np.concatenate(stops)
        fits = last - first > block_size
        n_tokens, short = int((last - first).sum()), int((last - first)[~fits].sum())
        if not fits.any():
            raise ValueError(
                f"the {name} part has {n_tokens:,} tokens in {len(fits):,} pieces of at most "
                f"{int((last - first).max()):,}, and one window needs {block_size + 1}: use "
                "shorter windows or more text" + (", or --join" if len(fits) > 1 else "")
            )
        if len(fits) > MOST_DOCUMENTS:
            raise ValueError(
                f"the {name} part has {len(fits):,} documents, and at most {MOST_DOCUMENTS:,} can "
                "be kept apart: give --join, or fewer files"
            )
        segments = tuple(map(Segment, first[fits].tolist(), last[fits].tolist()))
        if not short:
            return segments, []
        return segments, [
            f"{int((~fits).sum()):,} of {len(fits):,} documents of the {name} part have less than "
            f"the {block_size + 1} tokens of a window and are left out "
            f"({100 * short / n_tokens:.1f} % of its tokens): lower --block-size, or give --join "
            "so that windows cross from one document into the next."
        ]


def load_source(
    specs: str | Sequence[str],
    *,
    raw: bool = False,
    field: str = "text",
    vocab_size: int | None = None,
    join: bool = False,
) -> Source:
    """Return data as one stream of tokens, whatever their format.

    Args:
        specs: names in `CORPORA`, "gutenberg:NUMBER", or paths of files or folders, or patterns
            such as "shards/*.bin"; files are sorted by their paths.
        raw: whether texts are not cleaned.
        field: the key or column of a table that holds the text of a document.
        vocab_size: number of ids in the vocabulary; None: what the files say, else the largest
            id + 1.
        join: whether windows may cross from one document or file into the next, within a part.

    Raises:
        ValueError: there are no such data, a file cannot be read or has another content than its
            format allows, or files do not belong together.
    """
    specs = distinct([specs] if isinstance(specs, str) else list(specs))
    groups, left_out = find_parts(specs)
    parts, corpora = _read_parts(groups, raw=raw, field=field)
    every = [file for part in parts for file in part.files]
    vocabulary = decided_vocabulary(every, vocab_size)
    sizes = [file.n_bytes for file in every if file.n_bytes is not None]
    return Source(
        name=_name(specs, every),
        stream=TokenStream(
            link([file.ids for file in every]),
            vocabulary.size,
            sum(sizes) if len(sizes) == len(every) else None,
        ),
        vocabulary=vocabulary,
        parts=tuple(parts),
        is_divided="train" in groups,
        starts=_starts(every, parts if "train" in groups else parts[:1], join=join),
        sha256=joint_sha256([file.sha256 for file in every]),
        corpus=corpora[0] if len(corpora) == len(every) == 1 else None,
        cleaning=tuple(dict.fromkeys(step for corpus in corpora for step in corpus.cleaning)),
        warnings=tuple(_warnings(every, left_out)),
    )


def _read_parts(
    groups: dict[str, list[str]], *, raw: bool, field: str
) -> tuple[list[Part], list[Corpus]]:
    """Return the parts of the stream, and the texts among their files."""
    progress, n_files, n_read = Progress("file"), sum(map(len, groups.values())), 0
    parts: list[Part] = []
    corpora: list[Corpus] = []
    for name, group in groups.items():
        files = []
        for what in group:
            file, corpus = _read(what, raw=raw, field=field)
            files.append(file)
            corpora += [] if corpus is None else [corpus]
            n_read += 1
            if n_files > 1:
                progress(n_read, n_files)
        begin = parts[-1].place.stop if parts else 0
        place = Segment(begin, begin + sum(len(file.ids) for file in files))
        parts.append(Part(name if name in PARTS else files[0].name, place, tuple(files)))
    return parts, corpora


def _read(what: str, *, raw: bool, field: str) -> tuple[DataFile, Corpus | None]:
    path = Path(what)
    kind = "text" if is_name(what) or not os.path.lexists(path) else kind_of(path)
    if kind == "tokens":
        return read_token_file(path), None
    if kind == "table":
        return read_table(path, field), None
    if kind == "text" and path.suffix.lower() in PICKLES:
        raise ValueError(
            f"{path} is a pickle, or holds weights: it is not opened, because pickles can run "
            "code; save token ids with numpy.save"
        )
    corpus = load_corpus(what, raw=raw)
    ids = encode(corpus.text, np.uint16)
    file = DataFile(
        name=corpus.name,
        format="text",
        ids=ids,
        largest=int(ids.max()),
        sha256=corpus.sha256,
        vocabulary=gpt2(),
        n_bytes=corpus.n_bytes,
    )
    return file, corpus


def _starts(files: Sequence[DataFile], parts: Sequence[Part], *, join: bool) -> Ids:
    """Return where pieces begin that no window leaves: parts with `join`, else documents."""
    if join:
        return np.array([part.place.start for part in parts], dtype=np.int64)
    begin, starts = 0, []
    for file in files:
        starts.append(begin + (np.zeros(1, dtype=np.int64) if file.starts is None else file.starts))
        begin += len(file.ids)
    return np.concatenate(starts)


def _name(specs: Sequence[str], files: Sequence[DataFile]) -> str:
    """Return the name of a file, or of the folder that several are in."""
    first = specs[0]
    if os.path.isdir(first):
        name = Path(os.path.abspath(first)).name
    elif len(specs) == len(files):
        name = files[0].name
    else:
        name = Path(os.path.abspath(first)).parent.name  # of a pattern
    return name if len(specs) == 1 else f"{name}+{len(specs) - 1}"


def _warnings(files: Sequence[DataFile], left_out: Sequence[str]) -> Iterator[str]:
    if left_out:
        names = ", ".join(left_out[:3]) + (", …" if len(left_out) > 3 else "")
        yield (
            f"{counted(len(left_out), 'file')} of another kind in the folder "
            f"{'is' if len(left_out) == 1 else 'are'} not read ({names}): name them to use them."
        )
    for file in files:
        if file.n_empty:
            yield (
                f"{counted(file.n_empty, 'document')} of {file.name} "
                f"{'is' if file.n_empty == 1 else 'are'} empty and left out."
            )
