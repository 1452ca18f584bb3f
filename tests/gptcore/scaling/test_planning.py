"""What to train: allocations, IsoFLOP parabolas and ladders of small runs."""

import numpy as np
import pandas as pd
import pytest

from gptcore.scaling.fitting import fit
from gptcore.scaling.law import law_from
from gptcore.scaling.planning import PUBLISHED, allocate, expected_are, plan_ladder
from tests.helpers.loss_tables import LAW, trajectories


def test_the_allocation_spends_the_budget_at_the_least_loss():
    best = allocate(LAW, 1e20)
    assert 6 * best.params * best.tokens == pytest.approx(1e20)
    for factor in (0.9, 1.1):
        assert LAW.loss(best.params * factor, best.tokens / factor) > best.loss
    assert best.exponent == pytest.approx(0.37 / 0.72)


def test_no_allocation_without_a_size_term():
    with pytest.raises(ValueError, match="does not identify alpha"):
        allocate(fit(trajectories(sizes=2)), 1e20)


def test_a_plan_spends_no_more_than_the_budget_and_more_money_helps():
    poor, rich = (plan_ladder(c, 1e9, 2e10, target_are=0.1) for c in (1e17, 1e19))
    assert poor["flops"] <= 1e17 * (1 + 1e-9)
    assert poor["expected_are"] > rich["expected_are"]
    assert not poor["reaches_target"]
    assert plan_ladder(1e19, 1e9, 2e10, target_are=10)["reaches_target"]


def test_the_expected_error_is_what_simulated_ladders_show():
    law = law_from(**PUBLISHED)
    n = np.repeat(1e8 * 2.0 ** np.arange(6), 3)
    d = n * np.tile([5, 20, 80], 6)
    target = np.array([3.2e9]), np.array([6.4e10])  # no larger than the ladder: no misfit added
    rng, errors = np.random.default_rng(0), []
    for _ in range(20):
        loss = law.loss(n, d) * np.exp(0.01 * rng.standard_normal(len(n)))
        table = pd.DataFrame({"model": np.arange(18), "params": n, "tokens_seen": d, "loss": loss})
        fitted = fit(table, delta=1.0, bootstraps=0)
        seen = law.loss(*target) * np.exp(0.01 * rng.standard_normal())
        errors.append(100 * abs(float(fitted.loss(*target)[0] / seen[0]) - 1))
    said = expected_are(law, n, d, *target, noise=0.01)
    # a mean of 20 absolute normal errors has a relative standard deviation of 0.17
    assert said == pytest.approx(np.mean(errors), rel=0.5)


@pytest.mark.parametrize(("budget", "message"), [(0, "budget is 0"), (1e21, "buys the target")])
def test_budgets_that_make_no_sense_are_refused(budget, message):
    with pytest.raises(ValueError, match=message):
        plan_ladder(budget, 1e9, 2e10)
