"""Which small runs to train: a ladder for a budget, and the next run beside those there are.

Designs are ranked by the linearised fit (the Fisher information; Atkinson, Donev & Tobias, Optimum
Experimental Designs, 2007, chapter 10). What is promised comes from a simulation: losses of the
design are drawn from the assumed law with the assumed noise, and fitted as `gptcore scale fit` fits
them.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from gptcore.checks import check_number
from gptcore.scaling.fitting import fit_points
from gptcore.scaling.law import ScalingLaw, law_from
from gptcore.scaling.lines import find_line
from gptcore.scaling.planning import FLOPS_PER_PARAM_TOKEN
from gptcore.scaling.solver import Data, Floats
from gptcore.scaling.tables import FEWEST_UNITS, WORST_LOSS, Points

# The law that gptcore fits to the 240 runs of Chinchilla's figure 4 (Besiroglu et al. 2024).
PUBLISHED = {"E": 1.8172, "A": 477.8, "B": 2143.4, "alpha": 0.3473, "beta": 0.3672}
SHARES = (0.25, 0.5, 1.0)  # of the budget
LADDERS = tuple(itertools.product(range(4, 9), (1.5, 2.0, 3.0), ((20,), (10, 40), (5, 20, 80))))
EXPONENT_SD = 0.15  # standard deviation of alpha and beta as known before any run
NOISE = 0.01  # standard deviation of ln L from run to run
MISFIT = 0.01  # error of the law in ln L, for each factor e in size beyond the largest run
USEFUL_ARE = 20.0  # per cent; up to that a prediction still helps a decision (Choshen et al. 2025)

TRIED = 3  # ladders of each cost that are simulated, the best ones by the linearised fit
TRIALS = 16  # simulated fits of a ladder that is tried
SIMULATED = 240  # simulated fits of the ladder that is proposed

Report = Callable[[int, int], object]


class Ladder(NamedTuple):
    """Small runs: N and D of each, and the linearised expected ARE of their prediction."""

    params: Floats
    tokens: Floats
    are: float

    @property
    def flops(self) -> float:
        """FLOPs of all runs."""
        return FLOPS_PER_PARAM_TOKEN * float(self.params @ self.tokens)


def plan_ladder(
    budget: float,
    target_params: float,
    target_tokens: float,
    *,
    target_are: float = 10.0,
    law: ScalingLaw | None = None,
    noise: float = NOISE,
    seed: int = 0,
    report: Report = lambda _done, _total: None,
) -> dict[str, Any]:
    """Propose the small runs that predict a large one, for a budget and a wanted accuracy.

    Of the ladders tried (`_ladders`), the cheapest one whose expected ARE is at most `target_are`
    is proposed; otherwise the most accurate one. The expected ARE is the mean over 240 simulated
    ladders that the choice did not see, and includes the noise of the predicted run.

    Args:
        budget: FLOPs of all small runs together.
        target_params: N of the run to predict.
        target_tokens: D of the run to predict.
        target_are: the wanted ARE, in per cent.
        law: the law assumed until the runs are done; None is Chinchilla's.
        noise: the standard deviation of ln L of one run about the law.
        seed: of the simulation.
        report: called with the numbers of fits done and to do.

    Returns:
        `decision`, `reaches_target`, what `_promise` and `_runs` give, `share_of_target`, `target`.

    Raises:
        ValueError: a number is not positive, or the budget buys the run to predict itself.
    """
    cost = _check_budget(budget, target_params, target_tokens, target_are, noise)
    assumed = one_law(law) if law else law_from(**PUBLISHED)
    target = float(target_params), float(target_tokens)
    tried = _shortlist(assumed, float(budget), target, float(noise))
    fits = Simulation(assumed, target, float(noise), seed, TRIALS * len(tried) + SIMULATED, report)
    means = [float(fits.errors(ladder, TRIALS, 0).mean()) for ladder in tried]
    good = [ladder for ladder, mean in zip(tried, means, strict=True) if mean <= target_are]
    best = min(good, key=lambda ladder: ladder.flops) if good else tried[int(np.argmin(means))]
    shown, scale_up = fits.errors(best, SIMULATED, 1), target[0] / float(best.params.max())
    result = {
        "reaches_target": bool(shown.mean() <= target_are),
        **_promise(shown, scale_up),
        **_runs(best),
        "share_of_target": best.flops / cost,
        "target": {"params": target[0], "tokens": target[1], "flops": cost},
    }
    return {"decision": _decision(result, float(target_are))} | result


def one_law(law: ScalingLaw) -> ScalingLaw:
    """Return the law; that of runs on one line is a distribution, and one of its laws stands in."""
    return replace(law, line=None)


@dataclass
class Simulation:
    """Simulated fits of ladders: the law and noise assumed, and how many fits are done."""

    law: ScalingLaw
    target: tuple[float, float]
    noise: float
    seed: int
    total: int
    report: Report
    done: int = 0

    def errors(self, ladder: Ladder, count: int, part: int) -> Floats:
        """Return the AREs, in per cent, of that many simulated ladders."""
        rng = np.random.default_rng([self.seed, part])
        found = np.empty(count)
        for i in range(count):
            found[i] = simulate(self.law, *ladder[:2], *self.target, noise=self.noise, rng=rng)
            self.done += 1
            self.report(self.done, self.total)
        return found


def _promise(errors: Floats, scale_up: float) -> dict[str, Any]:
    """Return the mean of simulated AREs, its standard error, and the ARE that 80 % are below.

    `misfit_are` is the expected ARE if the law is off by 1 % for each factor e in size.
    """
    are, misfit = float(errors.mean()), 100 * MISFIT * max(0.0, math.log(scale_up))
    return {
        "expected_are": are,
        "expected_are_se": float(errors.std(ddof=1) / math.sqrt(len(errors))),
        "are_80": float(np.quantile(errors, 0.8)),
        "n_simulated": len(errors),
        "scale_up": scale_up,
        "misfit_are": math.hypot(are, math.sqrt(2 / math.pi) * misfit),
    }


def simulate(
    law: ScalingLaw,
    params: Floats,
    tokens: Floats,
    target_params: float,
    target_tokens: float,
    *,
    noise: float,
    rng: np.random.Generator,
) -> float:
    """Return the ARE, in per cent, of one simulated ladder: fitted, and compared with a new run."""
    log_noise = noise * rng.standard_normal(len(params) + 1)
    losses = law.loss(params, tokens) * np.exp(log_noise[1:])
    fitted = fit_points(Points(params, tokens, losses, np.arange(len(params))))
    seen = float(law.loss(target_params, target_tokens)) * math.exp(log_noise[0])
    return 100 * abs(float(fitted.loss(target_params, target_tokens)) / seen - 1)


def _shortlist(
    law: ScalingLaw, budget: float, target: tuple[float, float], noise: float
) -> list[Ladder]:
    """Return the best ladders of each cost by the linearised fit, none of them on a line."""
    ladders = [
        Ladder(n, d, expected_are(law, n, d, *target, noise=noise))
        for n, d in _ladders(law, budget, target[0])
    ]
    by_cost = sorted(ladders, key=lambda ladder: (round(math.log(ladder.flops), 6), ladder.are))
    groups = itertools.groupby(by_cost, key=lambda ladder: round(math.log(ladder.flops), 6))
    return [ladder for _, group in groups for ladder in list(group)[:TRIED]]


def _runs(ladder: Ladder) -> dict[str, Any]:
    return {
        "models": [
            {"params": float(n), "tokens": float(d), "flops": FLOPS_PER_PARAM_TOKEN * n * d}
            for n, d in zip(ladder.params, ladder.tokens, strict=True)
        ],
        "n_models": len(ladder.params),
        "n_sizes": len(np.unique(ladder.params)),
        "flops": ladder.flops,
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


def _ladders(law: ScalingLaw, budget: float, target_params: float) -> list[tuple[Floats, Floats]]:
    """Return N and D of the runs of every ladder below the size to predict that a fit identifies.

    `tables.check_table` takes its sizes and losses. A ladder has 4 to 8 sizes, each 1.5, 2 or 3
    times the one before, trained for two or three lengths (tokens per parameter), at a quarter,
    half or all of the budget.
    """
    ladders = [_ladder(share * budget, *shape) for share in SHARES for shape in LADDERS]
    small = [(n, d) for n, d in ladders if n.max() <= target_params]
    if not small:
        raise ValueError("every ladder reaches above the target's size: lower the budget")
    usable = [
        (n, d)
        for n, d in small
        if n.min() >= FEWEST_UNITS and np.median(law.loss(n, d)) <= WORST_LOSS and not on_line(n, d)
    ]
    if not usable:
        raise ValueError(
            "the assumed law gives the small models of every ladder losses worse than guessing: "
            "raise the budget, or give a law of such models (--law)"
        )
    return usable


def on_line(params: Floats, tokens: Floats) -> bool:
    """Return whether runs lie on one line, so that no fit can tell size and tokens apart."""
    x, z = np.log(params), np.log(tokens)
    return find_line(Data(x - x.mean(), z - z.mean(), np.zeros(len(x)))) is not None


def _ladder(
    budget: float, sizes: int, step: float, lengths: tuple[int, ...]
) -> tuple[Floats, Floats]:
    """Return N and D of all runs, scaled so that they cost `budget` together."""
    shape = step ** np.arange(sizes)
    params, per_param = np.repeat(shape, len(lengths)), np.tile(lengths, sizes)
    factor = math.sqrt(budget / (FLOPS_PER_PARAM_TOKEN * float(params**2 @ per_param)))
    params = params * factor
    return params, params * per_param


def information(law: ScalingLaw, params: Floats, tokens: Floats, noise: float) -> Floats:
    """Return the Fisher information of runs about ln E, ln a, ln b, alpha and beta, (5, 5)."""
    slopes = _slopes(law, params, tokens)
    return np.asarray(slopes.T @ slopes / noise**2)


def _slopes(law: ScalingLaw, params: Floats, tokens: Floats) -> Floats:
    """Return the derivatives of ln L by ln E, ln a, ln b, alpha and beta, (M, 5)."""
    e, a, b, alpha, beta = law.theta
    x, z = np.log(params / law.pivot_params), np.log(tokens / law.pivot_tokens)
    p, q = a * np.exp(-alpha * x), b * np.exp(-beta * z)
    columns = [np.full(len(x), e), p, q, -x * p, -z * q]
    return np.asarray(np.column_stack(columns) / (e + p + q)[:, None])


def linear_variance(law: ScalingLaw, known: Floats, params: float, tokens: float) -> float:
    """Return the variance of the predicted ln L by the linearised fit."""
    prior = np.diag([1.0, 1.0, 1.0, EXPONENT_SD**-2, EXPONENT_SD**-2])
    there = _slopes(law, np.array([params]), np.array([tokens]))[0]
    return float(there @ np.linalg.solve(known + prior, there))


def expected_are(
    law: ScalingLaw,
    params: Floats,
    tokens: Floats,
    target_params: float,
    target_tokens: float,
    *,
    noise: float,
) -> float:
    """Return the expected ARE, in per cent, of the linearised fit: too small by up to a half.

    It ranks ladders and promises nothing. The mean of |error| is sqrt(2 / pi) times the standard
    deviation.
    """
    known = information(law, params, tokens, noise)
    variance = linear_variance(law, known, target_params, target_tokens)
    return 100 * math.sqrt(2 / math.pi * (variance + noise**2))


def _decision(result: Mapping[str, Any], wanted: float) -> str:
    sizes = [run["params"] for run in result["models"]]
    error = result["expected_are"]
    start = (
        f"Train {result['n_models']} runs of {result['n_sizes']} sizes, {min(sizes):.3g} to "
        f"{max(sizes):.3g} parameters, for {result['flops']:.3g} FLOPs "
        f"({result['share_of_target']:.2%} of the target run): expected error {error:.1f} %"
    )
    if result["reaches_target"]:
        return f"{start}, within the {wanted:g} % wanted."
    use = (
        "still of use for a choice between variants"
        if error <= USEFUL_ARE
        else "of no use for decisions; raise the budget, or predict a smaller run"
    )
    return f"{start}, not the {wanted:g} % wanted; {use}."
