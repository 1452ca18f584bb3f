"""Ledgers of runs that set training from scratch beside published weights."""

from __future__ import annotations

from typing import Any

from bench.experiments.reuse import Option, decide
from bench.ledger.record import Record
from gptcore.model.config import PRESETS
from tests.helpers.ledgers import record

TRAIN_TOKENS = 100_000
STEPS = (0, 1_000, 2_000)


def run_case(
    model: str, losses: tuple[float, ...], slope: float = 0.01, energy_j: float | None = None
) -> Record:
    """Return a training run that is scored at 0, 1,000 and 2,000 tokens.

    The losses of the blocks of its test part rise by `slope` from block to block.
    """
    shape: dict[str, Any] = {"n_layer": 12, "n_head": 12, "n_embd": 768}
    if model == "gptcore":
        shape = {"n_layer": 1, "n_head": 2, "n_embd": 32}
    params = {**shape, "corpus": "python-docs", "block_size": 256}
    if model != "gptcore":
        params["model"] = model
    metrics: dict[str, Any] = {
        "vocab_size": 50_257,
        "train_tokens_per_s": 500.0,
        "train_tokens": TRAIN_TOKENS,
    }
    metrics["energy_j"] = energy_j
    curve = [
        {"step": i, "tokens": tokens, "epochs": i / 2, "loss": loss}
        for i, (tokens, loss) in enumerate(zip(STEPS, losses, strict=True))
    ]
    case = f"bench_reuse::test_train[{model}-{losses[-1]:g}]"
    return _scored(case, "reuse_runs", params, metrics, losses[-1], slope, {"test_curve": curve})


def published_case(loss: float, context: int = 256, slope: float = 0.01) -> Record:
    """Return the score of the published model as it is."""
    params = {"corpus": "python-docs", "model": "gpt2", "context": context, "stride": context // 2}
    case = f"bench_reuse::test_published[context{context}]"
    return _scored(case, "published", params, {"vocab_size": 50_257}, loss, slope, {})


def _scored(
    case: str, group: str, params: Any, metrics: Any, loss: float, slope: float, series: Any
) -> Record:
    rows = [{"targets": 100, "loss": loss + slope * (i - 11.5)} for i in range(24)]
    metrics |= {"final_test_loss": loss, "final_test_loss_low": loss - 0.2}
    metrics |= {"final_test_loss_high": loss + 0.2, "bits_per_byte": loss / 3}
    metrics |= {"n_params": 10_000, "test_tokens": 2_401}
    series = series | {"test_blocks": rows}
    return record(case, group=group, params=params, metrics=metrics, series=series)


def decision_case(*records: Record, context: int = 256) -> Record:
    """Return the comparison of the options of these records."""
    found = decide([Option.of(each, PRESETS["gpt2"]) for each in records])
    return record(
        f"bench_reuse::test_decision[context{context}]",
        group="reuse",
        params={"corpus": "python-docs", "context": context},
        metrics=found.metrics,
        series=found.series,
        facts=found.facts,
    )
