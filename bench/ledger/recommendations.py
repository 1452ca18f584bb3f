"""The recommendations of Choshen et al. 2025 for fits of scaling laws that the suite tries."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Recommendation:
    """One way to fit a scaling law that Choshen et al. 2025 (arXiv:2410.11840) compare.

    Attributes:
        words: the losses that the law is fitted to, as the report shows it.
        split: arguments of `gptcore.scaling.extrapolation.Split` that choose them.
        cut: arguments of `gptcore.scaling.tables.Cut` that choose them.
    """

    words: str
    split: dict[str, Any] = field(default_factory=dict)
    cut: dict[str, Any] = field(default_factory=dict)


RECOMMENDATIONS = {
    "default": Recommendation("as above: last 70 % of each run"),
    "final_only": Recommendation("final losses only", cut={"final_only": True}),
    "no_burn_in": Recommendation("all checkpoints, no burn-in", cut={"last_share": 1}),
    "half_burn_in": Recommendation("last half of each run", cut={"last_share": 0.5}),
    "three_models": Recommendation("the 3 smallest sizes", split={"models": 3}),
    "four_models": Recommendation("the 4 smallest sizes", split={"models": 4}),
    "target_30pct": Recommendation("and 30 % of the target", split={"target_share": 0.3}),
    "target_30pct_alone": Recommendation(
        "30 % of the target alone",
        split={"models": 0, "target_share": 0.3},
        cut={"last_share": 1},
    ),
    "borrowed": Recommendation(
        "the smallest size, the rest borrowed from another seed", split={"models": 1}
    ),
    "reverse": Recommendation("the smallest from the larger ones", split={"reverse": True}),
}
"""Parameter `question` of a case → the recommendation that it tries on the ladder of models."""
