"""`python -m bench keep`: a finished ledger as one compressed file that is read like its folder."""

import gzip
import lzma
from pathlib import Path

import pytest

from bench.__main__ import main
from bench.comparing.history import find_runs
from bench.ledger.folders import RunFolder
from bench.ledger.ledger import file_name
from gptcore import unpacking
from tests.helpers.ledgers import environment, record, training_case, write_ledger

RUNS = [training_case("sequential", seed) for seed in range(3)]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first = RUNS[0] | {"status": "failed", "reason": "ValueError: x"}
    return write_ledger(tmp_path / "results" / "orders", [environment(), first, *RUNS])


def test_kept_ledger_is_read_as_its_folder_and_is_small(folder, tmp_path, capsys):
    assert main(["keep", str(folder)]) == 0
    kept = tmp_path / "docs" / "results" / "orders.jsonl.xz"
    assert str(kept.relative_to(tmp_path)) in capsys.readouterr().out
    one, other = RunFolder.read(folder), RunFolder.read(kept)
    assert (one.label, one.records, one.environments) == (
        other.label, other.records, other.environments
    )  # fmt: skip
    assert list(other.records) == list(one.records)
    assert kept.stat().st_size < (folder / "records.jsonl").stat().st_size / 2


def test_kept_ledger_is_the_same_file_each_time(folder, tmp_path):
    for name in ("a.xz", "b.xz"):
        assert main(["keep", str(folder), "-o", name]) == 0
    assert (tmp_path / "a.xz").read_bytes() == (tmp_path / "b.xz").read_bytes()


def test_kept_ledgers_are_compared_and_reported(folder, tmp_path, capsys):
    from reports.__main__ import main as report

    assert main(["keep", str(folder), "-o", "a.jsonl.xz"]) == 0
    assert report(["a.jsonl.xz", "-o", "r.md", "--format", "md"]) == 0
    assert main(["compare", str(folder), "a.jsonl.xz"]) == 0
    assert "No timed case is in both runs." in capsys.readouterr().out
    assert [run.label for run in find_runs([folder, Path("a.jsonl.xz")])[0]] == ["orders", "a"]


def refused(capsys, *arguments):
    code = main(["keep", *map(str, arguments)])
    error = capsys.readouterr().err
    assert code == 2
    assert error.count("\n") == 1
    return error


def test_run_that_is_not_finished_is_refused(folder, capsys, tmp_path):
    (folder / "runs" / "tutorial-0").mkdir(parents=True)
    assert "holds the training run tutorial-0" in refused(capsys, folder)
    assert not (tmp_path / "docs").exists()


def test_run_that_diverged_is_a_result(folder):
    name = "bench_convergence::test_train[b]"
    diverged = record(name, status="failed", reason="ValueError: training diverged at step 3")
    write_ledger(folder, [environment(), diverged])
    (folder / "runs" / file_name("b")).mkdir(parents=True)
    assert main(["keep", str(folder)]) == 0


def test_damaged_ledger_is_refused(folder, capsys):
    path = folder / "records.jsonl"
    path.write_bytes(path.read_bytes()[:-20])
    assert "cannot be read and is left out" in refused(capsys, folder)
    assert "not a results folder" in refused(capsys, folder.parent)


def test_ledger_that_could_not_be_read_again_is_refused(folder, capsys, monkeypatch):
    monkeypatch.setattr("bench.ledger.keep_command.MOST_UNPACKED_BYTES", 1000)
    assert "at most 1,000 come out" in refused(capsys, folder)


def test_compressed_file_that_is_damaged_or_huge_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "a.jsonl.xz"
    path.write_bytes(lzma.compress(b"x" * 10_000)[:-8])
    with pytest.raises(ValueError, match=r"a\.jsonl\.xz cannot be read"):
        RunFolder.read(path)
    path.write_bytes(gzip.compress(b"x" * 10_000))
    monkeypatch.setattr(unpacking, "MOST_UNPACKED_BYTES", 5_000)
    with pytest.raises(ValueError, match="at most 5,000 bytes"):
        RunFolder.read(path)
