"""The options of the suite, and those of pytest and pytest-benchmark beside them."""

import gzip
import json

import pytest

from tests.helpers.sessions import ONE_CASE, SMOKE


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
