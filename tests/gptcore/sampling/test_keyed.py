"""Orders from keys against true permutations: small ones exhaustively, large ones by statistics."""

import math
import tracemalloc

import numpy as np
import pytest

from gptcore.sampling import keyed
from gptcore.sampling.keyed import draw_below, make_keys, permute, place_without
from gptcore.sampling.samplers import SAMPLERS, make_sampler

WORST_Z = 4.5  # of some hundred statistics with fixed seeds; a faulty order has tens or thousands


def orders_of(n, count):
    """Return the orders of [0, n) of several keys, (count, n)."""
    keys = make_keys(5, 0, np.arange(count))
    return np.stack([permute(np.full(count, place), n, keys) for place in range(n)], axis=1)


def true_orders(n, count):
    rng = np.random.default_rng(0)
    return rng.permuted(np.tile(np.arange(n), (count, 1)), axis=1)


def z_of(counts, lost=1):
    """Return how far counts are from even ones, by chi-square, in standard deviations."""
    expected, freedom = counts.mean(), counts.size - lost
    return (((counts - expected) ** 2).sum() / expected - freedom) / math.sqrt(2 * freedom)


def statistics(orders):
    """Return z of positions, of pairs of places, and of steps from one place to the next."""
    count, n = orders.shape
    places = np.stack([np.bincount(column, minlength=n) for column in orders.T])
    yield z_of(places, lost=2 * n - 1)
    for i, j in ((0, 1), (1, 2), (0, n // 2), (n // 3, n - 1)):
        pairs = np.bincount(orders[:, i] * n + orders[:, j], minlength=n * n).reshape(n, n)
        yield z_of(pairs[~np.eye(n, dtype=bool)])
    steps = np.bincount((np.diff(orders, axis=1) % n).ravel(), minlength=n)[1:]
    yield z_of(steps)
    fixed = (orders == np.arange(n)).sum()
    yield (fixed - count) / math.sqrt(count)  # a permutation has one fixed point on average
    ascents = (np.diff(orders, axis=1) > 0).sum()
    yield (ascents - count * (n - 1) / 2) / math.sqrt(count * (n + 1) / 12)


@pytest.mark.parametrize("n", [*range(1, 40), 255, 256, 257, 4095, 4096, 4097, 100_003])
def test_an_order_holds_each_number_once_and_can_be_read_backwards(n):
    places, keys = np.arange(n), make_keys(3, 1, np.array([n]))
    order = permute(places, n, keys)
    np.testing.assert_array_equal(np.sort(order), places)
    np.testing.assert_array_equal(permute(order, n, keys, inverse=True), places)
    fewer = max(1, n - 3)
    part = permute(places[:fewer], n, keys, among=fewer)
    np.testing.assert_array_equal(np.sort(part), places[:fewer])


@pytest.mark.parametrize("n", [2, 3, 4, 5, 6])
def test_all_orders_of_few_numbers_are_equally_likely(n):
    orders = orders_of(n, 100_000)
    _, counts = np.unique(orders @ n ** np.arange(n), return_counts=True)
    assert len(counts) == math.factorial(n)
    assert z_of(counts) < WORST_Z


@pytest.mark.parametrize("n", [7, 9, 16, 33, 100])
@pytest.mark.parametrize("orders", [orders_of, true_orders])
def test_orders_are_as_even_as_true_permutations(n, orders):
    assert max(map(abs, statistics(orders(n, 20_000)))) < WORST_Z


@pytest.mark.parametrize("n", [9, 33])
def test_these_statistics_see_an_order_that_is_not_mixed_enough(n, monkeypatch):
    monkeypatch.setattr(keyed, "ROUNDS_OF_FEW", 6)
    assert max(map(abs, statistics(orders_of(n, 20_000)))) > 3 * WORST_Z


@pytest.mark.parametrize("n", [4_096, 64 * 79, 10**9 - 256, 2**40])
def test_orders_of_many_numbers_are_even(n):
    keys, count = make_keys(1, 0, np.arange(60_000)), 60_000
    cases = [(np.full(count, place), keys) for place in (0, n // 3, n - 2)]
    if n > 10**6:  # else one order has too few numbers
        cases += [(first + np.arange(count), keys[:1]) for first in (0, n // 2)]
    for places, key in cases:
        numbers, following = permute(places, n, key), permute(places + 1, n, key)
        for values in (numbers, (following - numbers) % n):
            counts = np.bincount(values * 64 // n, minlength=64)
            assert abs(z_of(counts)) < WORST_Z
            assert abs(values.mean() / n - 0.5) < WORST_Z / math.sqrt(12 * count)


def test_epochs_seeds_and_uses_have_orders_that_do_not_resemble_each_other():
    places = np.arange(10_000)
    keys = [make_keys(seed, use, np.array([e])) for seed, use, e in np.ndindex(2, 2, 3)]
    orders = [permute(places, 10_000, key) for key in keys]
    for i, one in enumerate(orders):
        for other in orders[:i]:
            assert (one == other).sum() < 10  # one on average
            assert abs(np.corrcoef(one, other)[0, 1]) < 0.05


def test_numbers_below_a_size_are_even_for_sizes_that_differ():
    keys = make_keys(2, 0, np.arange(30_000))
    for size in (1, 2, 7, 300):
        counts = np.bincount(draw_below(keys, 4, size), minlength=size)
        assert size == 1 or abs(z_of(counts)) < WORST_Z
    sizes = np.arange(1, 30_001)
    assert (draw_below(keys, 4, sizes) < sizes).all()


def test_places_go_on_beside_what_is_left_out():
    holes, hole_rows = np.array([4, 0, 1, 6]), np.array([0, 0, 1, 1])
    rows = np.repeat([0, 1], 5)
    places = place_without(np.tile(np.arange(5), 2), holes, 7, rows, hole_rows)
    assert places.tolist() == [1, 2, 3, 5, 6, 0, 2, 3, 4, 5]


@pytest.mark.parametrize("name", SAMPLERS)
def test_draws_far_apart_cost_no_memory_that_grows_with_the_text(name):
    peaks = []
    for n_tokens in (10**6, 10**9):
        tracemalloc.start()
        sampler = make_sampler(name, n_tokens=n_tokens, block_size=64)
        for first in (0, 10**7 + 5):
            sampler.starts(first, 5_000)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0] + 500_000
    assert peaks[1] < 8e6


@pytest.mark.parametrize("name", SAMPLERS)
def test_draws_need_not_follow_each_other(name):
    draws = np.array([0, 3, 4, 700, 701, 5_000, 90_000])
    sampler = make_sampler(name, n_tokens=3_000, block_size=9, seed=2, batch_size=4, drop_last=True)
    apart = sampler.pieces_at(draws).tokens()
    each = [sampler.pieces(int(draw), 1).tokens() for draw in draws]
    np.testing.assert_array_equal(apart, np.concatenate(each))
