import math

import numpy as np
import pytest

from bench.pairing.processes import _pairs, pair_in_processes, ratio_of_processes, summarise
from gptcore.stats import log_ratio_of_pairs, ratio_of_pairs


def one_process(rng, truth, process_sd, n=40):
    """The answer of a process whose pairs all share one shift."""
    logs = 0.02 * rng.standard_normal((2, n))
    shift = math.log(truth) + process_sd * rng.standard_normal()
    return {
        "a_time_s": np.exp(logs[0]).tolist(),
        "b_time_s": np.exp(logs[1] + shift).tolist(),
        "first": ["a", "b"] * (n // 2),
        "warnings": [],
        "seconds": 1.0,
    }


def test_what_processes_differ_by_is_in_the_interval_and_one_process_misses_it():
    rng = np.random.default_rng(0)
    held, alone = 0, 0
    for done in range(400):
        answers = [one_process(rng, 1.05, 0.01) for _ in range(6)]
        ratio = ratio_of_processes([log_ratio_of_pairs(*_pairs(answer)) for answer in answers])
        held += ratio.low <= 1.05 <= ratio.high
        if done < 50:
            own = ratio_of_pairs(*_pairs(answers[0]))
            alone += own.low <= 1.05 <= own.high
    assert held >= 369  # 95 % expected, less 2.5 standard errors
    assert alone <= 35


def test_each_process_gets_its_share_of_the_seconds():
    rng, tasks, told = np.random.default_rng(1), [], []

    def run(task):
        tasks.append(task)
        return one_process(rng, 2.0, 0.0)

    pairs = pair_in_processes(
        {"a": "x"}, 12, processes=4, progress=lambda *done: told.append(done), run=run
    )
    assert tasks == [{"a": "x", "seconds": 3.0}] * 4
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert pairs.verdict == "slower"
    assert pairs.spread < 0.02


def test_processes_that_differ_are_no_verdict_and_the_remedy_is_more_of_them():
    rng = np.random.default_rng(2)
    pairs = summarise([one_process(rng, 1.0, 0.05) for _ in range(4)], 0.03)
    assert pairs.verdict == "ambiguous"
    assert any("processes and" in warning for warning in pairs.warnings)


def test_two_pairs_in_a_process_are_enough_and_have_no_interval_of_their_own():
    rng = np.random.default_rng(3)
    pairs = summarise([one_process(rng, 1.5, 0.0, n=2) for _ in range(5)], 0.03)
    assert pairs.within == [None] * 5
    assert pairs.ratio.low < 1.5 < pairs.ratio.high


def test_one_process_is_refused():
    with pytest.raises(ValueError, match="give at least 2"):
        summarise([one_process(np.random.default_rng(4), 1.0, 0.0)], 0.03)
