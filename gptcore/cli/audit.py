"""The subcommand `audit`, about the data loader of somebody else."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gptcore.cli.data import read_source
from gptcore.cli.options import Json, add_text_options
from gptcore.console import Answer, Table, counted, to_path, whole
from gptcore.reading import naming, open_regular


def audit_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `gptcore audit`."""
    parser.add_argument(
        "log",
        type=to_path,
        metavar="LOG",
        help="what the loader drew: a CSV file, or JSON lines, which may be compressed, with the "
        "columns start and length (and, if known, epoch, rank and step); or batches of tokens in "
        "a NumPy file (.npy), which are looked up in --corpus",
    )
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
    add_text_options(parser)


def audit(args: argparse.Namespace) -> Json:
    """Check what any data loader drew, from a log of its windows or from its batches."""
    from gptcore.audit.audits import audit_log, audit_tokens

    if args.log.suffix != ".npy":
        if args.tokens is None:
            raise ValueError("--tokens is missing: give the number of tokens that the loader read")
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
            stream.ids,
            block_size=args.block_size,
            epoch_draws=args.epoch_draws,
            sampler=args.sampler,
        ).as_dict()


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


def audit_answer(result: Json) -> Answer:
    """Say how many faults and notes there are, list them, and give the counts."""
    severities = [finding["severity"] for finding in result["findings"]]
    numbers = [(severities.count(kind), kind) for kind in ("fault", "note")]
    told = " and ".join(counted(number, kind) for number, kind in numbers if number) or "Nothing"
    verb = "were" if len(severities) > 1 else "was"
    expected = result["expected"]
    table = Table(
        ("count", "observed", "expected by chance") if expected else ("count", "observed"),
        [
            (words, result[name], *([expected.get(name)] if expected else []))
            for name, words in COUNTS.items()
        ],
    )
    known = "" if result["epochs_from"] != "unknown" else " (their ends are not known)"
    return Answer(
        f"{told} {verb} found in {counted(result['draws'], 'draw')}.",
        [
            *(
                f"{finding['severity'].capitalize()}: {finding['kind'].replace('_', ' ')}, "
                f"{finding['count']:,}. {finding['explanation']} Example: {finding['example']}."
                for finding in result["findings"]
            ),
            table,
            f"The log holds {counted(result['epochs'], 'epoch')}{known} of windows of up to "
            f"{counted(result['block_size'], 'token')}, from a text of {result['n_tokens']:,}.",
        ],
    )
