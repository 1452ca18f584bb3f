"""Question: would the losses of small models have told what the next size reaches?

Work unit: one training run of one size; the smaller ones make the ladder, the largest is the
target. The order of the cases is part of the method: `test_predict` fits the law to the ladder and
puts prediction and 80 % interval on disk before `test_target` trains (it refuses to train without),
and `test_scaling` compares afterwards. All runs pass once over the same bytes, with a constant
learning rate after the warm-up, so that a checkpoint is the end of a shorter run; they are scored
on the same pieces of the test part. `test_recommendation` tries the recommendations of Choshen et
al. 2025 on this ladder, `test_repeat` asks what repeated text is worth; bench_inference goes on
with the target. Not measured: learning rates tuned for each size, other shapes of model, larger
scales.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from bench.experiments.rungs import Rung, ladder_device, model_path, save_model
from bench.ledger.recommendations import RECOMMENDATIONS
from bench.ledger.record import Record, utc_now
from bench.measuring.work import Result
from bench.session import Session
from bench.suite.catalog import CASES
from bench.suite.training_cases import LadderCase, RungCase
from gptcore.model.gpt import GPT
from gptcore.scaling import solver
from gptcore.scaling.extrapolation import Evaluation, Split, evaluate, predict_next
from gptcore.scaling.fitting import borrow, fit
from gptcore.scaling.law import ScalingLaw
from gptcore.scaling.repetition import fit_repeated
from gptcore.scaling.tables import Cut

if TYPE_CHECKING:
    import pandas as pd


CONFIDENCE = 0.8
FEWEST_SEEDS = 3  # for a standard deviation over seeds
SETTLED = 0.3  # share of a one-pass run after which its checkpoints count as runs of their own


def _train(benchmark: Any, result: Result, session: Session, case: RungCase) -> GPT:
    """Train one run and note it in `result`; return the model."""
    device = ladder_device(session)
    result.facts["device"] = str(device)
    rung = Rung(case, session, device)
    trained: tuple[GPT, list[dict[str, float]], float] = benchmark.pedantic(rung.run, rounds=1)
    model, curve, spent_s = trained
    result.metrics |= {
        "n_params": rung.n_params,
        "vocab_size": rung.shape.vocab_size,
        "n_tokens": len(rung.ids),
        "train_tokens": rung.train_tokens,
        "test_tokens": len(rung.test_ids),
        "steps": rung.steps,
        "epochs": curve[-1]["epochs"],
        "final_test_loss": curve[-1]["loss"],
        "train_tokens_per_s": rung.tokens / spent_s,
    }
    result.series["test_curve"] = curve
    return model


def _id(test: str, case: RungCase | LadderCase) -> str:
    return f"bench_scaling::{test}[{case.id}]"


def _finished(session: Session, corpus: str, *tests: str) -> list[tuple[RungCase, Record]]:
    """Return the runs of `tests` on one text; skip with the names of those that are missing."""
    wanted = [
        (test, rung)
        for test in tests
        for rung in CASES[f"bench_scaling::{test}"](session.plan)
        if isinstance(rung, RungCase) and rung.corpus == corpus
    ]
    missing = [
        f"width {rung.n_embd} seed {rung.seed}"
        for test, rung in wanted
        if not session.ledger.finished(_id(test, rung))
    ]
    if missing:
        pytest.skip(
            f"runs not finished: {', '.join(missing)}; the same command with the same --results "
            "runs them again"
        )
    return [(rung, session.ledger.records[_id(test, rung)]) for test, rung in wanted]


def _table(runs: list[tuple[RungCase, Record]]) -> pd.DataFrame:
    """Return the test losses of runs as `gptcore.scaling.fitting` takes them, one row a checkpoint."""
    import pandas as pd

    return pd.DataFrame(
        {
            "model": f"C{rung.n_embd}",
            "seed": rung.seed,
            "params": record["metrics"]["n_params"],
            "tokens": point["tokens"],
            "loss": point["loss"],
        }
        for rung, record in runs
        for point in record["series"]["test_curve"]
    )


# --- the ladder: train, state, train the target, compare ---------------------------------------


@pytest.mark.benchmark(group="rung")
def test_rung(benchmark: Any, result: Result, session: Session, case: RungCase) -> None:
    _train(benchmark, result, session, case)


@pytest.mark.benchmark(group="prediction")
def test_predict(benchmark: Any, result: Result, session: Session, case: LadderCase) -> None:
    table = _table(_finished(session, case.corpus, "test_rung"))
    # The target gives its size; it is not trained.
    target = Rung(_targets(session, case)[0], session, torch.device("cpu"))
    stated = benchmark.pedantic(
        predict_next,
        args=(table, target.n_params, target.tokens),
        kwargs={"confidence": CONFIDENCE},
        rounds=1,
    )
    law = ScalingLaw.from_dict(stated["law"])
    result.metrics |= {
        "n_params": target.n_params,
        "predicted_loss": stated["loss"],
        "predicted_low": stated["low"],
        "predicted_high": stated["high"],
        "law_points": law.n_points,
        **{f"law_{name}": stated["law"][name] for name in solver.NAMES},
    }
    result.series["law_curve"] = _law_curve(law, table, target.n_params)
    result.facts |= {"stated_at": utc_now(), "warnings": stated["warnings"]}


def _targets(session: Session, case: LadderCase) -> list[RungCase]:
    cases = CASES["bench_scaling::test_target"](session.plan)
    return [c for c in cases if isinstance(c, RungCase) and c.corpus == case.corpus]


def _law_curve(law: ScalingLaw, table: pd.DataFrame, target: int) -> list[dict[str, Any]]:
    """Return the law at every checkpoint of every size; for the target, with its interval."""
    rows = []
    for params in [*sorted(table["params"].unique().tolist()), target]:
        for tokens in sorted(table["tokens"].unique().tolist()):
            at = law.predict(params, tokens, confidence=CONFIDENCE)
            ends = (at.low, at.high) if params == target else (None, None)
            row = {"params": params, "tokens": tokens, "loss": at.loss}
            rows.append(row | {"low": ends[0], "high": ends[1]})
    return rows


def _stated(session: Session, corpus: str) -> Record:
    """Return the prediction on disk; skip if there is none."""
    for case in CASES["bench_scaling::test_predict"](session.plan):
        assert isinstance(case, LadderCase)
        name = _id("test_predict", case)
        if case.corpus == corpus and session.ledger.finished(name):
            return session.ledger.records[name]
    pytest.skip(
        "no prediction is on disk yet, and it has to be stated before its target is trained: run "
        "the whole suite, or test_rung and test_predict first"
    )


@pytest.mark.benchmark(group="target")
def test_target(benchmark: Any, result: Result, session: Session, case: RungCase) -> None:
    _stated(session, case.corpus)
    model = _train(benchmark, result, session, case)
    save_model(model, model_path(session.ledger.folder, case))


@pytest.mark.benchmark(group="scaling")
def test_scaling(benchmark: Any, result: Result, session: Session, case: LadderCase) -> None:
    runs = _finished(session, case.corpus, "test_rung", "test_target")
    stated = _stated(session, case.corpus)["metrics"]
    # Fits the sizes below the largest, so the law that was stated; that is checked.
    found = benchmark.pedantic(evaluate, args=(_table(runs),), rounds=1)
    if stated["predicted_loss"] is None:
        pytest.skip("the ladder says nothing of its target: train a wider range of sizes")
    again = found.outcomes[0].predicted
    assert math.isclose(again, stated["predicted_loss"], rel_tol=1e-9), (
        f"stated was {stated['predicted_loss']}, and the same fit now gives {again}"
    )
    low, high = stated["predicted_low"], stated["predicted_high"]
    losses = [outcome.observed for outcome in found.outcomes]
    holds = None if low is None else sum(low <= loss <= high for loss in losses)
    result.metrics |= {
        "n_seeds": case.seeds,
        "predicted_loss": stated["predicted_loss"],
        "predicted_low": low,
        "predicted_high": high,
        "target_loss": float(np.mean(losses)),
        "interval_holds": holds,
        "gain": _gain(runs, case),
        "seed_sd": _seed_sd(runs),
        **_errors(found),
    }
    result.samples["are_last30"] = [outcome.are_last30 for outcome in found.outcomes]


def _errors(found: Evaluation) -> dict[str, float]:
    """Return the errors of a prediction, in per cent, means over the target's seeds."""
    outcomes = found.outcomes
    return {
        "are_last30": float(np.mean([o.are_last30 for o in outcomes])),
        "signed_final": float(np.mean([o.signed_final for o in outcomes])),
    }


