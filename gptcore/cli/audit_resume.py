"""The option --unbroken of `gptcore audit`: a resumed run beside the unbroken one."""

from __future__ import annotations

import argparse

from gptcore.cli.options import Json
from gptcore.console import Answer, Table, counted, to_path


def add_unbroken(parser: argparse.ArgumentParser) -> None:
    """Add the option --unbroken."""
    parser.add_argument(
        "--unbroken",
        type=to_path,
        metavar="BEFORE",
        help="log of the same run without an interruption: says what the resumed run of LOADER, a "
        "log as well, repeated, skipped and reordered",
    )


def compare(args: argparse.Namespace) -> Json:
    """Compare the log of a resumed run with that of the unbroken run."""
    from gptcore.audit.judging_resumes import audit_resume
    from gptcore.audit.log import read_log

    after, before = (
        read_log(path, n_tokens=args.tokens, block_size=args.block_size)
        for path in (args.log, args.unbroken)
    )
    return audit_resume(after, before).as_dict()


RESUMED = {
    "repeated": "repeated draws",
    "other_windows": "draws of windows that the unbroken run never shows",
    "skipped": "skipped draws",
    "wrong_epoch": "draws in another epoch",
    "reordered": "draws at another place",
    "reordered_in_step": "… that stay in their step",
    "redone": "draws made again from a checkpoint",
    "not_reached": "draws that may still come",
    "beyond": "draws after the end of the unbroken log",
}


def compared_answer(result: Json, findings: list[str]) -> Answer:
    """Give the verdict on a resumed run, what was found, what is not known, and the counts."""
    return Answer(
        result["verdict"],
        [
            *findings,
            *(f"Not judged: {sentence}" for sentence in result["unjudged"]),
            Table(
                ("count", "draws", "targets"),
                [(words, result[name], result["tokens"][name]) for name, words in RESUMED.items()],
            ),
            f"{counted(result['draws'], 'draw')} of the resumed run were compared with "
            f"{counted(result['unbroken_draws'], 'draw')} of the unbroken run.",
        ],
    )
