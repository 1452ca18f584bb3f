"""What test curves say: tokens to a loss, steps that undo a difference, differences on the way."""

import math

import numpy as np
import pytest

from bench.experiments import curves
from gptcore.intervals import block_means, difference_interval
from gptcore.paired import sign_flip_interval
from tests.helpers.ledgers import record

STEPS = (0, 10, 20, 40, 80)


def curve(losses, tokens_per_step=100):
    return [
        {"step": s, "tokens": s * tokens_per_step, "epochs": s / 80, "loss": loss}
        for s, loss in zip(STEPS, losses, strict=True)
    ]


def run(losses, *, tokens_per_s=50.0, blocks=None):
    series = {"test_curve": curve(losses)}
    if blocks is not None:
        means, counts = block_means(blocks)
        series["test_blocks"] = [
            {"targets": n, "loss": x} for x, n in zip(means, counts, strict=True)
        ]
    return record("a::b", metrics={"train_tokens_per_s": tokens_per_s}, series=series)


def falling(scale, end=0.0):
    """Return losses that fall by the logarithm of the steps, `scale` times as fast."""
    return [8 - math.log1p(scale * s) + end for s in STEPS]


def test_loss_is_reached_between_evaluations():
    # A straight line against ln(1 + step): half way between 10 and 20 steps is sqrt(11 * 21).
    losses = [8 - math.log1p(s) for s in STEPS]
    half = 8 - math.log(11 * 21) / 2
    assert curves.steps_to(curve(losses), half) == pytest.approx((11 * 21) ** 0.5 - 1)
    assert curves.steps_to(curve(losses), losses[2]) == pytest.approx(20)
    assert curves.steps_to(curve(losses), 9.0) == 0


def test_run_that_never_reaches_a_loss_has_no_steps():
    assert curves.steps_to(curve([8, 6, 5, 5.5, 6]), 4.9) is None
    assert curves.steps_to(curve([8, 6, 5, 5.5, 6]), 5) == pytest.approx(20)


def test_ratio_of_tokens_is_that_of_the_speeds_of_learning():
    pairs = [
        (run(falling(1, e)), run(falling(4, e), tokens_per_s=25)) for e in np.linspace(0, 0.2, 8)
    ]
    found = curves.time_to_loss(pairs)
    assert found["reached_loss"] == pytest.approx(falling(1, 0.2)[-1])
    assert found["tokens_ratio"] == pytest.approx(4, rel=0.1)
    assert found["tokens_ratio_low"] < found["tokens_ratio"] < found["tokens_ratio_high"]
    assert found["a_tokens_to_reach"] == pytest.approx(100 * found["a_steps_to_reach"])
    assert found["b_time_to_reach_s"] == pytest.approx(found["b_tokens_to_reach"] / 25)


def test_time_is_null_where_a_speed_is_not_known():
    pairs = [(run(falling(1), tokens_per_s=None), run(falling(2)))] * 2
    found = curves.time_to_loss(pairs)
    assert found["a_time_to_reach_s"] is None
    assert found["b_time_to_reach_s"] > 0


def test_ratio_of_alike_arms_does_not_depend_on_which_is_first():
    rng = np.random.default_rng(0)
    runs = [run(falling(1, e)) for e in rng.normal(0, 0.1, 12)]
    pairs = list(zip(runs[::2], runs[1::2], strict=True))
    one, other = curves.time_to_loss(pairs), curves.time_to_loss([(b, a) for a, b in pairs])
    assert one["reached_loss"] == other["reached_loss"]
    assert one["tokens_ratio"] == pytest.approx(1 / other["tokens_ratio"])


def test_steps_that_undo_a_difference_are_stated_up_to_twice_as_many():
    metrics = {"difference": 0.1, "sign_flip_low": -0.1, "sign_flip_high": 0.15}
    found = curves.steps_factors(metrics, 0.2)
    assert found["steps_factor"] == pytest.approx(math.exp(0.5))
    assert found["steps_factor_low"] == pytest.approx(math.exp(-0.5))
    assert found["steps_factor_high"] is None  # e^0.75 is above 2
    assert set(curves.steps_factors(metrics, None).values()) == {None}


def test_difference_along_the_way_has_an_interval_at_each_shared_step():
    rng = np.random.default_rng(1)
    pairs = [(run(falling(1, e)), run(falling(1))) for e in rng.normal(0.3, 0.1, 8)]
    del pairs[3][1]["series"]["test_curve"][1]
    rows = curves.difference_curve(pairs)
    assert [row["step"] for row in rows] == [0, 20, 40, 80]
    last = [a["series"]["test_curve"][-1]["loss"] - falling(1)[-1] for a, _ in pairs]
    assert rows[-1]["difference"] == pytest.approx(np.mean(last))
    assert (rows[-1]["low"], rows[-1]["high"]) == pytest.approx(sign_flip_interval(last))


def test_interval_over_the_text_is_that_of_the_targets_averaged_over_seeds():
    rng = np.random.default_rng(2)
    losses = rng.normal(5, 1, (4, 2, 600))
    pairs = [tuple(run(falling(1), blocks=x) for x in pair) for pair in losses]
    expected = difference_interval(*losses.mean(axis=0))
    assert curves.text_interval(pairs) == pytest.approx(expected)


def test_earlier_records_and_other_test_parts_have_no_interval_over_the_text():
    one = run(falling(1), blocks=np.ones(600))
    assert curves.text_interval([(one, run(falling(1)))]) == (None, None)
    assert curves.text_interval([(one, run(falling(1), blocks=np.ones(700)))]) == (None, None)
