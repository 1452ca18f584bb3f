"""Texts and tokens: load a text, turn it into tokens, split it, and see what the parts share.

    >>> from gptcore.data import TokenStream, certificate, load_corpus, make_split
    >>> corpus = load_corpus("python-docs")  # or "gutenberg:829", or the path of a text file
    >>> stream = TokenStream.from_text(corpus.text)  # GPT-2's tokens
    >>> split = make_split("tail", len(stream), 0.9, block_size=256)  # train on the first 90 %
    >>> certificate(stream.ids, split, block_size=256).shared_targets
    0

`certificate` counts what the train and the test part share. `measure_bias` compares the end of a
text, where the test part usually lies, with all other parts of that length. `load_source` reads
token files, tables of documents and folders as one stream. Nothing here loads torch.
"""

from gptcore.data.corpora import CORPORA, Corpus, load_corpus
from gptcore.data.leakage import Leakage, certificate
from gptcore.data.position_bias import Bias, measure_bias
from gptcore.data.sources import Source, load_source
from gptcore.data.splits import SPLITS, Segment, Split, WindowSplit, make_split, random_windows
from gptcore.data.tokenizer import (
    VOCAB_SIZE,
    CompactVocabulary,
    decode,
    encode,
    gpt2_encoding,
    token_bytes,
)
from gptcore.data.tokens import TokenStream

__all__ = [
    "CORPORA",
    "SPLITS",
    "VOCAB_SIZE",
    "Bias",
    "CompactVocabulary",
    "Corpus",
    "Leakage",
    "Segment",
    "Source",
    "Split",
    "TokenStream",
    "WindowSplit",
    "certificate",
    "decode",
    "encode",
    "gpt2_encoding",
    "load_corpus",
    "load_source",
    "make_split",
    "measure_bias",
    "random_windows",
    "token_bytes",
]
