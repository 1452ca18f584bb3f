"""The subcommands about sampling: `plan` and `coverage`."""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from dataclasses import replace

from gptcore.checks import LARGEST, check_whole
from gptcore.cli.data import describe_parts, load_data, warned
from gptcore.cli.options import Json, add_corpus_options, add_field, add_ngram, add_sampling_options
from gptcore.cli.packing import documents_answer, plan_documents
from gptcore.console import (
    Answer,
    Cell,
    Progress,
    Table,
    at_home,
    counted,
    fixed,
    percent,
    to_picture,
    whole,
)
from gptcore.sampling.base import Sampler
from gptcore.sampling.samplers import JOINING, OWNERS, SAMPLERS, make_sampler

DASH = "A dash stands for never, or for a number that theory does not give."


def draws_and_steps(args: argparse.Namespace, sampler: Sampler) -> tuple[int, int]:
    """Return the number of draws asked for, and of their batches; the last may be short."""
    batch_size = check_whole("batch_size", args.batch_size)
    if args.epochs is None:
        steps = check_whole("steps", 501 if args.steps is None else args.steps)
        return check_whole("draws, steps * batch_size,", steps * batch_size), steps
    per_epoch = sampler.draws_per_epoch or sampler.n_targets / sampler.targets_per_window
    draws = args.epochs * per_epoch
    if not 1 <= round(min(draws, LARGEST)) < LARGEST:
        few_or_many = "not one window; give a larger" if draws < 1 else "too many; give a smaller"
        raise ValueError(f"--epochs is {args.epochs}: that is {few_or_many} number")
    return round(draws), math.ceil(round(draws) / batch_size)


def sampling_sizes(args: argparse.Namespace, *, compared: bool = False) -> Json:
    """Return the options of a sampler, by name; those of one sampler alone not where compared."""
    return {
        "block_size": args.block_size,
        "batch_size": args.batch_size,
        "drop_last": args.drop_last,
        "shuffle_epochs": None if compared else args.shuffle_epochs,
    }


def joins_documents(args: argparse.Namespace) -> bool:
    """Return whether a window of the sampler may hold several documents."""
    return args.sampler in JOINING


