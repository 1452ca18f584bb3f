"""Which parameters of a law can the data determine, and what is assumed for the others?

With one size the law has no term for N, and with two sizes its exponent alpha is assumed. The token
counts decide likewise about beta. A parameter that another law lends is held at that law's value.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from gptcore.scaling import solver
from gptcore.scaling.law import SAME_PARAMS, SAME_TOKENS, ScalingLaw
from gptcore.scaling.solver import NAMES, Floats, Mask
from gptcore.scaling.tables import Points

TYPICAL_EXPONENT = 0.35  # alpha 0.34-0.35, beta 0.35-0.37 in the published fits on web text
SAME_SLOPE = 0.02  # slopes of ln D by ln N that near to 0 or 1 are called 0 or 1


@dataclass
class Freedom:
    """What the solver may move, and what the data do not determine.

    Attributes:
        free: (5,) which of E, a, b, alpha and beta move.
        held: (5,) the values of those that do not.
        unidentified: names of the parameters that the data do not determine.
        notes: why, and what to do about it.
    """

    free: Mask = field(default_factory=solver.ALL.copy)
    held: Floats = field(
        default_factory=lambda: np.array([0, 0, 0, TYPICAL_EXPONENT, TYPICAL_EXPONENT])
    )
    unidentified: set[str] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)


def choose_freedom(
    points: Points,
    pivots: tuple[float, float],
    borrowed: Mapping[str, float],
    *,
    assume_alpha: bool,
) -> Freedom:
    """Decide what the solver moves.

    Args:
        points: what is fitted.
        pivots: the geometric means of their sizes and token counts.
        borrowed: name → value of the parameters held at another law's values.
        assume_alpha: whether alpha is assumed although there are enough sizes to fit it.
    """
    freedom = Freedom()
    if "alpha" not in borrowed:
        one = points.sizes[-1] <= SAME_PARAMS * points.sizes[0]
        _judge_sizes(freedom, 1 if one else len(points.sizes), assume_alpha)
    if "beta" not in borrowed:
        _judge_token_counts(freedom, points.tokens)
    _borrow(freedom, borrowed, pivots)
    _judge_number(freedom, len(points.loss), borrowed)
    return freedom


def _judge_sizes(freedom: Freedom, n_sizes: int, assume_alpha: bool) -> None:
    freedom.free[1] = n_sizes > 1
    if n_sizes < 3 or assume_alpha:
        freedom.free[3] = False
        freedom.unidentified |= {"E", "A", "alpha"}
        what = f"alpha is taken as {TYPICAL_EXPONENT}" if n_sizes > 1 else "N is left out"
        freedom.notes.append(
            f"{n_sizes} size{'s' * (n_sizes > 1)}: E, A and alpha cannot be told apart and "
            f"{what}: train at least {max(3, n_sizes + 1)} sizes, wider apart, or borrow A and "
            "alpha from another law"
        )


def _judge_token_counts(freedom: Freedom, tokens: Floats) -> None:
    low, high = tokens.min(), tokens.max()
    if high <= SAME_TOKENS * low:
        freedom.free[[2, 4]] = False
        freedom.unidentified |= {"E", "B", "beta"}
        freedom.notes.append(
            f"every run has {low:.3g} to {high:.3g} tokens: B and beta cannot be told from E, "
            "and predictions hold for that many tokens only: vary the length of the runs, or "
            "use their checkpoints"
        )
    elif len(np.unique(tokens)) < 3:
        freedom.free[4] = False
        freedom.unidentified |= {"E", "B", "beta"}
        freedom.notes.append(
            f"two token counts: E, B and beta cannot be told apart and beta is taken as "
            f"{TYPICAL_EXPONENT}: add runs of a third length"
        )


def _borrow(freedom: Freedom, borrowed: Mapping[str, float], pivots: tuple[float, float]) -> None:
    """Hold the borrowed parameters; A and B become a and b at the pivots."""
    for name, value in borrowed.items():
        index = NAMES.index(name)
        freedom.free[index], freedom.held[index] = False, value
    if "A" in borrowed:
        freedom.held[1] *= math.exp(-freedom.held[3] * math.log(pivots[0]))
    if "B" in borrowed:
        freedom.held[2] *= math.exp(-freedom.held[4] * math.log(pivots[1]))


def _judge_number(freedom: Freedom, n_points: int, borrowed: Mapping[str, float]) -> None:
    """With no more points than free parameters, hold parameters until one point is spare."""
    if n_points > freedom.free.sum():
        return
    freedom.notes.append(
        f"no more points ({n_points}) than parameters ({freedom.free.sum()}): any law through them "
        "fits, and its error is unknown: use checkpoints as well, or train more runs"
    )
    freedom.unidentified |= {name for name in NAMES if name not in borrowed}
    for index in (4, 3, 2, 1):
        if n_points <= freedom.free.sum():
            freedom.free[index] = False


def describe_line(law: ScalingLaw) -> str:
    """Return the warning for runs on one line: what it is, where the law holds, what to train."""
    line = law.line
    assert line is not None
    lead, follow = ("tokens", "parameters") if line.along else ("parameters", "tokens")
    pivots = (law.pivot_params, law.pivot_tokens)[:: -1 if line.along else 1]
    middle = pivots[1] * math.exp(line.middle)
    if abs(line.slope) < SAME_SLOPE:
        where = f"{_about(middle, line.spread)} {follow}"
    elif abs(line.slope - 1) < SAME_SLOPE:
        ratio = pivots[0] / middle if line.along else middle / pivots[0]
        where = f"{_about(ratio, line.spread)} tokens per parameter"
    else:
        where = f"{follow} that grow as {lead} to the power {line.slope:.2g}"
    return (
        f"all runs, or all but one, lie near one line of size and tokens ({where}): size and "
        "tokens cannot be told apart, so E, A, B, alpha and beta are unknown, and predictions hold "
        f"along this line only, up to a factor of {math.exp(line.reach):.2f} in {follow} off its "
        f"middle; {_growth(law, follow)}; train some sizes for 1/4 and for 4 times as many tokens "
        "as well"
    )


def _about(middle: float, spread: float) -> str:
    """Return a number, or from where to where it goes if it spans more than a factor of 1.5."""
    if math.exp(2 * spread) < SAME_TOKENS:
        return f"about {middle:.3g}"
    return f"{middle * math.exp(-spread):.3g} to {middle * math.exp(spread):.3g}"


def _growth(law: ScalingLaw, follow: str) -> str:
    """Say by how much the 95 % interval at the upper end of the line grows off it."""
    line = law.line
    assert line is not None
    refits = [law.log_refits(*law.on_line(factor)) for factor in (1, 2, 4)]
    ends = [line.interval(refit, 0.95, new_run=True) for refit in refits]
    width = [100 * math.expm1((high - low) / 2) for low, high in ends]
    return (
        f"the 95 % interval of the last run of the line would grow from ± {width[0]:.2g} % to "
        f"± {width[1]:.2g} % at twice and ± {width[2]:.2g} % at four times its {follow}"
    )
