"""The suite's verdicts on samplers: the design, the margin, diverged runs, all claims together."""

import math

import pytest

from bench.experiments import verdicts
from bench.experiments.curves import late_slope
from bench.suite.outcome_cases import DesignCase
from gptcore.stats import holm
from tests.helpers.ledgers import record

PAIRS = [("a", "b"), ("a", "c")]
NOISE = [0.01, -0.02, 0.03, 0.0, 0.015, -0.01, 0.02, -0.005]
APART = [1.01, 0.98, 1.03, 1.0, 1.015, 0.99, 1.02, 0.995]


def run(sampler, seed, final, *, before=None, status="ok", reason=None, initial=8.0):
    """Return a training run of 60 steps whose test loss was `before` at step 50."""
    curve = [{"step": 50, "loss": before or final + 0.1}, {"step": 60, "loss": final}]
    done = status == "ok"
    return record(
        f"{sampler}-{seed}-{status}",
        group="convergence",
        status=status,
        reason=reason,
        seed=seed,
        params={"experiment": "one", "arm": sampler},
        metrics={"initial_test_loss": initial, "final_test_loss": final} if done else {},
        series={"test_curve": curve} if done else {},
    )


def records(**differences):
    """Return the runs of sampler a and of others, which end `differences` above it."""
    n = len(next(iter(differences.values())))
    runs = [run("a", seed, 5.0) for seed in range(n)]
    for sampler, values in differences.items():
        runs += [run(sampler, seed, 5.0 + value) for seed, value in enumerate(values)]
    return runs


def judged(runs, margin=None):
    found = verdicts.losses(runs, "one")
    paired = {pair: verdicts.Paired.of(found, pair) for pair in PAIRS}
    return paired, verdicts.verdicts(paired, dict.fromkeys(PAIRS, margin))


def test_differences_and_equalities_are_adjusted_together():
    _, found = judged(records(b=APART, c=NOISE), margin=0.05)
    claims = [found[pair][name] for name in ("p_value", "p_equivalence") for pair in PAIRS]
    names = ("p_adjusted", "p_equivalence_adjusted")
    adjusted = [found[pair][name] for name in names for pair in PAIRS]
    assert adjusted == holm(claims)
    assert adjusted[0] <= 0.05
    assert adjusted[3] <= 0.05


def test_claim_without_a_margin_still_counts():
    _, found = judged(records(b=APART, c=NOISE))
    assert found["a", "b"]["p_adjusted"] == 4 * 2 / 2**8
    assert found["a", "c"]["p_equivalence_adjusted"] is None


def test_seven_pairs_and_four_claims_give_no_verdict():
    paired, found = judged(records(b=APART[:7], c=NOISE[:7]), margin=0.05)
    assert [m["p_adjusted"] for m in found.values()] == [None, None]
    assert [m["p_equivalence_adjusted"] for m in found.values()] == [None, None]
    reason = verdicts.no_verdict(len(paired["a", "b"].seeds), 4)
    assert "7 paired seeds and 4 claims can find no difference" in reason
    assert "at least 8 seeds" in reason


@pytest.mark.parametrize(
    "diverged",
    [
        run("b", 8, 9.0),
        run("b", 8, 0, status="failed", reason="ValueError: training diverged at step 3: loss nan"),
    ],
)
def test_diverged_run_is_named_and_its_pair_left_out(diverged):
    runs = [*records(b=APART, c=[*NOISE, 0.0]), run("a", 8, 5.0), diverged]
    paired, found = judged(runs)
    assert (found["a", "b"]["n_seeds"], found["a", "b"]["n_diverged"]) == (8, 1)
    assert found["a", "b"]["difference"] == pytest.approx(-sum(APART) / 8)
    assert "the run of b with seed 8 diverged" in verdicts.warnings(paired["a", "b"])[0]
    assert verdicts.warnings(paired["a", "c"]) == []


