"""The mean of several arms stands for an arm of its own."""

import pytest

from bench.experiments import verdicts
from bench.experiments.means import with_means
from tests.helpers.ledgers import record


def run(arm, seed, final, status="ok"):
    done = status == "ok"
    return record(
        f"{arm}-{seed}",
        group="convergence",
        status=status,
        reason=None if done else "training diverged: the loss is not finite",
        seed=seed,
        params={"experiment": "one", "arm": arm},
        metrics={"initial_test_loss": 8.0, "final_test_loss": final} if done else {},
        series={"test_curve": [{"step": 1, "loss": 6.0}, {"step": 2, "loss": final}]},
    )


def test_mean_of_arms_has_the_mean_loss_of_each_seed():
    runs = [run(arm, seed, i + seed) for i, arm in enumerate("abcd") for seed in range(3)]
    found = verdicts.losses(with_means(runs, "one", ["a+d", "b", "a+d"]), "one")
    assert found["a+d"] == {0: 1.5, 1: 2.5, 2: 3.5}
    assert found["a"] == {0: 0, 1: 1, 2: 2}


def test_curve_of_a_mean_is_the_mean_of_the_curves():
    made = with_means([run("a", 0, 2.0), run("b", 0, 4.0)], "one", ["a+b"])[-1]
    assert made["series"]["test_curve"] == [{"step": 1, "loss": 6.0}, {"step": 2, "loss": 3.0}]


def test_seed_that_one_arm_lacks_has_no_mean():
    runs = [run("a", 0, 2.0), run("a", 1, 2.0), run("b", 0, 4.0)]
    assert verdicts.losses(with_means(runs, "one", ["a+b"]), "one")["a+b"] == {0: 3.0}


@pytest.mark.parametrize("lost", [run("b", 0, None, status="failed"), run("b", 0, 9.0)])
def test_mean_with_a_diverged_run_is_diverged(lost):
    runs = [run("a", 0, 2.0), lost]
    assert verdicts.losses(with_means(runs, "one", ["a+b"]), "one")["a+b"] == {0: None}


def test_runs_of_other_experiments_are_no_part_of_a_mean():
    other = run("b", 0, 9.0)
    other["params"]["experiment"] = "two"
    assert "a+b" not in verdicts.losses(
        with_means([run("a", 0, 2.0), other], "one", ["a+b"]), "one"
    )
