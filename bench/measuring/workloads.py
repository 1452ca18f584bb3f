"""Finds a case by its id, and builds the work of a case without timing it.

A benchmark hands its work to `measure`. `work_of` calls the benchmark with a `measure` that only
keeps the work. So every timed case can be built again elsewhere: in a new process
(`bench.measuring.processes`), or beside another one (`bench.pairing.pair`).
"""

from __future__ import annotations

import dataclasses
import difflib
import importlib
import inspect
import tempfile
import typing
from pathlib import Path
from typing import Any

import pytest

from bench.measuring.work import Result, Work
from bench.suite.catalog import CASES, Case
from bench.suite.inputs import Inputs
from bench.suite.plan import Plan
from bench.suite.sizes import SUITES
from gptcore.devices import choose_devices


class _Keep:
    """Replaces `measure`: it keeps the work instead of timing it."""

    work: Work | None = None

    def __call__(self, work: Work) -> None:
        self.work = work


def work_of(test: str, case: Case, inputs: Inputs) -> Work:
    """Return what `test` (as in "bench_model::test_step") would time for `case`.

    Raises:
        ValueError: the benchmark is not timed, or it cannot run on this machine.
    """
    module, _, name = test.partition("::")
    function = getattr(importlib.import_module(f"bench.{module}"), name)
    keep = _Keep()
    known: dict[str, Any] = {
        "measure": keep,
        "benchmark": None,
        "result": Result(),
        "session": inputs,
        "case": case,
    }
    names = inspect.signature(function).parameters
    if "measure" not in names:
        raise ValueError(f"{test} cannot be timed: choose a case of bench_model or bench_loading")
    with tempfile.TemporaryDirectory() as folder:
        known["tmp_path"] = Path(folder)
        if missing := [name for name in names if name not in known]:
            raise ValueError(f"{test} cannot be built by itself: it needs {', '.join(missing)}")
        try:
            function(**{name: known[name] for name in names})
        except pytest.skip.Exception as skipped:
            raise ValueError(f"{test} cannot run on this machine: {skipped.msg}") from None
    assert keep.work, f"{test} never called measure"
    return keep.work


def plans(corpora: tuple[str, ...]) -> list[Plan]:
    """Return the plan of each suite on the devices of this machine."""
    devices = choose_devices(None)
    return [Plan(suite, devices, corpora) for suite in SUITES]


def find_case(case_id: str, corpora: tuple[str, ...]) -> tuple[str, Case]:
    """Return the test and the case of an id such as "bench_model::test_step[…]".

    Args:
        case_id: id of a case, as a ledger has it.
        corpora: names of the texts.

    Raises:
        ValueError: no suite has this case; the message names the closest ids.
    """
    cases = {
        f"{test}[{case.id}]": (test, case)
        for plan in plans(corpora)
        for test, make in CASES.items()
        for case in make(plan)
    }
    if case_id not in cases:
        close = difflib.get_close_matches(case_id, cases, n=3, cutoff=0.0)
        raise ValueError(f"no suite has the case {case_id!r}: the closest are {', '.join(close)}")
    return cases[case_id]


def change(case: Case, settings: str) -> Case:
    """Return `case` with parameters changed, as in "precision=bf16" or "variant=plain,seed=1".

    Raises:
        ValueError: a setting is not name=value, the case has no such parameter, or the value has
            another type.
    """
    for setting in settings.split(","):
        case = _change_one(case, setting)
    return case


def _change_one(case: Case, setting: str) -> Case:
    name, equals, value = setting.partition("=")
    types = typing.get_type_hints(type(case))
    # `work` only names the benchmark: a changed value would still time the same work.
    names = [f.name for f in dataclasses.fields(case) if f.name not in ("cost_s", "work")]
    if not equals or name not in names:
        raise ValueError(f"{setting!r}: give one of {', '.join(names)} as name=value")
    convert = {int: int, float: float, bool: {"true": True, "false": False}.__getitem__}
    try:
        changed = convert.get(types[name], str)(value)  # type: ignore[operator]
    except (ValueError, KeyError):
        kind = getattr(types[name], "__name__", str(types[name]))
        raise ValueError(f"{name} is {value!r}: give a value of type {kind}") from None
    return dataclasses.replace(case, **{name: changed})
