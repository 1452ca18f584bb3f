"""A session that is killed, signalled, or cannot write ends well, and goes on from there.

Two tests start processes, to kill them or to close their output.
"""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from functools import partial

import pytest

from bench.experiments import convergence
from bench.experiments.kept_runs import train_kept
from bench.ledger.record import read_ledger
from bench.session import Session
from bench.suite.catalog import CASES
from bench.suite.plan import Plan
from tests.helpers.checkout import ROOT
from tests.helpers.failing_calls import Fault
from tests.helpers.sessions import ONE_CASE, SMOKE, cases

FEW_CASES = (*SMOKE, "-k", "drop_last or bench_convergence")


def planned(folder):
    """Return the ids of FEW_CASES."""
    speed = json.loads((folder / "run.json").read_text())["speed"]
    plan = Plan("smoke", {"cpu": ("fp32", "bf16")}, ("python-docs",), speed)
    ids = [f"{test}[{case.id}]" for test, make in CASES.items() for case in make(plan)]
    return [name for name in ids if "drop_last" in name or "bench_convergence" in name]


def wait_for_cases(process, folder, count):
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        if (folder / "records.jsonl").exists() and len(cases(folder)) >= count:
            return
        time.sleep(0.05)
    pytest.fail("the suite ended or stood still before it was killed")


@pytest.fixture
def process(tmp_path):
    """Start the suite as a user does; `results/latest` of the checkout stays as it is."""
    latest = ROOT / "results" / "latest"
    before = latest.read_bytes() if latest.exists() else None
    process = subprocess.Popen(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *FEW_CASES,
         f"--results={tmp_path / 'run'}"],
        cwd=ROOT,
        env={n: v for n, v in os.environ.items() if not n.startswith("PYTEST_XDIST")},
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    yield process
    process.kill()
    process.wait()
    if before is None:
        latest.unlink(missing_ok=True)
    else:
        latest.write_bytes(before)


def test_killed_run_resumes_with_no_case_lost_and_none_doubled(process, run, tmp_path):
    folder = tmp_path / "run"
    wait_for_cases(process, folder, 3)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    finished = cases(folder)
    # As if the kill had come in the middle of a write.
    with (folder / "records.jsonl").open("ab") as file:
        file.write(b'{"schema_version":2,"record":"ca')

    code, output = run(*FEW_CASES, f"--results={folder}")
    assert code == 0, output
    assert "resuming suite smoke" in output
    assert f"{len(finished)} skipped" in output
    after = cases(folder)
    assert after[: len(finished)] == finished
    assert sorted(after) == sorted(planned(folder))
    skips = cases(folder, "skip")
    assert len(skips) == len(set(skips))


ONE_RUN = (*SMOKE, "-k", "[samplers- and -random_replacement-sampler-seed0")


@pytest.fixture(scope="module")
def unbroken(run, tmp_path_factory):
    """Return the record of one training run."""
    folder = tmp_path_factory.mktemp("unbroken") / "run"
    code, output = run(*ONE_RUN, f"--results={folder}")
    assert code == 0, output
    return what_is_repeated(folder)


def what_is_repeated(folder):
    """Return what of the only case must be the same in a resumed session, to the last bit."""
    (record,) = (r for r in read_ledger(folder)[0].values() if r["record"] == "case")
    del record["metrics"]["train_tokens_per_s"]
    return {name: record[name] for name in ("case", "params", "seed", "metrics", "series")}


@pytest.mark.parametrize(
    ("number", "code", "where", "calls"),
    [(signal.SIGTERM, 143, "batch", 9), (signal.SIGINT, 2, "_counts", 1)],
)
def test_session_ended_by_a_signal_goes_on_inside_the_case(
    run, unbroken, tmp_path, monkeypatch, number, code, where, calls
):
    """The signal comes in a step, or between the end of a run and its record."""
    monkeypatch.setattr(convergence, "train_kept", partial(train_kept, checkpoint_s=0.0))
    folder, seen, real = tmp_path / "run", [], getattr(convergence, where)

    def signalled(*arguments, **options):
        seen.append(None)
        if len(seen) == calls:
            os.kill(os.getpid(), number)
        return real(*arguments, **options)

    monkeypatch.setattr(convergence, where, signalled)
    ended, output = run(*ONE_RUN, f"--results={folder}")
    assert ended == code
    assert output.count(f"the same command with --results={folder} goes on from here") == 1
    assert "Traceback" not in output
    assert cases(folder) == []
    (kept,) = (folder / "runs").iterdir()
    n_before = len(seen)
    ended, output = run(*ONE_RUN, f"--results={folder}")
    assert ended == 0, output
    assert what_is_repeated(folder) == unbroken
    assert not (folder / "runs").exists()
    if where == "_counts":
        assert not kept.exists()
    else:
        whole = unbroken["metrics"]["steps"]
        assert len(seen) - n_before < whole  # steps before the signal were not done again


def test_signal_while_the_session_begins_ends_it_in_one_line(run, tmp_path, monkeypatch):
    def signalled(*_arguments):
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(Session, "_measure_ceilings", signalled)
    code, output = run(*ONE_RUN, f"--results={tmp_path / 'run'}")
    assert code == 143
    assert "SIGTERM has ended the session" in output
    assert "Traceback" not in output
    assert run(*ONE_RUN, f"--results={tmp_path / 'run'}", "--collect-only")[0] == 0


def lines_of(folder):
    return (folder / "records.jsonl").read_bytes().splitlines()


def test_full_disk_at_any_record_stops_the_suite_in_one_line_and_is_made_up_for(
    run, finished, tmp_path
):
    n_lines = len(lines_of(finished / "run"))
    for kth in (1, n_lines - 1, n_lines):  # of the environment, of the case, of the end
        folder = tmp_path / f"{kth}"
        folder.mkdir()
        shutil.copy(finished / "run" / "run.json", folder)  # the same speed, so the same records
        with Fault("write", kth, errno.ENOSPC, short=True).active():
            code, output = run(*ONE_CASE, f"--results={folder}")
        assert code == 2, output
        assert f"cannot write {folder}/records.jsonl: No space left on device; " in output
        assert "INTERNALERROR" not in output
        assert len(lines_of(folder)) == kth - 1
        code, output = run(*ONE_CASE, f"--results={folder}")
        assert code == 0, output
        assert cases(folder) == cases(finished / "run")
        _, warnings = read_ledger(folder)
        assert warnings == []


@pytest.mark.parametrize(
    ("how", "code", "message"), [(">&-", 2, "it is closed"), ("| true", 141, "has gone")]
)
def test_output_that_nobody_reads_ends_the_suite_in_one_line(tmp_path, how, code, message):
    command = f"{sys.executable} -m pytest -p no:cacheprovider {' '.join(SMOKE)}"
    result = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command} --results={tmp_path / 'run'} {how}"], cwd=ROOT,
        env={n: v for n, v in os.environ.items() if not n.startswith("PYTEST_XDIST")},
        stderr=subprocess.PIPE, text=True, check=False,
    )  # fmt: skip
    assert result.returncode == code
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), ValueError("no\x1b")])
def test_error_at_the_end_ends_the_session_in_one_line(run, tmp_path, monkeypatch, error):
    def fail(*_arguments, **_options):
        raise error

    monkeypatch.setattr(Session, "close", fail)
    code, output = run(*ONE_CASE, f"--results={tmp_path / 'run'}")
    assert code == 2
    assert "\x1b" not in output
    assert "Traceback" not in output
    assert "INTERNALERROR" not in output
    assert "No space left on device" in output or r"no\x1b" in output
