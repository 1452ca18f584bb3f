"""The split of a variance over crossed runs: sums of squares, intervals, and what can be found."""

import numpy as np
import pytest

from gptcore import variance
from gptcore.variance import variance_components


def draw(rng, shape, sds):
    """Return losses with an independent normal effect of each set of axes in `sds`."""
    losses = np.zeros(shape)
    for axes, sd in sds.items():
        losses = losses + sd * rng.standard_normal(
            [n if i in axes else 1 for i, n in enumerate(shape)]
        )
    return losses


def test_two_factors_are_those_of_the_textbook():
    # Mean squares 12, 4 and 1 of a 3 x 4 table: (12 - 1) / 4, (4 - 1) / 3 and 1.
    rows, columns = np.array([-1, 0, 1.0]), np.array([1, -1, 1, -1.0])
    rest = np.array([[1, -1, 0, 0], [-1, 1, 0, 0], [0, 0, 0, 0.0]])
    losses = 3**0.5 * rows[:, None] + columns + (6 / 4) ** 0.5 * rest + 5
    first, second, both = variance_components(losses, ("init", "order"))
    assert (first.variance, second.variance) == pytest.approx((11 / 4, 1.0))
    assert (both.factors, both.variance) == (("init", "order"), pytest.approx(1.0))
    assert first.share == pytest.approx(2.75 / 4.75)
    assert first.sd == pytest.approx(2.75**0.5)


def test_three_factors_are_recovered_on_average(monkeypatch):
    monkeypatch.setattr(variance, "DRAWS", 10)
    rng, sds = np.random.default_rng(0), {(0,): 1.0, (1, 2): 0.7, (0, 1, 2): 0.5}
    found = [
        {c.factors: c.variance for c in variance_components(draw(rng, (4, 3, 5), sds), "abc")}
        for _ in range(200)
    ]
    for factors, truth in ((("a",), 1.0), (("b",), 0.0), (("b", "c"), 0.49), (("a", "b"), 0.0)):
        values = [each[factors] for each in found]
        error = np.std(values) / 200**0.5
        assert np.mean(values) == pytest.approx(truth, abs=4 * error)


def test_estimate_below_zero_is_kept_and_its_sd_is_zero():
    table = np.array([[1.0, 0.0], [0.0, 1.0]])  # both rows and both columns have the same mean
    first, _, both = variance_components(table, ("init", "order"))
    assert first.variance == pytest.approx(-0.5)
    assert (first.sd, first.low, first.share) == (0.0, 0.0, 0.0)
    assert both.share == 1.0


@pytest.mark.parametrize("sd", [0.0, 0.5, 2.0])
def test_intervals_hold_the_truth(sd, monkeypatch):
    monkeypatch.setattr(variance, "DRAWS", 2_000)
    rng, sds, trials = np.random.default_rng(1), {(0,): sd, (1,): 1.0, (0, 1): 1.0}, 100
    held = np.zeros(2)
    for _ in range(trials):
        first = variance_components(draw(rng, (5, 4), sds), ("init", "order"))[0]
        held[0] += first.low <= sd <= first.high
        held[1] += first.share_low <= sd**2 / (sd**2 + 2) <= first.share_high
    # 95 % less three standard errors of 100 trials.
    assert (held / trials >= 0.95 - 3 * 0.022).all()


def test_detectable_factor_is_found_in_four_of_five_cases():
    rng, trials, shape = np.random.default_rng(2), 2_000, (4, 5)
    table = draw(rng, shape, {(0, 1): 1.0})
    first, _, rest = variance_components(table, ("init", "order"))
    losses = draw(rng, (trials, *shape), {(0, 1): first.detectable, (0, 1, 2): rest.sd})
    rows = losses.mean(axis=2, keepdims=True) - losses.mean(axis=(1, 2), keepdims=True)
    left = losses - losses.mean(axis=1, keepdims=True) - rows
    f = (rows**2).sum(axis=(1, 2)) * 5 / 3 / ((left**2).sum(axis=(1, 2)) / 12)
    assert np.mean(f > 3.4903) == pytest.approx(0.8, abs=0.04)  # the 95 % quantile of F(3, 12)


def test_runs_that_are_all_alike_have_no_shares():
    assert [c.share for c in variance_components(np.ones((3, 3)), "ab")] == [None] * 3


def test_result_is_the_same_each_time():
    table = np.random.default_rng(3).standard_normal((4, 4))
    assert variance_components(table, "ab") == variance_components(table, "ab")


@pytest.mark.parametrize(
    ("losses", "factors", "message"),
    [
        ([1.0, 2.0], "a", "one axis for each of two or more"),
        ([[1.0, 2.0]], "ab", "at least 2 levels"),
        ([[1.0, 2.0], [3.0, float("nan")]], "ab", "train that run again"),
    ],
)
def test_what_cannot_be_split_is_refused(losses, factors, message):
    with pytest.raises(ValueError, match=message):
        variance_components(losses, factors)
