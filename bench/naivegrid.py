"""The fit that a scaling law usually gets: one optimiser after another from a grid of starts.

Hoffmann et al. 2022 (arXiv:2203.15556, appendix D.3) minimise Huber's loss of ln L with L-BFGS
from 4,500 starts. Here it is written as one writes it first, with scipy's own differences for a
gradient, to be timed beside `gptcore.scalingfit`, which minimises the same objective.
"""

from __future__ import annotations

import itertools

import numpy as np
from scipy.optimize import minimize
from scipy.special import logsumexp

from gptcore.scaling import law_from
from gptcore.scalingfit import DELTA, Data, Floats, huber_sum, log_prediction

GRID = list(
    itertools.product(
        (0, 5, 10, 15, 20, 25),
        (0, 5, 10, 15, 20, 25),
        (-1, -0.5, 0, 0.5, 1),
        (0, 0.5, 1, 1.5, 2),
        (0, 0.5, 1, 1.5, 2),
    )
)
"""ln A, ln B, ln E, alpha, beta of the 4,500 starts."""
SAME = 0.01  # objectives within this share count as one optimum
SCALE = np.log([1e8, 4e9])  # pivots of N and D
NOISE = 0.005  # of ln L


def table(sizes: int, checkpoints: int, seed: int) -> Data:
    """Return losses of Chinchilla's published law at sizes 3 times apart, with seeded noise."""
    law = law_from(1.8172, 482.0, 2085.0, 0.3478, 0.3658)
    n = np.repeat(1e7 * 3.0 ** np.arange(sizes), checkpoints)
    d = np.tile(np.geomspace(2e8, 2e10, checkpoints), sizes) * (n / 1e8) ** 0.5
    noise = NOISE * np.random.default_rng(seed).standard_normal(len(n))
    return Data(np.log(n) - SCALE[0], np.log(d) - SCALE[1], np.log(law.loss(n, d)) + noise)


def objective(theta: Floats, data: Data) -> float:
    """Return the sum of Huber's losses of a law (5,) as `scalingfit` has it."""
    residuals = data.log_loss - log_prediction(theta[None], data.x, data.z)
    return float(huber_sum(residuals, np.ones(len(data.x)), DELTA)[0])


def draw_starts(count: int, seed: int) -> list[tuple[float, ...]]:
    """Return some of the grid's starts, drawn without replacement."""
    chosen = np.random.default_rng(seed).choice(len(GRID), count, replace=False)
    return [GRID[i] for i in chosen]


def search(starts: list[tuple[float, ...]], data: Data) -> list[float]:
    """Return the objective that L-BFGS reaches from each start."""
    log_n, log_d = data.x + SCALE[0], data.z + SCALE[1]
    ones = np.ones(len(log_n))

    def value(p: Floats) -> float:
        terms = [p[0] - p[3] * log_n, p[1] - p[4] * log_d, np.full(len(log_n), p[2])]
        return float(huber_sum(data.log_loss - logsumexp(terms, axis=0), ones, DELTA))

    return [float(minimize(value, start, method="L-BFGS-B").fun) for start in starts]
