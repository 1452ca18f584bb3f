"""What the records of sampling say, in plain words."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import NormalDist
from typing import Any

import pandas as pd

from reports import words
from reports.blocks import Finding
from reports.claims import Claim, apart, extent
from reports.load import Run, over
from reports.topics.sampling.frames import missed_share, scarce_text, two_by_two, whole_text


def find(run: Run) -> list[Finding]:
    """Return all findings on what the model is shown."""
    every = run.cases("coverage")
    coverage = whole_text(every)
    return [
        *random_visits(coverage),
        *never_shown(coverage),
        *one_epoch_of_random(coverage),
        *theory_agreement(coverage),
        *overlap_or_grid(every),
        *scarcity(every),
    ]


def _of(coverage: pd.DataFrame, *samplers: str) -> pd.DataFrame:
    frame = coverage[coverage["sampler"].isin(samplers)]
    return frame[frame["missed_targets"].notna() & frame["train_tokens"].gt(1)]


def random_visits(coverage: pd.DataFrame) -> Iterator[Finding]:
    """Say how many targets random windows missed at most epochs, and how unevenly they visited."""
    frame = _of(coverage, "random_replacement").sort_values("epochs", ascending=False)
    for _, case in frame.head(1).iterrows():
        missed = words.number(case["missed_targets"])
        targets = words.number(case["train_tokens"] - 1)
        epochs = f"{words.number(case['epochs'])} epoch-equivalents"
        low, high = words.number(case["visits_min"]), words.number(case["visits_max"])
        where = apart(
            case, frame[frame["epochs"].map(words.number).eq(words.number(case["epochs"]))]
        )
        most = "" if pd.isna(case["visits_max"]) else f" and showed others up to {high} times"
        uneven = f"{most}{where}"
        others = _loaders_at(coverage, case)
        theory = ""
        if pd.notna(case["expected_missed_targets"]):
            theory = (
                f"Theory expects {words.number(case['expected_missed_targets'])} missed targets"
            )
            if pd.notna(case["sd_missed_targets"]):
                theory += f" ± {words.number(case['sd_missed_targets'])} (1\u00a0sd)"
            theory += ". "
        yield Finding(
            90,
            "sampling",
            f"random windows missed {missed} of {targets} targets after {epochs}{uneven}{others}",
            f"After {epochs}, random windows missed {missed} of {targets} targets{uneven}{others}",
            f"{theory}A target was shown {words.count_of(case['visits_mean'], 'time')} on average "
            f"(sd {words.number(case['visits_sd'])}, from {low} to {high}). "
            f"Conditions: {case['setting']}.",
            (case["case"],),
        )


def _loaders_at(coverage: pd.DataFrame, case: pd.Series) -> str:
    """Return what DataLoaders missed at the length and under the conditions of a case."""
    frame = _of(coverage, "shuffled_blocks", "sequential")
    same = frame["setting"].eq(case["setting"]) & frame["target_epochs"].eq(case["target_epochs"])
    missed = frame["missed_targets"][same & ~frame["text_share"].lt(1)]
    return "" if missed.empty else f"; DataLoaders missed {extent(missed, words.number)}"


def never_shown(coverage: pd.DataFrame) -> Iterator[Finding]:
    """Say what a DataLoader leaves out in one pass, and whether later passes show it."""
    frame = _of(coverage, "sequential", "shuffled_blocks").sort_values("epochs", kind="stable")
    one = frame[frame["target_epochs"].eq(1)].sort_values("missed_targets", ascending=False)
    for _, case in one[one["missed_targets"].gt(0)].head(1).iterrows():
        alike = one["sampler"].eq(case["sampler"]) & one["drop_last"].eq(case["drop_last"])
        name = f"{words.sampler_in_prose(case['sampler'])}{apart(case, one[alike])}"
        how = ", with the last batch dropped," if case["drop_last"] is True else ""
        missed = words.number(case["missed_targets"])
        share = words.percent(over(case["missed_targets"], case["train_tokens"] - 1))
        same = (frame["setting"] == case["setting"]) & (frame["variant"] == case["variant"])
        later = frame[same & frame["epochs"].ge(case["epochs"])]
        last = later.iloc[-1]
        never = last["epochs"] > 1.5 and later["missed_targets"].eq(case["missed_targets"]).all()
        length = f"{words.number(last['epochs'])} epoch-equivalents"
        claim = (
            f"{name}{how} never showed {missed} targets ({share}), even in {length}"
            if never
            else f"{name}{how} left out {missed} targets ({share}) in one pass"
        )
        yield Finding(
            65,
            "sampling",
            claim,
            words.sentence(claim).removesuffix("."),
            "Blocks start on a fixed grid, and tokens that do not fill the last block or the last "
            f"batch are left out. Conditions: {case['setting']}.",
            tuple(dict.fromkeys([str(case["case"]), str(last["case"])])),
        )


def one_epoch_of_random(coverage: pd.DataFrame) -> Iterator[Finding]:
    """Say what random windows miss when they draw as many targets as the text has."""
    frame = _of(coverage, "random_replacement")
    frame = frame[frame["target_epochs"].eq(1)]
    for _, case in frame.head(1).iterrows():
        where = apart(case, frame)
        share = over(case["missed_targets"], case["train_tokens"] - 1)
        yield Finding(
            60,
            "sampling",
            f"at one epoch-equivalent random windows missed {words.percent(share)} of the targets"
            f"{where}",
            f"At one epoch-equivalent, random windows missed {words.percent(share)} of the targets"
            f"{where}",
            "The windows held as many targets as the training part, but some targets repeatedly "
            f"and others never. Theory expects {words.number(case['expected_missed_targets'])} "
            "missed targets. "
            f"Conditions: {case['setting']}.",
            (case["case"],),
        )


def theory_agreement(coverage: pd.DataFrame) -> Iterator[Finding]:
    """Say whether the numbers of missed targets agree with theory, all of them together."""
    frame = coverage[coverage["z_missed_targets"].notna()]
    if frame.empty:
        return
    z = frame["z_missed_targets"].abs()
    worst, case = z.max(), str(frame["case"].iloc[int(z.argmax())])
    n = words.count(len(frame), "case")
    # The largest of n exceeds this as rarely as one normal number exceeds 3 (Bonferroni).
    limit = NormalDist().inv_cdf(1 - NormalDist().cdf(-3) / len(frame))
    if worst <= limit:
        yield Finding(
            35,
            "sampling",
            "",
            f"Theory predicted the number of missed targets to within {words.number(worst, 2)} sd",
            f"Largest deviation among {n} with a known standard deviation; one seed each.",
            (case,),
        )
    else:
        yield Finding(
            85,
            "sampling",
            "",
            f"A number of missed targets lies {words.number(worst, 2)} sd from theory",
            f"Largest deviation among {n}; chance alone rarely takes it beyond "
            f"{words.number(limit, 2)} sd. The sampler or the formula may be wrong, or the formula "
            "may not describe these conditions.",
            (case,),
        )


# --- the 2 x 2 ------------------------------------------------------------------------------


FEW_LENGTHS = 2
"""Lengths of training up to which a sentence gives the numbers of each."""


def overlap_or_grid(coverage: pd.DataFrame) -> Iterator[Finding]:
    """Say what the 2 x 2 shows: at which lengths does replacement decide what is missed?"""
    cells = two_by_two(coverage)
    first = cells[cells["target_epochs"].eq(1)].head(1)
    if first.empty:
        return
    setting = first["setting"].iloc[0]
    of_setting = cells[cells["setting"] == setting]
    four = of_setting[of_setting["target_epochs"].eq(1)].set_index("sampler")
    rows = list(_by_length(two_by_two(coverage, repeated=True)))
    claim = Claim(
        "Drawing with replacement missed more targets than drawing without replacement",
        rows,
        lambda row: row["once"].max() < row["drawn"].min(),
        lambda row: row["name"] + (row["shares"] if len(rows) <= FEW_LENGTHS else ""),
    )
    shown = {name: words.percent(share) for name, share in missed_share(four).items()}
    decided = any(row["setting"] == setting and row["epochs"] == 1 for row in claim.holding)
    yield Finding(
        88,
        "sampling",
        "",
        claim.text or "Replacement and grid, combined, show no clear cause of missed targets",
        "At one epoch-equivalent, draws with replacement missed "
        f"{shown['grid_replacement']} of the targets with starts on a fixed grid and "
        f"{shown['random_replacement']} with free starts. Shuffled blocks, each drawn once, "
        f"missed {shown['shuffled_blocks']} on the fixed grid and "
        f"{shown['random_phase_blocks']} with a free offset of the grid."
        f"{_repeats(four.loc['random_replacement'], decided)} {_alignments(of_setting)} "
        f"Conditions: {setting}.",
        tuple(four["case"]),
    )


def _by_length(cells: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """Yield each complete 2 x 2, the shortest first: what was missed with and without replacement.

    A length and a setting name it.
    """
    for _, four in cells.groupby(["target_epochs", "setting"], sort=True):
        epochs, setting = float(four["target_epochs"].iloc[0]), four["setting"].iloc[0]
        missed, of_length = missed_share(four), cells[cells["target_epochs"] == epochs]
        drawn, once = missed[four["replacement"]], missed[~four["replacement"]]
        others = of_length.drop_duplicates("setting")
        where = apart(four.iloc[0], others[others["setting"] != setting])
        yield {
            "epochs": epochs,
            "setting": setting,
            "drawn": drawn,
            "once": once,
            "shares": f" ({_span(drawn)} against {_span(once)})",
            "name": f"after {words.count_of(epochs, 'epoch-equivalent')}{where}",
        }


def _repeats(random: pd.Series, decided: bool) -> str:
    """Say that starts were hardly ever repeated, where that is so: then overlap is the cause."""
    if not decided or not random["repeated_windows"] <= 0.05 * random["draws"]:
        return ""
    return (
        " Repeated starts do not explain this: random windows repeated "
        f"{words.number(random['repeated_windows'])} of {words.number(random['draws'])} starts. "
        "But random windows overlap, and disjoint blocks do not."
    )


def _alignments(cells: pd.DataFrame) -> str:
    """Give the start coverage on the grid and off it, in the longest 2 x 2."""
    longest = cells[cells["target_epochs"] == cells["target_epochs"].max()]
    fixed = longest.loc[longest["grid"], "alignment_coverage"]
    free = longest.loc[~longest["grid"], "alignment_coverage"]
    if longest["alignment_coverage"].isna().any():
        return "The start coverage was not recorded."
    seen = (
        f"After {_epochs(longest['epochs'].max())}, {_span(free)} of the possible starts were "
        f"drawn with free starts or offsets and {_span(fixed)} on the fixed grid"
    )
    if longest["target_epochs"].max() <= 1:
        return f"{seen}; only a longer run can separate the two."
    if free.min() > fixed.max():
        return f"{seen}: only free starts and offsets keep adding new ones."
    return f"{seen}."


def _span(shares: pd.Series) -> str:
    low, high = words.percent(shares.min()), words.percent(shares.max())
    return low if low == high else f"{low} to {high}"


def _epochs(epochs: float) -> str:
    return words.count_of(epochs, "epoch-equivalent")


# --- scarce text ----------------------------------------------------------------------------


def scarcity(coverage: pd.DataFrame) -> Iterator[Finding]:
    """Say what the same number of training tokens shows of the smallest part of the text."""
    frame = _of(scarce_text(coverage), "random_replacement")
    for _, few in frame[frame["text_share"].lt(1)].sort_values("text_share").head(1).iterrows():
        share = words.text_share(few["text_share"])
        low, high = words.number(few["visits_min"]), words.number(few["visits_max"])
        shown = f"shows each target {words.count_of(few['visits_mean'], 'time')} on average"
        same = (frame["setting"] == few["setting"]) & (frame["variant"] == few["variant"])
        whole = frame[same & frame["text_share"].eq(1) & frame["budget"].eq(few["budget"])]
        compared = moved = ""
        where = apart(few, frame[frame["text_share"].eq(few["text_share"])])
        for _, much in whole.head(1).iterrows():
            compared = (
                " On the whole text they showed each target "
                f"{words.count_of(much['visits_mean'], 'time')} on average and missed "
                f"{_missed(much)}."
            )
            if _less_text_misses_less(frame) and few["missed_targets"] < much["missed_targets"]:
                moved = " Less text means fewer missed targets and more repetition."
        yield Finding(
            64,
            "sampling",
            "",
            f"On {share} of the text, the same number of training tokens {shown}{where}",
            f"Random windows missed {_missed(few)} and showed a target between {low} and {high} "
            f"times."
            f"{compared}{moved} Conditions: {few['setting']}.",
            (few["case"], *whole["case"].head(1)),
        )


def _less_text_misses_less(scarce: pd.DataFrame) -> bool:
    """Return whether no step to less text missed more targets, and each showed them more often."""
    frame = scarce.sort_values("text_share", kind="stable")
    steps = frame.groupby(["setting", "variant", "budget"])[
        ["missed_targets", "visits_mean"]
    ].diff()
    steps = steps.dropna(how="all")
    return bool(steps["missed_targets"].ge(0).all() and steps["visits_mean"].lt(0).all())


def _missed(case: pd.Series) -> str:
    share = words.percent(over(case["missed_targets"], case["train_tokens"] - 1))
    targets = words.number(case["train_tokens"] - 1)
    return f"{words.number(case['missed_targets'])} of {targets} targets ({share})"
