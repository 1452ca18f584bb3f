"""The losses of a ladder as tables, the law fitted to them, and the errors of its predictions."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from bench.ledger.recommendations import RECOMMENDATIONS
from bench.ledger.record import Record
from bench.suite.training_cases import LadderCase, RungCase
from gptcore.scaling.extrapolation import Evaluation, Split, evaluate
from gptcore.scaling.fitting import borrow, fit
from gptcore.scaling.law import ScalingLaw
from gptcore.scaling.repeats import fit_repeated
from gptcore.scaling.tables import Cut

if TYPE_CHECKING:
    import pandas as pd

Runs = list[tuple[RungCase, Record]]
"""Finished training runs of a ladder with their records."""

CONFIDENCE = 0.8
FEWEST_SEEDS = 3  # for a standard deviation over seeds
SETTLED = 0.3  # share of a one-pass run after which its checkpoints count as runs of their own


def loss_table(runs: Runs) -> pd.DataFrame:
    """Return the test losses in the columns that `gptcore.scaling` reads, one row a checkpoint."""
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


def repetition_table(once: Runs, again: Runs) -> pd.DataFrame:
    """Return the losses of runs that passed once, and several times, over their training text.

    The learning rate is constant, so each checkpoint has the loss of a shorter run and a name of
    its own. For an interval the checkpoints of one run are one (`repetition_interval`).
    `unique_tokens` is the number of different tokens that the run has seen by then.
    """
    import pandas as pd

    rows = []
    for rung, record in [*once, *again]:
        metrics, curve = record["metrics"], record["series"]["test_curve"]
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
                    "params": metrics["n_params"],
                    "tokens": tokens,
                    "loss": point["loss"],
                    "unique_tokens": metrics["train_tokens"] if repeats else tokens,
                }
            )
    return pd.DataFrame(rows)


def repetition_interval(once: Runs, again: Runs, repeats_d: float) -> tuple[float, float] | None:
    """Return the 95 % interval of R_D, from refits without one size or one share of the text.

    It is a jackknife with Student's factor for ln R_D (Efron & Tibshirani 1993, chapter 11). All
    checkpoints and seeds of a size and share are left out together, because an error of the formula
    is common to them. None if a refit is not possible.

    Args:
        once: the runs of one pass.
        again: the runs of several passes.
        repeats_d: R_D fitted to all of them.
    """
    from scipy.stats import t

    groups = sorted({_group(rung) for rung, _ in [*once, *again]})
    logs = []
    for group in groups:
        parts = ([run for run in runs if _group(run[0]) != group] for runs in (once, again))
        try:
            logs.append(math.log(fit_repeated(repetition_table(*parts), bootstraps=0).R_D))
        except ValueError:
            return None
    spread = math.sqrt((len(groups) - 1) * float(np.var(logs)))
    factor = math.exp(float(t.ppf(0.975, len(groups) - 1)) * spread)
    return repeats_d / factor, repeats_d * factor


def _group(rung: RungCase) -> tuple[int, float]:
    return rung.n_embd, rung.text_share


def law_curve(law: ScalingLaw, table: pd.DataFrame, held_out: int) -> list[dict[str, Any]]:
    """Return the law at every checkpoint of every size, with intervals for the held-out size.

    Args:
        law: the fitted law.
        table: losses of the smaller sizes, as `loss_table` returns them.
        held_out: number of parameters of the held-out size.
    """
    rows = []
    for params in [*sorted(table["params"].unique().tolist()), held_out]:
        for tokens in sorted(table["tokens"].unique().tolist()):
            at = law.predict(params, tokens, confidence=CONFIDENCE)
            ends = (at.low, at.high) if params == held_out else (None, None)
            row = {"params": params, "tokens": tokens, "loss": at.loss}
            rows.append(row | {"low": ends[0], "high": ends[1]})
    return rows


def mean_errors(evaluation: Evaluation) -> dict[str, float]:
    """Return the errors of a prediction in per cent, averaged over seeds of the held-out size."""
    outcomes = evaluation.outcomes
    return {
        "are_last30": float(np.mean([o.are_last30 for o in outcomes])),
        "signed_final": float(np.mean([o.signed_final for o in outcomes])),
    }


def guesses(evaluation: Evaluation) -> dict[str, float | None]:
    """Return the errors of guesses without a law, and that of the law as a share of the gain."""
    result = evaluation.as_dict()
    return {name: result[name] for name in ("are_last_size", "are_two_sizes", "share_of_gain")}


def follow_recommendation(table: pd.DataFrame, case: LadderCase, seed: int) -> Evaluation:
    """Return how well the ladder of one seed predicts its held-out size under a recommendation.

    The recommendation "borrowed" fits the smallest size alone and takes A and alpha from the ladder
    of the next seed. That ladder has the same shapes and the same text, so this is its best case.
    """
    recommendation = RECOMMENDATIONS[case.question]
    split, cut = Split(**recommendation.split), Cut(**recommendation.cut)
    borrowed = None
    if case.question == "borrowed":
        other = table[table["seed"] == (seed + 1) % case.seeds]
        law = fit(other[other["params"] < other["params"].max()], bootstraps=0)
        if {"A", "alpha"} & {*law.unidentified}:
            pytest.skip("the ladder of the other seed does not identify A and alpha")
        borrowed = borrow(law)
    return evaluate(table[table["seed"] == seed], split, cut=cut, borrowed=borrowed)


def count_held(evaluations: list[Evaluation]) -> int | None:
    """Return how many 80 % intervals hold the observed loss; None where an interval is missing."""
    held = [evaluation.as_dict()["interval_80_holds"] for evaluation in evaluations]
    return None if None in held else sum(held)


def _final_losses(runs: Runs) -> dict[int, list[float]]:
    """Return width → final losses over seeds."""
    losses: dict[int, list[float]] = {}
    for rung, record in runs:
        losses.setdefault(rung.n_embd, []).append(record["metrics"]["final_test_loss"])
    return losses


def gain(runs: Runs, case: LadderCase) -> float:
    """Return the loss of the largest fitted size less that of the held-out size, nats per byte."""
    finals = _final_losses(runs)
    return float(np.mean(finals[max(case.rungs)]) - np.mean(finals[case.target]))


def seed_sd(runs: Runs) -> float | None:
    """Return the standard deviation of ln(final loss) over seeds, pooled over sizes, in per cent.

    No prediction can be more exact than this. None with fewer than FEWEST_SEEDS seeds.
    """
    groups = list(_final_losses(runs).values())
    if min(map(len, groups)) < FEWEST_SEEDS:
        return None
    return 100 * math.sqrt(np.mean([np.var(np.log(losses), ddof=1) for losses in groups]))
