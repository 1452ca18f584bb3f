"""Fixtures and hooks of the benchmarks: their cases, `measure`, records and progress lines."""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from bench.engines.plugin import OnCluster
from bench.experiments.verdicts import statement
from bench.ledger.ledger import file_name
from bench.ledger.record import utc_now
from bench.measuring import profiling
from bench.measuring.measure import Measure
from bench.measuring.processes import measure_in_processes
from bench.measuring.work import Result, Work
from bench.session import Session
from bench.suite.catalog import CASES, TIMELESS, params
from bench.suite.engine import is_task
from bench.suite.items import case_id, case_of
from bench.suite.outcome_cases import DesignCase
from bench.suite.plan import Plan
from bench.suite.sizes import SUITES
from conftest import SESSION, OneLine
from gptcore.console import Progress, clock
from gptcore.plain_text import shorten, visible

RESULT: pytest.StashKey[Result] = pytest.StashKey()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give each benchmark its cases from the plan, or from a nominal one when not measuring."""
    if "case" not in metafunc.fixturenames:
        return
    session = metafunc.config.stash.get(SESSION, None)
    suite = metafunc.config.option.suite
    if session is None and suite not in SUITES:
        known = ", ".join(SUITES)
        pytest.exit(f"suite {shorten(suite)!r} is unknown: choose one of {known}", 2)
    plan = session.plan if session else Plan(suite, {"cpu": ("fp32", "bf16")}, ("python-docs",))
    name = f"{metafunc.module.__name__.rpartition('.')[2]}::{metafunc.function.__name__}"
    metafunc.parametrize("case", CASES[name](plan), ids=lambda case: case.id)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Run what -k has selected in the order of CASES, as far as this machine is fast enough.

    The cases that an earlier session finished are skipped.
    """
    order = list(CASES)
    items.sort(key=lambda item: _rank(case_id(item), order))
    session = config.stash.get(SESSION, None)
    if session is None:
        return
    session.leave_out({case_id(item) for item in items})
    config.hook.pytest_deselected(items=[i for i in items if case_id(i) in session.left_out])
    items[:] = [item for item in items if case_id(item) not in session.left_out]
    for item in items:
        if session.ledger.finished(case_id(item)):
            item.add_marker(pytest.mark.skip(reason="finished in an earlier session"))


def _rank(name: str, order: list[str]) -> int:
    test = name.partition("[")[0]
    return order.index(test) if test in order else -1


@pytest.fixture(scope="session")
def session(request: pytest.FixtureRequest) -> Session:
    """Return the open session."""
    if SESSION not in request.config.stash:
        pytest.skip("benchmarks need --benchmark-only")
    return request.config.stash[SESSION]


@pytest.fixture
def result(request: pytest.FixtureRequest) -> Result:
    """Return the result of this case, which becomes its record."""
    result = Result()
    request.node.stash[RESULT] = result
    return result


@pytest.fixture
def measure(
    request: pytest.FixtureRequest, benchmark: Any, result: Result, session: Session
) -> Measure:
    """Return the function that times the work of this case."""
    suite = SUITES[session.plan.suite]
    name, case = case_id(request.node), case_of(request.node)
    test = name.partition("[")[0]
    processes = suite.processes
    task = (test, case, session.arguments, processes, suite.round_budget_s / processes)

    def traced(work: Work) -> tuple[list[dict[str, Any]], Path]:
        path = session.ledger.folder / "traces" / file_name(name, profiling.SUFFIX)
        return profiling.trace(work, path), path

    return Measure(
        benchmark,
        result,
        suite.round_budget_s,
        ceilings=session.ceilings_of,
        in_processes=lambda: measure_in_processes(*task),
        trace=traced if session.trace else None,
    )


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, Any, Any]:
    """Write the record of a case as soon as the case ends, whether it passed or not.

    The record of a task of a cluster is written when its answer comes (bench/engines).
    """
    session = pyfuncitem.config.stash.get(SESSION, None)
    case = case_of(pyfuncitem)
    if (
        session is None
        or case is None
        or (session.engine != "local" and is_task(case_id(pyfuncitem)))
    ):
        return (yield)
    benchmark: Any = pyfuncitem.funcargs["benchmark"]
    benchmark.extra_info |= params(case)
    name, group = case_id(pyfuncitem), benchmark.group
    started_at, start = utc_now(), time.perf_counter()
    try:
        outcome = yield
    except pytest.skip.Exception as skipped:
        session.skip(name, skipped.msg or "skipped")
        raise
    except Exception as error:
        reason = shorten(f"{type(error).__name__}: {error}".splitlines()[0], 300)
        duration_s = time.perf_counter() - start
        session.append(name, group, case, Result(), started_at, duration_s, reason)
        raise
    duration_s = time.perf_counter() - start
    session.append(name, group, case, pyfuncitem.stash[RESULT], started_at, duration_s)
    return outcome


