import numpy as np
import pytest

from bench.experiments.convex import (
    Problem,
    bigram_counts,
    blocks_of,
    excess_losses,
    fit_rate,
)
from bench.suite.cases import ConvexCase

SMALL = ConvexCase(
    "text", "softmax", "shuffled_blocks", 16, 64, 6, at_epochs=(2, 4, 8, 16), seeds=8
)
TEXT = np.random.default_rng(0).choice(list(b"aaabbcde\n"), 16 * 64 + 1).astype(np.uint8).tobytes()
COUNTS = bigram_counts(TEXT, SMALL)


def test_each_block_counts_the_bigrams_that_begin_in_it():
    case = ConvexCase("text", "softmax", "sequential", 2, 3, 3)
    counts = bigram_counts(b"aababca", case)  # symbols: a, b, and one for all others
    first = np.zeros((3, 3))
    first[0, 0] = first[0, 1] = first[1, 0] = 1 / 3  # aa, ab, ba
    second = np.zeros((3, 3))
    second[0, 1] = second[1, 2] = second[2, 0] = 1 / 3  # ab, bc, ca
    np.testing.assert_allclose(counts, [first, second])


def test_text_that_is_too_short_is_refused():
    with pytest.raises(ValueError, match="needs 1,025"):
        bigram_counts(TEXT[:-1], SMALL)


@pytest.mark.parametrize("softmax", [True, False])
def test_gradient_is_that_of_the_value(softmax):
    problem = Problem(COUNTS, 0.1, softmax)
    w = np.random.default_rng(1).normal(size=COUNTS.shape[1:])
    slope = problem.gradient(w, COUNTS.mean(0))
    step = 1e-6
    for x, y in ((0, 0), (2, 3), (5, 1)):
        moved = np.zeros_like(w)
        moved[x, y] = step
        numeric = (problem.value(w + moved) - problem.value(w - moved)) / (2 * step)
        assert numeric == pytest.approx(slope[x, y], abs=1e-8)  # error of the quotient: step²


@pytest.mark.parametrize("softmax", [True, False])
def test_optimum_is_exact_to_1e_10(softmax):
    problem = Problem(COUNTS, 0.1, softmax)
    best = problem.optimum()
    # The function is strongly convex with constant l2, so F - min F <= |gradient|² / (2 l2).
    assert (problem.gradient(best, COUNTS.mean(0)) ** 2).sum() / 0.2 < 1e-10
    if not softmax:
        counts = COUNTS.mean(0)
        np.testing.assert_allclose(best, counts / (counts.sum(-1, keepdims=True) + 0.1), atol=1e-11)


def test_blocks_come_in_the_order_of_the_sampler():
    blocks = blocks_of(SMALL)
    assert blocks.shape == (16 * 16, 8)
    epochs = np.sort(blocks.reshape(16, 16, 8), axis=1)
    assert (epochs == np.arange(16)[None, :, None]).all()
    assert (blocks[:16, 0] != blocks[16:32, 0]).any()


def test_updates_are_those_of_a_slow_loop():
    case = ConvexCase("text", "softmax", "shuffled_blocks", 16, 64, 6, at_epochs=(1, 2), seeds=2)
    problem = Problem(COUNTS, 0.1, softmax=True)
    steps, excess = excess_losses(problem, case)
    w, seed, step = np.zeros(COUNTS.shape[1:]), 1, 20
    for block in blocks_of(case)[:, seed]:
        raised = np.exp(w) / np.exp(w).sum(1, keepdims=True)
        mean = COUNTS[block].sum(1, keepdims=True) * raised - COUNTS[block]
        w = w - steps[step] * (mean + 0.1 * w)
    assert excess[1, step, seed] == pytest.approx(
        problem.value(w) - problem.value(problem.optimum()), rel=1e-9
    )


@pytest.mark.parametrize("softmax", [True, False])
def test_new_order_each_epoch_converges_faster_than_replacement(softmax):
    problem = Problem(COUNTS, 0.1, softmax)
    rates = []
    for sampler in ("grid_replacement", "shuffled_blocks"):
        case = ConvexCase("", "", sampler, 16, 64, 6, at_epochs=SMALL.at_epochs, seeds=8)
        rates.append(fit_rate(case.at_epochs, *excess_losses(problem, case)))
    replacement, reshuffled = rates
    assert -1.4 < replacement.slope < -0.6  # theory: -1
    assert reshuffled.slope_high < replacement.slope_low
    assert -3.3 < reshuffled.slope < -1.7  # theory: -2 to -3


def test_rate_of_an_exact_power_is_its_exponent():
    epochs, seeds = (1, 2, 4, 8), 6
    excess = np.array(epochs, dtype=float)[:, None, None] ** -2 * np.ones((1, 3, seeds))
    rate = fit_rate(epochs, np.array([0.1, 0.2, 0.3]), excess)
    assert rate.slope == pytest.approx(-2) == rate.slope_low == rate.slope_high


def test_step_size_is_chosen_on_other_seeds_than_those_that_measure():
    excess = np.ones((2, 2, 4))
    excess[:, 1, ::2] = 0.5  # the second step size is better on the seeds that choose
    excess[:, 1, 1::2] = 3.0
    rate = fit_rate((2, 4), np.array([0.1, 0.2]), excess)
    assert rate.step_size.tolist() == [0.2, 0.2]
    assert rate.excess.tolist() == [3.0, 3.0]
