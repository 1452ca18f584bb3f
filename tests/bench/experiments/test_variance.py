"""Crossed runs of a ledger: which runs make a table, and what its record says."""

from dataclasses import replace

import numpy as np
import pytest

from bench.experiments.variance import crossed_losses, split_variance
from bench.suite.experiments import Experiment
from bench.suite.training_cases import TrainCase
from tests.helpers.ledgers import record

ARMS = tuple({"order_seed": i} for i in range(4))
RUNS = Experiment("crossed", ARMS, seeds=3).runs(("text",))


def finished(case, loss, **fields):
    return (
        record(
            f"bench_convergence::test_train[{case.id}]",
            group="convergence",
            metrics={"initial_test_loss": 9.0, "final_test_loss": loss},
        )
        | fields
    )


def records(losses, runs=RUNS):
    return [finished(case, loss) for case, loss in zip(runs, np.ravel(losses), strict=True)]


def test_table_holds_each_initialisation_with_each_order():
    losses = np.arange(12.0).reshape(3, 4) / 10
    crossed = crossed_losses(records(losses), RUNS)
    assert (crossed.losses == losses).all()
    assert crossed.levels == {
        "initialisation": ["0", "1", "2"],
        "order of the data": ["0", "1", "2", "3"],
    }


def test_test_part_is_a_third_factor():
    arms = tuple({"split": s, "order_seed": i} for s in ("block:1/2", "block:2/2") for i in (0, 1))
    experiment = Experiment("crossed", arms, seeds=3)
    runs = experiment.runs(("text",))
    crossed = crossed_losses(records(np.arange(12.0) / 10, runs), runs)
    assert list(crossed.levels) == ["initialisation", "order of the data", "test part"]
    sources = [row["source"] for row in split_variance(crossed).series["variance"]]
    assert len(sources) == 7
    assert sources[-1] == "initialisation with order of the data with test part and the rest"
    (case,) = experiment.split(("text", "other"))
    assert (case.seeds, case.n_arms) == (3, 4)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"status": "failed", "reason": "training diverged at step 3"}, "lower the learning rate"),
        ({"metrics": {"initial_test_loss": 9.0, "final_test_loss": 9.5}}, "diverged or failed"),
        ({"case": "bench_convergence::test_train[other]"}, "not all of its runs are finished"),
    ],
)
def test_table_with_a_hole_is_not_split(change, reason):
    found = records(np.ones(12))
    found[5] |= change
    assert reason in crossed_losses(found, RUNS)


def test_runs_that_are_not_crossed_are_not_split():
    assert "not crossed" in crossed_losses(records(np.ones(11), RUNS[1:]), RUNS[1:])
    assert "not crossed" in crossed_losses([], [TrainCase("a", "text", 0)])


def test_only_experiments_of_orders_are_split():
    assert Experiment("a", ARMS, seeds=1).split(("text",)) == []
    assert Experiment("a", ({"sampler": "sequential"},), seeds=3).split(("text",)) == []
    lone = replace(Experiment("a", ARMS, seeds=2), every_text=True)
    assert len(lone.split(("text", "other"))) == 2


def test_estimate_below_zero_and_a_run_far_from_the_others_are_said():
    losses = 5 + np.random.default_rng(1).normal(0, 0.01, (3, 4))
    losses[1, 2] += 1
    result = split_variance(crossed_losses(records(losses), RUNS))
    text = " ".join(result.facts["warnings"])
    assert "lies below 0 is shown as 0" in text
    assert "initialisation 1, order of the data 2 lies far" in text
    assert result.metrics["n_runs"] == 12
