"""Pass@k without bias, its interval beyond the samples drawn, and the samples for a target."""

from itertools import combinations

import numpy as np
import pytest

from gptcore.evaluation.pass_at_k import FARTHEST, pass_at_k, pass_interval, samples_for


@pytest.mark.parametrize("k", [1, 2, 4, 6])
def test_pass_at_k_is_the_share_of_all_choices_of_k_samples_that_hold_a_success(k):
    samples = np.array([1, 0, 0, 1, 0, 0])
    expected = np.mean([samples[list(chosen)].any() for chosen in combinations(range(6), k)])
    assert pass_at_k([0, 2, 6], 6, k) == pytest.approx([0, expected, 1])


def test_pass_at_k_has_no_bias_where_the_plain_formula_has():
    generator = np.random.default_rng(0)
    counts = generator.binomial(8, 0.1, size=100_000)
    # standard deviation of the mean: less than 0.0015
    assert pass_at_k(counts, 8, 4).mean() == pytest.approx(1 - 0.9**4, abs=0.005)
    assert np.mean(1 - (1 - counts / 8) ** 4) < 1 - 0.9**4 - 0.02


@pytest.mark.parametrize("p_of", ["beta", "never", "two"])
@pytest.mark.parametrize("times", [1, 4])
def test_the_interval_holds_pass_at_k_of_all_prompts_for_any_distribution(p_of, times):
    generator = np.random.default_rng(5)
    draw = {
        "beta": lambda n: generator.beta(0.2, 2, n),  # most of it near 0
        "never": lambda n: generator.beta(0.5, 3, n) * (generator.random(n) > 0.3),
        "two": lambda n: np.where(generator.random(n) < 0.5, 0.3, 0.005),
    }[p_of]
    truth = np.mean(1 - (1 - draw(200_000)) ** (8 * times))
    held = 0
    for _ in range(10):
        low, high = pass_interval(generator.binomial(8, draw(60)), 8, 8 * times)
        held += low <= truth <= high
    assert held >= 8


def test_the_interval_widens_beyond_the_samples_drawn():
    counts = np.random.default_rng(0).binomial(16, np.random.default_rng(1).beta(0.3, 3, 80))
    widths = [np.subtract(*pass_interval(counts, 16, k)[::-1]) for k in (16, 64, 256)]
    assert widths[0] < widths[1] < widths[2]
    low, high = pass_interval(counts, 16, 16)
    assert low < pass_at_k(counts, 16, 16).mean() < high


def test_a_target_has_an_interval_of_samples_and_one_out_of_reach_has_none_but_a_reason():
    counts = np.random.default_rng(0).binomial(16, np.random.default_rng(1).beta(0.5, 3, 80))
    near = samples_for(0.4, counts, 16)
    assert near.reason is None
    assert 1 <= near.low < near.high <= 16 * FARTHEST
    assert pass_at_k(counts, 16, near.low).mean() < 0.4 < pass_at_k(counts, 16, near.high).mean()
    far = samples_for(0.99, counts, 16)
    assert far.high is None
    assert "with 256 samples, 16 times those drawn, between" in far.reason


def test_prompts_without_a_success_or_without_a_failure_may_all_be_alike():
    for k in (1, 16, 256):
        assert pass_interval([0] * 20, 16, k)[0] == 0
        assert pass_interval([16] * 20, 16, k)[1] == 1


def test_prompts_that_never_succeed_give_no_number_of_samples():
    needed = samples_for(0.5, [0] * 40, 2)
    assert needed.high is None
    assert "draw more samples" in needed.reason


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: pass_at_k([3], 2, 1), r"successes are 3 to 3: give counts in \[0, 2\]"),
        (lambda: pass_at_k([0.5], 2, 1), "give a count for each prompt"),
        (lambda: pass_at_k([1], 2, 3), "k is 3: give a whole number of at most 2"),
        (lambda: pass_interval([1] * 7, 2, 1), "7 prompts: give at least 8"),
        (lambda: pass_interval([1] * 9, 2, 33), "k is 33"),
        (lambda: samples_for(1.0, [1] * 9, 2), r"target is 1.0: give a number in \(0, 1\)"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
