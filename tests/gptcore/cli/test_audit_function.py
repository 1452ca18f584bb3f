"""`gptcore audit FILE.py:get_batch`: the file is run, and its batches are audited."""

import json

import numpy as np
import pytest

from gptcore.cli.main import main

FILE = """
import numpy as np, torch
import calls_made
print("the file is run")
data = {s: torch.from_numpy(np.fromfile(f"data/{s}.bin", np.uint16).astype(np.int64))
        for s in ("train", "val")}
own = torch.Generator().manual_seed(1)
def get_batch(split, generator=None):
    print("a batch is drawn")
    calls_made.calls += 1
    i = torch.randint(len(data[split]) - 8, (4,), generator=generator)[:, None] + torch.arange(8)
    return data[split][i], data[split][i + 1]
def one_order(split): return get_batch(split, own)
def unseeded(split): return get_batch(split, torch.Generator().manual_seed(torch.seed() % 2**32))
def counting(split): return get_batch(split, torch.Generator().manual_seed(calls_made.calls))
def leaking(split): return get_batch("val")
def copying(split): return (get_batch(split)[0],) * 2
def failing(split): return data["test"]
"""


@pytest.fixture
def audit(tmp_path, monkeypatch, capsys):
    """Run the command on a function of FILE; return its exit code, JSON object and errors."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "mine.py").write_text(FILE)
    (tmp_path / "calls_made.py").write_text("calls = 0\n")
    (tmp_path / "data").mkdir()
    ids = np.random.default_rng(0).integers(65, size=1_200).astype(np.uint16)
    ids[:1_000].tofile(tmp_path / "data" / "train.bin")
    ids[1_000:].tofile(tmp_path / "data" / "val.bin")

    def run(function, *options):
        argv = ["audit", f"mine.py:{function}", "--corpus", "data", "--batches", "50", *options]
        code = main([*argv, "--json"])
        streams = capsys.readouterr()
        return code, json.loads(streams.out or "null"), streams.err

    return run


def kinds(result):
    return [(finding["kind"], finding["severity"]) for finding in result["findings"]]


@pytest.mark.parametrize("part", ["train", "val"])
def test_a_sound_loader_passes(audit, part):
    code, result, error = audit("get_batch", "--part", part, "--fail-on", "fault")
    assert (code, result["part"], result["rows"], kinds(result)) == (0, part, 200, [])
    assert result["n_tokens"] == (1_000 if part == "train" else 200)
    assert "a batch is drawn" in error


def test_a_fault_ends_with_1_where_it_is_asked_for(audit):
    assert audit("copying")[0] == 0
    code, result, _ = audit("copying", "--fail-on", "fault")
    assert (code, kinds(result)) == (1, [("targets_equal_inputs", "fault")])
    assert result["targets_equal_inputs"] == 200
    assert audit("copying", "--fail-on", "fault", "--model-shifts", "yes")[0] == 0


def test_counts_are_null_where_no_row_is_of_the_part(audit):
    code, result, _ = audit("leaking", "--fail-on", "fault")
    assert (code, result["other_parts"], result["missed_targets"]) == (1, {"val": 200}, None)


def test_a_loader_that_ignores_its_seed_is_told(audit):
    assert kinds(audit("one_order")[1]) == [("seed_ignored", "note")]
    assert kinds(audit("unseeded")[1]) == [("not_reproducible", "note")]


def test_a_module_beside_the_file_begins_anew_with_each_start(audit):
    assert audit("failing")[0] == 2  # after an error, too
    assert kinds(audit("counting")[1]) == [("seed_ignored", "note")]


@pytest.mark.parametrize(
    ("function", "options", "message"),
    [
        ("get_batch", ("--part", "test"), "the corpus has the parts train, val"),
        ("get_batch", ("--batches", "0"), "batches is 0: give a whole number of at least 1"),
        ("get_batch", ("--tokens", "9"), "--tokens is for a log of draws: leave it out"),
        ("nothing", (), "mine.py has no function 'nothing'"),
        ("failing", (), "raised KeyError: 'test' in line 18 of mine.py"),
    ],
)
def test_what_cannot_be_audited_is_one_line(audit, function, options, message):
    code, result, error = audit(function, *options)
    lines = [line for line in error.splitlines() if "is run" not in line]
    assert (code, result, len(lines)) == (2, None, 1)
    assert message in lines[0]


def test_options_of_a_function_are_refused_for_a_log(capsys, tmp_path):
    assert main(["audit", str(tmp_path / "log.csv"), "--tokens", "9", "--batches", "5"]) == 2
    assert "--batches is for a function, FILE.py:get_batch" in capsys.readouterr().err


@pytest.mark.usefixtures("audit")
def test_rows_of_tokens_are_looked_up_in_parts_that_lie_in_separate_files(capsys):
    ids = np.fromfile("data/train.bin", np.uint16)
    np.save("rows.npy", ids[:999].reshape(-1, 9))
    assert main(["audit", "rows.npy", "--corpus", "data", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["draws"], result["n_tokens"]) == (111, 1_200)