class CaseLines:
    """Progress lines: the case that runs, how many are left, and the time that they will take."""

    def __init__(self, session: Session, reporter: Any, items: list[pytest.Item]) -> None:
        self._session = session
        self._reporter = reporter
        self._capture = reporter.config.pluginmanager.getplugin("capturemanager")
        slowdown = 1 / min(1.0, session.plan.speed)
        self._costs_s = {
            item.nodeid: case.cost_s * slowdown
            for item in items
            if (case := case_of(item)) and not session.ledger.finished(case_id(item))
        }
        self._total = len(self._costs_s)
        self._designs = [case for item in items if isinstance(case := case_of(item), DesignCase)]
        self._planned_s = sum(self._costs_s.values())
        self._progress = Progress("planned second", pace_s=1.0, few=10)
        self._started = time.perf_counter()
        reporter.showfspath = False

    def _line(self, text: str, **markup: bool) -> None:
        self._reporter.write_line(visible(text), **markup)

    def say(self, text: str) -> None:
        """Print a line at once, even while pytest keeps back what a case prints."""
        capture = self._capture
        with capture.global_and_fixture_disabled() if capture else nullcontext():
            self._line(text)
            self._reporter.flush()  # a pipe would keep the line back

    def _to_go(self) -> str:
        left_s = sum(self._costs_s.values())
        return clock(self._progress.to_go_s(self._planned_s - left_s, self._planned_s))

    def announce(self) -> None:
        """Print what is about to run, and where the results go."""
        session, line = self._session, self._line
        verb = "resuming" if session.ledger.resumed else "running"
        line(
            f"{verb} suite {session.plan.suite} on {', '.join(session.devices)}, "
            f"{f'model {session.own.name}, ' if session.own else ''}"
            f"corpus {', '.join(session.corpora)}, {session.threads} threads: {self._total} cases, "
            f"about {self._to_go()}",
            bold=True,
        )
        folder = session.ledger.folder
        line(f"results: {folder} (Ctrl-C and --results={folder} resume it)")
        if session.left_out:
            line(
                f"this machine trains at {session.plan.speed:.2f} of the reference speed: "
                f"{len(session.left_out)} cases, the last of the suite, are left out",
                yellow=True,
            )
        for design in self._designs:
            line(statement(design))
        if moved := session.ledger.moved:
            more = f" and {len(moved) - 3} more" if len(moved) > 3 else ""
            what = "; ".join(line.removeprefix("time.") for line in moved[:3])
            line(f"another environment than before: {what}{more}; times are not compared")
        for warning in session.ledger.warnings:
            line(f"warning: {warning}", yellow=True)
        self._reporter.flush()

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """Print the case that starts, and the time that the rest will take at the speed so far."""
        if nodeid not in self._costs_s:
            return
        done = self._total - len(self._costs_s) + 1
        self.say(
            f"[{done:>{len(str(self._total))}}/{self._total}] "
            f"{clock(time.perf_counter() - self._started):>5} gone, "
            f"{self._to_go():>5} to go · {nodeid.rpartition('/')[2]}"
        )

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count the case as done; print the reason if it failed."""
        if report.failed:
            crash = getattr(report.longrepr, "reprcrash", None)
            reason = crash.message.partition("\n")[0] if crash else str(report.when)
            self._line(f"failed: {reason.removeprefix('Failed: ')}", red=True)
        if report.when == "teardown":
            self._costs_s.pop(report.nodeid, None)

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_teststatus(self, report: pytest.TestReport) -> tuple[str, str, str] | None:
        """Suppress the dots of pytest, but keep its counts at the end."""
        if report.when == "call" or report.outcome != "passed":
            category = "error" if report.failed and report.when != "call" else report.outcome
            return category, "", ""
        return None


@pytest.hookimpl(trylast=True)
def pytest_collection_finish(session: pytest.Session) -> None:
    """Register the progress lines and print what is about to run."""
    measuring = session.config.stash.get(SESSION, None)
    if measuring is None:
        return
    cases = [case_id(item) for item in session.items if case_of(item)]
    with OneLine.errors():
        measuring.ledger.check_timeless(cases, TIMELESS)
    manager = session.config.pluginmanager
    lines = CaseLines(measuring, manager.getplugin("terminalreporter"), session.items)
    manager.register(lines, "gptcore-progress")
    lines.announce()
    if measuring.engine != "local":
        session.config.addinivalue_line("filterwarnings", "ignore:Benchmark fixture was not used")
        manager.register(OnCluster(measuring, session.items, lines.say), "gptcore-cluster")
