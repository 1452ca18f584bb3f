"""What the ladder says in plain words: how well its law predicted the held-out size."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from reports import words
from reports.blocks import Finding
from reports.claims import apart
from reports.load import Run, over

FLOOR, HELPS = 4.0, 20.0
"""ARE in %: the floor by seed noise, and the most that helps a choice (Choshen et al. 2025)."""


def percent(value: float, digits: int = 2) -> str:
    """Return a number of per cent: 0.735 → "0.74 %"."""
    return words.MISSING if pd.isna(value) else f"{value:.{digits}f}{words.NBSP}%"


def off(signed: float) -> str:
    """Return how far a prediction was off: "0.36 % too high"."""
    return f"{percent(abs(signed))} too {'high' if signed > 0 else 'low'}"


def interval(case: pd.Series) -> str:
    """Return the stated interval, or why there is none."""
    if pd.isna(case["predicted_low"]) or pd.isna(case["predicted_high"]):
        return "no interval could be given"
    return f"{words.loss(case['predicted_low'])} to {words.loss(case['predicted_high'])}"


def held(case: pd.Series) -> str:
    """Return whether the stated interval held: "the interval held for 2 of 3 seeds"."""
    if pd.isna(case["interval_holds"]) or pd.isna(case["n_seeds"]):
        return "there was no interval to hold"
    n, of = int(case["interval_holds"]), int(case["n_seeds"])
    if of == 1:
        return "the interval held" if n else "the interval did not hold"
    return f"the interval held for {n} of {of} seeds"


def grade(are: float) -> str:
    """Return what an ARE is worth by the measure of Choshen et al. 2025."""
    floor, helps = f"{FLOOR:g}{words.NBSP}%", f"{HELPS:g}{words.NBSP}%"
    if are <= FLOOR:
        return f"below the floor of {floor} that Choshen et al. 2025 give for seed noise"
    if are <= HELPS:
        return (
            f"above the floor of {floor} that Choshen et al. 2025 give for seed noise, but such "
            "errors still help a choice"
        )
    return f"above the {helps} up to which a prediction helps a choice (Choshen et al. 2025)"


def of_the_gain(case: pd.Series) -> str:
    """Return the error beside the step that was to be predicted, and beside a naive guess."""
    target, gain = case["target_loss"], case["gain"]
    share = over(abs(case["predicted_loss"] - target), abs(gain))
    if pd.isna(share):
        return ""
    naive = 100 * over(gain, target)
    line = case.get("are_two_sizes")
    through = "" if pd.isna(line) else f", and the line through two sizes {percent(line)} off"
    return (
        f" That error is {words.percent(share)} of the step of {words.loss(abs(gain))} nats/byte "
        "that was to be predicted; the guess that nothing changes would have been "
        f"{off(naive)}{through}."
    )


NEEDED = ["are_last30", "predicted_loss", "target_loss", "gain"]
"""Metrics without which nothing is said of a prediction."""


def _at_the_end(case: pd.Series) -> str:
    signed = case["signed_final"]
    return "" if pd.isna(signed) else f", so the law was {off(signed)} at the end"


def _headline(case: pd.Series) -> str:
    """Return the error of the prediction as a share of what was to be predicted, where known."""
    share = over(abs(case["predicted_loss"] - case["target_loss"]), abs(case["gain"]))
    are = percent(case["are_last30"])
    if pd.isna(share):
        return f"Small models predicted the loss of the next size with an error of {are}"
    return (
        f"Small models predicted the step to the loss of the next size with an error of "
        f"{words.percent(share)} of that step ({are} of the loss)"
    )


def find(run: Run) -> Iterator[Finding]:
    """Say of each text how the prediction of the held-out size came out."""
    cases = run.cases("scaling")
    cases = cases[cases[NEEDED].notna().all(axis=1)]
    for _, case in cases.iterrows():
        noise = ""
        if pd.notna(case["seed_sd"]):
            noise = f" Seeds of one size differ by {percent(case['seed_sd'])} (one sd)."
        yield Finding(
            72,
            "scaling",
            "",
            f"{_headline(case)}{apart(case, cases)}",
            f"{words.corpus(case['corpus'])}: {words.loss(case['predicted_loss'])} nats/byte was "
            f"stated before the held-out size was trained (80 % interval: {interval(case)}). That "
            f"size reached {words.loss(case['target_loss'])}, {words.loss(abs(case['gain']))} "
            f"{'below' if case['gain'] > 0 else 'above'} the largest size of the ladder"
            f"{_at_the_end(case)}; "
            f"{held(case)}.{of_the_gain(case)} The mean error over the last 30 % of the run is "
            f"{grade(case['are_last30'])}.{noise} The models are small: the method carries over "
            "to larger ones, the fitted law does not.",
            (case["case"],),
        )
