"""Question: which targets do random windows miss and repeat, against a DataLoader at equal tokens?

Work unit: one draw, a window of block_size targets. No model is trained. The count is compared
with exact theory; the time is that of drawing and counting, and no claim rests on it.
"""

from __future__ import annotations

from typing import Any

import pytest

from bench.experiments import CoverageCase
from bench.run import Result, Run
from gptcore.coverage import (
    Coverage,
    coverage_curve,
    measure_coverage,
    visits_by_position,
    visits_histogram,
    z_scores,
)
from gptcore.samplers import Sampler, make_sampler
from gptcore.splits import tail_split
from gptcore.theory import expect

CURVE_POINTS = 40


def rows(columns: dict[str, Any]) -> list[dict[str, Any]]:
    """Turn columns of equal length into rows."""
    return [
        dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)
    ]


def _draw_and_count(sampler: Sampler, draws: int) -> Coverage:
    starts = sampler.starts(0, draws)
    return measure_coverage(starts, n_tokens=sampler.n_tokens, block_size=sampler.block_size)


def _curve(sampler: Sampler, case: CoverageCase, draws: int) -> list[dict[str, float | None]]:
    """Return the covered share of targets along the first two epochs and along the whole run."""
    steps = draws // case.batch_size
    start = min(steps, 2 * sampler.n_tokens // (case.batch_size * case.block_size))
    ends = [end * i // CURVE_POINTS for end in (start, steps) for i in range(1, CURVE_POINTS + 1)]
    points = sorted({max(1, end) for end in ends})
    covered = coverage_curve(sampler, steps=points, batch_size=case.batch_size)
    targets = sampler.n_tokens - 1
    curve = []
    for step, share in zip(points, covered.tolist(), strict=True):
        drawn = step * case.batch_size
        missed = _expect(sampler, case, drawn).missed_targets
        expected = None if missed is None else 1 - missed / targets
        epochs = drawn * case.block_size / targets
        curve.append({"step": step, "epochs": epochs, "covered": share, "expected": expected})
    return curve


def _expect(sampler: Sampler, case: CoverageCase, draws: int) -> Any:
    return expect(
        case.sampler,
        n_tokens=sampler.n_tokens,
        block_size=case.block_size,
        draws=draws,
        batch_size=case.batch_size,
        drop_last=case.drop_last,
    )


@pytest.mark.benchmark(group="coverage")
def test_coverage(benchmark: Any, result: Result, run: Run, case: CoverageCase) -> None:
    n_tokens = len(run.streams[case.corpus])
    split = tail_split(n_tokens, block_size=case.block_size)
    (train,), (test,) = split.train, split.test
    sampler = make_sampler(
        case.sampler,
        n_tokens=len(train),
        block_size=case.block_size,
        seed=case.seed,
        batch_size=case.batch_size,
        drop_last=case.drop_last,
    )
    # Equal tokens for all samplers: as many windows as the fixed grid has, times the epochs.
    draws = max(case.batch_size, round(case.target_epochs * ((len(train) - 1) // case.block_size)))
    coverage = benchmark.pedantic(_draw_and_count, args=(sampler, draws), rounds=3)
    expectation = _expect(sampler, case, draws)
    expected = dict(vars(expectation))
    sd = expected.pop("sd_missed_targets")
    observed = {k: v for k, v in coverage.as_dict().items() if k not in ("n_tokens", "block_size")}
    result.metrics |= observed | {
        "n_tokens": n_tokens,
        "train_tokens": len(train),
        "test_tokens": len(test),
        "steps": draws // case.batch_size,
        **{f"expected_{name}": value for name, value in expected.items()},
        "sd_missed_targets": sd,
        "z_missed_targets": z_scores(coverage, expectation)["missed_targets"],
    }
    result.series |= {
        "visits_histogram": rows(visits_histogram(coverage)),
        "visits_by_position": rows(visits_by_position(coverage)),
        "coverage_curve": _curve(sampler, case, draws),
    }
