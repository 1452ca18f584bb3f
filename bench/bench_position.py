"""Question: is a test part at the end of the text harder or easier than one elsewhere?

Work unit: one profile of a text (`test_position`), or one training run (`test_fold`). A profile
moves a block of the size of the test part over 60 positions and scores it by n-grams of the rest of
the text. A text that cleaning changed is profiled raw as well: the difference is the effect of the
boilerplate. For the folds, one model is trained for each fold on all others (less an embargo) and
scored on every token of its fold. With one seed for each fold, as in `standard`, the spread over
folds contains the noise of training. Not measured: other n-gram orders.
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
    data = session.corpora[case.corpus].data
    if case.raw and not data.cleaning:
        pytest.skip("cleaning changes nothing in this text, so the raw text is the same")
    if case.raw or data.corpus is not None:
        text = session.raw(case.corpus) if case.raw else session.text(case.corpus)
        bias = benchmark.pedantic(measure_bias, args=(text,), rounds=1)
    else:
        (test,) = session.split(case.corpus, "tail", len(data.stream), block_size=1).test
        options = {"n_test": len(test), "vocab_size": data.vocabulary.size}
        ids = session.stream(case.corpus).ids[: test.stop]
        bias = benchmark.pedantic(measure_bias, args=(ids,), kwargs=options, rounds=1)
    tail = vars(bias.tail)
    result.metrics |= {
        "n_tokens": bias.n_tokens,
        "boilerplate_tokens": bias.boilerplate_tokens,
        "boilerplate_share_of_test": bias.boilerplate_share_of_test,
        "n_blocks": bias.tail.n_blocks,
        "mean_unigram": bias.tail.mean_unigram,
        "sd_unigram": bias.tail.sd_unigram,
        **{f"tail_{name}": tail[name] for name in TAIL},
        **{f"rank_{name}": tail[f"rank_{name}"] for name in TAIL},
    }
    columns = ("start", "stop", *TAIL)
    result.series["position_profile"] = [
        {name: getattr(block, name) for name in columns} for block in bias.profile
    ]


@pytest.mark.benchmark(group="fold")
def test_fold(benchmark: Any, result: Result, session: Session, case: TrainCase) -> None:
    train_and_score(benchmark, result, session, case)
