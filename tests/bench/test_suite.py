"""The suite as its users run it: pytest with our options.

Two tests start processes, to kill them or to close their output. The others run pytest within
this process, where torch is loaded already, and measure the ceilings of the machine on small
products.
"""

import contextlib
import dataclasses
import errno
import gc
import gzip
import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from functools import partial

import pytest

from bench import session
from bench.experiments import convergence
from bench.experiments.kept_runs import train_kept
from bench.ledger.record import read_ledger
from bench.measuring import ceilings, pinning, processes
from bench.measuring.work import ProcessTimes
from bench.session import Session
from bench.suite import own_cases
from bench.suite.catalog import CASES
from bench.suite.plan import Plan
from bench.suite.sizes import SUITES
from reports.__main__ import main as report
from tests.helpers.checkout import ROOT
from tests.helpers.failing_calls import Fault
from tests.helpers.own_files import FULL_MASK, write_model

SMOKE = ("--benchmark-only", "--suite=smoke")
FEW_CASES = (*SMOKE, "-k", "drop_last or bench_convergence")
ONE_CASE = (*SMOKE, "-k", "sequential-keep")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Return a function that runs pytest on the benchmarks: options → exit code, output."""
    folder = tmp_path_factory.mktemp("checkout")  # where results/latest is written
    started = (f"--config-file={ROOT / 'pyproject.toml'}", "-p", "no:cacheprovider", ROOT / "bench")

    def run(*options):
        output = io.StringIO()
        with (
            pytest.MonkeyPatch.context() as patch,
            contextlib.redirect_stdout(output),
            contextlib.redirect_stderr(output),
        ):
            for name in ("conftest", "bench.conftest"):  # each session has its own
                patch.delitem(sys.modules, name, raising=False)
            patch.chdir(folder)
            patch.delenv("PYTEST_XDIST_WORKER", raising=False)  # it disables pytest-benchmark
            patch.setitem(SUITES, "smoke", dataclasses.replace(SUITES["smoke"], ceiling_s=0.01))
            patch.setattr(ceilings, "GEMM_SHAPES", ((64, 64, 64),))
            patch.setattr(ceilings, "COPY_BYTES", 2**20)
            speed = session.REFERENCE_TOKENS_PER_S  # a slower machine plans fewer cases
            patch.setattr(session, "training_tokens_per_s", lambda *_sizes: speed)
            gc.freeze()  # to collect what this process has loaded would take longer than the run
            try:
                code = pytest.main([*map(str, started), *options])
            finally:
                gc.unfreeze()
                pinning.unpin()  # a run that was refused is still pinned
        return code, output.getvalue()

    return run


@pytest.fixture(scope="module")
def finished(run, tmp_path_factory):
    """Return a folder with a run of one case, and what options of pytest-benchmark add to it."""
    folder = tmp_path_factory.mktemp("finished")
    code, output = run(
        *ONE_CASE,
        f"--results={folder / 'run'}",
        f"--benchmark-json={folder / 'out.json'}",
        f"--benchmark-storage={folder / 'storage'}",
        "--benchmark-save=first",
        "--benchmark-group-by=func",
    )
    assert code == 0, output
    return folder


@pytest.fixture
def resumable(finished, tmp_path):
    """Return a copy of the finished run: its folder, and a function that changes its manifest."""
    folder = shutil.copytree(finished / "run", tmp_path / "run")

    def change(**facts):
        manifest = json.loads((folder / "run.json").read_text())
        manifest["fingerprint"] |= facts.pop("fingerprint", {})
        (folder / "run.json").write_text(json.dumps(manifest | facts))

    return folder, change


def cases(folder, record="case"):
    *lines, _unfinished = (folder / "records.jsonl").read_bytes().split(b"\n")  # it may be growing
    return [r["case"] for r in map(json.loads, lines) if r["record"] == record]


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


def test_folder_of_other_code_is_refused_with_exit_code_2(run, resumable):
    folder, change = resumable
    change(fingerprint={"loss": {"source_sha256": "0" * 64}})
    before = (folder / "records.jsonl").read_bytes()
    code, output = run(*ONE_CASE, f"--results={folder}")
    assert code == 2
    assert f"loss.source_sha256 was {'0' * 59}… and is" in output
    assert "Traceback" not in output
    assert (folder / "records.jsonl").read_bytes() == before


def test_losses_go_on_in_another_environment_and_times_do_not(run, resumable):
    folder, change = resumable
    manifest = json.loads((folder / "run.json").read_text())["fingerprint"]
    change(fingerprint={"time": manifest["time"] | {"threads": 99}})
    code, output = run(*SMOKE, f"--results={folder}", "-k", "sequential-keep or sequential-drop")
    assert code == 0, output
    assert "another environment than before: threads was 99 and is" in output
    assert len(cases(folder)) == 2
    environments = {r["environment"] for r in read_ledger(folder)[0].values() if r["case"]}
    assert len(environments) == 2
    code, output = run(*SMOKE, f"--results={folder}", "-k", "test_forward or sequential-keep")
    assert code == 2
    assert "takes a time; -k selects cases that take none" in output
    assert "Traceback" not in output


def test_text_whose_name_is_not_ascii_has_whole_case_ids(run, tmp_path):
    book = tmp_path / "bücher.txt"
    book.write_text("The cat sat on the mat. " * 2000)
    folder = tmp_path / "run"
    options = (*SMOKE, f"--corpus={book}", f"--results={folder}", "-k", "sequential-keep")
    assert run(*options)[0] == 0
    assert all("[bücher-" in name for name in cases(folder))
    assert "1 skipped" in run(*options)[1]


def test_slow_machine_leaves_out_what_was_asked_for_and_not_what_is_finished(
    run, resumable, monkeypatch
):
    monkeypatch.setitem(SUITES, "smoke", dataclasses.replace(SUITES["smoke"], limited=True))
    folder, change = resumable
    change(speed=0.001)  # kept on resume
    code, output = run(*SMOKE, f"--results={folder}", "-k", "sequential-drop or sequential-keep")
    assert code == 0, output
    assert "1 cases, the last of the suite, are left out" in output
    assert len(cases(folder)) == 1
    assert len(cases(folder, "skip")) == 2  # the other one needs an accelerator


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--suite=huge", "suite 'huge' is unknown"),
        ("--devices=abacus", "device 'abacus' is not here"),
        ("--corpus=/nowhere/book.txt", "/nowhere/book.txt"),
        ("--corpus={tmp}/words.txt", "needs at least"),
        ("--corpus={tmp}/\x1b[2J\n.txt", r"\x1b[2J\n.txt"),
        ("--corpus=" + "a" * 300, "aaa"),
        ("--suite=\x1b[2J", r"suite '\x1b[2J' is unknown"),
        ("--results=", "is not a path"),
        ("--results={tmp}/words.txt", "words.txt"),
        ("--results={tmp}/words.txt/run", "words.txt/run"),
        ("--results=" + "a" * 300, "aaa"),
        ("--suite=--", "'--' is"),  # Python 3.13 passes it on
        ("--corpus=--", "'--'"),
        ("--dist=load", "leave out -n"),
        ("--tx=2*popen", "leave out -n"),
        ("--benchmark-histogram", "needs pygal"),
        ("--benchmark-json={tmp}/none/out.json", "none/out.json: No such file"),
        ("--benchmark-json={tmp}", "Is a directory"),
        ("--benchmark-json={tmp}/words.txt/out.json", "Not a directory"),
        ("--benchmark-autosave --benchmark-storage={tmp}/words.txt", "File exists"),
    ],
)
def test_bad_option_ends_with_one_line_and_exit_code_2(run, tmp_path, option, message):
    (tmp_path / "words.txt").write_text("only three words")
    options = option.replace("{tmp}", str(tmp_path)).split(" ")
    code, output = run("--benchmark-only", f"--results={tmp_path / 'run'}", *options)
    assert code == 2
    assert message in output
    assert "\x1b" not in output
    assert "Traceback" not in output
    assert "INTERNALERROR" not in output
    assert not (tmp_path / "run").exists()


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


@pytest.mark.parametrize(
    "put",
    [
        lambda path: path.mkdir(),
        lambda path: os.mkfifo(path),
        lambda path: path.symlink_to(path.name),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"\xff\x00"),
        lambda path: path.write_text("[" * 100_000),
        *(
            lambda path, text=text: path.write_text(text)
            for text in ("[]", "3", "null", "{}", '{"fingerprint": 3}', '{"fingerprint": null}')
        ),
    ],
)
def test_run_json_of_any_content_ends_with_one_line_and_exit_code_2(run, tmp_path, put):
    put(tmp_path / "run.json")
    code, output = run(*ONE_CASE, f"--results={tmp_path}")
    assert code == 2
    assert "run.json" in output or "holds another run" in output
    assert "Traceback" not in output
    assert "INTERNALERROR" not in output


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


def test_home_folder_is_meant_by_a_tilde(run, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "book.txt").write_text("only three words")
    code, output = run("--benchmark-only", "--corpus=~/book.txt", "--results=~/run")
    assert code == 2
    assert "corpus book has 3 tokens" in output
    options = ("--corpus=~/book.txt", "--results=~/run", "--benchmark-json=~/out.json")
    assert run(*SMOKE, *options[1:], "-k", "nothing")[0] == 5
    assert (tmp_path / "run" / "run.json").exists()
    assert (tmp_path / "out.json").exists()


def test_texts_of_one_name_are_told_apart_by_their_folders(run, tmp_path):
    options = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "book.txt").write_text(f"The {name} cat sat on the mat. " * 2000)
        options.append(f"--corpus={tmp_path / name / 'book.txt'}")
    options += [f"--results={tmp_path / 'run'}", "-k", "seed0 and train"]
    code, output = run(*SMOKE, *options)
    assert code == 0, output
    found = cases(tmp_path / "run")
    assert {"a_book", "b_book"} == {name.split("-")[1] for name in found}


TEXTS = {
    "table": "".join(f"| {i:<24} | {i * i:>24} | {i % 3:<12} |\n" for i in range(600)),
    "chinese": "".join(chr(0x4E00 + i * i % 2503) for i in range(20_000)),
    "one line": " ".join(f"word{i * i % 1009}" for i in range(9_000)),
}
"""In tables GPT-2's tokens repeat; Chinese has 2 tokens and more in a character."""