def _final_losses(runs: list[tuple[RungCase, Record]]) -> dict[int, list[float]]:
    """Return width → final losses over seeds."""
    found: dict[int, list[float]] = {}
    for rung, record in runs:
        found.setdefault(rung.n_embd, []).append(record["metrics"]["final_test_loss"])
    return found


def _gain(runs: list[tuple[RungCase, Record]], case: LadderCase) -> float:
    """Return by how much the target ends below the largest rung, nats per token."""
    finals = _final_losses(runs)
    return float(np.mean(finals[max(case.rungs)]) - np.mean(finals[case.target]))


def _seed_sd(runs: list[tuple[RungCase, Record]]) -> float | None:
    """Return the standard deviation of ln(final loss) over seeds, pooled over sizes, in per cent.

    The floor of any prediction; None with fewer than 3 seeds.
    """
    groups = list(_final_losses(runs).values())
    if min(map(len, groups)) < FEWEST_SEEDS:
        return None
    return 100 * math.sqrt(np.mean([np.var(np.log(losses), ddof=1) for losses in groups]))


# --- recommendations of Choshen et al. 2025 ----------------------------------------------------

Borrowed = Mapping[str, float]


@pytest.mark.benchmark(group="recommendation")
def test_recommendation(benchmark: Any, result: Result, session: Session, case: LadderCase) -> None:
    table = _table(_finished(session, case.corpus, "test_rung", "test_target"))
    if case.question == "borrowed" and case.seeds < 2:
        pytest.skip("borrowing takes the law of another seed: needs a suite with 2 seeds or more")
    found = benchmark.pedantic(
        lambda: [_advised(table, case.question, seed, case) for seed in range(case.seeds)], rounds=1
    )
    errors = [_errors(one) for one in found]
    result.metrics |= {
        "n_seeds": case.seeds,
        **{name: float(np.mean([e[name] for e in errors])) for name in errors[0]},
        "interval_holds": _held(found),
        "law_points": found[0].law.n_points,
    }
    result.samples["are_last30"] = [e["are_last30"] for e in errors]
    result.facts["warnings"] = list(dict.fromkeys(w for one in found for w in one.warnings))


