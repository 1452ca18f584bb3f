"""Measure whole training experiments without a true effect, and the intervals beside each verdict.

Experiments are simulated as records, with test curves and the losses of blocks of the test part,
and judged by the code that judges a ledger (bench/experiments): margins from the late slopes, the
planned claims adjusted together, and the intervals. Three tables:

1. Whole experiments whose arms are alike: in how many any difference is claimed. And the same
   experiments where the first planned pair differs by the margin: in how many any claim is false.
2. 95 % intervals of a comparison: how many hold the truth.
3. The split of the variance over crossed runs: how many intervals hold the truth.

Run it in the checkout:

    python docs/results/experiments_null.py             # about five minutes
    python docs/results/experiments_null.py --seed 7    # with other random numbers
"""

from __future__ import annotations

import argparse
import functools
import itertools
import math
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))
from bench.experiments import curves, verdicts
from bench.experiments.variance import Crossed, split_variance
from gptcore.intervals import BLOCKS, WHOLE
from gptcore.paired import compare_pairs

Draw = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]
SHAPES: dict[str, Draw] = {
    "normal": lambda rng, size: rng.normal(0, 1, size),
    "lognormal": lambda rng, size: (rng.lognormal(0, 1, size) - math.exp(0.5)) / 2.16,
    "t with 3 degrees": lambda rng, size: rng.standard_t(3, size) / 3**0.5,
}
"""Laws of a seed's effect, with mean 0 and standard deviation 1."""
STEPS = np.array([0, 50, 100, 150, 200, 250, 300])
SLOPE, SD = 0.4, 0.01
"""Fall of a loss for e times the steps, and the standard deviation of the loss of one run."""
SHIFT = 0.005
DESIGNS = ((8, 1), (8, 2), (9, 3), (10, 5), (12, 3), (20, 2))
"""Paired seeds, and planned pairs of arms; each pair is two claims."""
CROSSED = (
    ((4, 4), (1.0, 0.0)),
    ((4, 4), (0.5, 2.0)),
    ((8, 8), (1.0, 0.5)),
    ((4, 4, 5), (0.5, 0.5, 2.0)),
)
"""Levels of each factor, and the standard deviation of its effect where that of the rest is 1."""


def curve(end: float, factor: float = 1.0) -> np.ndarray:
    """Return a test curve that falls by the logarithm of the steps, `factor` times as fast."""
    return 8 + end - SLOPE * np.log1p(factor * STEPS)


def run(arm: str, seed: int, losses: np.ndarray, blocks: np.ndarray | None = None) -> dict:
    """Return what the statistics read of the record of one training run."""
    points = [
        {"step": int(s), "tokens": 256 * int(s), "epochs": s / 75, "loss": float(x)}
        for s, x in zip(STEPS, losses, strict=True)
    ]
    series: dict[str, Any] = {"test_curve": points}
    if blocks is not None:
        series["test_blocks"] = [{"targets": 100, "loss": float(x)} for x in blocks]
    metrics = {
        "initial_test_loss": float(losses[0]),
        "final_test_loss": float(losses[-1]),
        "train_tokens_per_s": 1e4,
    }
    return {
        "group": "convergence",
        "status": "ok",
        "params": {"experiment": "e", "arm": arm},
        "seed": seed,
        "metrics": metrics,
        "series": series,
    }


def experiment(
    rng: np.random.Generator, draw: Draw, n: int, pairs: int, shift: float = 0.0
) -> tuple[list[dict], list[tuple[str, str]]]:
    """Return the runs of arm 0 and of `pairs` others, and the planned pairs.

    A seed moves all arms alike, and each run has an effect of its own. Arm 1 ends `shift` higher.
    """
    own = SD * draw(rng, (pairs + 1, n)) + 2 * SD * draw(rng, (1, n))
    own[1] += shift
    noise = 0.2 * SD * rng.standard_normal((pairs + 1, n, len(STEPS)))
    runs = [
        run(str(arm), seed, curve(own[arm, seed]) + noise[arm, seed] * (STEPS[-1] > STEPS))
        for arm in range(pairs + 1)
        for seed in range(n)
    ]
    return runs, [("0", str(arm)) for arm in range(1, pairs + 1)]


def judge(runs: list[dict], pairs: list[tuple[str, str]]) -> list[dict]:
    """Return the metrics of each planned pair, as the suite does."""
    found = verdicts.losses(runs, "e")
    paired = {pair: verdicts.Paired.of(found, pair) for pair in pairs}
    margins = {pair: verdicts.margin(runs, "e", pair).value for pair in pairs}
    return list(verdicts.verdicts(paired, margins).values())


def claimed(metrics: dict, name: str) -> bool:
    """Return whether the test `name` makes a claim."""
    return metrics[name] is not None and metrics[name] <= 0.05


def false_alarms(
    rng: np.random.Generator, draw: Draw, n: int, pairs: int, trials: int
) -> tuple[float, float, float]:
    """Return the shares of experiments with a false claim: all alike, and one apart; and equals.

    The last number is the share of planned pairs of alike arms that are called equal.
    """
    alike = apart = equal = 0
    for _ in range(trials):
        judged = judge(*experiment(rng, draw, n, pairs))
        alike += any(claimed(m, "p_adjusted") for m in judged)
        equal += sum(claimed(m, "p_equivalence_adjusted") for m in judged)
        margin = SLOPE * math.log(verdicts.MORE_STEPS)
        first, *others = judge(*experiment(rng, draw, n, pairs, margin))
        wrong = [claimed(first, "p_equivalence_adjusted")]
        apart += any(wrong + [claimed(m, "p_adjusted") for m in others])
    return alike / trials, apart / trials, equal / trials / pairs


