"""Texts and tokens: load a text, turn it into tokens, split it, and see what the parts share.

    >>> from gptcore.data import TokenStream, load_corpus, make_split
    >>> corpus = load_corpus("python-docs")  # or a path, or "gutenberg:829"
    >>> stream = TokenStream.from_text(corpus.text)
    >>> split = make_split("tail", len(stream), 0.9, block_size=256)

`measure_bias` asks whether the test part is like the rest of the text; `certificate` counts what
the train and the test part share. Nothing here loads torch.
"""

from gptcore.data.corpora import CORPORA, Corpus, load_corpus
from gptcore.data.leakage import Leakage, certificate
from gptcore.data.position_bias import Bias, measure_bias
from gptcore.data.splits import SPLITS, Segment, Split, WindowSplit, make_split, random_windows
from gptcore.data.tokenizer import VOCAB_SIZE, CompactVocabulary, decode, encode, gpt2_encoding
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
    "Split",
    "TokenStream",
    "WindowSplit",
    "certificate",
    "decode",
    "encode",
    "gpt2_encoding",
    "load_corpus",
    "make_split",
    "measure_bias",
    "random_windows",
]
