"""Question: do the losses of small models predict the loss of the next larger size?

Work unit: one training run of one size. The smaller sizes make the ladder; the largest size is
held out. The order of the cases is part of the method. `test_predict` fits the law to the ladder
and writes its prediction and 80 % interval to disk. Only then `test_target` trains the held-out
size (it refuses to train without a prediction), and `test_scaling` compares. All runs pass once
over the same bytes and are scored on the same pieces of the test part. The learning rate is
constant after the warm-up, so that each checkpoint is also the end of a shorter run.
`test_recommendation` tries the recommendations of Choshen et al. 2025 on this ladder, `test_repeat`
measures what repeated text is worth, and bench_inference goes on with the model of the held-out
size. Not measured: learning rates tuned for each size, other shapes of model, larger scales.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from bench.experiments.kept_runs import KeptRun
from bench.experiments.predictions import (
    CONFIDENCE,
    Runs,
    count_held,
    follow_recommendation,
    gain,
    guesses,
    law_curve,
    loss_table,
    mean_errors,
    repetition_interval,
    repetition_table,
    seed_sd,
)
from bench.experiments.rungs import Rung, ladder_device, model_path, save_model
from bench.ledger.record import Record, utc_now
from bench.measuring.work import Result
from bench.session import Session
from bench.suite.catalog import CASES
from bench.suite.training_cases import LadderCase, RungCase
from gptcore.model.gpt import GPT
from gptcore.scaling import solver
from gptcore.scaling.extrapolation import evaluate, predict_next
from gptcore.scaling.law import ScalingLaw
from gptcore.scaling.repeats import fit_repeated


def _train(benchmark: Any, result: Result, session: Session, case: RungCase) -> GPT:
    """Train one run and note it in `result`; return the model."""
    device = ladder_device(session)
    result.facts["device"] = str(device)
    rung = Rung(case, session, device)
    folder = session.run_folder(case)
    trained: tuple[GPT, KeptRun] = benchmark.pedantic(rung.run, args=(folder,), rounds=1)
    model, run = trained
    result.metrics |= {
        "n_params": rung.n_params,
        "vocab_size": rung.shape.vocab_size,
        "n_tokens": len(rung.ids),
        "train_tokens": rung.train_tokens,
        "test_tokens": len(rung.test_ids),
        "steps": rung.steps,
        "epochs": run.curve[-1]["epochs"],
        "final_test_loss": run.curve[-1]["loss"],
        "train_tokens_per_s": run.train_tokens_per_s,
    }
    result.facts |= run.facts
    result.series["test_curve"] = run.curve
    return model


# --- what is on disk already -------------------------------------------------------------------


def _id(test: str, case: RungCase | LadderCase) -> str:
    return f"bench_scaling::{test}[{case.id}]"


def _finished(session: Session, corpus: str, *tests: str) -> Runs:
    """Return the runs of `tests` on one text; skip the case if one of them is missing."""
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


def _stated(session: Session, corpus: str) -> Record:
    """Return the prediction on disk; skip the case if there is none."""
    for case in CASES["bench_scaling::test_predict"](session.plan):
        assert isinstance(case, LadderCase)
        name = _id("test_predict", case)
        if case.corpus == corpus and session.ledger.finished(name):
            return session.ledger.records[name]
    pytest.skip(
        "no prediction is on disk, and the prediction has to be written before the held-out size "
        "is trained: run the whole suite, or test_rung and test_predict first"
    )


# --- the ladder: train the small sizes, predict, train the held-out size, compare --------------


@pytest.mark.benchmark(group="rung")
def test_rung(benchmark: Any, result: Result, session: Session, case: RungCase) -> None:
    _train(benchmark, result, session, case)


@pytest.mark.benchmark(group="prediction")
def test_predict(benchmark: Any, result: Result, session: Session, case: LadderCase) -> None:
    table = loss_table(_finished(session, case.corpus, "test_rung"))
    # Only the number of parameters and tokens is needed here; nothing is trained.
    held_out = Rung(_held_out_cases(session, case)[0], session, torch.device("cpu"))
    stated = benchmark.pedantic(
        predict_next,
        args=(table, held_out.n_params, held_out.tokens),
        kwargs={"confidence": CONFIDENCE},
        rounds=1,
    )
    law = ScalingLaw.from_dict(stated["law"])
    result.metrics |= {
        "n_params": held_out.n_params,
        "predicted_loss": stated["loss"],
        "predicted_low": stated["low"],
        "predicted_high": stated["high"],
        "law_points": law.n_points,
        **{f"law_{name}": stated["law"][name] for name in solver.NAMES},
    }
    result.series["law_curve"] = law_curve(law, table, held_out.n_params)
    result.facts |= {"stated_at": utc_now(), "warnings": stated["warnings"]}


def _held_out_cases(session: Session, case: LadderCase) -> list[RungCase]:
    cases = CASES["bench_scaling::test_target"](session.plan)
    return [c for c in cases if isinstance(c, RungCase) and c.corpus == case.corpus]


@pytest.mark.benchmark(group="target")
def test_target(benchmark: Any, result: Result, session: Session, case: RungCase) -> None:
    _stated(session, case.corpus)
    model = _train(benchmark, result, session, case)
    save_model(model, model_path(session.ledger.folder, case))


@pytest.mark.benchmark(group="scaling")
def test_scaling(benchmark: Any, result: Result, session: Session, case: LadderCase) -> None:
    runs = _finished(session, case.corpus, "test_rung", "test_target")
    stated = _stated(session, case.corpus)["metrics"]
    # This fits the same sizes again, so it must return the law that was stated.
    evaluation = benchmark.pedantic(evaluate, args=(loss_table(runs),), rounds=1)
    if stated["predicted_loss"] is None:
        pytest.skip("the ladder predicts no loss for the held-out size: train a wider range")
    again = evaluation.outcomes[0].predicted
    assert math.isclose(again, stated["predicted_loss"], rel_tol=1e-9), (
        f"the prediction on disk is {stated['predicted_loss']}, but the same fit now gives {again}"
    )
    low, high = stated["predicted_low"], stated["predicted_high"]
    losses = [outcome.observed for outcome in evaluation.outcomes]
    holds = None if low is None else sum(low <= loss <= high for loss in losses)
    result.metrics |= {
        "n_seeds": case.seeds,
        "predicted_loss": stated["predicted_loss"],
        "predicted_low": low,
        "predicted_high": high,
        "target_loss": float(np.mean(losses)),
        "interval_holds": holds,
        "gain": gain(runs, case),
        "seed_sd": seed_sd(runs),
        **mean_errors(evaluation),
        **guesses(evaluation),
    }
    result.samples["are_last30"] = [outcome.are_last30 for outcome in evaluation.outcomes]


# --- recommendations of Choshen et al. 2025 ----------------------------------------------------


@pytest.mark.benchmark(group="recommendation")
def test_recommendation(benchmark: Any, result: Result, session: Session, case: LadderCase) -> None:
    table = loss_table(_finished(session, case.corpus, "test_rung", "test_target"))
    if case.question == "borrowed" and case.seeds < 2:
        pytest.skip("borrowing takes the law of another seed: use a suite with 2 seeds or more")
    evaluations = benchmark.pedantic(
        lambda: [follow_recommendation(table, case, seed) for seed in range(case.seeds)], rounds=1
    )
    errors = [mean_errors(evaluation) for evaluation in evaluations]
    result.metrics |= {
        "n_seeds": case.seeds,
        **{name: float(np.mean([e[name] for e in errors])) for name in errors[0]},
        "interval_holds": count_held(evaluations),
        "law_points": evaluations[0].law.n_points,
    }
    result.samples["are_last30"] = [e["are_last30"] for e in errors]
    result.facts["warnings"] = list(
        dict.fromkeys(warning for evaluation in evaluations for warning in evaluation.warnings)
    )


# --- repeated text -----------------------------------------------------------------------------


@pytest.mark.benchmark(group="repeated")
def test_repeated(benchmark: Any, result: Result, session: Session, case: RungCase) -> None:
    _train(benchmark, result, session, case)


@pytest.mark.benchmark(group="repetition")
def test_repeat(benchmark: Any, result: Result, session: Session, case: LadderCase) -> None:
    once = _finished(session, case.corpus, "test_rung", "test_target")
    again = _finished(session, case.corpus, "test_repeated")
    again = [pair for pair in again if pair[0].sampler == case.question]
    table = repetition_table(once, again)
    law = benchmark.pedantic(lambda: fit_repeated(table, bootstraps=0), rounds=1)
    low, high = repetition_interval(once, again, law.R_D) or (None, None)
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
    result.metrics |= {"n_seeds": case.seeds, "R_D": law.R_D, "R_D_low": low, "R_D_high": high}
    result.series["repetition"] = rows
    result.facts["warnings"] = list(law.warnings)
