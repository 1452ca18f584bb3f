"""Records → what to change, ranked by what it saves.

A rule is a function from a run to advice. It advises a change only where an interval lies on one
side: the interval of a pair that was timed in turns, the rounds that are worst for the change where
two cases were timed one after the other, or a p-value that is adjusted for all claims of its
experiment.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from reports.advice import losses, times
from reports.advice.item import ADVICE_KINDS, Advice
from reports.load import Run
from reports.topics import attempt
from reports.topics.own_model import findings as own_findings

MAX_ADVICE = 7


def advise(run: Run) -> list[Advice]:
    """Return what to change, the most urgent kind first, and what saves most first within it."""
    found = [advice for rule in RULES for advice in attempt(partial(rule, run))]
    found.sort(key=lambda advice: (ADVICE_KINDS.index(advice.kind), -advice.saves))
    return found[:MAX_ADVICE]


def repairs(run: Run) -> Iterator[Advice]:
    """Say what is wrong with the user's model or loader: nothing else holds before it is mended."""
    for finding in own_findings.find(run):
        if finding.importance >= own_findings.FAULT:
            yield Advice(
                f"Repair this first: {finding.headline[0].lower()}{finding.headline[1:]}",
                finding.detail,
                "Until then no other number of this model or loader means what it seems to mean.",
                "The time to repair it and to run the suite again.",
                finding.evidence,
                kind="repair",
            )


RULES: tuple[Callable[[Run], Iterator[Advice]], ...] = (repairs, *times.RULES, *losses.RULES)
