"""A session whose cases run as tasks, in the suite as its users run it, with a stand-in cluster."""

import contextlib
import json
import os
import pickle
import signal
import time
import typing
from dataclasses import replace

import pytest

from bench.engines import plugin
from bench.engines.task import Outcome, run_case
from bench.ledger.record import read_ledger
from bench.suite import engine
from bench.suite.catalog import CASES, TIMELESS
from gptcore.files import WriteError
from tests.helpers.own_files import write_model
from tests.helpers.sessions import SMOKE, cases

CHOSEN = "drop_last or (bench_convergence and samplers) or bench_scaling or test_ledger"
OPTIONS = (*SMOKE, "--devices=cpu", "-k", CHOSEN)
LOCAL_ONLY = {"train_tokens_per_s", "energy_j", "a_time_to_reach_s", "b_time_to_reach_s"}


class InProcess:
    """A cluster of this process: a task runs when it is waited for, the newest first.

    Jobs and outcomes are pickled, as between two processes.
    """

    made: typing.ClassVar = []
    next = -1

    def __init__(self, _engine, _say):
        self.jobs, self.log = [], []
        self.size, self.open = "1 CPU on 1 node", True
        self.made.append(self)

    @property
    def pending(self):
        return len(self.jobs)

    def submit(self, job):
        self.jobs.append(job)
        self.log.append(("submitted", job.name))

    def answers(self):
        job = pickle.loads(pickle.dumps(self.jobs.pop(self.next)))
        self.log.append(("ended", job.name))
        yield job.name, pickle.loads(pickle.dumps(self.run(job)))

    def run(self, job):
        return run_case(job)

    def ended(self):
        return []

    def close(self):
        self.open = False


@pytest.fixture
def clusters(monkeypatch):
    monkeypatch.setattr(plugin, "Cluster", InProcess)
    monkeypatch.setattr(engine, "find_spec", lambda _name: True)
    monkeypatch.setattr(InProcess, "made", [])
    return InProcess.made


def values(folder):
    """Return id → what a case found, apart from times."""
    records, _ = read_ledger(folder)
    return {
        name: (
            {k: v for k, v in r["metrics"].items() if k not in LOCAL_ONLY},
            r["series"],
            r["params"],
            r["group"],
            r["seed"],
        )
        for name, r in records.items()
        if r["record"] == "case" and name.partition("[")[0] in TIMELESS
    }


