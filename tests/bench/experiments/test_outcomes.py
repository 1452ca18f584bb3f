"""What is worked out from all runs of an experiment: onset of overfitting, noise, repeats."""

import numpy as np
import pytest

from bench.experiments.outcomes import finished, noise, onset, repeat_forms, staircase
from tests.helpers.ledgers import record


def run(arm, seed, losses, experiment="one", status="ok", **metrics):
    curve = [{"step": i, "epochs": 2.0 * i, "loss": float(x)} for i, x in enumerate(losses)]
    given = {"train_tokens": 100, "epochs": 2.0 * (len(losses) - 1), "n_params": 7}
    return record(
        f"{arm}-{seed}-{experiment}",
        group="convergence",
        status=status,
        seed=seed,
        params={"experiment": experiment, "arm": arm},
        metrics=given | {"final_test_loss": float(losses[-1])} | metrics,
        series={"test_curve": curve},
    )


def arm(name, shape, seeds=8, sd=0.01):
    rng = np.random.default_rng(0)
    return [run(name, s, np.asarray(shape) + rng.normal(0, sd, len(shape))) for s in range(seeds)]


FALLING = [8.0, 6.0, 5.0, 4.5, 4.2]
RISING = [8.0, 6.0, 5.0, 5.5, 6.2]
FLAT = [8.0, 6.0, 5.0, 5.0, 5.0]


def test_only_finished_runs_of_the_experiment_count():
    runs = [run("a", 1, FALLING), run("a", 0, FALLING), run("a", 2, FALLING, status="failed")]
    found = finished([*runs, run("a", 3, FALLING, experiment="two")], "one")
    assert [each["seed"] for each in found["a"]] == [0, 1]


def test_onset_is_the_evaluation_after_which_the_loss_rises_for_good():
    falling, rising = onset({"f": arm("f", FALLING), "r": arm("r", RISING)}).series["onset"]
    assert (rising["step"], rising["epochs"], rising["between"]) == (2, 4.0, 2.0)
    assert rising["rise"] == pytest.approx(1.2, abs=0.02)
    assert rising["rise_low"] <= rising["rise"] <= rising["rise_high"]
    assert rising["p_adjusted"] == pytest.approx(2 * 2 / 2**8)  # two arms, 8 seeds
    assert (falling["step"], falling["rise"], falling["p_adjusted"]) == (4, 0.0, 1.0)
    assert falling["detectable"] > 0


def test_noise_at_the_end_is_no_rise():
    """The lowest of several equal losses lies below the last one of the same run, always."""
    rows = [
        onset({"a": [run("a", s, FLAT + rng.normal(0, 0.1, 5)) for s in range(8)]}).series["onset"][
            0
        ]
        for rng in map(np.random.default_rng, range(40))
    ]
    assert abs(np.mean([row["rise"] for row in rows])) < 0.02
    assert sum(row["p_adjusted"] <= 0.05 for row in rows) <= 5


def test_one_seed_has_an_onset_without_a_test():
    (row,) = onset({"r": arm("r", RISING, seeds=1)}).series["onset"]
    assert row["step"] == 2
    assert [row[n] for n in ("rise_low", "rise_high", "p_adjusted", "detectable")] == [None] * 4


def test_noise_of_arms_and_whether_it_differs():
    rng = np.random.default_rng(2)
    runs = {
        name: [run(name, s, [8.0, 5.0 + x]) for s, x in enumerate(rng.normal(0, sd, 24))]
        for name, sd in (("a", 0.01), ("b", 0.01), ("c", 0.05))
    }
    a, b, c = noise(runs).series["noise"]
    assert a["p_adjusted"] is None
    assert b["p_adjusted"] > 0.05 > c["p_adjusted"]
    assert c["sd_low"] < 0.05 < c["sd_high"]
    assert c["sd"] == pytest.approx(
        np.std([r["metrics"]["final_test_loss"] for r in runs["c"]], ddof=1)
    )


def test_forms_are_fitted_to_the_means_of_cells():
    cells = [(u, r) for u in (1000, 4000, 16000) for r in (1, 4, 16)]
    runs = {
        f"{u}-{r}": [
            run(
                f"{u}-{r}", seed, [8.0, 3 + 20 * (u * r) ** -0.4 + 0.02 * (r - 1) + shift],
                train_tokens=u, epochs=r - 0.001,
            )
            for seed, shift in enumerate((-0.01, 0.01))
        ]
        for u, r in cells
    }  # fmt: skip
    found = repeat_forms(runs).series
    assert [cell["passes"] for cell in found["repeat_cells"]][:2] == [1.0, 3.999]
    errors = {row["form"]: row["error"] for row in found["repeat_forms"]}
    assert min(errors, key=errors.get) == "additive"


def stairs(name, height, seeds=8, sd=0.01):
    """Runs of 4 epochs of 40 steps whose training loss falls by `height` at each border."""
    step = np.arange(1, 161)
    runs = []
    for seed in range(seeds):
        loss = 5 - height * np.ceil(step / 40) + np.random.default_rng(seed).normal(0, sd, 160)
        made = run(name, seed, FALLING)
        made["series"]["loss_curve"] = [
            {"epochs": s / 40, "loss": float(x)} for s, x in zip(step, loss, strict=True)
        ]
        runs.append(made)
    return runs


def test_step_at_the_borders_of_epochs():
    falls, flat = staircase({"f": stairs("f", 0.3), "s": stairs("s", 0.0)}).series["staircase"]
    assert falls["size"] == pytest.approx(-0.3, abs=0.01)
    assert falls["size_low"] < -0.29 < falls["size_high"] + 0.02
    assert (falls["borders"], falls["n_seeds"]) == (3, 8)
    assert falls["p_adjusted"] <= 0.05 < flat["p_adjusted"]
    assert flat["detectable"] < 0.02


def test_run_within_one_epoch_has_no_border():
    made = stairs("a", 0.3, seeds=2)
    for each in made:
        each["series"]["loss_curve"] = each["series"]["loss_curve"][:40]
    (row,) = staircase({"a": made}).series["staircase"]
    assert (row["borders"], row["size"], row["p_adjusted"]) == (0, None, None)
