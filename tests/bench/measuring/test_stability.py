import math
import warnings
from collections import Counter

import numpy as np
import pytest

from bench.measuring.stability import Stability, stability

REPEATS = 250


def noise(seed, n, sd=0.02):
    return 1 + sd * np.random.default_rng(seed).standard_normal(n)


def rate(verdict, make, repeats=REPEATS, **options):
    verdicts = Counter(stability(make(seed), **options).verdict for seed in range(repeats))
    return verdicts[verdict] / repeats


def only(judgement, part):
    """Return the one reason that holds `part`."""
    (reason,) = [reason for reason in judgement.reasons if part in reason]
    return reason


@pytest.mark.parametrize("n", [5, 10, 30, 200])
@pytest.mark.parametrize("sd", [0.02, 0.1])
def test_independent_rounds_are_called_drifting_in_at_most_5_percent(n, sd):
    # 2 % + 2 % by construction; 250 cases of 4 % exceed 7 % once in a hundred.
    assert rate("drifting", lambda seed: np.abs(noise(seed, n, sd))) <= 0.07


@pytest.mark.parametrize("n", [5, 10, 30, 200])
def test_tails_do_not_make_a_drift(n):
    def tailed(seed):
        return 1 + 0.05 * np.exp(np.random.default_rng(seed).standard_normal(n))

    assert rate("drifting", tailed) <= 0.07


@pytest.mark.parametrize(("n", "sd"), [(5, 0.01), (10, 0.02), (30, 0.03), (200, 0.05)])
def test_usual_noise_is_called_stable(n, sd):
    # A normal sample of n has a median interval of about ±2.5 sd / sqrt(n): 1, 2, 1 and 1 %.
    assert rate("stable", lambda seed: noise(seed, n, sd)) >= 0.9


@pytest.mark.parametrize(("n", "power"), [(10, 0.7), (30, 0.99), (200, 0.99)])
def test_a_rise_of_8_percent_is_found(n, power):
    rise = np.linspace(0, 0.08, n)
    assert rate("drifting", lambda seed: noise(seed, n) + rise, 100) >= power


