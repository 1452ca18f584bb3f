"""The suite with published weights, and without them."""

import pytest

from bench.ledger.record import read_ledger
from bench.suite.reuse import COMMAND, REUSE
from gptcore.model.config import ModelConfig
from gptcore.model.gpt import GPT
from gptcore.model.pretrained import save_pretrained
from tests.helpers.sessions import SMOKE


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Return a folder with small random weights in the published layout."""
    folder = tmp_path_factory.mktemp("weights") / "my-weights"
    save_pretrained(GPT(ModelConfig(n_layer=1, n_head=2, n_embd=16, block_size=64)), folder)
    return folder


def records_of(folder):
    return read_ledger(folder)[0].values()


def test_published_weights_are_scored_and_fine_tuned_beside_training_from_scratch(
    run, weights, tmp_path
):
    results = tmp_path / "run"
    options = (*SMOKE, f"--results={results}", f"--pretrained={weights}")
    code, output = run(*options, "-k", "bench_reuse")
    assert code == 0, output
    known = {r["group"]: r for r in records_of(results) if r["record"] == "case"}
    assert known.keys() == {"published", "reuse_runs", "reuse"}
    rows = known["reuse"]["series"]["reuse_options"]
    assert [row["option"] for row in rows] == ["published", "scratch", "fine_tuned"]
    tuned = known["reuse_runs"]
    assert tuned["params"]["model"] == "my_weights"
    start = tuned["series"]["test_curve"][0]["loss"]
    assert start == pytest.approx(known["published"]["metrics"]["final_test_loss"], abs=1e-5)
    assert str(weights) not in (results / "records.jsonl").read_text()
    # Other weights are another run.
    save_pretrained(
        GPT(ModelConfig(n_layer=1, n_head=2, n_embd=16, block_size=64), seed=1),
        tmp_path / "my-weights",
    )
    code, output = run(
        *options[:-1], f"--pretrained={tmp_path / 'my-weights'}", "-k", "test_decision"
    )
    assert code == 2
    assert "pretrained.sha256 was" in output


def test_without_weights_their_cases_say_what_to_give(run, tmp_path):
    code, output = run(*SMOKE, f"--results={tmp_path / 'run'}", "-k", "test_published")
    assert code == 0, output
    (reason,) = {r["reason"] for r in records_of(tmp_path / "run") if "not_given" in str(r["case"])}
    assert "--pretrained=DIR" in reason


def test_suite_without_published_weights_records_the_command_and_refuses_them(
    run, weights, tmp_path, monkeypatch
):
    monkeypatch.delitem(REUSE, "smoke")
    code, output = run(*SMOKE, f"--results={tmp_path / 'run'}", "-k", "sequential-keep")
    assert code == 0, output
    (reason,) = [r["reason"] for r in records_of(tmp_path / "run") if "reuse" in str(r["case"])]
    assert reason.endswith(f"{COMMAND} does")
    code, output = run(*SMOKE, f"--pretrained={weights}", "-k", "sequential-keep")
    assert code == 2
    assert "--pretrained goes with --suite=study and without --model" in output


def test_empty_name_of_published_weights_is_refused(run):
    code, output = run(*SMOKE, "--pretrained=", "-k", "test_decision")
    assert code == 2
    assert "'' is no model: give a folder or a name" in output
