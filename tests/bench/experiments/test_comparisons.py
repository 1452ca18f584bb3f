"""A planned comparison is computed from the records of its runs alone, and fits the ledger."""

import itertools
import math

import numpy as np
import pytest

from bench.experiments.comparisons import compare
from bench.ledger.record import validate
from bench.suite.outcome_cases import DesignCase
from gptcore.intervals import block_means, difference_interval
from tests.helpers.ledgers import record

STEPS = (0, 50, 100, 150, 200, 250, 300)
PAIRS = [("a", "b"), ("a", "c")]
DESIGN = DesignCase("one", "text", seeds=8, n_comparisons=2, prior_sd=0.02)


def run(arm, seed, end, targets):
    curve = [
        {"step": s, "tokens": 256 * s, "epochs": s / 75, "loss": 8 + end - 0.4 * math.log1p(s)}
        for s in STEPS
    ]
    means, counts = block_means(targets + curve[-1]["loss"])
    return record(
        f"bench_convergence::test_train[{arm}-{seed}]",
        group="convergence",
        seed=seed,
        params={"experiment": "one", "arm": arm},
        metrics={
            "initial_test_loss": curve[0]["loss"],
            "final_test_loss": curve[-1]["loss"],
            "train_tokens_per_s": 1_000.0,
        },
        series={
            "test_curve": curve,
            "test_blocks": [
                {"targets": int(n), "loss": float(x)} for n, x in zip(counts, means, strict=True)
            ],
        },
    )


def runs():
    """Return runs of three arms over eight seeds, and the losses of their targets."""
    rng, shifts = np.random.default_rng(0), {"a": 0.0, "b": 0.05, "c": 0.0}
    found, targets = [], {}
    for arm, seed in itertools.product("abc", range(8)):
        noise = rng.normal(0, 0.5, 600)
        targets[arm, seed] = noise - noise.mean()
        end = shifts[arm] + 0.01 * rng.standard_normal()
        found.append(run(arm, seed, end, targets[arm, seed]))
    return found, targets


def test_every_number_follows_from_the_ledger():
    ledger, targets = runs()
    found = compare(ledger, DESIGN, PAIRS, ("a", "b")).metrics
    final = {(r["params"]["arm"], r["seed"]): r["metrics"]["final_test_loss"] for r in ledger}
    d = np.array([final["a", i] - final["b", i] for i in range(8)])
    assert found["difference"] == pytest.approx(d.mean())
    assert found["share_a_better"] == np.mean(d < 0) == 1.0
    assert found["share_a_better_low"] == pytest.approx(0.025 ** (1 / 8))  # all of 8
    assert found["p_adjusted"] == 3 * 2 / 2**8  # the smallest of four is that a and c are equal
    assert found["late_slope"] == pytest.approx(0.4, rel=0.01)
    assert found["margin"] == pytest.approx(found["late_slope"] * math.log(1.1))
    assert found["steps_factor"] == pytest.approx(math.exp(d.mean() / found["late_slope"]))
    # The worst run's last loss is reached where 8 + end - 0.4 ln(1 + step) equals it.
    ends = {key: loss - 8 + 0.4 * math.log1p(300) for key, loss in final.items()}
    worst = max(final[key] for key in final if key[0] in "ab")
    steps = {k: math.expm1((8 + end - worst) / 0.4) for k, end in ends.items()}
    ratios = [math.log(steps["a", i] / steps["b", i]) for i in range(8)]
    assert found["reached_loss"] == pytest.approx(worst)
    assert found["tokens_ratio"] == pytest.approx(math.exp(np.mean(ratios)))
    assert found["a_time_to_reach_s"] == pytest.approx(
        np.median([256 * steps["a", i] for i in range(8)]) / 1_000
    )
    means = [np.mean([targets[arm, i] + final[arm, i] for i in range(8)], axis=0) for arm in "ab"]
    text = (found["text_low"], found["text_high"])
    assert text == pytest.approx(difference_interval(*means))


def test_comparison_fits_the_ledger():
    result = compare(runs()[0], DESIGN, PAIRS, ("a", "c"))
    case = record(
        "bench_convergence::test_compare[one]",
        group="comparison",
        metrics=result.metrics,
        samples=result.samples,
        series=result.series,
        facts=result.facts,
    )
    assert validate(case) is case
    assert [row["step"] for row in result.series["difference_curve"]] == list(STEPS)


def test_run_that_diverged_never_reaches_the_loss():
    ledger, _ = runs()
    lost = next(r for r in ledger if r["params"]["arm"] == "b" and r["seed"] == 3)
    lost["metrics"]["final_test_loss"] = 9.0
    found = compare(ledger, DESIGN, PAIRS, ("a", "b"))
    assert (found.metrics["n_censored"], found.metrics["n_seeds"]) == (1, 7)
    assert found.metrics["reached_loss"] < 8
    assert found.facts["seeds"] == [0, 1, 2, 4, 5, 6, 7]


def test_arm_of_which_every_run_diverged_has_no_sizes():
    ledger, _ = runs()
    for each in ledger:
        if each["params"]["arm"] == "b":
            each["metrics"]["final_test_loss"] = 9.0
    found = compare(ledger, DESIGN, PAIRS, ("a", "b"))
    assert (found.metrics["n_censored"], found.metrics["n_seeds"]) == (8, 0)
    assert "tokens_ratio" not in found.metrics
    assert found.series == {}
