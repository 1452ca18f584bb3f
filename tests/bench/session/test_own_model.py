"""The suite on a model file of the user."""

import dataclasses
import json
import random
import sys

import pytest

from bench.suite import own_cases
from reports.__main__ import main as report
from tests.helpers.own_files import FULL_MASK, write_model
from tests.helpers.sessions import SMOKE, cases

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
