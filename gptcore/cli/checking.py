"""The subcommand `check`, about a GPT that somebody has built."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from gptcore.cli.options import Json
from gptcore.console import Answer, Progress, Table, counted, to_path


def check_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `gptcore check`."""
    parser.add_argument(
        "file",
        type=to_path,
        metavar="FILE.py",
        help="your own Python file, which is run: it defines make_model(vocab_size, block_size), "
        "and n_layer, n_head and n_embd if it can, which returns the model; or nanoGPT's classes "
        "GPT and GPTConfig. It may define loss(model, x, y) and make_optimizer(model)",
    )
    parser.add_argument(
        "--train",
        action="store_true",
        help="also train the model for a few seconds, on tokens without any pattern and on one "
        "batch (default: no training)",
    )


def check(args: argparse.Namespace) -> Json:
    """Check a GPT of your own for what usually goes wrong when one is built."""
    from gptcore.checking.checks import check_model
    from gptcore.checking.model_file import load_model_file

    checks = check_model(load_model_file(args.file), train=args.train, tell=Progress("check"))
    return {"file": str(args.file), "checks": [asdict(each) for each in checks]}


def has_fault(_args: argparse.Namespace, result: Json) -> bool:
    """Return whether a check found a fault."""
    return any(each["status"] == "fault" for each in result["checks"])


def check_answer(result: Json) -> Answer:
    """Say how many faults and notes there are, explain them, and list every check."""
    by_status = {
        status: [each for each in result["checks"] if each["status"] == status]
        for status in ("fault", "note", "ok", "skipped")
    }
    faults, notes = len(by_status["fault"]), len(by_status["note"])
    told = f"{counted(faults, 'fault') if faults else 'No fault'} and {counted(notes, 'note')}"
    others = [
        f"{counted(len(by_status[status]), 'check')} {words}"
        for status, words in (("ok", "passed"), ("skipped", "could not be made"))
        if by_status[status]
    ]
    told = f"{told}; {', '.join(others)}." if others else f"{told}."
    table = Table(
        ("check", "status", "detail"),
        [(_words(each["name"]), each["status"], each["detail"]) for each in result["checks"]],
    )
    return Answer(
        told,
        [
            *(
                f"{status.capitalize()} ({_words(each['name'])}): {each['detail']}. {each['means']}"
                for status in ("fault", "note")
                for each in by_status[status]
            ),
            table,
            "A check that passes shows only that it found nothing; docs/checking.md lists what "
            "none of them can find.",
        ],
    )


def _words(name: str) -> str:
    return name.replace("_", " ")
