"""The ladder of the suite: what is trained, in which order it is asked, and what is refused."""

import copy
import functools
from dataclasses import fields, replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from bench import bench_scaling
from bench.experiments import rungs
from bench.experiments.rungs import EVALUATIONS, Rung, load_model, save_model
from bench.ledger.recommendations import RECOMMENDATIONS
from bench.measuring.work import Result
from bench.suite.catalog import CASES
from bench.suite.training_cases import RungCase
from gptcore.scaling.tables import FEWEST_UNITS
from tests.helpers.ledgers import record
from tests.helpers.scaling_ledgers import asked, cases, ladder_records, plan, run_with

CPU = torch.device("cpu")
SMALL = RungCase("python-docs", 8, 0, 0.01, n_bytes=16_384, block_size=16, batch_size=8)


def predicted(suite="study", records=None):
    (case,) = cases("test_predict", suite)
    rungs = ladder_records(suite) if records is None else records
    return asked(bench_scaling.test_predict, "test_predict", case, rungs, suite)


@functools.cache
def _whole_ladder(suite):
    rungs = ladder_records(suite)
    stated = predicted(suite, rungs)
    return [*rungs, stated, *ladder_records(suite, "test_target")]


def whole_ladder(suite="study"):
    """Rungs, the prediction from them, and the target: in the order of the suite."""
    return copy.deepcopy(_whole_ladder(suite))


# --- cases -------------------------------------------------------------------------------------


def test_prediction_stands_between_the_ladder_and_its_target():
    order = list(CASES)
    steps = ["test_rung", "test_predict", "test_target", "test_scaling"]
    places = [order.index(f"bench_scaling::{step}") for step in steps]
    assert places == sorted(places)


def test_rung_id_holds_every_parameter():
    for field in fields(SMALL):
        value = getattr(SMALL, field.name)
        other = value + "x" if isinstance(value, str) else value + 1
        is_parameter = field.name != "cost_s"
        assert (replace(SMALL, **{field.name: other}).id != SMALL.id) == is_parameter, field.name


@pytest.mark.parametrize("suite", ["smoke", "standard", "study"])
def test_target_is_larger_than_every_rung(suite):
    widths = {case.n_embd for case in cases("test_rung", suite)}
    assert min(case.n_embd for case in cases("test_target", suite)) > max(widths)


def test_standard_ladder_has_five_sizes_and_study_three_seeds():
    assert len({case.n_embd for case in cases("test_rung", "standard")}) >= 5
    assert {case.seed for case in cases("test_rung", "study")} == {0, 1, 2}


def test_suite_without_a_ladder_has_no_scaling_case():
    scaling = [name for name in CASES if name.startswith("bench_scaling::")]
    assert not [case for name in scaling for case in CASES[name](plan("full"))]


# --- one run -----------------------------------------------------------------------------------


def test_rung_learns_and_is_scored_along_the_way(tmp_path):
    rung = Rung(SMALL, run_with([]), CPU)
    model, run = rung.run(tmp_path / "run")
    curve = run.curve
    assert len(curve) <= EVALUATIONS
    assert curve[-1]["tokens"] == rung.tokens
    assert curve[0]["tokens"] >= FEWEST_UNITS  # what tables of losses start at
    assert curve[-1]["loss"] < curve[0]["loss"]
    assert run.train_tokens_per_s > 0
    assert model.n_params == rung.n_params


def test_ladder_passes_once_over_the_text():
    rung = Rung(SMALL, run_with([]), CPU)
    starts = rung.sampler.starts(0, rung.steps * SMALL.batch_size)
    assert len(np.unique(starts)) == len(starts)


def test_part_of_the_text_is_passed_over_for_equal_tokens():
    whole = Rung(SMALL, run_with([]), CPU)
    part = Rung(replace(SMALL, text_share=0.25), run_with([]), CPU)
    assert part.tokens == whole.tokens
    # lengths are whole numbers of tokens
    assert whole.train_tokens / part.train_tokens == pytest.approx(4, rel=1e-3)
    assert torch.equal(part.test_ids, whole.test_ids)


def test_learning_rate_is_constant_after_the_warm_up():
    config = Rung(SMALL, run_with([]), CPU).config
    after = {config.learning_rate_at(s) for s in range(config.warmup_steps, config.steps + 1)}
    assert after == {SMALL.learning_rate}


def test_trained_weights_come_back_and_torn_ones_are_refused(tmp_path):
    rung, path = Rung(SMALL, run_with([]), CPU), tmp_path / "models" / "a.pt"
    model, _ = rung.run(tmp_path / "run")
    save_model(model, path)
    assert rung.test_loss(load_model(rung, path)) == rung.test_loss(model)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match="measure in a new folder"):
        load_model(rung, path)


def test_pieces_are_spread_over_the_whole_test_part():
    pieces = rungs.test_pieces(torch.arange(100_000))
    assert int(pieces[0][0]) == 0
    assert int(pieces[-1][-1]) == 99_999
    assert len(rungs.test_pieces(torch.arange(500))) == 1


