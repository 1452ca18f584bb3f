"""The suite as its users run it: pytest in a process of its own."""

import gzip
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bench.plan import CASES, Plan

ROOT = Path(__file__).parent.parent
COVERAGE = ("--suite=smoke", "-k", "bench_coverage or bench_convergence")


@pytest.fixture
def start(tmp_path):
    """Start pytest as a user does; `results/latest` of the checkout stays as it is."""
    latest = ROOT / "results" / "latest"
    before = latest.read_bytes() if latest.exists() else None
    processes = []

    def start(*options):
        process = subprocess.Popen(
            [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *options],
            cwd=ROOT,
            env={n: v for n, v in os.environ.items() if not n.startswith("PYTEST_XDIST")},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()
    if before is None:
        latest.unlink(missing_ok=True)
    else:
        latest.write_bytes(before)


@pytest.fixture
def run(start):
    def run(*options):
        process = start(*options)
        output, _ = process.communicate(timeout=240)
        return process.returncode, output

    return run


def cases(folder, record="case"):
    *lines, _unfinished = (folder / "records.jsonl").read_bytes().split(b"\n")  # it may be growing
    return [r["case"] for r in map(json.loads, lines) if r["record"] == record]


def planned(folder, *modules):
    speed = json.loads((folder / "run.json").read_text())["speed"]
    plan = Plan("smoke", {"cpu": ("fp32", "bf16")}, ("python-docs",), speed)
    return [
        f"{test}[{case.id}]"
        for test, make in CASES.items()
        for case in make(plan)
        if test.startswith(modules)
    ]


def wait_for_cases(process, folder, count):
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        if (folder / "records.jsonl").exists() and len(cases(folder)) >= count:
            return
        time.sleep(0.05)
    pytest.fail("the suite ended or stood still before it was killed")


def test_killed_run_resumes_with_no_case_lost_and_none_doubled(start, run, tmp_path):
    folder = tmp_path / "run"
    options = ("--benchmark-only", f"--results={folder}", *COVERAGE)
    process = start(*options)
    wait_for_cases(process, folder, 3)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    finished = cases(folder)
    # As if the kill had come in the middle of a write.
    with (folder / "records.jsonl").open("ab") as file:
        file.write(b'{"schema_version":2,"record":"ca')

    code, output = run(*options)
    assert code == 0, output
    assert "resuming suite smoke" in output
    assert f"{len(finished)} skipped" in output
    after = cases(folder)
    assert after[: len(finished)] == finished
    assert sorted(after) == sorted(planned(folder, "bench_coverage", "bench_convergence"))
    skips = cases(folder, "skip")
    assert len(skips) == len(set(skips))


def test_folder_of_other_code_is_refused_with_exit_code_2(run, tmp_path):
    folder = tmp_path / "run"
    options = ("--benchmark-only", "--suite=smoke", f"--results={folder}", "-k", "sequential-keep")
    assert run(*options)[0] == 0
    manifest = json.loads((folder / "run.json").read_text())
    manifest["fingerprint"]["source_sha256"] = "0" * 64
    (folder / "run.json").write_text(json.dumps(manifest))
    before = (folder / "records.jsonl").read_bytes()
    code, output = run(*options)
    assert code == 2
    assert f"source_sha256 was {'0' * 59}… and is" in output
    assert "Traceback" not in output
    assert (folder / "records.jsonl").read_bytes() == before


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--suite=huge", "suite 'huge' is unknown"),
        ("--devices=abacus", "device 'abacus' is not here"),
        ("--corpus=/nowhere/book.txt", "/nowhere/book.txt"),
        ("--corpus={tmp}/words.txt", "needs at least"),
    ],
)
def test_bad_option_ends_with_one_line_and_exit_code_2(run, tmp_path, option, message):
    (tmp_path / "words.txt").write_text("only three words")
    option = option.replace("{tmp}", str(tmp_path))
    code, output = run("--benchmark-only", f"--results={tmp_path / 'run'}", option)
    assert code == 2
    assert message in output
    assert "Traceback" not in output
    assert not (tmp_path / "run").exists()


