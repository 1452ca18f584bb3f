"""Published weights in the cases of the suite: as a model to train, and scored as they are."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from bench.measuring.work import Result
from bench.suite.inputs import Inputs
from bench.suite.reuse import ScoreCase
from gptcore.evaluation.losses import summarise, sweep_losses
from gptcore.intervals import block_means
from gptcore.model.gpt import GPT

MISSING = (
    "no published weights were given: add --pretrained=DIR, a folder with config.json and "
    "model.safetensors, or --pretrained=gpt2, which is fetched from the Hugging Face hub"
)


def published_model(session: Inputs, corpus: str, context: int) -> GPT:
    """Return a copy of the published model, or skip the case where it cannot read the text."""
    given = session.pretrained
    if given is None:
        pytest.skip(MISSING)
    vocabulary = session.vocabulary(corpus)
    if not given.vocabulary.matches(vocabulary):
        pytest.skip(
            f"{given.name} reads {given.vocabulary.in_words}, and {corpus} holds "
            f"{vocabulary.in_words}: give a text, or weights of its vocabulary"
        )
    if given.model.config.block_size < context:
        pytest.skip(
            f"{given.name} reads at most {given.model.config.block_size} tokens and this case "
            f"needs {context}: give a model with a longer context"
        )
    return copy.deepcopy(given.model)


def score(session: Inputs, case: ScoreCase, device: torch.device) -> Result:
    """Score the published model on the test part of a text, as it is."""
    model = published_model(session, case.corpus, case.context).to(device)
    ids = session.stream(case.corpus).ids[: case.n_tokens]
    (part,) = session.split(case.corpus, "tail", len(ids), block_size=case.context).test
    test_ids = ids[part.start : part.stop][: case.test_tokens]
    losses = sweep_losses(
        model,
        torch.from_numpy(test_ids),
        block_size=case.context,
        stride=case.stride,
        device=device,
    ).numpy()
    found = summarise(losses, session.count_bytes(case.corpus, test_ids[1:]))
    low, high = found.interval_95 or (None, None)
    metrics = {
        "n_params": model.n_params,
        "vocab_size": model.config.vocab_size,
        "test_tokens": len(test_ids),
        "final_test_loss": found.loss_nats_per_token,
        "final_test_loss_low": low,
        "final_test_loss_high": high,
        "bits_per_byte": found.bits_per_byte,
    }
    series = {"test_blocks": blocks_of(losses)}
    return Result(metrics, series=series, facts=weights_of(session))


def blocks_of(losses: npt.NDArray[np.float64]) -> list[dict[str, float]]:
    """Return the rows of the series `test_blocks`: the mean losses of blocks in a row."""
    means, counts = block_means(losses)
    return [
        {"targets": int(count), "loss": float(mean)}
        for mean, count in zip(means, counts, strict=True)
    ]


def weights_of(session: Inputs) -> dict[str, Any]:
    """Return what a record says of the published weights."""
    given = session.pretrained
    assert given is not None, "there are published weights in the cases that ask"
    return {"weights": {"name": given.name, "revision": given.revision, "sha256": given.sha256}}
