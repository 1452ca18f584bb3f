"""What the subcommands of `gptcore` do: parsed options in, one JSON object out.

Their keys are a contract: checks and scripts read them. torch is loaded only where a model is.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gptcore.checks import LARGEST, check_whole
from gptcore.console import Progress
from gptcore.data.corpora import CORPORA, Corpus, load_corpus
from gptcore.data.splits import Split, make_split
from gptcore.data.tokens import Ids, TokenStream
from gptcore.sampling.base import Sampler
from gptcore.sampling.samplers import SAMPLERS, make_sampler

if TYPE_CHECKING:
    from gptcore.model.gpt import GPT


Json = dict[str, Any]
DRAWS_AT_ONCE = 2**20


@dataclass(frozen=True)
class Data:
    """A text, its tokens, and the parts to train on and to test on."""

    corpus: Corpus
    stream: TokenStream
    split: Split
    block_size: int

    @property
    def train_tokens(self) -> int:
        """Tokens of the train part."""
        return sum(map(len, self.split.train))

    @property
    def test_parts(self) -> list[Ids]:
        """Token ids of each segment of the test part."""
        return [self.stream.ids[part.start : part.stop] for part in self.split.test]

    def provenance(self) -> Json:
        """Return what was measured, and what train and test share."""
        from gptcore.data.leakage import certificate

        leakage = certificate(self.stream.ids, self.split, block_size=self.block_size)
        return {
            "corpus": self.corpus.name,
            "sha256": self.corpus.sha256,
            "cleaning": list(self.corpus.cleaning),
            "n_tokens": len(self.stream),
            "train_tokens": self.train_tokens,
            "test_tokens": sum(map(len, self.split.test)),
            "leakage": leakage.as_dict(),
        }


def load_data(args: argparse.Namespace, block_size: int) -> Data:
    """Return the text and split that the options name."""
    corpus = load_corpus(args.corpus, raw=args.raw)
    stream = TokenStream.from_text(corpus.text)
    split = make_split(
        args.split, len(stream), args.train_fraction, embargo=args.embargo, block_size=block_size
    )
    return Data(corpus, stream, split, block_size)


def draws_and_steps(args: argparse.Namespace, sampler: Sampler) -> tuple[int, int]:
    """Return the number of draws asked for and the batches they fill, the last maybe in part."""
    batch_size = check_whole("batch_size", args.batch_size)
    if args.epochs is None:
        steps = check_whole("steps", 501 if args.steps is None else args.steps)
        return check_whole("draws, steps * batch_size,", steps * batch_size), steps
    targets = sampler.n_tokens - len(sampler.segments)
    per_epoch = sampler.draws_per_epoch or targets / sampler.targets_per_window
    draws = args.epochs * per_epoch
    if not 1 <= round(min(draws, LARGEST)) < LARGEST:
        few_or_many = "not one window; give a larger" if draws < 1 else "too many; give a smaller"
        raise ValueError(f"--epochs is {args.epochs}: that is {few_or_many} number")
    return round(draws), math.ceil(round(draws) / batch_size)


def _sampling(args: argparse.Namespace) -> Json:
    return {
        "block_size": args.block_size,
        "batch_size": args.batch_size,
        "drop_last": args.drop_last,
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
    """Say what to expect of a sampler, or of all, before any run."""
    if not args.all:
        found = _plan(args, args.sampler)
    else:
        found = {"samplers": [_plan(args, name) for name in _feasible(args)]}
    if args.plot:
        from gptcore.plots import plot_plan

        plot_plan(args.plot, found.get("samplers", [found]))
        found["plot"] = str(args.plot)
    return found


def _feasible(args: argparse.Namespace) -> Iterator[str]:
    """Yield the samplers that these sizes allow; drop_last may leave some without a batch."""
    check_whole("batch_size", args.batch_size)
    errors = []
    for name in SAMPLERS:
        try:
            make_sampler(name, n_tokens=args.tokens, **_sampling(args))
        except ValueError as error:
            errors.append(error)
        else:
            yield name
    if len(errors) == len(SAMPLERS):
        raise errors[0]


def _plan(args: argparse.Namespace, name: str) -> Json:
    from gptcore.theory.expectations import draws_for_full_cover, expect_of, steps_for_coverage

    setting = {"n_tokens": args.tokens, **_sampling(args)}
    sampler = make_sampler(name, seed=args.seed, **setting)
    draws, steps = draws_and_steps(args, sampler)
    expected = expect_of(sampler, draws)
    missed, targets = expected.missed_targets, sampler.n_tokens - 1
    full = draws_for_full_cover(sampler)
    return {
        "sampler": name,
        **setting,
        "steps": steps,
        "draws": draws,
        "epochs": draws * sampler.targets_per_window / targets,
        "expected_missed_targets": missed,
        "expected_missed_fraction": None if missed is None else missed / targets,
        "expected_missed_edge": expected.missed_edge,
        "expected_missed_interior": expected.missed_interior,
        "sd_missed_targets": expected.sd_missed_targets,
        "expected_missed_inputs": expected.missed_inputs,
        "never_targets": expected.never_targets,
        "expected_repeated_windows": expected.repeated_windows,
        "expected_gaps": expected.gaps,
        "expected_visits_mean": expected.visits_mean,
        "expected_visits_sd": expected.visits_sd,
        "expected_alignment_coverage": expected.alignment_coverage,
        "steps_for_coverage": {
            f"{share:g}": needed for share, needed in steps_for_coverage(name, **setting).items()
        },
        "steps_for_full_coverage": None if full is None else -(-full // args.batch_size),
    }


def coverage(args: argparse.Namespace) -> Json:
    """Count what one seeded run shows the model, beside what theory expects."""
    from gptcore.coverage.summaries import z_scores
    from gptcore.coverage.visits import measure_coverage
    from gptcore.theory.expectations import expect_of

    data = load_data(args, args.block_size)
    sampler = make_sampler(
        args.sampler, segments=data.split.train, seed=args.seed, **_sampling(args)
    )
    draws, steps = draws_and_steps(args, sampler)
    expected = expect_of(sampler, draws)
    observed = measure_coverage(
        _pieces(sampler, draws),
        segments=sampler.segments,
        block_size=sampler.block_size,
        targets_per_window=sampler.targets_per_window,
    )
    seen, theory = _exposure(sampler, draws)
    return {
        **observed.as_dict(),
        **seen,
        "never_targets": expected.never_targets,
        **data.provenance(),
        "sampler": args.sampler,
        **_sampling(args),
        "seed": args.seed,
        "steps": steps,
        "expected": {k: v for k, v in vars(expected).items() if k != "never_targets"} | theory,
        "z": z_scores(observed, expected),
    }


def _exposure(sampler: Sampler, draws: int) -> tuple[Json, Json]:
    """Return pairs, contexts, evenness and overlap as observed, and as expected where known.

    They look at all draws at once; beyond DRAWS_AT_ONCE they are null.
    """
    from gptcore.coverage.exposure import (
        batch_overlap,
        context_coverage,
        pair_coverage,
        star_discrepancy,
    )
    from gptcore.theory.expectations import (
        expected_batch_overlap,
        expected_context_coverage,
        expected_pair_coverage,
    )

    width, batch_size = sampler.targets_per_window, sampler.batch_size
    shares = sorted({1, max(1, width // 4), max(1, width // 2), max(1, 3 * width // 4), width})
    theory: Json = {
        "pair_coverage": {str(h): expected_pair_coverage(sampler, h, draws) for h in shares},
        "context_coverage": {str(m): expected_context_coverage(sampler, m, draws) for m in shares},
        "batch_overlap": expected_batch_overlap(sampler, batch_size),
    }
    if draws > DRAWS_AT_ONCE:
        return dict.fromkeys((*theory, "star_discrepancy")), theory
    starts, steps = sampler.starts(0, draws), draws // batch_size
    seen: Json = {
        "pair_coverage": {str(h): pair_coverage(starts, sampler, h) for h in shares},
        "context_coverage": {str(m): context_coverage(starts, sampler, m) for m in shares},
        "batch_overlap": None,
        "star_discrepancy": None,
    }
    if steps:  # of whole batches
        starts = starts[: steps * batch_size]
        (discrepancy,) = star_discrepancy(starts, sampler, [steps], batch_size=batch_size)
        seen["batch_overlap"] = batch_overlap(starts, sampler, batch_size=batch_size)
        seen["star_discrepancy"] = float(discrepancy)
    return seen, theory


def _pieces(sampler: Sampler, draws: int) -> Iterator[Any]:
    """Yield the starts of all draws in pieces, so that memory stays bounded."""
    progress = Progress("draw")
    for first in range(0, draws, DRAWS_AT_ONCE):
        count = min(DRAWS_AT_ONCE, draws - first)
        yield sampler.starts(first, count)
        progress(first + count, draws)


def audit(args: argparse.Namespace) -> Json:
    """Say what a foreign loader showed, from a log of its windows or its token batches."""
    from gptcore.audit.audits import audit_log, audit_tokens

    if args.log.suffix != ".npy":
        if args.tokens is None:
            raise ValueError("--tokens is missing: give the number of tokens that the loader read")
        return audit_log(
            args.log,
            n_tokens=args.tokens,
            block_size=args.block_size,
            epoch_draws=args.epoch_draws,
        ).as_dict()
    stream = TokenStream.from_text(load_corpus(args.corpus, raw=args.raw).text)
    if args.tokens not in (None, len(stream)):
        raise ValueError(f"--tokens is {args.tokens} and the corpus has {len(stream)} tokens")
    try:
        rows = np.load(args.log, mmap_mode="r", allow_pickle=False)
    except (EOFError, ValueError):
        raise ValueError(
            f"{args.log} is not a NumPy file of integers: write it by np.save"
        ) from None
    return audit_tokens(
        rows, stream.ids, block_size=args.block_size, epoch_draws=args.epoch_draws
    ).as_dict()


def bias(args: argparse.Namespace) -> Json:
    """Say whether the test part is special, by n-grams over all positions of the text."""
    from gptcore.data.position_bias import measure_bias

    corpus = load_corpus(args.corpus, raw=args.raw)
    found = measure_bias(corpus, train_fraction=args.train_fraction)
    return {
        "corpus": corpus.name,
        "cleaning": list(corpus.cleaning),
        **found.as_dict(),
        "verdict": found.verdict,
    }


def leakage(args: argparse.Namespace) -> Json:
    """Say what train and test share: positions, targets, 13-grams."""
    provenance = load_data(args, args.block_size).provenance()
    shared: Json = provenance.pop("leakage")
    return shared | provenance


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
        **_sampling(args),
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
