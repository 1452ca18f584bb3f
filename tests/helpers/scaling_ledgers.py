"""A ladder that obeys a known law: its records, and a run that benchmarks can be called with."""

from __future__ import annotations

from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from bench.experiments.rungs import Rung
from bench.ledger.record import Record
from bench.measuring.work import Result
from bench.suite.catalog import CASES, params
from bench.suite.plan import Plan
from bench.suite.training_cases import LadderCase, RungCase
from gptcore.scaling.law import law_from
from tests.helpers.ledgers import record

TEXT = "The quick brown fox jumps over the lazy dog; 0123456789.\n" * 8_000
POINTS = 16
LAW = law_from(1.5, 20.0, 60.0, 0.35, 0.4)
NOISE = 0.002


def plan(suite: str = "study", **changes: Any) -> Plan:
    return Plan(suite, {"cpu": ("fp32",)}, ("python-docs",), **changes)


def cases(test: str, suite: str = "study") -> list[Any]:
    return list(CASES[f"bench_scaling::{test}"](plan(suite)))


@cache
def shape(n_bytes: int | None, n_embd: int, n_head: int, block_size: int) -> Rung:
    """Return a run of the whole text, for its number of parameters and tokens."""
    case = RungCase("python-docs", n_embd, 0, 0.01, n_bytes, n_head=n_head, block_size=block_size)
    return Rung(case, run_with([]), torch.device("cpu"))


def rung_record(test: str, case: RungCase) -> Record:
    """Return the record of a finished run whose losses obey LAW, seeded noise apart."""
    rng = np.random.default_rng([case.seed, case.n_embd])
    rung = shape(case.n_bytes, case.n_embd, case.n_head, case.block_size)
    n, total, part = rung.n_params, rung.tokens, rung.train_tokens * case.text_share
    curve = []
    for i in range(1, POINTS + 1):
        tokens = round(rung.steps * i / POINTS) * rung.tokens_per_step
        loss = float(
            LAW.loss(n, min(tokens, 4 * part if case.text_share < 1 else total))
            * np.exp(NOISE * rng.standard_normal())
        )
        row = {"step": i, "tokens": tokens, "epochs": tokens / part, "loss": loss}
        curve.append(row)
    return record(
        f"bench_scaling::{test}[{case.id}]",
        group={"test_rung": "rung", "test_target": "target"}.get(test, "repeated"),
        params=params(case),
        seed=case.seed,
        metrics={
            "n_params": n,
            "vocab_size": rung.shape.vocab_size,
            "n_tokens": 466_195,
            "train_tokens": round(part),
            "test_tokens": 46_000,
            "steps": POINTS,
            "epochs": curve[-1]["epochs"],
            "final_test_loss": curve[-1]["loss"],
            "train_tokens_per_s": 50_000.0,
        },
        series={"test_curve": curve},
    )


def run_with(records: list[Record], suite: str = "study", **more: Any) -> Any:
    """Return what stands in for an open run whose ledger holds `records`."""
    known = {r["case"]: r for r in records}
    ledger = SimpleNamespace(
        records=known,
        finished=lambda name: name in known and known[name]["status"] == "ok",
    )
    corpora = {"python-docs": SimpleNamespace(text=TEXT)}
    return SimpleNamespace(
        plan=plan(suite), ledger=ledger, devices={"cpu": ("fp32",)}, text=corpora.get, **more
    )


class Once:
    """Stands in for pytest-benchmark: calls once."""

    def pedantic(self, function: Any, args: Any = (), kwargs: Any = None, **_: int) -> Any:
        return function(*args, **(kwargs or {}))


def asked(function: Any, test: str, case: Any, records: list[Record], suite: str) -> Record:
    """Call a benchmark on a ledger; return the record that it makes."""
    result = Result()
    function(Once(), result, run_with(records, suite), case)
    groups = {
        "test_predict": "prediction",
        "test_scaling": "scaling",
        "test_recommendation": "recommendation",
        "test_repeat": "repetition",
    }
    assert isinstance(case, LadderCase)
    return record(
        f"bench_scaling::{test}[{case.id}]",
        group=groups[test],
        params=params(case),
        metrics=result.metrics,
        samples=result.samples,
        series=result.series,
        facts=result.facts,
    )


def ladder_records(suite: str = "study", *tests: str) -> list[Record]:
    """Return the finished runs of `tests`; by default those of the ladder without its target."""
    return [
        rung_record(test, case) for test in tests or ("test_rung",) for case in cases(test, suite)
    ]
