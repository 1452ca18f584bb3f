"""The command `gptcore`: the options of each subcommand, one table that names them, and `main`.

Results go to standard output, as text or with --json as one object; progress and warnings go to
standard error. Exit code 0 is done, 2 bad input (one line), 130 interrupted.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

from gptcore import commands, scalecommands
from gptcore.commands import Json
from gptcore.console import Parser, number, show, whole
from gptcore.sampling.samplers import SAMPLERS

PRESET_NAMES = (
    *(f"model{i}" for i in range(1, 6)), "gpt2", "gpt2-medium", "gpt2-large", "gpt2-xl",
)  # fmt: skip


def _add_text_options(parser: argparse._ActionsContainer) -> None:
    parser.add_argument(
        "--corpus",
        default="python-docs",
        metavar="NAME|gutenberg:ID|PATH",
        help="python-docs (default), a Project Gutenberg book by number, or a UTF-8 file",
    )
    parser.add_argument(
        "--raw", action="store_true", help="no cleaning: byte-order mark and line ends stay"
    )


def _add_corpus_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("text and split")
    _add_text_options(group)
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


def _add_sampling_options(parser: argparse.ArgumentParser) -> None:
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


@dataclass(frozen=True)
class _Command:
    run: Callable[[argparse.Namespace], Json]
    example: str
    options: Callable[[argparse.ArgumentParser], None]


def _corpora_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", nargs="*", help="text files or gutenberg:ID to describe as well")
    parser.add_argument("--raw", action="store_true", help="no cleaning")


def _plan_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--tokens", type=whole, required=True, metavar="N", help="tokens of the train part"
    )
    parser.add_argument("--all", action="store_true", help="all samplers side by side")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw missed against steps")
    _add_sampling_options(parser)


def _coverage_options(parser: argparse.ArgumentParser) -> None:
    _add_corpus_options(parser)
    _add_sampling_options(parser)


def _audit_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "log",
        type=Path,
        metavar="LOG",
        help="CSV or JSON lines with the columns start, length and maybe epoch, rank, step; or "
        "token batches as .npy, matched with --corpus",
    )
    parser.add_argument("--tokens", type=whole, metavar="N", help="tokens that the loader read")
    parser.add_argument("--block-size", type=whole, metavar="T", help="inputs in a window")
    parser.add_argument(
        "--epoch-draws", type=whole, metavar="K", help="windows in an epoch, if not in the log"
    )
    _add_text_options(parser)


def _bias_options(parser: argparse.ArgumentParser) -> None:
    _add_text_options(parser)
    parser.add_argument(
        "--train-fraction", type=number, default=0.9, metavar="F", help="default: 0.9"
    )


def _leakage_options(parser: argparse.ArgumentParser) -> None:
    _add_corpus_options(parser)
    parser.add_argument("--block-size", type=whole, default=256, metavar="T", help="default: 256")


def _train_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the run")
    parser.add_argument("--model", choices=PRESET_NAMES, default="model4", help="default: model4")
    for name in ("n-layer", "n-head", "n-embd"):
        parser.add_argument(f"--{name}", type=whole, metavar="N", help="instead of the preset's")
    parser.add_argument("--learning-rate", type=number, default=6e-4, help="default: 6e-4")
    _add_precision_option(parser)
    parser.add_argument(
        "--compile",
        nargs="?",
        const="inductor",
        metavar="HOW",
        help="use torch.compile: inductor (default), reduce-overhead (CUDA graphs), max-autotune; "
        "its time is reported apart (needs a C++ compiler)",
    )
    parser.add_argument(
        "--recompute",
        action="store_true",
        help="less memory, more time: activations are made again in backward, and freed "
        "memory goes back to the system",
    )
    parser.add_argument("--resume", action="store_true", help="go on from the newest checkpoint")
    parser.add_argument(
        "--checkpoint-every", type=whole, metavar="N", help="steps (default: 50, or 60 s)"
    )
    _add_device_option(parser)
    _add_corpus_options(parser)
    _add_sampling_options(parser)


def _add_precision_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--precision",
        default="fp32",
        help="fp32 (default), bf16, or medium: float32 with rounded products",
    )


def _add_device_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", default="cpu", help="cpu (default), cuda, mps, xpu …")


def _generate_options(parser: argparse.ArgumentParser) -> None:
    _add_checkpoint_option(parser)
    parser.add_argument("--prompt", required=True, help="text to continue")
    parser.add_argument("--new-tokens", type=whole, default=100, help="default: 100")
    parser.add_argument("--temperature", type=number, default=1.0, help="default: 1; 0 is greedy")
    parser.add_argument("--top-k", type=whole, metavar="K", help="sample from the K likeliest")
    parser.add_argument(
        "--top-p", type=number, metavar="P", help="sample from the likeliest that add up to P"
    )
    parser.add_argument("--seed", type=whole, default=0, help="default: 0")
    _add_device_option(parser)


def _add_checkpoint_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--checkpoint", type=Path, required=True, metavar="DIR", help="--out of gptcore train"
    )


def _evaluate_options(parser: argparse.ArgumentParser) -> None:
    _add_checkpoint_option(parser)
    _add_device_option(parser)
    _add_corpus_options(parser)


COMMANDS: dict[str, _Command] = {
    "corpora": _Command(commands.corpora, "gptcore corpora my-book.txt", _corpora_options),
    "plan": _Command(
        commands.plan, "gptcore plan --tokens 142515 --block-size 256 --batch-size 16 --steps 501",
        _plan_options,
    ),
    "coverage": _Command(
        commands.coverage, "gptcore coverage --corpus my-book.txt --sampler sequential --epochs 1",
        _coverage_options,
    ),
    "audit": _Command(
        commands.audit, "gptcore audit windows.csv --tokens 142515 --block-size 256",
        _audit_options,
    ),
    "bias": _Command(
        commands.bias, "gptcore bias --corpus gutenberg:829 --raw", _bias_options
    ),
    "leakage": _Command(
        commands.leakage, "gptcore leakage --corpus my-book.txt --split block:3/10 --embargo 256",
        _leakage_options,
    ),
    "train": _Command(
        commands.train, "gptcore train --out runs/first --model model4 --steps 200", _train_options
    ),
    "generate": _Command(
        commands.generate, 'gptcore generate --checkpoint runs/first --prompt "The statement"',
        _generate_options,
    ),
    "evaluate": _Command(
        commands.evaluate, "gptcore evaluate --checkpoint runs/first --json", _evaluate_options
    ),
    "scale": _Command(
        scalecommands.scale, scalecommands.EXAMPLES["evaluate"], scalecommands.add_options
    ),
}  # fmt: skip


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command."""
    examples = "\n".join(f"  {command.example}" for command in COMMANDS.values())
    raw = argparse.RawDescriptionHelpFormatter
    parser = Parser(
        prog="gptcore",
        description="Sampling, coverage and training of small GPTs, measured and against theory.",
        epilog=f"examples:\n{examples}",
        formatter_class=raw,
    )
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, command in COMMANDS.items():
        summary = (command.run.__doc__ or "").strip()
        sub = subparsers.add_parser(
            name,
            help=summary,
            description=summary,
            epilog=f"example:\n  {command.example}",
            formatter_class=raw,
        )
        sub.add_argument("--json", action="store_true", help="print one JSON object")
        command.options(sub)
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    args = make_parser().parse_args(argv)
    with open(os.devnull, "w", encoding="utf-8") as nowhere:
        stdout = sys.stdout or nowhere  # a caller may have closed it
        with redirect_stdout(stdout), _warnings_in_one_line():
            return _run(args)


@contextmanager
def _warnings_in_one_line() -> Iterator[None]:
    """Print warnings to standard error without the place in the code that they come from."""
    before = warnings.showwarning
    warnings.showwarning = lambda message, *_rest, **_more: print(
        f"gptcore: warning: {message}", file=sys.stderr
    )
    try:
        yield
    finally:
        warnings.showwarning = before


def _run(args: argparse.Namespace) -> int:
    try:
        found = COMMANDS[args.command].run(args)
        if args.json:
            print(json.dumps(found, allow_nan=False))
        else:
            show(found)
        sys.stdout.flush()
    except (ValueError, OSError) as error:
        if isinstance(error, BrokenPipeError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
        text = " ".join(str(error).split())
        print(f"gptcore {args.command}: {text}", file=sys.stderr)
        return 2
    except (MemoryError, OverflowError, RuntimeError) as error:
        text = str(error).lower()  # torch has no type of its own for these
        if isinstance(error, RuntimeError) and not ("allocate" in text or "overflow" in text):
            raise
        print(f"gptcore {args.command}: not enough memory: give smaller sizes", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"gptcore {args.command}: interrupted", file=sys.stderr)
        return 130
    return 0
