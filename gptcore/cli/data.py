"""The subcommands about texts: `corpora`, `bias` and `leakage`."""

from __future__ import annotations

import argparse
from dataclasses import dataclass

from gptcore.cli.options import Json, add_corpus_options, add_text_options
from gptcore.console import number, whole
from gptcore.data.corpora import CORPORA, Corpus, load_corpus
from gptcore.data.splits import Split, make_split
from gptcore.data.tokens import Ids, TokenStream


def corpora_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", nargs="*", help="text files or gutenberg:ID to describe as well")
    parser.add_argument("--raw", action="store_true", help="no cleaning")


def bias_options(parser: argparse.ArgumentParser) -> None:
    add_text_options(parser)
    parser.add_argument(
        "--train-fraction", type=number, default=0.9, metavar="F", help="default: 0.9"
    )


def leakage_options(parser: argparse.ArgumentParser) -> None:
    add_corpus_options(parser)
    parser.add_argument("--block-size", type=whole, default=256, metavar="T", help="default: 256")


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
        return [self.stream.ids[part.start : part.stop] for part in self.split.test]

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
    stream = TokenStream.from_text(corpus.text)
    split = make_split(
        args.split, len(stream), args.train_fraction, embargo=args.embargo, block_size=block_size
    )
    return Data(corpus, stream, split, block_size)


def corpora(args: argparse.Namespace) -> Json:
    """List the texts there are."""
    rows = []
    for spec in dict.fromkeys([*CORPORA, *args.path]):
        try:
            corpus = load_corpus(spec, raw=args.raw)
        except ValueError as error:
            if spec not in CORPORA:
                raise
            rows.append({"name": spec, "available": False, "reason": str(error)})
            continue
        rows.append(
            {
                "name": corpus.name,
                "source": corpus.source,
                "licence": corpus.licence,
                "available": True,
                "n_bytes": corpus.n_bytes,
                "n_tokens": len(TokenStream.from_text(corpus.text)),
                "sha256": corpus.sha256,
                "cleaning": list(corpus.cleaning),
            }
        )
    keys = ("name", "source", "licence", "available", "n_bytes", "n_tokens", "sha256")
    return {"corpora": [dict.fromkeys(keys) | row for row in rows]}


def bias(args: argparse.Namespace) -> Json:
    """Say whether the test part is special, by n-grams over all positions of the text."""
    from gptcore.data.position_bias import measure_bias

    corpus = load_corpus(args.corpus, raw=args.raw)
    found = measure_bias(corpus, train_fraction=args.train_fraction)
    return {
        "corpus": corpus.name,
        "cleaning": list(corpus.cleaning),
        **found.as_dict(),
        "verdict": found.verdict,
    }


def leakage(args: argparse.Namespace) -> Json:
    """Say what train and test share: positions, targets, 13-grams."""
    provenance = load_data(args, args.block_size).provenance()
    shared: Json = provenance.pop("leakage")
    return shared | provenance
