"""Records of pairs → what they say in plain words, and how far that can be trusted."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from reports import words
from reports.blocks import IN_TURNS, Finding
from reports.claims import apart, at_least, of_base, verdict
from reports.load import Run, over


def find(run: Run) -> list[Finding]:
    """Return the findings on pairs."""
    return [*self_comparison(run), *changes(run)]


def pairs(run: Run) -> pd.DataFrame:
    """Return the interleaved pairs, with columns `base`, `what`, `changed` and `is_self`."""
    frame = run.cases("pair")
    params = {r["case"]: r["params"] for r in run.finished if r["group"] == "pair"}
    given = [params[case].get("change") for case in frame["case"]]
    alone = [change in (None, "") for change in given]
    bases = [params[case].get("base") for case in frame["case"]]
    return frame.assign(
        base=pd.Series(bases, dtype=object),
        what=pd.Series(map(words.subject, bases), dtype=object),
        changed=pd.Series([words.change(c) for c in given], dtype=object),
        is_self=pd.Series(alone, dtype=bool) | frame["trials"].gt(0),
        precision_changed=pd.Series([str(c).startswith("precision=") for c in given], dtype=bool),
    )


def self_comparison(run: Run) -> Iterator[Finding]:
    """Give the false-alarm rate: how often a case was called slower or faster than its copy."""
    frame = pairs(run)
    known = frame[frame["trials"].gt(0) & frame["false_alarms"].notna()]
    for _, case in of_base(known).iterrows():
        where = apart(case, of_base(known))
        n, alarms = int(case["trials"]), int(case["false_alarms"])
        often = case["false_alarm_rate"] > 0.05
        high = case["false_alarm_high"]
        limit = "" if pd.isna(high) else f" (upper 95 % limit of the rate: {words.percent(high)})"
        cover = case["missed_cover"]
        missed = "" if pd.isna(cover) else f" {int(cover)} of {n} intervals exclude a ratio of 1."
        yield Finding(
            86 if often else 52,
            "trust",
            "",
            f"{alarms} of {words.count(n, 'comparison')} of a case with an identical copy "
            f"{'was a false alarm' if alarms == 1 else 'were false alarms'}{where}{limit}",
            "A false alarm says slower or faster although nothing differs. The two copies were "
            f"timed in turns in one process; {_margin(case)}.{missed} "
            f"What was timed: {words.subject(case['base'])}.{_conditions(case)}"
            + (" In this run, a verdict of slower or faster may be noise." if often else ""),
            (case["case"],),
        )


def _conditions(case: pd.Series) -> str:
    known = words.base_conditions(case["base"])
    return f" Conditions: {known}." if known else ""


def _margin(case: pd.Series) -> str:
    if pd.isna(case["margin_ratio"]):
        return "margin not recorded"
    return f"margin {words.percent(case['margin_ratio'])}"


def changes(run: Run) -> Iterator[Finding]:
    """Say of each interleaved pair how its change affects the time, the surest change first."""
    frame = pairs(run)
    frame = of_base(frame[~frame["is_self"] & frame["ratio"].gt(0)])
    for _, case in frame.loc[at_least(frame).sort_values(ascending=False).index].iterrows():
        same = frame[frame["changed"].eq(case["changed"]) & frame["what"].eq(case["what"])]
        count = "" if pd.isna(case["pairs"]) else f" of {words.count(int(case['pairs']), 'pair')}"
        ends = words.MISSING
        if pd.notna(case["ratio_low"]) and pd.notna(case["ratio_high"]):
            ends = f"{words.ratio(case['ratio_low'])} to {words.ratio(case['ratio_high'])}"
        yield Finding(
            75 if case["precision_changed"] else 51,
            "speed",
            "",
            f"{_claim(case)}{apart(case, same)}",
            f"Ratio of the times {words.ratio(case['ratio'])}, 95 % interval {ends}: "
            f"{words.si(case['b_time_s'], 's')} against {words.si(case['a_time_s'], 's')}, medians"
            f"{count} timed in turns in one process; {_margin(case)}. {IN_TURNS} "
            f"Conditions: {words.base_conditions(case['base']) or 'not recorded'}.",
            (case["case"],),
        )


def _claim(case: pd.Series) -> str:
    what, how = case["what"][:1].upper() + case["what"][1:], case["changed"]
    factor = words.number(max(case["ratio"], over(1, case["ratio"])))
    return {
        "slower": f"{what} is {factor} times slower {how}",
        "faster": f"{what} is {factor} times faster {how}",
        "same": f"{what} takes the same time {how}, within the margin",
        "ambiguous": f"{what} {how}: neither a difference nor equality is shown",
    }.get(verdict(case), f"{what} {how} took {words.ratio(case['ratio'])} of the time")
