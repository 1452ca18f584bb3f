"""What to train: the best size for a budget, and the ladder of small runs.

Training costs C = 6 N D FLOPs. A multiply-add counts as two; attention is left out.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from gptcore.checks import check_number
from gptcore.scaling.law import ScalingLaw, law_from
from gptcore.scaling.solver import Floats

FLOPS_PER_PARAM_TOKEN = 6.0
# The law that gptcore fits to the 240 runs of Chinchilla's figure 4 (Besiroglu et al. 2024).
PUBLISHED = {"E": 1.8172, "A": 477.8, "B": 2143.4, "alpha": 0.3473, "beta": 0.3672}

LADDERS = tuple(itertools.product(range(4, 9), (1.5, 2.0, 3.0), ((20,), (10, 40), (5, 20, 80))))
EXPONENT_SD = 0.15  # standard deviation of alpha and beta as known before any run
NOISE = 0.01  # standard deviation of ln L from run to run
MISFIT = 0.01  # error of the law in ln L, for each factor e in size beyond the largest run
USEFUL_ARE = 20.0  # per cent; up to that a prediction still helps a decision (Choshen et al. 2025)
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


def allocate(law: ScalingLaw, flops: float) -> Allocation:
    """Return N and D with 6 N D = flops and the least loss.

    Raises:
        ValueError: `flops` is not positive, the law does not identify both exponents, or no size
            that could be trained follows from it.
    """
    flops = check_number("flops", flops, "(0, inf)")
    if {"alpha", "beta"} & {*law.unidentified}:
        which = " and ".join(n for n in ("alpha", "beta") if n in law.unidentified)
        raise ValueError(f"the law does not identify {which}: no allocation follows from it")
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


def plan_ladder(
    budget: float,
    target_params: float,
    target_tokens: float,
    *,
    target_are: float = 10.0,
    law: ScalingLaw | None = None,
    noise: float = NOISE,
) -> dict[str, Any]:
    """Propose the small runs that predict a large one, for a budget and a wanted accuracy.

    Of all ladders tried (`_ladders`), the cheapest one whose expected ARE is at most `target_are`
    is proposed; if there is none, the most accurate one.

    Args:
        budget: FLOPs of all small runs together.
        target_params: N of the run to predict.
        target_tokens: D of the run to predict.
        target_are: the wanted ARE, in per cent.
        law: the law assumed until the runs are done; None is Chinchilla's.
        noise: the standard deviation of ln L of one run about the law.

    Returns:
        `decision` (a sentence), `reaches_target`, `expected_are`, `models` (list of `params,
        tokens, flops`), `n_models`, `n_sizes`, `flops`, `share_of_target`, `scale_up`, `target`.

    Raises:
        ValueError: a number is not positive, or the budget buys the run to predict itself.
    """
    cost = _check_budget(budget, target_params, target_tokens, target_are, noise)
    budget, target_params, target_tokens = map(float, (budget, target_params, target_tokens))
    target_are, noise = float(target_are), float(noise)
    assumed = law or law_from(**PUBLISHED)
    target = np.array([target_params]), np.array([target_tokens])
    ladders = [
        Ladder(n, d, expected_are(assumed, n, d, *target, noise=noise))
        for n, d in _ladders(budget, target_params)
    ]
    good = [ladder for ladder in ladders if ladder.are <= target_are]
    best = min(good, key=_flops) if good else min(ladders, key=lambda ladder: ladder.are)
    return {
        "decision": _decision(best, target_are, cost),
        "reaches_target": bool(good),
        "expected_are": best.are,
        **_runs(best),
        "share_of_target": _flops(best) / cost,
        "scale_up": target_params / float(best.params.max()),
        "target": {"params": target_params, "tokens": target_tokens, "flops": cost},
    }


class Ladder(NamedTuple):
    """Small runs: N and D of each, and the expected ARE of their prediction."""

    params: Floats
    tokens: Floats
    are: float


def _flops(ladder: Ladder) -> float:
    return FLOPS_PER_PARAM_TOKEN * float(ladder.params @ ladder.tokens)


def _runs(ladder: Ladder) -> dict[str, Any]:
    return {
        "models": [
            {"params": float(n), "tokens": float(d), "flops": FLOPS_PER_PARAM_TOKEN * n * d}
            for n, d in zip(ladder.params, ladder.tokens, strict=True)
        ],
        "n_models": len(ladder.params),
        "n_sizes": len(np.unique(ladder.params)),
        "flops": _flops(ladder),
    }


def _check_budget(
    budget: float, target_params: float, target_tokens: float, target_are: float, noise: float
) -> float:
    """Return the FLOPs of the run to predict; refuse a budget that buys it."""
    numbers = {
        "budget": budget,
        "target params": target_params,
        "target tokens": target_tokens,
        "target ARE": target_are,
        "noise": noise,
    }
    for name, value in numbers.items():
        check_number(name, value, "[1e-100, 1e100]")
    cost = FLOPS_PER_PARAM_TOKEN * target_params * target_tokens
    if budget >= cost:
        raise ValueError(
            f"the budget of {budget:.3g} FLOPs buys the target itself ({cost:.3g}): train it, or "
            "name a larger target (--target-params, --target-tokens)"
        )
    return cost


def _ladders(budget: float, target_params: float) -> list[tuple[Floats, Floats]]:
    """Return N and D of the runs of every ladder that stays below the size to predict.

    A ladder has 4 to 8 sizes, each 1.5, 2 or 3 times the one before, trained for one to three
    lengths (tokens per parameter), at a quarter, half or all of the budget.
    """
    ladders = [_ladder(share * budget, *shape) for share in (0.25, 0.5, 1.0) for shape in LADDERS]
    small = [(n, d) for n, d in ladders if n.max() <= target_params]
    if not small:
        raise ValueError("every ladder reaches above the target's size: lower the budget")
    return small


def _ladder(
    budget: float, sizes: int, step: float, lengths: tuple[int, ...]
) -> tuple[Floats, Floats]:
    """Return N and D of all runs, scaled so that they cost `budget` together."""
    shape = step ** np.arange(sizes)
    params, per_param = np.repeat(shape, len(lengths)), np.tile(lengths, sizes)
    factor = math.sqrt(budget / (FLOPS_PER_PARAM_TOKEN * float(params**2 @ per_param)))
    params = params * factor
    return params, params * per_param


def expected_are(
    law: ScalingLaw,
    params: Floats,
    tokens: Floats,
    target_params: Floats,
    target_tokens: Floats,
    *,
    noise: float,
) -> float:
    """Return the expected ARE, in per cent, of a prediction from runs with that noise.

    Its variance is a sum of three: that of the linearised least-squares fit of ln L, the noise of
    the predicted run, and the law's misfit, 1 % for each factor e in size beyond the largest run,
    about what published families show (docs/scaling.md). The mean of |error| is sqrt(2 / pi) times
    the standard deviation.
    """

    def slopes(n: Floats, d: Floats) -> Floats:
        e, a, b, alpha, beta = law.theta
        x, z = np.log(n / law.pivot_params), np.log(d / law.pivot_tokens)
        p, q = a * np.exp(-alpha * x), b * np.exp(-beta * z)
        total = e + p + q  # derivatives by ln E, ln a, ln b, alpha, beta
        columns = [np.full(len(n), e), p, q, -x * p, -z * q]
        return np.asarray(np.column_stack(columns) / total[:, None])

    known: Floats = np.diag([1.0, 1.0, 1.0, EXPONENT_SD**-2, EXPONENT_SD**-2])
    jacobian, there = slopes(params, tokens), slopes(target_params, target_tokens)
    information = jacobian.T @ jacobian / noise**2 + known
    variance = float((there @ np.linalg.solve(information, there.T))[0, 0])
    misfit = MISFIT * max(0.0, math.log(target_params[0] / params.max()))
    return 100 * math.sqrt(2 / math.pi * (variance + noise**2 + misfit**2))


def _decision(ladder: Ladder, wanted: float, cost: float) -> str:
    sizes, spent = np.unique(ladder.params), _flops(ladder)
    start = (
        f"Train {len(ladder.params)} runs of {len(sizes)} sizes, {sizes.min():.3g} to "
        f"{sizes.max():.3g} parameters, for {spent:.3g} FLOPs ({spent / cost:.2%} of the target "
        f"run): expected error {ladder.are:.1f} %"
    )
    if ladder.are <= wanted:
        return f"{start}, within the {wanted:g} % wanted."
    use = (
        "still of use for a choice between variants"
        if ladder.are <= USEFUL_ARE
        else "of no use for decisions; raise the budget, or predict a smaller run"
    )
    return f"{start}, not the {wanted:g} % wanted; {use}."
