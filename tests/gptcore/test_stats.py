import time

import numpy as np
import pytest

from gptcore.stats import FEWEST_PAIRS, holm, ratio_of_pairs, share_interval


def test_holm_matches_a_worked_example():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_holm_never_exceeds_one_and_keeps_order():
    assert holm([0.9, 0.5]) == [1.0, 1.0]


@pytest.mark.parametrize(("wins", "expected"), [(0, (0, 0.3085)), (5, (0.1871, 0.8129))])
def test_share_interval_is_that_of_published_tables(wins, expected):
    # Exact 95 % limits of 0 and 5 of 10 (Clopper and Pearson 1934).
    assert share_interval(wins, 10) == pytest.approx(expected, abs=1e-4)


def test_share_interval_allows_ties_to_be_either():
    assert share_interval(5, 10, ties=2) == (share_interval(5, 10)[0], share_interval(7, 10)[1])
    with pytest.raises(ValueError, match="they must be at most 10"):
        share_interval(9, 10, ties=2)


def times_in_turns(n, rng, *, ratio=1.05, second=1.0, drift=0.0, rho=0.0):
    """Lognormal times in the order in which they were taken; one in twenty is disturbed."""
    noise = 0.02 * rng.standard_normal(2 * n)
    disturbed = rng.random(2 * n) < 0.05
    noise[disturbed] += np.log(rng.uniform(1.2, 2, disturbed.sum()))
    state = rng.standard_normal()
    for i in range(2 * n):  # the machine's speed wanders
        noise[i] += 0.05 * state if rho else 0.0
        state = rho * state + np.sqrt(1 - rho**2) * rng.standard_normal()
    times = np.exp(noise + drift * np.arange(2 * n) / (2 * n)).reshape(n, 2)
    times[:, 1] *= second
    a_first = np.arange(n) % 2 == 0
    a = np.where(a_first, times[:, 0], times[:, 1])
    b = ratio * np.where(a_first, times[:, 1], times[:, 0])
    return a, b, a_first


@pytest.mark.parametrize("n", [6, 7, 10, 30, 60])
@pytest.mark.parametrize(
    "kind", [{}, {"second": 1.03}, {"rho": 0.8}, {"second": 1.03, "rho": 0.8, "drift": 0.3}]
)
def test_interval_of_pairs_holds_the_ratio_95_times_in_100(n, kind):
    rng = np.random.default_rng(n)
    ratios = [ratio_of_pairs(*times_in_turns(n, rng, **kind)) for _ in range(150)]
    covered = np.mean([f.low <= 1.05 <= f.high for f in ratios])
    # 0.95 less 2.5 standard errors of 150 trials.
    assert covered >= 0.95 - 2.5 * np.sqrt(0.95 * 0.05 / 150)


def test_pairs_that_depend_on_each_other_widen_the_interval():
    rng = np.random.default_rng(0)
    n, missed = 200, 0
    for _ in range(100):
        state = np.zeros(n)
        for i in range(1, n):
            state[i] = 0.8 * state[i - 1] + 0.6 * rng.standard_normal()
        ratio = ratio_of_pairs(np.ones(n), np.exp(0.03 * state), np.arange(n) % 2 == 0)
        missed += not ratio.low <= 1 <= ratio.high
    # Resampled pair by pair, a third of these intervals miss; 0.05 plus 3 standard errors is 0.115.
    assert missed / 100 <= 0.115


def test_order_effect_and_drift_cancel():
    n = 20
    a_first = np.arange(n) % 2 == 0
    clock = np.exp(0.01 * np.arange(2 * n)).reshape(n, 2) * [1.0, 1.2]
    a, b = np.where(a_first, *clock.T), np.where(a_first, *clock.T[::-1])
    assert ratio_of_pairs(a, 2 * b, a_first).ratio == pytest.approx(2, rel=1e-12)


def test_a_fifth_of_disturbed_pairs_hardly_moves_the_ratio():
    rng = np.random.default_rng(3)
    a, b = np.exp(0.001 * rng.standard_normal((2, 100)))
    b[::5] *= 3
    # The mean log-ratio would be exp(0.2 ln 3) = 1.25.
    assert ratio_of_pairs(a, b, np.arange(100) % 2 == 0).ratio == pytest.approx(1, abs=0.002)


def test_exchanging_a_and_b_inverts_ratio_and_interval():
    a, b, a_first = times_in_turns(30, np.random.default_rng(4))
    one, other = ratio_of_pairs(a, b, a_first), ratio_of_pairs(b, a, ~a_first)
    swapped = (1 / other.ratio, 1 / other.high, 1 / other.low)
    assert (one.ratio, one.low, one.high) == pytest.approx(swapped)


def test_same_seed_same_interval_of_pairs():
    pairs = times_in_turns(50, np.random.default_rng(5))
    assert ratio_of_pairs(*pairs) == ratio_of_pairs(*pairs)
    assert ratio_of_pairs(*pairs, seed=1) != ratio_of_pairs(*pairs)


def test_an_odd_last_pair_is_left_out():
    a, b, a_first = times_in_turns(7, np.random.default_rng(6))
    assert ratio_of_pairs(a, b, a_first) == ratio_of_pairs(a[:6], b[:6], a_first[:6])


def test_too_few_pairs_have_no_interval():
    n = FEWEST_PAIRS - 1
    assert ratio_of_pairs([1.0] * n, [1.1] * n, np.arange(n) % 2 == 0) is None


def test_times_without_noise_give_an_interval_of_no_width():
    ratio = ratio_of_pairs([2.0] * 8, [3.0] * 8, [True, False] * 4)
    assert (ratio.ratio, ratio.low, ratio.high) == pytest.approx((1.5, 1.5, 1.5), rel=1e-12)


def test_many_pairs_are_summed_up_in_bounded_time():
    pairs = times_in_turns(100_000, np.random.default_rng(7))
    start = time.process_time()
    ratio = ratio_of_pairs(*pairs)
    # 0.5 s of a quiet core; a resampling of all values 2,000 times takes 10 s.
    assert time.process_time() - start < 5
    assert ratio.ratio == pytest.approx(1.05, rel=1e-3)


@pytest.mark.parametrize(
    ("a", "b", "first", "message"),
    [
        ([1.0] * 6, [1.0] * 5, [True, False] * 3, "6 times of a, 5 of b"),
        ([1.0] * 6, [0.0] * 6, [True, False] * 3, "not positive"),
        ([1.0] * 6, [float("inf")] * 6, [True, False] * 3, "not positive and finite"),
        ([1.0] * 6, [1.0] * 6, [True] * 6, "must alternate"),
    ],
)
def test_pairs_that_cannot_be_compared_are_refused(a, b, first, message):
    with pytest.raises(ValueError, match=message):
        ratio_of_pairs(a, b, first)
