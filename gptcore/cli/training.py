"""The subcommand `train`."""

from __future__ import annotations

import argparse
import json
import shlex
from dataclasses import replace
from typing import TYPE_CHECKING

from gptcore.cli.cost import cost_command, cost_lines
from gptcore.cli.data import Data, describe_parts, load_data, warned
from gptcore.cli.models import Loaded, check_vocabulary, load_model
from gptcore.cli.options import (
    DEFAULT_MODEL,
    SHAPE,
    Json,
    add_corpus_options,
    add_device_option,
    add_init_option,
    add_model_options,
    add_precision_option,
    add_sampling_options,
    given_sizes,
)
from gptcore.cli.sampling import draws_and_steps, joins_documents, sampling_sizes
from gptcore.console import Answer, Cell, Progress, Table, clock, fixed, number, to_path, whole
from gptcore.data.vocabulary import gpt2
from gptcore.sampling.base import Sampler
from gptcore.sampling.samplers import make_sampler

if TYPE_CHECKING:
    import torch

    from gptcore.model.config import ModelConfig
    from gptcore.model.gpt import GPT
    from gptcore.training.config import TrainConfig

LAUNCH = "torchrun --nproc-per-node N -m gptcore train …"
SCHEDULE_NAMES = ("cosine", "constant", "wsd")
LEARNING_RATE = 6e-4
TUNING_RATE = 3e-5
"""Learning rate of fine-tuning, as in nanoGPT's config/finetune_shakespeare.py."""
WARMUP_STEPS = 25
"""Default warm-up of the schedules that begin alike whatever the number of steps is."""


