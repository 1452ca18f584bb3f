"""One piece of advice."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Advice:
    """One thing to change, or to leave as it is, and why.

    Attributes:
        headline: what to do and what it saves, as a clause: "Train in bf16: 2.2 times faster".
        evidence: the numbers behind it with their interval and conditions, in sentences.
        warning: what may go wrong or is not known, "" where there is nothing.
        price: what it costs to follow.
        cases: the ids of the cases behind it.
        saves: the share of the time or of the tokens that it was measured to save, which ranks it;
            0 where nothing was measured to be saved.
        kind: one of `ADVICE_KINDS`, which ranks it first.
    """

    headline: str
    evidence: str
    warning: str
    price: str
    cases: tuple[str, ...]
    saves: float = 0.0
    kind: str = "change"


ADVICE_KINDS = ("repair", "change", "look", "leave")
"""What is wrong and spoils other numbers; what was measured to be better; where there may be
something to gain; and what is to be left as it is."""
