"""Runs the cases that depend on no other one as tasks of a cluster, within a session of pytest.

pytest goes through the cases in their order, as without a cluster. A case that is a task is
submitted with all others that are ready; when pytest reaches it, it waits until the case has ended.
The record of a task is written as soon as its answer is there, whatever pytest waits for.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bench.engines.cluster import Cluster
from bench.engines.task import Job, Outcome
from bench.session import Session
from bench.suite.catalog import TIMELESS
from bench.suite.engine import INDEPENDENT, is_task
from bench.suite.items import case_id, case_of
from gptcore.files import write_whole


class OnCluster:
    """The plugin of a session with a cluster, which it joins when the first task is ready."""

    def __init__(
        self, session: Session, items: list[pytest.Item], say: Callable[[str], None]
    ) -> None:
        self._session, self._say = session, say
        self._cluster: Cluster | None = None
        named = {case_id(item): item for item in items if case_of(item)}
        self._left = {n: i for n, i in named.items() if not session.ledger.finished(n)}
        for item in filter(lambda item: is_task(case_id(item)), items):
            item.add_marker(pytest.mark.filterwarnings("ignore:Benchmark fixture was not used"))
        self._submitted: dict[str, pytest.Item] = {}
        self._outcomes: dict[str, Outcome] = {}

    @pytest.hookimpl(tryfirst=True)
    def pytest_pyfunc_call(self, pyfuncitem: pytest.Function) -> bool | None:
        """Wait for the outcome of a task in place of calling its function."""
        name = case_id(pyfuncitem)
        if not is_task(name):
            if name.partition("[")[0] not in TIMELESS:
                self._collect_until(lambda: not (self._cluster and self._cluster.pending))
            self._left.pop(name, None)
            return None
        if name not in self._submitted:
            self._submit_ready()
        self._collect_until(lambda: name in self._outcomes)
        outcome = self._outcomes[name]
        if outcome.status == "skipped":
            pytest.skip(str(outcome.reason))
        if outcome.status == "failed":
            pytest.fail(str(outcome.reason), pytrace=False)
        return True

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self) -> None:
        """Leave the cluster before the ceilings are measured again."""
        if self._cluster:
            self._cluster.close()

    def _submit_ready(self) -> None:
        """Submit the tasks whose condition no longer waits for a case of the session."""
        if self._cluster is None:
            engine = self._session.engine
            self._cluster = Cluster(engine, self._say)
            self._say(f"cases without a time run as tasks on {self._cluster.size} ({engine})")
        awaited = {name.partition("[")[0] for name in self._left}
        for name, item in list(self._left.items()):
            if is_task(name) and INDEPENDENT[name.partition("[")[0]] not in awaited:
                self._cluster.submit(self._job(name, item))
                self._submitted[name] = self._left.pop(name)

    def _job(self, name: str, item: pytest.Item) -> Job:
        session, case = self._session, case_of(item)
        assert case is not None
        needed = INDEPENDENT[name.partition("[")[0]]
        records = session.ledger.records
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
            for name, outcome in self._cluster.answers():
                self._write(name, outcome)

    def _write(self, name: str, outcome: Outcome) -> None:
        session, item = self._session, self._submitted[name]
        case, marker = case_of(item), item.get_closest_marker("benchmark")
        assert case is not None
        assert marker is not None, "every benchmark names its group"
        for file, content in outcome.models.items():
            write_whole(session.ledger.folder / "models" / file, content)
        if outcome.status == "skipped":
            session.skip(name, str(outcome.reason))
        else:
            times = (outcome.started_at, outcome.duration_s, outcome.reason)
            session.append(name, marker.kwargs["group"], case, outcome.result, *times)
        self._outcomes[name] = outcome
