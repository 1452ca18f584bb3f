"""Which cases of a plan run on one machine: all of them, or fewer if the machine is slow.

Sizes never change with the speed, so a case id means the same work on every machine. A machine that
is too slow leaves whole cases out, the last ones first. Only the cases that `-k` selects count, and
they may take the time of the whole suite. What belongs together goes together: the
seeds of an experiment with its comparisons, since a comparison of fewer seeds is another one, while
the first seed stays to show what is learned; the folds of a text; a ladder with its prediction; and
the runs on repeated text with the question that they answer.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable

from bench.ledger.record import NOT_RUN
from bench.suite.cases import ModelCase
from bench.suite.catalog import CASES, Case
from bench.suite.plan import Plan
from bench.suite.sizes import SUITES
from bench.suite.training_cases import LadderCase, RungCase, TrainCase

PATIENCE = 3
"""A suite may take this many times its planned time. So much room is left that a load at the start
of a run, when the speed is measured, hardly ever changes what runs."""


def planned(plan: Plan) -> dict[str, Case]:
    """Return id → case of every case of a plan, in the order in which they run."""
    return {f"{test}[{case.id}]": case for test, make in CASES.items() for case in make(plan)}


def left_out(plan: Plan, chosen: Collection[str] | None = None) -> dict[str, str]:
    """Return id → reason of the cases that would exceed the time of the suite on this machine.

    Args:
        plan: the suite on this machine.
        chosen: ids of the cases that are asked for; None is all of the plan.
    """
    if not SUITES[plan.suite].limited:
        return {}
    every = planned(plan)
    cases = {name: every[name] for name in every if chosen is None or name in chosen}
    wholes: dict[Hashable, list[str]] = {}
    for name in _by_importance(plan, cases):
        key = _whole(name, cases[name])
        wholes[key] = [*wholes.pop(key, []), name]  # a whole stands where its last case stands
    allowed_s = sum(case.cost_s for case in every.values()) * min(1.0, PATIENCE * plan.speed)
    spent_s, dropped = 0.0, set[str]()
    for i, names in enumerate(wholes.values()):
        spent_s += sum(cases[name].cost_s for name in names)
        if i and (dropped or spent_s > 1.000001 * allowed_s):  # the first one always runs
            dropped.update(names)
    return {name: _reason(plan, cases[name]) for name in cases if name in dropped}


def _by_importance(plan: Plan, cases: Iterable[str]) -> list[str]:
    """Return the model cases as the suite lists them, and then the others as they run."""
    models = [f"bench_model::test_{case.work}[{case.id}]" for case in plan.models()]
    chosen = [name for name in models if name in set(cases)]
    return [*chosen, *(name for name in cases if name not in set(chosen))]


def _whole(name: str, case: Case) -> Hashable:
    """Return a key that is equal for the cases that are left out together."""
    test = name.partition("[")[0]
    if test == "bench_position::test_fold":
        return test, getattr(case, "corpus", None)
    if experiment := getattr(case, "experiment", None):
        return experiment, isinstance(case, TrainCase) and case.seed == 0
    if isinstance(case, RungCase):
        kind = case.sampler if test.endswith("test_repeated") else "ladder"
        return case.corpus, kind
    if isinstance(case, LadderCase):
        known = {
            "bench_scaling::test_repeat": case.question,
            "bench_scaling::test_recommendation": "r",
        }
        return case.corpus, known.get(test, "ladder")
    return name


def _reason(plan: Plan, case: Case) -> str:
    what = "it" if isinstance(case, (ModelCase, TrainCase, RungCase)) else "it or its runs"
    return (
        f"{NOT_RUN}{what} would exceed the suite's time, {PATIENCE} times the planned one, because "
        f"this machine trains at {plan.speed:.2f} of the reference speed; --suite=smoke takes less"
    )
