import re

import pytest

from bench.ledger.schema import SERIES
from bench.measuring.workloads import change, find_case, work_of
from bench.pairing.operands import EXAMPLE
from bench.suite.cases import CoverageCase, ModelCase, PairCase
from bench.suite.catalog import CASES
from bench.suite.inputs import Inputs
from bench.suite.plan import Plan
from tests.helpers.checkout import ROOT

CORPUS = "python-docs"
SMALL = ModelCase(CORPUS, "model3", "cpu", "fp32", 2, 64, "step")


@pytest.fixture(scope="module")
def inputs():
    return Inputs([CORPUS])


TIMED = (
    "bench_model::test_forward",
    "bench_model::test_forward_loss",
    "bench_model::test_step",
    "bench_loading::test_load",
    "bench_coverage::test_ledger",
)


@pytest.mark.parametrize("test", TIMED)
def test_timed_benchmark_can_be_built_alone(inputs, test):
    plan = Plan("smoke", {"cpu": ("fp32",)}, (CORPUS,))
    case = next(iter(CASES[test](plan)), SMALL)
    work_of(test, case, inputs).call(lambda _phase: None)


def test_step_built_alone_marks_the_phases_of_a_step(inputs):
    phases = []
    work_of("bench_model::test_step", SMALL, inputs).call(phases.append)
    assert phases == ["data", "forward", "loss", "backward", "optimizer"]


def test_benchmark_that_times_nothing_is_refused(inputs):
    case = CoverageCase(CORPUS, "sequential", False, 1)
    with pytest.raises(ValueError, match="cannot be timed"):
        work_of("bench_coverage::test_coverage", case, inputs)


def test_case_is_found_by_its_id():
    name = f"bench_model::test_step[{SMALL.id}]"
    assert find_case(name, (CORPUS,)) == ("bench_model::test_step", SMALL)


def test_unknown_case_is_answered_with_the_closest():
    with pytest.raises(ValueError, match=r"the closest are .*model3-cpu-fp32-B2-T64-seed0"):
        find_case(f"bench_model::test_step[{SMALL.id}x]", (CORPUS,))


@pytest.mark.parametrize(
    ("setting", "name", "value"),
    [("precision=bf16", "precision", "bf16"), ("batch_size=4", "batch_size", 4)],
)
def test_one_parameter_changes_and_the_others_stay(setting, name, value):
    changed = change(SMALL, setting)
    assert getattr(changed, name) == value
    assert change(changed, f"{name}={getattr(SMALL, name)}") == SMALL


def test_truth_values_are_read_as_such():
    case = CoverageCase(CORPUS, "sequential", False, 1)
    assert change(case, "drop_last=true").drop_last is True


@pytest.mark.parametrize(
    "setting", ["precision", "cost_s=3", "work=forward", "colour=red", "batch_size=many"]
)
def test_setting_that_means_nothing_is_refused(setting):
    with pytest.raises(ValueError, match=r"give (one of corpus, model|a value of type int)"):
        change(SMALL, setting)


def test_params_of_a_pair_hold_those_of_its_base():
    from bench.suite.catalog import params

    pair = PairCase(SMALL, "precision=bf16", 1, 2.0)
    assert params(pair)["base"]["model"] == "model3"
    assert "cost_s" not in str(params(pair))


def documented_cases():
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    text = "\n".join([EXAMPLE, *(page.read_text(encoding="utf-8") for page in pages)])
    return sorted(set(re.findall(r"bench_\w+::test_\w+\[[^]…]+\]", text)))


@pytest.mark.parametrize("name", documented_cases())
def test_case_named_in_the_documentation_exists(name):
    plan = Plan("standard", {"cpu": ("fp32", "bf16")}, (CORPUS,))
    test = name.partition("[")[0]
    assert name in {f"{test}[{case.id}]" for case in CASES[test](plan)}


def test_tests_named_in_the_documentation_exist():
    pages = "\n".join(page.read_text(encoding="utf-8") for page in (ROOT / "docs").rglob("*.md"))
    named = set(re.findall(r"\b(test_\w+)(?=`|\[)", pages))
    sources = [*(ROOT / "tests").rglob("*.py"), *(ROOT / "bench").rglob("bench_*.py")]
    code = "\n".join(source.read_text(encoding="utf-8") for source in sources)
    assert len(named) > 40
    assert named - SERIES.keys() - set(re.findall(r"def (test_\w+)\(", code)) == set()
