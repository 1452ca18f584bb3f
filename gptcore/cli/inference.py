"""The subcommand `generate`, and how a trained model is loaded."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gptcore.cli.options import (
    Json,
    add_checkpoint_option,
    add_device_option,
    add_seed,
    to_text,
)
from gptcore.console import Progress, number, whole

if TYPE_CHECKING:
    from gptcore.model.gpt import GPT


def load_model(folder: Path, *, ema: bool) -> tuple[GPT, dict[str, Any]]:
    """Return the model of the newest checkpoint of a run, and that checkpoint.

    Args:
        folder: the folder of the run, or that of its checkpoints.
        ema: load the moving average of the weights instead of the weights.
    """
    from gptcore.training.checkpoints import load_checkpoint, model_from_checkpoint

    for place in (folder / "checkpoints", folder):
        checkpoint = load_checkpoint(place)
        if checkpoint is not None:
            return model_from_checkpoint(checkpoint, average=ema), checkpoint
    raise ValueError(f"no checkpoint in {folder}: give the --out folder of gptcore train")


def generate_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `gptcore generate`."""
    add_checkpoint_option(parser)
    parser.add_argument(
        "--prompt",
        type=to_text,
        required=True,
        metavar="TEXT",
        help="text to continue (required, not empty)",
    )
    parser.add_argument(
        "--new-tokens",
        type=whole,
        default=100,
        metavar="TOKENS",
        help="tokens to write (default: 100)",
    )
    parser.add_argument(
        "--temperature",
        type=number,
        default=1.0,
        metavar="X",
        help="logits are divided by X (default: 1); 0 always takes the most probable token",
    )
    parser.add_argument(
        "--top-k",
        type=whole,
        metavar="K",
        help="draw only among the K most probable tokens (default: all)",
    )
    parser.add_argument(
        "--top-p",
        type=number,
        metavar="P",
        help="draw only among the fewest most probable tokens whose probabilities add up to P, "
        "which is above 0 and at most 1 (default: all)",
    )
    add_seed(parser)
    add_device_option(parser)


def generate(args: argparse.Namespace) -> Json:
    """Continue a text with a trained model."""
    import torch

    from gptcore.data.tokenizer import decode, encode
    from gptcore.devices import resolve_device
    from gptcore.model import generation

    if not args.prompt:
        raise ValueError("--prompt is empty: give at least one character")
    device = resolve_device(args.device)
    ids = generation.generate(
        load_model(args.checkpoint, ema=args.ema)[0].to(device),
        torch.from_numpy(encode(args.prompt)),
        args.new_tokens,
        temperature=args.temperature,
        top_k=args.top_k,
        top_p=args.top_p,
        seed=args.seed,
        device=device,
        on_token=Progress("token"),
    ).tolist()
    return {"text": decode(ids), "token_ids": ids}


def generate_answer(result: Json) -> str:
    """Return the text as it is, and nothing else."""
    text: str = result["text"]
    return text
