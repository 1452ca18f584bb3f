"""What cases use of the command line: its texts, its model, and random ids as a control."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.suite.own import OwnModel
from bench.suite.sizes import UNIFORM
from gptcore.data.corpora import Corpus, load_corpus
from gptcore.data.naming import distinct, tell_apart
from gptcore.data.tokenizer import VOCAB_SIZE
from gptcore.data.tokens import TokenStream

UNIFORM_TOKENS = 2**17


def load_corpora(specs: Sequence[str]) -> dict[str, Corpus]:
    """Return name → corpus; equal names are told apart by the folders of their files.

    Raises:
        ValueError: a corpus cannot be read, or its name is that of another one or of the control.
    """
    corpora: dict[str, Corpus] = {}
    loaded = {spec: load_corpus(spec) for spec in specs}
    names = tell_apart({spec: corpus.name for spec, corpus in loaded.items()})
    for spec, corpus in loaded.items():
        # A name becomes part of case ids, so it may hold only characters that pytest keeps.
        name = re.sub(r"[^\w.+-]+", "_", names[spec])
        if name in corpora:
            raise ValueError(f"two corpora are called {name!r}: rename one of the files")
        if name == UNIFORM:
            raise ValueError(f"{UNIFORM!r} is the name of the control text: rename the file")
        corpora[name] = dataclasses.replace(corpus, name=name)
    return corpora


class Inputs:
    """The texts of one command line, cleaned and tokenized, and the model file that it names.

    Attributes:
        specs: name → the text's argument on the command line.
        corpora: name → cleaned text.
        own: the user's own model, None without one.

    Raises:
        ValueError: a text or the model file cannot be read.
    """

    def __init__(self, specs: Sequence[str], model: str | Path | None = None) -> None:
        self.own = None if model is None else OwnModel.load(Path(model))
        specs = distinct(list(specs))
        self.corpora = load_corpora(specs)
        self.specs = dict(zip(self.corpora, specs, strict=True))
        self._streams: dict[tuple[str, bool], TokenStream] = {}

    @property
    def arguments(self) -> dict[str, Any]:
        """Return what makes the same inputs in another process, as values that JSON can hold."""
        model = None if self.own is None else str(self.own.file.path.resolve())
        return {"specs": list(self.specs.values()), "model": model}

    def stream(self, name: str, *, raw: bool = False) -> TokenStream:
        """Return the tokens of the text called `name`, cleaned or raw; it may be the control."""
        if (name, raw) not in self._streams:
            self._streams[name, raw] = (
                _uniform_stream()
                if name == UNIFORM
                else TokenStream.from_text(self._text(name, raw))
            )
        return self._streams[name, raw]

    def _text(self, name: str, raw: bool) -> str:
        return (self.raw(name) if raw else self.corpora[name]).text

    def raw(self, name: str) -> Corpus:
        """Return the text called `name` as it is without cleaning."""
        return load_corpus(self.specs[name], raw=True)


def _uniform_stream() -> TokenStream:
    ids = np.random.default_rng(0).integers(0, VOCAB_SIZE, UNIFORM_TOKENS)
    return TokenStream(ids, VOCAB_SIZE)
