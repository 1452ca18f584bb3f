"""The report on the ladder: what it says, what it shows, and what it does without."""

import copy

import pytest

from bench import bench_scaling
from bench.ledger.recommendations import RECOMMENDATIONS
from bench.suite.catalog import CASES, params
from reports import findings, load, page, words
from reports.blocks import Plotter
from reports.topics import scaling
from tests.helpers.ledgers import environment, record, skip, standard_ledger, write_ledger
from tests.helpers.scaling_ledgers import asked, cases, ladder_records, plan


@pytest.fixture(scope="module")
def whole():
    """Every record that a ladder of the study leaves."""
    records = [environment(), *ladder_records("study")]

    def ask(test, case):
        records.append(asked(getattr(bench_scaling, test), test, case, records, "study"))

    for case in cases("test_predict"):
        ask("test_predict", case)
    records += ladder_records("study", "test_target")
    for case in cases("test_scaling") + cases("test_recommendation"):
        ask(case_test(case), case)
    records += ladder_records("study", "test_repeated")
    for case in cases("test_repeat"):
        ask("test_repeat", case)
    return [*records, inference_record()]


def case_test(case):
    return "test_scaling" if case.question == "outcome" else "test_recommendation"


def inference_record(needed_high=90):
    (case,) = CASES["bench_inference::test_inference"](plan())
    rows = [
        {"x": 2**i, "value": 0.2 + 0.02 * i, "low": 0.1, "high": 0.4, "law": 0.2 + 0.019 * i}
        for i in range(5)
    ]
    return record(
        f"bench_inference::test_inference[{case.id}]",
        group="inference",
        params=params(case),
        metrics={
            "n_params": 238_000,
            "context_are": 1.25,
            "context_predicted_low": 0.21,
            "context_predicted_high": 0.29,
            "pass_predicted_low": 0.2,
            "pass_predicted_high": 0.4,
            "samples_needed_low": 40,
            "samples_needed_high": needed_high,
        },
        series={
            "by_context": rows,
            "by_samples": [row | {"law": None} for row in rows],
            "by_pass": [
                {
                    "x": 2**i,
                    "value": 0.31 if i < 3 else None,
                    "low": 0.05,
                    "high": 0.3 + 0.1 * i,
                    "law": None,
                }
                for i in range(6)
            ],
        },
    )


def section_of(folder, records, figures=False):
    run = load.Run.read(write_ledger(folder / "run", records), "run")
    sections = scaling.section(run, Plotter("r", figures))
    return sections[0] if sections else None


def table_of(section, part):
    (table,) = [t for t in section.tables if part in t.caption]
    return [[cell.replace(words.NBSP, " ") for cell in row] for row in table.rows]


def test_section_states_prediction_interval_and_error(tmp_path, whole):
    intro = section_of(tmp_path, whole).intro.replace(words.NBSP, " ")
    (outcome,) = [r["metrics"] for r in whole if r["group"] == "scaling"]
    assert f"over the last 30 % of that run is {outcome['are_last30']:.2f} %," in intro
    assert f"interval: {outcome['predicted_low']:.3f} to {outcome['predicted_high']:.3f};" in intro
    assert f"for {outcome['interval_holds']} of 3 seeds" in intro


def test_ladder_table_marks_the_held_out_size_and_has_every_size(tmp_path, whole):
    rows = table_of(section_of(tmp_path, whole), "The ladder")
    assert len(rows) == len({r["metrics"]["n_params"] for r in whole if r["group"] == "rung"}) + 1
    assert [("(held out)" in row[0]) for row in rows] == [False] * (len(rows) - 1) + [True]


def test_every_recommendation_is_shown_in_its_words(tmp_path, whole):
    rows = table_of(section_of(tmp_path, whole), "recommendations")
    assert [row[0] for row in rows] == [tried.words for tried in RECOMMENDATIONS.values()]


def test_earlier_ledger_with_timed_fits_loads_and_renders(tmp_path, whole):
    metrics = {"law_points": 112, "time_s": 0.5, "grid_starts": 4_500, "starts_at_optimum": 1}
    case = "bench_scaling::test_fit_time[grid-7x16-starts5-seed0]"
    fit = record(case, group="fit", params={"way": "grid", "starts": 5}, metrics=metrics)
    (run,) = load.load_runs([write_ledger(tmp_path / "run", [*whole, fit])])
    assert not run.warnings
    assert "test_fit_time" in page.render([run], "html")[0]


