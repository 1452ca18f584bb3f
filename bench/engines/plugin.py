"""Runs the cases that train or count as tasks of a cluster, within a session of pytest.

pytest goes through the cases in their order, as without a cluster. A case that is a task is
submitted with all others that are ready; when pytest reaches it, it waits until the case has ended.
The record of a task is written as soon as the session has its answer, whatever pytest waits for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import NoReturn

import pytest

from bench.engines.cluster import Cluster
from bench.engines.task import Job, Outcome
from bench.measuring.work import Result
from bench.session import Session
from bench.suite.catalog import TIMELESS
from bench.suite.engine import TASKS, is_task
from bench.suite.items import case_id, case_of
from gptcore.files import WriteError, write_whole
from gptcore.plain_text import in_one_line, shorten
from gptcore.streams import what_is_wrong


class OnCluster:
    """The plugin of a session with a cluster, which it joins when the first task is ready."""

    def __init__(
        self, session: Session, items: list[pytest.Item], say: Callable[[str], None]
    ) -> None:
        self._session, self._say = session, say
        self._cluster: Cluster | None = None
        named = {case_id(item): item for item in items if case_of(item)}
        self._left = {n: i for n, i in named.items() if not session.ledger.finished(n)}
        self._submitted: dict[str, pytest.Item] = {}
        self._outcomes: dict[str, Outcome] = {}

    @pytest.hookimpl(tryfirst=True)
    def pytest_pyfunc_call(self, pyfuncitem: pytest.Function) -> bool | None:
        """Wait for the outcome of a task in place of calling its function."""
        name = case_id(pyfuncitem)
        if not is_task(name):
            self._left.pop(name, None)
            self._before_a_local_case(name)
            return None
        if name not in self._submitted:
            self._submit_ready(name)
        self._collect_until(lambda: name in self._outcomes)
        outcome = self._outcomes[name]
        if outcome.status == "skipped":
            pytest.skip(str(outcome.reason))
        if outcome.status == "failed":
            pytest.fail(str(outcome.reason), pytrace=False)
        return True

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self) -> None:
        """Take the last answers, and leave the cluster before the ceilings are measured again."""
        if self._cluster:
            try:
                self._collect_ended()
            finally:
                self._cluster.close()

    def _before_a_local_case(self, name: str) -> None:
        """Take the answers that are there; all of them before a case with a time."""
        if self._cluster is None:
            return
        if name.partition("[")[0] in TIMELESS:
            self._collect_ended()
        else:
            cluster = self._cluster
            self._collect_until(lambda: not cluster.pending)

    def _submit_ready(self, reached: str) -> None:
        """Submit the case that pytest has reached, and all tasks that wait for no other case."""
        cluster = self._cluster = self._cluster or self._join()
        awaited = {name.partition("[")[0] for name in self._left}
        for name, item in list(self._left.items()):
            if name == reached or (is_task(name) and _needed(name) not in awaited):
                cluster.submit(self._job(name, item))
                self._submitted[name] = self._left.pop(name)

    def _join(self) -> Cluster:
        engine = self._session.engine
        try:
            cluster = Cluster(engine, self._say)
        except ValueError as error:
            self._end(str(error))
        self._say(f"cases that claim no time run as tasks on {cluster.size} ({engine})")
        return cluster

    def _end(self, why: str) -> NoReturn:
        """End the session in one line, where no other case could run either."""
        pytest.exit(in_one_line(f"{why}{self._session.how_to_resume}"), returncode=2)

    def _job(self, name: str, item: pytest.Item) -> Job:
        session, case = self._session, case_of(item)
        assert case is not None
        records, needed = session.ledger.records, _needed(name)
        return Job(
            name=name,
            case=case,
            plan=session.plan,
            arguments=session.arguments,
            loss=session.fingerprint["loss"],
            records={n: r for n, r in records.items() if n.partition("[")[0] == needed},
            folder=session.ledger.folder.resolve(),
            created_at=session.ledger.manifest["created_at"],
            working_folder=item.config.invocation_params.dir,
        )

    def _collect_until(self, done: Callable[[], bool]) -> None:
        """Write the records of tasks as they end, until `done`."""
        while not done():
            assert self._cluster is not None, "a task is submitted before it is waited for"
            assert self._cluster.pending, "what is waited for has not ended"
            self._write_all(self._cluster.answers())

    def _collect_ended(self) -> None:
        """Write the records of the tasks that have ended by now."""
        while self._cluster and self._cluster.pending and (ended := self._cluster.ended()):
            self._write_all(ended)

    def _write_all(self, ended: Iterable[tuple[str, Outcome]]) -> None:
        for name, outcome in ended:
            try:
                self._write(name, outcome)
                self._outcomes[name] = outcome
            except (OSError, WriteError) as error:
                self._end(what_is_wrong(error))
            except ValueError as error:  # it violates the format of a record
                line = shorten(f"ValueError: {error}", 300)
                self._outcomes[name] = replace(outcome, status="failed", reason=line)
                self._write(name, replace(self._outcomes[name], result=Result(), models={}))

    def _write(self, name: str, outcome: Outcome) -> None:
        """Write the record of a task, as a case of this process would have it."""
        session, item = self._session, self._submitted[name]
        case, marker = case_of(item), item.get_closest_marker("benchmark")
        assert case is not None
        assert marker is not None, "every benchmark names its group"
        if outcome.status == "refused":
            self._end(str(outcome.reason))
        if outcome.status == "skipped":
            session.skip(name, str(outcome.reason))
            return
        for file, content in outcome.models.items():
            write_whole(session.ledger.folder / "models" / file, content)
        times = (outcome.started_at, outcome.duration_s, outcome.reason)
        session.append(name, marker.kwargs["group"], case, outcome.result, *times)


def _needed(name: str) -> str | None:
    """Return the benchmark that a task waits for, None where there is none."""
    return TASKS[name.partition("[")[0]]
