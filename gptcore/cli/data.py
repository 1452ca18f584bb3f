"""The subcommands about texts: `corpora`, `bias` and `leakage`."""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from gptcore.checks import LARGEST
from gptcore.cli.options import (
    Json,
    add_block_size,
    add_corpus_options,
    add_ngram,
    add_reading_options,
    add_text_options,
    add_train_fraction,
)
from gptcore.console import Answer, Progress, Table, at_home, counted, percent
from gptcore.data.chain import link
from gptcore.data.corpora import CORPORA
from gptcore.data.naming import distinct, tell_apart
from gptcore.data.sources import Source, load_source
from gptcore.data.splits import Split
from gptcore.data.tokens import Ids

MOST_PARTS = 1000
"""Parts that a result describes, at most."""
MOST_SEARCHED = 2**28
"""The most tokens in which commands other than `leakage` look for what two parts share."""
AT_ONCE = 2**20


@dataclass(frozen=True)
class Data:
    """The tokens of some data, and the parts to train on and to test on."""

    source: Source
    split: Split
    block_size: int
    warnings: tuple[str, ...]
    ngram: int | None = None
    joins: bool = False

    @property
    def ids(self) -> Ids:
        """The token ids of all parts, one behind the other."""
        return self.source.stream.ids

    @property
    def train_tokens(self) -> int:
        """Tokens of the train part."""
        return sum(map(len, self.split.train))

    @property
    def test_parts(self) -> list[Ids]:
        """Token ids of each segment of the test part."""
        return [self.ids[part.start : part.stop].astype(np.int64) for part in self.split.test]

    @property
    def train_parts(self) -> list[Ids]:
        """Token ids of each segment of the train part."""
        return [self.ids[part.start : part.stop].astype(np.int64) for part in self.split.train]

    def train_pieces(self) -> Iterator[Ids]:
        """Yield the token ids of the train part, a little at a time."""
        for part in self.split.train:
            for first in range(part.start, part.stop, AT_ONCE):
                yield self.ids[first : min(first + AT_ONCE, part.stop)]

    def provenance(self, *, at_most: int = MOST_SEARCHED) -> Json:
        """Return what was measured, and what train and test share.

        Args:
            at_most: the most tokens in which what they share is looked for.
        """
        searched = len(self.ids) <= at_most
        skipped = (
            f"What training and test part share was not looked for, because the data have more "
            f"than {at_most:,} tokens: gptcore leakage does it."
        )
        return {
            **describe_source(self.source),
            "train_tokens": self.train_tokens,
            "test_tokens": sum(map(len, self.split.test)),
            "leakage": self._leakage() if searched else None,
            "warnings": [*self.warnings, *([] if searched else [skipped])],
        }

    def _leakage(self) -> Json:
        from gptcore.data.leakage import certificate, default_ngram

        default = default_ngram(self.source.vocabulary.size)
        return certificate(
            self.ids,
            self.split,
            block_size=self.block_size,
            ngram=default if self.ngram is None else self.ngram,
            joins=self.joins,
            progress=Progress("looking for shared sequences: million tokens"),
        ).as_dict()


def read_source(args: argparse.Namespace, specs: str | Sequence[str] | None = None) -> Source:
    """Return the data that the options name, or those called `specs`."""
    return load_source(
        args.corpus if specs is None else specs,
        raw=args.raw,
        field=args.field,
        vocab_size=args.vocab_size,
        join=getattr(args, "join", False),
    )


def describe_source(source: Source) -> Json:
    """Return what data were used, as JSON values."""
    return {
        "corpus": source.name,
        "sha256": source.sha256,
        "cleaning": list(source.cleaning),
        "n_tokens": len(source.stream),
        "vocab_size": source.vocabulary.size,
        "parts": [part.as_dict(source.vocabulary.size) for part in source.parts[:MOST_PARTS]],
        "warnings": list(source.warnings),
    }


