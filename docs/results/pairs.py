"""How often the interval of `python -m bench pair` holds the true ratio of two times.

Simulated, with known truth: B takes 5 % longer than A. Every process shifts all its pairs by its
own factor (its memory, code and threads lie elsewhere); inside a process the ratios of neighbouring
pairs are correlated, drift, and one timing in twenty is disturbed. The same number of pairs is
timed in one process, with the interval over its pairs, and in six processes, with Student's
interval over the processes. The table gives the share of intervals that hold 1.05, and their median
width in per cent.

    python docs/results/pairs.py --seed 1

Real, on a quiet machine, some minutes: A is 20 training steps of a small GPT and B is 21, each with
a model of its own, so that B takes 1.05 times as long. Each repetition runs `bench pair` once.

    python docs/results/pairs.py --real --repetitions 6 --seconds 60
"""

from __future__ import annotations

import argparse
import sys
from functools import cache
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from bench.pairing.processes import PROCESSES, pair_in_processes, summarise
from gptcore.stats import ratio_of_pairs

TRUTH = 1.05
STEPS = 20
KINDS = {
    "processes alike": {},
    "processes differ by 0.5 %": {"process": 0.005},
    "processes differ by 1 %": {"process": 0.01},
    "processes differ by 2 %": {"process": 0.02},
    "one process in five is 3 % off": {"odd": 0.03},
    "1 %, neighbours correlated by 0.6": {"process": 0.01, "correlation": 0.6},
    "1 %, ratio drifts by 1 % in a process": {"process": 0.01, "drift": 0.01},
    "1 %, the second is 2 % slower": {"process": 0.01, "second": 0.02},
    "0.3 %, pairs noisy by 5 %": {"process": 0.003, "noise": 0.05},
}


def simulated(rng, n, *, process=0.0, odd=0.0, noise=0.02, correlation=0.0, drift=0.0, second=0.0):
    """Return the answer of one simulated process with n pairs."""
    shift = process * rng.standard_normal() + odd * (rng.random() < 0.2)
    wander = noise * rng.standard_normal((2, n))
    for t in range(1, n):
        wander[1, t] = correlation * wander[1, t - 1] + np.sqrt(1 - correlation**2) * wander[1, t]
    wander[1] += drift * np.linspace(-0.5, 1.5, n)  # a drift that does not cancel over a process
    a, b = wander + np.where(rng.random((2, n)) < 0.05, rng.uniform(0.2, 0.7, (2, n)), 0.0)
    b = b + np.log(TRUTH) + shift
    is_first = np.arange(n) % 2 == 0
    a, b = a + second * ~is_first, b + second * is_first
    return {
        "a_time_s": np.exp(a).tolist(),
        "b_time_s": np.exp(b).tolist(),
        "first": np.where(is_first, "a", "b").tolist(),
        "warnings": [],
        "seconds": 1.0,
    }


def simulate(rng, repetitions, pairs):
    """Print how often both intervals hold the truth, and how wide they are."""
    print(f"{pairs} pairs in all, {repetitions} repetitions: holds {TRUTH} (median width, %)")
    print(f"{'':38} {'one process':>16} {f'{PROCESSES} processes':>16}")
    for name, kind in KINDS.items():
        found = {"one": [], "several": []}
        for _ in range(repetitions):
            alone = simulated(rng, pairs, **kind)
            first = [order == "a" for order in alone["first"]]
            found["one"].append(ratio_of_pairs(alone["a_time_s"], alone["b_time_s"], first))
            several = [simulated(rng, pairs // PROCESSES, **kind) for _ in range(PROCESSES)]
            found["several"].append(summarise(several, 0.03).ratio)
        print(f"{name:38}", *(f"{_told(ratios):>16}" for ratios in found.values()), flush=True)


def _told(ratios):
    holds = np.mean([ratio.low <= TRUTH <= ratio.high for ratio in ratios])
    width = np.median([100 * (ratio.high / ratio.low - 1) for ratio in ratios])
    return f"{holds:.3f} ({width:.2f})"


@cache
def _step(_name):
    """Return a training step of a small GPT; each name has a model of its own."""
    import torch

    from gptcore.model.config import ModelConfig
    from gptcore.model.gpt import GPT
    from gptcore.training.config import TrainConfig
    from gptcore.training.step import make_optimizer, train_step

    config = ModelConfig(vocab_size=1_000, block_size=64, n_layer=2, n_head=4, n_embd=128)
    model = GPT(config)
    optimizer = make_optimizer(model, TrainConfig(steps=1, batch_size=4, block_size=64))
    inputs, targets = torch.randint(1_000, (2, 4, 64), generator=torch.Generator().manual_seed(0))
    return lambda: train_step(model, optimizer, inputs, targets)


def steps_a():
    """Train for STEPS steps; operand A of the real check."""
    for _ in range(STEPS):
        _step("a")()


def steps_b():
    """Train for one step more; operand B of the real check."""
    for _ in range(STEPS + 1):
        _step("b")()


def measure(repetitions, seconds):
    """Print what `bench pair` measures for a known ratio, and what single processes would say."""
    here = Path(__file__).resolve()
    task = {"a": f"{here}:steps_a", "b": f"{here}:steps_b", "corpora": []}
    held, alone_held, alone = 0, 0, 0
    for done in range(1, repetitions + 1):
        pairs = pair_in_processes(task, seconds)
        ratio, within = pairs.ratio, [own for own in pairs.within if own]
        held += ratio.low <= TRUTH <= ratio.high
        alone += len(within)
        alone_held += sum(own.low <= TRUTH <= own.high for own in within)
        print(
            f"{done}: {ratio.ratio:.4f} [{ratio.low:.4f}, {ratio.high:.4f}] {pairs.verdict}, "
            f"processes differ by {100 * pairs.spread:.2f} %:",
            *(f"{own.ratio:.4f} [{own.low:.4f}, {own.high:.4f}]" for own in within),
            flush=True,
        )
    print(f"{TRUTH} is held by {held} of {repetitions} intervals over processes")
    print(f"and by {alone_held} of {alone} intervals over the pairs of one process")


def main():
    """Simulate or measure, and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=1, help="seed of the simulation (default: 1)")
    parser.add_argument("--pairs", type=int, default=240, help="pairs in all (default: 240)")
    parser.add_argument("--repetitions", type=int, help="default: 200, or 6 with --real")
    parser.add_argument("--real", action="store_true", help="measure instead of simulating")
    parser.add_argument("--seconds", type=float, default=60, help="for each pair (default: 60)")
    options = parser.parse_args()
    if options.real:
        measure(options.repetitions or 6, options.seconds)
    else:
        simulate(np.random.default_rng(options.seed), options.repetitions or 200, options.pairs)


if __name__ == "__main__":
    main()
