"""Stochastic gradient descent on two convex problems whose optimum is known.

A text is cut into n blocks of T symbols. The objective is F(w) = mean over blocks of f_b(w), with

    f_b(w) = mean over the block's bigrams (x, y) of loss(w[x], y) + (l2 / 2) |w|²

where row x of w (V, V) predicts the symbol after x. The loss is either the cross-entropy of a
softmax, or half the squared distance to the one-hot vector of y. One update uses the gradient of
one block. The orders of the blocks are those of real samplers. For n blocks and k epochs, the
excess F(w) - min F of the last iterate at the best constant step size falls as 1/(nk) with
replacement, 1/(nk²) with one order for all epochs, and 1/(nk)² + 1/(nk³) with a new order each
epoch, up to logarithms, once k exceeds the condition number (HaoChen & Sra 2019, arXiv:1806.10077;
Safran & Shamir 2020, arXiv:1908.00045; 2021, arXiv:2106.06880).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bench.suite.cases import ConvexCase
from gptcore.sampling.samplers import make_sampler

Floats = npt.NDArray[np.float64]

STEP_SIZES = 24
SMALLEST_STEP = 1e-3
"""Step sizes of the grid, evenly spread in logarithm, and the smallest over the largest."""
PRECISION = 1e-12
"""Largest entry of the gradient at the optimum; then F is within 1e-10 of its minimum by far."""
RESAMPLES = 2000


def bigram_counts(text: bytes, case: ConvexCase) -> Floats:
    """Return the share of each bigram in each block: (n, V, V), each block sums to 1.

    Symbols are the V - 1 commonest bytes of the text, and one for all others.

    Raises:
        ValueError: the text is too short.
    """
    needed = case.blocks * case.block_size + 1
    if len(text) < needed:
        raise ValueError(f"the text has {len(text):,} bytes; the convex case needs {needed:,}")
    values = np.frombuffer(text[:needed], dtype=np.uint8)
    common = np.argsort(-np.bincount(values, minlength=256), kind="stable")[: case.symbols - 1]
    symbol = np.full(256, case.symbols - 1)
    symbol[common] = np.arange(len(common))
    ids = symbol[values]
    block = np.repeat(np.arange(case.blocks), case.block_size)
    counts = np.zeros((case.blocks, case.symbols, case.symbols))
    np.add.at(counts, (block, ids[:-1], ids[1:]), 1 / case.block_size)
    return counts


@dataclass(frozen=True)
class Problem:
    """One of the two objectives on the bigrams of a text.

    Attributes:
        counts: (n, V, V), from `bigram_counts`.
        l2: strength of the quadratic penalty.
        softmax: whether the loss is the cross-entropy; else it is the squared distance.
    """

    counts: Floats
    l2: float
    softmax: bool

    def gradient(self, w: Floats, counts: Floats) -> Floats:
        """Return the gradient at w (…, V, V) for the bigrams of blocks (…, V, V)."""
        predicted = _softmax(w) if self.softmax else w
        slope: Floats = counts.sum(-1, keepdims=True) * predicted - counts + self.l2 * w
        return slope

    def value(self, w: Floats) -> Floats:
        """Return F at w (…, V, V), without the constant of the squared distance."""
        counts = self.counts.mean(0)
        if self.softmax:
            top = w.max(-1)
            row = top + np.log(np.exp(w - top[..., None]).sum(-1))
        else:
            row = (w**2).sum(-1) / 2
        loss = (counts.sum(-1) * row).sum(-1) - (counts * w).sum((-1, -2))
        return np.asarray(loss + self.l2 / 2 * (w**2).sum((-1, -2)))

    def optimum(self) -> Floats:
        """Return the minimiser of F, by gradient descent with a step size for each row."""
        counts = self.counts.mean(0)
        w: Floats = np.zeros_like(counts)
        step = 1 / (self.l2 + counts.sum(-1, keepdims=True))
        while np.abs(slope := self.gradient(w, counts)).max() > PRECISION:
            w -= step * slope
        return w

    @property
    def smoothness(self) -> float:
        """The largest curvature of any f_b, or a bound on it."""
        return self.l2 + float(self.counts.sum(-1).max()) * (0.5 if self.softmax else 1)

    @property
    def condition(self) -> float:
        """The largest over the smallest curvature of F, or a bound on it."""
        rows = self.counts.mean(0).sum(-1)
        if self.softmax:
            return 1 + 0.5 * float(rows.max()) / self.l2
        return float((rows.max() + self.l2) / (rows.min() + self.l2))


def _softmax(w: Floats) -> Floats:
    raised = np.exp(w - w.max(-1, keepdims=True))
    return np.asarray(raised / raised.sum(-1, keepdims=True))


def blocks_of(case: ConvexCase) -> npt.NDArray[np.int64]:
    """Return the block of each update (updates, seeds), in the order of the case's sampler."""
    columns = []
    for seed in range(case.seeds):
        sampler = make_sampler(
            case.sampler,
            n_tokens=case.blocks * case.block_size + 1,
            block_size=case.block_size,
            seed=seed,
        )
        starts = sampler.starts(0, case.blocks * case.at_epochs[-1])
        columns.append(starts // case.block_size)
    return np.stack(columns, axis=1)


def excess_losses(problem: Problem, case: ConvexCase) -> tuple[Floats, Floats]:
    """Return the step sizes (G,) and the excess after each number of epochs (K, G, seeds)."""
    steps = np.geomspace(SMALLEST_STEP, 1, STEP_SIZES) / problem.smoothness
    blocks, (n, v, _) = blocks_of(case), problem.counts.shape
    w = np.zeros((STEP_SIZES, case.seeds, v, v))
    least = problem.value(problem.optimum())
    excess = []
    for update, chosen in enumerate(blocks, start=1):
        w -= steps[:, None, None, None] * problem.gradient(w, problem.counts[chosen])
        if update % n == 0 and update // n in case.at_epochs:
            excess.append(problem.value(w) - least)
    return steps, np.stack(excess)


@dataclass(frozen=True)
class Rate:
    """How the excess falls with the epochs.

    Attributes:
        step_size: (K,) the best of the grid after each number of epochs.
        excess, low, high: (K,) the mean over seeds and the ends of its 95 % interval.
        slope, slope_low, slope_high: of ln(mean excess) over ln(epochs), and its 95 % interval.
    """

    step_size: Floats
    excess: Floats
    low: Floats
    high: Floats
    slope: float
    slope_low: float
    slope_high: float


def fit_rate(epochs: tuple[int, ...], steps: Floats, excess: Floats) -> Rate:
    """Fit the rate at the best step size.

    The step size is chosen on one half of the seeds and its excess is measured on the other half,
    so that the choice does not make it look too small. The intervals are percentiles of a
    bootstrap over the seeds of the second half.

    Args:
        epochs: K numbers of epochs.
        steps: (G,) step sizes.
        excess: (K, G, seeds), from `excess_losses`.
    """
    best = excess[..., ::2].mean(-1).argmin(1)
    measured = excess[np.arange(len(epochs)), best, 1::2]
    rng = np.random.default_rng(0)
    chosen = rng.integers(measured.shape[1], size=(RESAMPLES, measured.shape[1]))
    means = measured[:, chosen].mean(-1)
    low, high = np.quantile(means, (0.025, 0.975), axis=1)
    x = np.log(epochs) - np.log(epochs).mean()
    slopes = x @ np.log(np.column_stack([measured.mean(1), means])) / (x @ x)
    ends = np.quantile(slopes[1:], (0.025, 0.975))
    return Rate(steps[best], measured.mean(1), low, high, slopes[0], ends[0], ends[1])
