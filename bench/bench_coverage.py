"""Question: which targets does each sampler miss and repeat, at an equal number of tokens?

The main comparison is {with, without replacement} x {fixed grid, any start}: it separates the two
differences between random windows and a shuffled DataLoader. Further cases are DataLoaders that
drop their last batch, and the same number of tokens on a hundredth, a tenth and all of the text.
Work unit: one draw, a window of block_size targets. The counts are recorded together with their
exact expectations. Not measured: training. `test_coverage` has a time, but no claim uses it;
`test_ledger` times the counting of visits.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch

from bench.measuring.measure import Measure
from bench.measuring.work import Result, Work
from bench.suite.cases import CountingCase, CoverageCase
from bench.suite.inputs import Inputs
from gptcore.coverage.simulation import sd_missed_targets
from gptcore.coverage.summaries import (
    coverage_curve,
    visits_by_position,
    visits_histogram,
    z_scores,
)
from gptcore.coverage.visits import measure_coverage, measure_draws
from gptcore.data.splits import Segment
from gptcore.sampling.base import Sampler
from gptcore.sampling.samplers import make_sampler
from gptcore.theory.expectations import expect_of
from gptcore.training.step import EndPhase

CURVE_POINTS = 40
PIECE = 2**20


def rows(columns: dict[str, Any]) -> list[dict[str, Any]]:
    """Turn columns of equal length into rows."""
    return [
        dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)
    ]


def _curve(sampler: Sampler, draws: int) -> list[dict[str, float | None]]:
    """Return the share of targets shown so far, over two epochs and over the whole run."""
    per_step = sampler.batch_size * sampler.targets_per_window
    targets = sampler.n_targets
    steps = max(1, draws // sampler.batch_size)
    start = min(steps, 2 * targets // per_step)
    ends = [end * i // CURVE_POINTS for end in (start, steps) for i in range(1, CURVE_POINTS + 1)]
    points = sorted({max(1, end) for end in ends})
    covered = coverage_curve(sampler, steps=points, batch_size=sampler.batch_size)
    curve: list[dict[str, float | None]] = []
    for step, share in zip(points, covered.tolist(), strict=True):
        missed = expect_of(sampler, step * sampler.batch_size).missed_targets
        expected = None if missed is None else 1 - missed / targets
        epochs = step * per_step / targets
        curve.append({"step": step, "epochs": epochs, "covered": share, "expected": expected})
    return curve


@pytest.mark.benchmark(group="coverage")
def test_coverage(benchmark: Any, result: Result, session: Inputs, case: CoverageCase) -> None:
    n_tokens = len(session.stream(case.corpus))
    split = session.split(case.corpus, "tail", n_tokens, block_size=case.block_size)
    (train,), (test,) = split.train, split.test
    blocks = (len(train) - 1) // case.block_size
    train = Segment(0, round(case.text_share * len(train)))
    if len(train) <= case.block_size:
        pytest.skip(f"{len(train)} tokens are too few for a window of {case.block_size} targets")
    sampler = make_sampler(
        case.sampler,
        segments=[train],
        block_size=case.block_size,
        seed=case.seed,
        batch_size=case.batch_size,
        drop_last=case.drop_last,
    )
    # All samplers and shares of the text get as many windows as the fixed grid has in
    # `target_epochs` epochs on the whole text.
    draws = max(case.batch_size, round(case.target_epochs * case.text_share * blocks))
    coverage = benchmark.pedantic(measure_draws, args=(sampler, draws), rounds=3)
    expectation = expect_of(sampler, draws)
    sd = sd_missed_targets(sampler, draws, expectation).value
    expectation = replace(expectation, sd_missed_targets=sd)
    observed = {k: v for k, v in coverage.as_dict().items() if k not in ("n_tokens", "block_size")}
    expected = {f"expected_{k}": v for k, v in vars(expectation).items() if k in observed}
    result.metrics |= {
        **observed,
        **expected,
        "n_tokens": n_tokens,
        "train_tokens": len(train),
        "test_tokens": len(test),
        "steps": draws // case.batch_size,
        "never_targets": expectation.never_targets,
        "sd_missed_targets": sd,
        "z_missed_targets": z_scores(coverage, expectation)["missed_targets"],
    }
    result.series |= {
        "visits_histogram": rows(visits_histogram(coverage)),
        "visits_by_position": rows(visits_by_position(coverage)),
        "coverage_curve": _curve(sampler, draws),
    }


@pytest.mark.benchmark(group="throughput")
@pytest.mark.usefixtures("benchmark")
def test_ledger(measure: Measure, result: Result, case: CountingCase) -> None:
    sampler = make_sampler("random_replacement", n_tokens=case.n_tokens, block_size=case.block_size)

    def pieces() -> Iterator[Any]:
        for first in range(0, case.draws, PIECE):
            yield sampler.starts(first, min(PIECE, case.draws - first))

    def count(_end_phase: EndPhase) -> None:
        coverage = measure_coverage(pieces(), n_tokens=case.n_tokens, block_size=case.block_size)
        assert coverage.draws == case.draws

    result.metrics |= {"ledger_tokens": case.n_tokens, "draws": case.draws}
    measure(Work(count, torch.device("cpu"), case.draws * case.block_size, budget_s=3))
