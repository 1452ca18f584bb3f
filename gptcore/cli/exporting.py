"""The subcommand `export`."""

from __future__ import annotations

import argparse
import shlex

from gptcore.cli.models import load_model
from gptcore.cli.options import Json, add_checkpoint_option
from gptcore.console import Answer, to_path


def export_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `gptcore export`."""
    add_checkpoint_option(parser)
    parser.add_argument(
        "--out",
        type=to_path,
        required=True,
        metavar="FOLDER",
        help="where config.json and model.safetensors are written, and the two files of GPT-2's "
        "tokenizer if the model has its tokens (required)",
    )


def export(args: argparse.Namespace) -> Json:
    """Write a trained model in the layout that GPT2LMHeadModel of transformers loads."""
    from gptcore.data.tokenizer import published_file
    from gptcore.files import write_whole
    from gptcore.model.pretrained import save_pretrained
    from gptcore.reading import read_bytes

    loaded = load_model(args.checkpoint, ema=args.ema)
    save_pretrained(loaded.model, args.out)
    tokens = {"vocab.json": "encoder.json", "merges.txt": "vocab.bpe"}
    written = ["config.json", "model.safetensors"]
    if loaded.vocabulary.tokenizer == "gpt2":
        for name, ours in tokens.items():
            write_whole(args.out / name, read_bytes(published_file(ours)))
        written += tokens
    return {"out": str(args.out), "files": written, "model": loaded.about}


def export_answer(result: Json) -> Answer:
    """Say what was written, and how it is loaded."""
    folder = result["out"]
    return Answer(
        f"The model ({result['model']['source']}) was written to {folder}: "
        f"{', '.join(result['files'])}.",
        [
            "Next:",
            f"  gptcore evaluate --checkpoint {shlex.quote(folder)}",
            f"  in Python: transformers.GPT2LMHeadModel.from_pretrained({folder!r})",
        ],
    )
