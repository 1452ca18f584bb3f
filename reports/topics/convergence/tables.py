"""Tables of training runs and of paired comparisons."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd

from reports import words
from reports.blocks import Table, table
from reports.claims import extent
from reports.conditions import experiment
from reports.topics.convergence import findings, sizes


def shared_text(cases: pd.DataFrame) -> str:
    """Return one line on what train and test part share, "" where that was not measured."""
    kinds = {"shared_tokens": "tokens", "shared_targets": "targets", "shared_13grams": "13-grams"}
    shared = [
        f"{extent(cases[name], words.number)} {kind}"
        for name, kind in kinds.items()
        if cases[name].notna().any()
    ]
    trained = cases["fraction_of_test_targets_trained"]
    lines = [f"Train and test share {', '.join(shared)}."] if shared else []
    if trained.notna().any():
        lines.append(f"Of the test targets {extent(trained, words.percent)} were trained on.")
    return " ".join(lines)


def training(frame: pd.DataFrame) -> Table:
    """Return the mean over seeds of each arm's runs."""
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
        "Arm", "Seeds#", "Loss before#", "Loss after#", "Lowest to highest seed#",
        "Unigram counts#", "Bits/byte#", "Targets missed#", "Tokens/s#",
    )  # fmt: skip
    return table("Test loss in nats/token; means over seeds, speed as median.", columns, rows)


def comparisons(frame: pd.DataFrame) -> Table:
    """Return every paired comparison with its intervals, tests and outcome."""
    rows = [
        (
            _pair(pair),
            findings.outcome(pair),
            words.signed(pair["difference"]),
            words.interval(pair["low"], pair["high"]),
            words.interval(pair["difference_low"], pair["difference_high"]),
            words.signed(pair["median_difference"]),
            sizes.share_better(pair),
            words.number(pair["n_seeds"]),
            words.p_value(pair["p_adjusted"]),
            words.interval(pair["equal_low"], pair["equal_high"]),
            words.p_value(pair["p_equivalence_adjusted"]),
            words.number(pair["margin"]),
            _detectable(pair),
            words.number(pair["detectable_margin"]),
        )
        for _, pair in findings.family(frame).iterrows()
    ]
    columns = (
        "First minus second", "Outcome", "Difference#", "95 % interval#", "by Student's t#",
        "Median#", "First lower in#", "Seeds#", "p adjusted#", "90 % interval, for equality#",
        "p of equality, adjusted#", "Margin#", "Least difference found#",
        "Least margin shown#",
    )  # fmt: skip
    note = (
        "Claims are made at an adjusted p of at most 0.05; all differences and equalities of an "
        "experiment are adjusted together. The 95 % interval belongs to the sign-flip test of the "
        "difference, the 90 % interval to that of equality to within the margin. Least difference "
        "found: what this number of seeds and claims finds in 80 % of the cases. Least margin "
        "shown: to within it, arms that are alike are shown equal in 80 % of the cases. In "
        "brackets: the exact 95 % interval of the probability that of one more pair the first ends "
        "lower."
    )
    caption = "Paired differences in final test loss, nats/token."
    return table(caption, columns, rows, note=note)


def spans(frame: pd.DataFrame) -> Table:
    """Return how large each difference is over seeds, over text, in steps and in tokens."""
    rows = [
        (
            _pair(pair),
            words.signed(pair["difference"]),
            words.interval(pair["low"], pair["high"]),
            words.interval(pair["text_low"], pair["text_high"]),
            sizes.steps_that_undo(pair).removesuffix(" times the") or words.MISSING,
            words.loss(pair["reached_loss"]),
            _two(pair, "tokens_to_reach", lambda value: words.si(value, "")),
            _two(pair, "time_to_reach_s", lambda value: words.si(value, "s")),
            sizes.tokens_ratio(pair),
            words.number(pair["n_censored"]),
        )
        for _, pair in findings.family(frame).iterrows()
    ]
    columns = (
        "First minus second", "Difference#", "95 % interval over seeds#",
        "95 % interval over a longer text#", "Worth how many times the steps#",
        "Loss that all reach#", "Tokens until it, first and second#",
        "Time until it, first and second#", "Ratio of the tokens (95 % interval)#",
        "Runs that never reach it#",
    )  # fmt: skip
    note = (
        "The interval over seeds is for new runs on this test part; the interval over a longer "
        "text is for these trained models on more text of this kind. Steps: at the late slope of "
        "the test loss, which is measured over the last half of a run. Between two evaluations the "
        "loss is taken as a straight line against the logarithm of the steps. Tokens and time are "
        "medians over seeds; runs that diverged never reach the loss and are left out. These "
        "numbers are not tested: the claims are in the table above."
    )
    caption = "How large the differences are, in nats/token, steps and tokens."
    return table(caption, columns, rows, note=note)


def _pair(pair: pd.Series) -> str:
    return f"{words.arm(pair['a'])} {words.MINUS} {words.arm(pair['b'])}"


def _two(pair: pd.Series, name: str, shown: Callable[[Any], str]) -> str:
    return f"{shown(pair[f'a_{name}'])}, {shown(pair[f'b_{name}'])}"


def designs(frame: pd.DataFrame) -> Table:
    """Return what each experiment could find, as it was stated before the runs."""
    rows = [
        (
            experiment(design),
            words.number(design["n_seeds"]),
            words.number(design["n_claims"]),
            words.p_value(design["smallest_p"]),
            words.number(design["planned_sd"]),
            "none"
            if design["smallest_p"] > sizes.ALPHA
            else words.number(design["planned_detectable"]),
            words.number(design["planned_margin"]),
        )
        for _, design in frame.iterrows()
    ]
    columns = (
        "Experiment", "Seeds#", "Claims#", "Smallest adjusted p#", "Assumed sd, nats/token#",
        "Least difference found, nats/token#", "Least margin shown, nats/token#",
    )  # fmt: skip
    return table(
        "What the experiment can find, stated before its runs.",
        columns,
        rows,
        note="The assumed standard deviation of the paired differences is from earlier runs on "
        "python-docs. An experiment whose smallest adjusted p is above 0.05 gives no verdict.",
    )


def _detectable(pair: pd.Series) -> str:
    """Return the least difference that the design finds, "none" where it can find none."""
    none = sizes.least_p(pair) > sizes.ALPHA
    return "none" if none else words.number(pair["detectable"])
