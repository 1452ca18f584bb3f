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
from gptcore.data.vocabulary import Vocabulary, gpt2
from gptcore.reading import parse_json

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


def vocabulary_of(checkpoint: dict[str, Any]) -> Vocabulary:
    """Return what the ids of a trained model stand for: GPT-2's tokens unless the run says so.

    Raises:
        ValueError: what the run says is damaged.
    """
    told = checkpoint["fingerprint"].get("vocabulary")
    size = checkpoint["model_config"]["vocab_size"]
    if told is None:
        return gpt2() if size == gpt2().size else Vocabulary(size)
    try:
        return Vocabulary.from_dict(parse_json(told, "the vocabulary of the run"))
    except (KeyError, TypeError) as error:
        raise ValueError(
            f"the vocabulary of the run is damaged ({error!r}): train it again"
        ) from None


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
    model, checkpoint = load_model(args.checkpoint, ema=args.ema)
    vocabulary = vocabulary_of(checkpoint)
    prompt = vocabulary.encode(args.prompt)
    if not len(prompt):
        raise ValueError("--prompt holds no token: give at least one")
    ids = generation.generate(
        model.to(device),
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