def plan_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `gptcore plan`."""
    text = parser.add_mutually_exclusive_group(required=True)
    text.add_argument(
        "--tokens",
        type=whole,
        metavar="TOKENS",
        help="tokens of the training part; this or --documents is required",
    )
    text.add_argument(
        "--documents",
        type=at_home,
        metavar="TEXT",
        help="count what packing documents into rows of T + 1 tokens crops and pads; of the other "
        "options only --block-size and --field play a part. TEXT has the length of one document in "
        "each line, or is data as for --corpus of other commands with known documents (tables, "
        "files of Megatron, a folder of texts, topics, chapters, <|endoftext|>)",
    )
    add_field(parser)
    parser.add_argument(
        "--all", action="store_true", help="compare all samplers, instead of one with --sampler"
    )
    parser.add_argument(
        "--plot",
        type=to_picture,
        metavar="FILE",
        help="also draw the expected share of missed targets against steps, into an image file "
        "(.png, .svg, .pdf; needs matplotlib)",
    )
    add_sampling_options(parser)


def plan(args: argparse.Namespace) -> Json:
    """Compute what a sampler, or every sampler, is expected to show, before any run."""
    if args.documents is not None:
        return plan_documents(args)
    if not args.all:
        result = _plan(args, args.sampler)
    else:
        result = {"samplers": [_plan(args, name) for name in _feasible(args)]}
    if args.plot:
        from gptcore.cli.plots import plot_plan

        plot_plan(args.plot, result.get("samplers", [result]))
        result["plot"] = str(args.plot)
    return result


def plan_answer(result: Json) -> Answer:
    """Say how many targets are expected to be missed, and how fast the others are shown."""
    if "cropped_share" in result:
        return documents_answer(result)
    answer = _compare_plans(result["samplers"]) if "samplers" in result else _tell_plan(result)
    if "plot" in result:
        return Answer(answer.sentence, [*answer.parts, f"The picture is in {result['plot']}."])
    return answer


def _tell_plan(result: Json) -> Answer:
    missed, share = result["expected_missed_targets"], result["expected_missed_fraction"]
    coverage = result["expected_alignment_coverage"]
    rows: list[tuple[Cell, ...]] = [
        ("missed targets", missed, "targets"),
        ("missed near the two ends", result["expected_missed_edge"], "targets"),
        ("missed inside", result["expected_missed_interior"], "targets"),
        ("missed, standard deviation", result["sd_missed_targets"], "targets"),
        ("shown by no draw at all", result["never_targets"] - 1, "targets"),  # but token 0
        ("repeated windows", result["expected_repeated_windows"], "windows"),
        ("visits of a target, mean", result["expected_visits_mean"], "visits"),
        ("visits of a target, standard deviation", result["expected_visits_sd"], "visits"),
        ("start coverage", None if coverage is None else 100 * coverage, "% of starts"),
    ]
    rows += [
        (f"steps until {100 * float(part):g} % of targets are shown", steps, "steps")
        for part, steps in result["steps_for_coverage"].items()
    ]
    rows.append(("steps until all are shown for sure", result["steps_for_full_coverage"], "steps"))
    expectation = (
        f"is expected to miss {_few(missed)} of {result['n_tokens'] - 1:,} targets "
        f"({percent(share)})"
        if missed is not None
        else "misses a number of targets that theory does not give"
    )
    return Answer(
        f"{result['sampler']} {expectation} in {counted(result['steps'], 'step')}: "
        f"{result['epochs']:,.1f} epoch-equivalents.",
        [Table(("quantity", "value", "unit"), rows), DASH, *_simulated([result])],
    )


def _compare_plans(plans: list[Json]) -> Answer:
    first = plans[0]
    known = [p for p in plans if p["expected_missed_targets"] is not None]
    best = min(known, key=lambda p: p["expected_missed_targets"])
    fewest = best["expected_missed_targets"]
    others = sum(p["expected_missed_targets"] == fewest for p in known) - 1
    rows = [
        (
            p["sampler"],
            p["expected_missed_targets"],
            p["sd_missed_targets"],
            p["expected_visits_sd"],
            p["steps_for_coverage"]["0.99"],
            p["steps_for_full_coverage"],
        )
        for p in plans
    ]
    headings = ("sampler", "missed", "sd", "sd of visits", "steps to 99 %", "steps to all")
    also = f" (and {counted(others, 'other')} as few)" if others else ""
    return Answer(
        f"Of {counted(len(plans), 'sampler')}, {best['sampler']} is expected to miss the fewest "
        f"targets{also}: "
        f"{_few(fewest)} of {first['n_tokens'] - 1:,} in "
        f"{counted(first['steps'], 'step')} of {counted(first['batch_size'], 'window')}.",
        [
            Table(headings, rows),
            f"Missed and its sd count targets. {DASH}",
            *_simulated(plans),
        ],
    )


def _simulated(results: list[Json]) -> Iterator[str]:
    """Yield a line on each standard deviation that was simulated: its error and its runs."""
    for result in results:
        if known := result["simulated"].get("sd_missed_targets"):
            yield (
                f"The standard deviation of {result['sampler']} has no formula: it is from "
                f"{known['runs']:,} simulated runs, with a standard error of "
                f"{_few(known['error'])}."
            )


def _few(number: float) -> str:
    """Return an expected number as people say it: 34.6, 3,250, 0.0123."""
    return f"{number:,.1f}".removesuffix(".0") if number >= 10 else f"{number:.3g}"


def _feasible(args: argparse.Namespace) -> Iterator[str]:
    """Yield the samplers that have a batch of these sizes; with drop_last, some may have none."""
    check_whole("batch_size", args.batch_size)
    errors = []
    for name in SAMPLERS:
        try:
            make_sampler(name, n_tokens=args.tokens, **sampling_sizes(args, compared=True))
        except ValueError as error:
            errors.append(error)
        else:
            yield name
    if len(errors) == len(SAMPLERS):
        raise errors[0]


def _plan(args: argparse.Namespace, name: str) -> Json:
    from gptcore.coverage.simulation import errors, sd_missed_targets
    from gptcore.theory.expectations import draws_for_full_cover, expect_of, steps_for_coverage

    other = args.all and name != OWNERS["shuffle_epochs"]
    setting = {"n_tokens": args.tokens, **sampling_sizes(args, compared=other)}
    sampler = make_sampler(name, seed=args.seed, **setting)
    draws, steps = draws_and_steps(args, sampler)
    expected = expect_of(sampler, draws)
    missed, targets = expected.missed_targets, sampler.n_tokens - 1
    full, sd = draws_for_full_cover(sampler), sd_missed_targets(sampler, draws, expected)
    return {
        "sampler": name,
        **setting,
        "shuffle_epochs": getattr(sampler, "shuffle_epochs", None),
        "steps": steps,
        "draws": draws,
        "epochs": draws * sampler.targets_per_window / targets,
        "expected_missed_targets": missed,
        "expected_missed_fraction": None if missed is None else missed / targets,
        "expected_missed_edge": expected.missed_edge,
        "expected_missed_interior": expected.missed_interior,
        "sd_missed_targets": sd.value,
        "sd_source": sd.source,
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
        "simulated": errors(sd_missed_targets=sd),
    }


def coverage_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `gptcore coverage`."""
    add_corpus_options(parser)
    add_ngram(parser)
    add_sampling_options(parser)


