"""The subcommand `tokenize`."""

from __future__ import annotations

import argparse
import os
import shlex

from gptcore.cli.options import Json
from gptcore.console import Answer, Progress, Table, at_home, counted, to_path, whole_in

MOST_PROCESSES = 1024


def tokenize_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `gptcore tokenize`."""
    parser.add_argument(
        "files",
        nargs="+",
        type=at_home,
        metavar="TEXT",
        help="texts in UTF-8, folders of texts, or patterns of names; each file is one document, "
        "and is taken as it is, without any cleaning",
    )
    parser.add_argument(
        "--out",
        required=True,
        type=to_path,
        metavar="DIR",
        help="folder for the shards; the same command goes on with a run that was stopped there",
    )
    parser.add_argument(
        "--processes",
        type=whole_in(1, MOST_PROCESSES),
        default=len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        metavar="P",
        help="processes that tokenize at a time (default: the cores that may be used)",
    )


def tokenize(args: argparse.Namespace) -> Json:
    """Write texts of any size as shards of GPT-2's tokens, which --corpus reads."""
    from gptcore.data.shards import write_shards

    lines = {what: Progress(f"{what}: MB") for what in ("reading", "tokenizing")}
    written = write_shards(
        args.files,
        args.out,
        processes=args.processes,
        progress=lambda what, done, total: lines[what](done / 1e6, total and total / 1e6),
    )
    return {
        "out": str(args.out),
        "n_tokens": written["n_tokens"],
        "n_bytes": written["n_bytes"],
        "documents": written["documents"],
        "empty": written["empty"],
        "shards": len(written["shards"]),
        "sha256": written["sha256"],
        "resumed": written["resumed"],
    }


def tokenize_answer(result: Json) -> Answer:
    """Say how many tokens there are, and how to use them."""
    rows = [
        ("tokens", result["n_tokens"], "tokens"),
        ("text", result["n_bytes"], "bytes"),
        ("documents", result["documents"], "documents"),
        ("empty texts, left out", result["empty"], "texts"),
        ("shards", result["shards"], "files"),
        ("shards of an earlier run", result["resumed"], "files"),
    ]
    folder = shlex.quote(result["out"])
    return Answer(
        f"{counted(result['documents'], 'document')} became {result['n_tokens']:,} tokens in "
        f"{counted(result['shards'], 'shard')}.",
        [
            Table(("what", "number", "unit"), rows),
            "A token <|endoftext|> stands behind each document and is counted.",
            "Next, for example:",
            f"  gptcore coverage --corpus {folder} --join",
        ],
    )
