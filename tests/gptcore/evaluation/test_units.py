import math

import numpy as np
import pytest

from gptcore.evaluation.units import unit_losses
from gptcore.intervals import mean_interval

RNG = np.random.default_rng(0)
LOSSES = RNG.gamma(2.0, 1.5, 4000).astype(np.float32)
BYTES = RNG.integers(1, 9, 4000)


def by_unit(*arguments):
    return {score.per: score for score in unit_losses(*arguments)}


def test_the_loss_of_a_token_has_the_interval_of_the_mean():
    score = by_unit(LOSSES, {})["token"]
    assert (score.n, score.nats) == (4000, pytest.approx(LOSSES.mean(dtype=np.float64)))
    assert score.interval_95 == pytest.approx(mean_interval(LOSSES.astype(np.float64)))
    assert score.perplexity == pytest.approx(math.exp(score.nats))
    assert score.perplexity_interval_95 == pytest.approx([*map(math.exp, score.interval_95)])


def test_units_of_one_size_only_scale_the_loss():
    scores = by_unit(LOSSES, {"byte": np.full(4000, 4)})
    token, byte = scores["token"], scores["byte"]
    assert byte.nats == pytest.approx(token.nats / 4)
    assert byte.interval_95 == pytest.approx([end / 4 for end in token.interval_95])


def test_losses_that_follow_the_bytes_are_certain_for_each_byte():
    byte = by_unit(0.7 * BYTES, {"byte": BYTES})["byte"]
    assert byte.interval_95 == pytest.approx((0.7, 0.7))


def test_the_interval_of_a_ratio_holds_the_truth_as_often_as_it_says():
    rng, hits = np.random.default_rng(1), 0
    for _ in range(200):
        sizes = rng.integers(1, 9, 1000)
        losses = rng.gamma(2.0, 0.5 * sizes)  # 1 nat for each byte
        low, high = by_unit(losses, {"byte": sizes})["byte"].interval_95
        hits += low < 1 < high
    assert hits > 180  # 190 are expected; the interval allows for more than independent losses


def test_the_words_of_the_text_as_given_are_the_divisor():
    scores = by_unit(LOSSES, {"word": BYTES}, {"word": 2 * int(BYTES.sum())})
    usual = by_unit(LOSSES, {"word": BYTES})["word"]
    assert scores["word"].n == 2 * usual.n
    assert scores["word"].nats == pytest.approx(usual.nats / 2)
    assert scores["word"].interval_95 == pytest.approx([end / 2 for end in usual.interval_95])


def test_what_is_undefined_is_none():
    (token,) = unit_losses(np.full(10, 1000.0), {"byte": np.zeros(10, dtype=int)})
    assert (token.interval_95, token.perplexity, token.perplexity_interval_95) == (None,) * 3
