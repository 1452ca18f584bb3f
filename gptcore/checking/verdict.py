"""What a check says about a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

STATUSES = ("ok", "note", "fault", "skipped")


@dataclass(frozen=True)
class Verdict:
    """The outcome of one check.

    Attributes:
        status: one of STATUSES. A note is right in some models and wrong in others.
        detail: what was measured, or why nothing was.
        means: what a note or fault means, where such a fault usually sits and which line is right.
    """

    status: str
    detail: str
    means: str | None = None


def ok(detail: str) -> Verdict:
    """Return that nothing is wrong."""
    return Verdict("ok", detail)


def note(detail: str, means: str) -> Verdict:
    """Return something that the user should know, and that is right in some models."""
    return Verdict("note", detail, means)


def fault(detail: str, means: str) -> Verdict:
    """Return something that is wrong."""
    return Verdict("fault", detail, means)


def skipped(detail: str) -> Verdict:
    """Return why nothing was checked."""
    return Verdict("skipped", detail)


def joined(verdicts: Sequence[Verdict]) -> Verdict:
    """Return several faults, notes and passes as one, in which no fault or note hides another."""
    told = [each for each in verdicts if each.means is not None]
    if not told:
        return verdicts[0]
    return Verdict(
        "fault" if any(each.status == "fault" for each in told) else "note",
        "; ".join(each.detail for each in told),
        " ".join(each.means for each in told if each.means),
    )


def first_of(names: list[str]) -> str:
    """Return the first three of some names in words, and how many more there are."""
    shown = ", ".join(names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"
