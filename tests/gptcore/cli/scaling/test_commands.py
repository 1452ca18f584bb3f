"""`gptcore scale`: keys, warnings and errors of the command line."""

import json
import math

import numpy as np
import pandas as pd
import pytest

from gptcore.cli.main import main
from gptcore.scaling import ladders, next_run
from gptcore.scaling.repetition import RepeatedLaw
from tests.helpers.loss_tables import LAW, TRUTH, ladder, trajectories


@pytest.fixture
def scale(capsys):
    """Run `gptcore scale`; return its exit code, its JSON (or text) and what it said."""

    def run(*argv):
        try:
            code = main(["scale", *map(str, argv)])
        except SystemExit as stop:
            code = stop.code
        captured = capsys.readouterr()
        out = json.loads(captured.out) if "--json" in argv and code == 0 else captured.out
        return code, out, captured.err

    return run


@pytest.fixture
def losses(tmp_path):
    path = tmp_path / "losses.csv.gz"
    both = [trajectories(noise=0.003).assign(family=f) for f in ("one", "two")]
    pd.concat(both).to_csv(path, index=False)
    return path


@pytest.fixture
def law(tmp_path, scale):
    table = tmp_path / "ladder.csv"
    ladder(noise=0.003).to_csv(table, index=False)
    _, result, _ = scale("fit", table, "--json")
    path = tmp_path / "law.json"
    path.write_text(json.dumps(result))
    return path


def test_fit_has_the_keys_that_were_agreed(law):
    result = json.loads(law.read_text())
    agreed = ("E", "A", "B", "alpha", "beta", "objective", "n_points", "n_models", "sd",
              "interval_95", "warnings", "seconds")  # fmt: skip
    assert set(agreed) <= set(result)
    assert result["n_models"] == result["n_points"] == 15
    assert result["interval_95"]["alpha"][0] < result["alpha"] < result["interval_95"]["alpha"][1]


def test_evaluate_has_the_keys_that_were_agreed(scale, losses):
    code, result, _ = scale("evaluate", losses, "--family", "one", "--json")
    assert code == 0
    agreed = ("target", "are_last30", "are_final", "signed_final", "interval_80", "warnings")
    assert set(agreed) <= set(result)
    assert result["target"] == "size4"
    assert result["are_last30"] < 5


def test_predict_and_allocate_read_a_law(scale, law):
    _, result, _ = scale("predict", "--law", law, "--params", "5e9", "--tokens", "1e11", "--json")
    assert result["interval_95"][0] < result["loss"] < result["interval_95"][1]
    _, result, _ = scale("allocate", "--law", law, "--flops", "1e20", "--json")
    assert result["params"] * result["tokens"] * 6 == pytest.approx(1e20)
    assert result["tokens_per_param"] == pytest.approx(result["tokens"] / result["params"])


def test_published_parameters_are_a_law_too(scale, tmp_path):
    path = tmp_path / "published.json"
    path.write_text(json.dumps(TRUTH))
    _, result, _ = scale("predict", "--law", path, "--params", "1e9", "--tokens", "1e10", "--json")
    assert result["loss"] == pytest.approx(float(LAW.loss(1e9, 1e10)))
    assert result["interval_95"] is None


def test_a_law_that_the_data_do_not_identify_is_no_error(scale, tmp_path):
    path = tmp_path / "two.csv"
    trajectories(sizes=2).to_csv(path, index=False)
    code, result, _ = scale("fit", path, "--json")
    assert code == 0
    assert result["alpha"] is None
    assert "2 sizes" in result["warnings"][0]


