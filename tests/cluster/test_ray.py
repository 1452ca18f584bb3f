"""The suite on a real Ray cluster of two nodes, with a session, a worker and a node killed.

`tox run -e ray` runs it; without Ray it is skipped. The nodes are processes of this machine.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import pytest

from bench.ledger.record import read_ledger
from bench.suite.engine import is_task
from tests.helpers.checkout import ROOT

pytest.importorskip("ray")

CHOSEN = "(bench_convergence and samplers) or test_rung or test_predict or test_target"
SPEEDS = {"train_tokens_per_s", "energy_j"}
LIMIT_S = 120


@pytest.fixture(scope="module")
def place():
    """A folder with a short path, because Ray puts sockets there."""
    folder = tempfile.mkdtemp(prefix="ray-", dir="/tmp")
    yield Path(folder)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def environment(place):
    kept = {n: v for n, v in os.environ.items() if not n.startswith(("PYTEST", "RAY", "COV"))}
    return kept | {"HOME": str(place), "RAY_USAGE_STATS_ENABLED": "0", "OMP_NUM_THREADS": "1"}


class Node:
    """One node of the cluster: what `ray start --block` starts, and its children."""

    def __init__(self, environment, *options):
        self.process = subprocess.Popen(
            [Path(sys.executable).with_name("ray"), "start", *options, "--num-cpus=1", "--block"],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def running(self, name):
        """Return the processes of this node whose command line begins with `name`."""
        found = []
        for child in psutil.Process(self.process.pid).children(recursive=True):
            try:
                if Path(child.cmdline()[0]).name.startswith(name):
                    found.append(child)
            except (psutil.Error, IndexError):
                continue
        return found

    def kill(self):
        """End the node as a power cut does."""
        processes = psutil.Process(self.process.pid).children(recursive=True)
        for process in (*processes, self.process):
            try:
                process.kill()
            except (psutil.Error, ProcessLookupError):
                continue
        self.process.wait()


def wait_for(condition, what, limit_s=LIMIT_S):
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.05)
    pytest.fail(f"waited {limit_s} s for {what}")


@pytest.fixture(scope="module")
def cluster(place, environment):
    """Return the address of a cluster and its two nodes, the first of which has the head."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    address = f"127.0.0.1:{port}"
    head = Node(
        environment,
        "--head",
        f"--port={port}",
        "--node-ip-address=127.0.0.1",
        "--include-dashboard=false",
        f"--temp-dir={place}",
    )
    nodes = [head]
    try:
        wait_for(lambda: head.running("raylet"), "the head")
        nodes.append(Node(environment, f"--address={address}"))
        wait_for(lambda: nodes[1].running("raylet"), "the second node")
        yield address, nodes
    finally:
        for node in nodes:
            if node.process.poll() is None:
                node.kill()


@pytest.fixture(scope="module")
def started(environment, place):
    """Return a function that starts a session of the suite as a user does: folder, options."""
    running = []

    def start(folder, *options):
        output = place / f"output{len(running)}.txt"
        checkout = (
            "-p",
            "no:cacheprovider",
            f"--rootdir={ROOT}",
            f"--config-file={ROOT / 'pyproject.toml'}",
            ROOT / "bench",
        )
        suite = ("--benchmark-only", "--suite=smoke", "--devices=cpu", f"--results={folder}")
        with output.open("wb") as file:
            process = subprocess.Popen(
                [sys.executable, "-m", "pytest", *checkout, *suite, *options],
                cwd=place,
                env=environment,
                stdout=file,
                stderr=subprocess.STDOUT,
            )
        running.append(process)
        process.output = output.read_text
        return process

    yield start
    for process in running:
        process.kill()
        process.wait()


def records(folder):
    """Return the records of cases, as they stand in the ledger."""
    path = folder / "records.jsonl"
    lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
    return [r for r in map(json.loads, lines) if r["record"] == "case"]


def values(folder):
    """Return id → what a finished case found, apart from times."""
    return {
        name: ({k: v for k, v in r["metrics"].items() if k not in SPEEDS}, r["series"])
        for name, r in read_ledger(folder)[0].items()
        if r["record"] == "case" and is_task(name)
    }


def busy(nodes):
    """Return (node, worker) of every case that runs now."""
    return [(n, w) for n in nodes if n.process.poll() is None for w in n.running("ray::run_case")]


def test_killed_sessions_workers_and_nodes_cost_only_their_cases(cluster, started, place):
    address, nodes = cluster
    options = (f"--engine=ray://{address}", "-k", CHOSEN)
    local, folder = started(place / "local", "-k", CHOSEN), place / "run"
    assert local.wait(LIMIT_S) == 0, local.output()

    first = started(folder, *options)
    wait_for(lambda: len(records(folder)) >= 3, "three records")
    first.kill()
    first.wait()
    kept = (folder / "records.jsonl").read_bytes()
    wait_for(lambda: not busy(nodes), "the end of the tasks of the killed session")
    assert any(is_task(r["case"]) for r in records(folder))

    second = started(folder, *options)
    # At its start, cases run on both nodes; after the loss of one, all are left to the other.
    wait_for(lambda: busy(nodes[1:]), "a case on the second node")
    nodes[1].kill()
    _, worker = wait_for(lambda: busy(nodes), "a case on the first node")[0]
    worker.kill()
    assert second.wait(LIMIT_S) == 0, second.output()

    assert (folder / "records.jsonl").read_bytes().startswith(kept)
    found = records(folder)
    assert len(found) == len({r["case"] for r in found})
    assert {r["status"] for r in found} == {"ok"}
    assert values(folder) == values(place / "local")
    assert len(values(folder)) >= 9
    assert all(r["facts"]["node"]["threads"] == 1 for r in found if is_task(r["case"]))


def test_a_signal_ends_the_session_and_its_tasks(cluster, environment, started, place):
    address, nodes = cluster
    environment["RAY_ADDRESS"] = address
    session = started(place / "signal", "--engine=ray://auto", "-k", "samplers")
    del environment["RAY_ADDRESS"]
    wait_for(lambda: busy(nodes), "a case that runs")
    session.send_signal(signal.SIGTERM)
    assert session.wait(LIMIT_S) == 128 + signal.SIGTERM
    assert f"--results={place / 'signal'} goes on from here" in session.output()
    assert "Traceback" not in session.output()
    wait_for(lambda: not busy(nodes), "the end of the tasks")


def test_a_local_cluster_ends_with_the_session(started, place):
    def of_ray():
        return {
            p.pid
            for p in psutil.process_iter(["cmdline", "environ"])
            if any("raylet" in part or "gcs_server" in part for part in (p.info["cmdline"] or ()))
        }

    before = of_ray()
    session = started(place / "own", "--engine=ray", "-k", "drop_last")
    assert session.wait(LIMIT_S) == 0, session.output()
    assert [r["status"] for r in records(place / "own")] == ["ok"] * 4
    cpus = len(os.sched_getaffinity(0))
    assert f"run as tasks on {cpus} CPU" in session.output()
    wait_for(lambda: of_ray() <= before, "the end of the local cluster")


def test_an_address_where_no_cluster_is_ends_in_one_line(started, place):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    session = started(place / "none", f"--engine=ray://127.0.0.1:{port}", "-k", "samplers")
    assert session.wait(LIMIT_S) == 2
    assert f"no Ray cluster answers at 127.0.0.1:{port}" in session.output()
    assert "Traceback" not in session.output()
    assert not (place / "none").exists()