def test_a_run_that_overfits_has_not_diverged():
    record = run("b", 8, 9.0)
    assert verdicts.final_loss(record) is None
    record["metrics"]["final_train_loss"] = 0.1
    assert verdicts.final_loss(record) == 9.0


def test_run_that_failed_for_another_reason_is_missing():
    lost = run("b", 0, 0, status="failed", reason="MemoryError: 11 GiB needed")
    assert verdicts.losses([lost], "one") == {}


def test_pair_that_carries_the_mean_is_named():
    paired, _ = judged(records(b=NOISE, c=[*NOISE[:7], 2.0]))
    assert verdicts.warnings(paired["a", "b"]) == []
    assert "seed 7 lies far" in " ".join(verdicts.warnings(paired["a", "c"]))


def test_margin_is_what_a_tenth_more_steps_would_gain():
    curves = {"a": 5.2, "b": 5.1}
    runs = [run(s, seed, 5.0, before=curves[s]) for s in curves for seed in range(8)]
    found = verdicts.margin(runs, "one", ("a", "b"))
    expected = 0.15 * math.log(1.1) / math.log(60 / 50)
    assert found.value == pytest.approx(expected)
    assert "10 % more steps" in found.origin
    assert "16 runs" in found.origin


@pytest.mark.parametrize("losses", [[5.4, 5.3, 5.01, 5.0], [5.01, 5.3, 5.2, 5.0]])
def test_margin_is_the_smallest_of_the_late_slopes(losses):
    curve = [{"step": s, "loss": x} for s, x in zip((30, 40, 50, 60), losses, strict=True)]
    step = 50 if losses[0] > 5.1 else 30
    assert late_slope(curve) == pytest.approx(0.01 / math.log(60 / step))


def test_late_slope_does_not_depend_on_the_number_of_evaluations():
    """More evaluations put points near the end, where the decay of the rate speeds the fall."""
    slopes = [
        late_slope([{"step": s, "loss": 8 - s / 60} for s in range(0, 61, 60 // parts)])
        for parts in (6, 30)
    ]
    assert slopes == pytest.approx([0.5 / math.log(2)] * 2)


def test_run_without_points_on_its_way_has_no_late_slope():
    assert late_slope([{"step": 0, "loss": 8.0}, {"step": 1, "loss": 7.9}]) is None


@pytest.mark.parametrize("seeds", [1, 8])
def test_no_margin_where_the_gain_cannot_be_told_from_none(seeds):
    changes = [0.1, -0.05] * 4
    runs = [run("a", i, 5.0, before=5.0 + x) for i, x in enumerate(changes[:seeds])]
    found = verdicts.margin(runs, "one", ("a", "b"))
    assert found.value is None
    assert "no equality is claimed" in found.origin


def test_design_states_what_it_finds_or_that_it_finds_nothing():
    found = verdicts.design(DesignCase("one", "text", 8, 2, 0.25))
    assert found["smallest_p"] == 4 * 2 / 2**8
    # Eight pairs and four claims need one sign: the power is Phi(d) ** 8.
    assert found["planned_detectable"] == pytest.approx(0.25 * 1.92, rel=0.02)
    refused = verdicts.design(DesignCase("one", "text", 6, 3, 0.25))
    assert (refused["smallest_p"], refused["planned_detectable"]) == (6 * 2 / 2**6, None)


@pytest.mark.parametrize(
    ("seeds", "sd", "part"),
    [
        (2, None, "there is no verdict, because 2 paired seeds and 4 claims can find no"),
        (8, 0.085, "a difference of 0.16 nats/token is found in 80 % of the cases"),
        (8, None, "the difference that they find is not known"),
    ],
)
def test_statement_before_the_runs_says_what_can_be_found(seeds, sd, part):
    case = DesignCase("one", "python-docs", seeds=seeds, n_comparisons=2, prior_sd=sd)
    assert part in verdicts.statement(case)
