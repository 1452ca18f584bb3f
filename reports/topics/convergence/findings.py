"""What the final losses and the paired seeds say, in plain words."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pandas as pd

from gptcore import plain_text
from reports import words
from reports.blocks import Finding
from reports.claims import apart
from reports.conditions import conditions, place
from reports.load import Run
from reports.topics.convergence import sizes, variance
from reports.topics.convergence.sizes import ALPHA, least_p

NO_VERDICT = "no verdict"


def find(run: Run) -> list[Finding]:
    """Return the findings on pairs of arms, crossed runs, and the baseline of token frequencies."""
    facts = {r["case"]: r["facts"] for r in run.finished if r["group"] == "comparison"}
    training = run.cases("convergence")
    return [
        *arm_differences(run.cases("comparison"), training, facts),
        *variance.find(run.cases("outcome"), run.series("outcome", "variance"), training),
        *baseline(training),
    ]


def family(comparisons: pd.DataFrame) -> pd.DataFrame:
    """Return the comparisons with the number of claims and p-values adjusted for all of these.

    A comparison is two claims: a difference, and equality. Earlier ledgers do not adjust for both.
    There each p-value is multiplied by the number of claims (Bonferroni), which is never less than
    what Holm's adjustment gives. Columns `low` and `high` are the 95 % interval of the difference
    that belongs to its test; in earlier ledgers, Student's.
    """
    by_corpus = comparisons["corpus"].map(str)
    pairs = by_corpus.map(by_corpus.value_counts()).astype(float)
    stated = pd.to_numeric(comparisons.get("n_comparisons", pairs), errors="coerce")
    pairs = pairs.where(pairs.ge(stated) | stated.isna(), stated)
    n_claims = comparisons["n_claims"].fillna(2 * pairs)
    earlier = comparisons["n_claims"].isna()
    adjusted = {
        name: comparisons[name].where(~earlier, (comparisons[p] * n_claims).clip(upper=1.0))
        for name, p in (("p_adjusted", "p_value"), ("p_equivalence_adjusted", "p_equivalence"))
    }
    ends = {
        end: comparisons[f"sign_flip_{end}"].where(~earlier, comparisons[f"difference_{end}"])
        for end in ("low", "high")
    }
    return comparisons.assign(n_claims=n_claims, **adjusted, **ends)


def outcome(comparison: pd.Series) -> str:
    """Return "no verdict", "differ", "equal", "differ, but little" or "unresolved".

    All are claimed by p-values that are adjusted for all claims of the experiment. An experiment
    that could not have found a difference of any size gives no verdict.
    """
    if least_p(comparison) > ALPHA:
        return NO_VERDICT
    resolved = comparison["p_adjusted"] <= ALPHA
    equal = comparison["p_equivalence_adjusted"] <= ALPHA
    if resolved:
        return "differ, but little" if equal else "differ"
    return "equal" if equal else "unresolved"


def arm_differences(
    comparisons: pd.DataFrame, training: pd.DataFrame, facts: dict[str, dict[str, Any]]
) -> Iterator[Finding]:
    """Say of each comparison what its paired seeds resolve, and under which conditions."""
    frame = family(comparisons)
    frame = frame[frame["difference"].notna() | frame["n_diverged"].gt(0)]
    for _, pair in frame.iterrows():
        a, b = words.arm_in_prose(pair["a"]), words.arm_in_prose(pair["b"])
        better, worse = (a, b) if pair["difference"] < 0 else (b, a)
        size = f"{abs(pair['difference']):.4f} nats/token"
        margin = f"{_rounded_up(pair['margin'])} nats/token"
        kind = outcome(pair)
        where = conditions(pair, training, (pair["a"], pair["b"]))
        headline = {
            "differ": f"{better} ended {size} lower in test loss than {worse}",
            "differ, but little": f"{better} ended {size} lower than {worse}, inside the margin",
            "equal": f"{a} and {b} end equal in test loss to within {margin}",
            "unresolved": f"no difference in test loss resolved between {a} and {b}",
            NO_VERDICT: f"too few seeds for a verdict on {a} and {b}",
        }[kind]
        both = frame[["a", "b"]].isin([pair["a"], pair["b"]]).all(axis=1)
        headline += apart(pair, frame[both & frame["corpus"].eq(pair["corpus"])])
        yield Finding(
            IMPORTANCE[kind],
            "convergence",
            "" if kind == NO_VERDICT else f"{headline}{where}",
            words.sentence(f"{headline}{where}").removesuffix("."),
            _evidence_of(pair, kind, margin, facts.get(pair["case"], {}).get("margin_from")),
            (pair["case"],),
        )


def _rounded_up(margin: float) -> str:
    """Return a margin with four decimals, so that no equality is told to within less."""
    return words.MISSING if pd.isna(margin) else words.tick(math.ceil(1e4 * margin - 1e-6) / 1e4)


IMPORTANCE = {
    "differ": 80,
    "differ, but little": 74,
    "equal": 72,
    "unresolved": 58,
    NO_VERDICT: 20,
}


def _evidence_of(pair: pd.Series, kind: str, margin: str, origin: object) -> str:
    text = sizes.differences(pair)
    if kind == NO_VERDICT:
        return f"{text}{sizes.could_have_found(pair)} Corpus {words.corpus(pair['corpus'])}."
    text += (
        f" Sign-flip p = {words.p_value(pair['p_value'])}, adjusted for "
        f"{words.count(int(pair['n_claims']), 'claim')} {words.p_value(pair['p_adjusted'])}."
    )
    if pd.notna(pair["margin"]):
        text += (
            f" Equality to within {margin}: "
            f"90 % interval {words.interval(pair['equal_low'], pair['equal_high'])}, equivalence "
            f"p = {words.p_value(pair['p_equivalence'])}, "
            f"adjusted {words.p_value(pair['p_equivalence_adjusted'])}."
        )
    if kind == "unresolved":
        text += (
            " This does not prove equality: "
            + (
                "the equivalence test did not show it either."
                if pd.notna(pair["margin"])
                else "there is no margin to test it against."
            )
            + sizes.could_have_found(pair)
        )
    text += sizes.in_other_units(pair)
    if isinstance(origin, str):
        text += f" {plain_text.shorten(origin, 300)}"
    return f"{text} Corpus {words.corpus(pair['corpus'])}."


def baseline(training: pd.DataFrame) -> Iterator[Finding]:
    """Say whether training learned more than word frequencies."""
    frame = training[training["final_test_loss"].notna()]
    known = int(frame["above_unigram_low"].notna().sum())
    if not known:
        return
    n, runs = len(frame), words.count(len(frame), "run")
    below = int((frame["above_unigram_high"] < 0).sum())
    above = int((frame["above_unigram_low"] > 0).sum())
    lower = int((frame["final_test_loss"] < frame["unigram_test_loss"]).sum())
    if below == above == 0:
        headline = (
            f"On their test part {lower} of {runs} ended below token frequencies, but it is too "
            "short to say so of a longer text"
        )
    else:
        some = [(below, "more"), (above, "less")]
        first, *rest = [found for found in sorted(some, key=lambda x: -x[0]) if found[0]]
        headline = f"Training learned {first[1]} than token frequencies in {first[0]} of {runs}"
        headline += "".join(f", and {word} in {most}" for most, word in rest)
    means = ""  # over several experiments they would mix texts and sizes
    if "experiment" in frame and len(frame["experiment"].unique()) == 1:
        mean, unigram = frame["final_test_loss"].mean(), frame["unigram_test_loss"].mean()
        means = f"Mean final test loss{place(frame.iloc[0], frame)}: {words.loss(mean)} "
        means += f"nats/token; of the baseline, {words.loss(unigram)}. "
    unknown = f", and {n - known} have no interval" if n > known else ""
    yield Finding(
        62,
        "convergence",
        headline[0].lower() + headline[1:],
        headline,
        "The baseline is a model that knows token frequencies alone (unigram counts). "
        f"{means}The 95 % interval of the difference is for a longer text of this kind. By it, "
        f"{words.count(below, 'run')} ended below that baseline and {above} above it; for "
        f"{known - below - above} the interval contains 0{unknown}.",
        tuple(frame["case"].head(3)),
    )