def load_data(args: argparse.Namespace, block_size: int, *, joins: bool = False) -> Data:
    """Return the data and the split that the options name.

    Args:
        args: the options.
        block_size: T.
        joins: whether windows to train on may join documents.
    """
    source = read_source(args)
    split, warnings = source.split(
        args.split, args.train_fraction, embargo=args.embargo, block_size=block_size, joins=joins
    )
    told = (*source.warnings, *warnings)
    return Data(source, split, block_size, told, getattr(args, "ngram", None), joins)


def warned(result: Json) -> list[str]:
    """Return the warnings of a result as sentences for people."""
    return [f"Warning: {warning}" for warning in result["warnings"]]


def describe_parts(result: Json) -> str:
    """Return the sentence that names the text and the sizes of its two parts."""
    return (
        f"The text is {result['corpus']}: {result['n_tokens']:,} tokens, of which "
        f"{result['train_tokens']:,} are to train on and {result['test_tokens']:,} to test on."
    )


def corpora_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `gptcore corpora`."""
    parser.add_argument(
        "path",
        nargs="*",
        type=at_home,
        metavar="TEXT",
        help="a path as for --corpus of the other commands (a text, a token file, a table of "
        "documents, or a folder), or gutenberg:ID, to describe beside the texts that come with "
        "gptcore",
    )
    add_reading_options(parser)


def corpora(args: argparse.Namespace) -> Json:
    """List the texts that can be used, and describe data of any format."""
    rows: dict[str, Json] = {}
    for spec in distinct([*CORPORA, *args.path]):
        try:
            vocab_size = args.vocab_size if spec in args.path else None
            source = load_source(spec, raw=args.raw, field=args.field, vocab_size=vocab_size)
        except ValueError as error:
            if spec not in CORPORA:
                raise
            rows[spec] = {"name": spec, "available": False, "reason": str(error)}
            continue
        about = describe_source(source)
        rows[spec] = about | {
            "name": about.pop("corpus"),
            "source": source.corpus.source if source.corpus else f"local data {source.name}",
            "licence": source.corpus.licence if source.corpus else "unknown",
            "available": True,
            "n_bytes": source.stream.n_bytes,
            "tokenizer": source.vocabulary.tokenizer,
        }
    keys = ("name", "source", "licence", "available", "n_bytes", "n_tokens", "sha256", "parts")
    names = tell_apart({spec: row["name"] for spec, row in rows.items()})
    return {"corpora": [dict.fromkeys(keys) | rows[spec] | {"name": names[spec]} for spec in rows]}


def corpora_answer(result: Json) -> Answer:
    """Say how many texts there are, and list them and their parts."""
    texts = result["corpora"]
    available = [text for text in texts if text["available"]]
    rows = [
        (text["name"], text["n_tokens"], text["n_bytes"], text["licence"], text["source"])
        for text in texts
    ]
    verb = "is" if len(available) == 1 else "are"
    parts = [
        (text["name"], part["name"], part["format"], part["n_tokens"], part["documents"])
        for text in available
        for part in text["parts"]
        if [part["format"]] != ["text"] or len(text["parts"]) > 1
    ]
    headings = ("name", "part", "format", "tokens", "documents")
    return Answer(
        f"{counted(len(available), 'text')} {verb} available.",
        [
            Table(("name", "tokens", "bytes", "licence", "source"), rows),
            *([Table(headings, parts)] if parts else []),
            *map(_vocabulary_sentence, available),
            *(f"{t['name']} is not available: {t['reason']}" for t in texts if not t["available"]),
            *(
                f"Warning, {text['name']}: {told}"
                for text in available
                for told in text["warnings"]
            ),
        ],
    )


def _vocabulary_sentence(text: Json) -> str:
    known = {None: "what they stand for is not known", "gpt2": "they are GPT-2's"}
    meaning = known.get(text["tokenizer"], f"{text['tokenizer']} gives their text")
    return f"The vocabulary of {text['name']} has {text['vocab_size']:,} ids; {meaning}."


def bias_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `gptcore bias`."""
    add_text_options(parser)
    add_train_fraction(parser)
    add_ngram(parser)


