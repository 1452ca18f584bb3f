"""What the final losses and the paired seeds say, in plain words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from gptcore import plain_text
from reports import words
from reports.blocks import Finding
from reports.claims import apart
from reports.load import Run

ALPHA = 0.05
NO_VERDICT = "no verdict"
MOST_EXACT_PAIRS, LEAST_P_DRAWN = 20, 2.0**-16
"""Beyond 20 pairs the sign-flip test uses 2^17 patterns (gptcore.paired)."""


def find(run: Run) -> list[Finding]:
    """Return the findings on pairs of samplers, then on the baseline of token frequencies."""
    facts = {r["case"]: r["facts"] for r in run.finished if r["group"] == "comparison"}
    training = run.cases("convergence")
    return [
        *sampler_differences(run.cases("comparison"), training, facts),
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


def sampler_differences(
    comparisons: pd.DataFrame, training: pd.DataFrame, facts: dict[str, dict[str, Any]]
) -> Iterator[Finding]:
    """Say of each comparison what its paired seeds resolve, and under which conditions."""
    frame = family(comparisons)
    frame = frame[frame["difference"].notna() | frame["n_diverged"].gt(0)]
    for _, pair in frame.iterrows():
        a, b = words.sampler_in_prose(pair["a"]), words.sampler_in_prose(pair["b"])
        better, worse = (a, b) if pair["difference"] < 0 else (b, a)
        size = f"{abs(pair['difference']):.4f} nats/token"
        margin = f"{words.tick(pair['margin'])} nats/token"
        kind = outcome(pair)
        where = conditions(pair, training)
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


IMPORTANCE = {
    "differ": 80,
    "differ, but little": 74,
    "equal": 72,
    "unresolved": 58,
    NO_VERDICT: 20,
}


def conditions(pair: pd.Series, training: pd.DataFrame) -> str:
    """Return for how many passes, on which text and size, and over how many seeds a claim holds."""
    known = "experiment" in training and "experiment" in pair
    runs = training[training["experiment"].eq(pair["experiment"])] if known else training[:0]
    said = ""
    if not runs.empty and runs[["epochs", "train_tokens"]].notna().all(axis=None):
        passes, tokens = runs["epochs"].mean(), runs["train_tokens"].mean()
        said = (
            f" after {passes:.2g} "
            f"{'pass' if f'{passes:.2g}' == '1' else 'passes'} over {words.number(round(tokens))} "
            "tokens"
        )
    said += f" {'of' if said else 'on'} {words.corpus(pair['corpus'])}"
    if not runs.empty and runs["n_params"].notna().all():
        said += f", {words.si(runs['n_params'].mean(), '')} weights".replace(words.NBSP, " ")
    seeds = pair["n_seeds"]
    if pd.notna(seeds):
        said += f", {words.count(int(seeds), 'seed')}"
    if pair["n_diverged"] > 0:
        said += f" ({words.count(int(pair['n_diverged']), 'run')} diverged and left out)"
    return said


def _evidence_of(pair: pd.Series, kind: str, margin: str, origin: object) -> str:
    text = _differences(pair)
    if kind == NO_VERDICT:
        return f"{text}{_could_have_found(pair)} Corpus {words.corpus(pair['corpus'])}."
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
            + _could_have_found(pair)
        )
    if isinstance(origin, str):
        text += f" {plain_text.shorten(origin, 300)}"
    return f"{text} Corpus {words.corpus(pair['corpus'])}."


def _differences(pair: pd.Series) -> str:
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
            f"{words.sampler_in_prose(pair['a'])} lower in {words.percent(pair['share_a_better'])} "
            "of the pairs"
        )
    return f"{text}."


def least_p(pair: pd.Series) -> float:
    """Return the least adjusted p-value that a sign-flip test of so many seeds can have."""
    n = pair["n_seeds"]
    return float(pair["n_claims"] * (LEAST_P_DRAWN if n > MOST_EXACT_PAIRS else 2.0 ** (1 - n)))


def _could_have_found(pair: pd.Series) -> str:
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
    return f" With {design}, a difference of {found} would have been found in 80 % of the cases."


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
    mean, unigram = frame["final_test_loss"].mean(), frame["unigram_test_loss"].mean()
    unknown = f", and {n - known} have no interval" if n > known else ""
    yield Finding(
        62,
        "convergence",
        headline[0].lower() + headline[1:],
        headline,
        f"Mean final test loss: {words.loss(mean)} nats/token, against {words.loss(unigram)} of a "
        "model that knows token frequencies alone (unigram counts). The 95 % interval of the "
        "difference is for a longer text of this kind. By it, "
        f"{words.count(below, 'run')} ended below that baseline and {above} above it; for "
        f"{known - below - above} the interval contains 0{unknown}.",
        tuple(frame["case"].head(3)),
    )
