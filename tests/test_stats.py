import itertools

import numpy as np
import pytest
from scipy import stats

from gptcore.stats import compare_pairs, holm, sign_flip_p


def test_interval_and_mean_are_those_of_a_paired_t_test():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 7))
    found = compare_pairs(a - b, margin=0.1)
    reference = stats.ttest_rel(a, b)
    interval = reference.confidence_interval()
    assert found.mean == pytest.approx((a - b).mean())
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))


def test_equivalence_is_the_larger_of_two_one_sided_tests():
    values, margin = np.array([0.01, -0.02, 0.03, 0.0, 0.015]), 0.05
    above = stats.ttest_1samp(values, -margin, alternative="greater").pvalue
    below = stats.ttest_1samp(values, margin, alternative="less").pvalue
    found = compare_pairs(values, margin=margin)
    assert found.p_equivalence == pytest.approx(max(above, below))


@pytest.mark.parametrize("n", [2, 3, 6, 10])
def test_sign_flip_p_counts_all_patterns(n):
    values = np.random.default_rng(n).normal(0.5, 1, n)
    patterns = np.array(list(itertools.product([1, -1], repeat=n)))
    expected = np.mean(np.abs(patterns @ values) >= abs(values.sum()) - 1e-12)
    assert sign_flip_p(values) == expected


def test_smallest_sign_flip_p_of_six_pairs_is_two_in_sixty_four():
    assert sign_flip_p([0.1, 0.2, 0.3, 0.1, 0.4, 0.2]) == 2 / 64


def test_sign_flip_of_no_difference_is_one():
    assert sign_flip_p([0.0, 0.0, 0.0]) == 1.0


def test_sign_flip_p_is_uniform_enough_under_the_null():
    rng = np.random.default_rng(1)
    rejected = np.mean([sign_flip_p(rng.normal(size=8)) <= 0.05 for _ in range(2_000)])
    # Exact tests hold their level: 0.05 plus three standard errors of 2,000 trials.
    assert rejected <= 0.05 + 3 * 0.005


def test_holm_matches_a_worked_example():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_holm_never_exceeds_one_and_keeps_order():
    assert holm([0.9, 0.5]) == [1.0, 1.0]


def test_identical_runs_are_equal_within_any_margin():
    found = compare_pairs([0.0] * 6, margin=0.01)
    assert (found.p_value, found.p_equivalence, found.low, found.high) == (1.0, 0.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("values", "margin", "message"),
    [
        ([0.1], 0.1, "1 pairs"),
        ([0.1] * 21, 0.1, "21 pairs"),
        ([0.1, float("nan")], 0.1, "not finite"),
        ([0.1, 0.2], 0.0, "margin is 0"),
        ([0.1, 0.2], float("nan"), "margin is nan"),
    ],
)
def test_what_cannot_be_compared_is_refused(values, margin, message):
    with pytest.raises(ValueError, match=message):
        compare_pairs(values, margin=margin)
