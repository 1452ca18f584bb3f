"""What has no formula, from simulated runs of a sampler with other seeds, with its error.

Legend: T inputs in a window, K draws, R runs.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from gptcore.coverage.exposure import batch_overlap
from gptcore.coverage.summaries import count_targets
from gptcore.sampling.base import Sampler
from gptcore.sampling.windows import Pieces
from gptcore.theory.expectations import Expectation, expected_batch_overlap

MOST_DRAWS, MOST_RUNS, FEWEST_RUNS = 2**22, 1000, 16
"""Draws of all runs together, about two seconds, and runs. Fewer runs would say too little. Where
epochs have an order, it is made for all of an epoch, so an epoch that has begun counts whole."""
ROUNDING = 1e-9
"""A distance from the mean below this share of the targets is taken for rounding."""
FIRST_SEED = 2**31
"""Seeds from here on are simulated; a run that is observed will hardly have one of them."""


@dataclass(frozen=True)
class Moment:
    """An expected value or a standard deviation.

    Attributes:
        value: the number; None where neither a formula nor a simulation gives it.
        source: "exact" or "simulated", None without a value.
        error: its standard error; None unless it was simulated.
        runs: how many runs were simulated; None unless it was.
    """

    value: float | None
    source: str | None = None
    error: float | None = None
    runs: int | None = None


def sd_missed_targets(sampler: Sampler, draws: int, expected: Expectation) -> Moment:
    """Return the standard deviation of the missed targets, over all seeds.

    The simulated one is around the exact mean, and its error by the delta method: the variance of
    R squared deviations, over R, over (2·sd)².

    Args:
        sampler: where the windows come from.
        draws: K.
        expected: what `expect_of` returns for both.
    """
    exact, mean = expected.sd_missed_targets, expected.missed_targets
    if exact is not None or mean is None:
        return Moment(exact, None if exact is None else "exact")
    targets = sampler.n_targets

    def square(pieces: Pieces) -> float:
        return (targets - count_targets(pieces, sampler) - mean) ** 2

    squares = _simulate(sampler, draws, square)
    if squares.value is None or squares.error is None:
        return squares
    sd = math.sqrt(squares.value)
    if (
        squares.error == 0
    ):  # all runs miss the same number, so what is rare may never have been seen
        certain = sd < ROUNDING * targets
        return Moment(0.0, squares.source, 0.0, squares.runs) if certain else Moment(None)
    return Moment(sd, squares.source, squares.error / (2 * sd), squares.runs)


def mean_batch_overlap(sampler: Sampler, draws: int) -> Moment:
    """Return the expected overlap inside a batch, as `batch_overlap` measures it."""
    size = sampler.batch_size
    whole = draws - draws % size
    if not whole:
        return Moment(None)
    exact = expected_batch_overlap(sampler, size, whole)
    if exact is not None:
        return Moment(exact, "exact")
    return _simulate(sampler, whole, lambda p: batch_overlap(p, sampler, batch_size=size))


def errors(**moments: Moment) -> dict[str, dict[str, float | int | None]]:
    """Return the error and the runs of each value that was simulated, by name."""
    return {
        name: {"error": moment.error, "runs": moment.runs}
        for name, moment in moments.items()
        if moment.source == "simulated"
    }


def _simulate(sampler: Sampler, draws: int, measure: Callable[[Pieces], float]) -> Moment:
    """Return the mean of a metric over as many runs as are quick; no value if these are few."""
    varies = sampler.epoch(0) is not None  # epochs of random phases have two lengths
    about = max(1, sampler.n_starts // sampler.block_size) if varies else 1
    epoch = sampler.draws_per_order or about
    runs = min(MOST_RUNS, MOST_DRAWS // (-(-draws // epoch) * epoch))
    if runs < FEWEST_RUNS:
        return Moment(None)
    seeds = range(FIRST_SEED, FIRST_SEED + runs)
    values = np.array([measure(sampler.with_seed(seed).pieces(0, draws)) for seed in seeds])
    error = float(values.std(ddof=1)) / math.sqrt(runs)
    return Moment(float(values.mean()), "simulated", error, runs)
