"""What the ladder says in plain words: was the next size predicted, and what would it give?"""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from reports import words
from reports.blocks import Finding
from reports.load import Run

FLOOR, HELPS = 4.0, 20.0
"""ARE in per cent: text B's floor by seed noise, and up to where a prediction helps a choice."""


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
    """Return whether the stated interval held: "it held", "it held for 2 of 3 seeds"."""
    if pd.isna(case["interval_holds"]) or pd.isna(case["n_seeds"]):
        return "no interval to hold"
    n, of = int(case["interval_holds"]), int(case["n_seeds"])
    if of == 1:
        return "it held" if n else "it did not hold"
    return f"it held for {n} of {of} seeds"


def grade(are: float) -> str:
    """Return what an ARE is worth by text B's measure."""
    if are <= FLOOR:
        return f"below the {FLOOR:g}{words.NBSP}% that text B names as the floor"
    if are <= HELPS:
        return (
            f"above text B's floor of {FLOOR:g}{words.NBSP}%, but such errors still help a choice"
        )
    return f"above the {HELPS:g}{words.NBSP}% up to which a prediction helps a choice"


def find(run: Run) -> Iterator[Finding]:
    """Say how the prediction of the next size came out, text by text."""
    cases = run.cases("scaling")
    for _, case in cases[cases["are_last30"].notna()].iterrows():
        outcome = f"predicted the next size to {percent(case['are_last30'])}"
        stated = f"{words.loss(case['predicted_loss'])} nats/byte"
        noise = ""
        if pd.notna(case["seed_sd"]):
            noise = f" Seeds of one size differ by {percent(case['seed_sd'])} (one sd)."
        yield Finding(
            72,
            "scaling",
            "",
            f"Small models {outcome} of its loss",
            f"{words.corpus(case['corpus'])}: {stated} was stated before the target trained, 80 % "
            f"interval {interval(case)}; it reached {words.loss(case['target_loss'])}, "
            f"{words.loss(case['gain'])} below the largest size of the ladder, so the law "
            f"was {off(case['signed_final'])} at the end and {held(case)}. The error over the last "
            f"30 % of the run is {grade(case['are_last30'])}.{noise} Models so small: "
            "the method is what carries over, not the law.",
            (case["case"],),
        )
