"""The session's side of a cluster, with a stand-in for Ray."""

import os
import signal
import socket
import sys
import warnings
from types import SimpleNamespace

import pytest
import torch

from bench.engines import cluster
from bench.engines.cluster import Cluster
from bench.engines.task import Outcome
from bench.measuring import pinning
from bench.suite.engine import check_engine


class RayError(Exception):
    pass


class RayTaskError(RayError):
    ip = "10.0.0.7"
    cause = ModuleNotFoundError("No module named 'bench'\nand a traceback")


class FakeRay(SimpleNamespace):
    """Runs a task when somebody waits for it; every call meddles with the process as Ray does."""

    exceptions = SimpleNamespace(RayError=RayError, RayTaskError=RayTaskError)

    def __init__(self):
        super().__init__(options=None, tasks=[], open=False, idle=0, asked=[])

    def meddle(self):
        signal.signal(signal.SIGTERM, lambda *_: None)
        warnings.warn("a future change", FutureWarning, stacklevel=2)

    def init(self, **options):
        self.meddle()
        self.options, self.open = options, True

    def remote(self, **options):
        self.task_options = options
        return lambda _function: SimpleNamespace(remote=self.begin)

    def begin(self, job):
        self.meddle()
        self.tasks.append(task := object())
        self.asked.append((task, job))
        return task

    def wait(self, tasks, timeout):  # noqa: ARG002  as Ray's
        self.meddle()
        if self.idle:
            self.idle -= 1
            return [], tasks
        return tasks[:1], tasks[1:]

    def get(self, task):
        (job,) = (job for known, job in self.asked if known is task)
        if isinstance(job.outcome, Exception):
            raise job.outcome
        return job.outcome

    def nodes(self):
        return [{"Alive": True}, {"Alive": True}, {"Alive": False}]

    def cluster_resources(self):
        return {"CPU": 3.0}

    def shutdown(self):
        self.open = False


@pytest.fixture
def ray(monkeypatch):
    fake = FakeRay()
    monkeypatch.setitem(sys.modules, "ray", fake)
    return fake


def job(name, outcome=None):
    return SimpleNamespace(name=name, outcome=outcome or Outcome("ok"))


def test_answers_come_with_the_ids_of_their_cases(ray):
    lines = []
    made = Cluster("ray", lines.append)
    made.submit(job("a"))
    made.submit(job("b", RayError("the worker died\nof a signal")))
    assert (made.pending, made.size) == (2, "3 CPUs on 2 nodes")
    assert [(name, o.status) for name, o in made.answers()] == [("a", "ok")]
    ((name, lost),) = made.answers()
    assert (name, lost.status) == ("b", "failed")
    assert lost.reason == (
        "Ray gave the task up, after 3 repetitions at most: RayError: the worker died"
    )
    made.submit(job("c", RayTaskError("an error of Ray")))
    ((name, broken),) = made.answers()
    assert (name, broken.status) == ("c", "refused")
    assert broken.reason == (
        "the node 10.0.0.7 could not begin a case: No module named 'bench'; give it the packages "
        "of the session"
    )
    assert list(made.answers()) == []
    made.close()
    assert not ray.open
    assert lines == []


def test_a_task_has_one_cpu_and_begins_again(ray):
    Cluster("ray", print)
    assert ray.task_options == {"num_cpus": 1, "max_retries": cluster.RETRIES}


@pytest.mark.parametrize(
    ("engine", "address"),
    [("ray", "local"), ("ray://auto", "auto"), ("ray://10.0.0.1:6379", "10.0.0.1:6379")],
)
def test_the_address_is_that_of_the_engine(ray, engine, address, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "elsewhere:1")
    Cluster(engine, print)
    assert ray.options["address"] == address
    assert ray.options["runtime_env"]["working_dir"] == str(cluster.ROOT)


