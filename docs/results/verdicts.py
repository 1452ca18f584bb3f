"""Measure the verdicts on paired runs: false claims, coverage of the intervals, and power.

Losses of two samplers are simulated with a known difference, and judged as the suite judges them
(bench/experiments/verdicts.py): two planned pairs, four claims, adjusted together. A run that
diverges ends above its initial loss. Run it in the checkout:

    python docs/results/verdicts.py             # about three minutes
    python docs/results/verdicts.py --seed 7    # with other random numbers
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import scipy

sys.path.insert(0, str(Path(__file__).parents[2]))
from bench.experiments.verdicts import Paired, verdicts
from gptcore.paired import compare_pairs, sign_flip_p
from gptcore.power import detectable_difference

Draw = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]
Measure = Callable[[np.random.Generator, int], list[float] | None]
PAIRS = [("a", "b"), ("a", "c")]
MARGIN = 1.0  # in standard deviations of the paired differences of normal losses
DIVERGED = 99.0


def _normal(rng: np.random.Generator, size: tuple[int, ...]) -> np.ndarray:
    return rng.normal(0, 0.5**0.5, size)


def _skewed(rng: np.random.Generator, size: tuple[int, ...]) -> np.ndarray:
    return (rng.lognormal(0, 1, size) - np.exp(0.5)) / 3.06


def _heavy(rng: np.random.Generator, size: tuple[int, ...]) -> np.ndarray:
    return rng.standard_t(3, size) / 6**0.5


def _diverging(rng: np.random.Generator, size: tuple[int, ...]) -> np.ndarray:
    return np.where(rng.random(size) < 1 / 8, DIVERGED, _normal(rng, size))


SHAPES: dict[str, Draw] = {
    "normal": _normal,
    "lognormal": _skewed,
    "t with 3 degrees": _heavy,
    "1 in 8 diverges": _diverging,
}
"""Losses of one run around 0; the difference of two has a standard deviation of about 1."""
HELD_OUT: dict[str, Draw] = {
    "Laplace": lambda rng, size: rng.laplace(0, 0.5, size),
    "gamma, shape 0.5": lambda rng, size: rng.gamma(0.5, 1, size) - 0.5,
    "1 in 20 ten times as wide": lambda rng, size: (
        rng.normal(0, 0.29, size) * np.where(rng.random(size) < 0.05, 10, 1)
    ),
    "1 in 20 diverges": lambda rng, size: np.where(
        rng.random(size) < 0.05, DIVERGED, _normal(rng, size)
    ),
}
"""Laws that were looked at only after everything was chosen."""


def judge(a: np.ndarray, others: list[np.ndarray], margin: float) -> list[dict]:
    """Return the metrics of a against each other sampler, (n,) losses each, as the suite does."""
    named = {"a": a, "b": others[0], "c": others[1]}
    losses = {
        name: {i: None if x > DIVERGED / 2 else float(x) for i, x in enumerate(values)}
        for name, values in named.items()
    }
    paired = {pair: Paired.of(losses, pair) for pair in PAIRS}
    return list(verdicts(paired, dict.fromkeys(PAIRS, margin)).values())


def claims(metrics: dict) -> tuple[bool, bool]:
    """Return whether a difference and whether equality is claimed."""
    values = (metrics["p_adjusted"], metrics["p_equivalence_adjusted"])
    return tuple(p is not None and p <= 0.05 for p in values)  # type: ignore[return-value]


def experiments(rng: np.random.Generator, draw: Draw, n: int, trials: int) -> tuple[float, ...]:
    """Return the shares of experiments with a false claim, and the power against one difference.

    In the first kind of experiment all are alike, so a claim of a difference is false. In the
    second, b differs by the margin, so that a claim of equality is false, and c not at all. In the
    third, b differs by what the design states that it finds.
    """
    shift = detectable_difference(1.0, n, n_tests=4)
    false_alike = false_apart = found = 0
    for _ in range(trials):
        a, b, c = draw(rng, (3, n))
        false_alike += any(claims(m)[0] for m in judge(a, [b, c], MARGIN))
        first, second = judge(a, [b + MARGIN, c], MARGIN)
        false_apart += claims(first)[1] or claims(second)[0]
        found += shift is not None and claims(judge(a, [b + shift, c], MARGIN)[0])[0]
    return tuple(float(x) / trials for x in (false_alike, false_apart, found))


def score(differences: np.ndarray, mean: float, median: float) -> list[float]:
    """Return whether each interval holds its truth, each warning, and a false claim.

    The intervals are those of sign flips, Student's t and the median. The claim is that the mean is
    not the true one, at the level of four claims.
    """
    c = compare_pairs(differences)
    intervals = [(c.low, c.high, mean), (c.t_low, c.t_high, mean)]
    intervals.append((c.median_low, c.median_high, median))
    holds = [low is None or high is None or low <= x <= high for low, high, x in intervals]
    return [*holds, c.tests_disagree, bool(c.far), 4 * sign_flip_p(differences - mean) <= 0.05]


def apart(draw: Draw) -> Measure:
    """Return a measure of two samplers that differ by 1; pairs with a diverged run are left out."""

    def measure(rng: np.random.Generator, n: int) -> list[float] | None:
        a, b = draw(rng, (2, n))
        kept = np.maximum(a, b) < DIVERGED / 2
        return score(b[kept] - a[kept] + 1, 1.0, 1.0) if kept.sum() > 1 else None

    return measure


def skewed_differences(rng: np.random.Generator, n: int) -> list[float]:
    """Score differences that are skewed themselves: lognormal, so the mean is not the median."""
    return score(rng.lognormal(0, 1, n), float(np.exp(0.5)), 1.0)


def silent_divergence(rng: np.random.Generator, n: int) -> list[float]:
    """Score differences in which one run of eight ended 5 sd above, and was averaged in."""
    values = rng.normal(0, 1, n) + 5 * (rng.random(n) < 1 / 8)
    return score(values, 5 / 8, float(scipy.stats.norm.ppf(4 / 7)))


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0, help="seed of the simulation")
    parser.add_argument("--trials", type=int, default=500, help="simulated experiments a line")
    parser.add_argument("--pairs", type=int, nargs="+", default=[6, 8, 9, 12], help="seeds")
    parser.add_argument("--held-out", action="store_true", help="laws on which nothing was chosen")
    given = parser.parse_args()
    rng, shapes = np.random.default_rng(given.seed), HELD_OUT if given.held_out else SHAPES
    print("Two pairs of samplers, four claims: experiments with a false claim, and power.")
    print(f"{'losses':30} {'seeds':>5} {'all alike':>9} {'one apart':>9} {'power':>6}")
    for (name, draw), n in itertools.product(shapes.items(), given.pairs):
        row = experiments(rng, draw, n, given.trials)
        print(f"{name:30} {n:5} {row[0]:9.1%} {row[1]:9.1%} {row[2]:6.1%}", flush=True)
    print("\n95 % intervals that hold their truth, comparisons with a warning, false claims.")
    print(
        f"{'differences':30} {'seeds':>5} {'sign flips':>10} {'t':>6} {'median':>7} "
        f"{'disagree':>9} {'far':>6} {'false':>6}"
    )
    measures = {name: apart(draw) for name, draw in shapes.items()}
    if not given.held_out:
        measures["skewed themselves (lognormal)"] = skewed_differences
        measures["diverged runs averaged in"] = silent_divergence
    for (name, measure), n in itertools.product(measures.items(), given.pairs):
        rows = [row for _ in range(given.trials) if (row := measure(rng, n)) is not None]
        x = np.mean(rows, axis=0)
        print(
            f"{name:30} {n:5} {x[0]:10.1%} {x[1]:6.1%} {x[2]:7.1%} {x[3]:9.1%} {x[4]:6.1%} "
            f"{x[5]:6.1%}",
            flush=True,
        )


if __name__ == "__main__":
    main()
