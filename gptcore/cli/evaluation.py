"""The subcommand `evaluate`."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from gptcore.checks import LARGEST_INT64
from gptcore.cli.models import END_OF_TEXT, Loaded, load_causal, load_model
from gptcore.cli.options import (
    Json,
    add_checkpoint_option,
    add_corpus_options,
    add_device_option,
    to_model,
)
from gptcore.cli.probing import probe
from gptcore.cli.scored_text import ScoredText, load_text, unit_counts
from gptcore.console import Progress, at_home, counted, whole

if TYPE_CHECKING:
    import torch

    from gptcore.evaluation.losses import Scores


def evaluate_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `gptcore evaluate`, and say what its intervals are about."""
    parser.description = (
        f"{parser.description}\n\n"
        "The 95 % intervals are for the mean over a longer text of this kind, of which the "
        "scored text is a stretch (50 times as long). They allow for topics and chapters. "
        "They do not speak of other texts, nor of other training runs. Where a text joins "
        "documents, they are too narrow unless the test part holds at least five of them. "
        "A test part of fewer than 384 targets has none. The loss is compared with that of "
        "token counts of the training part, on the same targets.\n\n"
        "How a loss was measured (its protocol) changes it, so it is part of the answer."
    )
    add_checkpoint_option(parser)
    group = parser.add_argument_group("what is scored, and how")
    group.add_argument(
        "--file",
        type=at_home,
        metavar="TEXT",
        help="score every token of this text instead of a part of --corpus: a path, gutenberg:ID "
        "or python-docs",
    )
    group.add_argument(
        "--part",
        choices=("test", "train"),
        default="test",
        metavar="PART",
        help="the part of --corpus that is scored: test (default) or train; for train, the loss is "
        "also given by how often training showed a target",
    )
    _add_protocol_options(group)
    add_device_option(parser)
    add_corpus_options(parser)


def _add_protocol_options(group: argparse._ActionsContainer) -> None:
    """Add the options that change how the text is scored."""
    group.add_argument(
        "--context",
        type=whole,
        metavar="T",
        help="most tokens before a target that the model reads (default: the block size of the "
        "model, or all tokens of a shorter text)",
    )
    group.add_argument(
        "--stride",
        type=whole,
        metavar="N",
        help="tokens from one window to the next; after the first window each target has at least "
        "T - N + 1 tokens of context (default: half of T)",
    )
    group.add_argument(
        "--bos",
        action="store_true",
        help="put <|endoftext|> before each text, so that its first token is scored, too",
    )
    group.add_argument(
        "--detokenise",
        action="store_true",
        help="undo the format of WikiText, which has spaces around every sign, before scoring a "
        "text of --file; words and bytes are counted in the text as given",
    )
    group.add_argument(
        "--transformers",
        action="store_true",
        help="load --checkpoint with the library transformers: any causal model, with its own "
        "tokenizer",
    )
    group.add_argument(
        "--probe-beside",
        type=to_model,
        metavar="DIR|NAME",
        help="look for contamination: how far the model continues the text verbatim, beside this "
        "model, which never saw the text",
    )


def evaluate(args: argparse.Namespace) -> Json:
    """Measure the loss of a trained model on each target of a text or of a part of it."""
    from gptcore.devices import resolve_device
    from gptcore.evaluation import groups, losses, units

    if args.file is not None and args.part == "train":
        raise ValueError("--part train is a part of --corpus: leave it out, or leave out --file")
    device = resolve_device(args.device)
    loader: Callable[..., Loaded[Any]] = load_causal if args.transformers else load_model
    loaded = loader(args.checkpoint, ema=args.ema)
    _check_reading(args, loaded)
    text = load_text(args, loaded)
    protocol = _protocol(args, loaded, min(len(piece.ids) for piece in text.pieces))
    contamination = args.probe_beside and probe(args, loaded, text, device)  # short, so it is first
    scores = _score(loaded, text, protocol, device)
    merged = np.concatenate([score.losses.numpy() for score in scores])
    first = 0 if args.bos else 1  # without a token before it the first one is no target
    visits = _visits(loaded.checkpoint, text) if args.part == "train" and not args.bos else None
    counts, totals = unit_counts(text, first)
    evaluation = losses.summarise(merged, totals.get("byte"), _baseline(args, loaded, text))
    gap = None if visits is None else groups.memorisation_gap(merged, visits)
    rows = {
        "by_position": groups.by_position(merged, text.places(first)),
        "by_context": groups.by_context(scores),
        "by_visits": None if visits is None else groups.by_visits(merged, visits),
    }
    case = f"{loaded.about['name']}/{text.provenance['corpus']}"
    return {
        **vars(evaluation),
        "scores": [
            {"case": _case(case, protocol, score.per), **vars(score)}
            for score in units.unit_losses(merged, counts, totals)
        ],
        "protocol": protocol,
        "model": loaded.about,
        **{name: rows and [asdict(row) for row in rows] for name, rows in rows.items()},
        "memorisation_gap": gap and gap[0],
        "memorisation_gap_interval_95": gap and gap[1],
        "contamination": contamination,
        **text.provenance,
    }