def test_a_cluster_of_this_machine_has_all_its_cpus_and_the_session_keeps_its_own(ray, monkeypatch):
    if not hasattr(os, "sched_getaffinity") or len(os.sched_getaffinity(0)) < 2:
        pytest.skip("the processes of this machine have no CPUs to choose from")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    allowed, seen = os.sched_getaffinity(0), []
    monkeypatch.setattr(ray, "init", lambda **known: seen.append((known, os.sched_getaffinity(0))))
    monkeypatch.setattr(pinning, "cpu_limit", lambda: None)
    threads = torch.get_num_threads()
    try:
        pinning.pin()
        Cluster("ray", print)
        assert len(os.sched_getaffinity(0)) == 1
    finally:
        pinning.unpin()
        torch.set_num_threads(threads)
    ((known, cpus),) = seen
    assert (known["num_cpus"], cpus) == (len(allowed), allowed)
    monkeypatch.setattr(pinning, "cpu_limit", lambda: 1.5)
    assert cluster._cpus() == 1


def test_a_signal_while_ray_starts_is_that_of_the_session(ray, monkeypatch):
    def ended(**_options):
        signal.signal(signal.SIGTERM, lambda number, _: sys.exit(number))
        signal.raise_signal(signal.SIGTERM)

    class Stop(KeyboardInterrupt):
        pass

    def stop(*_):
        raise Stop

    monkeypatch.setattr(ray, "init", ended)
    before = signal.signal(signal.SIGTERM, stop)
    try:
        with pytest.raises(Stop):
            Cluster("ray", print)
    finally:
        signal.signal(signal.SIGTERM, before)


def test_signals_and_warnings_of_the_session_stay_as_they_are(ray):
    def mine(*_):
        pass

    before = signal.signal(signal.SIGTERM, mine)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            made = Cluster("ray", print)
            made.submit(job("a"))
            list(made.answers())
            made.close()
        assert signal.getsignal(signal.SIGTERM) is mine
    finally:
        signal.signal(signal.SIGTERM, before)
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"


def test_long_silence_is_explained(ray, monkeypatch):
    monkeypatch.setattr(cluster, "QUIET_S", 0)
    lines = []
    made = Cluster("ray", lines.append)
    made.submit(job("a"))
    ray.idle = 2
    list(made.answers())
    assert lines[0] == "the session waits for 1 case; the cluster has 3 CPUs on 2 nodes"


def test_a_cluster_that_cannot_be_joined_is_one_line(ray, monkeypatch):
    def fail(**_options):
        raise RuntimeError("Version mismatch: Python 3.11 and 3.12\nmore of it")

    monkeypatch.setattr(ray, "init", fail)
    with pytest.raises(
        ValueError, match=r"cannot be joined: Version mismatch: Python 3\.11 a"
    ) as e:
        Cluster("ray://auto", print)
    assert "\n" not in str(e.value)


@pytest.fixture
def listening():
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_engines_that_can_run_are_accepted(monkeypatch, listening):
    monkeypatch.setattr("bench.suite.engine.find_spec", lambda _name: True)
    for engine in ("local", "ray", "ray://auto", f"ray://127.0.0.1:{listening}"):
        check_engine(engine, ["cpu"])
    check_engine("local", ["cpu", "cuda"])


@pytest.mark.parametrize(
    "engine", ["", "Ray", "ray:", "ray://", "ray://host", "dask", "ray://host:port", "ray://h:1x"]
)
def test_unknown_engines_are_refused(engine, monkeypatch):
    monkeypatch.setattr("bench.suite.engine.find_spec", lambda _name: True)
    with pytest.raises(ValueError, match="choose local, ray, ray://auto or ray://HOST:PORT"):
        check_engine(engine, ["cpu"])


def test_an_engine_that_cannot_run_here_is_refused(monkeypatch, listening):
    monkeypatch.setattr("bench.suite.engine.find_spec", lambda _name: None)
    with pytest.raises(ValueError, match="needs Ray: pip install"):
        check_engine("ray", ["cpu"])
    monkeypatch.setattr("bench.suite.engine.find_spec", lambda _name: True)
    with pytest.raises(ValueError, match="add --devices=cpu"):
        check_engine("ray", ["cpu", "cuda"])
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    for place in (f"127.0.0.1:{port}", "127.0.0.1:99999", "a..b:1", f"{'a' * 90}:1"):
        with pytest.raises(ValueError, match=f"no Ray cluster answers at {place}"):
            check_engine(f"ray://{place}", ["cpu"])
