"""The options that several subcommands of `gptcore` share: text, split, sampling, device."""

from __future__ import annotations

import argparse
import os
import re
from typing import Any

from gptcore.console import at_home, number, quoted, whole, whole_in
from gptcore.data.vocabulary import LARGEST_VOCABULARY

Json = dict[str, Any]

MODELS = {
    "model1": "a token embedding alone",
    "model2": "one layer of attention with one head",
    "model3": "one layer with 4 heads and an MLP",
    "model4": "4 layers of 128 channels",
    "model5": "the size of GPT-2 small with a context of 256 tokens",
    "gpt2": "124 million parameters, a context of 1,024 tokens",
    "gpt2-medium": "355 million",
    "gpt2-large": "774 million",
    "gpt2-xl": "1.6 billion",
}
"""Name of a shape → what it is; the shapes are `gptcore.model.PRESETS`."""
PRESET_NAMES = tuple(MODELS)
DEFAULT_MODEL = "model4"
SHAPE = ("model", "n_layer", "n_head", "n_embd")
"""The options that give the shape of a model."""

SAMPLERS_TOLD = {
    "random_replacement": "independent draws from all windows",
    "sequential": "blocks side by side, in order",
    "shuffled_blocks": "these blocks in a new order each epoch",
    "shuffled_once": "these blocks in one order for all epochs",
    "shuffled_across_epochs": "the blocks of several epochs, shuffled together",
    "random_distinct": "every window once in an epoch, in random order",
    "grid_replacement": "independent draws from the blocks",
    "random_phase_blocks": "blocks that are cut at a new place in each epoch",
    "stratified": "one window from each of many equal stretches in an epoch",
    "golden": "evenly spread by the golden ratio",
    "van_der_corput": "evenly spread by reversed bits",
    "overlapping_stride": "windows that overlap by half, shuffled",
    "block_buffer_shuffle": "blocks through a shuffle buffer",
    "t_plus_1_stride": "blocks of T + 1 tokens, between which a target is lost",
    "shift_in_block": "targets shifted inside blocks, each of which loses one",
    "rechunked_documents": "shuffled documents, cut at new places in each epoch",
    "rechunked_once": "documents in one order, cut at new places in each epoch",
}
"""Name of a sampler → what it draws."""


PUBLISHED_TOLD = (
    "published weights of GPT-2's architecture: a folder with config.json and model.safetensors, "
    "gpt2, gpt2-medium, gpt2-large, gpt2-xl, distilgpt2, or OWNER/NAME of the Hugging Face hub"
)


def to_model(text: str) -> str:
    """Read the folder or the name of a model of the command line."""
    if not text.strip():
        raise argparse.ArgumentTypeError(f"{text!r} is no model: give a folder or a name")
    return at_home(text)


def explained(names: dict[str, str]) -> str:
    """Return names with what they mean, for the help of an option."""
    return "; ".join(f"{name} ({told})" for name, told in names.items())


def to_text(text: str) -> str:
    """Read a text of the command line, whose bytes are UTF-8 in every locale."""
    try:
        return os.fsencode(text).decode() if re.search("[\udc80-\udcff]", text) else text
    except UnicodeDecodeError:
        raise argparse.ArgumentTypeError(f"{quoted(text)} is not text in UTF-8") from None


def add_text_options(parser: argparse._ActionsContainer) -> None:
    """Add the options that name a text or other data, and say how they are read."""
    parser.add_argument(
        "--corpus",
        type=at_home,
        nargs="+",
        default=["python-docs"],
        metavar="TEXT",
        help="the data: python-docs (the help texts of Python, the default), gutenberg:ID (a book "
        "of Project Gutenberg by its number), or paths of texts (UTF-8, may be compressed), token "
        "files (.bin of nanoGPT, llm.c or Megatron, .npy), tables of documents (.jsonl, .parquet, "
        ".arrow), or folders of these; files called train and val (or test) are the two parts",
    )
    add_reading_options(parser)


def add_reading_options(parser: argparse._ActionsContainer) -> None:
    """Add the options that say how data are read."""
    parser.add_argument(
        "--raw",
        action="store_true",
        help="do not clean texts: keep their byte-order mark, their line ends, and the header and "
        "licence of Project Gutenberg",
    )
    add_field(parser)
    parser.add_argument(
        "--vocab-size",
        type=whole_in(1, LARGEST_VOCABULARY),
        metavar="V",
        help="number of token ids (default: what the data say, else the largest id + 1)",
    )


def add_field(parser: argparse._ActionsContainer) -> None:
    """Add the option that names the text in a table of documents."""
    parser.add_argument(
        "--field",
        default="text",
        metavar="NAME",
        help="key or column that holds the text of a document, in .jsonl, .parquet and .arrow "
        "(default: text)",
    )


def add_train_fraction(parser: argparse._ActionsContainer) -> None:
    """Add the option that says how much of a text is trained on."""
    parser.add_argument(
        "--train-fraction",
        type=number,
        default=0.9,
        metavar="SHARE",
        help="share of the tokens to train on, between 0 and 1 (default: 0.9)",
    )


def add_block_size(parser: argparse._ActionsContainer) -> None:
    """Add the option for T."""
    parser.add_argument(
        "--block-size",
        type=whole,
        default=256,
        metavar="T",
        help="inputs in a window, in tokens (default: 256)",
    )