@pytest.mark.parametrize("text", TEXTS)
def test_suite_runs_on_texts_other_than_prose(run, tmp_path, monkeypatch, text):
    # New processes would time the same work again, and take most of the time of this test.
    times = [ProcessTimes([0.01], {"base_bytes": 2**20, "peak_bytes": 2**20})]
    monkeypatch.setattr(processes, "measure_in_processes", lambda *_arguments: times)
    book = tmp_path / f"{text}.txt"
    book.write_text(TEXTS[text], encoding="utf-8")
    options = (f"--corpus={book}", f"--results={tmp_path / 'run'}")
    options += ("-k", "test_forward or bench_position or test_coverage")
    code, output = run(*SMOKE, *options)
    assert code == 0, output
    modules = {case.partition("::")[0] for case in cases(tmp_path / "run")}
    assert modules == {"bench_model", "bench_position", "bench_coverage"}


def test_plain_pytest_times_nothing(run):
    code, output = run("-q")
    assert "passed" not in output
    assert "skipped" in output
    assert code == 0


def test_pytest_benchmark_options_still_work(finished):
    (benchmark,) = json.loads((finished / "out.json").read_text())["benchmarks"]
    assert benchmark["group"] == "coverage"
    assert benchmark["extra_info"]["sampler"] == "sequential"


