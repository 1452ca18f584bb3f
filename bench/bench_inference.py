"""Question: what does a trained model gain from more compute at inference?

Work unit: the ladder's target (bench_scaling), asked two ways about text that it has not seen. The
loss of the next 32 bytes, each read after exactly c bytes, c in powers of two up to the block; and
verbatim accuracy: of k continuations drawn at temperature 1 the likeliest is kept, and the share
of its bytes that equal the true text is counted, as the mean over all choices of k of those drawn.
Each is fitted by a power law without its largest point, which is then predicted. Not measured:
time; other ways to choose among samples; models that were trained on longer contexts.
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
    sample_continuations,
)
from gptcore.model.gpt import GPT

HORIZON = 32


@pytest.mark.benchmark(group="inference")
def test_inference(benchmark: Any, result: Result, session: Session, case: InferenceCase) -> None:
    path = model_path(session.ledger.folder, case.model)
    if not session.ledger.finished(f"bench_scaling::test_target[{case.model.id}]"):
        pytest.skip("the target is not trained: the same command with the same --results trains it")
    if not path.exists():
        pytest.skip(f"the target's weights ({path.name}) are gone: measure in a new folder")
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
    # An accuracy rises towards a ceiling, so its shortfall is what falls as a power.
    _note_axis(result, "samples", counts, shares, lambda y: 1 - y)


def _note_axis(
    result: Result,
    axis: str,
    x: list[int],
    values: np.ndarray[Any, np.dtype[np.float64]],
    falling: Callable[[Any], Any],
) -> None:
    """Note means over prompts (P, len(x)) with 95 % t intervals, and the law of all but the last.

    Args:
        result: of the case.
        axis: name of `x`.
        x: what was varied; its largest is predicted from the others.
        values: (P, len(x)).
        falling: value → what falls towards a floor; its own inverse.
    """
    from scipy.stats import t

    means = values.mean(axis=0)
    half = t.ppf(0.975, len(values) - 1) * values.std(axis=0, ddof=1) / math.sqrt(len(values))
    law = None
    if len(x) > 4 and (falling(means) > 0).all():
        law = fit_power(x[:-1], falling(means)[:-1].tolist())
        predicted, seen = falling(law(x[-1])), float(means[-1])
        result.metrics |= {
            f"{axis}_beta": law.beta,
            f"{axis}_predicted": predicted,
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
