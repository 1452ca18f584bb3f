"""The mechanism behind headlines: exceptions are named, superlatives and rankings are earned."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from reports.claims import Claim, apart, at_least, leaders, listed

LENGTHS = (0.5, 1.0, 2.0, 4.0, 14.4)


def more_at(*lengths: float) -> str:
    """Return a claim that holds at these lengths alone."""
    return Claim("It missed more", LENGTHS, lengths.__contains__, lambda x: f"at {x:g}").text


def test_claim_that_every_row_bears_out_names_all_rows() -> None:
    assert more_at(*LENGTHS) == "It missed more at 0.5, at 1, at 2, at 4 and at 14.4"


def test_claim_names_its_exceptions() -> None:
    assert more_at(0.5, 1.0) == "It missed more at 0.5 and at 1, but not at 2, at 4 or at 14.4"


def test_claim_that_no_row_bears_out_is_not_made() -> None:
    assert more_at() == ""


def test_many_names_are_counted() -> None:
    assert listed("abcdefgh") == "a, b, c, d and 4 more"
    epochs = ["after 0.5 epochs", "after 1 epoch", "after 14.4 epochs"]
    assert listed(epochs) == "after 0.5, 1 and 14.4 epochs"
    assert listed(epochs[1:2]) == "after 1 epoch"
    assert listed(["after 1 epoch", "after 2 epochs (c)"]) == "after 1 epoch and after 2 epochs (c)"


def ratios(*rows: tuple[float, float, float]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["ratio", "ratio_low", "ratio_high"])


def test_only_an_interval_above_all_others_leads() -> None:
    precise, wide, small = (2.12, 2.09, 2.15), (2.82, 1.95, 4.06), (1.2, 1.1, 1.3)
    assert list(leaders(ratios(wide, precise, small))["ratio"]) == [2.12, 2.82]
    assert list(leaders(ratios(precise, small))["ratio"]) == [2.12]


def test_row_without_an_interval_neither_leads_nor_is_excluded() -> None:
    unknown = (9.0, np.nan, np.nan)
    assert leaders(ratios(unknown)).empty
    assert list(leaders(ratios(unknown, (1.2, 1.1, 1.3)))["ratio"]) == [1.2, 9.0]


def test_ranking_goes_by_the_end_nearest_to_one() -> None:
    frame = ratios((2.82, 1.95, 4.06), (2.12, 2.09, 2.15), (0.4, 0.3, 0.45), (1.0, 0.8, 1.2))
    assert list(at_least(frame).round(2)) == [1.95, 2.09, 2.22, 0.83]
    assert list(at_least(ratios((1.0, np.nan, np.nan)))) == [0.0]


def cases(**columns: list[object]) -> pd.DataFrame:
    (n,) = {len(values) for values in columns.values()}
    return pd.DataFrame({"case": [str(i) for i in range(n)]} | columns)


def test_only_conditions_that_differ_are_named() -> None:
    frame = cases(precision=["fp32", "bf16"], batch_size=[4, 4], setting=["x", "x"])
    assert apart(frame.iloc[0], frame) == " (fp32)"
    assert apart(frame.iloc[0], frame.head(1)) == ""


def test_cases_that_nothing_tells_apart_are_counted() -> None:
    frame = cases(precision=["fp32", "fp32"], setting=["x · lr = 1", "x · lr = 1"])
    assert apart(frame.iloc[0], frame) == " (one of 2 such cases)"
    frame.loc[1, "setting"] = "x · lr = 2"
    assert apart(frame.iloc[0], frame) == " (lr = 1)"


@pytest.mark.parametrize("n", [2, 5, 10])
def test_equal_rows_seldom_have_a_winner(n: int) -> None:
    """Of 2,000 tables of equal truths and unlike precision, at most 5 % may name a winner."""
    generator = np.random.default_rng(0)
    errors = np.exp(generator.normal(0, 1, (2_000, n)))
    values = generator.normal(0, errors)
    low, high = values - 1.96 * errors, values + 1.96 * errors
    winners = (high >= low.max(axis=1, keepdims=True)).sum(axis=1) == 1
    assert winners.mean() <= 0.05
