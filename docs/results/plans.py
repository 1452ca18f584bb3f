"""Measure whether `gptcore scale plan` promises what comes, in simulations with known laws.

For each case a law, a budget, a target, a noise and a wanted error are drawn, and the planner
proposes a ladder. Then other simulated losses of that ladder are fitted with `gptcore.scaling.fit`,
and the error of the predicted loss of a new run is compared with the promise. Run in the checkout:

    python docs/results/plans.py                        # 5 cases, about 3 minutes
    python docs/results/plans.py --cases 20 --seed 5    # other cases
"""

import argparse
import math

import numpy as np
import pandas as pd

from gptcore.scaling import fit, law_from, plan_ladder


def draw_case(rng):
    """Return a law, and the budget, target, wanted ARE in per cent, and noise of a plan."""
    alpha, beta = rng.uniform(0.25, 0.5, 2)
    # The size term of 10^8 parameters and the data term of 2e9 tokens, in nats.
    a, b = rng.uniform(0.3, 0.9, 2)
    law = law_from(rng.uniform(1.2, 2.2), a * 1e8**alpha, b * 2e9**beta, alpha, beta)
    params = 10 ** rng.uniform(8.5, 10.5)
    tokens = params * rng.choice([10, 20, 60])
    budget = 6 * params * tokens * 10 ** rng.uniform(-3, -1.3)
    return law, budget, params, tokens, 10 ** rng.uniform(-0.3, 1), 10 ** rng.uniform(-2.8, -1.8)


def errors_that_come(law, models, params, tokens, noise, count, rng):
    """Return the AREs, in per cent, of fits to simulated losses of the proposed runs."""
    n, d = (np.array([run[name] for run in models]) for name in ("params", "tokens"))
    errors = []
    for _ in range(count):
        loss = law.loss(n, d) * np.exp(noise * rng.standard_normal(len(n)))
        table = pd.DataFrame({"model": np.arange(len(n)), "params": n, "tokens": d, "loss": loss})
        seen = law.loss(params, tokens) * math.exp(noise * rng.standard_normal())
        fitted = fit(table, bootstraps=0)
        errors.append(100 * abs(float(fitted.loss(params, tokens) / seen) - 1))
    return np.array(errors)


def main():
    """Print a line for each case, then how well promises and errors agree."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--cases", type=int, default=5)
    parser.add_argument("--fits", type=int, default=120, help="simulated fits of a proposed ladder")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    print("runs  noise %  scale-up  wanted %  promised %    se  came %    se  came/promised")
    ratios, scores = [], []
    for case in range(args.cases):
        rng = np.random.default_rng([args.seed, case])
        law, budget, params, tokens, wanted, noise = draw_case(rng)
        plan = plan_ladder(
            budget, params, tokens, target_are=wanted, law=law, noise=noise, seed=args.seed
        )
        came = errors_that_come(law, plan["models"], params, tokens, noise, args.fits, rng)
        se = came.std(ddof=1) / math.sqrt(len(came))
        promised, promised_se = plan["expected_are"], plan["expected_are_se"]
        ratios.append(came.mean() / promised)
        scores.append((came.mean() - promised) / math.hypot(se, promised_se))
        print(
            f"{plan['n_models']:4} {100 * noise:8.2f} {plan['scale_up']:9.1f} {wanted:9.1f} "
            f"{promised:11.2f} {promised_se:5.2f} {came.mean():7.2f} {se:5.2f} {ratios[-1]:14.2f}",
            flush=True,
        )
    within = np.mean(np.abs(np.array(ratios) - 1) <= 0.2)
    print(
        f"Within 20 %: {within:.0%} of {args.cases} cases; ratios {min(ratios):.2f} to "
        f"{max(ratios):.2f}, median {np.median(ratios):.2f}; differences in standard errors of the "
        f"simulations: root mean square {math.sqrt(np.mean(np.square(scores))):.2f} (1 is chance)."
    )


if __name__ == "__main__":
    main()
