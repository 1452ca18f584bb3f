"""The options that several subcommands of `gptcore` share: text, split, sampling, device."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from gptcore.console import number, whole
from gptcore.sampling.samplers import SAMPLERS

PRESET_NAMES = (
    *(f"model{i}" for i in range(1, 6)), "gpt2", "gpt2-medium", "gpt2-large", "gpt2-xl",
)  # fmt: skip


def add_text_options(parser: argparse._ActionsContainer) -> None:
    parser.add_argument(
        "--corpus",
        default="python-docs",
        metavar="NAME|gutenberg:ID|PATH",
        help="python-docs (default), a Project Gutenberg book by number, or a UTF-8 file",
    )
    parser.add_argument(
        "--raw", action="store_true", help="no cleaning: byte-order mark and line ends stay"
    )


def add_corpus_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("text and split")
    add_text_options(group)
    group.add_argument(
        "--train-fraction", type=number, default=0.9, metavar="F", help="default: 0.9"
    )
    group.add_argument(
        "--split",
        default="tail",
        metavar="SPLIT",
        help="where the test part lies: tail (default), head, middle, block:K/N, interleaved:N",
    )
    group.add_argument(
        "--embargo",
        type=whole,
        default=0,
        metavar="G",
        help="unused tokens on each side of a test block (default: 0)",
    )


def add_sampling_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("sampling")
    group.add_argument("--sampler", default="random_replacement", help=", ".join(SAMPLERS))
    group.add_argument("--block-size", type=whole, default=256, metavar="T", help="default: 256")
    group.add_argument("--batch-size", type=whole, default=16, metavar="B", help="default: 16")
    length = group.add_mutually_exclusive_group()
    length.add_argument("--steps", type=whole, metavar="S", help="batches (default: 501)")
    length.add_argument(
        "--epochs",
        type=number,
        metavar="E",
        help="passes; for samplers without epochs, epoch-equivalents",
    )
    group.add_argument(
        "--drop-last", action="store_true", help="leave out the last, short batch of an epoch"
    )
    group.add_argument("--seed", type=whole, default=0, help="default: 0")


def add_precision_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--precision",
        default="fp32",
        help="fp32 (default), bf16, or medium: float32 with rounded products",
    )


def add_device_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", default="cpu", help="cpu (default), cuda, mps, xpu …")


def add_checkpoint_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--checkpoint", type=Path, required=True, metavar="DIR", help="--out of gptcore train"
    )


Json = dict[str, Any]
