"""Do the intervals of R_D hold, and is a dependence on the filter found? Simulated runs tell.

    python docs/results/repetition.py [--seed S] [--repetitions K]   # two minutes

Runs of one pass and of several are drawn from the law of Muennighoff et al. 2023 with known R_D.
The table has, for each design: the share of 95 % intervals of R_D that hold it (bootstrap, and the
profile with the law of one pass held), and the medians of the ends of the former over R_D; the
shares of 95 % intervals of a run on repeated text, and of the best size for a budget, that hold the
truth; and the shares of fits with a warning that R_D depends on the filter, and that the formula
fits poorly. In the last two designs R_D does depend on the filter: texts below 1e10 tokens have 2
instead of 15, and 4 instead of 30.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).parents[2]))

from gptcore.scaling import RepeatedLaw, allocate_repeated, fit_repeated, law_from
from gptcore.scaling.repetition import best_sizes

LAW = law_from(1.8, 480.0, 2000.0, 0.35, 0.37)
BOOTSTRAPS = 200

DESIGNS = {  # R_D, R_N, R_D of small texts, noise of ln L, sizes
    "R_D 15, noise 0.3 %": (15.0, np.inf, 15.0, 0.003, 5),
    "R_D 15, noise 1 %": (15.0, np.inf, 15.0, 0.01, 5),
    "R_D 5, R_N 10, noise 0.5 %": (5.0, 10.0, 5.0, 0.005, 5),
    "R_D 40, 8 sizes, noise 0.5 %": (40.0, np.inf, 40.0, 0.005, 8),
    "R_D 15, small texts 2, noise 0.3 %": (15.0, np.inf, 2.0, 0.003, 5),
    "R_D 30, small texts 4, noise 0.5 %": (30.0, np.inf, 4.0, 0.005, 8),
}
BUDGET, TEXT = 1e21, 4e9


def draw_runs(rng: np.random.Generator, design: tuple) -> pd.DataFrame:
    """Return last losses of runs of every size, with one pass and with 2 to 60 passes."""
    worth, worth_n, small, noise, sizes = design
    rows = []
    for n in np.geomspace(1e7, 1e9, sizes):
        rows += [(n, d, d) for d in (1e9, 4e9, 1.6e10, 6e10)]
        rows += [(n, u * k, u) for u in (1e9, 4e9, 1.6e10) for k in (2, 5, 20, 60)]
    table = pd.DataFrame(rows, columns=["params", "tokens_seen", "unique_tokens"])
    n, d, u = (table[name].to_numpy() for name in table)
    laws = {True: RepeatedLaw(LAW, small, worth_n), False: RepeatedLaw(LAW, worth, worth_n)}
    once = d <= u
    loss = np.where(u < 1e10, laws[True].loss(n, d, u), laws[False].loss(n, d, u))
    loss = np.where(once, LAW.loss(n, d), loss) * np.exp(noise * rng.standard_normal(len(n)))
    return table.assign(loss=loss, model=[f"m{i}" for i in range(len(n))])


def judge(rng: np.random.Generator, design: tuple) -> dict[str, float]:
    """Return what one fit says about the truth."""
    fitted = fit_repeated(draw_runs(rng, design), bootstraps=BOOTSTRAPS)
    result, truth = fitted.as_dict(), RepeatedLaw(LAW, design[0], design[1])
    low, high = result["R_D_interval_95"]
    high = np.inf if high is None else high
    ends = result["R_D_profile_95_given_law"] or (np.nan, np.nan)
    seen = float(truth.loss(3e8, 20 * TEXT, TEXT)) * np.exp(design[3] * rng.standard_normal())
    run = fitted.predict(3e8, 20 * TEXT, TEXT)
    try:
        size = np.quantile(best_sizes(fitted, BUDGET, TEXT), (0.025, 0.975))
    except ValueError:  # the law does not identify both exponents
        size = np.array([np.nan, np.nan])
    best = allocate_repeated(truth, BUDGET, TEXT).params
    return {
        "bootstrap": low <= design[0] <= high,
        "from": low / design[0],
        "to": high / design[0],
        "profile": ends[0] <= design[0] <= ends[1],
        "run": run.low <= seen <= run.high,
        "best size": np.nan if np.isnan(size[0]) else size[0] <= best <= size[1],
        "filter warned": any("R_D moves" in text for text in fitted.warnings),
        "poor fit": any("the formula explains" in text for text in fitted.warnings),
    }


def main() -> None:
    """Print a row for each design."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the runs (default: 0)")
    parser.add_argument("--repetitions", type=int, default=25, help="fits of each (default: 25)")
    args = parser.parse_args()
    rows = {}
    for number, (name, design) in enumerate(DESIGNS.items()):
        rngs = (np.random.default_rng([args.seed, number, i]) for i in range(args.repetitions))
        found = pd.DataFrame([judge(rng, design) for rng in rngs]).astype(float)
        rows[name] = found.median().where(found.columns.isin(("from", "to")), found.mean())
    print(pd.DataFrame(rows).T.round(2).to_string())


if __name__ == "__main__":
    main()
