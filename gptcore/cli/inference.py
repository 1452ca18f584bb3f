"""The subcommands that use a trained model: `generate` and `evaluate`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from gptcore.cli.data import describe_parts, load_data
from gptcore.cli.options import (
    Json,
    add_checkpoint_option,
    add_corpus_options,
    add_device_option,
    add_seed,
    to_text,
)
from gptcore.console import Answer, Cell, Progress, Table, counted, fixed, number, whole

if TYPE_CHECKING:
    from gptcore.model.gpt import GPT


def _load_model(folder: Path, *, ema: bool) -> GPT:
    """Return the model of the newest checkpoint of a run (its folder, or its checkpoints)."""
    from gptcore.training.checkpoints import load_checkpoint, model_from_checkpoint

    for place in (folder / "checkpoints", folder):
        checkpoint = load_checkpoint(place)
        if checkpoint is not None:
            return model_from_checkpoint(checkpoint, average=ema)
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
        _load_model(args.checkpoint, ema=args.ema).to(device),
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


def evaluate_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `gptcore evaluate`, and say what its intervals are about."""
    parser.description = (
        f"{parser.description}\n\n"
        "The 95 % intervals are for the mean over a longer text of this kind, of which the\n"
        "scored text is a stretch (50 times as long). They allow for topics and chapters.\n"
        "They do not speak of other texts, nor of other training runs. Where a text joins\n"
        "documents, they are too narrow unless the test part holds at least five of them.\n"
        "A test part of fewer than 384 targets has none. The loss is compared with that of\n"
        "token counts of the training part, on the same targets."
    )
    add_checkpoint_option(parser)
    add_device_option(parser)
    add_corpus_options(parser)


def evaluate(args: argparse.Namespace) -> Json:
    """Measure the loss of a trained model on every target of the test part."""
    import torch

    from gptcore.data.tokenizer import VOCAB_SIZE, token_bytes
    from gptcore.devices import resolve_device
    from gptcore.evaluation import losses

    device = resolve_device(args.device)
    model = _load_model(args.checkpoint, ema=args.ema).to(device)
    data = load_data(args, model.config.block_size)
    test = data.test_parts
    evaluation = losses.evaluate(
        model,
        [torch.from_numpy(ids) for ids in test],
        block_size=model.config.block_size,
        device=device,
        n_bytes=sum(int(token_bytes(ids[1:]).sum()) for ids in test),
        baseline=losses.count_losses(data.train_parts, test, VOCAB_SIZE),
        on_batch=Progress("batch"),
    )
    return vars(evaluation) | data.provenance()


def evaluate_answer(result: Json) -> Answer:
    """Give the loss with its interval, and its distance from the loss of token counts."""
    loss, ends = result["loss_nats_per_token"], result["interval_95"]
    interval = "" if ends is None else f" (95 % interval {ends[0]:.3f} to {ends[1]:.3f})"
    low, high = map(fixed, ends or (None, None))
    gain = result["difference_interval_95"] or (None, None)
    baseline = result["baseline_loss_nats_per_token"]
    rows: list[tuple[Cell, ...]] = [
        ("loss", fixed(loss), "nats per token"),
        ("95 % interval, lower end", low, "nats per token"),
        ("95 % interval, upper end", high, "nats per token"),
        ("loss of a byte", fixed(result["bits_per_byte"]), "bits per byte"),
        ("loss of the training part's token counts", fixed(baseline), "nats per token"),
        (
            "loss less that of the counts",
            fixed(result["difference_nats_per_token"]),
            "nats per token",
        ),
        ("95 % interval of that, lower end", fixed(gain[0]), "nats per token"),
        ("95 % interval of that, upper end", fixed(gain[1]), "nats per token"),
        ("targets scored", result["n_targets"], "targets"),
    ]
    about = (
        f"The intervals are for {result['interval_population']}."
        if ends
        else f"There is no interval, because {result['interval_reason']}."
    )
    return Answer(
        f"The loss is {loss:.3f} nats per token{interval}, or {result['bits_per_byte']:.3f} bits "
        f"per byte, over {counted(result['n_targets'], 'target')}.",
        [Table(("quantity", "value", "unit"), rows), about, describe_parts(result)],
    )