def _case(name: str, protocol: Json, per: str) -> str:
    """Return the id of one score, which holds all of its protocol."""
    told = {key: value for key, value in protocol.items() if key != "least_context"}
    values = {True: "yes", False: "no"}
    parts = [f"{k}={values.get(v, v) if type(v) is bool else v}" for k, v in told.items()]
    return f"{name}[{','.join([*parts, f'per={per}'])}]"


def _baseline(
    args: argparse.Namespace, loaded: Loaded[Any], text: ScoredText
) -> npt.NDArray[np.float64] | None:
    """Return the losses of the training part's token counts; None where there are none."""
    from gptcore.evaluation import losses

    if args.bos or text.train is None:  # the baseline does not score first tokens
        return None
    parts = [piece.ids for piece in text.pieces]
    return losses.count_losses(text.train(), parts, loaded.model.config.vocab_size)


def _check_reading(args: argparse.Namespace, loaded: Loaded[Any]) -> None:
    """Check that the model can read what the options ask of it, whatever the text is.

    Raises:
        ValueError: it cannot.
    """
    config = loaded.model.config
    if args.bos and loaded.begin is None:
        raise ValueError(
            f"--bos needs a token that begins a text, such as GPT-2's {END_OF_TEXT}, and none of "
            f"the {config.vocab_size} ids of the model is one: leave it out"
        )
    if args.context is None and config.block_size == LARGEST_INT64:
        raise ValueError("the model does not say how many tokens it reads at most: give --context")
    if args.context is not None and args.context > config.block_size:
        raise ValueError(
            f"--context is {args.context}; the model reads at most {config.block_size} tokens"
        )


def _protocol(args: argparse.Namespace, loaded: Loaded[Any], shortest: int) -> Json:
    """Return how the text is scored; every number of it changes the loss.

    Raises:
        ValueError: the text is too short, or the stride too long.
    """
    targets = shortest - 1 + args.bos
    if targets < 1:
        raise ValueError(f"the text has {counted(shortest, 'token')}: give one of two or more")
    context = min(args.context or loaded.model.config.block_size, targets)
    stride = (context + 1) // 2 if args.stride is None else args.stride
    if stride > context:
        raise ValueError(f"--stride is {stride}; it must be at most the context, {context}")
    return {
        "context": context,
        "stride": stride,
        "least_context": context - stride + 1 if targets > context else 1,
        "bos": args.bos,
        "first_token_scored": args.bos,
        "raw": args.raw,
        "detokenised": args.detokenise,
        "library": "transformers" if args.transformers else "gptcore",
        "precision": "fp32",
        "weights": "average" if args.ema else "last",
    }


def _score(
    loaded: Loaded[Any], text: ScoredText, protocol: Json, device: torch.device
) -> list[Scores]:
    import torch

    from gptcore.evaluation import losses

    begin = [loaded.begin] if protocol["bos"] else []
    model, progress = loaded.model.to(device), Progress("batch")
    return [
        losses.sweep(
            model,
            torch.from_numpy(np.concatenate([np.array(begin, dtype=np.int64), piece.ids])),
            block_size=protocol["context"],
            stride=protocol["stride"],
            device=device,
            on_batch=progress,
        )
        for piece in text.pieces
    ]


def _visits(checkpoint: dict[str, Any] | None, text: ScoredText) -> npt.NDArray[np.int64] | None:
    """Return how often training showed each target, None if it used other parts or targets."""
    from gptcore.coverage.visits import measure_draws
    from gptcore.sampling.base import tell_segments
    from gptcore.sampling.samplers import OWNERS, make_sampler

    if checkpoint is None or text.segments is None:
        return None
    settings = checkpoint["fingerprint"]
    known, schedule = settings.get("sampler"), settings.get("train")
    batch_size = schedule.get("batch_size") if isinstance(schedule, dict) else None
    if not isinstance(known, dict) or type(batch_size) is not int:
        return None  # run_training takes any fingerprint
    same = known.get("corpus_sha256") == text.source.sha256
    if not same or known.get("segments") != tell_segments(text.segments):
        return None
    names = ("block_size", "batch_size", "drop_last", "seed", "corpus_sha256", *OWNERS)
    sampler = make_sampler(
        str(known.get("sampler")),
        segments=text.segments,
        **{name: known[name] for name in names if name in known},
    )
    if {"world": 1} | known != {"world": 1} | sampler.fingerprint():
        return None  # drawn by an older version, in another order or by several ranks
    visits = measure_draws(sampler, checkpoint["step"] * batch_size).visits
    # A sampler that joins documents has targets that no window of `evaluate` scores.
    return visits if len(visits) == sum(len(part) - 1 for part in text.segments) else None
