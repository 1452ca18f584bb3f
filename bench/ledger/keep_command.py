"""The command `python -m bench keep FOLDER`: a finished ledger as one compressed file."""

from __future__ import annotations

import argparse
import lzma
from pathlib import Path
from typing import Any

from bench.ledger.ledger import RUNS, file_name
from bench.ledger.record import LEDGER_NAME, dumps, read_ledger
from gptcore.console import to_file, to_path
from gptcore.files import lock_folder, write_whole
from gptcore.unpacking import MOST_UNPACKED_BYTES

DESTINATION = Path("docs/results")


def add_parser(subparsers: Any, summary: str) -> None:
    """Add the subcommand to the parser of `python -m bench`."""
    parser = subparsers.add_parser(
        "keep",
        help=summary,
        description="Write the ledger of a finished run as one file compressed by xz. The file has "
        "every record that counts: of several records of a case, the last one. `python -m reports` "
        "and the other commands read it as they read a results folder.",
    )
    parser.add_argument("folder", type=to_path, metavar="FOLDER", help="results folder of the run")
    parser.add_argument(
        "-o",
        "--output",
        type=to_file,
        metavar="FILE",
        help=f"the file to write (default: {DESTINATION}/<name of FOLDER>.jsonl.xz)",
    )


def main(options: argparse.Namespace) -> int:
    """Write the file; return exit code 0."""
    folder: Path = options.folder
    output: Path = options.output or DESTINATION / f"{folder.resolve().name}.jsonl.xz"
    packed, n_records = pack(folder)
    write_whole(output, packed)
    print(f"{n_records} records, {len(packed):,} bytes: {output}")
    return 0


def pack(folder: Path) -> tuple[bytes, int]:
    """Return the compressed ledger of a finished run, and the number of its records.

    Raises:
        ValueError: the folder is in use, a line of its ledger is damaged, a training run in it has
            neither ended nor failed, or the ledger is too large to be read again.
    """
    again = f"give the command of this run again with --results={folder}"
    read_ledger(folder)  # so that no lock is made where there is no results folder
    with lock_folder(folder):
        records, warnings = read_ledger(folder)
    if warnings:
        raise ValueError(f"{folder}: {warnings[0]}; {again}")
    failed = [name for name, record in records.items() if record["status"] == "failed"]
    ended = {file_name(name.partition("[")[2].removesuffix("]")) for name in failed}
    runs = {path.name for path in (folder / RUNS).iterdir()} if (folder / RUNS).is_dir() else set()
    if runs - ended:
        what = f"{folder / RUNS} holds the training run {min(runs - ended)}"
        raise ValueError(f"{folder} is not finished, because {what}: {again}")
    text = "".join(f"{dumps(record)}\n" for record in records.values()).encode()
    if len(text) > MOST_UNPACKED_BYTES:
        raise ValueError(
            f"{folder / LEDGER_NAME} has {len(text):,} bytes, and at most {MOST_UNPACKED_BYTES:,} "
            "come out of a compressed file: keep runs of fewer cases"
        )
    return lzma.compress(text, preset=9 | lzma.PRESET_EXTREME), len(records)