def test_a_ladder_on_a_ray_gives_null_off_it_and_no_allocation(scale, tmp_path):
    table, path = tmp_path / "ray.csv", tmp_path / "law.json"
    ladder(lengths=(20,), noise=0.002).to_csv(table, index=False)
    _, law, _ = scale("fit", table, "--json")
    path.write_text(json.dumps(law))
    on = scale("predict", "--law", path, "--params", "1e10", "--tokens", "2e11", "--json")[1]
    assert on["interval_95"][0] < on["loss"] < on["interval_95"][1]
    code, off, _ = scale("predict", "--law", path, "--params", "1e10", "--tokens", "1e12", "--json")
    assert code == 0
    assert off["loss"] is off["interval_95"] is None
    code, best, _ = scale("allocate", "--law", path, "--flops", "1e20", "--json")
    assert code == 0
    assert best["params"] is best["loss"] is None
    assert "cannot be told apart" in best["warnings"][0]
    assert scale("allocate", "--law", path, "--flops", "1e20")[1].startswith("No best size")


def test_plan_with_a_table_proposes_the_next_run(scale, tmp_path, monkeypatch):
    monkeypatch.setattr(next_run, "TRIED", 2)
    monkeypatch.setattr(next_run, "TRIALS", 2)
    table = tmp_path / "runs.csv"
    ladder(sizes=4, noise=0.01).to_csv(table, index=False)
    run = ("plan", "--table", table, "--budget", "1e19", "--target-params", "1e10")
    _, result, _ = scale(*run, "--json")
    assert len(result["models"]) == 1
    assert scale(*run)[1].startswith("Train ")


@pytest.fixture
def quick(monkeypatch):
    """Few simulated fits, so that a plan takes a second."""
    monkeypatch.setattr(ladders, "TRIALS", 1)
    monkeypatch.setattr(ladders, "SIMULATED", 4)
    monkeypatch.setattr(ladders, "LADDERS", [(5, 2.0, (5, 20, 80))])


def test_plan_starts_with_the_decision(scale, quick):
    code, text, _ = scale("plan", "--budget", "1e18", "--target-params", "1e9")
    assert code == 0
    assert text.startswith("Train ")
    _, result, _ = scale("plan", "--budget", "1e18", "--target-params", "1e9", "--json")
    assert sum(run["flops"] for run in result["models"]) == pytest.approx(result["flops"])


def test_the_options_of_evaluate_reach_the_fit(scale, losses, law):
    common = ("evaluate", losses, "--family", "one", "--json")
    _, few, _ = scale(*common, "--models", 3)
    assert few["n_models"] == 3
    _, end, _ = scale(*common, "--final-only")
    assert end["n_points"] == 4
    _, half, _ = scale(*common, "--last-share", 0.5)
    _, late, _ = scale(*common, "--last-share", 1, "--burn-in-tokens", 5e9)
    assert half["n_points"] == late["n_points"] == 4 * 21  # from 50 % on, both ends
    _, own, _ = scale(*common, "--models", 0, "--target-share", 0.3)
    assert own["n_models"] == 1
    _, lent, _ = scale(*common, "--models", 1, "--borrow", law)
    assert lent["are_final"] < 10
    _, back, _ = scale(*common, "--reverse")
    assert back["target"] == "size0"


def test_pictures_are_drawn(scale, losses, tmp_path):
    for what in ("fit", "evaluate"):
        picture = tmp_path / f"{what}.svg"
        _, result, _ = scale(what, losses, "--family", "one", "--plot", picture, "--json")
        assert result["plot"] == str(picture)
        assert "parameters" in picture.read_text()


def test_repetition_and_isoflop_answer(scale, tmp_path):
    path = tmp_path / "runs.csv"
    table = ladder(sizes=6, lengths=(5, 10, 20, 40, 80))
    table.assign(unique_tokens=table["tokens_seen"].clip(upper=4e9)).to_csv(path, index=False)
    code, result, _ = scale("fit", path, "--repetition", "--json")
    assert code == 0
    assert {"R_D", "R_N", "alpha"} <= set(result)
    code, result, _ = scale("isoflop", path, "--json")
    assert code == 0
    assert result["exponent"] is None


@pytest.fixture
def repeated(tmp_path):
    path = tmp_path / "repeated.json"
    path.write_text(json.dumps(TRUTH | {"R_D": 15.0, "R_N": 5.0}))
    return path


