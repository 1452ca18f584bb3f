from dataclasses import fields, replace

import pytest

from bench.suite.catalog import CASES, params
from bench.suite.choosing import PATIENCE, left_out
from bench.suite.plan import Plan
from bench.suite.sizes import SUITES
from bench.suite.training_cases import TrainCase
from gptcore.power import check_design

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


NOT_PARAMETERS = {"cost_s", "varied"}


def test_case_id_holds_every_parameter():
    base = TrainCase("samplers", "a", 0)
    for name in {field.name for field in fields(base)} - NOT_PARAMETERS:
        value = getattr(base, name)
        other = value + "x" if isinstance(value, str) else (value or 0) + 1
        other = not value if isinstance(value, bool) else other
        assert replace(base, **{name: other}).id != base.id, name
    assert replace(base, cost_s=9.0).id == base.id


def test_runs_of_one_experiment_differ_in_arm_and_seed_alone():
    for suite in SUITES:
        for case in plan(suite).train_cases():
            assert case.id == f"{case.experiment}-{case.arm}-seed{case.seed}"
            assert case.experiment.startswith(f"{case.name}-{case.corpus}-")


def test_record_parameters_leave_out_seed_and_cost():
    assert {"seed", "cost_s", "varied"}.isdisjoint(params(TrainCase("samplers", "a", 0)))


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


SPEEDS = (0.9, 0.34, 0.3, 0.25, 0.2, 0.15, 0.1, 0.01)


@pytest.mark.parametrize("suite", ["standard", "study"])
def test_speed_changes_no_size_and_what_is_left_is_the_beginning(suite):
    everything = all_cases(plan(suite))
    fewest = None
    for speed in SPEEDS:
        slow = plan(suite, speed=speed)
        assert all_cases(slow).keys() == everything.keys()
        dropped = left_out(slow)
        kept_s = sum(case.cost_s for name, case in everything.items() if name not in dropped)
        total_s = sum(case.cost_s for case in everything.values())
        first = plan(suite).models()[0]
        assert f"bench_model::test_{first.work}[{first.id}]" not in dropped
        assert kept_s <= max(first.cost_s, min(1, PATIENCE * speed) * total_s + 1e-3)
        assert fewest is None or fewest <= dropped.keys()
        fewest = dropped.keys()


def test_a_load_at_the_start_does_not_change_what_runs():
    assert not left_out(plan(speed=0.4))
    assert not left_out(plan(speed=5.0))


@pytest.mark.parametrize("suite", ["smoke", "full"])
def test_the_shortest_suite_and_the_run_of_the_tutorial_are_always_whole(suite):
    assert not left_out(plan(suite, speed=0.01))


@pytest.mark.parametrize("suite", ["standard", "study"])
@pytest.mark.parametrize("speed", SPEEDS)
def test_what_belongs_together_is_left_out_together(suite, speed):
    slow = plan(suite, speed=speed, corpora=("a", "b"))
    dropped = left_out(slow)

    def gone(test, **known):
        return {
            f"{test}[{case.id}]" in dropped
            for case in CASES[test](slow)
            if all(getattr(case, key) == value for key, value in known.items())
        }

    runs = [c for c in slow.train_cases() if c.seed > 0]
    for case in slow.compare_cases():
        same = {
            f"bench_convergence::test_train[{c.id}]" in dropped
            for c in runs
            if c.experiment == case.experiment
        }
        assert same == {f"bench_convergence::test_compare[{case.id}]" in dropped}
    assert len(gone("bench_position::test_fold")) == 1
    for corpus in slow.corpora:
        ladder = [
            gone(f"bench_scaling::test_{name}", corpus=corpus)
            for name in ("rung", "predict", "target", "scaling")
        ]
        assert len(set.union(*ladder)) == 1
        if ladder[0] == {True}:  # what needs the trained models goes before them
            assert gone("bench_inference::test_inference", corpus=corpus) == {True}
            assert gone("bench_scaling::test_recommendation", corpus=corpus) <= {True}
    assert len(gone("bench_scaling::test_repeated", sampler="random_replacement", corpus="a")) <= 1


def test_slow_machine_runs_an_experiment_that_is_asked_for_alone():
    slow = plan(speed=0.15)
    names = {f"bench_convergence::test_train[{case.id}]" for case in slow.train_cases()}
    assert names & left_out(slow).keys()
    assert not left_out(slow, names)
    assert not left_out(slow, {next(iter(names))})


@pytest.mark.parametrize("suite", SUITES)
def test_name_of_an_experiment_selects_its_cases_alone(suite):
    """-k NAME selects what has NAME anywhere in its id, in any case of letters."""
    everything = plan(suite)
    for experiment in (*SUITES[suite].experiments, *SUITES[suite].folds):
        found = {n for n in all_cases(everything) if experiment.name.lower() in n.lower()}
        assert found == {n for n in all_cases(everything) if f"[{experiment.name}-" in n}


def test_what_is_left_out_says_why():
    reasons = left_out(plan(speed=0.1))
    assert all(reason.startswith("not run: ") for reason in reasons.values())
    assert all("0.10 of the reference speed" in reason for reason in reasons.values())
    (compared,) = {r for name, r in reasons.items() if "test_compare" in name}
    assert "its runs" in compared


def test_runs_are_paired_seed_by_seed():
    cases = plan().train_cases()
    n = len(SUITES["standard"].experiments[0].arms)
    assert [c.seed for c in cases[: 2 * n]] == [0] * n + [1] * n


@pytest.mark.parametrize("suite", ["standard", "study"])
def test_planned_comparisons_can_find_something(suite):
    for design in plan(suite).design_cases():
        check_design(design.seeds, 2 * design.n_comparisons)
        assert design.prior_sd is None or design.prior_sd > 0


def test_standard_compares_random_windows_with_each_dataloader():
    pairs = [(c.a, c.b, c.seeds) for c in plan().compare_cases()]
    others = ("sequential-dataloader", "shuffled_blocks-dataloader")
    assert pairs == [("random_replacement-sampler", other, 8) for other in others]
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