def add_seed(parser: argparse._ActionsContainer) -> None:
    """Add the option for the seed."""
    parser.add_argument(
        "--seed",
        type=whole,
        default=0,
        metavar="SEED",
        help="seed of all random numbers, a whole number from 0 (default: 0)",
    )


def add_ngram(parser: argparse._ActionsContainer) -> None:
    """Add the option for the length of the sequences that two parts are compared by."""
    parser.add_argument(
        "--ngram",
        type=whole,
        metavar="N",
        help="tokens of the sequences that are looked up in the training part (default: 13 for a "
        "vocabulary as large as GPT-2's, more for a smaller one)",
    )


def add_corpus_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that name a text and divide it into training and test part."""
    group = parser.add_argument_group("text and split")
    add_text_options(group)
    add_train_fraction(group)
    group.add_argument(
        "--split",
        default="tail",
        metavar="SPLIT",
        help="where the test part lies: tail (the end of the text, the default), head, middle, "
        "block:K/N (block K of N equal blocks, K from 1; without --train-fraction), or "
        "interleaved:N (N blocks that take turns with N blocks to train on)",
    )
    group.add_argument(
        "--embargo",
        type=whole,
        default=0,
        metavar="TOKENS",
        help="tokens left out on each side of a test block, so that no training window lies next "
        "to it (default: 0)",
    )
    group.add_argument(
        "--join",
        action="store_true",
        help="let windows cross from one document or file into the next (default: they do not)",
    )


def add_sampling_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that name a sampler, its sizes and the number of draws."""
    group = parser.add_argument_group("sampling")
    group.add_argument(
        "--sampler",
        default="random_replacement",
        metavar="NAME",
        help="how windows are chosen (default: random_replacement); a block is a window at a "
        f"multiple of T: {explained(SAMPLERS_TOLD)}",
    )
    add_block_size(group)
    group.add_argument(
        "--batch-size",
        type=whole,
        default=16,
        metavar="B",
        help="windows in a batch (default: 16)",
    )
    length = group.add_mutually_exclusive_group()
    length.add_argument(
        "--steps",
        type=whole,
        metavar="STEPS",
        help="batches to draw; training makes one update for each (default: 501)",
    )
    length.add_argument(
        "--epochs",
        type=number,
        metavar="EPOCHS",
        help="passes over the text to draw, instead of --steps; samplers of independent draws have "
        "no passes, and EPOCHS is the mean number of times that a target is shown",
    )
    group.add_argument(
        "--drop-last",
        action="store_true",
        help="leave out the last batch of an epoch where it is not full",
    )
    group.add_argument(
        "--shuffle-epochs",
        type=whole,
        metavar="EPOCHS",
        help="epochs that shuffled_across_epochs shuffles together (default: 4)",
    )
    add_seed(group)


def add_model_options(group: argparse._ActionsContainer) -> None:
    """Add the options that name the shape of a model."""
    group.add_argument(
        "--model",
        choices=PRESET_NAMES,
        metavar="NAME",
        help=f"shape of the model (default: {DEFAULT_MODEL}): {explained(MODELS)}",
    )
    for name, what in (
        ("n-layer", "number of layers"),
        ("n-head", "attention heads in a layer"),
        ("n-embd", "channels, a multiple of the heads"),
    ):
        group.add_argument(
            f"--{name}", type=whole, metavar="N", help=f"{what} (default: that of --model)"
        )


def given_sizes(args: argparse.Namespace, *names: str) -> Json:
    """Return those of the named options that were given."""
    return {name: value for name in names if (value := getattr(args, name)) is not None}


def add_precision_option(parser: argparse.ArgumentParser) -> None:
    """Add the option for the precision of a model's products."""
    parser.add_argument(
        "--precision",
        default="fp32",
        metavar="NAME",
        help="precision of the activations: fp32 (default), bf16, or medium (fp32 with bf16 "
        "products); weights are float32 in each",
    )


def add_device_option(parser: argparse.ArgumentParser) -> None:
    """Add the option for the device."""
    parser.add_argument(
        "--device",
        default="cpu",
        metavar="NAME",
        help="where the model runs, as PyTorch names it: cpu (default), cuda, mps, xpu, ...",
    )


def add_checkpoint_option(parser: argparse.ArgumentParser) -> None:
    """Add the option that names a trained model."""
    parser.add_argument(
        "--checkpoint",
        type=to_model,
        required=True,
        metavar="DIR|NAME",
        help="the model (required): the folder of a run, as given to gptcore train --out, whose "
        f"newest checkpoint is used; or {PUBLISHED_TOLD}",
    )
    parser.add_argument(
        "--ema",
        action="store_true",
        help="use the average of the weights that gptcore train --ema-decay has kept, instead of "
        "the last weights",
    )


def add_init_option(group: argparse._ActionsContainer) -> None:
    """Add the option that names the weights that training starts from."""
    group.add_argument(
        "--init",
        type=to_model,
        metavar="DIR|NAME",
        help="start from these weights, whose shape the model has (fine-tuning), instead of random "
        f"ones: the folder of a run of gptcore train, or {PUBLISHED_TOLD}",
    )
