"""What the benchmark of inference notes: intervals of predictions, and the samples of a target."""

import numpy as np
import pytest

from bench.bench_inference import _note_axis, _note_pass
from bench.ledger.schema import METRICS, SERIES
from bench.measuring.work import Result


def drawn(prompts):
    generator = np.random.default_rng(0)
    return generator.random((prompts, 16)) < generator.beta(0.5, 3, size=(prompts, 1))


def test_pass_at_k_is_predicted_from_a_quarter_of_the_samples_and_measured():
    result, solved = Result(), drawn(40)
    _note_pass(result, solved)
    assert set(result.metrics) <= set(METRICS)
    rows = result.series["by_pass"]
    measured = solved.any(axis=1).mean()
    assert rows[4]["value"] == measured
    low, high = (result.metrics[f"pass_predicted_{end}"] for end in ("low", "high"))
    assert low <= measured <= high
    assert tuple(rows[0]) == SERIES["by_pass"]
    assert [row["x"] for row in rows if row["value"] is not None] == [1, 2, 4, 8, 16]
    assert rows[-1]["x"] == 256


def test_too_few_prompts_have_no_pass_at_k():
    result = Result()
    _note_pass(result, drawn(4))
    assert not result.metrics
    assert not result.series


def test_the_prediction_of_a_rising_accuracy_has_ordered_ends(monkeypatch):
    monkeypatch.setattr("gptcore.evaluation.inference_scaling.RESAMPLES", 20)
    result, x = Result(), [1, 2, 4, 8, 16]
    noise = np.random.default_rng(1).normal(0, 0.02, size=(20, 5))
    _note_axis(result, "samples", x, 0.5 - 0.3 / np.sqrt(x) + noise, lambda y: 1 - y)
    metrics = result.metrics
    assert set(metrics) <= set(METRICS)
    low, value, high = (metrics[f"samples_predicted{end}"] for end in ("_low", "", "_high"))
    assert low < value < high
    assert value == pytest.approx(0.5 - 0.3 / 4, abs=0.03)
