"""Tables of training runs and of paired comparisons."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pandas as pd

from reports import words
from reports.blocks import Table, table
from reports.topics.convergence import findings


def shared_text(cases: pd.DataFrame) -> str:
    """Return one line on what train and test part share, "" where that was not measured."""
    kinds = {"shared_tokens": "tokens", "shared_targets": "targets", "shared_13grams": "13-grams"}
    shared = [
        f"{_extent(cases[name], words.number)} {kind}"
        for name, kind in kinds.items()
        if cases[name].notna().any()
    ]
    trained = cases["fraction_of_test_targets_trained"]
    lines = [f"Train and test share {', '.join(shared)}."] if shared else []
    if trained.notna().any():
        lines.append(f"Of the test targets {_extent(trained, words.percent)} were trained on.")
    return " ".join(lines)


def _extent(values: pd.Series, shown: Callable[[Any], str]) -> str:
    """Return the one value of all cases, or the least and the most."""
    low, high = shown(values.min()), shown(values.max())
    return low if low == high else f"{low} to {high}"


def training(frame: pd.DataFrame) -> Table:
    """Return the mean over seeds of each sampler's runs."""
    rows = []
    for variant, runs in frame.groupby("variant", sort=False):
        losses = runs["final_test_loss"]
        rows.append(
            (
                str(variant),
                words.number(len(runs)),
                words.loss(runs["initial_test_loss"].mean()),
                words.loss(losses.mean()),
                f"{words.loss(losses.min())} to {words.loss(losses.max())}",
                words.loss(runs["unigram_test_loss"].mean()),
                words.number(runs["bits_per_byte"].mean()),
                words.number(float(f"{runs['missed_targets'].mean():.3g}")),
                words.number(float(f"{runs['train_tokens_per_s'].median():.3g}")),
            )
        )
    columns = (
        "Sampler", "Seeds#", "Loss before#", "Loss after#", "Lowest to highest seed#",
        "Unigram counts#", "Bits/byte#", "Targets missed#", "Tokens/s#",
    )  # fmt: skip
    return table("Test loss in nats/token; means over seeds, speed as median.", columns, rows)


def comparisons(frame: pd.DataFrame) -> Table:
    """Return every paired comparison with its intervals, tests and outcome."""
    rows = [
        (
            f"{words.sampler(pair['a'])} {words.MINUS} {words.sampler(pair['b'])}",
            findings.outcome(pair),
            words.signed(pair["difference"]),
            words.interval(pair["low"], pair["high"]),
            words.interval(pair["difference_low"], pair["difference_high"]),
            words.signed(pair["median_difference"]),
            words.percent(pair["share_a_better"]),
            words.number(pair["n_seeds"]),
            words.p_value(pair["p_adjusted"]),
            words.interval(pair["equal_low"], pair["equal_high"]),
            words.p_value(pair["p_equivalence_adjusted"]),
            words.number(pair["margin"]),
            _detectable(pair),
        )
        for _, pair in findings.family(frame).iterrows()
    ]
    columns = (
        "First minus second", "Outcome", "Difference#", "95 % interval#", "by Student's t#",
        "Median#", "First lower in#", "Seeds#", "p adjusted#", "90 % interval, for equality#",
        "p of equality, adjusted#", "Margin#", "Least difference found#",
    )  # fmt: skip
    note = (
        "Claims are made at an adjusted p of at most 0.05; all differences and equalities of an "
        "experiment are adjusted together. The 95 % interval belongs to the sign-flip test of the "
        "difference, the 90 % interval to that of equality to within the margin. Least difference "
        "found: what this number of seeds and claims finds in 80 % of the cases."
    )
    made = table("Paired differences in final test loss, nats/token.", columns, rows)
    return replace(made, note=note)


def designs(frame: pd.DataFrame) -> Table:
    """Return what each experiment could find, as it was stated before the runs."""
    rows = [
        (
            words.corpus(design["corpus"]),
            words.number(design["n_seeds"]),
            words.number(design["n_claims"]),
            words.p_value(design["smallest_p"]),
            words.number(design["planned_sd"]),
            "none"
            if design["smallest_p"] > findings.ALPHA
            else words.number(design["planned_detectable"]),
        )
        for _, design in frame.iterrows()
    ]
    columns = (
        "Corpus", "Seeds#", "Claims#", "Smallest adjusted p#", "Assumed sd, nats/token#",
        "Least difference found, nats/token#",
    )  # fmt: skip
    made = table("What the experiment can find, stated before its runs.", columns, rows)
    return replace(
        made,
        note="The assumed standard deviation of the paired differences is from earlier runs on "
        "python-docs. An experiment whose smallest adjusted p is above 0.05 gives no verdict.",
    )


def _detectable(pair: pd.Series) -> str:
    """Return the least difference that the design finds, "none" where it can find none."""
    none = findings.least_p(pair) > findings.ALPHA
    return "none" if none else words.number(pair["detectable"])
