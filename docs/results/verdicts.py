"""Measure the verdicts on paired runs: false claims, coverage of the intervals, and power.

Losses of two samplers are simulated with a known difference, and judged as the suite judges them
(bench/experiments/verdicts.py): two planned pairs, four claims, adjusted together. A run that
diverges ends above its initial loss. Run it in the checkout:

    python docs/results/verdicts.py             # about two minutes
    python docs/results/verdicts.py --seed 7    # with other random numbers
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))
from bench.experiments.verdicts import Paired, verdicts
from gptcore.paired import PairedComparison, compare_pairs, detectable_difference

Draw = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]
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


def covered(comparison: PairedComparison, mean: float, median: float) -> list[float]:
    """Return whether each interval holds its truth: sign flips, Student's t, median."""
    ends = [
        (comparison.low, comparison.high, mean),
        (comparison.t_low, comparison.t_high, mean),
        (comparison.median_low, comparison.median_high, median),
    ]
    return [low is None or high is None or low <= x <= high for low, high, x in ends]


def coverage(rng: np.random.Generator, draw: Draw, n: int, trials: int) -> list[float]:
    """Return the coverage of the three intervals, and shares of warnings, for a difference of 1.

    A pair with a diverged run is left out, as the suite does.
    """
    rows = []
    for _ in range(trials):
        a, b = draw(rng, (2, n))
        kept = np.maximum(a, b) < DIVERGED / 2
        if kept.sum() < 2:
            continue
        comparison = compare_pairs(b[kept] - a[kept] + 1)
        warned = [comparison.tests_disagree, bool(comparison.far)]
        rows.append([*covered(comparison, 1.0, 1.0), *warned])
    return [float(x) for x in np.mean(rows, axis=0)]


def skewed_differences(rng: np.random.Generator, n: int, trials: int) -> list[float]:
    """Return coverage and warnings where the differences themselves are skewed (lognormal)."""
    rows = []
    for _ in range(trials):
        comparison = compare_pairs(rng.lognormal(0, 1, n))
        warned = [comparison.tests_disagree, bool(comparison.far)]
        rows.append([*covered(comparison, float(np.exp(0.5)), 1.0), *warned])
    return [float(x) for x in np.mean(rows, axis=0)]


def silent_divergence(rng: np.random.Generator, n: int, trials: int) -> list[float]:
    """Return coverage and warnings where diverged runs (5 nats above) are averaged in."""
    rows = []
    for _ in range(trials):
        values = rng.normal(0, 1, n) + 5 * (rng.random(n) < 1 / 8)
        comparison = compare_pairs(values)
        warned = [comparison.tests_disagree, bool(comparison.far)]
        rows.append([*covered(comparison, 5 / 8, 0.13), *warned])
    return [float(x) for x in np.mean(rows, axis=0)]


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0, help="seed of the simulation")
    parser.add_argument("--trials", type=int, default=1000, help="simulated experiments a line")
    parser.add_argument("--pairs", type=int, nargs="+", default=[6, 8, 9, 12], help="seeds")
    given = parser.parse_args()
    rng = np.random.default_rng(given.seed)
    print("Two pairs, four claims. False: any false claim in an experiment; power: see --help.")
    print(f"{'losses':34} {'seeds':>5} {'all alike':>9} {'one apart':>9} {'power':>6}")
    for name, draw in SHAPES.items():
        for n in given.pairs:
            row = experiments(rng, draw, n, given.trials)
            print(f"{name:34} {n:5} {row[0]:9.1%} {row[1]:9.1%} {row[2]:6.1%}", flush=True)
    print("\nShare of 95 % intervals that hold their truth, and of comparisons with a warning.")
    head = f"{'differences':34} {'seeds':>5} {'sign flips':>10} {'t':>6} {'median':>7}"
    print(f"{head} {'disagree':>9} {'far':>6}")
    rows = [
        (name, lambda n, d=draw: coverage(rng, d, n, given.trials)) for name, draw in SHAPES.items()
    ]
    rows += [
        ("skewed themselves (lognormal)", lambda n: skewed_differences(rng, n, given.trials)),
        ("diverged runs averaged in", lambda n: silent_divergence(rng, n, given.trials)),
    ]
    for name, measured in rows:
        for n in given.pairs:
            row = measured(n)
            print(
                f"{name:34} {n:5} {row[0]:10.1%} {row[1]:6.1%} {row[2]:7.1%} {row[3]:9.1%} "
                f"{row[4]:6.1%}",
                flush=True,
            )


if __name__ == "__main__":
    main()
