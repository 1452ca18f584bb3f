"""What is worked out from all runs of one training experiment, beyond its planned comparisons.

A question is a function of the finished runs of each arm. It returns what its record holds, among
it a series with a row for each arm, form, cell or source.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

from bench.experiments.variance import variance
from bench.ledger.record import Record
from bench.measuring.work import Result
from gptcore.paired import compare_pairs
from gptcore.power import detectable_difference
from gptcore.scaling.repeat_forms import judge
from gptcore.stats import holm

Runs = dict[str, list[Record]]
"""Arm → its finished runs, by seed."""
Floats = npt.NDArray[np.float64]
PARTS_OF_EPOCH = 20  # one of them on each side of a border is compared


def finished(records: Iterable[Record], experiment: str) -> Runs:
    """Return the runs of an experiment that ended, whatever their loss."""
    runs: Runs = {}
    for record in records:
        known = record["group"] == "convergence" and record["status"] == "ok"
        if known and record["params"].get("experiment") == experiment:
            runs.setdefault(record["params"]["arm"], []).append(record)
    return {arm: sorted(each, key=lambda r: r["seed"]) for arm, each in runs.items()}


def _adjusted(arms: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Adjust the p-values of all arms together, and make of each sd what it could have found."""
    rows = list(arms)
    adjusted = holm([1.0 if row["p_adjusted"] is None else row["p_adjusted"] for row in rows])
    for row, p in zip(rows, adjusted, strict=True):
        sd, seeds = row["detectable"], row["n_seeds"]
        row["p_adjusted"] = None if row["p_adjusted"] is None else p
        row["detectable"] = sd and detectable_difference(sd, seeds, n_tests=len(rows))
    return rows


def onset(runs: Runs) -> Result:
    """Return for each arm after which evaluation its test loss rises for good.

    It is the evaluation with the lowest mean loss over seeds: all later ones lie above it. The rise
    from there to the end is measured on each seed at the evaluation that the other seeds choose.
    Otherwise the lowest of several noisy losses would always lie below the last one. An arm whose
    loss is lowest at the end shows what its last stretch could have found.
    """
    return Result(series={"onset": _adjusted(_onset(arm, each) for arm, each in runs.items())})


def _onset(arm: str, runs: list[Record]) -> dict[str, Any]:
    """Return the row of one arm; `p_adjusted` is not yet adjusted, `detectable` is still an sd."""
    curves = [run["series"]["test_curve"] for run in runs]
    losses = np.array([[row["loss"] for row in curve] for curve in curves])  # (seeds, evaluations)
    seeds, last = len(losses), losses.shape[1] - 1
    mean = losses.mean(axis=0)
    lowest = int(mean.argmin())
    chosen = [int((mean * seeds - each).argmin()) if seeds > 1 else lowest for each in losses]
    rises = np.array([each[last] - each[i] for each, i in zip(losses, chosen, strict=True)])
    stretch = rises if lowest < last else losses[:, last] - losses[:, last - 1]
    compared = compare_pairs(rises.tolist()) if seeds > 1 else None
    first, metrics = curves[0], runs[0]["metrics"]
    return {
        "arm": arm,
        "n_seeds": seeds,
        "train_tokens": metrics["train_tokens"],
        "passes": metrics["epochs"],
        "step": first[lowest]["step"],
        "epochs": first[lowest]["epochs"],
        "between": first[-1]["epochs"] - first[-2]["epochs"],
        "lowest": float(mean[lowest]),
        "final": float(mean[last]),
        "rise": float(rises.mean()),
        "rise_low": compared and compared.low,
        "rise_high": compared and compared.high,
        "p_adjusted": compared and compared.p_value,
        "detectable": float(stretch.std(ddof=1)) if seeds > 1 else None,
    }


def staircase(runs: Runs) -> Result:
    """Return for each arm by how much the training loss steps at the borders of epochs.

    A step is the mean loss of the first twentieth of an epoch less that of the last twentieth of
    the epoch before, as the mean over all borders of a run. A run that sees its blocks in one order
    may fall at the borders, because there every block has been seen once more.
    """
    rows = _adjusted(_staircase(arm, each) for arm, each in runs.items())
    return Result(series={"staircase": rows})


