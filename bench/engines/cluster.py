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
from bench.measuring import pinning
from bench.measuring.environment import ROOT
from gptcore.plain_text import shorten

RETRIES = 3
"""How often a task begins again whose worker or node has been lost."""
QUIET_S = 60
"""Seconds without an answer after which a line says what the session waits for."""
SENT = ("bench", "gptcore")
"""The folders of the checkout that the workers get."""


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
        try:
            with _undisturbed(), pinning.unbound():
                self._join(engine.removeprefix("ray").removeprefix("://"))
        except SystemExit:  # Ray's own answer to SIGTERM; that of the session holds again
            signal.raise_signal(signal.SIGTERM)
            raise
        except Exception as error:  # of many kinds, by Ray's part that has failed
            raise ValueError(
                f"the Ray cluster cannot be joined: {_line(error)}; check that it runs, and "
                "that Python, Ray and RAY_AUTH_MODE (docs/scale.md) are the same on all machines"
            ) from None

    def _join(self, address: str) -> None:
        """Join the cluster at an address; "" starts one on this machine."""
        import ray

        self._ray = ray
        own = {"include_dashboard": False, "num_cpus": _cpus()}
        ray.init(
            address=address or "local",
            # The root, "", has to stay, so the first pattern asks for two characters.
            runtime_env={
                "working_dir": str(ROOT),
                "excludes": ["/??*", *(f"!/{name}{end}" for name in SENT for end in ("", "/**"))],
            },
            log_to_driver=False,
            logging_level="CRITICAL",
            **({} if address else own),
        )
        self._run = ray.remote(num_cpus=1, max_retries=RETRIES)(run_case)

    @property
    def size(self) -> str:
        """Return how many CPUs and nodes the cluster has now, in words."""
        with _undisturbed():
            nodes = sum(node["Alive"] for node in self._ray.nodes())
            cpus = self._ray.cluster_resources().get("CPU", 0)
        return f"{_several(cpus, 'CPU')} on {_several(nodes, 'node')}"

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
            if ended := self.ended(0.5):  # between two of these waits, signals are handled
                yield from ended
                return
            if time.monotonic() - quiet_since > QUIET_S:
                cases = _several(self.pending, "case")
                self._say(f"the session waits for {cases}; the cluster has {self.size}")
                quiet_since = time.monotonic()

    def ended(self, wait_s: float = 0.0) -> list[tuple[str, Outcome]]:
        """Return (id, outcome) of cases that have ended, after at most `wait_s` seconds."""
        with _undisturbed():
            ready, _ = self._ray.wait(list(self._names), timeout=wait_s)
            return [(self._names.pop(task), self._outcome(task)) for task in ready]

    def _outcome(self, task: Any) -> Outcome:
        try:
            outcome: Outcome = self._ray.get(task)
        except self._ray.exceptions.RayTaskError as error:  # `run_case` itself raises nothing
            node = getattr(error, "ip", "of a task")
            reason = f"the node {node} could not begin a case: {_line(error.cause or error)}"
            return Outcome("refused", f"{reason}; give it the packages of the session")
        except self._ray.exceptions.RayError as error:
            reason = f"Ray gave the task up, after {RETRIES} repetitions at most"
            return Outcome("failed", f"{reason}: {type(error).__name__}: {_line(error)}")
        return outcome

    def close(self) -> None:
        """Leave the cluster, which ends the tasks that still run; a local cluster ends as well."""
        with _undisturbed():
            self._ray.shutdown()


def _line(error: BaseException) -> str:
    """Return the first line of an error of Ray, whose messages are long."""
    return shorten(str(error).strip().partition("\n")[0], 200)


def _several(number: float, word: str) -> str:
    return f"{number:g} {word}{'s' * (number != 1)}"


def _cpus() -> int:
    """Return how many CPUs a cluster of this machine may use."""
    limit = pinning.cpu_limit()
    return max(1, len(pinning.allowed_cpus()) if limit is None else int(limit))


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
            if action is not None:  # it was not set by Python
                signal.signal(number, action)
