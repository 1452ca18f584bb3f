"""Question: what changes what a small GPT learns: the order of the data, its amount, the model?

Work unit: one training run. Runs of one seed start from the same weights, where they have one
shape, and are scored on the whole test part, with an embargo of block_size tokens before it. The
runs of one experiment differ in the settings of their arms alone (bench/suite). Initial weights and
windows come from separate random streams. Not measured: the best learning rate of each arm.
"""

from __future__ import annotations

from typing import Any

import pytest

from bench.experiments import verdicts
from bench.experiments.comparisons import compare
from bench.experiments.convergence import train_and_score
from bench.experiments.means import with_means
from bench.experiments.outcomes import QUESTIONS, finished
from bench.measuring.work import Result
from bench.session import Session
from bench.suite.outcome_cases import CompareCase, DesignCase, OutcomeCase
from bench.suite.training_cases import MEAN_OF, TrainCase

PRIOR = "measured on python-docs before (docs/decisions/0028-experiments-with-power.md)"
"""Where the standard deviation comes from that a design assumes."""


@pytest.mark.benchmark(group="design")
def test_design(benchmark: Any, result: Result, case: DesignCase) -> None:
    result.metrics |= benchmark.pedantic(verdicts.design, args=(case,), rounds=1)
    refused = verdicts.no_verdict(case.seeds, 2 * case.n_comparisons)
    result.facts |= {
        "planned_sd_from": case.prior_sd and PRIOR,
        "no_verdict": refused,
    }


@pytest.mark.benchmark(group="convergence")
def test_train(benchmark: Any, result: Result, session: Session, case: TrainCase) -> None:
    train_and_score(benchmark, result, session, case)


@pytest.mark.benchmark(group="comparison")
def test_compare(benchmark: Any, result: Result, session: Session, case: CompareCase) -> None:
    (design,) = (d for d in session.plan.design_cases() if d.experiment == case.experiment)
    pairs = [(c.a, c.b) for c in session.plan.compare_cases() if c.experiment == case.experiment]
    sides = [side for pair in pairs for side in pair]
    records = with_means(session.ledger.records.values(), case.experiment, sides)
    found = verdicts.losses(records, case.experiment)
    incomplete = [s for s in dict.fromkeys(sides) if len(found.get(s, {})) < case.seeds]
    if incomplete:
        pytest.skip(f"not all runs of {', '.join(incomplete)} are finished")
    note = benchmark.pedantic(compare, args=(records, design, pairs, (case.a, case.b)), rounds=1)
    result.metrics |= note.metrics
    result.samples |= note.samples
    result.series |= note.series
    result.facts |= note.facts | {"planned_sd_from": design.prior_sd and PRIOR}


@pytest.mark.benchmark(group="outcome")
def test_outcome(benchmark: Any, result: Result, session: Session, case: OutcomeCase) -> None:
    runs = finished(session.ledger.records.values(), case.experiment)
    arms = case.arms.split(MEAN_OF)
    missing = [arm for arm in arms if len(runs.get(arm, [])) < case.seeds]
    if missing:
        pytest.skip(f"not all runs of {', '.join(missing)} are finished")
    in_order = {arm: runs[arm] for arm in arms}
    try:
        note = benchmark.pedantic(QUESTIONS[case.question], args=(in_order,), rounds=1)
    except ValueError as error:  # the runs do not answer it, as those that diverged
        pytest.skip(str(error))
    result.metrics |= note.metrics
    result.series |= note.series
    result.facts |= note.facts
