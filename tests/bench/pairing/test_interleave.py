"""Two checkouts timed in turns, which here are folders with a stand-in of what times a case."""

import json

import pytest

from bench.__main__ import main
from bench.ledger.folders import RunFolder
from bench.pairing import interleave
from tests.helpers.checkout import ROOT

PROCESSES = """
import json, pathlib, sys
task = json.loads(sys.stdin.readline())
if task["name"] == "failing":
    sys.exit("out of memory")
print(json.dumps({"time_s": [float(pathlib.Path("level_s.txt").read_text())] * 3, "peaks": {}}))
"""
LISTING = """
import json, pathlib, sys
task = json.loads(sys.stdin.readline())
print("noise")
print(pathlib.Path("cases.json").read_text())
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    path = tmp_path / "listing.py"
    path.write_text(LISTING)
    monkeypatch.setattr(interleave, "LISTING", path)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def calls(monkeypatch):
    """Stand in for the processes: every four of them the machine becomes 30 % slower."""
    made = []

    def listed(_program, _task, root):
        return json.loads((root / "cases.json").read_text())

    def ask(task, root):
        made.append(f"{root.name} {task['name']}")
        if made[-1] == "new failing":
            raise ValueError("out of memory")
        n = len(made)
        drift = 1.3 ** ((n - 1) // 4) * (1 + 0.001 * (n * n % 7))
        time_s = float((root / "level_s.txt").read_text()) * drift
        references = {} if root.name == "old" else {"reference_s": [1.0, 1.0]}
        return {"time_s": [time_s] * 3, "peaks": {}, "references": references}

    monkeypatch.setattr(interleave, "run_python", listed)
    monkeypatch.setattr(interleave, "ask", ask)
    return made


def checkout(folder, level_s=0.1, names="a b c d e f"):
    """A checkout whose cases take `level_s` each."""
    for name in ("bench/measuring", "bench/suite", "gptcore"):
        (folder / name).mkdir(parents=True)
    for name in ("__init__.py", "measuring/__init__.py", "suite/catalog.py"):
        (folder / "bench" / name).touch()
    (folder / "gptcore" / "__init__.py").touch()
    (folder / "bench" / "measuring" / "processes.py").write_text(PROCESSES)
    (folder / "level_s.txt").write_text(str(level_s))
    cases = {
        f"bench_model::test_step[{name}]": {
            "group": "model",
            "params": {},
            "seed": 0,
            "task": {"name": name},
        }
        for name in names.split()
    }
    facts = {"run": {"threads": 1}, "machine": {"cpu": "Example"}}
    fingerprint = {"source_sha256": str(level_s)}
    known = {"cases": cases, "fingerprint": fingerprint, "facts": facts, "commit": None}
    (folder / "cases.json").write_text(json.dumps(known))
    return folder


def compare(monkeypatch, capsys, old, new, *options):
    monkeypatch.setattr(interleave, "ROOT", new)
    given = ["compare", "--interleave", str(old), "--rounds", "3", "--format", "json"]
    code = main([*given, "--results", "run", *options])
    printed = capsys.readouterr()
    return code, json.loads(printed.out) if printed.out else None, printed.err


@pytest.fixture
def both(tmp_path):
    return checkout(tmp_path / "old"), checkout(tmp_path / "new")


def test_drift_of_the_machine_cancels_and_the_order_alternates(both, monkeypatch, capsys, calls):
    code, found, error = compare(monkeypatch, capsys, *both)
    assert (code, found["counts"]["same"], found["paired"]) == (0, 6, True), error
    assert found["detectable_ratio"] < 1.03
    assert calls[:6] == ["old a", "new a", "new b", "old b", "old c", "new c"]
    assert calls[12:14] == ["new a", "old a"]
    assert "[36/36] round 3" in error
    assert "to go" in error


def test_a_slowdown_is_found_and_the_ledgers_say_that_they_are_paired(
    tmp_path, monkeypatch, capsys, calls
):
    old, new = checkout(tmp_path / "old"), checkout(tmp_path / "new", level_s=0.105)
    code, found, _ = compare(monkeypatch, capsys, old, new, "--require-power")
    assert (code, found["counts"]["slower"]) == (1, 6)
    assert main(["compare", "run/base", "run/new", "--format", "json"]) == 1
    assert json.loads(capsys.readouterr().out)["cases"] == found["cases"]


def test_only_common_cases_with_the_text_are_run(tmp_path, monkeypatch, capsys, calls):
    old, new = checkout(tmp_path / "old", names="a b"), checkout(tmp_path / "new", names="b c bb")
    compare(monkeypatch, capsys, old, new, "-k", "[b")
    assert set(calls) == {"old b", "new b"}


def test_a_stopped_run_goes_on_and_repeats_no_whole_round(
    both, tmp_path, monkeypatch, capsys, calls
):
    ask = interleave.ask

    def stop(*arguments):
        if len(calls) == 15:  # case b has its second round on one side only
            raise KeyboardInterrupt
        return ask(*arguments)

    monkeypatch.setattr(interleave, "ask", stop)
    assert compare(monkeypatch, capsys, *both)[0] == 130
    monkeypatch.setattr(interleave, "ask", ask)
    code, found, _ = compare(monkeypatch, capsys, *both)
    assert (code, len(found["cases"])) == (0, 6)
    assert len(calls) == 37  # that one side is timed again beside the other
    for name in ("base", "new"):
        records = RunFolder.read(tmp_path / "run" / name).records.values()
        assert {len(r["samples"]["process_time_s"]) for r in records} == {3}
        assert {len(r["samples"]["time_s"]) for r in records} == {9}


@pytest.mark.parametrize("names", ["a b failing", "a failing b"])
def test_a_case_that_fails_is_missing_whichever_side_comes_first(
    tmp_path, monkeypatch, capsys, calls, names
):
    old, new = checkout(tmp_path / "old", names=names), checkout(tmp_path / "new", names=names)
    code, found, _ = compare(monkeypatch, capsys, old, new)
    (row,) = [row for row in found["cases"] if row["verdict"] == "missing"]
    assert code == 3
    assert "out of memory" in row["reason"]
    assert sum("failing" in call for call in calls) == 2


def test_other_code_does_not_go_on_in_the_folder(both, tmp_path, monkeypatch, capsys, calls):
    compare(monkeypatch, capsys, *both, "-k", "[a]")
    other = checkout(tmp_path / "other" / "new", level_s=0.2)
    code, _, error = compare(monkeypatch, capsys, both[0], other, "-k", "[a]")
    assert (code, error.count("\n")) == (2, 1)
    assert "holds another run" in error


@pytest.mark.parametrize(
    ("make", "options", "message"),
    [
        (lambda path: path.mkdir(), (), "is not a checkout of gptcore"),
        (lambda _path: None, (), "is not a checkout of gptcore"),
        (lambda path: checkout(path, names="x y"), (), "no timed case of suite smoke"),
        (checkout, ("-k", "nothing"), "no timed case of suite smoke"),
        (checkout, ("--normalise",), "leave out runs and --normalise"),
        (checkout, ("--suite", "other"), "suite 'other' is unknown: choose one of smoke"),
        (checkout, ("base",), "leave out runs and --normalise"),
    ],
)
def test_bad_input_ends_in_one_line(tmp_path, monkeypatch, capsys, calls, make, options, message):
    make(tmp_path / "old")
    new = checkout(tmp_path / "new")
    code, found, error = compare(monkeypatch, capsys, tmp_path / "old", new, *options)
    assert (code, found) == (2, None)
    assert message in error
    assert error.count("\n") == 1


def test_a_checkout_that_cannot_list_its_cases_says_why(both, monkeypatch, capsys):
    (both[0] / "cases.json").unlink()
    code, _, error = compare(monkeypatch, capsys, *both)
    assert (code, error.count("\n")) == (2, 1)
    assert "cannot list its cases" in error


def test_each_process_runs_the_code_of_its_own_checkout(tmp_path, monkeypatch, capsys):
    old, new = checkout(tmp_path / "old"), checkout(tmp_path / "new", level_s=0.2)
    _, found, error = compare(monkeypatch, capsys, old, new, "-k", "[a]", "--rounds", "2")
    assert found, error
    (row,) = found["cases"]
    assert (row["base_s"], row["new_s"]) == pytest.approx((0.1, 0.2))


def test_this_checkout_lists_the_cases_that_are_timed(monkeypatch):
    monkeypatch.setattr(interleave, "LISTING", ROOT / "bench" / "pairing" / "listing.py")
    listed = interleave._list(ROOT, "smoke", ["python-docs"])
    tests = {name.partition("[")[0] for name in listed["cases"]}
    assert {"bench_model::test_step", "bench_model::test_forward"} < tests
    assert not any("bench_pair" in test or "growth" in test for test in tests)
    assert {case["group"] for case in listed["cases"].values()} >= {"model", "throughput"}
