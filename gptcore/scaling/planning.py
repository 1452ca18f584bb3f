"""What to train: the best size for a budget of compute, in closed form.

Training costs C = 6 N D FLOPs. A multiply-add counts as two; attention is left out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from gptcore.checks import check_number
from gptcore.scaling.law import ScalingLaw

FLOPS_PER_PARAM_TOKEN = 6.0
LARGEST_LOG = 700.0  # exp of more overflows


@dataclass(frozen=True)
class Allocation:
    """The size and number of tokens with the least loss for a budget, according to a law.

    Attributes:
        params: N.
        tokens: D.
        loss: the predicted loss, nats per token.
        exponent: a of N ~ C^a, which is beta / (alpha + beta); None for repeated text.
        exponent_sd: the standard deviation of a from the refits of the law; None without refits.
    """

    params: float
    tokens: float
    loss: float
    exponent: float | None
    exponent_sd: float | None

    def as_dict(self) -> dict[str, Any]:
        """Return the object that JSON gets."""
        return vars(self) | {"tokens_per_param": self.tokens / self.params}


def unidentified_exponents(law: ScalingLaw) -> str | None:
    """Return why no allocation follows from a law, or None if one does."""
    which = " and ".join(name for name in ("alpha", "beta") if name in law.unidentified)
    if not which:
        return None
    return (
        f"the law does not identify {which}: no allocation follows from it; train runs of several "
        "sizes, each for several lengths"
    )


def allocate(law: ScalingLaw, flops: float) -> Allocation:
    """Return N and D with 6 N D = flops and the least loss.

    Raises:
        ValueError: `flops` is not positive, the law does not identify both exponents, or no size
            that could be trained follows from it.
    """
    flops = check_number("flops", flops, "(0, inf)")
    if unknown := unidentified_exponents(law):
        raise ValueError(unknown)
    _, a, b, alpha, beta = law.theta
    if min(a, b, alpha, beta) == 0:
        raise ValueError("the law has no term for size or none for tokens: no allocation follows")
    # At the optimum, alpha a (N/N0)^-alpha = beta b (D/D0)^-beta; x is ln(N/N0) there.
    pivots = math.log(law.pivot_params) + math.log(law.pivot_tokens)
    free = math.log(flops) - math.log(FLOPS_PER_PARAM_TOKEN) - pivots
    balance = math.log(alpha) + math.log(a) - math.log(beta) - math.log(b)
    x = (balance + beta * free) / (alpha + beta)
    params = float(law.pivot_params * np.exp(min(x, LARGEST_LOG)))
    if not 1 <= params <= flops / FLOPS_PER_PARAM_TOKEN:
        raise ValueError(
            f"the best size for {flops:g} FLOPs is {params:.3g} parameters by this law: check its "
            "A, B, alpha and beta"
        )
    tokens = flops / FLOPS_PER_PARAM_TOKEN / params
    exponents = law.replicates[:, 5] / (law.replicates[:, 4] + law.replicates[:, 5])
    exponent = float(beta / (alpha + beta))
    spread = float(np.sqrt(law.replicates[:, 0] @ (exponents - exponent) ** 2))
    return Allocation(
        params,
        tokens,
        float(law.loss(params, tokens)),
        exponent,
        spread if len(exponents) else None,
    )
