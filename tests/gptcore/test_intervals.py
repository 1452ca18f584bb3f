"""Intervals of a mean over dependent values: how often they hold what they are about."""

import numpy as np
import pytest

from gptcore.intervals import (
    BLOCKS,
    LEAST_TARGETS,
    WHOLE,
    block_means,
    blocks_interval,
    difference_interval,
    mean_interval,
    no_interval_reason,
)


def long_memory(n: int, d: float, generator: np.random.Generator) -> np.ndarray:
    """Return n values of fractional noise (Hosking 1981) of memory d = H - 1/2, in [0, 1/2)."""
    lags = np.arange(1, 2 * n)
    weights = np.concatenate([[1.0], np.cumprod((lags - 1 + d) / lags)])
    noise = generator.normal(size=2 * n)
    size = 4 * n  # no wrapping around
    product = np.fft.rfft(weights, size) * np.fft.rfft(noise, size)
    return np.fft.irfft(product, size)[n : 2 * n]


@pytest.mark.parametrize("d", [0.0, 0.15, 0.3, 0.4])
def test_the_interval_holds_the_mean_of_the_whole_text_for_any_length_of_memory(d):
    generator = np.random.default_rng(0)
    held = []
    for _ in range(12):
        whole = long_memory(WHOLE * LEAST_TARGETS, d, generator)
        for stretch in whole.reshape(WHOLE, -1)[::2]:
            low, high = mean_interval(stretch)
            held.append(low < whole.mean() < high)
    # 300 stretches of 12 texts, standard deviation about 2 %. The interval holds 95 % as a mean of
    # all lengths of memory: more where there is little, because 24 blocks cannot exclude more, and
    # less where there is much (89 % at d = 0.4).
    assert 0.84 <= np.mean(held) <= (0.98 if d > 0.2 else 1)


def test_levels_that_change_by_the_chapter_are_allowed_for():
    generator = np.random.default_rng(1)
    levels = generator.normal(size=200).repeat(1_000)  # chapters of 1,000 tokens
    values = levels + generator.normal(0, 3, size=levels.size)
    stretches = values.reshape(20, 10_000)
    ends = np.array([mean_interval(stretch) for stretch in stretches])
    assert np.sum((ends[:, 0] < values.mean()) & (values.mean() < ends[:, 1])) >= 18
    # As if tokens were independent, the interval would hold it in less than half of the stretches.
    narrow = 1.96 * stretches.std(axis=1) / 100
    assert np.sum(abs(stretches.mean(axis=1) - values.mean()) < narrow) < 10


def test_independent_values_have_an_interval_of_about_the_normal_width():
    values = np.random.default_rng(0).normal(3.0, 2.0, size=48_000)
    low, high = mean_interval(values)
    assert (high + low) / 2 == pytest.approx(values.mean())
    # Student's factor and the memory that 24 blocks could have hidden make it wider.
    assert 1 < (high - low) / 2 / (1.96 * 2.0 / 48_000**0.5) < 2.2


def test_equal_values_have_an_interval_of_no_width():
    assert mean_interval(np.full(5_000, 2.0)) == (2.0, 2.0)


def test_the_level_of_the_losses_carries_over_to_the_interval():
    values = np.random.default_rng(3).normal(size=5_000)
    assert np.add(mean_interval(values), 7) == pytest.approx(mean_interval(values + 7))


@pytest.mark.parametrize("scale", [2.0, 1e-300, 1e300])
def test_the_scale_of_the_losses_carries_over_to_the_interval(scale):
    values = np.random.default_rng(3).normal(size=5_000)
    ends = np.array(mean_interval(scale * values))
    assert ends / scale == pytest.approx(mean_interval(values))


def test_what_makes_a_text_hard_for_both_models_cancels_in_the_difference():
    generator = np.random.default_rng(4)
    hard = generator.normal(size=40).repeat(200)
    losses, baseline = (hard + generator.normal(0, 0.1, hard.size) for _ in range(2))
    low, high = difference_interval(losses, baseline)
    assert low < np.mean(losses - baseline) < high
    alone_low, alone_high = mean_interval(losses)
    assert high - low < (alone_high - alone_low) / 10


def test_losses_on_other_targets_are_no_pair():
    with pytest.raises(ValueError, match="5000 losses and 4999 of the baseline: score the same"):
        difference_interval(np.ones(5_000), np.ones(4_999))


def test_too_few_targets_have_no_interval_but_a_reason():
    assert mean_interval(np.arange(LEAST_TARGETS - 1)) is None
    assert mean_interval(np.arange(LEAST_TARGETS)) is not None
    assert difference_interval(np.ones(BLOCKS), np.zeros(BLOCKS)) is None
    assert no_interval_reason(LEAST_TARGETS) is None
    assert str(LEAST_TARGETS) in no_interval_reason(LEAST_TARGETS - 1)


def test_losses_that_are_not_finite_are_refused():
    with pytest.raises(ValueError, match="finite"):
        mean_interval(np.full(5_000, np.nan))


def test_blocks_give_the_interval_of_the_losses_behind_them():
    first, second = np.random.default_rng(6).normal(size=(2, 1_000))
    parts = [block_means(losses) for losses in (first, second)]
    counts = parts[0][1]
    assert counts.sum() == 1_000
    difference = blocks_interval(parts[0][0] - parts[1][0], counts)
    assert difference == pytest.approx(difference_interval(first, second))
    assert np.mean(difference) == pytest.approx((first - second).mean())


def test_few_losses_have_blocks_and_no_interval():
    means, counts = block_means(np.arange(5.0))
    assert (list(means), list(counts)) == ([0, 1, 2, 3, 4], [1] * 5)
    assert blocks_interval(means, counts) is None
    with pytest.raises(ValueError, match="there is no loss"):
        block_means(np.array([]))
    with pytest.raises(ValueError, match="5 means and 4 counts"):
        blocks_interval(means, counts[1:])
