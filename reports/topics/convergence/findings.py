"""What the final losses and the paired seeds say, in plain words."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from reports import words
from reports.blocks import Finding
from reports.claims import apart
from reports.load import Run

ALPHA = 0.05


def find(run: Run) -> list[Finding]:
    """Return the findings on pairs of samplers, then on the baseline of token frequencies."""
    return [
        *sampler_differences(run.cases("comparison")),
        *baseline(run.cases("convergence")),
    ]


def family(comparisons: pd.DataFrame) -> pd.DataFrame:
    """Return the comparisons, each with an adjusted p-value of its equivalence test.

    Earlier ledgers do not hold it. There the p-value is multiplied by the number of comparisons
    (Bonferroni), which is never less than what Holm's adjustment gives.
    """
    by_corpus = comparisons["corpus"].map(str)
    n_tests = by_corpus.map(by_corpus.value_counts()).astype(float)
    stated = pd.to_numeric(comparisons.get("n_comparisons", n_tests), errors="coerce")
    n_tests = n_tests.where(n_tests.ge(stated) | stated.isna(), stated)
    bound = (comparisons["p_equivalence"] * n_tests).clip(upper=1.0)
    adjusted = comparisons["p_equivalence_adjusted"].fillna(bound)
    return comparisons.assign(p_equivalence_adjusted=adjusted, n_tests=n_tests)


def outcome(comparison: pd.Series) -> str:
    """Return "differ", "equal", "differ, but little" or "unresolved" for one comparison.

    Both are claimed by p-values that are adjusted for all comparisons of the corpus.
    """
    resolved = comparison["p_adjusted"] <= ALPHA
    equal = comparison["p_equivalence_adjusted"] <= ALPHA
    if resolved:
        return "differ, but little" if equal else "differ"
    return "equal" if equal else "unresolved"


def sampler_differences(comparisons: pd.DataFrame) -> Iterator[Finding]:
    """Say of each comparison what its paired seeds resolve."""
    frame = family(comparisons)
    frame = frame[frame["difference"].notna()]
    for _, pair in frame.iterrows():
        a, b = words.sampler_in_prose(pair["a"]), words.sampler_in_prose(pair["b"])
        better, worse = (a, b) if pair["difference"] < 0 else (b, a)
        size = f"{abs(pair['difference']):.4f} nats/token"
        margin = f"{words.tick(pair['margin'])} nats/token"
        kind = outcome(pair)
        headline = {
            "differ": f"{better} ended {size} lower in test loss than {worse}",
            "differ, but little": f"{better} ended {size} lower than {worse}, inside the margin",
            "equal": f"{a} and {b} end equal in test loss to within {margin}",
            "unresolved": f"no difference in test loss resolved between {a} and {b}",
        }[kind]
        headline += apart(pair, frame[frame["a"].eq(pair["a"]) & frame["b"].eq(pair["b"])])
        yield Finding(
            {"differ": 80, "differ, but little": 74, "equal": 72, "unresolved": 58}[kind],
            "convergence",
            headline,
            words.sentence(headline).removesuffix("."),
            _evidence_of(pair, kind, margin),
            (pair["case"],),
        )


def _evidence_of(pair: pd.Series, kind: str, margin: str) -> str:
    n_seeds = pair["n_seeds"]
    seeds = "" if pd.isna(n_seeds) else f" over {words.count(int(n_seeds), 'paired seed')}"
    text = (
        f"Difference {words.signed(pair['difference'])} nats/token{seeds}, 95 % interval "
        f"{words.interval(pair['difference_low'], pair['difference_high'])}; sign-flip "
        f"p = {words.p_value(pair['p_value'])}, "
        f"adjusted by Holm {words.p_value(pair['p_adjusted'])}. Equality to within {margin}: "
        f"90 % interval {words.interval(pair['equal_low'], pair['equal_high'])}, equivalence "
        f"p = {words.p_value(pair['p_equivalence'])}, "
        f"adjusted {words.p_value(pair['p_equivalence_adjusted'])}."
    )
    if kind == "unresolved":
        text += (
            " This does not prove equality: the equivalence test did not show it either."
            f"{_could_have_found(pair)}"
        )
    return f"{text} Corpus {words.corpus(pair['corpus'])}."


def least_p(pair: pd.Series) -> float:
    """Return the least adjusted p-value that a sign-flip test of so many seeds can have."""
    return float(pair["n_tests"] * 2.0 ** (1 - min(pair["n_seeds"], 1000)))


def _could_have_found(pair: pd.Series) -> str:
    """Say which difference the design would have found, as far as that is known."""
    n_seeds, n_tests = pair["n_seeds"], pair["n_tests"]
    if pd.isna(n_seeds):
        return ""
    design = f"{words.count(int(n_seeds), 'seed')} and {words.count(int(n_tests), 'comparison')}"
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
    frame = training[training["final_test_loss"].notna() & training["unigram_test_loss"].notna()]
    if frame.empty:
        return
    n, runs = len(frame), words.count(len(frame), "run")
    below = int((frame["final_test_loss_high"] < frame["unigram_test_loss"]).sum())
    above = int((frame["final_test_loss_low"] > frame["unigram_test_loss"]).sum())
    if below == above == 0:
        headline = f"Training was not shown to beat token frequencies in any of {runs}"
    else:
        word, most = ("less", above) if above > below else ("more", below)
        headline = f"Training learned {word} than token frequencies in {most} of {runs}"
    mean, unigram = frame["final_test_loss"].mean(), frame["unigram_test_loss"].mean()
    rest = n - below - above
    yield Finding(
        62,
        "convergence",
        headline[0].lower() + headline[1:],
        headline,
        f"Mean final test loss: {words.loss(mean)} nats/token, against {words.loss(unigram)} of a "
        "model that knows token frequencies alone (unigram counts). By the 95 % interval of each "
        f"run, {words.count(below, 'run')} ended below that baseline and {above} above it; for "
        f"{rest} the interval contains it.",
        tuple(frame["case"].head(3)),
    )
