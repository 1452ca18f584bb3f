"""The subcommand `evaluate`."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from gptcore.cli.data import describe_parts, describe_source, load_data, read_source, warned
from gptcore.cli.inference import load_model, vocabulary_of
from gptcore.cli.options import (
    Json,
    add_checkpoint_option,
    add_corpus_options,
    add_device_option,
)
from gptcore.console import Answer, Cell, Progress, Table, at_home, counted, fixed, whole
from gptcore.data.sources import Source
from gptcore.data.splits import Segment
from gptcore.data.tokens import Ids
from gptcore.data.vocabulary import Vocabulary

if TYPE_CHECKING:
    import torch

    from gptcore.evaluation.losses import Scores
    from gptcore.model.config import ModelConfig
    from gptcore.model.gpt import GPT

END_OF_TEXT = 50_256
"""GPT-2's <|endoftext|>, which also stands before a text."""


def evaluate_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `gptcore evaluate`, and say what its intervals are about."""
    parser.description = (
        f"{parser.description}\n\n"
        "The 95 % intervals are for the mean over a longer text of this kind, of which the\n"
        "scored text is a stretch (50 times as long). They allow for topics and chapters.\n"
        "They do not speak of other texts, nor of other training runs. Where a text joins\n"
        "documents, they are too narrow unless the test part holds at least five of them.\n"
        "A test part of fewer than 384 targets has none. The loss is compared with that of\n"
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
    add_device_option(parser)
    add_corpus_options(parser)


def evaluate(args: argparse.Namespace) -> Json:
    """Measure the loss of a trained model on each target of a text or of a part of it."""
    from gptcore.devices import resolve_device
    from gptcore.evaluation import groups, losses

    if args.file is not None and args.part == "train":
        raise ValueError("--part train is a part of --corpus: leave it out, or leave out --file")
    device = resolve_device(args.device)
    model, checkpoint = load_model(args.checkpoint, ema=args.ema)
    text = _load_text(args, model.config.block_size)
    _check_vocabulary(text.source, vocabulary_of(checkpoint))
    protocol = _protocol(args, model.config, min(map(len, text.parts)))
    scores = _score(model.to(device), text.parts, protocol, device)
    merged = np.concatenate([score.losses.numpy() for score in scores])
    first = 0 if args.bos else 1  # without <|endoftext|> the first token of a text is no target
    places = np.concatenate([np.arange(s.start + first, s.stop) for s in text.segments])
    visits = _visits(checkpoint, text) if args.part == "train" and not args.bos else None
    train = None if args.bos else text.train  # the baseline does not score first tokens
    evaluation = losses.summarise(
        merged,
        _count_bytes(text.source, [ids[first:] for ids in text.parts]),
        losses.count_losses(train(), text.parts, model.config.vocab_size) if train else None,
    )
    gap = None if visits is None else groups.memorisation_gap(merged, visits)
    rows = {
        "by_position": groups.by_position(merged, places),
        "by_context": groups.by_context(scores),
        "by_visits": None if visits is None else groups.by_visits(merged, visits),
    }
    return {
        **vars(evaluation),
        "protocol": protocol,
        **{name: rows and [asdict(row) for row in rows] for name, rows in rows.items()},
        "memorisation_gap": gap and gap[0],
        "memorisation_gap_interval_95": gap and gap[1],
        **text.provenance,
    }


@dataclass(frozen=True)
class _Text:
    """What is scored.

    Attributes:
        parts: the ids of each segment.
        segments: where in the text they lie.
        train: gives the ids of the training part, piece by piece; None for a text of --file.
        source: the data.
        provenance: keys of the answer that say what text it is.
    """

    parts: list[Ids]
    segments: tuple[Segment, ...]
    train: Callable[[], Iterator[Ids]] | None
    source: Source
    provenance: Json


def _load_text(args: argparse.Namespace, block_size: int) -> _Text:
    if args.file is None:
        data = load_data(args, block_size)
        segments = data.split.test if args.part == "test" else data.split.train
        parts = data.test_parts if args.part == "test" else data.train_parts
        provenance = data.provenance() | {"part": args.part}
        return _Text(parts, tuple(segments), data.train_pieces, data.source, provenance)
    source = read_source(args, args.file)
    ids, whole = source.stream.ids[:].astype(np.int64), Segment(0, len(source.stream))
    return _Text([ids], (whole,), None, source, describe_source(source) | {"part": "whole"})


def _check_vocabulary(source: Source, known: Vocabulary) -> None:
    """Check that data have the ids that a model was trained on.

    Raises:
        ValueError: they have others, whose losses would mean nothing.
    """
    found = source.vocabulary
    if found.size > known.size or (found.is_known and known.is_known and not found.matches(known)):
        raise ValueError(
            f"{source.name} has {found.in_words}, and the model was trained on "
            f"{known.in_words}: give data that the same tokenizer wrote"
        )


def _count_bytes(source: Source, parts: list[Ids]) -> int | None:
    """Return the bytes of text that ids stand for; None where it is not known."""
    counts = [source.vocabulary.token_bytes(ids) for ids in parts]
    known = [int(count.sum()) for count in counts if count is not None]
    return sum(known) if len(known) == len(counts) else None


def _protocol(args: argparse.Namespace, config: ModelConfig, shortest: int) -> Json:
    """Return how the text is scored; every number of it changes the loss.

    Raises:
        ValueError: the model cannot score so.
    """
    if args.bos and config.vocab_size <= END_OF_TEXT:
        raise ValueError(
            f"--bos needs the token {END_OF_TEXT}, and the model has {config.vocab_size} ids: "
            "leave it out"
        )
    if args.context is not None and args.context > config.block_size:
        raise ValueError(
            f"--context is {args.context}; the model reads at most {config.block_size} tokens"
        )
    targets = shortest - 1 + args.bos
    if targets < 1:
        raise ValueError(f"the text has {counted(shortest, 'token')}: give one of two or more")
    context = min(args.context or config.block_size, targets)
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
        "precision": "fp32",
        "weights": "average" if args.ema else "last",
    }


def _score(model: GPT, parts: list[Ids], protocol: Json, device: torch.device) -> list[Scores]:
    import torch

    from gptcore.evaluation import losses

    begin = [END_OF_TEXT] if protocol["bos"] else []
    progress = Progress("batch")
    return [
        losses.sweep(
            model,
            torch.from_numpy(np.concatenate([np.array(begin, dtype=np.int64), ids])),
            block_size=protocol["context"],
            stride=protocol["stride"],
            device=device,
            on_batch=progress,
        )
        for ids in parts
    ]


def _visits(checkpoint: dict[str, Any], text: _Text) -> npt.NDArray[np.int64] | None:
    """Return how often training showed each target, None if it used other parts or targets."""
    from gptcore.coverage.visits import measure_draws
    from gptcore.sampling.base import tell_segments
    from gptcore.sampling.samplers import OWNERS, make_sampler

    settings = checkpoint["fingerprint"]
    known, schedule = settings.get("sampler"), settings.get("train")
    batch_size = schedule.get("batch_size") if isinstance(schedule, dict) else None
    if not isinstance(known, dict) or known.get("world") != 1 or type(batch_size) is not int:
        return None  # run_training takes any fingerprint
    same = known.get("corpus_sha256") == text.source.sha256
    if not same or known.get("segments") != tell_segments(text.segments):
        return None
    names = ("block_size", "batch_size", "drop_last", "seed", *OWNERS)
    sampler = make_sampler(
        str(known.get("sampler")),
        segments=text.segments,
        **{name: known[name] for name in names if name in known},
    )
    visits = measure_draws(sampler, checkpoint["step"] * batch_size).visits
    # A sampler that joins documents has targets that no window of `evaluate` scores.
    return visits if len(visits) == sum(len(part) - 1 for part in text.segments) else None


def evaluate_answer(result: Json) -> Answer:
    """Give the loss with its interval and protocol, and where and when it is high."""
    loss, ends = result["loss_nats_per_token"], result["interval_95"]
    interval = "" if ends is None else f" (95 % interval {ends[0]:.3f} to {ends[1]:.3f})"
    about = (
        f"The intervals are for {result['interval_population']}."
        if ends
        else f"There is no interval, because {result['interval_reason']}."
    )
    scored = (
        describe_parts(result) + f" The {result['part']} part was scored."
        if "train_tokens" in result
        else f"The text is {result['corpus']}: {result['n_tokens']:,} tokens, all of them scored."
    )
    return Answer(
        f"The loss is {loss:.3f} nats per token{interval}{_per_byte(result)}, over "
        f"{counted(result['n_targets'], 'target')}.",
        [
            Table(("quantity", "value", "unit"), _quantities(result)),
            about,
            _in_words(result["protocol"]),
            *_tables(result),
            scored,
            *warned(result),
        ],
    )


def _per_byte(result: Json) -> str:
    bits = result["bits_per_byte"]
    return "" if bits is None else f", or {bits:.3f} bits per byte"


def _quantities(result: Json) -> list[tuple[Cell, ...]]:
    low, high = map(fixed, result["interval_95"] or (None, None))
    less_low, less_high = map(fixed, result["difference_interval_95"] or (None, None))
    rows: list[tuple[Cell, ...]] = [
        ("loss", fixed(result["loss_nats_per_token"]), "nats per token"),
        ("95 % interval, lower end", low, "nats per token"),
        ("95 % interval, upper end", high, "nats per token"),
        ("loss of a byte", fixed(result["bits_per_byte"]), "bits per byte"),
    ]
    if result["baseline_loss_nats_per_token"] is not None:
        rows += [
            (
                "loss of the training part's token counts",
                fixed(result["baseline_loss_nats_per_token"]),
                "nats per token",
            ),
            (
                "loss less that of the counts",
                fixed(result["difference_nats_per_token"]),
                "nats per token",
            ),
            ("95 % interval of that, lower end", less_low, "nats per token"),
            ("95 % interval of that, upper end", less_high, "nats per token"),
        ]
    return [*rows, ("targets scored", result["n_targets"], "targets")]


def _in_words(protocol: Json) -> str:
    first = "scored after <|endoftext|>" if protocol["bos"] else "not scored"
    weights = " The weights were their moving average." if protocol["weights"] == "average" else ""
    return (
        f"Protocol: each target was predicted from at most {protocol['context']} tokens before "
        f"it and, after the first window, from at least {protocol['least_context']} (stride "
        f"{protocol['stride']}); the first token of a text was {first}.{weights}"
    )


def _tables(result: Json) -> Iterator[Table | str]:
    titles = {
        "by_position": "targets of the text, from",
        "by_context": "tokens of context, from",
        "by_visits": "visits in training, from",
    }
    for name, title in titles.items():
        if result[name] is not None:
            rows = [
                (group["first"], group["last"], group["n_targets"], fixed(group["loss"]))
                for group in result[name]
            ]
            yield Table((title, "to", "targets", "nats per token"), rows)
    gap, ends = result["memorisation_gap"], result["memorisation_gap_interval_95"]
    if gap is not None:
        interval = "" if ends is None else f" (95 % interval {ends[0]:.3f} to {ends[1]:.3f})"
        yield (
            "Targets of the training part that training never showed have a loss that is higher "
            f"by {gap:.3f} nats per token{interval} than that of those it showed."
        )
