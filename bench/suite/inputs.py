"""What cases use of the command line: its texts, its model, and random ids as a control."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from bench.suite.own import OwnModel
from bench.suite.reuse import Published
from bench.suite.sizes import UNIFORM
from gptcore.data.corpora import Corpus, load_corpus
from gptcore.data.naming import distinct, tell_apart
from gptcore.data.sources import Source, load_source
from gptcore.data.splits import Split, make_split
from gptcore.data.tokenizer import VOCAB_SIZE
from gptcore.data.tokens import TokenStream
from gptcore.data.vocabulary import Vocabulary, gpt2
from gptcore.model.pretrained import load_pretrained

UNIFORM_TOKENS = 2**17
MOST_TOKENS = 2**27


@dataclass(frozen=True)
class Described:
    """What a record says of a text or of other data.

    Attributes:
        name: as in the ids of cases.
        source: where they come from, in words.
        licence: SPDX identifier, or "unknown".
        sha256: as in `Source`.
        n_bytes: length of the text in UTF-8, in bytes; None where it is not known.
        cleaning: the steps that changed something.
        data: the tokens, their parts and their vocabulary.
    """

    name: str
    source: str
    licence: str
    sha256: str
    n_bytes: int | None
    cleaning: tuple[str, ...]
    data: Source


def load_corpora(specs: Sequence[str]) -> dict[str, Described]:
    """Return name → data; equal names are told apart by the folders of their files.

    Windows may cross from one document or file into the next, as with `gptcore … --join`.

    Raises:
        ValueError: data cannot be read or have too many tokens, or their name is that of other
            data or of the control.
    """
    corpora: dict[str, Described] = {}
    loaded = {spec: load_source(spec, join=True) for spec in specs}
    names = tell_apart({spec: source.name for spec, source in loaded.items()})
    for spec, data in loaded.items():
        # A name becomes part of case ids, so it may hold only characters that pytest keeps.
        name = re.sub(r"[^\w.+-]+", "_", names[spec])
        if name in corpora:
            raise ValueError(f"two corpora are called {name!r}: rename one of the files")
        if name == UNIFORM:
            raise ValueError(f"{UNIFORM!r} is the name of the control text: rename the file")
        if len(data.stream) > MOST_TOKENS:
            raise ValueError(
                f"{spec} has {len(data.stream):,} tokens, and the suite measures at most "
                f"{MOST_TOKENS:,}: give a part of it"
            )
        text = data.corpus
        corpora[name] = Described(
            name=name,
            source=f"local data {data.name}" if text is None else text.source,
            licence="unknown" if text is None else text.licence,
            sha256=data.sha256,
            n_bytes=data.stream.n_bytes,
            cleaning=data.cleaning,
            data=data,
        )
    return corpora


class Inputs:
    """The texts and other data of one command line, and the models that it names.

    Attributes:
        specs: name → the argument on the command line.
        corpora: name → what was read, as tokens.
        own: the user's own model, None without one.
        pretrained: the published model, None without one.
        has_folder_of_weights: whether it was named by a folder, which no ledger may hold.

    Raises:
        ValueError: a text, the model file or the published model cannot be read.
    """

    def __init__(
        self,
        specs: Sequence[str],
        model: str | Path | None = None,
        pretrained: str | None = None,
    ) -> None:
        self.own = None if model is None else OwnModel.load(Path(model))
        self.pretrained = None if pretrained is None else load_pretrained(pretrained)
        self.has_folder_of_weights = bool(pretrained) and Path(str(pretrained)).is_dir()
        specs = distinct(list(specs))
        self.corpora = load_corpora(specs)
        self.specs = dict(zip(self.corpora, specs, strict=True))
        self._streams: dict[tuple[str, bool], TokenStream] = {}

    @property
    def arguments(self) -> dict[str, Any]:
        """Return what makes the same inputs in another process, as values that JSON can hold."""
        model = None if self.own is None else str(self.own.file.path.resolve())
        return {"specs": list(self.specs.values()), "model": model}

    @property
    def hashes(self) -> dict[str, Any]:
        """Return what the fingerprint of a run holds of its inputs: `corpora` and the models."""
        named = (("model", self.own), ("pretrained", self.pretrained))
        models = {kind: m for kind, m in named if m is not None}
        return {
            "corpora": {name: corpus.sha256 for name, corpus in self.corpora.items()},
            **{kind: {"name": m.name, "sha256": m.sha256} for kind, m in models.items()},
        }

    @property
    def published(self) -> Published:
        """What a plan has to know of the published model."""
        return Published() if self.pretrained is None else Published.of(self.pretrained)

    def stream(self, name: str, *, raw: bool = False) -> TokenStream:
        """Return the tokens called `name`, of a text cleaned or raw; it may be the control.

        The ids are int64, in memory. A case is left out where it asks for a raw text of other data.
        """
        if (name, raw) not in self._streams:
            self._streams[name, raw] = (
                _uniform_stream()
                if name == UNIFORM
                else TokenStream.from_text(self.raw(name).text)
                if raw
                else _in_memory(self.corpora[name].data.stream)
            )
        return self._streams[name, raw]

    def vocabulary(self, name: str) -> Vocabulary:
        """Return what the ids of the data called `name` stand for."""
        return gpt2() if name == UNIFORM else self.corpora[name].data.vocabulary

    def count_bytes(self, name: str, ids: npt.NDArray[np.int64]) -> int | None:
        """Return the bytes of text that ids stand for; None where it is not known."""
        n_bytes = self.vocabulary(name).token_bytes(ids)
        return None if n_bytes is None else int(n_bytes.sum())

    def split(
        self, name: str, spec: str, n_tokens: int, *, embargo: int = 0, block_size: int
    ) -> Split:
        """Return the split of the first `n_tokens` that `spec` names.

        Where the parts of the data lie in separate files, these are the split called "tail", if no
        token is left out.
        """
        data = None if name == UNIFORM else self.corpora[name].data
        if data and data.is_divided and spec == "tail" and n_tokens == len(data.stream):
            return data.split("tail", 0.9, embargo=0, block_size=block_size)[0]
        return make_split(spec, n_tokens, embargo=embargo, block_size=block_size)

    def text(self, name: str) -> Corpus:
        """Return the text called `name`, cleaned; a case is left out where the data are no text."""
        corpus = self.corpora[name].data.corpus
        if corpus is None:
            pytest.skip(f"{name} holds token ids or several texts, and this case needs one text")
        return corpus

    def raw(self, name: str) -> Corpus:
        """Return the text called `name` as it is without cleaning; else as `text`."""
        self.text(name)
        return load_corpus(self.specs[name], raw=True)


def _in_memory(stream: TokenStream) -> TokenStream:
    return TokenStream(np.array(stream.ids[:], dtype=np.int64), stream.vocab_size, stream.n_bytes)


def _uniform_stream() -> TokenStream:
    ids = np.random.default_rng(0).integers(0, VOCAB_SIZE, UNIFORM_TOKENS)
    return TokenStream(ids, VOCAB_SIZE)