def bias(args: argparse.Namespace) -> Json:
    """Say whether the test part at the end of a text is unlike the rest of the text."""
    from gptcore.data.position_bias import measure_bias

    args.split, args.embargo, args.join = "tail", 0, True  # documents lie beside each other
    data = load_data(args, 1)
    source, (train,), (tail,) = data.source, data.split.train, data.split.test
    if source.corpus is not None:
        measured = measure_bias(source.corpus, train_fraction=args.train_fraction)
    else:
        ids = link([data.ids[part.start : part.stop] for part in (train, tail)])
        measured = measure_bias(ids, n_test=len(tail), vocab_size=source.vocabulary.size)
    return {**data.provenance(at_most=LARGEST), **measured.as_dict(), "verdict": measured.verdict}


def bias_answer(result: Json) -> Answer:
    """Give the verdict, then the test part among all blocks of its length."""
    tail, profile = result["tail"], result["profile"]
    rows = []
    for name, measure, scale in (
        ("unigram", "cross-entropy, unigram model, nats per token", 1),
        ("bigram", "cross-entropy, bigram model, nats per token", 1),
        ("js", "divergence from the rest (JS), nats", 1),
        ("unseen", "tokens unseen in the rest, %", 100),
    ):
        blocks = [scale * block[name] for block in profile]
        mean, sd = statistics.fmean(blocks), statistics.pstdev(blocks)
        rows.append((measure, scale * tail[name], mean, sd, tail[f"rank_{name}"]))
    return Answer(
        result["verdict"],
        [
            Table(("measure", "test part", "mean", "sd", f"rank of {tail['n_blocks']}"), rows),
            *_boilerplate(result),
            f"Mean and sd are those of {tail['n_blocks']} blocks of the test part's length, from "
            "the start of the text to its end; rank 1 is the highest. --json lists every block.",
            *_copied(result["leakage"]),
            *warned(result),
        ],
    )


def _boilerplate(result: Json) -> Iterator[str]:
    if result["boilerplate_tokens"] is not None:
        yield (
            f"Boilerplate of Project Gutenberg makes up {result['boilerplate_tokens']:,} tokens of "
            f"the test part ({percent(result['boilerplate_share_of_test'])})."
        )


def _copied(leakage: Json) -> Iterator[str]:
    n = leakage["ngram"]
    if (share := leakage[f"shared_{n}grams_share"]) is not None:
        yield f"Of the distinct {n}-grams of the test part, {percent(share)} are in the rest, too."


def leakage_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `gptcore leakage`."""
    add_corpus_options(parser)
    add_ngram(parser)
    add_block_size(parser)


def leakage(args: argparse.Namespace) -> Json:
    """Count the tokens, targets and n-grams that training and test part share."""
    provenance = load_data(args, args.block_size).provenance(at_most=LARGEST)
    shared: Json = provenance.pop("leakage")
    return shared | provenance


def leakage_answer(result: Json) -> Answer:
    """Say how much of the test part training shows."""
    n = result["ngram"]
    trained, share = result["fraction_of_test_targets_trained"], result[f"shared_{n}grams_share"]
    positions = result["shared_tokens"], result["n_test_tokens"]
    targets = result["shared_targets"], result["n_test_targets"]
    ngrams = result[f"shared_{n}grams"], result[f"n_test_{n}grams"]
    rows = [
        ("positions of the text", *positions, 100 * positions[0] / positions[1]),
        ("targets", *targets, 100 * trained),
        (f"distinct {n}-grams", *ngrams, None if share is None else 100 * share),
    ]
    return Answer(
        f"Training shows {percent(trained) if trained else 'none'} of the targets of the test "
        f"part; {ngrams[0]:,} of its {ngrams[1]:,} distinct {n}-grams are in the training part "
        "too.",
        [
            Table(("what", "shared", "in the test part", "share, %"), rows),
            describe_parts(result),
            *warned(result),
        ],
    )