def intervals(rng: np.random.Generator, draw: Draw, n: int) -> Iterator[tuple[str, bool]]:
    """Yield the name of each interval of one comparison, and whether it holds the truth.

    Arm a learns as b does with 0.8 times the steps, so it needs 1 / 0.8 times the tokens.
    """
    own = SD * draw(rng, (2, n))
    pairs = [(run("a", i, curve(own[0, i], 0.8)), run("b", i, curve(own[1, i]))) for i in range(n)]
    found = curves.time_to_loss(pairs)
    yield "ratio of tokens", held(found["tokens_ratio_low"], 1 / 0.8, found["tokens_ratio_high"])
    rows = curves.difference_curve(pairs)
    truth = curve(0, 0.8) - curve(0)
    yield "difference at a step", held(rows[3]["low"], truth[3], rows[3]["high"])
    shared = compare_pairs((own[0] - own[1] + SHIFT).tolist())
    yield "P(a better)", held(shared.share_low, true_share(draw), shared.share_high)
    whole = text(rng)
    pairs = [
        (
            run("a", i, curve(0), 5 + SD * draw(rng, (BLOCKS,)) + whole[:BLOCKS]),
            run("b", i, curve(0), 5 + SD * draw(rng, (BLOCKS,))),
        )
        for i in range(n)
    ]
    low, high = curves.text_interval(pairs)
    yield "difference over the text", held(low, float(whole.mean()), high)


def held(low: float | None, truth: float, high: float | None) -> bool:
    """Return whether an interval holds the truth; one without ends does."""
    return low is None or high is None or low <= truth <= high


@functools.cache
def true_share(draw: Draw) -> float:
    """Return the probability that a run of a ends below one of b, SHIFT apart."""
    a, b = SD * draw(np.random.default_rng(0), (2, 1_000_000))
    return float(np.mean(a - b + SHIFT < 0))


def text(rng: np.random.Generator, memory: float = 0.25) -> np.ndarray:
    """Return block means of fractional noise (Hosking 1981): WHOLE times BLOCKS of them."""
    size = WHOLE * BLOCKS
    lags = np.arange(1, 2 * size)
    weights = np.concatenate([[1.0], np.cumprod((lags - 1 + memory) / lags)])
    noise = rng.standard_normal(2 * size)
    product = np.fft.rfft(weights, 4 * size) * np.fft.rfft(noise, 4 * size)
    start = rng.integers(0, WHOLE) * BLOCKS
    return SD * np.roll(np.fft.irfft(product, 4 * size)[size : 2 * size], -start)


def split(
    rng: np.random.Generator, draw: Draw, shape: tuple[int, ...], sds: tuple[float, ...]
) -> Iterator[tuple[str, bool, bool, bool, bool]]:
    """Yield what became of each factor and of the rest, in one table of crossed runs.

    Yields:
        Its name, whether the intervals of its standard deviation and of its share hold, whether its
        variance was estimated below 0, and whether a run was warned of as far from the others.
    """
    losses = draw(rng, shape)
    for axis, sd in enumerate(sds):
        losses = losses + sd * draw(rng, tuple(n if i == axis else 1 for i, n in enumerate(shape)))
    names = [str(axis) for axis in range(len(shape))]
    levels = {name: list(map(str, range(n))) for name, n in zip(names, shape, strict=True)}
    result = split_variance(Crossed(losses, levels))
    far = any("lies far" in warning for warning in result.facts["warnings"])
    rows, total = result.series["variance"], 1 + sum(sd**2 for sd in sds)
    chosen = [*zip(rows[: len(sds)], sds, strict=True), (rows[-1], 1.0)]
    for row, sd in chosen:
        yield (
            "rest" if row is rows[-1] else f"factor, sd {sd:g}",
            held(row["sd_low"], sd, row["sd_high"]),
            held(row["share_low"], sd**2 / total, row["share_high"]),
            row["variance"] < 0,
            far,
        )


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0, help="seed of the simulation")
    parser.add_argument("--trials", type=int, default=400, help="simulated experiments a line")
    given = parser.parse_args()
    rng = np.random.default_rng(given.seed)
    print("Experiments with a false claim, and alike pairs that are called equal.")
    print(f"{'losses':18} {'seeds':>5} {'claims':>6} {'alike':>6} {'apart':>6} {'equal':>6}")
    for (name, draw), (n, pairs) in itertools.product(SHAPES.items(), DESIGNS):
        trials = given.trials if n <= 12 else given.trials // 10  # 2^n sets for each pair
        alarms = false_alarms(rng, draw, n, pairs, trials)
        told = " ".join(f"{share:6.1%}" for share in alarms)
        print(f"{name:18} {n:5} {2 * pairs:6} {told}   of {trials}", flush=True)
    print("\n95 % intervals of a comparison that hold the truth.")
    for (name, draw), n in itertools.product(SHAPES.items(), (8, 12)):
        rows = [row for _ in range(given.trials) for row in intervals(rng, draw, n)]
        counts, hits = Counter(k for k, _ in rows), Counter(k for k, hit in rows if hit)
        told = ", ".join(f"{k} {hits[k] / counts[k]:.1%}" for k in counts)
        print(f"{name:18} {n:5}  {told}", flush=True)
    print(
        "\n95 % intervals of the split of a variance that hold: sd, share; estimates below 0; "
        "tables with a warning of a far run."
    )
    for (name, draw), (shape, sds) in itertools.product(SHAPES.items(), CROSSED):
        found = [row for _ in range(given.trials) for row in split(rng, draw, shape, sds)]
        for kind in dict.fromkeys(row[0] for row in found):
            told = np.mean([row[1:] for row in found if row[0] == kind], axis=0)
            print(f"{name:18} {shape!s:10} {kind:16} " + " ".join(f"{x:6.1%}" for x in told))


if __name__ == "__main__":
    main()
