"""How large a difference between two arms is, and which one could have been found, in words."""

from __future__ import annotations

import pandas as pd

from reports import words

ALPHA = 0.05
MOST_EXACT_PAIRS, LEAST_P_DRAWN = 20, 2.0**-16
"""Beyond 20 pairs the sign-flip test uses 2^17 patterns (gptcore.paired)."""


def differences(pair: pd.Series) -> str:
    """Return the sentence on the mean and the median of the differences, as far as recorded."""
    n_seeds = pair["n_seeds"]
    seeds = "" if pd.isna(n_seeds) else f" over {words.count(int(n_seeds), 'paired seed')}"
    if pd.isna(pair["difference"]):
        return "Too few pairs are left in which neither run diverged."
    text = f"Mean difference {words.signed(pair['difference'])} nats/token{seeds}"
    if pd.isna(pair["low"]) or pd.isna(pair["high"]):
        return f"{text}."
    text += f", 95 % interval {words.interval(pair['low'], pair['high'])}"
    if pd.notna(pair["median_difference"]):
        text += (
            " by sign flips and "
            f"{words.interval(pair['difference_low'], pair['difference_high'])} by Student's t; "
            f"median {words.signed(pair['median_difference'])}, 95 % interval "
            f"{words.interval(pair['median_low'], pair['median_high'])}; "
            f"{words.arm_in_prose(pair['a'])} lower in {share_better(pair)} of the pairs"
        )
    return f"{text}."


def least_p(pair: pd.Series) -> float:
    """Return the least adjusted p-value that a sign-flip test of so many seeds can have."""
    n = pair["n_seeds"]
    return float(pair["n_claims"] * (LEAST_P_DRAWN if n > MOST_EXACT_PAIRS else 2.0 ** (1 - n)))


def could_have_found(pair: pd.Series) -> str:
    """Say which difference the design would have found, as far as that is known."""
    n_seeds, n_claims = pair["n_seeds"], pair["n_claims"]
    if pd.isna(n_seeds):
        return ""
    design = f"{words.count(int(n_seeds), 'seed')} and {words.count(int(n_claims), 'claim')}"
    least = least_p(pair)
    if least > ALPHA:
        return (
            f" With {design} no difference of any size could have been found: the adjusted p "
            f"cannot be below {words.p_value(min(least, 1.0))}."
        )
    if pd.isna(pair["detectable"]):
        return ""
    found = f"{words.number(pair['detectable'])} nats/token"
    text = f" With {design}, a difference of {found} would have been found in 80 % of the cases"
    if pd.notna(pair["detectable_margin"]):
        text += (
            ", and equality to within "
            f"{words.number(pair['detectable_margin'])} would have been shown if there is none"
        )
    return f"{text}."


def share_better(pair: pd.Series) -> str:
    """Return in how many of the pairs the first ended lower, with the interval of that share."""
    share = words.percent(pair["share_a_better"])
    low, high = pair["share_a_better_low"], pair["share_a_better_high"]
    if pd.isna(low) or pd.isna(high):
        return share
    return f"{share} ({words.percent(low)} to {words.percent(high)})"


def in_other_units(pair: pd.Series) -> str:
    """Return the sentences on the difference over a longer text, in steps, and in tokens."""
    text = ""
    if pd.notna(pair["text_low"]) and pd.notna(pair["text_high"]):
        text += (
            " For these trained models and a longer text of this kind, the 95 % interval of the "
            f"difference is {words.interval(pair['text_low'], pair['text_high'])}."
        )
    if undone := steps_that_undo(pair):
        text += f" By the late slope of the test loss, the difference is that of {undone} steps."
    if pd.notna(pair["tokens_ratio"]):
        a, b = words.arm_in_prose(pair["a"]), words.arm_in_prose(pair["b"])
        text += (
            f" The tokens until a test loss of {words.loss(pair['reached_loss'])} with {a} are "
            f"{tokens_ratio(pair)} times those with {b}"
        )
        lost = pair["n_censored"]
        text += f"; {words.count(int(lost), 'run')} never reached it" if lost > 0 else ""
        text += "."
    return text


def steps_that_undo(pair: pd.Series) -> str:
    """Return how many times the steps are worth the difference, "" where no slope is known."""
    if pd.isna(pair["margin"]) or pd.isna(pair["difference"]) or not pair["late_slope"] > 0:
        return ""
    factor = pair["steps_factor"]  # null beyond 1/2 to 2
    return (
        f"{'more than 2' if pd.isna(factor) else words.number(max(factor, 1 / factor))} times the"
    )


def tokens_ratio(pair: pd.Series) -> str:
    """Return the ratio of the tokens until a loss, with its interval where that is known."""
    ratio, low, high = (pair[f"tokens_ratio{end}"] for end in ("", "_low", "_high"))
    if pd.isna(low) or pd.isna(high):
        return words.number(ratio)
    return f"{words.number(ratio)} ({words.number(low)} to {words.number(high)})"
