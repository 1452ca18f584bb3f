"""The subcommand `audit`, about the data loader of somebody else."""

from __future__ import annotations

import argparse
import random
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from gptcore.cli.audit_resume import add_unbroken, compare, compared_answer
from gptcore.cli.data import read_source
from gptcore.cli.options import Json, add_text_options
from gptcore.console import Answer, Progress, Table, counted, to_path, whole
from gptcore.data.splits import make_split
from gptcore.reading import naming, open_regular

if TYPE_CHECKING:
    from gptcore.audit.drawing import Drawn


def audit_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `gptcore audit`."""
    parser.add_argument(
        "log",
        type=to_path,
        metavar="LOADER",
        help="FILE.py:get_batch, a function that returns inputs and targets, which is called and "
        "whose batches are looked up in --corpus; or a log of what the loader drew: a CSV file, or "
        "JSON lines, which may be compressed, with the columns start and length (and, if known, "
        "epoch, rank and step); or batches of tokens in a NumPy file (.npy)",
    )
    _add_function_options(parser)
    add_unbroken(parser)
    parser.add_argument(
        "--tokens",
        type=whole,
        metavar="TOKENS",
        help="tokens of the text that the loader read (required for CSV and JSON lines)",
    )
    parser.add_argument(
        "--block-size",
        type=whole,
        metavar="T",
        help="inputs in a window, in tokens (default: the longest in the log); for a .npy file, "
        "the length of its rows if they hold inputs alone (default: one less, since they hold "
        "the targets as well)",
    )
    parser.add_argument(
        "--epoch-draws",
        type=whole,
        metavar="WINDOWS",
        help="windows in one epoch, over all ranks, where the log has no column epoch (default: "
        "epochs are found where a whole pass repeats)",
    )
    parser.add_argument(
        "--sampler",
        metavar="NAME",
        help="sampler of gptcore that the loader is meant to draw like (gptcore plan --help lists "
        "them): what it does by design is a note, such as the equal epochs of shuffled_once",
    )
    parser.add_argument(
        "--fail-on",
        choices=("fault",),
        metavar="fault",
        help="end with exit code 1 if a fault is found",
    )
    add_text_options(parser)


def _add_function_options(parser: argparse.ArgumentParser) -> None:
    """Add the options for a function get_batch."""
    group = parser.add_argument_group("a function get_batch")
    group.add_argument(
        "--part",
        metavar="NAME",
        help="part of --corpus that get_batch is asked for, train (default) or val; rows of other "
        "parts are a fault",
    )
    group.add_argument(
        "--batches",
        type=whole,
        metavar="BATCHES",
        help="how often get_batch is called (default: 500)",
    )
    group.add_argument(
        "--model-shifts",
        choices=("yes", "no"),
        metavar="yes|no",
        help="yes if the model itself moves the targets by one token, as the models of Hugging "
        "Face do: the targets should then equal the inputs (default: no)",
    )
    group.add_argument(
        "--seed",
        type=whole,
        metavar="SEED",
        help="seed of random, numpy and torch, which is set before the file is run (default: 0)",
    )


def audit(args: argparse.Namespace) -> Json:
    """Check what any data loader drew, from a log of its windows or from its batches."""
    from gptcore.audit.audits import audit_log, audit_tokens

    is_function = re.search(r"\.py(:|$)", str(args.log)) is not None
    _refuse_others(args, is_function=is_function)
    if is_function:
        return _audit_function(args)
    if args.log.suffix != ".npy":
        if args.tokens is None:
            raise ValueError("--tokens is missing: give the number of tokens that the loader read")
        if args.unbroken is not None:
            return compare(args)
        return audit_log(
            args.log,
            n_tokens=args.tokens,
            block_size=args.block_size,
            epoch_draws=args.epoch_draws,
            sampler=args.sampler,
        ).as_dict()
    stream = read_source(args).stream
    if args.tokens not in (None, len(stream)):
        raise ValueError(f"--tokens is {args.tokens} and the corpus has {len(stream)} tokens")
    with naming(args.log):
        return audit_tokens(
            _read_rows(args.log),
            stream.ids[:],  # in one array, where it lies in several files
            block_size=args.block_size,
            epoch_draws=args.epoch_draws,
            sampler=args.sampler,
        ).as_dict()


OF_LOG = ("unbroken", "tokens", "block_size", "epoch_draws")
OF_FUNCTION = {"part": "train", "batches": 500, "model_shifts": "no", "seed": 0}
"""Options of a function get_batch, and what they are where they are not given."""


def _refuse_others(args: argparse.Namespace, *, is_function: bool) -> None:
    """Refuse options that play no part, and fill in those that do."""
    for name in OF_LOG if is_function else OF_FUNCTION:
        if getattr(args, name) is not None:
            what = "a log of draws" if is_function else "a function, FILE.py:get_batch"
            raise ValueError(f"--{name.replace('_', '-')} is for {what}: leave it out")
    if args.unbroken is not None:
        if args.log.suffix == ".npy":
            raise ValueError(f"{args.log} holds token batches: --unbroken compares two logs")
        for name in ("epoch_draws", "sampler"):
            if getattr(args, name) is not None:
                option = f"--{name.replace('_', '-')}"
                raise ValueError(f"{option} judges one log: leave it out with --unbroken")
    for name, default in OF_FUNCTION.items():
        if getattr(args, name) is None:
            setattr(args, name, default)


def _audit_function(args: argparse.Namespace) -> Json:
    """Call get_batch and audit its batches; three starts show whether it follows its seed."""
    from gptcore.audit.drawing import draw, judge_seeds
    from gptcore.audit.parts import audit_part

    parts, vocab_size = _read_parts(args)
    if args.part not in parts:
        raise ValueError(f"--part is {args.part}: the corpus has the parts {', '.join(parts)}")

    def start(seed: int, n_batches: int, unit: str | None = None) -> Drawn:
        progress = (lambda _done, _all: None) if unit is None else Progress(unit)
        with _as_new(str(args.log), seed) as get_batch:
            return draw(
                get_batch, args.part, n_batches=n_batches, vocab_size=vocab_size, progress=progress
            )

    drawn = start(args.seed, args.batches, "batch")
    audited = audit_part(
        drawn, parts, args.part, model_shifts=args.model_shifts == "yes", sampler=args.sampler
    )
    few = min(FEW, args.batches)
    again, other = start(args.seed, few), start(args.seed + 1, few)
    notes = judge_seeds(drawn.pairs, again.pairs, other.pairs, is_regular=audited.is_regular)
    result = audited.as_dict()
    return result | {"findings": [*result["findings"], *(dict(vars(note)) for note in notes)]}


FEW = 4  # batches that are drawn again, to see what a seed changes


@contextmanager
def _as_new(name: str, seed: int) -> Iterator[Callable[..., Any]]:
    """Give a function of a file that is run anew, after the seeds are set.

    Modules that lie beside the file are run anew as well, so that no start sees another's state.
    What the file prints goes to standard error.
    """
    import torch

    from gptcore.checking import load_function

    before = set(sys.modules)
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002  # the user's file may draw from it
    torch.manual_seed(seed)
    folder = Path(name.rpartition(":")[0]).resolve().parent
    try:
        with redirect_stdout(sys.stderr):
            yield load_function(name)
    finally:
        for new in set(sys.modules) - before:
            if Path(getattr(sys.modules[new], "__file__", None) or "/").parent == folder:
                del sys.modules[new]


def _read_parts(args: argparse.Namespace) -> tuple[dict[str, npt.NDArray[np.integer]], int]:
    """Return name → tokens of each part of the corpus, and the size of the vocabulary.

    Data that are not divided by the names of their files are divided after nine tenths.
    """
    source = read_source(args)
    places = {part.name: part.place for part in source.parts}
    if not source.is_divided and args.part not in places:
        split = make_split("tail", len(source.stream), block_size=1)
        places = {"train": split.train[0], "val": split.test[0]}
    ids = source.stream.ids
    return {name: ids[place.start : place.stop] for name, place in places.items()}, (
        source.vocabulary.size
    )


def _read_rows(path: Path) -> npt.NDArray[Any]:
    """Return what np.save wrote; it is not mapped, since a file that is cut then ends Python."""
    with open_regular(path) as file:
        try:
            rows = np.load(file, allow_pickle=False)
        except Exception:  # np.load has many errors; one is for a shape too large for the memory
            rows = None
    if not isinstance(rows, np.ndarray) or rows.dtype.kind not in "iuf":
        raise ValueError(f"{path} is not a NumPy file of integers: write it by np.save")
    return rows


COUNTS = {
    "missed_targets": "targets never shown",
    "repeated_windows": "repeated windows",
    "shown_twice": "targets shown twice in an epoch",
    "missed_in_epoch": "windows missed in epochs",
    "identical_epochs": "epochs that equal an earlier one",
    "lost_at_borders": "targets lost at block borders",
    "replayed_draws": "replayed draws",
    "rank_overlap": "windows shown by several ranks",
}


def has_fault(args: argparse.Namespace, result: Json) -> bool:
    """Return whether a fault was found that the command was to fail on."""
    return args.fail_on == "fault" and any(f["severity"] == "fault" for f in result["findings"])


def audit_answer(result: Json) -> Answer:
    """Say how many faults and notes there are, list them, and give the counts."""
    if "verdict" in result:
        return compared_answer(result, _tell_findings(result))
    severities = [finding["severity"] for finding in result["findings"]]
    numbers = [(severities.count(kind), kind) for kind in ("fault", "note")]
    told = " and ".join(counted(number, kind) for number, kind in numbers if number) or "Nothing"
    verb = "were" if len(severities) > 1 else "was"
    where = (
        f"{counted(result['rows'], 'row')} of {result['part']}"
        if "part" in result
        else counted(result["draws"], "draw")
    )
    return Answer(
        f"{told} {verb} found in {where}.",
        [
            *_tell_findings(result),
            *(_tell_counts(result) if result["draws"] is not None else ()),
        ],
    )


def _tell_findings(result: Json) -> list[str]:
    return [
        f"{finding['severity'].capitalize()}: {finding['kind'].replace('_', ' ')}, "
        f"{finding['count']:,}. {finding['explanation']} Example: {finding['example']}."
        for finding in result["findings"]
    ]


def _tell_counts(result: Json) -> list[str | Table]:
    expected = result["expected"]
    table = Table(
        ("count", "observed", "expected by chance") if expected else ("count", "observed"),
        [
            (words, result[name], *([expected.get(name)] if expected else []))
            for name, words in COUNTS.items()
        ],
    )
    known = "" if result["epochs_from"] != "unknown" else " (their ends are not known)"
    return [
        table,
        f"There {'are' if result['draws'] > 1 else 'is'} {counted(result['draws'], 'draw')} in "
        f"{counted(result['epochs'], 'epoch')}{known}, of windows of up to "
        f"{counted(result['block_size'], 'token')}, from a text of {result['n_tokens']:,}.",
    ]
