"""Warnings where a rate and the bound or the formula behind it contradict each other."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from reports import words
from reports.blocks import Finding
from reports.load import Run, over

FLOPS_APART = 0.02
"""A relative difference between FLOPs by formula and as counted that is worth a warning."""
EXCEEDS = 1.01
"""A rate that is higher than its bound by more than the clock's last digits."""


def exceeding(run: Run) -> Iterator[Finding]:
    """Warn where a case was faster than the roofline says is possible: then the bound is wrong."""
    models = run.cases("model")
    share: pd.Series[float] = over(models["flops_per_s"], models["attainable_flops_per_s"])
    wrong = models[share > EXCEEDS]
    if wrong.empty:
        return
    most = words.percent(share.max() - 1)
    yield Finding(
        83,
        "speed",
        "",
        f"{words.count(len(wrong), 'case')} reached more than the roofline allows, by up to {most}",
        "So the measured ceilings are too low for these cases, and their shares of peak too high: "
        "the machine was busy or slower while the ceilings were measured, or the weights of the "
        "case stay in a faster memory than the one that was assumed. Measure again on a quiet "
        "machine.",
        tuple(wrong["case"]),
    )


def flops_gap(models: pd.DataFrame) -> pd.Series[float]:
    """Return, case by case, how far FLOPs by formula and by torch's counter lie apart."""
    both = models[models["flops"].gt(0) & models["flops_counted"].notna()]
    ratio: pd.Series[float] = over(both["flops_counted"], both["flops"])
    return (ratio - 1).abs().dropna()


def flops_apart(models: pd.DataFrame) -> Iterator[Finding]:
    """Warn where formula and counter disagree."""
    gap = flops_gap(models)
    if gap.empty or gap.max() <= FLOPS_APART:
        return
    case = models.loc[gap.index].iloc[int(gap.argmax())]
    n = f"{int((gap > FLOPS_APART).sum())} of {words.count(len(gap), 'case')}"
    yield Finding(
        82,
        "speed",
        "",
        f"FLOPs by formula and FLOPs as counted differ by up to {words.percent(gap.max())}, and by "
        f"more than {words.percent(FLOPS_APART)} in {n}",
        f"{words.conditions(case)}, {words.work(case['work'])}: {words.si(case['flops'], 'FLOP')} "
        f"by formula, {words.si(case['flops_counted'], 'FLOP')} by torch's counter. One of "
        "the two is wrong, so shares of peak may be wrong by as much.",
        (case["case"],),
    )