@pytest.fixture(scope="module")
def local(run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("local") / "run"
    code, output = run(*OPTIONS, f"--results={folder}")
    assert code == 0, output
    return folder


def test_tasks_find_what_a_local_session_finds(run, clusters, local, tmp_path):
    folder = tmp_path / "run"
    code, output = run(*OPTIONS, "--engine=ray", f"--results={folder}")
    assert code == 0, output
    assert sorted(cases(folder)) == sorted(cases(local))
    assert values(folder) == values(local)
    (cluster,) = clusters
    assert not cluster.open
    assert {name.partition("[")[0] for _, name in cluster.log} <= set(engine.TASKS)
    assert "cases that claim no time run as tasks on 1 CPU on 1 node (ray)" in output
    environment = json.loads((folder / "records.jsonl").read_text().splitlines()[0])
    assert environment["facts"]["run"]["engine"] == "ray"
    assert not (folder / "runs").exists()
    assert [p.name for p in (folder / "models").iterdir()] == [
        p.name for p in (local / "models").iterdir()
    ]
    assert "not used" not in output


def test_the_held_out_size_is_submitted_after_the_prediction_is_on_disk(run, clusters, tmp_path):
    folder = tmp_path / "run"
    code, output = run(*OPTIONS, "--engine=ray", f"--results={folder}")
    assert code == 0, output
    order = cases(folder)
    stated = next(i for i, name in enumerate(order) if "test_predict" in name)
    target = next(i for i, name in enumerate(order) if "test_target" in name)
    rung = max(i for i, name in enumerate(order) if "test_rung" in name)
    assert rung < stated < target
    assert clusters[0].log[-2][1] == order[target]


def test_a_record_is_written_when_its_answer_comes(run, clusters, tmp_path, monkeypatch):
    folder, on_disk = tmp_path / "run", []
    original = InProcess.run

    def watched(self, job):
        on_disk.append(len(cases(folder)))
        return original(self, job)

    monkeypatch.setattr(InProcess, "run", watched)
    code, _ = run(*SMOKE, "--devices=cpu", "--engine=ray", "-k", "drop_last", f"--results={folder}")
    assert code == 0
    assert on_disk == list(range(len(on_disk)))
    assert len(on_disk) > 1


def test_a_lost_task_fails_and_is_run_by_the_next_session(run, clusters, tmp_path, monkeypatch):
    lost = "sequential-drop_last"
    with monkeypatch.context() as patch:
        patch.setattr(
            InProcess,
            "run",
            lambda _self, job: (
                Outcome("failed", "the task was lost 4 times")
                if lost in job.name
                else run_case(job)
            ),
        )
        options = (*SMOKE, "--devices=cpu", "-k", "drop_last", f"--results={tmp_path / 'run'}")
        code, output = run(*options, "--engine=ray")
    assert code == 1
    assert "failed: the task was lost 4 times" in output
    records, _ = read_ledger(tmp_path / "run")
    (failed,) = (r for r in records.values() if r["status"] == "failed")
    assert lost in failed["case"]
    assert failed["reason"] == "the task was lost 4 times"
    code, output = run(*options)  # without the cluster
    assert code == 0, output
    records, _ = read_ledger(tmp_path / "run")
    assert {r["status"] for r in records.values()} == {"ok", "skipped"}


def test_a_result_that_no_record_can_hold_fails_its_own_case(run, clusters, tmp_path, monkeypatch):
    def odd(_self, job):
        outcome = run_case(job)
        if "sequential-drop_last" in job.name:
            outcome.result.metrics["missed_targets"] = float("nan")
        return outcome

    monkeypatch.setattr(InProcess, "run", odd)
    folder = tmp_path / "run"
    code, output = run(
        *SMOKE, "--devices=cpu", "--engine=ray", "-k", "drop_last", f"--results={folder}"
    )
    assert code == 1
    assert "1 failed, 3 passed" in output
    records, _ = read_ledger(folder)
    failed = {n: r["reason"] for n, r in records.items() if r["status"] == "failed"}
    ((name, reason),) = failed.items()
    assert "sequential-drop_last" in name
    assert reason.startswith("ValueError: metric missed_targets is nan")


def test_a_file_that_cannot_be_written_ends_the_session(run, clusters, tmp_path, monkeypatch):
    def full(path, _content):
        raise WriteError(f"{path} cannot be written: the disk is full")

    monkeypatch.setattr(plugin, "write_whole", full)
    monkeypatch.setattr(
        InProcess, "run", lambda _self, job: replace(run_case(job), models={"a.pt": b"PK"})
    )
    folder = tmp_path / "run"
    code, output = run(
        *SMOKE, "--devices=cpu", "--engine=ray", "-k", "drop_last", f"--results={folder}"
    )
    assert code == 2
    assert "a.pt cannot be written: the disk is full; the same command with --results=" in output
    assert cases(folder) == []
    assert not clusters[0].open


def test_a_node_that_cannot_run_cases_ends_the_session(run, clusters, tmp_path, monkeypatch):
    monkeypatch.setattr(
        InProcess, "run", lambda _self, _job: Outcome("refused", "the node n7 has no text")
    )
    folder = tmp_path / "run"
    code, output = run(
        *SMOKE, "--devices=cpu", "--engine=ray", "-k", "drop_last", f"--results={folder}"
    )
    assert code == 2
    assert "the node n7 has no text; the same command with --results=" in output
    assert cases(folder) == []


def test_a_cluster_that_cannot_be_joined_ends_the_session(run, clusters, tmp_path, monkeypatch):
    def refuse(*_):
        raise ValueError("the Ray cluster cannot be joined: nobody is there")

    monkeypatch.setattr(plugin, "Cluster", refuse)
    options = (*SMOKE, "--devices=cpu", "--engine=ray", "-k", "drop_last")
    code, output = run(*options, f"--results={tmp_path / 'run'}")
    assert code == 2
    assert output.count("the Ray cluster cannot be joined: nobody is there; the same command") == 1
    assert "not used" not in output


def test_a_case_that_is_reached_before_what_it_waits_for_is_skipped(
    run, clusters, tmp_path, monkeypatch
):
    order = ["bench_scaling::test_target", "bench_scaling::test_predict"]
    reordered = {name: CASES[name] for name in order} | dict(CASES)
    monkeypatch.setattr("bench.suite.catalog.CASES", reordered)
    options = (*SMOKE, "--devices=cpu", "--engine=ray", "-k", "test_target or test_predict")
    code, output = run(*options, f"--results={tmp_path / 'run'}")
    assert code == 0, output
    records, _ = read_ledger(tmp_path / "run")
    (reason,) = (r["reason"] for n, r in records.items() if "test_target" in n)
    assert "no prediction is on disk" in reason


def test_the_last_answers_are_taken_when_the_session_ends_early(
    run, clusters, tmp_path, monkeypatch
):
    def ended(self):
        job = self.jobs.pop()
        return [(job.name, run_case(job))]

    def interrupted(_self, _job):
        raise KeyboardInterrupt

    monkeypatch.setattr(InProcess, "ended", ended)
    monkeypatch.setattr(InProcess, "run", interrupted)
    folder = tmp_path / "run"
    code, _ = run(*SMOKE, "--devices=cpu", "--engine=ray", "-k", "drop_last", f"--results={folder}")
    assert code == 2
    assert len(cases(folder)) == 3  # all but the one that was interrupted


def test_what_is_finished_is_not_submitted_again(run, clusters, tmp_path):
    options = (*SMOKE, "--devices=cpu", "--engine=ray", f"--results={tmp_path / 'run'}", "-k")
    assert run(*options, "sequential-drop_last")[0] == 0
    code, output = run(*options, "drop_last")
    assert code == 0, output
    first, second = clusters
    assert len(first.log) == 2
    assert not {name for _, name in first.log} & {name for _, name in second.log}


def test_a_skipped_task_is_recorded_with_its_reason(run, clusters, tmp_path):
    book = tmp_path / "book.txt"
    book.write_text("The cat sat on the mat. " * 2000)
    options = (*SMOKE, "--devices=cpu", "--engine=ray", f"--corpus={book}", "-k", "position")
    code, output = run(*options, f"--results={tmp_path / 'run'}")
    assert code == 0, output
    records, _ = read_ledger(tmp_path / "run")
    reasons = [r["reason"] for n, r in records.items() if "test_position" in n and r["reason"]]
    assert reasons == ["cleaning changes nothing in this text, so the raw text is the same"]


def test_a_time_is_taken_when_no_task_runs(run, clusters, tmp_path, monkeypatch):
    monkeypatch.setattr(InProcess, "next", 0)
    early = "bench_coverage::test_coverage"  # its tasks are submitted before another one is timed
    monkeypatch.setitem(engine.TASKS, "bench_packing::test_packing", None)
    order = ["bench_packing::test_packing", "bench_coverage::test_ledger", early]
    reordered = {name: CASES[name] for name in order} | dict(CASES)
    monkeypatch.setattr("bench.suite.catalog.CASES", reordered)
    waiting = []
    real = plugin.OnCluster.pytest_pyfunc_call

    def called(self, pyfuncitem):
        answer = real(self, pyfuncitem)
        if "test_ledger" in pyfuncitem.name:
            waiting.append(clusters[0].pending)
        return answer

    monkeypatch.setattr(
        plugin.OnCluster, "pytest_pyfunc_call", pytest.hookimpl(tryfirst=True)(called)
    )
    options = (*SMOKE, "--devices=cpu", "--engine=ray", f"--results={tmp_path / 'run'}")
    code, output = run(*options, "-k", "drop_last or test_ledger or packing")
    assert code == 0, output
    assert waiting == [0]
    assert "test_ledger" in cases(tmp_path / "run")[-1]


def test_a_model_of_the_user_is_trained_in_tasks(run, clusters, tmp_path):
    options = (*SMOKE, "--devices=cpu", f"--model={write_model(tmp_path)}", "-k", "test_train")
    for engine_name in ("local", "ray"):
        folder = tmp_path / engine_name
        code, output = run(*options, f"--engine={engine_name}", f"--results={folder}")
        assert code == 0, output
    assert values(tmp_path / "ray") == values(tmp_path / "local") != {}


def test_a_signal_that_compiled_code_answers_itself_ends_the_session_in_order(
    run, clusters, tmp_path, monkeypatch
):
    def interrupted(_self, _job):
        with contextlib.suppress(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(1)
        raise KeyboardInterrupt

    monkeypatch.setattr(InProcess, "run", interrupted)
    folder = tmp_path / "run"
    options = (*SMOKE, "--devices=cpu", "--engine=ray", "-k", "drop_last")
    code, output = run(*options, f"--results={folder}")
    assert code == 128 + signal.SIGTERM
    assert f"the same command with --results={folder} goes on from here" in output
    assert not clusters[0].open


@pytest.mark.parametrize("name", ["dask", "ray://nowhere", "--"])
def test_a_wrong_engine_is_refused_in_one_line(run, clusters, name, tmp_path):
    code, output = run(*SMOKE, f"--engine={name}", f"--results={tmp_path / 'run'}")
    assert code == 2
    assert "Traceback" not in output
    assert not (tmp_path / "run").exists()


def test_every_task_is_a_benchmark_without_a_time():
    assert set(engine.TASKS) <= TIMELESS
    assert {needed for needed in engine.TASKS.values() if needed} <= TIMELESS
