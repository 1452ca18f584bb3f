"""The session's side of a Ray cluster: it connects, submits cases as tasks, and takes the answers.

Ray's own packages for sweeps are not used, because they keep a state of their own. Here the ledger
is the only state, and the session its only writer (docs/decisions/0056-cases-as-tasks.md).
"""

from __future__ import annotations

import os
import signal
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from bench.engines.task import Job, Outcome, run_case
from bench.measuring.environment import ROOT
from gptcore.plain_text import shorten

RETRIES = 3
"""How often a task begins again whose worker or node has been lost."""
QUIET_S = 60
"""Seconds without an answer after which a line says what the session waits for."""
LEFT_OUT = ["/.?*", "/docs", "/tests", "/reports", "/results", "/runs", "/build", "/dist"]
"""What the copy of the checkout that the workers run does not hold, as lines of a .gitignore. The
first pattern needs its question mark, because Ray asks it about the checkout itself, as "."."""


class Cluster:
    """A Ray cluster and the tasks of one session in it.

    Args:
        engine: as `check_engine` allows (bench/suite/engine.py).
        say: prints a line about what is waited for.

    Raises:
        ValueError: the cluster cannot be joined.
    """

    def __init__(self, engine: str, say: Callable[[str], None]) -> None:
        self._say = say
        self._names: dict[Any, str] = {}
        with _undisturbed():
            import ray

            self._ray = ray
            address = engine.removeprefix("ray").removeprefix("://")
            try:
                ray.init(
                    address=address or "local",
                    runtime_env={"working_dir": str(ROOT), "excludes": LEFT_OUT},
                    log_to_driver=False,
                    logging_level="CRITICAL",
                    **({} if address else {"include_dashboard": False}),
                )
            except Exception as error:  # of many kinds, by Ray's part that has failed
                raise ValueError(f"the Ray cluster cannot be joined: {_line(error)}") from None
            self._run = ray.remote(num_cpus=1, max_retries=RETRIES)(run_case)

    @property
    def size(self) -> str:
        """Return how many CPUs and nodes the cluster has now, in words."""
        nodes = sum(node["Alive"] for node in self._ray.nodes())
        cpus = self._ray.cluster_resources().get("CPU", 0)
        return f"{cpus:g} CPUs of {nodes} node{'s' * (nodes != 1)}"

    @property
    def pending(self) -> int:
        """Return how many tasks have given no answer yet."""
        return len(self._names)

    def submit(self, job: Job) -> None:
        """Give a case to the cluster, which runs it as soon as a CPU is free."""
        with _undisturbed():
            self._names[self._run.remote(job)] = job.name

    def answers(self) -> Iterator[tuple[str, Outcome]]:
        """Wait for the next answers; yield the id and the outcome of each case that has ended."""
        quiet_since = time.monotonic()
        while self._names:
            with _undisturbed():
                ready, _ = self._ray.wait(list(self._names), timeout=0.5)  # lets signals through
                for task in ready:
                    yield self._names.pop(task), self._outcome(task)
            if ready:
                return
            if time.monotonic() - quiet_since > QUIET_S:
                self._say(f"waiting for {self.pending} cases on {self.size}")
                quiet_since = time.monotonic()

    def _outcome(self, task: Any) -> Outcome:
        try:
            outcome = self._ray.get(task)
        except self._ray.exceptions.RayTaskError as error:
            return Outcome("failed", f"its node could not begin it: {_line(error.cause)}")
        except self._ray.exceptions.RayError as error:
            lost = f"the task was lost {RETRIES + 1} times"
            return Outcome("failed", f"{lost}: {type(error).__name__}: {_line(error)}")
        assert isinstance(outcome, Outcome)
        return outcome

    def close(self) -> None:
        """Leave the cluster, which ends the tasks that still run; a local cluster ends as well."""
        with _undisturbed():
            self._ray.shutdown()


def _line(error: BaseException) -> str:
    """Return the first line of an error of Ray, whose messages are long."""
    return shorten(str(error).strip().partition("\n")[0], 200)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Keep what Ray does to its process away from the session: signals, warnings, reports home."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for number, action in before.items():
            signal.signal(number, action)