def test_warnings_of_the_fit_and_the_device_stand_below_the_rungs(tmp_path, whole):
    made = copy.deepcopy(whole)
    for case in made:
        if case["group"] == "prediction":
            case["facts"]["warnings"] = ["beta is flat: train longer"]
        if case["group"] == "target":
            case["facts"]["device"] = "cuda:0"
    note = section_of(tmp_path, made).tables[0].note
    assert note.endswith("Trained on cuda:0. Warning of the fit: beta is flat: train longer.")


def test_repeated_text_has_a_row_for_each_share_and_sampler(tmp_path, whole):
    rows = table_of(section_of(tmp_path, whole), "less text")
    assert [row[0] for row in rows[:3]] == [
        f"DataLoader, shuffled, {share}" for share in ("1/2", "1/4", "1/8")
    ]
    assert len(rows) == 6


def test_figures_say_in_words_what_they_show(tmp_path, whole):
    plots = section_of(tmp_path, whole, figures=True).plots
    assert len(plots) == 4
    assert "law" in plots[0].alt
    assert "its prediction of the last point (95 % interval 0.21" in plots[1].caption
    assert "off by 1.25" in plots[1].caption
    assert "Dashed" not in plots[2].caption  # no law was fitted there
    assert "bytes right, 40 to 90 samples are needed" in plots[3].caption
    caption = plots[3].caption.replace("\xa0", " ")
    assert "20.0 % to 40.0 % for all of them (95 % interval), which holds the 31.0 %" in caption
    assert all("python-docs" in plot.caption for plot in plots)


def test_a_target_beyond_the_data_has_no_number_of_samples(tmp_path, whole):
    records = [*whole[:-1], inference_record(needed_high=None)]
    caption = section_of(tmp_path, records, figures=True).plots[3].caption.replace("\xa0", " ")
    assert "at least 40 samples are needed, and the data do not say how many suffice" in caption
    assert "with 32, 5 % to 80.0 % of the places have one" in caption


def test_a_ledger_without_pass_at_k_is_shown_without_it(tmp_path, whole):
    old = inference_record()
    old["series"].pop("by_pass")
    assert len(section_of(tmp_path, [*whole[:-1], old], figures=True).plots) == 3


def test_finding_names_the_interval_and_the_noise_of_seeds(tmp_path, whole):
    run = load.Run.read(write_ledger(tmp_path / "run", whole), "run")
    (found,) = [f for f in findings.find(run) if f.topic == "scaling"]
    assert "was stated before the held-out size was trained" in found.detail
    assert "Seeds of one size differ by" in found.detail


def test_prediction_without_interval_says_so(tmp_path, whole):
    gone = {"predicted_low": None, "predicted_high": None, "interval_holds": None}
    changed = [
        r | {"metrics": r["metrics"] | gone} if r["group"] == "scaling" else r for r in whole
    ]
    intro = section_of(tmp_path, changed).intro
    assert "no interval could be given" in intro
    assert "no interval to hold" in intro


def test_ladder_without_its_target_is_shown_without_an_outcome(tmp_path, whole):
    rungs = [r for r in whole if r["group"] in ("rung", None)]
    reason = "runs not finished: width 32 seed 0"
    lost = skip("bench_scaling::test_predict[x]", reason, group="prediction")
    section = section_of(tmp_path, [*rungs, lost], figures=True)
    assert "interval" not in section.intro
    assert len(section.plots) == 1
    assert "law" not in section.plots[0].caption


def test_run_in_which_every_rung_failed_says_so(tmp_path):
    lost = [
        record(f"bench_scaling::test_rung[{i}]", group="rung", status="failed", reason="no memory")
        for i in range(2)
    ]
    assert "2 cases failed or did not run" in section_of(tmp_path, [environment(), *lost]).missing


def test_records_without_parameters_or_numbers_do_not_stop_the_report(tmp_path, whole):
    bare = [r | {"params": {}} if r["record"] == "case" else r for r in whole]
    empty = [r | {"metrics": {}, "series": {}} if r["record"] == "case" else r for r in whole]
    for name, records in (("bare", bare), ("empty", empty)):
        run = load.Run.read(write_ledger(tmp_path / name, records), name)
        assert "Scaling" in page.render([run], "html")[0]


def test_ledger_without_a_ladder_has_no_section(tmp_path):
    assert section_of(tmp_path, standard_ledger()) is None


def test_page_shows_the_section_in_both_forms(tmp_path, whole):
    run = load.Run.read(write_ledger(tmp_path / "run", whole), "run")
    for form in ("html", "md"):
        assert "What loss would a larger model reach?" in page.render([run], form)[0]
