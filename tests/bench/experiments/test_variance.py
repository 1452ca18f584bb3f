"""Crossed runs of a ledger: which runs make a table, and what its record says."""

import numpy as np
import pytest

from bench.experiments.variance import crossed_losses, split_variance
from bench.suite.experiments import Experiment
from bench.suite.plan import Plan
from bench.suite.training_cases import MEAN_OF
from tests.helpers.ledgers import record

CPU = {"cpu": ("fp32",)}
ARMS = tuple({"order_seed": i} for i in range(4))
RUNS = Experiment("crossed", ARMS, seeds=3).runs(("text",))


def finished(case, loss, **fields):
    return (
        record(
            f"bench_convergence::test_train[{case.id}]",
            group="convergence",
            params={"order_seed": case.order_seed, "split": case.split},
            metrics={"initial_test_loss": 9.0, "final_test_loss": loss},
        )
        | {"seed": case.seed}
        | fields
    )


def records(losses, runs=RUNS):
    return [finished(case, loss) for case, loss in zip(runs, np.ravel(losses), strict=True)]


def test_table_holds_each_initialisation_with_each_order():
    losses = np.arange(12.0).reshape(3, 4) / 10
    crossed = crossed_losses(records(losses))
    assert (crossed.losses == losses).all()
    assert crossed.levels == {
        "initialisation": ["0", "1", "2"],
        "order of the data": ["0", "1", "2", "3"],
    }


def test_test_part_is_a_third_factor():
    arms = tuple({"split": s, "order_seed": i} for s in ("block:1/2", "block:2/2") for i in (0, 1))
    experiment = Experiment("crossed", arms, seeds=3)
    runs = experiment.runs(("text",))
    crossed = crossed_losses(records(np.arange(12.0) / 10, runs))
    assert list(crossed.levels) == ["initialisation", "order of the data", "test part"]
    sources = [row["source"] for row in split_variance(crossed).series["variance"]]
    assert len(sources) == 7
    assert sources[-1] == "initialisation with order of the data with test part and the rest"


def test_table_with_a_run_that_diverged_is_not_split():
    found = records(np.ones(12))
    found[5] |= {"metrics": {"initial_test_loss": 9.0, "final_test_loss": 9.5}}
    with pytest.raises(ValueError, match="lower the learning rate"):
        crossed_losses(found)


@pytest.mark.parametrize(
    "found", [records(np.ones(11), RUNS[1:]), records(np.ones(1), RUNS[:1]), []]
)
def test_runs_that_are_not_crossed_are_not_split(found):
    with pytest.raises(ValueError, match="not crossed"):
        crossed_losses(found)


def test_run_that_stands_twice_in_the_table_is_not_split():
    found = records(np.ones(12))
    found[5] |= {"seed": found[4]["seed"], "params": found[4]["params"]}
    with pytest.raises(ValueError, match="not crossed"):
        crossed_losses(found)


@pytest.mark.parametrize("suite", ["smoke", "study"])
def test_crossed_runs_of_a_suite_are_split(suite):
    (case,) = (c for c in Plan(suite, CPU, ("text",)).outcome_cases() if c.question == "variance")
    assert case.seeds > 1
    assert all("order" in arm for arm in case.arms.split(MEAN_OF))


def test_levels_are_in_the_order_of_their_numbers():
    runs = Experiment("crossed", tuple({"order_seed": i} for i in range(11)), seeds=2).runs(("a",))
    crossed = crossed_losses(records(np.arange(22.0) / 10, runs))
    assert crossed.levels["order of the data"] == [str(i) for i in range(11)]


def test_estimate_below_zero_and_a_run_far_from_the_others_are_said():
    losses = 5 + np.random.default_rng(1).normal(0, 0.01, (3, 4))
    losses[1, 2] += 1
    result = split_variance(crossed_losses(records(losses)))
    text = " ".join(result.facts["warnings"])
    assert "lies below 0 is shown as 0" in text
    assert "initialisation 1, order of the data 2 lies far" in text
    assert result.metrics["n_runs"] == 12