def test_runs_saved_by_pytest_benchmark_are_compared_by_it(run, finished, tmp_path):
    storage = f"--benchmark-storage={finished / 'storage'}"
    again = f"--results={tmp_path / 'again'}"
    code, output = run(*ONE_CASE, storage, again, "--benchmark-compare=0001")
    assert code == 0, output
    assert "(0001_first)" in output
    assert "(NOW)" in output


def test_trace_profiles_each_timed_case_and_starts_no_debugger(run, tmp_path):
    folder = tmp_path / "run"
    code, output = run(*SMOKE, f"--results={folder}", "--trace", "-k", "memory-gather")
    assert code == 0, output
    (record,) = [
        r
        for r in map(json.loads, (folder / "records.jsonl").read_text().splitlines())
        if r["record"] == "case"
    ]
    assert record["series"]["top_operators"]
    with gzip.open(record["facts"]["trace"]) as file:
        assert json.load(file)["traceEvents"]


def test_environment_is_recorded_again_at_the_end(finished):
    lines = (finished / "run" / "records.jsonl").read_text().splitlines()
    first, last = (r for r in map(json.loads, lines) if r["record"] == "environment")
    assert first["environment"] == last["environment"]
    assert "end" not in first["facts"]
    assert last["facts"]["end"]["ceilings"]["cpu"].keys() == last["facts"]["ceilings"]["cpu"].keys()


def test_text_full_of_markup_gives_a_harmless_report(run, tmp_path):
    book = tmp_path / "<script>alert(1)&$y_1$.txt"
    book.write_text("<script>alert(2)</script>\n</pre><img src=x onerror=alert(3)> $\\frac\n" * 900)
    folder, page = tmp_path / "run", tmp_path / "report.html"
    options = (f"--corpus={book}", f"--results={folder}", "-k", "seed0 and train")
    code, output = run(*SMOKE, *options)
    assert code == 0, output
    assert report([str(folder), "-o", str(page)]) == 0
    html = page.read_text()
    assert "&lt;script&gt;" in html
    assert "<script" not in html
    assert "<img" not in html


