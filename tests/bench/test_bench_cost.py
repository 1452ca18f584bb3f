"""What the cost benchmarks are made of: turns, exponents, conditions, compiled cases."""

import gc
import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from bench import bench_cost, bench_model
from bench.bench_cost import exponents, time_in_turns
from bench.ledger.schema import METRICS, SERIES
from bench.measuring.work import Result
from bench.measuring.workloads import work_of
from bench.suite.cases import ConditionsCase, GrowthCase, ModelCase
from bench.suite.inputs import Inputs
from bench.suite.plan import Plan
from gptcore.model.config import PRESETS
from gptcore.model.flops import forward_flops, training_flops
from gptcore.training.config import COMPILERS

CPU = torch.device("cpu")
CASE = ModelCase("python-docs", "model3", "cpu", "fp32", 2, 16, "step")


class Pedantic:
    """Stands in for pytest-benchmark."""

    def pedantic(self, function, args, rounds):
        assert rounds == 1
        return function(*args)


def test_every_round_holds_all_calls_and_begins_with_another():
    order = []
    calls = {name: lambda name=name: order.append(name) for name in "abc"}
    times = time_in_turns(calls, CPU, budget_s=1e-9)
    assert times.shape == (5, 3)
    assert "".join(order) == "abc" + "abc" + "bca" + "cab" + "abc" + "bca"


def test_times_stand_in_the_column_of_their_call():
    """A call is told by its length: 0.2 s against nothing, however the rounds begin."""

    def slow():
        time.sleep(0.2)

    times = time_in_turns({"fast": lambda: None, "slow": slow}, CPU, budget_s=1e-9)
    assert (times[:, 1] >= 0.2).all()
    assert (times[:, 0] < 0.2).all()


def test_exponent_of_a_power_law_is_its_power_in_each_round():
    sizes = (1, 2, 4, 8)
    times = np.array([[3.0 * n**1.5 for n in sizes], [0.1 * n**0.5 for n in sizes]])
    assert exponents(sizes, times) == pytest.approx([1.5, 0.5])


@pytest.fixture
def small(monkeypatch):
    small = replace(bench_cost.BASE, vocab_size=64, block_size=16, n_layer=1, n_embd=16)
    monkeypatch.setattr(bench_cost, "BASE", small)
    monkeypatch.setitem(PRESETS, "small", small)
    gc.freeze()  # to collect what the process has loaded takes longer than these steps
    yield
    gc.unfreeze()


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("dimension", ["batch_size", "block_size", "n_embd", "n_layer"])
def test_growth_is_stored_with_interval_and_flops(dimension):
    result = Result()
    case = GrowthCase(dimension, "cpu", "fp32", (4, 8), 1e-3)
    bench_cost.test_growth(Pedantic(), result, case)
    metrics = result.metrics
    assert metrics["exponent_low"] <= metrics["exponent"] <= metrics["exponent_high"]
    assert 0.5 < metrics["flops_exponent"] <= 2
    assert [tuple(row) for row in result.series["cost_curve"]] == 2 * [SERIES["cost_curve"]]
    assert metrics.keys() <= METRICS.keys()


@pytest.mark.usefixtures("small")
def test_flops_double_with_the_batch():
    result = Result()
    bench_cost.test_growth(
        Pedantic(), result, GrowthCase("batch_size", "cpu", "fp32", (1, 2), 1e-3)
    )
    assert result.metrics["flops_exponent"] == pytest.approx(1)


@pytest.mark.usefixtures("small")
def test_conditions_are_ratios_to_the_first_of_their_round():
    result, threads = Result(), torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        bench_cost.test_conditions(Pedantic(), result, ConditionsCase("small", "cpu", 1, 16, 1e-3))
        assert torch.get_num_threads() == 2, "one_thread is put back"
    finally:
        torch.set_num_threads(threads)
    rows = {row["condition"]: row for row in result.series["conditions"]}
    assert rows["fp32"]["ratio"] == rows["fp32"]["ratio_low"] == rows["fp32"]["ratio_high"] == 1
    assert {"bf16", "gradients", "last_logits", "one_thread"} <= rows.keys()
    assert all(row["ratio_low"] <= row["ratio"] <= row["ratio_high"] for row in rows.values())
    assert result.metrics["flops"] == forward_flops(PRESETS["small"], 1, 16)


@pytest.mark.parametrize(
    ("work", "formula"), [("step", training_flops), ("forward", forward_flops)]
)
def test_counted_flops_are_those_of_the_formula(work, formula):
    config = replace(PRESETS["model3"], block_size=16)
    counted = bench_model._count_flops(replace(CASE, work=work), config)
    assert counted == formula(config, CASE.batch_size, CASE.block_size)


def test_compiled_case_names_it_and_runs_compiled(monkeypatch):
    monkeypatch.setitem(COMPILERS, "inductor", {"backend": "aot_eager"})  # makes no kernels: fast
    case = replace(CASE, compile="inductor")
    assert "-fp32-inductor-B2" in case.id
    assert CASE.id.replace("fp32", "fp32-inductor") == case.id
    before = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    work = work_of("bench_model::test_step", case, Inputs(["python-docs"]))
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] > before
    compiled = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    work.call(lambda _phase: None)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == compiled, "nothing is left"


def test_case_that_cannot_be_compiled_is_skipped_with_the_reason(monkeypatch):
    def fail(*_):
        raise ValueError("torch.compile failed (no compiler); install one")

    monkeypatch.setattr(bench_model, "prepare", fail)
    case = replace(CASE, compile="inductor")
    with pytest.raises(ValueError, match=r"cannot run on this machine: torch\.compile failed"):
        work_of("bench_model::test_step", case, Inputs(["python-docs"]))


def test_compiled_inference_is_left_to_the_warm_up(monkeypatch):
    monkeypatch.setitem(COMPILERS, "inductor", {"backend": "eager"})  # makes no kernels: fast
    before = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    case = replace(CASE, compile="inductor", work="forward")
    work = work_of("bench_model::test_forward", case, Inputs(["python-docs"]))
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == before
    work.call(lambda _phase: None)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == before + 1


def test_study_times_medium_precision_and_compiled_models():
    plan = Plan("study", {"cpu": ("fp32", "bf16", "medium")}, ("python-docs",))
    cases = plan.models()
    assert {case.precision for case in cases} == {"fp32", "bf16", "medium"}
    assert {case.compile for case in cases} == {"", "inductor"}
    standard = Plan("standard", {"cpu": ("fp32", "bf16", "medium")}, ("python-docs",))
    assert {case.precision for case in standard.models()} == {"fp32", "bf16"}