def test_a_prediction_for_repeated_text_uses_the_repetition_term(scale, repeated):
    law = RepeatedLaw(LAW, 15.0, 5.0)
    run = ("predict", "--law", repeated, "--params", "3e8", "--tokens", "6.4e9")
    _, once, _ = scale(*run, "--json")
    assert once["loss"] == pytest.approx(float(LAW.loss(3e8, 6.4e9)))
    assert "not repeated: give --unique-tokens" in once["warnings"][-1]
    _, again, _ = scale(*run, "--unique-tokens", "2e8", "--json")
    assert again["loss"] == pytest.approx(float(law.loss(3e8, 6.4e9, 2e8)))
    assert again["loss"] > once["loss"] + 0.05
    assert (again["epochs"], again["interval_95"]) == (32, None)
    assert "no interval" in again["warnings"][-1]
    _, enough, _ = scale(*run, "--unique-tokens", "1e10", "--json")
    assert (enough["loss"], enough["epochs"], enough["warnings"]) == (once["loss"], 1, [])
    _, text, _ = scale(*run, "--unique-tokens", "2e8")
    assert "passes over the text" in text


def test_an_allocation_for_repeated_text_has_the_least_loss(scale, repeated):
    law = RepeatedLaw(LAW, 15.0, 5.0)
    budget = ("allocate", "--law", repeated, "--flops", "1e21")
    _, once, _ = scale(*budget, "--json")
    assert "not repeated" in once["warnings"][-1]
    _, best, _ = scale(*budget, "--unique-tokens", "1e9", "--json")
    assert best["params"] * best["tokens"] * 6 == pytest.approx(1e21)
    assert best["exponent"] is None
    assert best["epochs"] == pytest.approx(best["tokens"] / 1e9)
    sizes = best["params"] * np.array([0.5, 0.9, 1.0, 1.1, 2.0])
    losses = law.loss(sizes, 1e21 / 6 / sizes, 1e9)
    assert losses.argmin() == 2
    assert best["loss"] == pytest.approx(losses[2])
    assert best["loss"] > once["loss"]
    _, enough, _ = scale(*budget, "--unique-tokens", "1e13", "--json")
    assert enough["params"] == once["params"]
    assert "exponent" in scale(*budget, "--unique-tokens", "1e9")[1]


def test_a_plan_says_that_it_is_for_text_that_is_not_repeated(scale, repeated, quick):
    run = ("plan", "--budget", "1e18", "--target-params", "1e9", "--json")
    _, result, _ = scale(*run, "--law", repeated)
    assert "not repeated" in result["warnings"][0]
    assert scale(*run)[1]["warnings"] == []


@pytest.mark.parametrize(
    ("saved", "unique", "message"),
    [
        ({}, "1e9", "no repetition term"),
        ({"R_D": 15.0}, "-1", "--unique-tokens is -1"),
        ({"R_D": 15.0}, "0", "--unique-tokens is 0"),
        ({"R_D": -1.0}, "1e9", "R_D is -1"),
        ({"R_D": "15"}, "1e9", "R_D is '15'"),
        ({"R_D": 15.0, "R_N": 0}, "1e9", "R_N is 0"),
        ({"R_N": 5.0}, "1e9", "R_D is None"),
        ({"R_D": True}, "1e9", "R_D is True"),
    ],
)
@pytest.mark.parametrize(
    "command", [("predict", "--params", "1e9", "--tokens", "1e10"), ("allocate", "--flops", "1e20")]
)
def test_a_broken_repetition_term_is_refused(scale, tmp_path, saved, unique, message, command):
    path = tmp_path / "law.json"
    path.write_text(json.dumps(TRUTH | saved))
    code, _, err = scale(*command, "--law", path, "--unique-tokens", unique)
    assert code == 2
    assert message in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (("fit", "none.csv"), "no such file"),
        (("fit", "LOSSES"), "2 families"),
        (("fit", "LOSSES", "--family", "one", "--delta", "0"), "delta is 0"),
        (("fit", "LOSSES", "--family", "one", "--last-share", "2"), "--last-share is 2"),
        (("evaluate", "LOSSES", "--family", "one", "--models", "7"), "there are 4"),
        (("predict", "--law", "LOSSES", "--params", "1e9", "--tokens", "1e9"), "not a law"),
        (("plan", "--budget", "1e30", "--target-params", "1e9"), "buys the target"),
        (("plan", "--budget", "many", "--target-params", "1e9"), "not a finite number"),
        (("fit",), "required"),
    ],
)
def test_errors_are_one_line_and_exit_2(scale, losses, argv, message):
    code, _, err = scale(*[losses if word == "LOSSES" else word for word in argv])
    assert code == 2
    assert message in err
    assert err.count("\n") == 1


