"""The benchmarks of peers, ablation and peaks; what can be asked of cases with a variant."""

from types import SimpleNamespace

import pytest
import torch

from bench import bench_peers
from bench.bench_peers import test_peak as run_peak_case
from bench.bench_peers import test_peer as run_peer_case
from bench.ledger.schema import METRICS
from bench.measuring.work import ProcessTimes, Result
from bench.measuring.workloads import change, work_of
from bench.suite.cases import ModelCase, PairCase
from bench.suite.catalog import params
from bench.suite.inputs import Inputs
from bench.suite.plan import Plan
from bench.suite.sizes import SUITES
from bench.variants import base, pieces, registry

CORPUS = "python-docs"
SMALL = ModelCase(CORPUS, "model3", "cpu", "fp32", 1, 16, "step")
CPU = {"cpu": ("fp32", "bf16")}

run_peak_case.__test__ = run_peer_case.__test__ = False


@pytest.fixture(scope="module")
def inputs():
    return Inputs([CORPUS])


class Pedantic:
    def pedantic(self, target, args, rounds):
        assert rounds == 1
        return target(*args)


def test_id_and_record_of_ours_are_what_they_were():
    assert SMALL.id == "python-docs-model3-cpu-fp32-B1-T16-seed0"
    assert "variant" not in params(SMALL)


def test_variant_is_in_the_id_and_the_record():
    plain = change(SMALL, "variant=plain")
    assert plain.id == f"{SMALL.id}-plain"
    assert params(plain)["variant"] == "plain"


def test_several_parameters_change_at_once():
    changed = change(SMALL, "variant=plain,precision=bf16")
    assert (changed.variant, changed.precision) == ("plain", "bf16")
    case = PairCase(SMALL, "variant=plain,precision=bf16", 1, 2.0)
    assert "-vs-variant-plain-precision-bf16-" in case.id
    with pytest.raises(ValueError, match="give one of corpus"):
        change(SMALL, "variant=plain,")


@pytest.mark.parametrize("work", ["forward", "forward_loss", "step", "forward_backward"])
def test_work_of_a_variant_can_be_built_alone(inputs, work):
    case = change(SMALL, "variant=plain")
    marked = []
    work_of(f"bench_model::test_{work}", case, inputs).call(marked.append)
    assert marked == {
        "step": ["data", "forward", "loss", "backward", "optimizer"],
        "forward_backward": ["forward", "backward"],
    }.get(work, [])


@pytest.mark.parametrize("variant", ["gptcore", "plain", "transformers"])
def test_decoding_writes_half_a_window_after_the_other_half(inputs, variant):
    work = work_of("bench_model::test_decode", change(SMALL, f"variant={variant}"), inputs)
    assert work.tokens == 8
    assert work.call(lambda _: None).shape == (1, 16)


def test_text_of_another_model_is_refused_before_it_is_timed(inputs, monkeypatch):
    monkeypatch.setattr(base.FullLogits, "decode", lambda _self, ids, _n: ids)
    with pytest.raises(AssertionError, match="plain generates another text than gptcore"):
        work_of("bench_model::test_decode", change(SMALL, "variant=plain"), inputs)


@pytest.mark.parametrize(
    ("setting", "reason"),
    [
        ("variant=nanogpt-style", "nanogpt-style cannot generate: choose gptcore, plain, "),
        ("precision=bf16", "set precision=fp32"),
    ],
)
def test_decoding_that_is_not_offered_is_skipped_with_a_reason(inputs, setting, reason):
    with pytest.raises(ValueError, match=reason):
        work_of("bench_model::test_decode", change(SMALL, setting), inputs)


def test_state_of_a_peer_is_put_back(inputs):
    work = work_of("bench_model::test_step", change(SMALL, "variant=transformers"), inputs)
    made = work.restore.__closure__
    (variant,) = (c.cell_contents for c in made if isinstance(c.cell_contents, base.Variant))
    before = variant.model.lm_head.weight.clone()
    work.call(lambda _: None)
    assert not torch.equal(variant.model.lm_head.weight, before)
    work.restore()
    assert torch.equal(variant.model.lm_head.weight, before)


def test_missing_peer_is_skipped_with_its_reason(monkeypatch):
    monkeypatch.setattr(bench_peers, "why_not", lambda name: f"{name} is not installed: get it")
    case = PairCase(SMALL, "variant=transformers", 1, 0.1)
    with pytest.raises(pytest.skip.Exception, match="transformers is not installed: get it"):
        run_peer_case(Pedantic(), Result(), None, case)
    with pytest.raises(pytest.skip.Exception, match="transformers is not installed: get it"):
        run_peak_case(Pedantic(), Result(), None, change(SMALL, "variant=transformers"))


def test_pair_with_a_variant_gives_a_ratio_with_an_interval(inputs):
    result = Result()
    run_peer_case(Pedantic(), result, inputs, PairCase(SMALL, "variant=plain", 1, 0.05))
    metrics = result.metrics
    assert metrics["ratio_low"] <= metrics["ratio"] <= metrics["ratio_high"]
    assert metrics["pairs"] >= 6
    assert METRICS.keys() >= metrics.keys()


def test_peak_is_read_in_a_new_process_of_the_variant(monkeypatch):
    asked = []

    def read_peak(test, case, arguments, processes, _budget_s):
        asked.append((test, case.variant, arguments, processes))
        return [ProcessTimes([0.1], {"base_bytes": 5, "peak_bytes": 7})]

    monkeypatch.setattr(bench_peers, "measure_in_processes", read_peak)
    case = change(SMALL, "variant=plain")
    case = ModelCase(**(vars(case) | {"work": "forward_backward"}))
    result, run = Result(), SimpleNamespace(arguments={"specs": ["a.txt"]})
    run_peak_case(Pedantic(), result, run, case)
    assert asked == [("bench_model::test_forward_backward", "plain", {"specs": ["a.txt"]}, 1)]
    assert result.metrics == {"base_bytes": 5, "peak_bytes": 7}


@pytest.mark.parametrize("suite", SUITES)
def test_cases_name_variants_that_exist(suite):
    plan = Plan(suite, CPU, (CORPUS,))
    named = [change(c.base, c.change).variant for c in plan.peer_cases() + plan.ablation_cases()]
    named += [c.variant for c in plan.peak_cases()]
    assert set(named) <= registry.VARIANTS.keys()


def test_standard_suite_compares_with_transformers_and_takes_each_piece_away():
    plan = Plan("standard", CPU, (CORPUS,))
    assert [(c.base.work, c.change) for c in plan.peer_cases()] == [
        ("step", "variant=transformers"),
        ("decode", "variant=transformers"),
    ]
    gone = {c.change.removeprefix("variant=without-") for c in plan.ablation_cases()}
    assert gone >= pieces.PIECES.keys() - {"bf16-products", "onednn-gelu"}


def test_study_takes_bf16_products_away_in_bf16_and_all_else_in_fp32():
    cases = Plan("study", CPU, (CORPUS,)).ablation_cases()
    gone = {c.change.removeprefix("variant=without-"): c.base.precision for c in cases}
    assert gone.keys() >= pieces.PIECES.keys()
    assert [name for name, precision in gone.items() if precision == "bf16"] == ["bf16-products"]


def test_pair_in_a_precision_that_a_device_lacks_is_left_out():
    cases = Plan("study", {"cpu": ("fp32",)}, (CORPUS,)).peer_cases()
    assert cases
    assert not any("bf16" in (c.base.precision + c.change) for c in cases)
