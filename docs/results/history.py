"""How often `python -m bench history` finds steps that are not there, and steps that are.

Histories are simulated with known truth: the runs of several cases on one machine, with noise of
2 % (standard deviation) for each run. The kinds of noise are independent, fading (autoregression of
order 1), wandering (independent noise on a random walk, whose steps are given as a share of the
noise), shared (half of each case's variance is one fading disturbance of the machine), mixed (a
third of the cases fade), a weekly cycle (weekends are up to 6 % slower), heavy tails (Student's t
with 3 degrees of freedom), heavy tails that fade, and outliers (8 % of the runs, for all cases).
The table gives the share of whole histories with a false step in any case; then the share of
histories in which a step of one case was found, with the detectable change that was stated.

    python docs/results/history.py --seed 1 --repetitions 40
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from bench.comparing.steps import Trend, find_steps
from bench.comparing.timing import Timing
from bench.ledger.folders import RunFolder

SD = 0.02
SIZES = [(8, 1), (12, 5), (20, 1), (20, 5), (20, 40), (40, 5), (60, 10)]


def fading(rng, shape, correlation, draw=None):
    """Return an autoregression of variance 1 over the last axis, started 50 runs before."""
    draw = draw or rng.standard_normal
    noise = draw((*shape[:-1], shape[-1] + 50)) * np.sqrt(1 - correlation**2)
    for t in range(1, noise.shape[-1]):
        noise[..., t] += correlation * noise[..., t - 1]
    return noise[..., 50:]


def heavy(rng):
    """Return a source of Student's t with 3 degrees of freedom, scaled to variance 1."""
    return lambda shape: rng.standard_t(3, shape) / np.sqrt(3)


def wandering(rng, shape, step):
    """Return independent noise on a random walk."""
    return rng.standard_normal(shape) + step * rng.standard_normal(shape).cumsum(axis=1)


def mixed(rng, shape):
    """Return independent noise, of which the first third of the cases fades."""
    noise, n = rng.standard_normal(shape), -(-shape[0] // 3)
    noise[:n] = fading(rng, (n, shape[1]), 0.6)
    return noise


def weekly(rng, shape):
    """Return independent noise with slower weekends, whose size differs between cases."""
    weekend = (np.arange(shape[1]) + rng.integers(7)) % 7 < 2
    return rng.standard_normal(shape) + 3 * rng.random((shape[0], 1)) * weekend


def outliers(rng, shape):
    """Return independent noise; some runs are disturbed for all cases."""
    wild = rng.random((1, shape[1])) < 0.08
    return rng.standard_normal(shape) + 6 * wild * rng.standard_normal((1, shape[1]))


KINDS = {
    "independent": lambda rng, shape: rng.standard_normal(shape),
    "fading 0.3": lambda rng, shape: fading(rng, shape, 0.3),
    "fading 0.45": lambda rng, shape: fading(rng, shape, 0.45),
    "fading 0.6": lambda rng, shape: fading(rng, shape, 0.6),
    "wandering 0.1": lambda rng, shape: wandering(rng, shape, 0.1),
    "wandering 0.25": lambda rng, shape: wandering(rng, shape, 0.25),
    "shared": lambda rng, shape: (
        (fading(rng, (1, shape[1]), 0.6) + rng.standard_normal(shape)) / np.sqrt(2)
    ),
    "mixed": mixed,
    "weekly": weekly,
    "heavy tails": lambda rng, shape: heavy(rng)(shape),
    "heavy, fading 0.6": lambda rng, shape: fading(rng, shape, 0.6, heavy(rng)),
    "outliers": outliers,
    "strong: wandering 1": lambda rng, shape: wandering(rng, shape, 1.0),
    "strong: fading 0.9": lambda rng, shape: fading(rng, shape, 0.9),
}


def study(noise):
    """Return the trends of a history, given ln of its times (cases, runs)."""
    runs = [RunFolder(str(i), None, {}, {}, []) for i in range(noise.shape[1])]
    trends = [
        Trend(str(i), runs, [Timing((float(x),), 10, 1e-5, 5.0, None) for x in row])
        for i, row in enumerate(noise - 3)
    ]
    find_steps(runs, trends)
    return trends


def false_steps(rng, repetitions, sizes):
    """Print the share of histories with a false step, and the share of cases called unclear."""
    print("share of whole histories with a false step (share of cases called too dependent)")
    print(f"{'runs x cases':20}", *(f"{n:>7} x {m:<3}" for n, m in sizes))
    total = 0
    for kind, make in KINDS.items():
        cells = []
        for n_runs, n_cases in sizes:
            found = [study(SD * make(rng, (n_cases, n_runs))) for _ in range(repetitions)]
            wrong = sum(any(trend.steps for trend in trends) for trends in found) / repetitions
            unclear = np.mean([trend.unclear for trends in found for trend in trends])
            total += wrong * (not kind.startswith("strong"))
            cells.append(f"{wrong:5.2f} ({unclear:4.2f})")
        print(f"{kind:20}", *cells, flush=True)
    n_kinds = sum(not kind.startswith("strong") for kind in KINDS)
    print(f"mean without the strong ones: {total / n_kinds / len(sizes):.3f}\n")


def power(rng, repetitions, sizes, percent):
    """Print how often a step of one case is found and dated within one run."""
    print(f"share of steps of {percent:g} % that are found within one run of their place")
    print(f"{'runs x cases':24}", *(f"{n:>4} x {m:<3}" for n, m in sizes))
    for kind in ("independent", "fading 0.3", "fading 0.6"):
        for where, share in (("middle", 0.5), ("three quarters", 0.75)):
            cells, stated = [], []
            for n_runs, n_cases in sizes:
                at, found = round(share * n_runs), 0
                sizes_stated = []
                for _ in range(repetitions):
                    noise = SD * KINDS[kind](rng, (n_cases, n_runs))
                    noise[0, at:] += np.log1p(percent / 100)
                    trend = study(noise)[0]
                    found += any(abs(step.at - at) <= 1 for step in trend.steps)
                    sizes_stated.append(100 * ((trend.detectable or np.nan) - 1))
                cells.append(f"{found / repetitions:10.2f}")
                stated.append(f"{np.median(sizes_stated):8.1f} %")
            print(f"{f'{kind}, {where}':24}", *cells, flush=True)
        print(f"{'  stated as detectable':24}", *stated, flush=True)


def main():
    """Simulate the histories and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=1, help="seed of the simulation (default: 1)")
    parser.add_argument(
        "--repetitions", type=int, default=20, help="histories of each kind and size (default: 20)"
    )
    parser.add_argument("--step", type=float, default=10, help="step in per cent (default: 10)")
    parser.add_argument(
        "--largest", type=int, default=800, help="largest runs x cases (default: 800)"
    )
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    sizes = [(n, m) for n, m in SIZES if n * m <= options.largest]
    false_steps(rng, options.repetitions, sizes)
    power(rng, options.repetitions, sizes, options.step)


if __name__ == "__main__":
    main()
