import numpy as np
import pytest
from scipy import stats

from bench.measuring.order_statistics import median_interval, quantile


def test_the_median_interval_is_the_exact_one():
    # Ranks from the binomial distribution, as in tables of the sign test: n = 6: 1 and 6;
    # n = 10: 2 and 9; n = 25: 8 and 18; n = 100: 40 and 61.
    for n, low, high in [(6, 1, 6), (10, 2, 9), (25, 8, 18), (100, 40, 61)]:
        assert median_interval(np.arange(n, 0, -1)) == (low, high)
        assert stats.binom.cdf(high - 1, n, 0.5) - stats.binom.cdf(low - 1, n, 0.5) >= 0.95
        assert stats.binom.cdf(high - 2, n, 0.5) - stats.binom.cdf(low, n, 0.5) < 0.95


def test_five_rounds_have_no_median_interval():
    assert median_interval([1.0, 2.0, 3.0, 4.0, 5.0]) is None


def test_a_quantile_needs_rounds_beyond_it():
    assert quantile(np.arange(58.0), 0.95) is None
    assert quantile(np.arange(58.0), 0.05) is None
    assert quantile(np.arange(59.0), 0.95) == pytest.approx(55.1)
    assert quantile(np.arange(59.0), 0.05) == pytest.approx(2.9)
    assert quantile(np.arange(59.0), 0.99) is None
    assert quantile([3.0, 1.0, 2.0, 5.0, 4.0], 0.5) == 3.0


@pytest.mark.parametrize("q", [0, 1, -0.5, 95])
def test_a_quantile_outside_0_and_1_is_refused(q):
    with pytest.raises(ValueError, match=r"in \(0, 1\)"):
        quantile([1.0], q)
