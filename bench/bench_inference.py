"""Question: what does a trained model gain from more compute at inference?

Work unit: one evaluation of the model of the held-out size (bench_scaling) on unseen text. The
first metric is the loss of the next 32 bytes, each predicted from exactly c bytes of context; c
runs over the powers of two up to the block size. The second is verbatim accuracy: the likeliest of
k continuations drawn at temperature 1 is kept, and the share of its bytes that equal the true text
is counted, as the mean over all subsets of k samples. A power law is fitted to all points of each
metric but the largest, and then predicts the largest. Not measured: time; other ways to choose
among samples; models that were trained on longer contexts.

A sample succeeds if at least half of its bytes equal the true text. Pass@k is the share of prompts
with a success among k samples. It is predicted for all the samples from a quarter of them, and
`samples_for` says how many samples it takes until half of the prompts have a success.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from bench.experiments.rungs import Rung, ladder_device, load_model, model_path
from bench.measuring.work import Result
from bench.session import Session
from bench.suite.training_cases import InferenceCase
from gptcore.evaluation.inference_scaling import (
    best_of,
    fit_power,
    loss_by_context,
    predict_mean,
    sample_continuations,
)
from gptcore.evaluation.pass_at_k import (
    FARTHEST,
    FEWEST_PROMPTS,
    pass_at_k,
    pass_interval,
    samples_for,
)
from gptcore.model.gpt import GPT

HORIZON = 32
SUCCESS = 0.5
"""The share of bytes that a successful sample has right."""
TARGET = 0.5
"""The share of prompts whose number of samples is asked for."""


@pytest.mark.benchmark(group="inference")
def test_inference(benchmark: Any, result: Result, session: Session, case: InferenceCase) -> None:
    path = model_path(session.ledger.folder, case.model)
    if not session.ledger.finished(f"bench_scaling::test_target[{case.model.id}]"):
        pytest.skip(
            "the held-out size is not trained: the same command with the same --results trains it"
        )
    if not path.exists():
        pytest.skip(f"the weights {path.name} are not in the folder: measure in a new folder")
    rung = Rung(case.model, session, ladder_device(session))
    model = load_model(rung, path)
    result.metrics["n_params"] = rung.n_params
    benchmark.pedantic(lambda: _note_inference(result, rung, model, case), rounds=1)


def _note_inference(result: Result, rung: Rung, model: GPT, case: InferenceCase) -> None:
    block = rung.case.block_size
    last = len(rung.test_ids) - max(HORIZON, case.new_tokens)
    starts = np.linspace(block, last, case.prompts).astype(int).tolist()
    contexts = [2**i for i in range(block.bit_length()) if 2**i <= block]
    losses = loss_by_context(
        model, rung.test_ids, starts, contexts, horizon=HORIZON, device=rung.device
    )
    _note_axis(result, "context", contexts, losses, lambda y: y)
    length = block - case.new_tokens
    places = torch.tensor(starts)[:, None]
    right, likely = sample_continuations(
        model,
        rung.test_ids[places + torch.arange(-length, 0)],
        rung.test_ids[places + torch.arange(case.new_tokens)],
        samples=case.samples,
        seed=case.seed,
        device=rung.device,
    )
    counts = [2**i for i in range(case.samples.bit_length()) if 2**i <= case.samples]
    shares = np.stack([best_of(right, likely, k) for k in counts], axis=1)
    # An accuracy rises towards 1, so the law is fitted to 1 - accuracy, which falls.
    _note_axis(result, "samples", counts, shares, lambda y: 1 - y)
    _note_pass(result, right >= SUCCESS)


def _note_axis(
    result: Result,
    axis: str,
    x: list[int],
    values: np.ndarray[Any, np.dtype[np.float64]],
    falling: Callable[[Any], Any],
) -> None:
    """Note the means over prompts with 95 % t intervals, and the law of all but the largest `x`.

    Args:
        result: the result of the case.
        axis: name of `x`.
        x: the values that were varied, ascending.
        values: (prompts, len(x)).
        falling: maps a value to a quantity that falls towards a floor; it is its own inverse.
    """
    from scipy.stats import t

    means = values.mean(axis=0)
    half = t.ppf(0.975, len(values) - 1) * values.std(axis=0, ddof=1) / math.sqrt(len(values))
    law = None
    if len(x) > 4 and (falling(means) > 0).all():
        law = fit_power(x[:-1], falling(means)[:-1].tolist())
        predicted, *ends = map(falling, predict_mean(x[:-1], falling(values)[:, :-1], x[-1]))
        seen = float(means[-1])
        result.metrics |= {
            f"{axis}_beta": law.beta,
            f"{axis}_predicted": predicted,
            f"{axis}_predicted_low": min(ends),
            f"{axis}_predicted_high": max(ends),
            f"{axis}_are": 100 * abs(predicted / seen - 1) if seen else None,
        }
    result.series[f"by_{axis}"] = [
        {
            "x": x[i],
            "value": float(means[i]),
            "low": float(means[i] - half[i]),
            "high": float(means[i] + half[i]),
            "law": None if law is None else float(falling(law(x[i]))),
        }
        for i in range(len(x))
    ]


def _note_pass(result: Result, solved: np.ndarray[Any, np.dtype[np.bool_]]) -> None:
    """Note pass@k up to and beyond the samples drawn, and the samples that TARGET needs.

    Fewer than FEWEST_PROMPTS prompts say nothing about others, and nothing is noted.

    Args:
        result: the result of the case.
        solved: (prompts, samples), whether each sample is a success.
    """
    if len(solved) < FEWEST_PROMPTS:
        return
    samples, successes = solved.shape[1], solved.sum(axis=1)
    few = samples // 4
    if few:
        low, high = pass_interval(solved[:, :few].sum(axis=1), few, samples)
        result.metrics |= {
            "pass_predicted_low": low,
            "pass_predicted_high": high,
        }
    needed = samples_for(TARGET, successes, samples)
    result.metrics |= {"samples_needed_low": needed.low, "samples_needed_high": needed.high}
    rows = []
    for k in (2**i for i in range((FARTHEST * samples).bit_length())):
        seen = float(pass_at_k(successes, samples, k).mean()) if k <= samples else None
        low, high = pass_interval(successes, samples, k)
        rows.append({"x": k, "value": seen, "low": low, "high": high, "law": None})
    result.series["by_pass"] = rows