@pytest.mark.parametrize("names", [("cpu", "cuda:0"), ("cuda:0", "cpu")])
def test_ladder_trains_on_the_accelerator_in_whatever_order_devices_come(names):
    assert str(rungs.ladder_device(SimpleNamespace(devices=dict.fromkeys(names)))) == "cuda:0"
    assert str(rungs.ladder_device(SimpleNamespace(devices={"cpu": ()}))) == "cpu"


# --- the prediction and its outcome ------------------------------------------------------------


def test_prediction_needs_no_target_and_comes_close_to_the_law():
    stated = predicted()["metrics"]
    target = ladder_records("study", "test_target")[0]
    # noise of the losses is 0.2 %; the extrapolation is by a factor of 2 in size
    assert stated["predicted_loss"] == pytest.approx(target["metrics"]["final_test_loss"], rel=0.02)
    assert stated["predicted_low"] < stated["predicted_loss"] < stated["predicted_high"]


def test_missing_rung_is_named_and_not_a_traceback():
    records = ladder_records()
    failed = record(records[4]["case"], status="failed", reason="ValueError: diverged")
    with pytest.raises(pytest.skip.Exception, match="width 32 seed 0; the same command"):
        predicted(records=[*records[:4], failed, *records[5:]])


def test_target_is_not_trained_before_a_prediction_is_on_disk():
    target = cases("test_target")[0]
    with pytest.raises(pytest.skip.Exception, match="before the held-out size is trained"):
        bench_scaling.test_target(None, Result(), run_with(ladder_records()), target)


def test_outcome_is_that_of_the_prediction_on_disk():
    records = whole_ladder()
    (case,) = cases("test_scaling")
    outcome = asked(bench_scaling.test_scaling, "test_scaling", case, records, "study")["metrics"]
    stated = next(r for r in records if r["group"] == "prediction")["metrics"]
    targets = [r["metrics"]["final_test_loss"] for r in records if r["group"] == "target"]
    low, high = stated["predicted_low"], stated["predicted_high"]
    assert outcome["predicted_loss"] == stated["predicted_loss"]
    assert outcome["interval_holds"] == sum(low <= loss <= high for loss in targets)
    errors = [100 * (stated["predicted_loss"] / loss - 1) for loss in targets]
    assert outcome["signed_final"] == pytest.approx(np.mean(errors))
    assert outcome["gain"] > 0


def test_outcome_refuses_a_prediction_that_the_ladder_did_not_make():
    records = whole_ladder()
    for one in records:
        if one["group"] == "prediction":
            one["metrics"]["predicted_loss"] *= 1.001
    (case,) = cases("test_scaling")
    with pytest.raises(AssertionError, match="the same fit now gives"):
        asked(bench_scaling.test_scaling, "test_scaling", case, records, "study")


def test_noise_of_seeds_is_that_of_the_final_losses():
    records = whole_ladder()
    (case,) = cases("test_scaling")
    outcome = asked(bench_scaling.test_scaling, "test_scaling", case, records, "study")["metrics"]
    by_size = {}
    for one in records:
        if one["group"] in ("rung", "target"):
            loss = one["metrics"]["final_test_loss"]
            by_size.setdefault(one["metrics"]["n_params"], []).append(np.log(loss))
    expected = 100 * np.sqrt(np.mean([np.var(values, ddof=1) for values in by_size.values()]))
    assert outcome["seed_sd"] == pytest.approx(expected)


def test_one_seed_gives_no_noise_of_seeds():
    (case,) = cases("test_scaling", "standard")
    records = whole_ladder("standard")
    outcome = asked(bench_scaling.test_scaling, "test_scaling", case, records, "standard")
    assert outcome["metrics"]["seed_sd"] is None


# --- advice and repetition ---------------------------------------------------------------------


@pytest.mark.parametrize("question", RECOMMENDATIONS)
def test_every_recommendation_is_tried_on_every_seed(question):
    (case,) = [c for c in cases("test_recommendation") if c.question == question]
    outcome = asked(
        bench_scaling.test_recommendation, "test_recommendation", case, whole_ladder(), "study"
    )
    assert len(outcome["samples"]["are_last30"]) == 3
    assert outcome["metrics"]["are_last30"] == pytest.approx(
        np.mean(outcome["samples"]["are_last30"])
    )


def test_repeated_bytes_are_found_to_be_worth_less():
    records = whole_ladder() + ladder_records("study", "test_repeated")
    case = cases("test_repeat")[0]
    outcome = asked(bench_scaling.test_repeat, "test_repeat", case, records, "study")
    rows = outcome["series"]["repetition"]
    assert [row["share"] for row in rows] == [0.5, 0.25, 0.125]
    # in these records a part of the text is worth at most four times its length
    assert rows[2]["predicted"] > rows[2]["all_new"]
    metrics = outcome["metrics"]
    assert 0 < metrics["R_D_low"] < metrics["R_D"] < metrics["R_D_high"]
    assert metrics["R_D"] < 200