def _staircase(arm: str, runs: list[Record]) -> dict[str, Any]:
    """Return the row of one arm, as `_onset` does."""
    steps = [_steps(run["series"]["loss_curve"]) for run in runs]
    means = [float(np.mean(each)) for each in steps if len(each)]
    compared = compare_pairs(means) if len(means) > 1 else None
    return {
        "arm": arm,
        "n_seeds": len(means),
        "borders": min(map(len, steps)),
        "size": float(np.mean(means)) if means else None,
        "size_low": compared and compared.low,
        "size_high": compared and compared.high,
        "p_adjusted": compared and compared.p_value,
        "detectable": float(np.std(means, ddof=1)) if len(means) > 1 else None,
    }


def _steps(curve: list[dict[str, float]]) -> list[float]:
    """Return the step of the training loss at each border of epochs inside a run."""
    epochs = np.array([row["epochs"] for row in curve])
    losses = np.array([row["loss"] for row in curve])
    width = int((epochs <= 1).sum()) // PARTS_OF_EPOCH
    borders = [int((epochs <= e).sum()) for e in range(1, math.ceil(epochs[-1]))]
    return [
        float(losses[i : i + width].mean() - losses[i - width : i].mean())
        for i in borders
        if width and i + width <= len(losses)
    ]


def repeat_forms(runs: Runs) -> Result:
    """Return how well each form of the law of repeats predicts the cells that it did not see."""
    cells = [
        {
            "train_tokens": each[0]["metrics"]["train_tokens"],
            "passes": max(1.0, each[0]["metrics"]["epochs"]),
            "n_seeds": len(each),
            "loss": float(_final_losses(each).mean()),
        }
        for each in runs.values()
    ]
    judged = judge(*([cell[n] for cell in cells] for n in ("train_tokens", "passes", "loss")))
    for i, cell in enumerate(cells):
        cell |= {name: float(form.predicted[i]) for name, form in judged.items()}
    forms = [
        {
            "form": name,
            "n_cells": len(cells),
            "error": form.error,
            "error_most_passes": form.error_most_passes,
            "closest": form.closest,
            "p_adjusted": form.p_adjusted,
        }
        for name, form in judged.items()
    ]
    return Result(series={"repeat_forms": forms, "repeat_cells": cells})


def noise(runs: Runs) -> Result:
    """Return the standard deviation of the final loss over the seeds of each arm.

    Its 95 % interval is that of normal losses (chi-square). Each arm is compared with the first by
    Pitman's test of two variances (Biometrika 31, 1939), which allows for losses that are alike in
    arms of one seed, and all these claims are adjusted by Holm.
    """
    losses = {arm: _final_losses(each) for arm, each in runs.items()}
    first = next(iter(losses.values()))
    others = iter(holm([_same_variance(first, each) for each in list(losses.values())[1:]]))
    rows = []
    for i, (arm, each) in enumerate(losses.items()):
        sd, df = float(each.std(ddof=1)), len(each) - 1
        low, high = (sd * math.sqrt(df / stats.chi2.ppf(q, df)) for q in (0.975, 0.025))
        rows.append(
            {
                "arm": arm,
                "n_params": runs[arm][0]["metrics"]["n_params"],
                "n_seeds": len(each),
                "loss": float(each.mean()),
                "sd": sd,
                "sd_low": low,
                "sd_high": high,
                "p_adjusted": None if i == 0 else next(others),
            }
        )
    return Result(series={"noise": rows})


def _same_variance(a: Floats, b: Floats) -> float:
    """Return the p-value of equal variances of paired values: sum and difference correlate not."""
    return float(stats.pearsonr(a + b, a - b).pvalue)


def _final_losses(runs: list[Record]) -> Floats:
    return np.array([run["metrics"]["final_test_loss"] for run in runs])


QUESTIONS: dict[str, Callable[[Runs], Result]] = {
    "onset": onset,
    "staircase": staircase,
    "repeat_forms": repeat_forms,
    "noise": noise,
    "variance": variance,
}
"""Question → the function that works it out."""
