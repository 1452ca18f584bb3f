"""One case as a task: what a worker of the cluster needs for it, does, and gives back.

The code of this module runs in the process that Ray starts for the task, maybe on another machine.
It writes no ledger: what it found goes back to the session, which is the only writer.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import os
import platform
import tempfile
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bench.ledger.ledger import RUNS, differences, file_name
from bench.ledger.record import RUN_NAME, Record, utc_now
from bench.measuring import environment, pinning
from bench.measuring.work import Result
from bench.suite.catalog import Case
from bench.suite.inputs import Inputs
from bench.suite.plan import Plan
from gptcore.files import WriteError, lock_folder
from gptcore.plain_text import shorten
from gptcore.reading import read_json

SPEEDS = ("train_tokens_per_s", "energy_j")
"""Metrics that a task does not give: other tasks run beside it, and its machine may be another."""
LOCK_S = 60
"""Seconds that a task waits for the end of the process that had the same run before."""


@dataclass(frozen=True)
class Job:
    """What a worker needs to run one case.

    Attributes:
        name: the id of the case.
        case: its parameters.
        plan: the cases of the suite.
        arguments: those of the `Inputs` that the case uses, by name.
        loss: the part `loss` of the fingerprint of the run, which must hold on the worker too.
        records: id → record of the finished cases that the case reads.
        folder: the results folder, by its whole path.
        created_at: when the run in that folder began.
        working_folder: the folder in which the session runs, from which a user's file may read.
    """

    name: str
    case: Case
    plan: Plan
    arguments: dict[str, Any]
    loss: dict[str, Any]
    records: dict[str, Record]
    folder: Path
    created_at: str
    working_folder: Path


@dataclass(frozen=True)
class Outcome:
    """What a task gives back.

    Attributes:
        status: "ok", "failed", "skipped", or "refused" where the node cannot run cases.
        reason: why it is not "ok".
        result: what becomes the record of the case.
        started_at: when the task began, UTC.
        duration_s: seconds that the case took, without reading the texts.
        models: name → content of the files of weights that the case has left.
    """

    status: str
    reason: str | None = None
    result: Result = field(default_factory=Result)
    started_at: str = field(default_factory=utc_now)
    duration_s: float = 0.0
    models: dict[str, bytes] = field(default_factory=dict)


class NodeError(Exception):
    """A node cannot run the cases of this session."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f"the node {platform.node()} cannot run cases of this session: {shorten(what, 200)}; "
            "give every node the same texts at the same paths, and the same versions of packages"
        )


class _Once:
    """Stands for the benchmark of pytest-benchmark: it calls the function once, without a clock."""

    def pedantic(
        self,
        target: Callable[..., Any],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
        rounds: int = 1,  # noqa: ARG002  what pytest-benchmark's has
    ) -> Any:
        return target(*args, **(kwargs or {}))


class WorkerSession(Inputs):
    """What a case uses of its session: texts, plan, devices, finished records and folders."""

    def begin(self, job: Job, runs: Path, left: Path) -> None:
        """Make this the session of one case.

        Args:
            job: the case.
            runs: where training runs are kept.
            left: where the case leaves weights, in place of the results folder.
        """
        self.plan, self.devices = job.plan, {"cpu": job.plan.devices["cpu"]}
        self._runs = runs
        self.ledger = SimpleNamespace(
            folder=left, records=job.records, finished=lambda name: name in job.records
        )

    @functools.cached_property
    def loss(self) -> dict[str, Any]:
        """What of this node can change a loss or a count, as in the fingerprint of a run."""
        loss: dict[str, Any] = environment.fingerprint("", (), **self.hashes)["loss"]
        return loss

    def run_folder(self, case: Case) -> Path:
        """Return where a training run is kept."""
        return self._runs / file_name(case.id)


@functools.cache
def _session(specs: tuple[str, ...], model: str | None) -> WorkerSession:
    """Return the session of this process, which keeps its texts from one task to the next."""
    return WorkerSession(specs, model)


def run_case(job: Job) -> Outcome:
    """Run one case and return what it found; a fault of the case, or of the node, is part of that.

    As in the session's own process, warnings are errors while the case runs.
    """
    started_at, result, models = utc_now(), Result(), dict[str, bytes]()
    status, reason, start = "ok", None, time.perf_counter()
    try:
        with tempfile.TemporaryDirectory(prefix="gptcore-") as left:
            session = _prepare(job, Path(left))
            start = time.perf_counter()
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                _call(job, result, session)
            models = {path.name: path.read_bytes() for path in Path(left, "models").glob("*")}
    except pytest.skip.Exception as skipped:
        status, reason = "skipped", skipped.msg or "skipped"
    except NodeError as error:
        status, reason = "refused", str(error)
    except Exception as error:
        line = f"{type(error).__name__}: {error}".splitlines()[0]
        status, reason, result = "failed", shorten(line, 300), Result()
    return Outcome(status, reason, result, started_at, time.perf_counter() - start, models)


def _prepare(job: Job, left: Path) -> WorkerSession:
    """Set the process up, read the texts, and compare both with those of the session.

    Raises:
        NodeError: the node has other texts, another model file or other versions, or lacks one.
    """
    if job.working_folder.is_dir():
        os.chdir(job.working_folder)
    os.environ[pinning.VARIABLE] = "1"  # whatever the node has: a task has one CPU
    pinning.pin(bind=False)  # the CPUs are shared out by Ray
    try:
        session = _session(tuple(job.arguments["specs"]), job.arguments["model"])
    except (OSError, ValueError) as error:
        raise NodeError(str(error)) from None
    if wrong := differences({**job.loss, "pretrained": None}, {**session.loss, "pretrained": None}):
        raise NodeError(wrong[0])
    runs = job.folder / RUNS if _is_shared(job) else left / RUNS
    session.begin(job, runs, left)
    _await_lock(session.run_folder(job.case))
    return session


def _is_shared(job: Job) -> bool:
    """Return whether the results folder of the session is on this node, too."""
    with suppress(ValueError):
        manifest = read_json(job.folder / RUN_NAME)
        return isinstance(manifest, dict) and manifest.get("created_at") == job.created_at
    return False


def _await_lock(folder: Path) -> None:
    """Wait until the process that a lost node still had in this run has ended."""
    end = time.monotonic() + LOCK_S
    while folder.is_dir() and time.monotonic() < end:
        try:
            with lock_folder(folder):
                return
        except WriteError:
            time.sleep(0.5)


def _call(job: Job, result: Result, session: WorkerSession) -> None:
    """Call the function of the benchmark with what its fixtures would be."""
    module, _, test = job.name.partition("[")[0].partition("::")
    function = getattr(importlib.import_module(f"bench.{module}"), test)
    given = {"benchmark": _Once(), "result": result, "session": session, "case": job.case}
    function(**{name: given[name] for name in inspect.signature(function).parameters})
    for name in SPEEDS:
        if name in result.metrics:
            result.metrics[name] = None
    result.facts["node"] = {"cpu": _cpu(), "threads": pinning.pinned()["intra_op_threads"]}


@functools.cache
def _cpu() -> str | None:
    cpu: str | None = environment.machine()["cpu"]
    return cpu