@pytest.mark.parametrize(("n", "power"), [(10, 0.7), (30, 0.99), (200, 0.99)])
def test_a_step_of_6_percent_is_found(n, power):
    step = 0.06 * (np.arange(n) >= n // 2)
    assert rate("drifting", lambda seed: noise(seed, n) + step, 100) >= power


def test_five_rounds_in_strict_order_are_a_drift():
    assert stability([1.0, 1.02, 1.03, 1.05, 1.06]).verdict == "drifting"
    assert stability([1.0, 1.02, 1.03, 1.06, 1.05]).verdict == "stable"  # p = 0.083


def test_a_drift_too_small_to_matter_is_stable():
    assert stability(1 + np.linspace(0, 0.04, 100)).verdict == "stable"
    assert stability(1 + np.linspace(0, 0.07, 100)).verdict == "drifting"


def test_equal_rounds_are_stable_without_advice():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert stability([0.25] * 8) == Stability("stable")


def test_a_rise_advises_cooling_and_a_fall_a_longer_warm_up():
    rise = noise(0, 40, 0.002) + np.linspace(0, 0.1, 40)
    rising, falling = stability(rise), stability(rise[::-1], warmup_s=[1.2, 1.1])
    assert "rises by 9.6 %" in only(rising, "Mann-Kendall")
    assert "let the machine cool" in rising.remedies[0]
    assert "falls by 9.6 %" in only(falling, "Mann-Kendall")
    assert "warm up longer (it ended after 2 calls)" in falling.remedies[0]


def test_a_step_says_where_it_is_and_how_large():
    judgement = stability(noise(0, 60, 0.002) + 0.08 * (np.arange(60) >= 40))
    reason = only(judgement, "change of level")
    assert reason.startswith("from round 41 of 60 on the time is 8.")
    assert "slower" in reason
    assert "what started or ended" in judgement.remedies[0]


def test_one_change_is_reported_once():
    judgement = stability(noise(0, 60, 0.002) + 0.08 * (np.arange(60) >= 30))
    assert len(judgement.reasons) == len(judgement.remedies) == 1


def test_wide_rounds_are_noisy_with_the_number():
    judgement = stability(noise(3, 100, 0.15))
    assert judgement.verdict == "noisy"
    assert "rounds is 1" in only(judgement, "robust coefficient")


def test_interruptions_are_noisy_with_their_count():
    times = noise(0, 40)
    times[[5, 17, 30]] = 1.6, 1.8, 4.0
    judgement = stability(times, load_before=3.1, load_after=2.84, cores=2)
    assert judgement.verdict == "noisy"
    reason = only(judgement, "times the median")
    assert reason.startswith("3 of 40 rounds took more than 1.5 times the median, the slowest 4.")
    assert "load before was 3.1 and after was 2.8 on 2 cores" in judgement.remedies[0]


def test_one_interruption_of_many_rounds_is_no_noise():
    times = noise(0, 40)
    times[5] = 6.0
    assert stability(times).verdict == "stable"


def test_few_wide_rounds_are_noisy_because_the_median_is_not_known():
    judgement = stability([1.0, 1.3, 0.9, 1.1, 1.2])
    assert "93.8 % interval" in only(judgement, "the median of 5 rounds is known only to ±18.2 %")
    assert "--suite=study" in judgement.remedies[0]


@pytest.mark.parametrize("n", [1, 2, 4])
def test_fewer_than_5_rounds_are_not_called_stable(n):
    judgement = stability([1.0] * n)
    assert judgement.verdict == "noisy"
    assert only(judgement, "rounds cannot show").startswith(f"{n} rounds")


def test_drifting_wins_over_noisy_and_keeps_both_reasons():
    judgement = stability(noise(0, 60, 0.15) + np.linspace(0, 1, 60))
    assert judgement.verdict == "drifting"
    assert len(judgement.reasons) >= 2


@pytest.mark.parametrize("n", [5, 30, 200])
def test_processes_that_differ_by_their_rounds_alone_agree(n):
    def disagree(seed):
        rounds = np.abs(1 + 0.15 * np.random.default_rng(seed).standard_normal((4, n)))
        reasons = stability(rounds[0], process_time_s=np.median(rounds, axis=1)).reasons
        return any("processes differ" in reason for reason in reasons)

    assert np.mean([disagree(seed) for seed in range(REPEATS)]) <= 0.03  # 1 % + 3 sd


def test_processes_that_differ_by_more_are_drifting():
    judgement = stability(noise(0, 50, 0.002), process_time_s=[1.0, 1.01, 1.12])
    assert judgement.verdict == "drifting"
    assert only(judgement, "rounds explain").startswith("3 processes differ by 11.9 %")
    assert "pin the threads" in judgement.remedies[0]


def test_processes_of_few_rounds_may_differ_by_more():
    medians = [1.0, 1.08, 0.95]  # single rounds of sd 5 % beside the median of 200
    times = noise(1, 200, 0.05)
    assert stability(times, process_time_s=medians).verdict == "drifting"
    assert stability(times, process_time_s=medians, process_rounds=1).verdict == "noisy"


def test_processes_whose_medians_lie_far_apart_are_noisy_even_where_rounds_explain_it():
    times = noise(2, 15, 0.12)
    judgement = stability(times, process_time_s=[0.97, 1.0, 1.08])
    assert judgement.verdict == "noisy"
    assert any("3 processes lie 11.0 % apart" in reason for reason in judgement.reasons)
    near = stability(times, process_time_s=[0.97, 1.0, 1.05])
    assert not any("apart" in reason for reason in near.reasons)


def test_processes_may_differ_by_5_percent():
    assert stability(noise(0, 200, 0.001), process_time_s=[1.0, 1.04]).verdict == "stable"


@pytest.mark.parametrize(("after", "word"), [(1.08, "8.0 % slower"), (0.93, "7.0 % faster")])
def test_a_changed_reference_explains_what_the_rounds_show(after, word):
    judgement = stability(noise(0, 50, 0.3), reference_s=[1.0, after])
    assert judgement.verdict == stability(noise(0, 50, 0.3)).verdict != "stable"
    assert any("fixed matrix product" in reason and word in reason for reason in judgement.reasons)


def test_a_changed_reference_decides_nothing():
    judgement = stability(noise(0, 50, 0.002), reference_s=[1.0, 1.3])
    assert judgement.verdict == "stable"
    assert not judgement.reasons


def test_a_reference_within_5_percent_explains_nothing():
    judgement = stability(noise(0, 50, 0.3), reference_s=[1.0, 1.04])
    assert not any("fixed matrix product" in reason for reason in judgement.reasons)


@pytest.mark.parametrize("bad", [[], [1.0, 0.0], [1.0, math.nan], [math.inf]])
def test_times_that_are_none_are_refused(bad):
    with pytest.raises(ValueError, match=r"was timed|positive and finite"):
        stability(bad)
