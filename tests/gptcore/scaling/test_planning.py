"""What to train: allocations, IsoFLOP parabolas and ladders of small runs."""

import numpy as np
import pandas as pd
import pytest

from gptcore.scaling import ladders, next_run
from gptcore.scaling.fitting import fit
from gptcore.scaling.ladders import PUBLISHED, plan_ladder
from gptcore.scaling.law import law_from
from gptcore.scaling.next_run import plan_next_run
from gptcore.scaling.planning import allocate
from tests.helpers.loss_tables import LAW, ladder, trajectories


def test_the_allocation_spends_the_budget_at_the_least_loss():
    best = allocate(LAW, 1e20)
    assert 6 * best.params * best.tokens == pytest.approx(1e20)
    for factor in (0.9, 1.1):
        assert LAW.loss(best.params * factor, best.tokens / factor) > best.loss
    assert best.exponent == pytest.approx(0.37 / 0.72)


def test_no_allocation_without_a_size_term():
    with pytest.raises(ValueError, match="does not identify alpha"):
        allocate(fit(trajectories(sizes=2)), 1e20)


@pytest.fixture
def quick(monkeypatch):
    """Few simulated fits, so that a plan takes a second."""
    monkeypatch.setattr(ladders, "TRIALS", 1)
    monkeypatch.setattr(ladders, "SIMULATED", 10)
    monkeypatch.setattr(ladders, "SHARES", (1.0,))
    monkeypatch.setattr(next_run, "TRIED", 2)
    monkeypatch.setattr(next_run, "TRIALS", 2)
    monkeypatch.setattr(ladders, "LADDERS", [(5, 2.0, (5, 20, 80)), (6, 2.0, (20,))])


def test_a_plan_spends_no_more_than_the_budget_and_more_money_helps(quick):
    poor, rich = (plan_ladder(c, 1e9, 2e10, target_are=0.1) for c in (1e17, 1e19))
    assert poor["flops"] <= 1e17 * (1 + 1e-9)
    assert poor["expected_are"] > rich["expected_are"]
    assert not poor["reaches_target"]
    assert plan_ladder(1e19, 1e9, 2e10, target_are=30)["reaches_target"]


def test_a_plan_proposes_no_runs_on_one_line(quick):
    assert plan_ladder(1e18, 1e9, 2e10)["n_models"] == 15  # of two ladders, the one off a line
    n = 1e7 * 2.0 ** np.arange(5)
    assert ladders.on_line(n, 20 * n)
    assert ladders.on_line(n, n * [18, 22, 18, 22, 18])
    assert not ladders.on_line(np.repeat(n, 2), np.outer(n, [10, 40]).ravel())


def test_a_plan_promises_what_simulated_ladders_show(quick, monkeypatch):
    monkeypatch.setattr(ladders, "SIMULATED", 24)
    plan = plan_ladder(1e18, 1e9, 2e10, target_are=10, noise=0.02)
    n, d = (np.array([run[name] for run in plan["models"]]) for name in ("params", "tokens"))
    rng, law, errors = np.random.default_rng(5), law_from(**PUBLISHED), []
    for _ in range(16):
        loss = law.loss(n, d) * np.exp(0.02 * rng.standard_normal(len(n)))
        table = pd.DataFrame({"model": np.arange(len(n)), "params": n, "tokens_seen": d})
        seen = law.loss(1e9, 2e10) * np.exp(0.02 * rng.standard_normal())
        fitted = fit(table.assign(loss=loss), bootstraps=0)
        errors.append(100 * abs(float(fitted.loss(1e9, 2e10) / seen) - 1))
    # means of 24 and of 16 absolute errors have relative standard deviations of 0.15 and 0.19
    assert plan["expected_are"] == pytest.approx(np.mean(errors), rel=0.6)


def test_no_ladder_has_models_that_are_worse_than_guessing():
    with pytest.raises(ValueError, match="worse than guessing: raise the budget"):
        plan_ladder(1e13, 1e9, 2e10)


@pytest.mark.parametrize(("budget", "message"), [(0, "budget is 0"), (1e21, "buys the target")])
def test_budgets_that_make_no_sense_are_refused(budget, message):
    with pytest.raises(ValueError, match=message):
        plan_ladder(budget, 1e9, 2e10)


def test_the_next_run_after_a_ray_lies_off_it(quick):
    n = 1e7 * 2.0 ** np.arange(5)
    loss = LAW.loss(n, 20 * n) * np.exp(0.003 * np.random.default_rng(0).standard_normal(5))
    table = pd.DataFrame({"model": n, "params": n, "tokens": 20 * n, "loss": loss})
    plan = plan_next_run(table, 1e18, 1e9, 1e11)
    assert plan["half_width_80"] is None  # the target is off the ray
    assert plan["half_width_80_after"] > 0
    (run,) = plan["models"]
    assert run["flops"] <= 1e18
    assert not 5 < run["tokens"] / run["params"] < 80


def test_the_next_run_narrows_the_interval_or_is_not_proposed(quick):
    table = ladder(sizes=4, noise=0.01)
    plan = plan_next_run(table, 1e19, 1e10, 2e11)
    assert plan["half_width_80_after"] < 0.9 * plan["half_width_80"]
    nothing = plan_next_run(table, 1e13, 1e10, 2e11)
    assert nothing["models"] == []
    assert nothing["decision"].startswith("No run of up to 1e+13 FLOPs")
