"""Do the intervals of inference-time scaling hold, where the truth is known?

Prompts get a probability of success from a known distribution, and each is sampled some times. The
first table gives the share of repetitions whose 95 % interval of pass@k holds pass@k of all such
prompts, for k from half to 16 times the samples drawn, the width of these intervals, and how often
`samples_for` holds the number of samples that twice the budget's pass@k needs. The second gives
the share whose interval holds a known power law at four times the largest budget.

    python docs/results/inference.py            # about four minutes
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

sys.path.insert(0, str(Path(__file__).parents[2]))
from gptcore.evaluation.inference_scaling import predict_mean
from gptcore.evaluation.pass_at_k import pass_interval, samples_for

Floats = npt.NDArray[np.float64]
TIMES = (0.5, 1, 2, 4, 16)
MANY = 1_000_000  # prompts that stand for all


def distributions(generator: np.random.Generator) -> dict[str, Callable[[int], Floats]]:
    """Return ways to draw the probabilities of n prompts."""
    return {
        "beta(0.2, 2)": lambda n: generator.beta(0.2, 2, n),
        "beta(0.3, 20)": lambda n: generator.beta(0.3, 20, n),
        "beta(2, 5)": lambda n: generator.beta(2, 5, n),
        "30 % never, beta(0.5, 3)": lambda n: (
            generator.beta(0.5, 3, n) * (generator.random(n) > 0.3)
        ),
        "log-normal(-4, 2)": lambda n: np.minimum(np.exp(generator.normal(-4, 2, n)), 1),
        "half 0.3, half 0.005": lambda n: np.where(generator.random(n) < 0.5, 0.3, 0.005),
    }


def check_pass(
    draw: Callable[[int], Floats],
    generator: np.random.Generator,
    prompts: int,
    samples: int,
    repetitions: int,
) -> tuple[Floats, Floats, float, int]:
    """Return the shares held and the widths for TIMES, the share of needs held, and the nulls."""
    everyone = draw(MANY)
    budgets = [int(times * samples) for times in TIMES]
    truths = np.array([np.mean(1 - (1 - everyone) ** k) for k in budgets])
    held, widths, needs, nulls = [], [], [], 0
    for _ in range(repetitions):
        counts = generator.binomial(samples, draw(prompts))
        ends = np.array([pass_interval(counts, samples, k) for k in budgets])
        held.append((ends[:, 0] <= truths) & (truths <= ends[:, 1]))
        widths.append(ends[:, 1] - ends[:, 0])
        needed = samples_for(truths[2], counts, samples)  # the truth is 2 * samples
        low, high = (math.inf if k is None else k for k in (needed.low, needed.high))
        needs.append(low <= 2 * samples <= high)
        nulls += needed.high is None
    return np.mean(held, axis=0), np.mean(widths, axis=0), float(np.mean(needs)), nulls


def check_law(generator: np.random.Generator, beta: float, repetitions: int) -> float:
    """Return the share held by the interval of a power law at four times the last budget."""
    x = np.array([1, 2, 4, 8, 16, 32])
    held = []
    for seed in range(repetitions):
        hard = generator.normal(0, 0.4, size=(64, 1))
        values = 2 + hard + 1 / x**beta + generator.normal(0, 0.2, size=(64, len(x)))
        _, low, high = predict_mean(x, values, 128, seed=seed)
        held.append(low <= 2 + 1 / 128**beta <= high)
    return float(np.mean(held))


def main() -> int:
    """Print both tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--repetitions", type=int, default=20, help="of each case (default: 20)")
    args = parser.parse_args()
    generator = np.random.default_rng(args.seed)
    ks = "".join(f"{f'{times:g} n':>12}" for times in TIMES)
    print(f"{'held % (width), k =':34}{ks}{'need held %':>13}{'null':>6}")
    shares = []
    for prompts, samples in ((64, 16), (200, 32)):
        for name, draw in distributions(generator).items():
            held, widths, need, nulls = check_pass(
                draw, generator, prompts, samples, args.repetitions
            )
            shares.append([*held, need])
            cells = "".join(
                f"{f'{100 * share:.0f} ({width:.2f})':>12}"
                for share, width in zip(held, widths, strict=True)
            )
            label = f"{name}, {prompts} x {samples}"
            print(f"{label:34}{cells}{100 * need:13.0f}{nulls:6}", flush=True)
    cells = "".join(f"{100 * share:12.1f}" for share in np.mean(shares, axis=0)[:-1])
    print(f"{'mean':34}{cells}{100 * np.mean(shares, axis=0)[-1]:13.1f}")
    print(f"\n{'power law, 64 prompts':34}{'held %':>12}")
    for beta in (0.3, 0.7, 1.5):
        share = check_law(generator, beta, args.repetitions)
        print(f"{f'beta = {beta}':34}{100 * share:12.0f}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
