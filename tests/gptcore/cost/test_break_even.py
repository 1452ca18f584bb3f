"""Break-even of two curves whose crossing is known, and the sentences that say it."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from gptcore.cost import Range
from gptcore.cost.break_even import Curves, break_even, options_at
from gptcore.cost.costs import Cost
from gptcore.scaling import fit, law_from
from tests.helpers.loss_tables import ladder, trajectories

# From scratch: 2 + 30 / sqrt(N) + 100 / sqrt(D), so that 10,000 parameters have a floor of 2.3.
SCRATCH = replace(
    law_from(2.0, 30.0, 100.0, 0.5, 0.5), params_range=(1e3, 1e6), tokens_range=(1e5, 1e9)
)
SIZE = (1e8, 1e8)


def tuned(floor, gain=0.0, beta=0.5):
    """Fine-tuning of one model of 1e8 parameters, with the loss floor + gain / D^beta."""
    law = law_from(floor, 0.0, gain, 0.5, beta)
    return replace(law, params_range=SIZE, tokens_range=(1e4, 1e8))


def fitted(*, floor, gain, beta=0.3, noise=0.002, seed=0):
    """The same, fitted to six runs with noise."""
    tokens = np.geomspace(3e4, 3e8, 6)
    loss = (floor + gain / tokens**beta) * np.exp(
        noise * np.random.default_rng(seed).standard_normal(6)
    )
    names = [f"run {i}" for i in range(6)]
    table = {"model": names, "params": 1e8, "tokens_seen": tokens, "loss": loss}
    return fit(pd.DataFrame(table), bootstraps=0)


def test_break_even_is_where_the_curves_cross():
    # 2.3 + 100 / sqrt(D) = 2.5 at D = 250,000
    found = break_even(Curves(SCRATCH, 1e4, tuned(2.5)))
    assert found.tokens == pytest.approx(250_000, rel=1e-6)
    assert found.low is found.high is None
    assert found.verdict == (
        "A model of 1e+04 parameters from scratch reaches the published model at 2.5e+05 tokens "
        "(no interval is known)."
    )


def test_fine_tuning_moves_the_break_even_farther_away():
    # 2.3 + 100 / sqrt(D) = 2.4 + 20 / sqrt(D) at D = 800^2
    found = break_even(Curves(SCRATCH, 1e4, tuned(2.4, 20.0)))
    assert found.tokens == pytest.approx(640_000, rel=1e-6)


def test_the_published_model_as_it_is_counts_where_it_is_better_than_fine_tuned():
    # Fine-tuning on few tokens gives 2.4 + 500 / sqrt(D) > 2.45; 2.3 + 100 / sqrt(D) = 2.45 there.
    curves = Curves(SCRATCH, 1e4, tuned(2.4, 500.0), published=2.45)
    assert break_even(curves).tokens == pytest.approx((100 / 0.15) ** 2, rel=1e-6)
    assert curves.reuse(1e12).loss < 2.45
    assert break_even(Curves(SCRATCH, 1e4, tuned(2.4, 500.0))).tokens < 1e4


def test_a_model_whose_floor_is_too_high_never_breaks_even():
    found = break_even(Curves(SCRATCH, 1e4, tuned(2.2)))
    assert found.tokens == math.inf
    # 30 / sqrt(N) = 0.2 at N = 22,500
    assert found.least_params == pytest.approx(22_500)
    assert found.verdict == (
        "Never at this size with up to 1e+15 tokens, by the curves as fitted: 1e+04 parameters "
        "from scratch do not reach the published model; no interval is known. By the law as "
        "fitted, it takes more than about 2.2e+04 parameters to get below the best loss of the "
        "published model."
    )
    assert found.as_dict()["tokens"] == {"low": None, "mid": math.inf, "high": None}


def test_no_size_reaches_a_published_model_below_the_floor_of_the_law():
    found = break_even(Curves(SCRATCH, 1e5, tuned(1.9)))
    assert found.tokens == math.inf
    assert found.least_params is None
    assert "it takes more" not in found.verdict


def test_never_is_said_of_the_numbers_of_tokens_that_were_tried():
    # 2.3 + 100 / D^0.05 = 2.5 at D = 500^20, which nobody has.
    slow = replace(SCRATCH, theta=np.array([2.0, 30.0, 100.0, 0.5, 0.05]))
    found = break_even(Curves(slow, 1e4, tuned(2.5)))
    assert found.verdict.startswith("Never at this size with up to 1e+15 tokens, by the curves as")
    assert "it takes more" not in found.verdict


def test_curves_that_cross_before_the_first_number_tried_say_so():
    found = break_even(Curves(SCRATCH, 1e4, tuned(9.0)))
    assert found.verdict == (
        "A model of 1e+04 parameters from scratch reaches the published model at 1e+03 tokens or "
        "fewer (no interval is known)."
    )


@pytest.mark.parametrize("parameters", [(0, 0, 0, 1, 1), (0, 1e-100, 1e-100, 10, 10)])
def test_a_law_without_a_loss_is_refused(parameters):
    with pytest.raises(ValueError, match=r"the law cannot be compared: .* not a positive number"):
        break_even(Curves(law_from(*parameters), 1e4, tuned(2.5)))


def test_the_break_even_is_the_one_that_a_search_of_many_points_finds():
    random, grid = np.random.default_rng(0), np.geomspace(1e3, 1e15, 20_001)
    kinds = set()
    for _ in range(60):
        gain, tuned_gain = 10 ** random.uniform(0, 4, 2) * random.integers(0, 2, 2)
        beta, tuned_beta = 10 ** random.uniform(-3, 0, 2)
        floor, published = random.uniform(1.5, 3.0), random.uniform(2.0, 4.0)
        law = replace(SCRATCH, theta=np.array([2.0, 30.0, gain, 0.5, beta]))
        found = break_even(Curves(law, 1e4, tuned(floor, tuned_gain, tuned_beta), published))
        reuse = np.minimum(floor + tuned_gain / grid**tuned_beta, published)
        crossed = 2.3 + gain / grid**beta <= reuse
        if not crossed.any():
            assert found.tokens == math.inf
            assert found.verdict.startswith("Never")
        else:
            assert found.tokens == pytest.approx(grid[crossed.argmax()], rel=2e-3)
        kinds.add("never" if not crossed.any() else "at once" if crossed[0] else "later")
    assert kinds == {"never", "at once", "later"}


def test_a_lead_that_is_lost_again_is_told():
    # 2.3 + 100 / sqrt(D) is below 2.2 + 10 / D^0.2 at 1e6 tokens, and above it at 1e15.
    found = break_even(Curves(SCRATCH, 1e4, tuned(2.2, 10.0, 0.2)))
    assert found.tokens < 1e6
    assert any("ahead again" in warning for warning in found.warnings)
    steady = break_even(Curves(SCRATCH, 1e4, tuned(2.5)))
    assert not any("ahead again" in warning for warning in steady.warnings)


def test_intervals_of_both_curves_hold_the_true_break_even():
    law = fit(ladder(noise=0.002), bootstraps=0)
    curves = Curves(law, 1e8, fitted(floor=2.75, gain=30), published=3.5)
    found = break_even(curves)
    tokens = np.geomspace(1e6, 1e12, 200_000)
    scratch = 1.8 + 480 / 1e8**0.35 + 2000 / tokens**0.37
    truth = tokens[np.argmax(scratch <= np.minimum(3.5, 2.75 + 30 / tokens**0.3))]
    assert found.low < truth < found.high
    assert found.low < found.tokens < found.high
    assert "by the ends of the 80 % intervals of both curves" in found.verdict


def test_never_is_said_of_the_intervals_only_if_all_of_them_agree():
    law = fit(ladder(noise=0.002), bootstraps=0)  # 1e8 parameters have a floor of 2.56
    sure = break_even(Curves(law, 1e8, fitted(floor=2.2, gain=30), published=3.5))
    assert (sure.low, sure.tokens) == (math.inf, math.inf)
    assert sure.verdict.startswith("Never at this size with up to 1e+15 tokens: 1e+08 parameters")
    assert "whatever ends of the 80 % intervals of both curves are taken" in sure.verdict
    unsure = break_even(Curves(law, 1e8, fitted(floor=2.55, gain=30, noise=0.01), published=3.5))
    assert unsure.low < unsure.tokens == math.inf
    assert "but their 80 % intervals allow" in unsure.verdict


def test_what_is_extrapolated_is_told():
    inside = break_even(Curves(SCRATCH, 1e4, tuned(2.5), published=3.0))
    assert inside.warnings == ()
    beyond = break_even(Curves(SCRATCH, 1e7, tuned(2.5), published=3.0))
    assert [warning[:16] for warning in beyond.warnings] == ["The law was fitt"]
    never = break_even(Curves(SCRATCH, 1e4, tuned(2.2), published=3.0))
    assert never.warnings[0].startswith(
        "The longest runs that both curves were fitted to had 1e+08"
    )


def test_doubts_of_the_law_are_passed_on():
    doubtful = replace(SCRATCH, warnings=("alpha is flat",))
    assert "alpha is flat" in break_even(Curves(doubtful, 1e4, tuned(2.5))).warnings


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((SCRATCH, 1e4, SCRATCH), "the curve of fine-tuning is not of one size"),
        ((SCRATCH, 1e4, law_from(2, 0, 1, 0.5, 0.5)), "the curve of fine-tuning is not of one"),
        ((SCRATCH, 0.0, tuned(2.5)), "params is 0.0"),
        ((SCRATCH, 1e4, tuned(2.5), -1.0), "published_loss is -1.0"),
    ],
)
def test_what_cannot_be_compared_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message) as error:
        Curves(*arguments)
    assert "\n" not in str(error.value)


def test_a_law_of_runs_on_one_line_is_refused_off_the_line():
    on_line = fit(ladder(lengths=(20,)), bootstraps=0)
    with pytest.raises(ValueError, match=r"the law cannot be compared: .* lie off the line"):
        break_even(Curves(on_line, 1e8, tuned(2.5)))
    one_run = fit(trajectories(sizes=1), bootstraps=0)
    with pytest.raises(ValueError, match=r"the law cannot be compared: one size alone"):
        break_even(Curves(one_run, 1e9, tuned(2.5)))


def test_options_have_their_losses_and_money():
    curves = Curves(SCRATCH, 1e4, tuned(2.4, 20.0), published=2.6)
    flops = Range(1e12, 2e12, 2e12)
    cost = Cost(flops, None, None, Range(1, 2, 3), Range(2, 4, 9))
    scratch, fine_tuned, published = options_at(curves, 1e6, cost)
    assert scratch["loss"]["mid"] == pytest.approx(2.4)
    assert scratch["money"] == {"low": 2, "mid": 4, "high": 9}
    assert fine_tuned["loss"]["mid"] == pytest.approx(2.42)
    assert fine_tuned["money"]["mid"] == pytest.approx(2 * 6 * 1e8 * 1e6 / 2e12)
    assert published["loss"]["mid"] == 2.6
    assert set(published["money"].values()) == {0}


def test_a_published_model_that_was_not_scored_is_no_option():
    cost = Cost(Range(1, 1, 1), None, None, None, None)
    options = options_at(Curves(SCRATCH, 1e4, tuned(2.4)), 1e6, cost)
    assert [(row["option"], row["money"]) for row in options] == [
        ("from scratch", None), ("fine-tuned", None)
    ]  # fmt: skip