FLAT = {"E": 1.8, "A": 480, "B": 2100, "alpha": 0.35, "beta": 0.37}
BAD_LAWS = {
    "empty": "",
    "null": "null",
    "a list": "[1.8, 480, 2100, 0.35, 0.37]",
    "a number": "1" + "0" * 400,
    "nested": "[" * 100_000,
    "cut": json.dumps(FLAT)[:-1],
    "two": json.dumps(FLAT) * 2,
    "nan": json.dumps(FLAT | {"E": math.nan}),
    "huge": json.dumps(FLAT | {"A": 10**400}),
    "large": json.dumps(FLAT | {"B": 1e300}),
    "negative": json.dumps(FLAT | {"alpha": -0.1}),
    "zero": json.dumps(FLAT | {"beta": 0}),
    "a boolean": json.dumps(FLAT | {"A": True}),
    "text": json.dumps(FLAT | {"A": "480"}),
    "null inside": json.dumps(FLAT | {"E": None}),
    "a list inside": json.dumps(FLAT | {"E": [1.8]}),
    "missing": json.dumps({"E": 1.8, "A": 480}),
    "twice": json.dumps(FLAT)[:-1] + ', "E": 2}',
    "no state": json.dumps(FLAT | {"objective": 1.0}),
    "a state of nothing": json.dumps(FLAT | {"state": None}),
    "R_D": json.dumps(FLAT | {"R_D": "many"}),
}


@pytest.mark.parametrize("name", BAD_LAWS)
def test_a_law_that_is_none_is_refused_in_one_line(scale, tmp_path, name):
    (tmp_path / "law.json").write_text(BAD_LAWS[name])
    code, out, err = scale(
        "predict", "--law", tmp_path / "law.json", "--params", "1e9", "--tokens", "1e10"
    )
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "law.json is not a law: " in err


@pytest.mark.parametrize("place", ["theta", "replicates", "noise", "pivot_params", "params_range"])
@pytest.mark.parametrize("value", ["1", True, [], {}, -1, [[1]] * 5, 1e301, [None] * 5])
def test_a_part_of_a_law_that_is_none_is_refused_in_one_line(scale, law, tmp_path, place, value):
    saved = json.loads(law.read_text())
    saved["state"][place] = value
    (tmp_path / "bad.json").write_text(json.dumps(saved))
    code, out, err = scale("allocate", "--law", tmp_path / "bad.json", "--flops", "1e20")
    if (place, value) == ("replicates", []):  # a law without intervals
        assert (code, err) == (0, "")
        return
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "bad.json is not a law: " in err


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_a_law_may_be_written_by_powershell(scale, tmp_path, encoding):
    (tmp_path / "law.json").write_text(json.dumps(FLAT), encoding=encoding)
    code, _, err = scale("allocate", "--law", tmp_path / "law.json", "--flops", "1e20")
    assert (code, err) == (0, "")


@pytest.mark.parametrize("change", [{"A": 1e-100}, {"B": 1e100}, {"alpha": 1e-9}, {"beta": 1e-9}])
def test_a_plan_for_no_size_that_could_be_trained_is_refused(scale, tmp_path, change):
    (tmp_path / "law.json").write_text(json.dumps(FLAT | change))
    code, out, err = scale("allocate", "--law", tmp_path / "law.json", "--flops", "1e20")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "check its A, B, alpha and beta" in err
