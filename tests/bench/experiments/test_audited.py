"""A training run that reads a real DataLoader: audited, resumable, and alike after a kill."""

from types import SimpleNamespace

import numpy as np
import pytest

from bench.experiments import convergence
from bench.experiments.convergence import Experiment, train_and_score
from bench.measuring.work import Result
from bench.suite.training_cases import TrainCase
from gptcore.data.splits import make_split
from gptcore.data.tokens import TokenStream
from gptcore.data.vocabulary import gpt2

SMALL = {"n_layer": 1, "n_head": 1, "n_embd": 8, "block_size": 8, "batch_size": 4}
IDS = np.random.default_rng(0).integers(0, 50_257, 1055)
"""117 blocks of 8 tokens to train on: 29 batches of 4, and one block that is dropped."""


BENCHMARK = SimpleNamespace(pedantic=lambda call, args, rounds: call(*args))  # noqa: ARG005


class Killed(BaseException):
    pass


def make_case(sampler, **options):
    options = {"reader": "dataloader", "target_epochs": 3.2} | SMALL | options
    return TrainCase("samplers", "text", 1, sampler, **options)


def make_session(folder):
    stream = TokenStream(IDS, 50_257)
    return SimpleNamespace(
        own=None,
        stream=lambda *_, **__: stream,
        split=lambda _, spec, n_tokens, **sizes: make_split(spec, n_tokens, **sizes),
        vocabulary=lambda _: gpt2(),
        count_bytes=lambda _, ids: int(gpt2().token_bytes(ids).sum()),
        devices={"cpu": ("fp32",)},
        run_folder=lambda case: folder / case.id,
    )


def train(folder, case, kill_at=None, monkeypatch=None):
    """Return the record's metrics, facts and losses."""
    if kill_at is not None:
        evaluate = Experiment.evaluate

        def killed(self, *args):
            if getattr(self, "evaluated", 0) == kill_at:
                raise Killed
            self.evaluated = getattr(self, "evaluated", 0) + 1
            return evaluate(self, *args)

        with monkeypatch.context() as patch:
            patch.setattr(Experiment, "evaluate", killed)
            with pytest.raises(Killed):
                train_and_score(BENCHMARK, Result(), make_session(folder), case)
    result = Result()
    train_and_score(BENCHMARK, result, make_session(folder), case)
    return result


@pytest.mark.parametrize("sampler", ["sequential", "shuffled_blocks"])
def test_resumed_run_reads_and_audits_what_an_unbroken_one_does(sampler, tmp_path, monkeypatch):
    case = make_case(sampler)
    whole = train(tmp_path / "whole", case)
    resumed = train(tmp_path / "resumed", case, 4, monkeypatch)
    assert resumed.series["loss_curve"] == whole.series["loss_curve"]
    assert resumed.series["test_curve"] == whole.series["test_curve"]
    assert resumed.facts["audit"] == whole.facts["audit"]
    assert (
        resumed.metrics["audited_draws"]
        == whole.metrics["audited_draws"]
        == resumed.metrics["draws"]
        > 3 * 117
    )


def test_audit_of_a_sound_loader_agrees_with_the_sampler_that_stands_for_it(tmp_path):
    metrics = train(tmp_path / "a", make_case("sequential")).metrics
    assert metrics["missed_targets"] == metrics["expected_missed_targets"] == 8 + 4
    assert metrics["repeated_windows"] == metrics["expected_repeated_windows"]
    assert (metrics["audit_faults"], metrics["identical_epochs"]) == (1, 2)
    metrics = train(tmp_path / "b", make_case("shuffled_blocks")).metrics
    assert metrics["missed_targets"] == 4
    assert (metrics["audit_faults"], metrics["identical_epochs"]) == (0, 0)


def test_audit_names_the_fault_of_a_loader_that_training_read(tmp_path, monkeypatch):
    passes = convergence.loader_passes

    def every_second_batch_again(*args, **options):
        for batch in passes(*args, **options):
            yield batch
            yield batch

    with monkeypatch.context() as patch:
        patch.setattr(convergence, "loader_passes", every_second_batch_again)
        result = train(tmp_path, make_case("shuffled_blocks"))
    assert result.metrics["audit_faults"] >= 1
    assert "fault" in {finding["severity"] for finding in result.facts["audit"]}


def test_reader_of_a_sampler_that_no_dataloader_has_is_refused(tmp_path):
    with pytest.raises(ValueError, match="a DataLoader reads as sequential or shuffled_blocks"):
        train(tmp_path, make_case("golden"))


def test_runs_without_a_dataloader_have_no_audit(tmp_path):
    result = train(tmp_path, make_case("sequential", reader="sampler"))
    assert "audit" not in result.facts
    assert "audit_faults" not in result.metrics
