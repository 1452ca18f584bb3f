"""Question: on one text, what do training from scratch, fine-tuning and published weights give?

Work unit: one model, scored on the same test part in nats per token of GPT-2's vocabulary, and what
its training costs. `--pretrained` names the published weights, whose own training is not counted,
because others paid for it. Without them only training from scratch is measured. Money is that of
one accelerator at a dated price and a published range of its use; it is worked out and not
measured. Not measured: text that the published model saw in its training, tuned learning rates,
other seeds.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch

from bench.experiments.convergence import train_and_score
from bench.experiments.published import MISSING, score, weights_of
from bench.experiments.reuse import Option, decide
from bench.measuring.work import Result
from bench.session import Session
from bench.suite.catalog import CASES
from bench.suite.reuse import DecisionCase, ScoreCase
from bench.suite.training_cases import TrainCase


@pytest.mark.benchmark(group="published")
def test_published(benchmark: Any, result: Result, session: Session, case: ScoreCase) -> None:
    device = torch.device(next(reversed(session.devices)))  # an accelerator, where there is one
    found = benchmark.pedantic(score, args=(session, case, device), rounds=1)
    result.metrics |= found.metrics
    result.series |= found.series
    result.facts |= found.facts


@pytest.mark.benchmark(group="reuse_runs")
def test_train(benchmark: Any, result: Result, session: Session, case: TrainCase) -> None:
    train_and_score(benchmark, result, session, case)
    if case.model != TrainCase.model:
        result.facts |= weights_of(session)


@pytest.mark.benchmark(group="reuse")
def test_decision(benchmark: Any, result: Result, session: Session, case: DecisionCase) -> None:
    tests = ("bench_reuse::test_published", "bench_reuse::test_train")
    names = [
        f"{test}[{each.id}]"
        for test in tests
        for each in CASES[test](session.plan)
        if getattr(each, "context", case.context) == case.context
    ]
    records = [session.ledger.records[name] for name in names if session.ledger.finished(name)]
    options = [Option.of(record, session.published.config) for record in records]
    if not any(option.kind == "scratch" for option in options):
        pytest.skip("no run from scratch is finished: the same command runs it again")
    found = benchmark.pedantic(decide, args=(options,), rounds=1)
    result.metrics |= found.metrics
    result.series |= found.series
    result.facts |= found.facts | {"not_run": None if session.pretrained else MISSING}
