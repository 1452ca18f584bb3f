"""What a design of paired runs can find, and to within what it can show equality."""

import numpy as np
import pytest

from gptcore.paired import compare_pairs, sign_flip_p
from gptcore.power import check_design, detectable_difference, detectable_margin, pairs_needed


@pytest.mark.parametrize("n_claims", [1, 4, 6])
@pytest.mark.parametrize("n", [8, 9, 14])
def test_detectable_difference_is_found_in_four_of_five_cases(n, n_claims):
    rng, trials = np.random.default_rng(3), 1_000 if n < 12 else 200
    shift = detectable_difference(1.0, n, n_tests=n_claims)
    level = 0.05 / n_claims
    found = np.mean([sign_flip_p(rng.normal(shift, 1, n)) <= level for _ in range(trials)])
    # Three standard errors of the trials, and 0.02 for the simulation or the t test behind it.
    assert found == pytest.approx(0.8, abs=3 * 0.4 / trials**0.5 + 0.02)


def test_six_seeds_cannot_find_any_difference_among_three_comparisons():
    assert detectable_difference(1e-9, 6, n_tests=3) is None
    assert detectable_difference(1e-9, 6, n_tests=1) is not None


@pytest.mark.parametrize("n_claims", [1, 2, 3, 4, 6, 20])
def test_refusal_names_the_fewest_seeds_that_are_accepted(n_claims):
    n = pairs_needed(n_claims)
    check_design(n, n_claims)
    with pytest.raises(ValueError, match=f"give at least {n} seeds"):
        check_design(n - 1, n_claims)


@pytest.mark.parametrize(("n", "n_claims"), [(8, 4), (12, 1), (14, 4)])
def test_detectable_margin_is_shown_in_four_of_five_cases(n, n_claims):
    rng, trials = np.random.default_rng(5), 250
    margin, level = detectable_margin(2.0, n, n_tests=n_claims), 0.05 / n_claims
    found = np.mean(
        [
            compare_pairs(rng.normal(0, 2, n), margin=margin).p_equivalence <= level
            for _ in range(trials)
        ]
    )
    # Three standard errors of the trials, and 0.02 for the simulation or the t test behind it.
    assert found == pytest.approx(0.8, abs=3 * 0.4 / trials**0.5 + 0.02)


def test_six_seeds_cannot_show_equality_among_six_claims():
    assert detectable_margin(1e-9, 6, n_tests=6) is None
