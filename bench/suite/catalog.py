"""Which cases each benchmark runs: a new benchmark adds one line to CASES."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict

from bench.suite import ladder, training_cases
from bench.suite.cases import (
    ConditionsCase,
    ConvexCase,
    CountingCase,
    CoverageCase,
    DataLoaderCase,
    GrowthCase,
    LoadingCase,
    ModelCase,
    PackingCase,
    PairCase,
    PositionCase,
)
from bench.suite.devices import DEVICES, DevicesCase
from bench.suite.outcome_cases import CompareCase, DesignCase, OutcomeCase
from bench.suite.own_cases import OwnCases
from bench.suite.plan import Plan
from bench.suite.reuse import DecisionCase, ReuseCases, ScoreCase
from bench.suite.training_cases import TrainCase

Case = (
    ModelCase
    | CoverageCase
    | DataLoaderCase
    | PackingCase
    | CountingCase
    | PositionCase
    | LoadingCase
    | TrainCase
    | DesignCase
    | CompareCase
    | ConvexCase
    | OutcomeCase
    | PairCase
    | training_cases.RungCase
    | training_cases.LadderCase
    | training_cases.InferenceCase
    | GrowthCase
    | ConditionsCase
    | ScoreCase
    | DecisionCase
    | DevicesCase
)


def params(case: Case) -> dict[str, object]:
    """Return the parameters of a case as its record holds them."""
    named = {k: v for k, v in asdict(case).items() if k not in ("cost_s", "seed")}
    if named.get("variant") == "gptcore":
        del named["variant"]
    if isinstance(case, PairCase):
        named["base"] = params(case.base) | {"seed": case.base.seed}
    if isinstance(case, training_cases.InferenceCase):
        named["model"] = params(case.model) | {"seed": case.model.seed}
    if isinstance(case, TrainCase):
        del named["varied"]
        for name in training_cases.SELDOM - set(case.varied):
            if named[name] == getattr(TrainCase, name):
                del named[name]
        varied = " ".join(case.varied)
        named |= {"experiment": case.experiment, "arm": case.arm, "differs_in": varied}
    return named


Cases = Callable[[Plan], Iterable[Case]]


def _own(make: Callable[[OwnCases], Iterable[Case]]) -> Cases:
    """Return the cases of a benchmark on the user's own model: none without one."""
    return lambda plan: make(plan.own_cases) if plan.own_cases else []


def _reuse(make: Callable[[ReuseCases], Iterable[Case]]) -> Cases:
    """Return the cases of a benchmark on published weights: none in a suite without them."""
    return lambda plan: make(plan.reuse) if plan.reuse else []


def _ours(make: Cases) -> Cases:
    """Return the cases of a benchmark on gptcore: none in a run on the user's own model."""
    return lambda plan: [] if plan.own_cases else make(plan)


_ALL: dict[str, Cases] = {
    # The findings of the checks come first: what follows may rest on a faulty model.
    "bench_own::test_checks": _own(OwnCases.checks),
    "bench_own::test_step": _own(OwnCases.steps),
    "bench_own::test_pair": _own(OwnCases.pairs),
    "bench_own::test_peak": _own(OwnCases.peaks),
    "bench_own::test_loader": _own(OwnCases.loader),
    "bench_model::test_forward": lambda plan: plan.model_cases("forward"),
    "bench_model::test_forward_loss": lambda plan: plan.model_cases("forward_loss"),
    "bench_model::test_step": lambda plan: plan.model_cases("step"),
    "bench_model::test_forward_backward": lambda plan: plan.model_cases("forward_backward"),
    "bench_model::test_decode": lambda plan: plan.model_cases("decode"),
    "bench_pair::test_pair": Plan.pair_cases,
    "bench_peers::test_peer": Plan.peer_cases,
    "bench_peers::test_ablation": Plan.ablation_cases,
    "bench_peers::test_peak": Plan.peak_cases,
    "bench_cost::test_growth": Plan.growth_cases,
    "bench_cost::test_conditions": Plan.conditions_cases,
    "bench_loading::test_load": Plan.loading_cases,
    # Cases with times come before those that may run as tasks of a cluster.
    "bench_coverage::test_ledger": Plan.counting_cases,
    "bench_coverage::test_coverage": Plan.coverage_cases,
    "bench_loaders::test_dataloader": Plan.dataloader_cases,
    "bench_packing::test_packing": Plan.packing_cases,
    "bench_position::test_position": Plan.position_cases,
    "bench_position::test_fold": Plan.fold_cases,
    # The order matters: what the experiment can find is on disk before it runs.
    "bench_convergence::test_design": Plan.design_cases,
    "bench_convergence::test_train": Plan.train_cases,
    "bench_convergence::test_compare": Plan.compare_cases,
    "bench_convex::test_convex": Plan.convex_cases,
    "bench_convergence::test_outcome": Plan.outcome_cases,
    # The order matters: the prediction is on disk before the held-out size is trained.
    "bench_scaling::test_rung": ladder.rung_cases,
    "bench_scaling::test_predict": ladder.predict_cases,
    "bench_scaling::test_target": ladder.held_out_cases,
    "bench_scaling::test_scaling": ladder.scaling_cases,
    "bench_scaling::test_recommendation": ladder.recommendation_cases,
    "bench_scaling::test_repeated": ladder.repeated_cases,
    "bench_scaling::test_repeat": ladder.repeat_cases,
    "bench_inference::test_inference": ladder.inference_cases,
    "bench_distributed::test_scaling": lambda plan: DEVICES.get(plan.suite, ()),
    "bench_reuse::test_published": _reuse(ReuseCases.scores),
    "bench_reuse::test_train": _reuse(ReuseCases.runs),
    "bench_reuse::test_decision": _reuse(ReuseCases.decisions),
}
_WITH_OWN = ("bench_own", "bench_convergence")
"""The benchmarks of a run on the user's own model."""
CASES = {
    name: make if name.partition("::")[0] in _WITH_OWN else _ours(make)
    for name, make in _ALL.items()
}
"""Benchmark → the function that returns its cases for a plan, in the order in which they run."""

TIMELESS = frozenset(
    f"bench_{name}"
    for name in (
        "coverage::test_coverage", "loaders::test_dataloader", "packing::test_packing",
        "position::test_position", "position::test_fold",
        "convergence::test_design", "convergence::test_train", "convergence::test_compare",
        "convex::test_convex",
        "convergence::test_outcome", "own::test_checks", "own::test_loader",
        "scaling::test_rung", "scaling::test_predict", "scaling::test_target",
        "scaling::test_scaling", "scaling::test_recommendation", "scaling::test_repeated",
        "scaling::test_repeat", "reuse::test_published", "reuse::test_train",
        "reuse::test_decision",
    )
)  # fmt: skip
"""The benchmarks whose results are losses and counts; their times are not compared."""
