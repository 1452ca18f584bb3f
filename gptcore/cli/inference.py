"""The subcommand `generate`."""

from __future__ import annotations

import argparse

from gptcore.cli.models import load_model
from gptcore.cli.options import (
    Json,
    add_checkpoint_option,
    add_device_option,
    add_seed,
    to_text,
)
from gptcore.console import Progress, number, whole


def generate_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `gptcore generate`."""
    add_checkpoint_option(parser)
    parser.add_argument(
        "--prompt",
        type=to_text,
        required=True,
        metavar="TEXT",
        help="text to continue (required, not empty); of a model whose ids stand for no known "
        "text, token ids with spaces between them",
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

    from gptcore.devices import resolve_device
    from gptcore.model import generation

    if not args.prompt:
        raise ValueError("--prompt is empty: give at least one character")
    device = resolve_device(args.device)
    loaded = load_model(args.checkpoint, ema=args.ema)
    vocabulary = loaded.vocabulary
    prompt = vocabulary.encode(args.prompt)
    if not len(prompt):
        raise ValueError("--prompt holds no token: give at least one")
    ids = generation.generate(
        loaded.model.to(device),
        torch.from_numpy(prompt),
        args.new_tokens,
        temperature=args.temperature,
        top_k=args.top_k,
        top_p=args.top_p,
        seed=args.seed,
        device=device,
        on_token=Progress("token"),
    ).tolist()
    return {"text": vocabulary.decode(ids), "token_ids": ids}


def generate_answer(result: Json) -> str:
    """Return the text as it is, and nothing else; ids where their text is not known."""
    text: str | None = result["text"]
    return " ".join(map(str, result["token_ids"])) if text is None else text
