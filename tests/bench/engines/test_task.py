"""A case as a task: what a worker does with it, here without a cluster."""

import dataclasses
import inspect
import os
import platform
import shutil
import threading
import time
import warnings
from functools import partial

import pytest
import torch

from bench import bench_convergence, bench_coverage
from bench.engines import task
from bench.engines.task import Job, run_case
from bench.experiments import convergence
from bench.experiments.kept_runs import RUN_NAME as TRAINED
from bench.experiments.kept_runs import train_kept
from bench.ledger.ledger import RUNS, file_name
from bench.ledger.record import new_record, utc_now
from bench.measuring import environment, pinning
from bench.suite.catalog import CASES
from bench.suite.inputs import Inputs
from bench.suite.plan import Plan
from gptcore.files import lock_folder, write_whole
from tests.helpers.own_files import write_model

TEXT = "The sheep jumped over the fence, and the dog slept on the grass. " * 500
DEVICES = {"cpu": ("fp32",)}


@pytest.fixture(autouse=True)
def _process_as_before(monkeypatch):
    """A task changes its process: the folder, and the settings of torch."""
    monkeypatch.chdir(os.getcwd())
    threads = torch.get_num_threads()
    yield
    pinning.unpin()
    torch.set_num_threads(threads)
    task._session.cache_clear()


@pytest.fixture
def job(tmp_path):
    """Return a function from a benchmark, and a part of the id of its case, to a job."""
    (tmp_path / "book.txt").write_text(TEXT)
    results = tmp_path / "results"
    results.mkdir()
    created_at = utc_now()
    write_whole(results / "run.json", f'{{"created_at": "{created_at}"}}')
    inputs = Inputs([str(tmp_path / "book.txt")])
    plan = Plan("smoke", DEVICES, tuple(inputs.corpora))

    def make(test, part="", **changed):
        case = next(case for case in CASES[test](plan) if part in case.id)
        made = Job(
            name=f"{test}[{case.id}]",
            case=case,
            plan=plan,
            arguments=inputs.arguments,
            loss=environment.fingerprint("smoke", DEVICES, **inputs.hashes)["loss"],
            records={},
            folder=results,
            created_at=created_at,
            working_folder=tmp_path,
        )
        return dataclasses.replace(made, **changed)

    return make


def test_a_case_that_counts(job):
    outcome = run_case(job("bench_coverage::test_coverage", "sequential-keep"))
    assert (outcome.status, outcome.reason, outcome.models) == ("ok", None, {})
    assert outcome.result.metrics["missed_targets"] >= 0
    assert outcome.result.facts["node"] == {
        "cpu": environment.machine()["cpu"],
        "threads": 1,
    }
    assert outcome.duration_s > 0


def test_a_case_that_trains_gives_no_speed_and_keeps_its_run_in_a_shared_folder(job, tmp_path):
    made = job("bench_convergence::test_train", "random_replacement-sampler-seed0")
    outcome = run_case(made)
    assert outcome.status == "ok", outcome.reason
    assert outcome.result.metrics["final_test_loss"] > 0
    assert [outcome.result.metrics[name] for name in task.SPEEDS] == [None, None]
    assert (made.folder / RUNS / file_name(made.case.id) / TRAINED).is_dir()


def test_a_node_without_the_results_folder_leaves_nothing(job, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    made = job("bench_convergence::test_train", "seed0", created_at="another run")
    assert run_case(made).status == "ok"
    assert not (made.folder / RUNS).exists()
    assert list((tmp_path / "temporary").glob("gptcore-*")) == []  # torch has its own there
    elsewhere = dataclasses.replace(made, folder=tmp_path / "elsewhere")
    assert run_case(elsewhere).status == "ok"
    assert not elsewhere.folder.exists()


def test_weights_come_back_as_bytes(job):
    made = job("bench_scaling::test_target")
    (stated,) = CASES["bench_scaling::test_predict"](made.plan)
    name = f"bench_scaling::test_predict[{stated.id}]"
    assert run_case(made).status == "skipped"
    outcome = run_case(
        dataclasses.replace(
            made, records={name: new_record(environment="e", command="c", commit=None)}
        )
    )
    assert outcome.status == "ok", outcome.reason
    assert list(outcome.models) == [file_name(made.case.id, ".pt")]
    assert outcome.models[file_name(made.case.id, ".pt")].startswith(b"PK")
    assert not (made.folder / "models").exists()


def test_a_case_that_is_left_out_says_why(job):
    outcome = run_case(job("bench_position::test_position", "raw"))
    assert outcome.status == "skipped"
    assert "cleaning changes nothing" in outcome.reason


def test_a_fault_and_a_warning_are_the_reason_in_one_line(job, monkeypatch):
    made = job("bench_coverage::test_coverage", "sequential-keep")

    def fail(**_known):
        raise RuntimeError("the first line\nand a second one")

    def warn(**_known):
        warnings.warn("a division by zero", RuntimeWarning, stacklevel=1)

    for function, reason in (
        (fail, "RuntimeError: the first line"),
        (warn, "RuntimeWarning: a division by zero"),
    ):
        function.__signature__ = inspect.signature(bench_coverage.test_coverage)
        monkeypatch.setattr(bench_coverage, "test_coverage", function)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a worker has no filters of pytest
            outcome = run_case(made)
        assert (outcome.status, outcome.reason) == ("failed", reason)
        assert outcome.result.metrics == {}


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("versions", {"torch": "1.0"}, "versions"),
        ("corpora", {"book": "0" * 64}, "corpora.book was 0000"),
        ("source_sha256", "0" * 64, "source_sha256 was"),
    ],
)
def test_a_node_that_differs_is_refused(job, key, value, said):
    made = job("bench_coverage::test_coverage")
    outcome = run_case(dataclasses.replace(made, loss=made.loss | {key: value}))
    assert outcome.status == "refused"
    assert outcome.reason.startswith(f"the node {platform.node()} cannot run cases of this session")
    assert said in outcome.reason


