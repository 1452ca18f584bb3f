"""A folder is gone on with where nothing forbids it, and else refused in one line."""

import dataclasses
import json
import os

import pytest

from bench.ledger.record import read_ledger
from bench.suite.catalog import CASES
from bench.suite.sizes import SUITES
from tests.helpers.sessions import ONE_CASE, SMOKE, cases


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


def test_benchmark_without_cases_is_skipped_and_does_not_stop_the_suite(
    run, resumable, monkeypatch
):
    monkeypatch.setitem(CASES, "bench_coverage::test_ledger", lambda _plan: [])
    folder, _ = resumable
    code, output = run(*SMOKE, f"--results={folder}", "-k", "sequential-keep or test_ledger")
    assert code == 0, output
    assert "2 skipped" in output  # the other one was finished before


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
