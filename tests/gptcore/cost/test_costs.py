"""Costs of training runs, worked out again by hand."""

import math
import re

import pytest

from gptcore.cost import ACCELERATORS, PUBLISHED, Range, training_cost
from gptcore.cost.figures import as_range
from gptcore.model import PRESETS, ModelConfig

GPT3 = ModelConfig(block_size=2048, n_layer=96, n_head=96, n_embd=12288)


def test_gpt3_has_the_published_operations_without_attention():
    (published,) = (figure for figure in PUBLISHED if figure.what == "GPT-3, compute")
    assert training_cost(GPT3, 3e11).flops.low == pytest.approx(published.value.mid, rel=0.001)


def test_operations_follow_the_formula():
    # GPT-2 small: 12 x 12 x 768^2 + 50,257 x 768 weights, 12 x 12 x 768 x 1,024 for attention.
    weights = 12 * 12 * 768**2 + 50257 * 768
    flops = training_cost(PRESETS["gpt2"], 1e9).flops
    assert flops.low == 6e9 * weights
    assert flops.mid == flops.high == 1e9 * (6 * weights + 12 * 12 * 768 * 1024)


def test_hours_on_an_accelerator_are_operations_over_peak_and_utilization():
    cost = training_cost(PRESETS["gpt2"], 1e10, accelerator="a100")
    for hours, mfu in zip(cost.hours, (0.462, 0.41, 0.213), strict=True):
        assert hours == pytest.approx(cost.flops.mid / (312e12 * mfu) / 3600)
    assert cost.money is None  # no price of an hour is known


def test_a_measured_speed_goes_before_the_peak():
    cost = training_cost(PRESETS["gpt2"], 7200, tokens_per_s=4, accelerator="h100")
    assert cost.hours == (0.5, 0.5, 0.5)
    assert cost.money == pytest.approx((0.85, 1.475, 2.5))
    assert not any("utilization" in source for source in cost.sources)


def test_a_range_of_speeds_turns_round():
    assert training_cost(GPT3, 7200, tokens_per_s=(1, 2, 4)).hours == (0.5, 1, 2)


def test_money_is_hours_times_price_and_development_comes_on_top():
    cost = training_cost(GPT3, 7200, tokens_per_s=(1, 2, 4), price=(1, 2, 3), development=2)
    assert cost.money == (0.5, 2, 6)
    assert cost.money_with_development == (1, 4, 12)
    assert cost.sources == ()  # every number was given
    dated = training_cost(GPT3, 7200, tokens_per_s=1, price=1)
    assert dated.money_with_development == pytest.approx((3, 2 * (1.5 * 5.6) ** 0.5, 11.2))


def test_energy_is_that_of_the_counters():
    assert training_cost(GPT3, 3.6e6, joules_per_token=(1, 2, 5)).energy_kwh == (1, 2, 5)


def test_what_is_not_known_is_null():
    cost = training_cost(GPT3, 3e11)
    names = ("hours", "energy_kwh", "money", "money_with_development")
    assert [cost.as_dict()[name] for name in names] == [None] * 4
    assert cost.as_dict()["flops"].keys() == {"low", "mid", "high"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tokens": 0}, "tokens is 0: give a number"),
        ({"tokens": float("nan")}, "tokens is nan"),
        ({"accelerator": "abacus"}, "the accelerator 'abacus' is not known: choose one of h100"),
        ({"accelerator": "t4"}, "the accelerator 't4' is not known"),  # no bf16 there
        ({"tokens_per_s": -1.0}, "tokens_per_s is -1.0"),
        ({"price": (1, 2)}, "give one number, or three as low,mid,high"),
        ({"price": (3, 2, 1)}, "price is 3,2,1: give low,mid,high in this order"),
        ({"price": 0.0}, "price is 0.0"),
        ({"price": "2.95"}, "price is '2.95': give a number"),
        ({"development": 0.99}, "development is 0.99: give a number in [1, 1e60]"),
        ({"price": 1e61}, "price is 1e+61: give a number in [1e-60, 1e60]"),
    ],
)
def test_what_makes_no_sense_is_refused(change, message):
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        training_cost(GPT3, **({"tokens": 3e11, "tokens_per_s": 1.0} | change))
    assert "\n" not in str(error.value)


def test_every_number_that_is_allowed_gives_numbers():
    cost = training_cost(GPT3, 1e60, tokens_per_s=1e-60, price=1e60, development=1e60)
    assert all(map(math.isfinite, cost.money_with_development))
    cost = training_cost(GPT3, 1, tokens_per_s=1e60, price=1e-60, joules_per_token=1e-60)
    assert min(*cost.money, *cost.energy_kwh) > 0


def test_one_number_is_a_range_of_its_own():
    assert as_range("price", 3) == Range(3, 3, 3)


def test_dense_bf16_is_at_most_sixteen_times_fp32():
    # A figure with sparsity would exceed what tensor cores do dense against plain fp32.
    for accelerator in ACCELERATORS.values():
        peaks = accelerator.peaks
        assert 1 < peaks.get("bf16", 2 * peaks["fp32"]) / peaks["fp32"] <= 16


def test_every_figure_has_a_date_a_unit_and_a_source():
    figures = [*PUBLISHED, *(known.hour for known in ACCELERATORS.values() if known.hour)]
    assert all(figure.date and figure.unit and figure.source for figure in figures)
    assert all(as_range(figure.what, figure.value) for figure in figures)
