"""Measure the intervals of ladders on a line, in simulations with known laws.

Each table has one final loss for each of 3 to 8 sizes, and all of its runs lie on one line of the
(ln N, ln D) plane, exactly or nearly. `gptcore.scaling.fit` is fitted to it. Counted are how often
the 80 % and the 95 % interval of a new run along the line holds its loss, 2, 4 and 8 times the
largest size (or, where sizes are equal, 2, 4 and 8 times the tokens), how often a run off the line
by a factor of 2 or 4 gets null, and how often the fit raises an error. Run in the checkout:

    python docs/results/ladders.py                         # some minutes
    python docs/results/ladders.py --tables 400 --seed 5   # more, and other laws
"""

import argparse
from collections import defaultdict

import numpy as np
import pandas as pd

from gptcore.scaling import fit, law_from

NOISES = (0.001, 0.003, 0.01)
DESIGNS = {
    "D = 20 N": lambda n, _: 20 * n,
    "D = 20 N, two digits": lambda n, _: [float(f"{20 * value:.1e}") for value in n],
    "D = 20 N, within 5 %": lambda n, rng: 20 * n * rng.uniform(0.95, 1.05, len(n)),
    "D = 18 N and 22 N": lambda n, _: n * np.where(np.arange(len(n)) % 2, 18, 22),
    "D = 15 N and 28 N": lambda n, _: n * np.where(np.arange(len(n)) % 2, 15, 28),
    "constant D": lambda n, _: np.full(len(n), 20 * n[-1]),
    "D as N^2": lambda n, _: 20 * n * n / n[0],
    "constant N": None,  # sizes are taken as token counts
    "D = 10 N and 30 N": lambda n, _: n * np.where(np.arange(len(n)) % 2, 10, 30),
}


def draw_law(rng):
    """Return a law: size and data term, in nats, at 10^8 parameters and 2e9 tokens."""
    alpha, beta = rng.uniform(0.2, 0.55, 2)
    a, b = rng.uniform(0.2, 1.0, 2)
    return law_from(rng.uniform(0.8, 2.3), a * 1e8**alpha, b * 2e9**beta, alpha, beta)


def draw_runs(design, rng):
    """Return N and D of a ladder, and the slope of the line and its middle, D at the last N."""
    sizes = int(rng.integers(3, 9))
    n = 10 ** rng.uniform(6.5, 8) * rng.choice([1.5, 2.0, 3.0]) ** np.arange(sizes)
    if DESIGNS[design] is None:
        return np.full(sizes, n[0]), 20 * n
    return n, np.asarray(DESIGNS[design](n, rng), dtype=float)


def target_of(design, n, d, factor, off):
    """Return N and D of a run `factor` times beyond the last one, off the line by a factor."""
    if design == "constant N":
        return n[-1] * off, d[-1] * factor
    if design == "constant D":
        return n[-1] * factor, d[-1] * off
    if design == "D as N^2":
        return n[-1] * factor, d[-1] * factor**2 * off
    return n[-1] * factor, 20 * n[-1] * factor * off


def try_table(design, rng, counts):
    """Simulate one table and add what its predictions held to the counts."""
    law, noise = draw_law(rng), rng.choice(NOISES)
    n, d = draw_runs(design, rng)
    keys = [("design", design), ("noise", f"{noise:.1%}"), ("sizes", len(n)), ("all", "")]
    loss = law.loss(n, d) * np.exp(noise * rng.standard_normal(len(n)))
    table = pd.DataFrame({"model": np.arange(len(n)), "params": n, "tokens": d, "loss": loss})
    try:
        fitted = fit(table)
    except Exception as error:
        print(f"{design}: {error!r}")
        counts[("design", design)]["errors"].append(1)
        return
    for factor in (2, 4, 8):
        target = target_of(design, n, d, factor, 1)
        seen = law.loss(*target) * np.exp(noise * rng.standard_normal())
        ends = [fitted.predict(*target, confidence=level) for level in (0.8, 0.95)]
        holds = [end.low is not None and end.low <= seen <= end.high for end in ends]
        off = [target_of(design, n, d, factor, o) for o in (0.25, 0.5, 2, 4)]
        null = np.mean([fitted.predict(*run).loss is None for run in off])
        for key in [*keys, ("times as large", factor)]:
            counts[key]["holds_80"].append(holds[0])
            counts[key]["holds_95"].append(holds[1])
            if ends[0].low is not None:
                counts[key]["half_width"].append(50 * np.log(ends[0].high / ends[0].low))
            counts[key]["null"].append(null)


def main():
    """Print a line for each design, noise, number of sizes and factor of extrapolation."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--tables", type=int, default=60, help="tables of each design")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    counts = defaultdict(lambda: defaultdict(list))
    for index, design in enumerate(DESIGNS):
        for table in range(args.tables):
            try_table(design, np.random.default_rng([args.seed, index, table]), counts)
    print(f"{'':38} {'tables':>6} {'80 %':>6} {'95 %':>6} {'± % (80)':>9} {'null off':>9}  errors")
    order = ["all", "design", "noise", "sizes", "times as large"]
    for key in sorted(counts, key=lambda key: order.index(key[0])):
        found, name = counts[key], f"{key[0]} {key[1]}"
        print(
            f"{name:38} {len(found['null']) // (1 if key[0] == 'times as large' else 3):6} "
            f"{np.mean(found['holds_80']):6.1%} {np.mean(found['holds_95']):6.1%} "
            f"{np.median(found['half_width']):9.2f} {np.mean(found['null']):9.1%} "
            f"{len(found['errors']):7}"
        )


if __name__ == "__main__":
    main()
