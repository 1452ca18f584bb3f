import itertools
import math
import time

import numpy as np
import pytest

from gptcore.coverage.visits import measure_coverage
from gptcore.sampling.samplers import make_sampler
from gptcore.theory.expectations import THEORIES, expect, steps_for_coverage, theory_of
from tests.helpers.enumeration import assert_equal, average

BOOK = {"n_tokens": 142_515, "block_size": 256}  # the training part of Gulliver's Travels


@pytest.mark.parametrize(
    ("n_tokens", "block_size"),
    [(2, 1), (5, 1), (8, 1), (4, 2), (5, 2), (7, 2), (9, 2), (6, 3), (9, 3), (10, 3), (7, 5)],
)
@pytest.mark.parametrize("draws", [1, 2, 3])
def test_random_theory_is_the_mean_over_every_outcome(n_tokens, block_size, draws):
    outcomes = itertools.product(range(n_tokens - block_size), repeat=draws)
    truth = average(outcomes, n_tokens, block_size)
    theory = expect("random_replacement", n_tokens=n_tokens, block_size=block_size, draws=draws)
    assert_equal(theory, truth)


@pytest.mark.parametrize(("n_tokens", "block_size"), [(4, 1), (5, 4), (8, 2), (9, 2), (13, 3)])
@pytest.mark.parametrize("draws", range(1, 9))
@pytest.mark.parametrize("batch_size", [1, 2, 3])
def test_shuffled_theory_is_the_mean_over_every_outcome(n_tokens, block_size, draws, batch_size):
    blocks = -(-(n_tokens - block_size) // block_size)
    drop_last = batch_size <= blocks
    length = blocks - blocks % batch_size if drop_last else blocks
    orders = [
        [block * block_size for block in order[:length]]
        for order in itertools.permutations(range(blocks))
    ]
    outcomes = (
        list(itertools.chain(*epochs))[:draws]
        for epochs in itertools.product(orders, repeat=-(-draws // length))
    )
    theory = expect(
        "shuffled_blocks",
        n_tokens=n_tokens,
        block_size=block_size,
        draws=draws,
        batch_size=batch_size,
        drop_last=drop_last,
    )
    assert_equal(theory, average(outcomes, n_tokens, block_size))


@pytest.mark.parametrize("n_tokens", [5, 8, 13, 14, 40, 41])
@pytest.mark.parametrize("draws", [1, 3, 7, 50])
@pytest.mark.parametrize(("batch_size", "drop_last"), [(1, False), (3, False), (2, True)])
def test_sequential_theory_is_what_the_sampler_does(n_tokens, draws, batch_size, drop_last):
    options = {"batch_size": batch_size, "drop_last": drop_last}
    block_size = 2 if n_tokens < 40 else 4
    sampler = make_sampler("sequential", n_tokens=n_tokens, block_size=block_size, **options)
    theory = expect("sequential", n_tokens=n_tokens, block_size=block_size, draws=draws, **options)
    assert_equal(theory, average([sampler.starts(0, draws)], n_tokens, block_size))


def pair_sum(n_tokens, block_size, draws):
    """Return the variance of the number missed straight from its definition, pair by pair."""
    n_starts = n_tokens - block_size
    target = np.arange(1, n_tokens)
    shows = np.abs(target[:, None] - np.arange(n_starts)[None, :] - (block_size + 1) / 2)
    shows = (shows <= (block_size - 1) / 2).astype(float)
    size, overlap = shows.sum(1), shows @ shows.T
    joint = (1 - (size[:, None] + size[None, :] - overlap) / n_starts) ** draws
    return float((joint - np.outer(1 - size / n_starts, 1 - size / n_starts) ** draws).sum())


@pytest.mark.parametrize("n_tokens", [33, 47, 48, 49, 63, 300])
@pytest.mark.parametrize("draws", [2, 5, 40, 400])
def test_variance_is_the_sum_over_all_pairs(n_tokens, draws):
    theory = expect("random_replacement", n_tokens=n_tokens, block_size=16, draws=draws)
    assert theory.sd_missed_targets**2 == pytest.approx(pair_sum(n_tokens, 16, draws), rel=1e-8)


def test_variance_keeps_its_digits_on_the_longest_texts():
    # Two windows: the number missed varies only by their overlap, of distance d in T cases each.
    n_tokens, block_size = 10**12, 2048
    n_starts = n_tokens - block_size
    overlap = block_size - np.arange(block_size)
    chance = 2 * (n_starts - np.arange(block_size)) / n_starts**2
    chance[0] = 1 / n_starts
    truth = (chance * overlap**2).sum() - (chance * overlap).sum() ** 2
    theory = expect("random_replacement", n_tokens=n_tokens, block_size=block_size, draws=2)
    assert theory.sd_missed_targets**2 == pytest.approx(truth, rel=1e-4)  # 1e-6 lost of 1e+2


@pytest.mark.parametrize("name", THEORIES)
@pytest.mark.parametrize("draws", [60, 150, 250])
def test_theory_agrees_with_simulation(name, draws):
    shape = {"n_tokens": 5_000, "block_size": 32, "batch_size": 9, "drop_last": True}
    runs = 200
    measured = [
        measure_coverage(
            (sampler := make_sampler(name, seed=seed, **shape)).starts(0, draws),
            n_tokens=5_000,
            block_size=32,
            targets_per_window=sampler.targets_per_window,
        )
        for seed in range(runs)
    ]
    theory = expect(name, draws=draws, **shape)
    metrics = ("missed_targets", "missed_edge", "missed_inputs", "gaps", "repeated_windows",
               "visits_dispersion")  # fmt: skip
    for metric in metrics:
        if getattr(theory, metric) is None:
            continue
        values = np.array([getattr(row, metric) for row in measured], dtype=float)
        error = values.std() / math.sqrt(runs)
        # 234 comparisons with fixed seeds: 4 standard errors; 1e-9 where nothing varies.
        assert abs(values.mean() - getattr(theory, metric)) <= 4 * error + 1e-9, metric
    if theory.sd_missed_targets is None:
        return
    spread = np.std([row.missed_targets for row in measured])
    # The sd of 200 runs has a relative error near 1/sqrt(400) = 5 %, more with heavy tails.
    assert spread == pytest.approx(theory.sd_missed_targets, rel=0.25, abs=1e-9)


def test_worked_case_of_random_windows():
    theory = expect("random_replacement", draws=501 * 16, **BOOK)
    assert theory.missed_targets == pytest.approx(34.575, abs=5e-4)
    assert theory.missed_targets / 142_514 == pytest.approx(0.00024, abs=5e-6)
    assert theory.missed_edge == pytest.approx(34.5, abs=0.05)
    assert theory.missed_edge + theory.missed_interior == pytest.approx(theory.missed_targets)
    assert theory.repeated_windows == pytest.approx(222, abs=0.5)
    assert theory.visits_mean == pytest.approx(14.4, abs=0.05)
    assert theory.visits_sd == pytest.approx(3.8, abs=0.05)


def test_worked_case_of_the_dataloader():
    one_pass = expect("sequential", draws=556, **BOOK)
    cut = expect("sequential", draws=544, batch_size=16, drop_last=True, **BOOK)
    assert one_pass.missed_targets == 178
    assert cut.missed_targets == 3_250
    assert cut.missed_targets / 142_514 == pytest.approx(0.0228, abs=5e-5)
    assert one_pass.alignment_coverage == pytest.approx(0.0039, abs=5e-5)


def test_worked_case_of_steps_for_coverage():
    steps = steps_for_coverage("random_replacement", batch_size=16, **BOOK)
    assert steps[0.99] == 163
    assert -(-2_599 // 16) == 163


@pytest.mark.parametrize("name", THEORIES)
@pytest.mark.parametrize("batch_size", [1, 7])
def test_steps_for_coverage_are_the_fewest(name, batch_size):
    shape = {"n_tokens": 3_000, "block_size": 50, "batch_size": batch_size, "drop_last": True}

    def covered(steps):
        return 1 - expect(name, draws=steps * batch_size, **shape).missed_targets / 2_999

    for fraction, steps in steps_for_coverage(name, **shape, fractions=(0.01, 0.5, 0.9)).items():
        assert covered(steps) >= fraction
        assert steps == 1 or covered(steps - 1) < fraction


def test_steps_are_none_where_the_grid_never_gets_there():
    shape = {"n_tokens": 142_515, "block_size": 256, "batch_size": 16, "drop_last": True}
    assert steps_for_coverage("sequential", **shape)[0.99] is None
    assert steps_for_coverage("shuffled_blocks", **shape)[0.99] is not None
    assert steps_for_coverage("shuffled_blocks", **shape, fractions=[0.9999]) == {0.9999: None}


@pytest.mark.parametrize("draws", [1, 10**6, 10**12])
def test_missed_targets_of_a_huge_text_cost_nothing(draws):
    shape = {"n_tokens": 10**9, "block_size": 2048}
    expect("random_replacement", draws=draws, **shape)
    begin = time.process_time()
    theory = expect("random_replacement", draws=draws, **shape)
    assert time.process_time() - begin < 0.01  # about 1 ms; a sum over targets takes seconds
    assert all(math.isfinite(value) for value in vars(theory).values())


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"n_tokens": 256}, "one window"),
        ({"draws": 0}, "draws is 0"),
        ({"draws": True}, "draws is True"),
        ({"draws": 1.5}, "draws is 1.5"),
        ({"block_size": 0}, "block_size is 0"),
        ({"batch_size": -1}, "batch_size is -1"),
        ({"name": "random"}, "choose one of random_replacement"),
        ({"name": "sequential", "batch_size": 557, "drop_last": True}, "drop_last"),
    ],
)
def test_bad_arguments_are_refused(change, complaint):
    arguments = {"name": "random_replacement", "draws": 8} | BOOK | change
    with pytest.raises(ValueError, match=complaint):
        expect(**arguments)


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.5, math.nan, 1, True])
def test_a_fraction_outside_0_to_1_is_refused(fraction):
    with pytest.raises(ValueError, match=r"give a number in \(0, 1\)"):
        steps_for_coverage("sequential", batch_size=1, fractions=[fraction], **BOOK)


def test_a_sampler_without_theory_is_refused_with_what_to_add(monkeypatch):
    monkeypatch.delitem(THEORIES, "sequential")
    with pytest.raises(ValueError, match="'sequential' has no theory: add a line to THEORIES"):
        theory_of(make_sampler("sequential", n_tokens=20, block_size=4))
