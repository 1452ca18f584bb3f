"""The user's own model file: its sizes, its batches, and the cases of a run on it."""

import sys

import pytest
import torch
from torch import nn

from bench.suite.catalog import CASES
from bench.suite.own import OwnModel, config_of, shape_name, sizes_of
from bench.suite.own_cases import Planned
from bench.suite.plan import Plan
from bench.suite.sizes import SUITES
from tests.helpers.own_files import FIXED, FULL_MASK, GET_BATCH, write_model


@pytest.fixture
def load(tmp_path, monkeypatch):
    """Return a function that writes a model file and loads it; sys.path is put back."""
    monkeypatch.setattr(sys, "path", sys.path[:])
    return lambda *names, **changes: OwnModel.load(write_model(tmp_path, *names, **changes))


def cases_of(plan):
    return {name: list(make(plan)) for name, make in CASES.items()}


def test_a_file_is_named_without_its_path(load, tmp_path):
    own = load("my-model v2.py")
    assert own.name == "my_model_v2.py"
    assert own.without_path(f"{tmp_path}/my-model v2.py fails") == "my_model_v2.py fails"
    assert len(own.sha256) == 64


def test_sizes_are_taken_or_fixed(load):
    assert load().sizes is None
    fixed = load(make=FIXED)
    assert fixed.sizes == {"n_layer": 2, "n_head": 4, "n_embd": 16}
    model = fixed.build(config_of("L2-H4-C16", 31, 8), seed=1)
    assert model.config.dropout == 0.1
    assert model(torch.zeros(1, 8, dtype=torch.int64)).shape == (1, 8, 31)


def test_a_seed_gives_the_weights_and_leaves_the_global_generator(load):
    own, config = load(), config_of("L1-H2-C8", 11, 8)
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    a, b, c = (own.build(config, seed) for seed in (1, 1, 2))
    assert torch.equal(torch.rand(1), expected)
    first, second, third = (next(m.parameters()) for m in (a, b, c))
    assert torch.equal(first, second)
    assert not torch.equal(first, third)


def test_sizes_of_a_model_that_names_none_are_read_from_its_modules():
    blocks = nn.ModuleList([nn.Linear(128, 128) for _ in range(3)])
    model = nn.ModuleDict({"embedding": nn.Embedding(7, 128), "blocks": blocks})
    assert sizes_of(model) == {"n_layer": 3, "n_head": 2, "n_embd": 128}
    with pytest.raises(ValueError, match="the width of Linear cannot be found"):
        sizes_of(nn.Linear(2, 2))


def test_a_shape_is_written_and_read():
    sizes = {"n_layer": 6, "n_head": 6, "n_embd": 384}
    config = config_of(shape_name(sizes), 65, 32)
    assert (config.n_layer, config.n_head, config.n_embd) == (6, 6, 384)
    assert (config.vocab_size, config.block_size) == (65, 32)
    assert config_of(shape_name(sizes | {"vocab_size": 97}), 65, 32).vocab_size == 97
    assert config_of("model4", 65, 32).vocab_size == 65
    with pytest.raises(ValueError, match=r"'L6-H6': choose one of model1, .*, or L6-H6-C384"):
        config_of("L6-H6", 65, 32)


def test_a_model_with_a_fault_of_causality_is_barred_in_one_line(load):
    assert load().why_not() is None
    reason = load("leaky.py", mask=FULL_MASK).why_not()
    assert "leaky.py is not compared, because the check causality found a fault" in reason
    assert reason.endswith("gptcore check leaky.py explains it")
    assert "\n" not in reason


def test_batches_of_a_loader_are_checked(load):
    assert load().batch_shape is None
    assert load(more=GET_BATCH).batch_shape == (6, 40)
    without_part = GET_BATCH.replace("get_batch(split)", "get_batch()")
    assert load("plain.py", more=without_part).batch_shape == (6, 40)  # as gptcore audit takes it
    for body, said in (
        ("return 3", "fails"),
        ("raise SystemExit", "fails"),
        ("return torch.zeros(2, 4), torch.zeros(2, 3)", r"gives inputs of shape \(2, 4\)"),
        ("return torch.rand(2, 4), torch.zeros(2, 4)", "fails: .* returned x of float32"),
    ):
        own = load("odd.py", more=f"\n\ndef get_batch(split):\n    {body}\n")
        with pytest.raises(ValueError, match=f"get_batch of odd.py {said}"):
            own.batch()


@pytest.mark.parametrize("suite", SUITES)
def test_a_run_on_a_model_measures_it_alone_and_begins_with_its_checks(suite):
    own = Planned("mine.py", batch_shape=(6, 40))
    plan = Plan(suite, {"cpu": ("fp32", "bf16")}, ("python-docs",), own=own)
    found = {name: cases for name, cases in cases_of(plan).items() if cases}
    assert next(iter(found)) == "bench_own::test_checks"
    assert {name.partition("::")[0] for name in found} == {"bench_own", "bench_convergence"}
    planned_s = sum(case.cost_s for cases in found.values() for case in cases)
    assert planned_s < SUITES[suite].budget_s
    arms = {case.arm for case in found["bench_convergence::test_train"]}
    assert arms == {"gptcore-sampler", "mine.py-sampler", "mine.py-get_batch"}
    pairs = [(case.a, case.b) for case in found["bench_convergence::test_compare"]]
    assert pairs == [
        ("gptcore-sampler", "mine.py-sampler"), ("mine.py-sampler", "mine.py-get_batch")
    ]  # fmt: skip


def test_without_a_loader_the_models_alone_are_compared():
    sizes = {"n_layer": 2, "n_head": 4, "n_embd": 16}
    own = Planned("mine.py", sizes)
    plan = Plan("smoke", {"cpu": ("fp32",)}, ("python-docs",), own=own)
    found = cases_of(plan)
    assert found["bench_own::test_loader"] == []
    (case,) = found["bench_own::test_step"]
    assert (case.model, case.variant) == ("L2-H4-C16", "mine.py")
    arms = {run.arm: run for run in found["bench_convergence::test_train"]}
    assert list(arms) == ["gptcore", "mine.py"]
    assert {run.n_embd for run in arms.values()} == {16}


def test_a_run_without_a_model_has_no_cases_on_one():
    found = cases_of(Plan("smoke", {"cpu": ("fp32",)}, ("python-docs",)))
    assert not any(cases for name, cases in found.items() if name.startswith("bench_own"))
