"""The subcommand `form`: how a text is written, beside slices of a corpus."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from gptcore.cli.data import read_source
from gptcore.cli.options import Json, add_text_options
from gptcore.console import Answer, Cell, Progress, Table, counted, to_path
from gptcore.data.cleaning import clean_text
from gptcore.data.corpora import Corpus
from gptcore.data.tokenizer import count_bytes, decode, encode, token_bytes
from gptcore.reading import read_text

if TYPE_CHECKING:
    from gptcore.data.tokenizer import SmallIds

CONTROLS_SEED = 0


def form_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `gptcore form`, and say how it compares."""
    parser.description = (
        f"{parser.description}\n\n"
        "Line breaks, sentences, quotation marks, words, repeats and copies of FILE are measured, "
        "and set beside slices of the corpus: at most 100, as long as FILE, spread evenly over "
        "the corpus, without overlap. docs/form.md defines each measure."
    )
    parser.add_argument("file", type=to_path, metavar="FILE", help="the text to measure, in UTF-8")
    add_text_options(parser)


def form(args: argparse.Namespace) -> Json:
    """Say how the form of a text differs from that of slices of a corpus."""
    from gptcore.evaluation import text_form

    text = _read(args.file, raw=args.raw)
    corpus = _corpus(args)
    ids, reference = encode(text, np.uint16), encode(corpus.text, np.uint16)
    own = _place_of(text, corpus.text, reference)
    n_slices = len(text_form.slice_starts(len(reference), len(ids)))
    controls = {"unigram": text_form.sample_unigrams, "bigram": text_form.sample_bigrams}
    if n_slices < text_form.LEAST_SLICES:
        controls = {}
    texts = [ids, *(draw(reference, len(ids), CONTROLS_SEED) for draw in controls.values())]
    progress = Progress("round of the search for copies")
    compared = text_form.compare_form(texts, reference, decode, own=own, on_round=progress)
    rows = [
        asdict(measured)
        | {"definition": text_form.MEASURES[measured.name]}
        | {"unigram_z": None, "bigram_z": None}
        | {f"{name}_z": z.z for name, z in zip(controls, others, strict=True)}
        for measured, *others in zip(*compared, strict=True)
    ]
    n_slices = max(row["n_slices"] for row in rows)
    known = [row for row in rows if row["z"] is not None]
    return {
        "file": str(args.file),
        "corpus": corpus.name,
        "cleaning": list(corpus.cleaning),
        "n_tokens": len(ids),
        "n_chars": len(text),
        "corpus_tokens": len(reference),
        "n_slices": n_slices,
        "place_in_corpus": own,
        "n_known": len(known),
        "n_unusual": sum(abs(row["z"]) >= text_form.USUAL_Z for row in known),
        "n_unusual_of_a_slice": sum(1 - row["usual_share"] for row in known),
        "metrics": rows,
        "warnings": _warnings(len(ids), n_slices, own, text_form.LEAST_SLICES),
    }


def _corpus(args: argparse.Namespace) -> Corpus:
    source = read_source(args)
    if source.corpus is None:
        kinds = ", ".join(dict.fromkeys(file.format for p in source.parts for file in p.files))
        raise ValueError(
            f"{source.name} is not one text ({kinds}), and the form of a text is compared with "
            "that of a text: give the path of one with --corpus"
        )
    return source.corpus


def _read(path: Path, *, raw: bool) -> str:
    """Return the text of a file, cleaned as corpora are unless `raw`."""
    text = read_text(path)
    return text if raw else clean_text(text)[0]


def _place_of(text: str, corpus: str, ids: SmallIds) -> tuple[int, int] | None:
    """Return the tokens of the corpus in which the text stands word for word, None if nowhere."""
    wanted = text.strip()
    start = corpus.find(wanted) if wanted else -1
    if start < 0:
        return None
    first = count_bytes(corpus[:start])
    ends = np.cumsum(token_bytes(ids))
    stop = np.searchsorted(ends, first + count_bytes(wanted))
    return int(np.searchsorted(ends, first, side="right")), int(stop) + 1


def _warnings(n: int, n_slices: int, own: tuple[int, int] | None, least: int) -> list[str]:
    """Return what a reader has to know of the comparison, as sentences."""
    if not n:
        return ["The file is empty, so no measure is defined: give a text."]
    found = []
    if n_slices < least:
        found.append(
            f"Only {counted(n_slices, 'slice')} of {counted(n, 'token')} can be cut from the "
            f"corpus, and a z needs {least}: give a shorter text or a longer corpus."
        )
    if own is not None:
        found.append(
            f"The text stands word for word in the corpus, at its tokens {own[0]:,} to "
            f"{own[1] - 1:,}. It is taken for a part of it, and that place is left out of all that "
            "the text is compared with. If a model wrote the text, it is one long copy."
        )
    return found


def form_answer(result: Json) -> Answer:
    """Say how many measures are unusual, and list all of them beside those of the slices."""
    rows, n = result["metrics"], result["n_slices"]
    sentence = (
        f"In {result['n_unusual']} of {counted(result['n_known'], 'measure')} the text is at "
        f"|z| = 2 or beyond; a slice of {result['corpus']} of its length is so in "
        f"{result['n_unusual_of_a_slice']:.1f} on average."
        if result["n_known"]
        else f"The text cannot be compared with slices of {result['corpus']}."
    )
    table: list[tuple[Cell, ...]] = [
        (
            row["name"].replace("_", " "),
            *(_short(row[name], ".3g") for name in ("value", "mean")),
            _short(row["z"], "+.1f"),
            *(
                None if row[name] is None else f"{100 * row[name]:.0f} %"
                for name in ("share_below", "share_above")
            ),
            *(_short(row[name], "+.1f") for name in ("unigram_z", "bigram_z")),
        )
        for row in rows
    ]
    columns = ("measure", "text", "slices", "z", "below", "above", "z uni", "z bi")
    about = (
        f"The text has {counted(result['n_tokens'], 'token')}, and {counted(n, 'slice')} of that "
        "length are compared: their mean, and the shares of them that lie below and above the "
        "text. Where a measure is nearly normal, about 95 % of slices are within |z| < 2; many are "
        "not, so trust the shares first. The last columns are the z of two control texts, whose "
        "tokens are drawn by their frequency, alone (uni) and after the token before (bi). A "
        "measure in which these are within 2 as well tells little."
    )
    warnings = [f"Warning: {warning}" for warning in result["warnings"]]
    return Answer(sentence, [Table(columns, table), about, *warnings])


def _short(number: float | None, form: str) -> str | None:
    """Return a number in a few characters, so that all columns fit on a terminal."""
    return number if number is None else f"{number:{form if abs(number) < 1000 else '.3g'}}"
