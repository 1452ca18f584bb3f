"""Question: what is wrong with the user's own model, and what does it cost beside gptcore?

Work unit: one call of a model case on the model file that `--model` names, at the sizes that the
suite gives it or that it fixes. A pair is timed in turns with gptcore at the same sizes; a ratio
above 1 means that the user's model takes longer. The checks come first, and a model with a fault of
causality or loss is not compared. The loader of the file is audited on the part of the text that it
reads. Not measured: building, and what the differences that are recorded with each pair cost.
"""

from __future__ import annotations

from typing import Any

import pytest

from bench import bench_model, bench_peers
from bench.experiments.own_loader import audit_loader
from bench.experiments.pairs import time_pair
from bench.measuring.measure import Measure
from bench.measuring.work import Result
from bench.session import Session
from bench.suite.cases import ModelCase, PairCase
from bench.suite.inputs import Inputs
from bench.suite.own import OwnModel, config_of
from bench.suite.own_cases import OWN_SIZES
from bench.variants.base import Variant
from bench.variants.differences import differences
from bench.variants.own import Own
from gptcore.checking.verdict import STATUSES
from gptcore.model.gpt import GPT


def _own(session: Inputs) -> OwnModel:
    assert session.own is not None, "these cases are those of a run with --model"
    return session.own


@pytest.mark.benchmark(group="own_checks")
def test_checks(benchmark: Any, result: Result, session: Inputs, case: ModelCase) -> None:
    own = _own(session)
    assert own.name == case.variant, "there is one model file in a run"
    checks = benchmark.pedantic(lambda: own.checks, rounds=1)
    statuses = [check.status for check in checks]
    result.metrics |= {f"checks_{status}": statuses.count(status) for status in STATUSES}
    columns = ("about", "status", "detail", "means")
    result.series["checks"] = [
        {"check": each.name, **{name: getattr(each, name) for name in columns}} for each in checks
    ]
    result.facts |= {"file": own.name, "sha256": own.sha256, "barred": own.why_not()}


@pytest.mark.benchmark(group="own_step")
@pytest.mark.usefixtures("benchmark")
def test_step(measure: Measure, result: Result, session: Inputs, case: ModelCase) -> None:
    bench_model.test_step(measure, result, session, case)


@pytest.mark.benchmark(group="own_pairs")
def test_pair(benchmark: Any, result: Result, session: Inputs, case: PairCase) -> None:
    own = _own(session)
    if reason := own.why_not():
        pytest.skip(reason)
    _note_differences(result, session, case.base)
    time_pair(benchmark, result, session, case)


def _note_differences(result: Result, session: Inputs, base: ModelCase) -> None:
    """Note what differs; both models are then let go, since the pair is built anew."""
    own = _own(session)
    config = config_of(base.model, session.stream(base.corpus).vocab_size, base.block_size)
    mine, ours = Own(own.file, own.build(config)), Variant(GPT(config))
    result.metrics |= {"n_params": mine.model.n_params, "n_params_ours": ours.model.n_params}
    result.facts["differences"] = differences(mine, ours, config)


@pytest.mark.benchmark(group="own_peaks")
def test_peak(benchmark: Any, result: Result, session: Inputs, case: ModelCase) -> None:
    bench_peers.read_peak(benchmark, result, session, case)


@pytest.mark.benchmark(group="own_loader")
def test_loader(benchmark: Any, result: Result, session: Session, case: ModelCase) -> None:
    stream = session.stream(case.corpus)
    split = session.split(case.corpus, "tail", len(stream), block_size=case.block_size)
    parts = {
        name: [stream.ids[part.start : part.stop] for part in segments]
        for name, segments in (("train", split.train), ("test", split.test))
    }
    n_batches = OWN_SIZES[session.plan.suite].batches
    options = {"vocab_size": stream.vocab_size, "n_batches": n_batches, "seed": case.seed}
    try:
        found = benchmark.pedantic(audit_loader, (_own(session), parts), options, rounds=1)
    except ValueError as error:
        pytest.skip(f"the loader is not audited: {error}")
    result.metrics |= found.metrics
    result.facts |= found.facts