def test_benchmark_without_cases_is_skipped_and_does_not_stop_the_suite(
    run, resumable, monkeypatch
):
    monkeypatch.setitem(CASES, "bench_coverage::test_ledger", lambda _plan: [])
    folder, _ = resumable
    code, output = run(*SMOKE, f"--results={folder}", "-k", "sequential-keep or test_ledger")
    assert code == 0, output
    assert "2 skipped" in output  # the other one was finished before


OWN_LOADER = """

from gptcore.data.corpora import load_corpus
from gptcore.data.tokens import TokenStream

IDS = torch.from_numpy(TokenStream.from_text(load_corpus(BOOK).text).ids)


def get_batch(split):
    starts = torch.randint(int(0.9 * len(IDS)) - 32, (4,)).tolist()
    x = torch.stack([IDS[i : i + 32] for i in starts])
    return x, torch.stack([IDS[i + 1 : i + 33] for i in starts])
"""


@pytest.fixture
def small_runs(monkeypatch):
    sizes = own_cases.OWN_SIZES["smoke"]
    run = {**sizes.run, "budget_flops": 3e8, "test_tokens": 256}
    monkeypatch.setitem(own_cases.OWN_SIZES, "smoke", dataclasses.replace(sizes, run=run))
    monkeypatch.setattr(sys, "path", sys.path[:])


@pytest.mark.usefixtures("small_runs")
def test_own_model_is_checked_audited_and_trained_and_its_path_is_in_no_record(run, tmp_path):
    book, folder = tmp_path / "book.txt", tmp_path / "run"
    words = random.Random(0).choices(
        ["the", "cat", "sat", "on", "a", "mat", "and", "saw", "no", "dog", "in", "sight"], k=4000
    )
    book.write_text(" ".join(words))
    loader = OWN_LOADER.replace("BOOK", repr(str(book)))
    path = write_model(tmp_path, "my-model.py", more=loader)
    options = (f"--model={path}", f"--corpus={book}", f"--results={folder}")
    chosen = "test_checks or test_loader or (test_train and seed0) or test_compare"
    code, output = run(*SMOKE, *options, "-k", chosen)
    assert code == 0, output
    assert "model my_model.py, corpus book" in output
    assert str(path) not in (folder / "records.jsonl").read_text()
    records = [json.loads(line) for line in (folder / "records.jsonl").read_text().splitlines()]
    done = [r for r in records if r["record"] == "case"]
    assert done[0]["case"].startswith("bench_own::test_checks")
    assert done[0]["metrics"]["checks_fault"] == 0
    audit, *training = done[1:]
    assert audit["metrics"]["audit_faults"] == audit["metrics"]["targets_equal_inputs"] == 0
    assert [r["params"]["arm"] for r in training] == [
        "gptcore-sampler", "my_model.py-sampler", "my_model.py-get_batch"
    ]  # fmt: skip
    assert len({r["metrics"]["final_test_loss"] for r in training}) == 3
    assert all(r["metrics"]["steps"] >= 20 for r in training)
    file = json.loads((folder / "run.json").read_text())["fingerprint"]["loss"]["model"]
    assert file["name"] == "my_model.py"
    assert report([str(folder), "-o", str(tmp_path / "page.html")]) == 0
    assert "Your model" in (tmp_path / "page.html").read_text()
    path.write_text(path.read_text() + "\n# changed\n")
    code, output = run(*SMOKE, *options, "-k", "test_checks")
    assert code == 2
    assert "loss.model.sha256 was" in output


@pytest.mark.usefixtures("small_runs")
def test_faulty_model_is_recorded_and_neither_timed_in_turns_nor_trained(run, tmp_path):
    path = write_model(tmp_path, mask=FULL_MASK)
    options = (f"--model={path}", f"--results={tmp_path / 'run'}")
    code, output = run(*SMOKE, *options, "-k", "test_checks or test_pair or (test_train and seed0)")
    assert code == 0, output
    (checked,) = cases(tmp_path / "run")
    assert "test_checks" in checked
    records = map(json.loads, (tmp_path / "run" / "records.jsonl").read_text().splitlines())
    reasons = [r["reason"] for r in records if r["record"] == "skip" and "mine" in r["reason"]]
    assert len(reasons) == 5
    assert all("the check causality found a fault" in reason for reason in reasons)


def test_model_file_that_trains_is_refused_in_one_line(run, tmp_path):
    path = tmp_path / "train.py"
    path.write_text("for _ in range(3):\n    loss.backward()\n")
    code, output = run(*SMOKE, f"--model={path}", f"--results={tmp_path / 'run'}")
    assert code == 2
    assert "trains when it is imported" in output
    assert "Traceback" not in output
    assert not (tmp_path / "run").exists()