def coverage(args: argparse.Namespace) -> Json:
    """Count which targets the draws of one seed show, beside what theory expects."""
    from gptcore.coverage.exposure import measure_exposure
    from gptcore.coverage.simulation import errors, mean_batch_overlap, sd_missed_targets
    from gptcore.coverage.summaries import z_scores
    from gptcore.coverage.visits import DRAWS_AT_ONCE, measure_draws
    from gptcore.theory.expectations import expect_of

    data = load_data(args, args.block_size, joins=joins_documents(args))
    sampler = make_sampler(
        args.sampler, segments=data.split.train, seed=args.seed, **sampling_sizes(args)
    )
    draws, steps = draws_and_steps(args, sampler)
    expected = expect_of(sampler, draws)
    observed = measure_draws(sampler, draws, Progress("draw"))
    sd, overlap = sd_missed_targets(sampler, draws, expected), mean_batch_overlap(sampler, draws)
    expected = replace(expected, sd_missed_targets=sd.value)
    seen, theory = measure_exposure(sampler, draws, at_most=DRAWS_AT_ONCE)
    theory["batch_overlap"] = overlap.value
    return {
        **observed.as_dict(),
        **seen,
        "targets": sampler.n_targets,
        "never_targets": expected.never_targets,
        **data.provenance(),
        "sampler": args.sampler,
        **sampling_sizes(args),
        "shuffle_epochs": getattr(sampler, "shuffle_epochs", None),
        "seed": args.seed,
        "steps": steps,
        "expected": {k: v for k, v in vars(expected).items() if k != "never_targets"} | theory,
        "sd_source": sd.source,
        "simulated": errors(sd_missed_targets=sd, batch_overlap=overlap),
        "z": z_scores(observed, expected),
    }


def coverage_answer(result: Json) -> Answer:
    """Say which share of the targets was never shown and how the visits of the others spread."""
    targets = result["targets"]
    rows: list[tuple[Cell, ...]] = []
    for name, quantity, scale in (
        ("missed_targets", "missed targets", 1),
        ("missed_edge", "missed near the ends", 1),
        ("missed_interior", "missed inside", 1),
        ("gaps", "gaps (missed targets in a row, inside)", 1),
        ("longest_gap", "most missed targets in a row", 1),
        ("repeated_windows", "repeated windows", 1),
        ("visits_mean", "visits of a target, mean", 1),
        ("visits_sd", "visits of a target, standard deviation", 1),
        ("alignment_coverage", "start coverage, % of starts", 100),
    ):
        expected = result["expected"].get(name)
        expected = None if expected is None else scale * expected
        z = result["z"].get(name)
        rows.append((quantity, scale * result[name], expected, fixed(z, 2)))
    return Answer(
        f"{result['sampler']} never showed {result['missed_targets']:,} of {targets:,} targets "
        f"({percent(result['missed_targets'] / targets)}) in {counted(result['steps'], 'step')}; "
        f"a target was shown {result['visits_mean']:.2f} times on average (standard deviation "
        f"{result['visits_sd']:.2f}, from {result['visits_min']:,} to {result['visits_max']:,}).",
        [
            Table(("quantity", "observed", "expected", "z"), rows),
            describe_parts(result),
            "z is (observed - expected) / standard deviation. A dash: theory gives no value. "
            "--json has pairs, contexts, overlap of batches and evenness too.",
            *_simulated([result]),
            *warned(result),
        ],
    )
