"""The command `gptcore`: one function for each subcommand, one table that names them.

Results go to standard output, as text or with --json as one object; progress and warnings go to
standard error. Exit code 0 is done, 2 bad input (one line), 130 interrupted.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gptcore.console import Parser, Progress, number, show, whole
from gptcore.corpora import CORPORA, Corpus, load_corpus
from gptcore.samplers import SAMPLERS, Sampler, make_sampler
from gptcore.splits import SPLITS, Segment, tail_split
from gptcore.tokens import TokenStream, check_whole

Json = dict[str, Any]
PRESET_NAMES = (
    *(f"model{i}" for i in range(1, 6)), "gpt2", "gpt2-medium", "gpt2-large", "gpt2-xl",
)  # fmt: skip


def _add_corpus_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("text and split")
    group.add_argument(
        "--corpus", default="python-docs", metavar="NAME|PATH", help="default: python-docs"
    )
    group.add_argument(
        "--raw", action="store_true", help="no cleaning: byte-order mark and line ends stay"
    )
    group.add_argument(
        "--train-fraction", type=number, default=0.9, metavar="F", help="default: 0.9"
    )
    group.add_argument("--split", choices=list(SPLITS), default="tail", help="default: tail")
    group.add_argument(
        "--embargo", type=whole, default=0, metavar="G", help="unused tokens before the test part"
    )


def _add_sampling_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("sampling")
    group.add_argument("--sampler", default="random_replacement", help=", ".join(SAMPLERS))
    group.add_argument("--block-size", type=whole, default=256, metavar="T", help="default: 256")
    group.add_argument("--batch-size", type=whole, default=16, metavar="B", help="default: 16")
    length = group.add_mutually_exclusive_group()
    length.add_argument("--steps", type=whole, metavar="S", help="batches (default: 501)")
    length.add_argument(
        "--epochs",
        type=number,
        metavar="E",
        help="passes; for samplers without epochs, epoch-equivalents",
    )
    group.add_argument(
        "--drop-last", action="store_true", help="leave out the last, short batch of an epoch"
    )
    group.add_argument("--seed", type=whole, default=0, help="default: 0")


@dataclass(frozen=True)
class _Data:
    """A text, its tokens, and the parts to train on and to test on."""

    corpus: Corpus
    stream: TokenStream
    train: Segment
    test: Segment


def _load_data(args: argparse.Namespace, block_size: int) -> _Data:
    corpus = load_corpus(args.corpus, raw=args.raw)
    stream = TokenStream.from_text(corpus.text)
    split = tail_split(
        len(stream), args.train_fraction, embargo=args.embargo, block_size=block_size
    )
    (train,), (test,) = split.train, split.test
    return _Data(corpus, stream, train, test)


def _sampler(args: argparse.Namespace, n_tokens: int) -> Sampler:
    return make_sampler(
        args.sampler,
        n_tokens=n_tokens,
        block_size=args.block_size,
        seed=args.seed,
        batch_size=args.batch_size,
        drop_last=args.drop_last,
    )


def _draws_and_steps(args: argparse.Namespace, sampler: Sampler) -> tuple[int, int]:
    """Return the number of draws asked for and the batches they fill, the last maybe in part."""
    batch_size = check_whole("batch_size", args.batch_size)
    if args.epochs is None:
        steps = check_whole("steps", 501 if args.steps is None else args.steps)
        return steps * batch_size, steps
    per_epoch = sampler.draws_per_epoch or (sampler.n_tokens - 1) / sampler.block_size
    draws = round(args.epochs * per_epoch)
    if draws < 1:
        raise ValueError(f"--epochs is {args.epochs}: that is not one window; give a larger number")
    return draws, math.ceil(draws / batch_size)


def _provenance(data: _Data) -> Json:
    return {
        "corpus": data.corpus.name,
        "sha256": data.corpus.sha256,
        "cleaning": list(data.corpus.cleaning),
        "n_tokens": len(data.stream),
        "train_tokens": len(data.train),
        "test_tokens": len(data.test),
    }


def corpora(args: argparse.Namespace) -> Json:
    """List the texts there are."""
    rows = []
    for spec in dict.fromkeys([*CORPORA, *args.path]):
        try:
            corpus = load_corpus(spec, raw=args.raw)
        except ValueError as error:
            if spec not in CORPORA:
                raise
            rows.append({"name": spec, "available": False, "reason": str(error)})
            continue
        rows.append(
            {
                "name": corpus.name,
                "source": corpus.source,
                "licence": corpus.licence,
                "available": True,
                "n_bytes": corpus.n_bytes,
                "n_tokens": len(TokenStream.from_text(corpus.text)),
                "sha256": corpus.sha256,
                "cleaning": list(corpus.cleaning),
            }
        )
    keys = ("name", "source", "licence", "available", "n_bytes", "n_tokens", "sha256")
    return {"corpora": [dict.fromkeys(keys) | row for row in rows]}


def plan(args: argparse.Namespace) -> Json:
    """Say what to expect of a sampler before any run."""
    from gptcore.theory import expect, steps_for_coverage

    sampler = _sampler(args, args.tokens)
    draws, steps = _draws_and_steps(args, sampler)
    setting = {
        "n_tokens": sampler.n_tokens,
        "block_size": sampler.block_size,
        "batch_size": args.batch_size,
        "drop_last": args.drop_last,
    }
    expected = expect(args.sampler, draws=draws, **setting)
    missed = expected.missed_targets
    targets = sampler.n_tokens - 1
    return {
        "sampler": args.sampler,
        **setting,
        "steps": steps,
        "draws": draws,
        "epochs": draws * sampler.block_size / targets,
        "expected_missed_targets": missed,
        "expected_missed_fraction": None if missed is None else missed / targets,
        "expected_missed_edge": expected.missed_edge,
        "expected_missed_interior": expected.missed_interior,
        "sd_missed_targets": expected.sd_missed_targets,
        "expected_repeated_windows": expected.repeated_windows,
        "expected_gaps": expected.gaps,
        "expected_visits_mean": expected.visits_mean,
        "expected_visits_sd": expected.visits_sd,
        "expected_alignment_coverage": expected.alignment_coverage,
        "steps_for_coverage": {
            f"{share:g}": needed
            for share, needed in steps_for_coverage(args.sampler, **setting).items()
        },
    }


def coverage(args: argparse.Namespace) -> Json:
    """Count what one seeded run shows the model, beside what theory expects."""
    from gptcore.coverage import measure_coverage, z_scores
    from gptcore.theory import expect

    data = _load_data(args, args.block_size)
    sampler = _sampler(args, len(data.train))
    draws, steps = _draws_and_steps(args, sampler)
    observed = measure_coverage(
        sampler.starts(0, draws), n_tokens=sampler.n_tokens, block_size=sampler.block_size
    )
    expected = expect(
        args.sampler,
        n_tokens=sampler.n_tokens,
        block_size=sampler.block_size,
        draws=draws,
        batch_size=args.batch_size,
        drop_last=args.drop_last,
    )
    return {
        **observed.as_dict(),
        **_provenance(data),
        "sampler": args.sampler,
        "batch_size": args.batch_size,
        "drop_last": args.drop_last,
        "seed": args.seed,
        "steps": steps,
        "expected": vars(expected),
        "z": z_scores(observed, expected),
    }


def _model_config(args: argparse.Namespace) -> Any:
    from gptcore.model import PRESETS

    given = {
        name: value
        for name in ("n_layer", "n_head", "n_embd")
        if (value := getattr(args, name)) is not None
    }
    return replace(PRESETS[args.model], block_size=args.block_size, **given)


def train(args: argparse.Namespace) -> Json:
    """Train a model on the train part, keeping a log, checkpoints and a summary."""
    import torch

    from gptcore.batches import batch
    from gptcore.devices import resolve_device, supported_precisions
    from gptcore.model import GPT
    from gptcore.training import TrainConfig, run_training

    device = resolve_device(args.device)
    if args.precision not in supported_precisions(device):
        raise ValueError(
            f"precision {args.precision!r} is not for {device}: choose one of "
            f"{', '.join(supported_precisions(device))}"
        )
    config = _model_config(args)
    data = _load_data(args, args.block_size)
    sampler = _sampler(args, len(data.train))
    _, steps = _draws_and_steps(args, sampler)
    schedule = TrainConfig(
        steps=steps,
        batch_size=args.batch_size,
        block_size=args.block_size,
        learning_rate=args.learning_rate,
        warmup_steps=steps // 20,
        precision=args.precision,
        seed=args.seed,
    )
    ids = torch.from_numpy(data.stream.ids[data.train.start : data.train.stop])
    progress = Progress("step")
    summary = run_training(
        args.out,
        GPT(config, seed=args.seed),
        lambda step: batch(ids, sampler, step, args.batch_size),
        schedule,
        device=device,
        fingerprint={
            "corpus_sha256": data.corpus.sha256,
            "train": [data.train.start, data.train.stop],
            "sampler": args.sampler,
            "drop_last": args.drop_last,
            "seed": args.seed,
        },
        epochs_per_step=args.batch_size * args.block_size / (len(ids) - 1),
        resume=args.resume,
        checkpoint_every=args.checkpoint_every,
        on_step=lambda m: progress(
            m.step, steps, f" · loss {m.loss:.3f} · {m.step_time_s:.2f} s a step"
        ),
    )
    return summary | _provenance(data) | {"out": str(args.out)}


def _load_model(folder: Path) -> Any:
    """Return the model of the newest checkpoint of a run (its folder, or its checkpoints)."""
    from gptcore.checkpoints import load_checkpoint, model_from_checkpoint

    for place in (folder / "checkpoints", folder):
        checkpoint = load_checkpoint(place)
        if checkpoint is not None:
            return model_from_checkpoint(checkpoint)
    raise ValueError(f"no checkpoint in {folder}: give the --out folder of gptcore train")


def generate(args: argparse.Namespace) -> Json:
    """Continue a prompt with a trained model."""
    from gptcore import generation
    from gptcore.devices import resolve_device
    from gptcore.tokenizer import decode, encode

    if not args.prompt:
        raise ValueError("--prompt is empty: give at least one character")
    device = resolve_device(args.device)
    model = _load_model(args.checkpoint).to(device)
    prompt = encode(args.prompt)
    if prompt.max() >= model.config.vocab_size:
        raise ValueError("the prompt has tokens that the model does not know")
    import torch

    ids = generation.generate(
        model,
        torch.from_numpy(prompt),
        args.new_tokens,
        temperature=args.temperature,
        top_k=args.top_k,
        seed=args.seed,
        device=device,
        on_token=Progress("token"),
    ).tolist()
    return {"text": decode(ids), "token_ids": ids}


def evaluate(args: argparse.Namespace) -> Json:
    """Score every token of the test part once."""
    import torch

    from gptcore import evaluation
    from gptcore.devices import resolve_device
    from gptcore.tokenizer import decode

    device = resolve_device(args.device)
    model = _load_model(args.checkpoint).to(device)
    data = _load_data(args, model.config.block_size)
    ids = data.stream.ids[data.test.start : data.test.stop]
    found = evaluation.evaluate(
        model,
        torch.from_numpy(ids),
        block_size=model.config.block_size,
        device=device,
        n_bytes=len(decode(ids[1:]).encode()),
        on_batch=Progress("batch"),
    )
    return vars(found) | _provenance(data)


@dataclass(frozen=True)
class _Command:
    run: Callable[[argparse.Namespace], Json]
    example: str
    options: Callable[[argparse.ArgumentParser], None]


def _corpora_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", nargs="*", help="text files to describe as well")
    parser.add_argument("--raw", action="store_true", help="no cleaning")


def _plan_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--tokens", type=whole, required=True, metavar="N", help="tokens of the train part"
    )
    _add_sampling_options(parser)


def _coverage_options(parser: argparse.ArgumentParser) -> None:
    _add_corpus_options(parser)
    _add_sampling_options(parser)


def _train_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the run")
    parser.add_argument("--model", choices=PRESET_NAMES, default="model4", help="default: model4")
    for name in ("n-layer", "n-head", "n-embd"):
        parser.add_argument(f"--{name}", type=whole, metavar="N", help="instead of the preset's")
    parser.add_argument("--learning-rate", type=number, default=6e-4, help="default: 6e-4")
    parser.add_argument("--precision", default="fp32", help="fp32 (default) or bf16")
    parser.add_argument("--resume", action="store_true", help="go on from the newest checkpoint")
    parser.add_argument(
        "--checkpoint-every", type=whole, metavar="N", help="steps (default: 50, or 60 s)"
    )
    _add_device_option(parser)
    _add_corpus_options(parser)
    _add_sampling_options(parser)


def _add_device_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", default="cpu", help="cpu (default), cuda, mps, xpu …")


def _generate_options(parser: argparse.ArgumentParser) -> None:
    _add_checkpoint_option(parser)
    parser.add_argument("--prompt", required=True, help="text to continue")
    parser.add_argument("--new-tokens", type=whole, default=100, help="default: 100")
    parser.add_argument("--temperature", type=number, default=1.0, help="default: 1; 0 is greedy")
    parser.add_argument("--top-k", type=whole, metavar="K", help="sample from the K likeliest")
    parser.add_argument("--seed", type=whole, default=0, help="default: 0")
    _add_device_option(parser)


def _add_checkpoint_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--checkpoint", type=Path, required=True, metavar="DIR", help="--out of gptcore train"
    )


def _evaluate_options(parser: argparse.ArgumentParser) -> None:
    _add_checkpoint_option(parser)
    _add_device_option(parser)
    _add_corpus_options(parser)


COMMANDS: dict[str, _Command] = {
    "corpora": _Command(corpora, "gptcore corpora my-book.txt", _corpora_options),
    "plan": _Command(
        plan, "gptcore plan --tokens 142515 --block-size 256 --batch-size 16 --steps 501",
        _plan_options,
    ),
    "coverage": _Command(
        coverage, "gptcore coverage --corpus my-book.txt --sampler sequential --epochs 1",
        _coverage_options,
    ),
    "train": _Command(
        train, "gptcore train --out runs/first --model model4 --steps 200", _train_options
    ),
    "generate": _Command(
        generate, 'gptcore generate --checkpoint runs/first --prompt "The statement"',
        _generate_options,
    ),
    "evaluate": _Command(
        evaluate, "gptcore evaluate --checkpoint runs/first --json", _evaluate_options
    ),
}  # fmt: skip


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command."""
    examples = "\n".join(f"  {command.example}" for command in COMMANDS.values())
    raw = argparse.RawDescriptionHelpFormatter
    parser = Parser(
        prog="gptcore",
        description="Sampling, coverage and training of small GPTs, measured and against theory.",
        epilog=f"examples:\n{examples}",
        formatter_class=raw,
    )
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, command in COMMANDS.items():
        summary = (command.run.__doc__ or "").strip()
        sub = subparsers.add_parser(
            name,
            help=summary,
            description=summary,
            epilog=f"example:\n  {command.example}",
            formatter_class=raw,
        )
        sub.add_argument("--json", action="store_true", help="print one JSON object")
        command.options(sub)
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    args = make_parser().parse_args(argv)
    warnings.showwarning = lambda message, *_rest, **_more: print(
        f"gptcore: warning: {message}", file=sys.stderr
    )
    try:
        found = COMMANDS[args.command].run(args)
        if args.json:
            print(json.dumps(found, allow_nan=False))
        else:
            show(found)
        sys.stdout.flush()
    except (ValueError, OSError) as error:
        if isinstance(error, BrokenPipeError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
        text = " ".join(str(error).split())
        print(f"gptcore {args.command}: {text}", file=sys.stderr)
        return 2
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "allocate" not in str(error):
            raise
        print(f"gptcore {args.command}: not enough memory: give smaller sizes", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"gptcore {args.command}: interrupted", file=sys.stderr)
        return 130
    return 0