def train_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `gptcore train`."""
    parser.add_argument(
        "--out",
        type=to_path,
        required=True,
        metavar="DIR",
        help="folder of the run, for its log, checkpoints and summary (required)",
    )
    model = parser.add_argument_group("model")
    add_model_options(model)
    add_init_option(model)
    _add_optimisation_options(parser.add_argument_group("optimisation"))
    add_precision_option(parser)
    parser.add_argument(
        "--compile",
        nargs="?",
        const="inductor",
        metavar="HOW",
        help="use torch.compile (needs a C++ compiler): inductor (default settings, and the "
        "default of HOW), reduce-overhead (CUDA graphs) or max-autotune (tries several kernels); "
        "the time of compiling is reported apart",
    )
    parser.add_argument(
        "--recompute",
        action="store_true",
        help="use less memory and more time: compute activations again in the backward pass, and "
        "return freed memory to the operating system",
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="continue the run in --out from its newest checkpoint, or start it if it has none; "
        "with more --steps than it was planned for, its schedule is extended",
    )
    parser.add_argument(
        "--checkpoint-every",
        type=whole,
        metavar="STEPS",
        help="steps between two checkpoints, which are at most 60 s apart (default: 50)",
    )
    parser.add_argument(
        "--shard",
        action="store_true",
        help="divide weights, gradients and moments over the processes that torchrun starts "
        "(FSDP2), for models beyond one device (default: each process has all of them, DDP)",
    )
    add_device_option(parser)
    add_corpus_options(parser)
    add_sampling_options(parser)


def _add_optimisation_options(group: argparse._ActionsContainer) -> None:
    group.add_argument(
        "--learning-rate",
        type=number,
        metavar="RATE",
        help=f"highest learning rate, reached after the warm-up (default: {LEARNING_RATE:g}, or "
        f"{TUNING_RATE:g} with --init)",
    )
    group.add_argument(
        "--schedule",
        choices=SCHEDULE_NAMES,
        default="cosine",
        metavar="NAME",
        help="course of the learning rate after the warm-up: cosine (falls to a tenth, the "
        "default), constant, or wsd (constant, then falls to almost zero over the last 20 %% "
        "of the steps)",
    )
    group.add_argument(
        "--warmup-steps",
        type=whole,
        metavar="STEPS",
        help="steps in which the learning rate rises from zero (default: 5 %% of the steps with "
        f"cosine, else {WARMUP_STEPS})",
    )
    group.add_argument(
        "--micro-batch-size",
        type=whole,
        metavar="B",
        help="windows in the model at once, a divisor of --batch-size: less memory for the same "
        "gradient (default: the whole batch)",
    )
    group.add_argument(
        "--ema-decay",
        type=number,
        metavar="DECAY",
        help="keep an average of the weights over about the last 1 / (1 - DECAY) steps, for "
        "gptcore evaluate --ema (default: none)",
    )


def train(args: argparse.Namespace) -> Json:
    """Train a model on the training part, and keep a log, checkpoints and a summary."""
    from gptcore import devices
    from gptcore.training.world import one_voice

    with one_voice():
        device = _device(args)
        if args.precision not in (allowed := devices.supported_precisions(device)):
            raise ValueError(
                f"precision {args.precision!r} is not for {device}: choose one of "
                f"{', '.join(allowed)}"
            )
        init = None if args.init is None else _initial(args, device)
        # What is wrong with the sizes is said before data are read.
        config = init.model.config if init else _model_config(args, device, 1)
        data = load_data(args, args.block_size, joins=joins_documents(args))
        if init:
            check_vocabulary(data.source, init.vocabulary)
        else:
            config = _model_config(args, device, data.source.vocabulary.size)
        sampler = make_sampler(
            args.sampler,
            segments=data.split.train,
            seed=args.seed,
            corpus_sha256=data.source.sha256,
            **sampling_sizes(args),
        )
        schedule = _schedule(args, draws_and_steps(args, sampler)[1])
        (devices.return_freed_memory if args.recompute else devices.keep_freed_memory)()
        summary = _run(args, device, init or config, schedule, data, sampler)
    if not summary:  # the first process of the run answers
        raise SystemExit(0)
    init_about, cost = init and init.about, cost_command(args, config, summary)
    about = {"out": str(args.out), "init": init_about, "cost_command": cost}
    return summary | data.provenance() | about


def _device(args: argparse.Namespace) -> torch.device:
    """Return where this process trains; refuse --shard without torchrun."""
    from gptcore.devices import resolve_device
    from gptcore.training.world import is_launched, own_device

    if args.shard and not is_launched():
        raise ValueError(f"--shard divides a model over several processes: start them by {LAUNCH}")
    return own_device(resolve_device(args.device))


def _initial(args: argparse.Namespace, device: torch.device) -> Loaded[GPT]:
    """Return the model that training starts from.

    Raises:
        ValueError: it cannot be loaded or trained so, or another shape is asked for.
    """
    if given := given_sizes(args, "model", "n_layer", "n_head", "n_embd"):
        names = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise ValueError(f"--init gives the shape of the model: leave out {names}")
    init = load_model(args.init)
    if args.block_size > init.model.config.block_size:
        raise ValueError(
            f"--block-size is {args.block_size}, and the model of --init reads at most "
            f"{init.model.config.block_size} tokens: give shorter windows"
        )
    _check_training_memory(args, device, init.model.config)
    return init


def _model_config(args: argparse.Namespace, device: torch.device, vocab_size: int) -> ModelConfig:
    """Return the shape of the model, whose training must fit into the memory."""
    from gptcore.model.config import PRESETS

    given = given_sizes(args, *SHAPE[1:])
    sizes = {"vocab_size": vocab_size, "block_size": args.block_size}
    config = replace(PRESETS[args.model or DEFAULT_MODEL], **sizes, **given)
    _check_training_memory(args, device, config)
    return config


def _check_training_memory(
    args: argparse.Namespace, device: torch.device, config: ModelConfig
) -> None:
    from gptcore.model.gpt import check_memory

    copies = 4 if args.ema_decay is None else 5
    check_memory(config, copies=copies if device.type == "cpu" else 1)


def _schedule(args: argparse.Namespace, steps: int) -> TrainConfig:
    from gptcore.training.config import TrainConfig

    rate = TUNING_RATE if args.init and args.learning_rate is None else args.learning_rate
    warmup_steps = steps // 20 if args.schedule == "cosine" else WARMUP_STEPS
    return TrainConfig(
        steps=steps,
        batch_size=args.batch_size,
        block_size=args.block_size,
        micro_batch_size=args.micro_batch_size,
        schedule=args.schedule,
        learning_rate=LEARNING_RATE if rate is None else rate,
        warmup_steps=warmup_steps if args.warmup_steps is None else args.warmup_steps,
        ema_decay=args.ema_decay,
        precision=args.precision,
        compile=args.compile,
        recompute=args.recompute,
        seed=args.seed,
    )


def _run(
    args: argparse.Namespace,
    device: torch.device,
    begin: ModelConfig | Loaded[GPT],
    schedule: TrainConfig,
    data: Data,
    sampler: Sampler,
) -> Json:
    """Train a new or a loaded model in the folder of the run; return the summary."""
    from gptcore.model.gpt import GPT
    from gptcore.sampling.batches import gather_draws
    from gptcore.training.runs import CHECKPOINT_STEPS, run_training
    from gptcore.training.world import joined

    ids, progress = data.ids, Progress("step")
    model = begin.model if isinstance(begin, Loaded) else GPT(begin, seed=args.seed)
    vocabulary = data.source.vocabulary.with_size(model.config.vocab_size)
    told = {} if vocabulary == gpt2() else {"vocabulary": json.dumps(vocabulary.as_dict())}
    if isinstance(begin, Loaded):
        told["init_sha256"] = begin.sha256
    with joined(device) as world:
        part = world.part(args.batch_size) if world else range(args.batch_size)
        return run_training(
            args.out,
            model,
            lambda step: gather_draws(ids, sampler, step * args.batch_size + part.start, len(part)),
            schedule,
            device=device,
            fingerprint={"sampler": sampler.fingerprint(), **told},
            epochs_per_step=args.batch_size * args.block_size / sampler.n_targets,
            resume=args.resume,
            checkpoint_every=args.checkpoint_every or CHECKPOINT_STEPS,
            on_step=lambda m: progress(
                m.step, schedule.steps, f" · loss {m.loss:.3f} · {m.step_time_s:.2f} s a step"
            ),
            world=world,
            shard=args.shard,
        )


def train_answer(result: Json) -> Answer:
    """Say where training ended, how long it took, where the run is, and what can follow."""
    time_s, folder = result["train_time_s"], shlex.quote(result["out"])
    rows: list[tuple[Cell, ...]] = [
        ("loss of the last batch", fixed(result["final_loss"]), "nats per token"),
        ("tokens", result["tokens"], "tokens"),
        ("epoch-equivalents", result["epochs"], "passes"),
        ("parameters", result["n_params"], "parameters"),
        ("time of all steps", time_s, "s"),
        ("speed", result["tokens_per_s"], "tokens per second"),
        ("memory", result["memory_bytes"], "bytes"),
        ("energy", result["energy_j"], "joules"),
        ("time of compiling", result["compile_time_s"], "s"),
    ]
    resumed = ", ".join(f"{step:,}" for step in result["resumed_from"])
    return Answer(
        f"Training reached step {result['step']:,} of {result['steps']:,} with a loss of "
        f"{result['final_loss']:.3f} nats per token in {_duration(time_s)} on "
        f"{_devices(result)} ({result['precision']}).",
        [
            Table(("quantity", "value", "unit"), rows),
            *([f"Training began with {init['source']}."] if (init := result["init"]) else []),
            *([f"The run was resumed after step {resumed}."] if resumed else []),
            *map(_extension_sentence, result["extensions"]),
            describe_parts(result),
            *warned(result),
            f"The run is in {result['out']}: metrics.jsonl, summary.json and checkpoints.",
            "Next, with the same options of text and split:",
            f"  gptcore evaluate --checkpoint {folder}",
            f"  gptcore generate --checkpoint {folder} --prompt TEXT",
            *cost_lines(result["cost_command"]),
        ],
    )


def _devices(result: Json) -> str:
    engine, device = result["engine"], str(result["device"])
    return f"{result['world_size']} processes on {device} by {engine}" if engine else device


def _extension_sentence(change: Json) -> str:
    """Say what more steps changed, from `resuming.extension`."""
    steps = f"{change['steps']:,} steps"
    text = (
        f"The schedule was extended after step {change['from_step']:,}, from "
        f"{change['steps_before']:,} to {steps}. "
    )
    if change["exact"]:
        return f"{text}The steps until there are those of a run of {steps}."
    return (
        f"{text}The learning rates used until there, {change['lr_used_min']:.3g} to "
        f"{change['lr_used_max']:.3g}, are not those of a run of {steps}: the last one is "
        f"{change['lr_used_last']:.3g}, and the next is {change['lr_next']:.3g}."
    )


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.2g} s"
    return f"{seconds / 60:.1f} min" if seconds < 3600 else clock(seconds)
