"""The training experiments as they are planned: names, arms, contrasts, seeds and costs."""

import itertools

import pytest

from bench.experiments.outcomes import QUESTIONS
from bench.suite.catalog import CASES, params
from bench.suite.experiments import Experiment, arms_of, two_by_two
from bench.suite.plan import Plan
from bench.suite.sizes import SUITES
from bench.suite.training_cases import MEAN_OF, TrainCase
from gptcore.model.config import PRESETS
from gptcore.power import check_design
from gptcore.sampling.samplers import SAMPLERS
from reports import words

CPU = {"cpu": ("fp32", "bf16")}
TEXTS = ("python-docs",)
EXPERIMENTS = [(suite, each) for suite in SUITES for each in SUITES[suite].experiments]
BY_NAME = {(suite, each.name): each for suite, each in EXPERIMENTS}


def ids(suite):
    made = {test: list(make(Plan(suite, CPU, TEXTS))) for test, make in CASES.items()}
    return [f"{test}[{case.id}]" for test, cases in made.items() for case in cases]


@pytest.mark.parametrize("suite", SUITES)
def test_name_of_an_experiment_chooses_its_cases_alone(suite):
    everything = ids(suite)
    for name in [each.name for each in SUITES[suite].experiments]:
        chosen = [case for case in everything if name in case]
        assert all(f"[{name}-" in case for case in chosen), name


@pytest.mark.parametrize(("suite", "each"), EXPERIMENTS, ids=str)
def test_arms_set_the_same_fields_and_differ(suite, each):
    assert len({tuple(arm) for arm in each.arms}) == 1
    runs = each.runs(TEXTS)
    assert len({run.id for run in runs}) == len(runs)
    assert max(len(run.id) for run in runs) < 200  # a folder in the results has this name


@pytest.mark.parametrize(("suite", "each"), EXPERIMENTS, ids=str)
def test_planned_comparisons_can_find_something(suite, each):
    assert set(each.questions) <= QUESTIONS.keys()
    if each.comparisons and suite != "smoke":
        check_design(each.seeds, 2 * len(each.comparisons))


def test_experiment_of_a_study_takes_two_hours_at_most():
    for each in SUITES["study"].experiments:
        assert sum(run.cost_s for run in each.runs(TEXTS)) <= 2 * 3_600, each.name


def test_effects_of_two_factors_are_means_of_two_arms():
    each = Experiment("x", arms_of("sampler", "abcd"), seeds=20, comparisons=two_by_two())
    compared = [(case.a, case.b) for case in each.compared(TEXTS)]
    assert compared == [("a+b", "c+d"), ("a+c", "b+d"), ("a+d", "b+c")]
    assert {case.n_comparisons for case in each.compared(TEXTS)} == {3}
    for a, b in compared:
        assert {*a.split(MEAN_OF), *b.split(MEAN_OF)} == set("abcd")


def test_every_sampler_is_run_at_equal_tokens():
    each = BY_NAME["study", "every_order"]
    assert {arm["sampler"] for arm in each.arms} == set(SAMPLERS)


def test_orders_are_compared_where_all_four_cells_exist():
    for name in ("orders4", "orders16"):
        each = BY_NAME["study", name]
        assert bool(each.comparisons) == (len(each.arms) == 4)


def test_tutorial_writes_what_its_claims_depend_on():
    written = [case.id for case in BY_NAME["full", "tutorial"].runs(TEXTS)]
    assert all("-raw-" in case and "-bf16-" in case and "-init_" in case for case in written)
    assert all(part in TrainCase("x", "a", 0).id for part in ("-cleaned", "-fp32", "-init_gpt2"))


def test_ladder_has_the_shapes_of_the_presets():
    for case, i in zip(BY_NAME["study", "ladder"].runs(TEXTS), itertools.count(1), strict=False):
        if i > 5:
            break
        shape = PRESETS[f"model{i}"]
        names = ("n_layer", "n_head", "n_embd", "positions", "mlp")
        assert [getattr(case, name) for name in names] == [getattr(shape, name) for name in names]
        assert words.arm(case.arm).startswith(f"Model {i}, ")


def test_every_arm_has_words():
    for _, each in EXPERIMENTS:
        for case in each.runs(TEXTS)[: len(each.arms)]:
            assert "_" not in words.arm(case.arm), case.arm


def test_record_names_the_fields_in_which_runs_differ():
    case = BY_NAME["study", "variance"].runs(TEXTS)[0]
    assert params(case)["differs_in"] == "order_seed split"
