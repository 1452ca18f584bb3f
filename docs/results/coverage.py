"""Do the 80 % intervals of gptcore.scaling cover the truth 80 % of the time? Simulated runs tell.

python docs/results/coverage.py [REPETITIONS, default 200] [DESIGN] draws runs from a known law, and
prints a line for each design: how often an interval covers the law at the next size, a new run of
that size, and the exponents.
"""

from __future__ import annotations

import sys

import numpy as np
import pandas as pd

from gptcore.scaling import Cut, fit

TRUTH = {"E": 1.8, "A": 480.0, "B": 2000.0, "alpha": 0.35, "beta": 0.37}
Z80, Z95 = 1.2816, 1.96


def true_loss(params, tokens):
    """Return the law that the runs are drawn from."""
    t = TRUTH
    return t["E"] + t["A"] / params ** t["alpha"] + t["B"] / tokens ** t["beta"]


def ladder(rng, *, sizes, step, lengths, seeds=1, checkpoints=1, point=0.005, run=0.0):
    """Draw runs: every size at every length (tokens per parameter), each with its seeds."""
    rows = []
    for n in 1e7 * step ** np.arange(sizes):
        for length in lengths:
            for seed in range(seeds):
                offset = run * rng.standard_normal()
                for share in np.arange(1, checkpoints + 1) / checkpoints:
                    d = n * length * share
                    loss = true_loss(n, d) * np.exp(offset + point * rng.standard_normal())
                    rows.append((f"{n:g}-{length}", seed, n, d, loss))
    return pd.DataFrame(rows, columns=["model", "seed", "params", "tokens_seen", "loss"])


DESIGNS = {
    "4 sizes x 4 lengths": {"sizes": 4, "step": 4, "lengths": (5, 20, 80, 320)},
    "6 sizes x 3 lengths": {"sizes": 6, "step": 3, "lengths": (5, 20, 80)},
    "4 sizes x 3 lengths x 3 seeds": {"sizes": 4, "step": 4, "lengths": (5, 20, 80), "seeds": 3},
    "5 runs, 40 checkpoints, independent noise": {
        "sizes": 5, "step": 4, "lengths": (100,), "checkpoints": 40,
    },
    "8 runs, 40 checkpoints, noise by run too": {
        "sizes": 8, "step": 2.5, "lengths": (100,), "checkpoints": 40, "point": 0.003, "run": 0.003,
    },
    "12 sizes x 8 lengths, noise 1 %": {
        "sizes": 12, "step": 1.8, "lengths": (2, 5, 10, 20, 50, 100, 200, 500), "point": 0.01,
    },
}  # fmt: skip


def simulate(design, repetitions):
    """Return the shares of intervals that cover the truth, and the mean ARE of the law."""
    rng, hits = np.random.default_rng(0), []
    n = 1e7 * design["step"] ** design["sizes"]
    d = n * design["lengths"][len(design["lengths"]) // 2]
    noise = np.hypot(design.get("point", 0.005), design.get("run", 0.0))
    for _ in range(repetitions):
        table = ladder(rng, **design)
        law = fit(table, cut=Cut(last_share=1), bootstraps=0)
        truth = true_loss(n, d)
        seen = truth * np.exp(noise * rng.standard_normal())
        of_law = law.predict(n, d, confidence=0.8, new_run=False)
        of_run = law.predict(n, d, confidence=0.8)
        hit = [of_law.low <= truth <= of_law.high, of_run.low <= seen <= of_run.high]
        hit.append(abs(law.loss(n, d) / truth - 1) * 100)
        for name in ("alpha", "beta"):
            ends = law.interval_95[name]
            half = None if ends is None else (ends[1] - ends[0]) / 2 * Z80 / Z95
            value = law.parameters[name]
            hit.append(np.nan if half is None else abs(value - TRUTH[name]) <= half)
        hits.append(hit)
    return np.nanmean(np.array(hits, dtype=float), axis=0)


if __name__ == "__main__":
    repetitions = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    names = sys.argv[2:] or list(DESIGNS)
    print("| runs | law | new run | ARE of the law, % | alpha | beta |\n|---|---|---|---|---|---|")
    for name in names:
        law, run, are, alpha, beta = simulate(DESIGNS[name], repetitions)
        print(
            f"| {name} | {law:.0%} | {run:.0%} | {are:.2f} | {alpha:.0%} | {beta:.0%} |", flush=True
        )
