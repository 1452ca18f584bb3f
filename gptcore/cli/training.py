"""The subcommands that train and use a model: `train`, `generate` and `evaluate`."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gptcore.cli.data import load_data
from gptcore.cli.options import (
    PRESET_NAMES,
    Json,
    add_checkpoint_option,
    add_corpus_options,
    add_device_option,
    add_precision_option,
    add_sampling_options,
)
from gptcore.cli.sampling import draws_and_steps, sampling_sizes
from gptcore.console import Progress, number, whole
from gptcore.sampling.samplers import make_sampler

if TYPE_CHECKING:
    from gptcore.model.gpt import GPT


def train_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the run")
    parser.add_argument("--model", choices=PRESET_NAMES, default="model4", help="default: model4")
    for name in ("n-layer", "n-head", "n-embd"):
        parser.add_argument(f"--{name}", type=whole, metavar="N", help="instead of the preset's")
    parser.add_argument("--learning-rate", type=number, default=6e-4, help="default: 6e-4")
    add_precision_option(parser)
    parser.add_argument(
        "--compile",
        nargs="?",
        const="inductor",
        metavar="HOW",
        help="use torch.compile: inductor (default), reduce-overhead (CUDA graphs), max-autotune; "
        "its time is reported apart (needs a C++ compiler)",
    )
    parser.add_argument(
        "--recompute",
        action="store_true",
        help="less memory, more time: activations are made again in backward, and freed "
        "memory goes back to the system",
    )
    parser.add_argument("--resume", action="store_true", help="go on from the newest checkpoint")
    parser.add_argument(
        "--checkpoint-every", type=whole, metavar="N", help="steps (default: 50, or 60 s)"
    )
    add_device_option(parser)
    add_corpus_options(parser)
    add_sampling_options(parser)


def generate_options(parser: argparse.ArgumentParser) -> None:
    add_checkpoint_option(parser)
    parser.add_argument("--prompt", required=True, help="text to continue")
    parser.add_argument("--new-tokens", type=whole, default=100, help="default: 100")
    parser.add_argument("--temperature", type=number, default=1.0, help="default: 1; 0 is greedy")
    parser.add_argument("--top-k", type=whole, metavar="K", help="sample from the K likeliest")
    parser.add_argument(
        "--top-p", type=number, metavar="P", help="sample from the likeliest that add up to P"
    )
    parser.add_argument("--seed", type=whole, default=0, help="default: 0")
    add_device_option(parser)


def evaluate_options(parser: argparse.ArgumentParser) -> None:
    add_checkpoint_option(parser)
    add_device_option(parser)
    add_corpus_options(parser)


def _model_config(args: argparse.Namespace) -> Any:
    from gptcore.model.config import PRESETS

    given = {
        name: value
        for name in ("n_layer", "n_head", "n_embd")
        if (value := getattr(args, name)) is not None
    }
    return replace(PRESETS[args.model], block_size=args.block_size, **given)


def train(args: argparse.Namespace) -> Json:
    """Train a model on the train part, keeping a log, checkpoints and a summary."""
    import torch

    from gptcore import devices
    from gptcore.model.gpt import GPT
    from gptcore.sampling.batches import batch
    from gptcore.training.config import TrainConfig
    from gptcore.training.runs import run_training

    device = devices.resolve_device(args.device)
    if args.precision not in devices.supported_precisions(device):
        raise ValueError(
            f"precision {args.precision!r} is not for {device}: choose one of "
            f"{', '.join(devices.supported_precisions(device))}"
        )
    config = _model_config(args)
    data = load_data(args, args.block_size)
    sampler = make_sampler(
        args.sampler,
        segments=data.split.train,
        seed=args.seed,
        corpus_sha256=data.corpus.sha256,
        **sampling_sizes(args),
    )
    _, steps = draws_and_steps(args, sampler)
    schedule = TrainConfig(
        steps=steps,
        batch_size=args.batch_size,
        block_size=args.block_size,
        learning_rate=args.learning_rate,
        warmup_steps=steps // 20,
        precision=args.precision,
        compile=args.compile,
        recompute=args.recompute,
        seed=args.seed,
    )
    ids = torch.from_numpy(data.stream.ids)
    progress = Progress("step")
    (devices.return_freed_memory if args.recompute else devices.keep_freed_memory)()
    targets = data.train_tokens - len(data.split.train)
    summary = run_training(
        args.out,
        GPT(config, seed=args.seed),
        lambda step: batch(ids, sampler, step, args.batch_size),
        schedule,
        device=device,
        fingerprint={"sampler": sampler.fingerprint()},
        epochs_per_step=args.batch_size * args.block_size / targets,
        resume=args.resume,
        checkpoint_every=args.checkpoint_every,
        on_step=lambda m: progress(
            m.step, steps, f" · loss {m.loss:.3f} · {m.step_time_s:.2f} s a step"
        ),
    )
    return summary | data.provenance() | {"out": str(args.out)}


def _load_model(folder: Path) -> GPT:
    """Return the model of the newest checkpoint of a run (its folder, or its checkpoints)."""
    from gptcore.training.checkpoints import load_checkpoint, model_from_checkpoint

    for place in (folder / "checkpoints", folder):
        checkpoint = load_checkpoint(place)
        if checkpoint is not None:
            return model_from_checkpoint(checkpoint)
    raise ValueError(f"no checkpoint in {folder}: give the --out folder of gptcore train")


def generate(args: argparse.Namespace) -> Json:
    """Continue a prompt with a trained model."""
    import torch

    from gptcore.data.tokenizer import decode, encode
    from gptcore.devices import resolve_device
    from gptcore.model import generation

    if not args.prompt:
        raise ValueError("--prompt is empty: give at least one character")
    device = resolve_device(args.device)
    ids = generation.generate(
        _load_model(args.checkpoint).to(device),
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


def evaluate(args: argparse.Namespace) -> Json:
    """Score every token of the test part once."""
    import torch

    from gptcore.data.tokenizer import decode
    from gptcore.devices import resolve_device
    from gptcore.evaluation import losses

    device = resolve_device(args.device)
    model = _load_model(args.checkpoint).to(device)
    data = load_data(args, model.config.block_size)
    found = losses.evaluate(
        model,
        [torch.from_numpy(ids) for ids in data.test_parts],
        block_size=model.config.block_size,
        device=device,
        n_bytes=sum(len(decode(ids[1:]).encode()) for ids in data.test_parts),
        on_batch=Progress("batch"),
    )
    return vars(found) | data.provenance()
