from dataclasses import fields, replace

import pytest

from bench.suite.catalog import CASES, params
from bench.suite.plan import Plan
from bench.suite.sizes import SUITES
from bench.suite.training_cases import TrainCase
from gptcore.paired import check_design

CPU = {"cpu": ("fp32", "bf16")}


def plan(suite="standard", **changes):
    return replace(Plan(suite, CPU, ("python-docs",)), **changes)


def all_cases(plan):
    return {f"{test}[{case.id}]": case for test, cases in CASES.items() for case in cases(plan)}


@pytest.mark.parametrize("suite", SUITES)
def test_case_ids_are_unique(suite):
    cases = plan(suite, corpora=("a", "b"))
    assert len(all_cases(cases)) == sum(len(list(make(cases))) for make in CASES.values())


@pytest.mark.parametrize("suite", SUITES)
def test_suite_fits_its_budget_on_the_reference_machine(suite):
    assert sum(c.cost_s for c in all_cases(plan(suite)).values()) <= SUITES[suite].budget_s


def test_case_id_holds_every_parameter():
    base = TrainCase("a", "sequential", 0)
    for field in fields(base):
        value = getattr(base, field.name)
        other = value + "x" if isinstance(value, str) else (value or 0) + 1
        other = not value if isinstance(value, bool) else other
        is_parameter = field.name != "cost_s"
        assert (replace(base, **{field.name: other}).id != base.id) == is_parameter, field.name


def test_record_parameters_leave_out_seed_and_cost():
    assert {"seed", "cost_s"}.isdisjoint(params(TrainCase("a", "sequential", 0)))


def test_standard_suite_measures_model5_itself():
    models = {(c.model, c.work) for c in plan().models()}
    assert {("model5", "step"), ("model5", "forward")} <= models


@pytest.mark.parametrize("suite", ["smoke", "standard", "study"])
def test_suite_times_something_against_itself(suite):
    first = plan(suite).pair_cases()[0]
    assert first.change == ""
    assert first.trials > 1


def test_pair_that_a_device_cannot_do_is_left_out():
    changes = [c.change for c in plan(devices={"cpu": ("fp32",)}).pair_cases()]
    assert "precision=bf16" not in changes
    assert "" in changes


def test_slow_machine_trains_on_fewer_tokens_and_leaves_the_last_models_out():
    slow, fast = plan(speed=0.3), plan()
    assert slow.train_cases()[0].n_tokens == fast.train_cases()[0].n_tokens // 2
    assert slow.left_out()
    assert not fast.left_out()
    kept = {c.id for c in slow.models()}
    assert all(case.split("[")[1].rstrip("]") for case, _ in slow.left_out())
    assert kept
    assert "0.30 of the reference speed" in slow.left_out()[0][1]


def test_faster_machine_runs_the_same_cases():
    assert all_cases(plan(speed=5.0)).keys() == all_cases(plan()).keys()


def test_noise_in_the_speed_does_not_change_the_cases():
    assert all_cases(plan(speed=0.7)).keys() == all_cases(plan()).keys()


def test_runs_are_paired_seed_by_seed():
    cases = plan().train_cases()
    n = len(SUITES["standard"].samplers)
    assert [c.seed for c in cases[: 2 * n]] == [0] * n + [1] * n


@pytest.mark.parametrize("suite", ["standard", "study"])
def test_planned_comparisons_can_find_something(suite):
    (design,) = plan(suite).design_cases()
    check_design(design.seeds, 2 * design.n_comparisons)
    assert design.prior_sd > 0


def test_standard_compares_random_windows_with_each_dataloader():
    pairs = [(c.a, c.b, c.seeds) for c in plan().compare_cases()]
    others = ("sequential", "shuffled_blocks")
    assert pairs == [("random_replacement", other, 8) for other in others]
    assert {c.target_epochs for c in plan().train_cases()} == {4.0}


def test_what_an_experiment_can_find_is_stated_before_its_runs():
    tests = list(CASES)
    assert tests.index("bench_convergence::test_design") < tests.index(
        "bench_convergence::test_train"
    )


def test_each_device_gets_its_precisions():
    cases = plan(devices={"cpu": ("fp32",), "cuda:0": ("fp32", "bf16")}).model_cases("step")
    assert {(c.device, c.precision) for c in cases} == {
        ("cpu", "fp32"),
        ("cuda:0", "fp32"),
        ("cuda:0", "bf16"),
    }


def test_model5_is_trained_on_the_slowest_machine_too():
    (case,) = plan(speed=0.01).models()
    assert (case.model, case.work) == ("model5", "step")
