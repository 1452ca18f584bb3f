"""Simulated moments: near the exact ones, with an honest error, and only where none is exact."""

from dataclasses import replace

import pytest

from gptcore.coverage.exposure import batch_overlap
from gptcore.coverage.simulation import errors, mean_batch_overlap, sd_missed_targets
from gptcore.sampling.samplers import SAMPLERS, make_sampler
from gptcore.theory.expectations import expect_of

SHAPE = {"n_tokens": 2_000, "block_size": 32}


@pytest.fixture
def few_runs(monkeypatch):
    monkeypatch.setattr("gptcore.coverage.simulation.MOST_RUNS", 200)


@pytest.mark.parametrize("name", ["random_replacement", "golden", "random_phase_blocks"])
def test_simulated_sd_is_within_four_errors_of_the_exact_one(name, few_runs):
    sampler = make_sampler(name, **SHAPE)
    expected = expect_of(sampler, 70)
    simulated = sd_missed_targets(sampler, 70, replace(expected, sd_missed_targets=None))
    assert (simulated.source, simulated.runs) == ("simulated", 200)
    assert abs(simulated.value - expected.sd_missed_targets) <= 4 * simulated.error
    assert 0.01 < simulated.error / simulated.value < 0.2  # about 1/sqrt(2 * 200) = 5 %


def test_exact_sd_is_not_simulated():
    sampler = make_sampler("golden", **SHAPE)
    expected = expect_of(sampler, 70)
    moment = sd_missed_targets(sampler, 70, expected)
    assert moment.value == expected.sd_missed_targets
    assert (moment.source, moment.error, moment.runs) == ("exact", None, None)
    assert errors(sd=moment) == {}


def test_same_question_has_the_same_answer_whatever_the_seed(few_runs):
    first, second = (make_sampler("stratified", seed=seed, **SHAPE) for seed in (0, 5))
    moments = [sd_missed_targets(s, 60, expect_of(s, 60)) for s in (first, second)]
    assert moments[0] == moments[1]
    assert errors(sd=moments[0]) == {"sd": {"error": moments[0].error, "runs": 200}}


def test_draws_that_would_take_too_long_give_no_value():
    sampler = make_sampler("stratified", **SHAPE)
    draws = 2**20
    moment = sd_missed_targets(sampler, draws, expect_of(sampler, draws))
    assert (moment.value, moment.source) == (None, None)


def test_whole_epoch_counts_as_drawn_where_its_order_is_made_for_all_of_it():
    sampler = make_sampler("stratified", n_tokens=2**26, block_size=64)
    assert sd_missed_targets(sampler, 100, expect_of(sampler, 100)).value is None


def test_standard_deviation_of_what_no_run_shows_is_not_known(few_runs):
    sampler = make_sampler("stratified", n_tokens=40, block_size=2)
    draws = 20 * sampler.draws_per_epoch  # a start at an end is missed with probability 2**-20
    moment = sd_missed_targets(sampler, draws, expect_of(sampler, draws))
    assert (moment.value, moment.source) == (None, None)


@pytest.mark.parametrize("name", SAMPLERS)
def test_overlap_of_batches_is_known_for_every_sampler(name, few_runs):
    sampler = make_sampler(name, batch_size=7, **SHAPE)
    moment = mean_batch_overlap(sampler, 143)
    runs = [
        batch_overlap(sampler.with_seed(seed).starts(0, 140), sampler, batch_size=7)
        for seed in range(40)
    ]
    mean = sum(runs) / len(runs)
    spread = (sum((run - mean) ** 2 for run in runs) / len(runs)) ** 0.5
    assert abs(moment.value - mean) <= 4 * (spread / 40**0.5 + (moment.error or 0)) + 1e-12


def test_no_whole_batch_has_no_overlap():
    assert mean_batch_overlap(make_sampler("stratified", batch_size=7, **SHAPE), 6).value is None
