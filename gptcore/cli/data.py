"""The subcommands about texts: `corpora`, `bias` and `leakage`."""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gptcore.cli.options import (
    Json,
    add_block_size,
    add_corpus_options,
    add_raw_option,
    add_text_options,
    add_train_fraction,
)
from gptcore.console import Answer, Table, at_home, counted, percent
from gptcore.data.corpora import CORPORA, Corpus, load_corpus
from gptcore.data.naming import distinct, tell_apart
from gptcore.data.splits import Segment, Split, make_split
from gptcore.data.tokenizer import encode
from gptcore.data.tokens import Ids, TokenStream


@dataclass(frozen=True)
class Data:
    """A text, its tokens, and the parts to train on and to test on."""

    corpus: Corpus
    stream: TokenStream
    split: Split
    block_size: int

    @property
    def train_tokens(self) -> int:
        """Tokens of the train part."""
        return sum(map(len, self.split.train))

    @property
    def test_parts(self) -> list[Ids]:
        """Token ids of each segment of the test part."""
        return self._parts(self.split.test)

    @property
    def train_parts(self) -> list[Ids]:
        """Token ids of each segment of the train part."""
        return self._parts(self.split.train)

    def _parts(self, parts: Sequence[Segment]) -> list[Ids]:
        ids = self.stream.ids
        return [ids[part.start : part.stop].astype(np.int64) for part in parts]

    def provenance(self) -> Json:
        """Return what was measured, and what train and test share."""
        from gptcore.data.leakage import certificate

        leakage = certificate(self.stream.ids, self.split, block_size=self.block_size)
        return {
            "corpus": self.corpus.name,
            "sha256": self.corpus.sha256,
            "cleaning": list(self.corpus.cleaning),
            "n_tokens": len(self.stream),
            "train_tokens": self.train_tokens,
            "test_tokens": sum(map(len, self.split.test)),
            "leakage": leakage.as_dict(),
        }


def load_data(args: argparse.Namespace, block_size: int) -> Data:
    """Return the text and split that the options name."""
    corpus = load_corpus(args.corpus, raw=args.raw)
    stream = TokenStream.from_text(corpus.text, np.uint16)
    split = make_split(
        args.split, len(stream), args.train_fraction, embargo=args.embargo, block_size=block_size
    )
    return Data(corpus, stream, split, block_size)


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
        help="the path of a text, or gutenberg:ID, to describe beside the texts that come with "
        "gptcore",
    )
    add_raw_option(parser)


def corpora(args: argparse.Namespace) -> Json:
    """List the texts that can be used, with their sizes, sources and licences."""
    rows: dict[str, Json] = {}
    for spec in distinct([*CORPORA, *args.path]):
        try:
            corpus = load_corpus(spec, raw=args.raw)
        except ValueError as error:
            if spec not in CORPORA:
                raise
            rows[spec] = {"name": spec, "available": False, "reason": str(error)}
            continue
        rows[spec] = {
            "name": corpus.name,
            "source": corpus.source,
            "licence": corpus.licence,
            "available": True,
            "n_bytes": corpus.n_bytes,
            "n_tokens": len(encode(corpus.text, np.uint16)),
            "sha256": corpus.sha256,
            "cleaning": list(corpus.cleaning),
        }
    keys = ("name", "source", "licence", "available", "n_bytes", "n_tokens", "sha256")
    names = tell_apart({spec: row["name"] for spec, row in rows.items()})
    return {"corpora": [dict.fromkeys(keys) | rows[spec] | {"name": names[spec]} for spec in rows]}


def corpora_answer(result: Json) -> Answer:
    """Say how many texts there are, and list them."""
    texts = result["corpora"]
    available = [text for text in texts if text["available"]]
    rows = [
        (text["name"], text["n_tokens"], text["n_bytes"], text["licence"], text["source"])
        for text in texts
    ]
    verb = "is" if len(available) == 1 else "are"
    missing = [
        f"{text['name']} is not available: {text['reason']}"
        for text in texts
        if not text["available"]
    ]
    return Answer(
        f"{counted(len(available), 'text')} {verb} available.",
        [Table(("name", "tokens", "bytes", "licence", "source"), rows), *missing],
    )


def bias_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `gptcore bias`."""
    add_text_options(parser)
    add_train_fraction(parser)


def bias(args: argparse.Namespace) -> Json:
    """Say whether the test part at the end of a text is unlike the rest of the text."""
    from gptcore.data.position_bias import measure_bias

    corpus = load_corpus(args.corpus, raw=args.raw)
    measured = measure_bias(corpus, train_fraction=args.train_fraction)
    return {
        "corpus": corpus.name,
        "cleaning": list(corpus.cleaning),
        **measured.as_dict(),
        "verdict": measured.verdict,
    }


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
            f"Boilerplate of Project Gutenberg makes up {result['boilerplate_tokens']:,} tokens of "
            f"the test part ({percent(result['boilerplate_share_of_test'])}).",
            f"Mean and sd are those of {tail['n_blocks']} blocks of the test part's length, from "
            "the start of the text to its end; rank 1 is the highest. --json lists every block.",
        ],
    )


def leakage_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `gptcore leakage`."""
    add_corpus_options(parser)
    add_block_size(parser)


def leakage(args: argparse.Namespace) -> Json:
    """Count the tokens, targets and 13-grams that training and test part share."""
    provenance = load_data(args, args.block_size).provenance()
    shared: Json = provenance.pop("leakage")
    return shared | provenance


def leakage_answer(result: Json) -> Answer:
    """Say how much of the test part training shows."""
    trained, share = result["fraction_of_test_targets_trained"], result["shared_13grams_share"]
    positions = result["shared_tokens"], result["n_test_tokens"]
    targets = result["shared_targets"], result["n_test_targets"]
    ngrams = result["shared_13grams"], result["n_test_13grams"]
    rows = [
        ("positions of the text", *positions, 100 * positions[0] / positions[1]),
        ("targets", *targets, 100 * trained),
        ("distinct 13-grams", *ngrams, None if share is None else 100 * share),
    ]
    return Answer(
        f"Training shows {percent(trained) if trained else 'none'} of the targets of the test "
        f"part; {ngrams[0]:,} of its {ngrams[1]:,} distinct 13-grams are in the training part too.",
        [
            Table(("what", "shared", "in the test part", "share, %"), rows),
            describe_parts(result),
        ],
    )
