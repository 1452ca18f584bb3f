"""Question: is the test part at the end of the text special?

Without a model: one profile is a test-sized block slid over 60 positions and scored by n-grams
fitted on the rest. Where cleaning changed the text, it is profiled raw as well: what the
boilerplate does is the difference. With a model: the text in folds, one model trained for each on
all other folds (less an embargo) and scored on every token of its own. One seed a fold: the spread
over folds holds the noise of training too.
"""

from __future__ import annotations

from typing import Any

import pytest

from bench.experiments.convergence import train_and_score
from bench.measuring.work import Result
from bench.session import Session
from bench.suite.cases import PositionCase
from bench.suite.training_cases import TrainCase
from gptcore.data.position_bias import measure_bias

TAIL = ("unigram", "bigram", "js", "unseen")


@pytest.mark.benchmark(group="position")
def test_position(benchmark: Any, result: Result, session: Session, case: PositionCase) -> None:
    corpus = session.raw(case.corpus) if case.raw else session.corpora[case.corpus]
    if case.raw and not session.corpora[case.corpus].cleaning:
        pytest.skip("cleaning changes nothing in this text, so raw is the same")
    found = benchmark.pedantic(measure_bias, args=(corpus,), rounds=1)
    tail = vars(found.tail)
    result.metrics |= {
        "n_tokens": found.n_tokens,
        "boilerplate_tokens": found.boilerplate_tokens,
        "boilerplate_share_of_test": found.boilerplate_share_of_test,
        "n_blocks": found.tail.n_blocks,
        "mean_unigram": found.tail.mean_unigram,
        "sd_unigram": found.tail.sd_unigram,
        **{f"tail_{name}": tail[name] for name in TAIL},
        **{f"rank_{name}": tail[f"rank_{name}"] for name in TAIL},
    }
    columns = ("start", "stop", *TAIL)
    result.series["position_profile"] = [
        {name: getattr(block, name) for name in columns} for block in found.profile
    ]


@pytest.mark.benchmark(group="fold")
def test_fold(benchmark: Any, result: Result, session: Session, case: TrainCase) -> None:
    train_and_score(benchmark, result, session, case)