def _advised(table: pd.DataFrame, name: str, seed: int, case: LadderCase) -> Evaluation:
    """Return how one seed's ladder predicts its own target when a recommendation is followed.

    "borrowed" fits the smallest size alone and takes how size acts from the ladder of the next
    seed: the same shapes on the same text, so the kindest case.
    """
    recommendation = RECOMMENDATIONS[name]
    split, cut = Split(**recommendation.split), Cut(**recommendation.cut)
    borrowed: Borrowed | None = None
    if name == "borrowed":
        other = table[table["seed"] == (seed + 1) % case.seeds]
        law = fit(other[other["params"] < other["params"].max()], bootstraps=0)
        if {"A", "alpha"} & {*law.unidentified}:
            pytest.skip("the other seed's ladder does not tell A and alpha, so none can be lent")
        borrowed = borrow(law)
    return evaluate(table[table["seed"] == seed], split, cut=cut, borrowed=borrowed)


def _held(found: list[Evaluation]) -> int | None:
    """Return how many intervals hold their target; None where any is missing."""
    held = [one.as_dict()["interval_80_holds"] for one in found]
    return None if None in held else sum(held)


# --- repeated text -----------------------------------------------------------------------------


@pytest.mark.benchmark(group="repeated")
def test_repeated(benchmark: Any, result: Result, session: Session, case: RungCase) -> None:
    _train(benchmark, result, session, case)


@pytest.mark.benchmark(group="repetition")
def test_repeat(benchmark: Any, result: Result, session: Session, case: LadderCase) -> None:
    once = _finished(session, case.corpus, "test_rung", "test_target")
    again = _finished(session, case.corpus, "test_repeated")
    again = [pair for pair in again if pair[0].sampler == case.question]
    law = benchmark.pedantic(lambda: fit_repeated(_repetition(once, again)), rounds=1)
    rows = []
    for share in sorted({rung.text_share for rung, _ in again}, reverse=True):
        metrics = [r["metrics"] for rung, r in again if rung.text_share == share]
        first = metrics[0]
        size, tokens = first["n_params"], again[0][1]["series"]["test_curve"][-1]["tokens"]
        rows.append(
            {
                "share": share,
                "epochs": first["epochs"],
                "loss": float(np.mean([m["final_test_loss"] for m in metrics])),
                "predicted": float(law.loss(size, tokens, first["train_tokens"])),
                "all_new": float(law.law.loss(size, tokens)),
            }
        )
    result.metrics |= {"n_seeds": case.seeds, "R_D": law.R_D}
    result.series["repetition"] = rows
    result.facts["warnings"] = list(law.warnings)


def _repetition(
    once: list[tuple[RungCase, Record]], again: list[tuple[RungCase, Record]]
) -> pd.DataFrame:
    """Return each checkpoint as a run of its own, which a constant learning rate allows.

    `unique_tokens` is the training part that windows come from, as far as it was passed over.
    """
    import pandas as pd

    rows = []
    for rung, record in [*once, *again]:
        known, curve = record["metrics"], record["series"]["test_curve"]
        repeats = rung.text_share < 1
        for point in curve:
            if point["tokens"] < SETTLED * curve[-1]["tokens"]:
                continue
            if repeats and point["epochs"] <= 1:
                continue
            tokens = point["tokens"]
            rows.append(
                {
                    "model": f"C{rung.n_embd} share {rung.text_share:g} at {tokens}",
                    "seed": rung.seed,
                    "params": known["n_params"],
                    "tokens": tokens,
                    "loss": point["loss"],
                    "unique_tokens": known["train_tokens"] if repeats else tokens,
                }
            )
    return pd.DataFrame(rows)