def test_plain_pytest_times_nothing(run):
    code, output = run("bench", "-q")
    assert "passed" not in output
    assert "skipped" in output
    assert code == 0


def test_pytest_benchmark_options_still_work(run, tmp_path):
    out = tmp_path / "out.json"
    code, output = run(
        "--benchmark-only",
        "--suite=smoke",
        f"--results={tmp_path / 'run'}",
        f"--benchmark-json={out}",
        "--benchmark-group-by=func",
        "-k",
        "sequential-keep",
    )
    assert code == 0, output
    (benchmark,) = json.loads(out.read_text())["benchmarks"]
    assert benchmark["group"] == "coverage"
    assert benchmark["extra_info"]["sampler"] == "sequential"


def test_runs_saved_by_pytest_benchmark_are_compared_by_it(run, tmp_path):
    options = ("--benchmark-only", "--suite=smoke", f"--benchmark-storage={tmp_path}")
    chosen = ("-k", "sequential-keep", f"--results={tmp_path / 'run'}")
    assert run(*options, *chosen, "--benchmark-save=first")[0] == 0
    chosen = ("-k", "sequential-keep", f"--results={tmp_path / 'again'}")
    code, output = run(*options, *chosen, "--benchmark-compare=0001")
    assert code == 0, output
    assert "(0001_first)" in output
    assert "(NOW)" in output


def test_trace_profiles_each_timed_case_and_starts_no_debugger(run, tmp_path):
    folder = tmp_path / "run"
    options = ("--suite=smoke", f"--results={folder}", "--trace", "-k", "memory-gather")
    code, output = run("--benchmark-only", *options)
    assert code == 0, output
    (record,) = [
        r
        for r in map(json.loads, (folder / "records.jsonl").read_text().splitlines())
        if r["record"] == "case"
    ]
    assert record["series"]["top_operators"]
    with gzip.open(record["facts"]["trace"]) as file:
        assert json.load(file)["traceEvents"]


def test_environment_is_recorded_again_at_the_end(run, tmp_path):
    folder = tmp_path / "run"
    options = ("--suite=smoke", f"--results={folder}", "-k", "sequential-keep")
    assert run("--benchmark-only", *options)[0] == 0
    lines = [json.loads(line) for line in (folder / "records.jsonl").read_text().splitlines()]
    first, last = (r for r in lines if r["record"] == "environment")
    assert first["environment"] == last["environment"]
    assert "end" not in first["facts"]
    assert last["facts"]["end"]["ceilings"]["cpu"].keys() == last["facts"]["ceilings"]["cpu"].keys()


def test_text_full_of_markup_gives_a_harmless_report(run, tmp_path):
    book = tmp_path / "<script>alert(1)&$y_1$.txt"
    book.write_text("<script>alert(2)</script>\n</pre><img src=x onerror=alert(3)> $\\frac\n" * 900)
    folder, page = tmp_path / "run", tmp_path / "report.html"
    options = ("--suite=smoke", f"--corpus={book}", f"--results={folder}", "-k", "seed0 and train")
    code, output = run("--benchmark-only", *options)
    assert code == 0, output
    subprocess.run([sys.executable, "-m", "reports", folder, "-o", page], cwd=ROOT, check=True)
    html = page.read_text()
    assert "&lt;script&gt;" in html
    assert "<script" not in html
    assert "<img" not in html


def test_benchmark_without_cases_is_skipped_and_does_not_stop_the_suite(run, tmp_path):
    """On a slow machine nothing may be left of a benchmark."""
    folder = tmp_path / "run"
    options = (
        "--benchmark-only",
        "--suite=smoke",
        f"--results={folder}",
        "-k",
        "coverage or model",
    )
    assert run(*options, "--collect-only")[0] == 0
    assert run(*options, "-k", "sequential-keep")[0] == 0
    manifest = json.loads((folder / "run.json").read_text())
    manifest["speed"] = 0.01  # kept on resume
    (folder / "run.json").write_text(json.dumps(manifest))
    code, output = run(*options)
    assert code == 0, output
    assert "INTERNALERROR" not in output
    assert any("test_forward[" in case for case in cases(folder, "skip"))
