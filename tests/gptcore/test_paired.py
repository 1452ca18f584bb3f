"""Paired comparisons: the test, and the intervals that belong to it."""

import itertools

import numpy as np
import pytest
from scipy import stats

from gptcore.paired import (
    DRAWN_SETS,
    MAX_EXACT_PAIRS,
    compare_pairs,
    median_interval,
    sign_flip_interval,
    sign_flip_p,
)
from gptcore.power import smallest_p

SIX = [0.01, -0.02, 0.03, 0.0, 0.015, 0.021]


def test_interval_by_student_is_that_of_a_paired_t_test():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 7))
    comparison = compare_pairs(a - b, margin=0.1)
    interval = stats.ttest_rel(a, b).confidence_interval()
    assert comparison.mean == pytest.approx((a - b).mean())
    assert (comparison.t_low, comparison.t_high) == pytest.approx((interval.low, interval.high))


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


@pytest.mark.parametrize("n", [6, 8, 11, MAX_EXACT_PAIRS + 1])
def test_interval_holds_the_shifts_that_its_test_does_not_reject(n):
    values = np.random.default_rng(n).standard_t(3, n)
    low, high = sign_flip_interval(values)
    step = 1e-9 * (high - low)
    for end, inside in ((low, step), (high, -step)):
        assert sign_flip_p(values - end - inside) > 0.05
        assert sign_flip_p(values - end + inside) <= 0.05


@pytest.mark.parametrize("margin", [0.02, 0.03, 0.04, 0.08])
def test_interval_of_equality_lies_within_the_margin_where_its_test_says_so(margin):
    comparison = compare_pairs(SIX, margin=margin)
    within = -margin < comparison.equal_low < comparison.equal_high < margin
    assert within == (comparison.p_equivalence <= 0.05)


def test_equivalence_is_the_larger_of_two_one_sided_tests():
    values, margin = np.array(SIX), 0.02
    patterns = np.array(list(itertools.product([1, -1], repeat=len(values))))
    sides = [np.mean(patterns @ x >= x.sum() - 1e-12) for x in (values + margin, margin - values)]
    assert compare_pairs(values, margin=margin).p_equivalence == max(sides)


def test_without_a_margin_there_is_no_equality():
    assert compare_pairs(SIX).p_equivalence is None


@pytest.mark.parametrize(
    ("n", "ends"), [(5, None), (6, (0, 5)), (8, (0, 7)), (9, (1, 7)), (20, (5, 14))]
)
def test_interval_of_the_median_is_that_of_the_sign_test(n, ends):
    # The tables of Conover (1999): the largest ranks whose binomial tails have at most 2.5 %.
    values = np.arange(n, dtype=float)
    assert median_interval(values)[1:] == (ends or (None, None))


def test_few_pairs_bound_nothing():
    comparison = compare_pairs([1.0, 2.0, 3.0])
    assert (comparison.low, comparison.high, comparison.median_low) == (None, None, None)


@pytest.mark.parametrize("shape", ["normal", "lognormal", "cauchy", "diverging"])
def test_alike_variants_differ_in_at_most_one_experiment_of_twenty(shape):
    rng = np.random.default_rng(1)
    losses = {
        "normal": lambda: rng.normal(size=(2, 8)),
        "lognormal": lambda: rng.lognormal(0, 1.5, size=(2, 8)),
        "cauchy": lambda: rng.standard_cauchy(size=(2, 8)),
        "diverging": lambda: rng.normal(size=(2, 8)) + 50 * (rng.random((2, 8)) < 1 / 8),
    }[shape]
    found = np.mean([sign_flip_p(np.subtract(*losses())) <= 0.05 for _ in range(2_000)])
    # Exact tests hold their level: 0.05 plus three standard errors of 2,000 trials.
    assert found <= 0.05 + 3 * 0.005


def test_more_pairs_than_are_enumerated_are_tested_by_drawn_patterns():
    values = np.random.default_rng(4).normal(0.5, 1, MAX_EXACT_PAIRS + 20)
    expected = stats.ttest_1samp(values, 0).pvalue
    assert sign_flip_p(values) == pytest.approx(expected, rel=0.2)
    assert sign_flip_p(values) == sign_flip_p(values)
    assert sign_flip_p(np.ones(100)) == smallest_p(100, 1) == 2 / DRAWN_SETS


def test_pair_far_from_the_others_is_named():
    assert compare_pairs([0.1, 0.2, 0.15, 0.12, 0.18, 0.11, 5.0, 0.16]).far == (6,)
    assert compare_pairs([0.1, 0.2, 0.15, 0.12, 0.18, 0.11, 0.14, 0.16]).far == ()


def test_share_has_the_exact_interval_of_its_probability():
    comparison = compare_pairs([-1.0, -2.0, -1.0, 0.0, 3.0, -1.0, -1.0, 2.0])
    assert comparison.share_below == 5.5 / 8
    low = stats.binomtest(5, 8).proportion_ci().low
    high = stats.binomtest(6, 8).proportion_ci().high
    assert (comparison.share_low, comparison.share_high) == pytest.approx((low, high))


def test_disagreement_of_the_two_tests_is_said():
    # Seven of eight pairs agree, and the eighth stretches Student's interval over 0.
    stretched = compare_pairs([0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 3.0])
    assert stretched.p_value <= 0.05
    assert stretched.tests_disagree
    assert not compare_pairs([0.1, 0.2, 0.15, 0.12, 0.18, 0.11, 0.14, 0.16]).tests_disagree


def test_identical_runs_are_equal_within_any_margin():
    comparison = compare_pairs([0.0] * 6, margin=0.01)
    assert (comparison.p_value, comparison.p_equivalence) == (1.0, 1 / 64)
    assert (comparison.low, comparison.high, comparison.share_below) == (0.0, 0.0, 0.5)


@pytest.mark.parametrize(
    ("values", "margin", "message"),
    [
        ([0.1], 0.1, "1 pairs"),
        ([0.1, float("nan")], 0.1, "not finite"),
        ([0.1, 0.2], 0.0, "margin is 0"),
        ([0.1, 0.2], float("nan"), "margin is nan"),
    ],
)
def test_what_cannot_be_compared_is_refused(values, margin, message):
    with pytest.raises(ValueError, match=message):
        compare_pairs(values, margin=margin)
