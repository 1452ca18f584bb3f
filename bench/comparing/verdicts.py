"""What a comparison of two runs found: its rows, its counts and its exit code."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from bench.comparing.noise import POWER, UNSEEN
from bench.ledger.folders import RunFolder

VERDICTS = ("slower", "missing", "not run", "ambiguous", "faster", "new", "same")
FAILURES = {"slower": 1, "ambiguous": 1, "faster": 1, "missing": 3, "not run": 3}
"""Verdict that can fail a comparison → its exit code."""
DEFAULT_FAILURES = ("slower", "missing")
NOT_COMPARABLE = POWERLESS = 3
MOST_CASES = 0.9
"""Share of the cases whose detectable slowdown the summary gives."""


@dataclass(frozen=True)
class Row:
    """The comparison of one case; a field is None where it does not apply or is unknown."""

    case: str
    verdict: str
    reason: str | None = None
    ratio: float | None = None
    interval_95: tuple[float | None, float | None] | None = None
    p_adjusted: float | None = None
    base_s: float | None = None
    new_s: float | None = None
    n_base: int | None = None
    n_new: int | None = None
    processes_base: int | None = None
    processes_new: int | None = None
    detectable_ratio: float | None = None


@dataclass(frozen=True)
class Comparison:
    """The comparison of two runs.

    Attributes:
        base: the earlier run.
        new: the later run.
        margin: relative difference that counts as none.
        normalised: whether shares of each machine's ceilings were compared instead of times.
        rows: one for each timed case, and one for each case that is missing or new.
        untimed: number of cases without times in both runs.
        not_judged: number of cases in both runs that are judged within their own run only.
        paired: whether the rounds of the two runs were interleaved.
        warnings: what makes the verdicts less certain, one sentence each.
        not_comparable: why nothing was compared; empty if the runs were compared.
    """

    base: RunFolder
    new: RunFolder
    margin: float
    normalised: bool
    rows: list[Row]
    untimed: int
    warnings: list[str]
    not_comparable: list[str]
    not_judged: int = 0
    paired: bool = False

    @property
    def counts(self) -> dict[str, int]:
        """Return verdict → number of cases."""
        return {name: sum(row.verdict == name for row in self.rows) for name in VERDICTS}

    @property
    def detectable_ratio(self) -> float | None:
        """Return the slowdown that would have been found in 9 of 10 cases; None without a case."""
        ratios = [r.detectable_ratio for r in self.rows if r.detectable_ratio is not None]
        return sorted(ratios)[math.ceil(MOST_CASES * len(ratios)) - 1] if ratios else None

    @property
    def power(self) -> str:
        """Return which slowdown would have been found, in words."""
        known = self.detectable_ratio
        if known is None:
            return "this comparison could have seen no slowdown"
        return (
            f"this comparison could have seen x {known:.2f} in 9 of 10 cases, each with a "
            f"probability of {100 * POWER:.0f} %"
        )

    @property
    def is_powerless(self) -> bool:
        """Return whether a slowdown beyond the margin could have been overlooked."""
        known = self.detectable_ratio
        return known is None or known > 1 + self.margin

    def power_warnings(self) -> list[str]:
        """Return a warning if slowdowns beyond the margin could have been overlooked."""
        known = self.detectable_ratio
        if known is None or not self.is_powerless:
            return []
        machine = f"{100 * math.expm1(UNSEEN):.0f} % may be the machine, which --interleave cancels"
        return [
            f"a slowdown beyond the margin of {100 * self.margin:g} % may have been overlooked: "
            f"{self.power}; {'time more rounds' if self.paired else machine}"
        ]

    def exit_code(
        self, fail_on: Sequence[str] = DEFAULT_FAILURES, *, require_power: bool = False
    ) -> int:
        """Return 3 for runs that cannot be compared, else the lowest code of the failures.

        The code 1 of a slower case comes before the code 3 of a missing one, so that a script that
        tolerates 3 still fails on a slower case.
        """
        if self.not_comparable:
            return NOT_COMPARABLE
        codes = [FAILURES[name] for name in fail_on if self.counts[name]]
        return min(codes + [POWERLESS] * (require_power and self.is_powerless), default=0)