def test_a_node_without_the_text_says_so(job, tmp_path):
    gone = str(tmp_path / "gone.txt")
    outcome = run_case(
        job("bench_coverage::test_coverage", arguments={"specs": [gone], "model": None})
    )
    assert outcome.status == "refused"
    assert "gone.txt" in outcome.reason


def test_published_weights_are_no_part_of_a_task(job):
    made = job("bench_coverage::test_coverage")
    loss = made.loss | {"pretrained": {"name": "gpt2", "sha256": "0" * 64}}
    assert run_case(dataclasses.replace(made, loss=loss)).status == "ok"


def test_a_run_is_waited_for_that_a_lost_node_still_has(job):
    made = job("bench_convergence::test_train", "seed0")
    folder = made.folder / RUNS / file_name(made.case.id)
    held, may_end = threading.Event(), threading.Event()

    def other():
        with lock_folder(folder):
            held.set()
            may_end.wait(60)

    thread = threading.Thread(target=other)
    thread.start()
    held.wait(60)
    timer = threading.Timer(1.0, may_end.set)
    timer.start()
    start = time.monotonic()
    outcome = run_case(made)
    waited_s = time.monotonic() - start
    thread.join()
    assert outcome.status == "ok", outcome.reason
    assert outcome.duration_s < waited_s - 0.9  # the wait is no part of the case


def test_a_model_file_may_warn_when_it_is_read(job, tmp_path):
    """The session's own process reads it before pytest makes errors of warnings."""
    path = write_model(tmp_path, more="\nimport warnings\nwarnings.warn('old', UserWarning)\n")
    specs = [str(tmp_path / "book.txt")]
    with warnings.catch_warnings(record=True):
        warnings.simplefilter("always")
        inputs = Inputs(specs, path)
        loss = environment.fingerprint("smoke", DEVICES, **inputs.hashes)["loss"]
        made = job("bench_coverage::test_coverage", arguments=inputs.arguments, loss=loss)
        assert run_case(made).status == "ok"


def test_a_training_run_whose_worker_was_killed_goes_on_in_the_middle(job, monkeypatch):
    made, real, calls = job("bench_convergence::test_train", "seed0"), convergence.batch, []
    unbroken = run_case(made)
    shutil.rmtree(made.folder / RUNS)

    def killed(*arguments, **options):
        calls.append(None)
        if len(calls) == 9:
            raise KeyboardInterrupt  # no fault of a case, so nothing is tidied
        return real(*arguments, **options)

    monkeypatch.setattr(convergence, "train_kept", partial(train_kept, checkpoint_s=0.0))
    monkeypatch.setattr(convergence, "batch", killed)
    with pytest.raises(KeyboardInterrupt):
        run_case(made)
    outcome = run_case(made)
    assert outcome.status == "ok", outcome.reason
    assert outcome.result.facts["resumed_from"] == [8]
    assert outcome.result.metrics == unbroken.result.metrics
    assert outcome.result.series == unbroken.result.series


def test_the_threads_of_the_task_are_set(job, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    before = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
    seen = {}
    real = bench_convergence.train_and_score

    def train(*args):
        seen["threads"] = torch.get_num_threads()
        if before is not None:
            seen["cpus"] = os.sched_getaffinity(0)
        real(*args)

    monkeypatch.setattr(bench_convergence, "train_and_score", train)
    torch.set_num_threads(2)
    assert run_case(job("bench_convergence::test_train", "seed0")).status == "ok"
    assert seen["threads"] == 1
    assert seen.get("cpus") == before
