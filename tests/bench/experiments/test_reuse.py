"""From scratch, fine-tuned and as published: what is planned, what it costs, which one is best."""

import math
import shlex
from dataclasses import fields, replace

import pytest

from bench.experiments.reuse import Option, decide
from bench.ledger.schema import SERIES
from bench.suite.plan import Plan
from bench.suite.reuse import NOT_GIVEN, REUSE, Published
from gptcore.cost import ACCELERATORS, MFU
from gptcore.model.config import PRESETS, ModelConfig
from tests.helpers.reuse_ledgers import published_case, run_case

SCRATCH = (10.8, 6.0, 5.0)
CPU = {"cpu": ("fp32",)}


def options(*records):
    return [Option.of(record, PRESETS["gpt2"]) for record in records]


def series(name, *records):
    return decide(options(*records)).series[name]


def reuse_of(suite, published=None):
    return Plan(suite, CPU, ("a",), published=published or Published()).reuse


def test_id_of_a_score_says_its_protocol():
    case = reuse_of("study").scores()[0]
    for each in fields(case):
        value = getattr(case, each.name)
        other = value + "x" if isinstance(value, str) else (value or 0) + 1
        assert (replace(case, **{each.name: other}).id != case.id) == (each.name != "cost_s")
    assert "-context256-stride128-no_bos-cleaned" in case.id


@pytest.mark.parametrize("suite", REUSE)
def test_without_weights_their_cases_are_planned_and_cost_no_time(suite):
    cases = reuse_of(suite)
    assert {case.model for case in cases.scores()} == {NOT_GIVEN}
    assert {c.cost_s for c in [*cases.scores(), *cases.runs()] if c.model == NOT_GIVEN} == {0}
    assert {case.model for case in cases.runs()} == {"gptcore", NOT_GIVEN}


@pytest.mark.parametrize("folder", [".", "w", "/home/me/w", "~/w", "a b"])
@pytest.mark.parametrize("joined", [True, False])
def test_command_names_weights_without_their_folder(folder, joined):
    option = [f"--pretrained={folder}"] if joined else ["--pretrained", folder]
    command = shlex.join(["pytest", *option, "--corpus=w.txt", "-k", "a.b"])
    assert Published("x").without_folder(command) == ("pytest --pretrained=x --corpus=w.txt -k a.b")


def test_planned_time_grows_with_the_published_model():
    times = [
        sum(case.cost_s for case in reuse_of("study", Published("x", PRESETS[name])).runs())
        for name in ("gpt2", "gpt2-xl")
    ]
    assert times[1] > 5 * times[0]


def test_published_model_is_scored_at_the_context_of_the_runs_and_at_its_own():
    contexts = [case.context for case in reuse_of("study", Published("x")).scores()]
    assert contexts == [256, 1024]
    assert {case.block_size for case in reuse_of("study").runs()} == {256}


def test_published_weights_cost_no_training():
    (row,) = series("reuse_options", run_case("gptcore", SCRATCH), published_case(3.5))[1:]
    assert (row["option"], row["model"]) == ("published", "gpt2")
    assert row["tokens"] == row["flops"] == row["money"] == row["time_s"] == 0


def test_money_is_flops_over_the_peak_and_its_use_times_the_price():
    (row,) = series("reuse_options", run_case("gptcore", SCRATCH))
    config = ModelConfig(block_size=256, n_layer=1, n_head=2, n_embd=32)
    weights = 12 * 32**2 + 50_257 * 32
    flops = 2_000 * (6 * weights + 12 * config.n_layer * 32 * 256)
    assert row["flops"] == flops
    h100 = ACCELERATORS["h100"]
    hours = flops / (h100.peaks["bf16"] * MFU.value.mid) / 3600
    assert math.isclose(row["hours"], hours)
    assert math.isclose(row["money"], hours * h100.hour.value.mid)
    assert row["money_low"] < row["money"] < row["money_high"]
    assert row["time_s"] == 2_000 / 500


@pytest.mark.parametrize(("joules", "kwh"), [(None, None), (1.8e6, 0.5)])
def test_energy_is_that_of_counters_or_missing(joules, kwh):
    (row,) = series("reuse_options", run_case("gptcore", SCRATCH, energy_j=joules))
    assert row["energy_kwh"] == kwh


def test_gap_to_the_best_option_has_an_interval_over_the_text():
    rows = series("reuse_options", run_case("gptcore", SCRATCH, 0.03), published_case(3.5))
    worse, best = rows
    assert best["behind"] == 0
    assert best["behind_low"] is None
    assert math.isclose(worse["behind"], 1.5)
    assert worse["behind_low"] < 1.5 < worse["behind_high"]


def test_choices_are_the_lowest_loss_for_so_much_cost_or_less():
    rows = series(
        "reuse_choice",
        run_case("gptcore", SCRATCH),
        published_case(3.5),
        run_case("gpt2", (3.5, 3.6, 3.2)),
    )
    assert [(row["option"], row["tokens"]) for row in rows] == [
        ("published", 0),
        ("fine_tuned", 2_000),  # after 1,000 tokens it is worse than the published weights
    ]


def test_model_from_scratch_is_chosen_until_a_better_one_is_paid_for():
    rows = series("reuse_choice", run_case("gptcore", SCRATCH), run_case("gpt2", (12.0, 9.0, 3.2)))
    assert [row["option"] for row in rows] == ["scratch", "fine_tuned"]
    assert rows[0]["flops"] < rows[1]["flops"]


@pytest.mark.parametrize(
    ("published", "slope", "side"),
    [(3.5, 0.01, "reusing"), (6.5, 0.01, "building"), (4.9, 0.05, None)],
)
def test_every_reason_has_a_number_and_a_loss_speaks_for_the_lower_one(published, slope, side):
    alone = series("reuse_reasons", run_case("gptcore", SCRATCH))
    compared = series(
        "reuse_reasons", run_case("gptcore", SCRATCH, slope), published_case(published)
    )
    assert all(any(c.isdigit() for c in row["figure"]) for row in compared)
    assert [row["about"] for row in compared if row not in alone] == ([side] if side else [])
    sides = [row["about"] for row in compared]
    assert sides == sorted(sides)


def test_rows_have_the_columns_of_the_schema():
    found = decide(options(run_case("gptcore", SCRATCH), published_case(3.5)))
    assert [text.partition(":")[0] for text in found.facts["sources"]] == [
        "Model FLOPs utilization of large training runs", "One hour of one H100"
    ]  # fmt: skip
    for name, rows in found.series.items():
        assert {tuple(row) for row in rows} == {SERIES[name]}
