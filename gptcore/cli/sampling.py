"""The subcommands about sampling: `plan`, `coverage` and `audit`."""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from gptcore.checks import LARGEST, check_whole
from gptcore.cli.data import load_data
from gptcore.cli.options import Json, add_corpus_options, add_sampling_options, add_text_options
from gptcore.console import Progress, whole
from gptcore.data.corpora import load_corpus
from gptcore.data.tokens import TokenStream
from gptcore.sampling.base import Sampler
from gptcore.sampling.samplers import SAMPLERS, make_sampler

DRAWS_AT_ONCE = 2**20


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


def sampling_sizes(args: argparse.Namespace) -> Json:
    return {
        "block_size": args.block_size,
        "batch_size": args.batch_size,
        "drop_last": args.drop_last,
    }


def plan(args: argparse.Namespace) -> Json:
    """Say what to expect of a sampler, or of all, before any run."""
    if not args.all:
        found = _plan(args, args.sampler)
    else:
        found = {"samplers": [_plan(args, name) for name in _feasible(args)]}
    if args.plot:
        from gptcore.cli.plots import plot_plan

        plot_plan(args.plot, found.get("samplers", [found]))
        found["plot"] = str(args.plot)
    return found


def _feasible(args: argparse.Namespace) -> Iterator[str]:
    """Yield the samplers that these sizes allow; drop_last may leave some without a batch."""
    check_whole("batch_size", args.batch_size)
    errors = []
    for name in SAMPLERS:
        try:
            make_sampler(name, n_tokens=args.tokens, **sampling_sizes(args))
        except ValueError as error:
            errors.append(error)
        else:
            yield name
    if len(errors) == len(SAMPLERS):
        raise errors[0]


def _plan(args: argparse.Namespace, name: str) -> Json:
    from gptcore.theory.expectations import draws_for_full_cover, expect_of, steps_for_coverage

    setting = {"n_tokens": args.tokens, **sampling_sizes(args)}
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
        args.sampler, segments=data.split.train, seed=args.seed, **sampling_sizes(args)
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
        **sampling_sizes(args),
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


def plan_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--tokens", type=whole, required=True, metavar="N", help="tokens of the train part"
    )
    parser.add_argument("--all", action="store_true", help="all samplers side by side")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw missed against steps")
    add_sampling_options(parser)


def coverage_options(parser: argparse.ArgumentParser) -> None:
    add_corpus_options(parser)
    add_sampling_options(parser)


def audit_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "log",
        type=Path,
        metavar="LOG",
        help="CSV or JSON lines with the columns start, length and maybe epoch, rank, step; or "
        "token batches as .npy, matched with --corpus",
    )
    parser.add_argument("--tokens", type=whole, metavar="N", help="tokens that the loader read")
    parser.add_argument("--block-size", type=whole, metavar="T", help="inputs in a window")
    parser.add_argument(
        "--epoch-draws", type=whole, metavar="K", help="windows in an epoch, if not in the log"
    )
    add_text_options(parser)
