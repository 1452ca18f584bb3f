"""The interval of a mean loss over a text whose tokens depend on each other over any distance.

Losses of neighbouring tokens depend on each other, and so do those of neighbouring pages: a topic,
a chapter or a speaker lasts. The variance of the mean of b tokens therefore falls more slowly than
1 / b, about as b^(2H - 2) with H between 0.5 and 1, which is called long memory (Altmann,
Cristadoro & Degli Esposti, PNAS 109, 2012, on texts). A stretch of a text hardly shows how far its
own mean lies from the mean of the whole text, so that has to be extrapolated.

A stretch that lies in one document of many shows nothing of how these differ, so no such interval
can hold the mean over joined documents unless the stretch holds several of them.

The method is that of Müller & Watson (Rev. Econ. Stud. 83, 2016): only the variation over long
distances is used, here the means of `BLOCKS` equal blocks, and every H is weighted by how probable
it makes these. Blocks of fractional Gaussian noise are fractional Gaussian noise again, so one
number H describes all distances. Given H, the mean has a Student t distribution with `BLOCKS` - 1
degrees of freedom; the interval is the central 95 % of their mixture.
"""

from __future__ import annotations

import functools

import numpy as np
import numpy.typing as npt
import scipy

from gptcore.checks import as_row

BLOCKS = 24
LEAST_TARGETS = 16 * BLOCKS  # measured down to here; see docs/results/intervals.py
WHOLE = 50
"""The text that the interval is about is this many times as long as the text that was scored."""
HURST = np.linspace(0.5, 0.98, 25)
"""The values of H, all equally probable beforehand; 0.5 means that far blocks are independent."""

POPULATION = (
    f"the mean loss of this model over a text of this kind that is {WHOLE} times as long and that "
    "the scored text is a stretch of; not over other texts, and not of other training runs; where "
    "a text joins documents, only if the scored part holds at least five of them"
)
"""What the intervals of a loss are about, in words."""

Floats = npt.NDArray[np.float64]


def mean_interval(losses: npt.NDArray[np.floating]) -> tuple[float, float] | None:
    """Return the 95 % interval of the mean over the whole text that `losses` are a stretch of.

    `POPULATION` says what text that is. Its mean differs from that of the stretch, and the interval
    is for the difference: v(b) - v(50 b) for a stretch of b values, where v(b) is the variance of
    the mean of b values and the place of the stretch in the text is random.

    Args:
        losses: (n,), one for each token, in the order of the text. Several texts are joined.

    Returns:
        The lower and the upper end; None if `no_interval_reason` of n is a reason.

    Raises:
        ValueError: the losses are not a row of finite numbers.
    """
    return blocks_interval(*block_means(losses))


def block_means(
    losses: npt.NDArray[np.floating],
) -> tuple[Floats, npt.NDArray[np.int64]]:
    """Return the means of `BLOCKS` equal parts of a row of losses, and the lengths of the parts.

    They are all that `blocks_interval` needs, so the losses of a long text need not be kept. Means
    of several models on the same targets can be subtracted and averaged, block by block.

    Args:
        losses: (n,), one for each token, in the order of the text.

    Returns:
        (b,) and (b,), where b is `BLOCKS`, or n if that is less.

    Raises:
        ValueError: the losses are not a row of finite numbers, or there is none.
    """
    losses = as_row("losses", losses)
    if not losses.size:
        raise ValueError("there is no loss: score at least one target")
    edges = np.linspace(0, len(losses), min(BLOCKS, len(losses)) + 1).astype(np.int64)
    counts = np.diff(edges)
    return np.add.reduceat(losses, edges[:-1]) / counts, counts


def blocks_interval(
    means: npt.NDArray[np.floating], counts: npt.NDArray[np.integer]
) -> tuple[float, float] | None:
    """Return the interval of `mean_interval` from the results of `block_means`, None likewise.

    Raises:
        ValueError: the two are not rows of equal length.
    """
    values: Floats = as_row("means", means)
    if values.shape != counts.shape:
        raise ValueError(f"{values.size} means and {counts.size} counts: give one of each a block")
    if no_interval_reason(int(counts.sum())):
        return None
    mean, half = float(np.average(values, weights=counts)), _half_width(values)
    return mean - half, mean + half


def difference_interval(
    losses: npt.NDArray[np.floating], baseline: npt.NDArray[np.floating]
) -> tuple[float, float] | None:
    """Return the 95 % interval of the mean of `losses` - `baseline` on the same targets.

    What makes the text hard for both models cancels, so this interval is narrower than a comparison
    of two intervals suggests. It is about the same text as that of `mean_interval`.

    Args:
        losses: (n,), those of one model, in the order of the text.
        baseline: (n,), those of another model on the same targets.

    Returns:
        The lower and the upper end; None if `no_interval_reason` of n is a reason.

    Raises:
        ValueError: the losses are not two rows of finite numbers of equal length.
    """
    losses, baseline = as_row("losses", losses), as_row("baseline", baseline)
    if len(losses) != len(baseline):
        raise ValueError(
            f"{len(losses)} losses and {len(baseline)} of the baseline: score the same targets"
        )
    return mean_interval(losses - baseline)


def no_interval_reason(n: int) -> str | None:
    """Return why the mean of `n` losses has no interval; None where it has one."""
    if n >= LEAST_TARGETS:
        return None
    return (
        f"the text has {n} targets, which are too few to show how far its parts differ: "
        f"score at least {LEAST_TARGETS}"
    )


def _half_width(means: Floats) -> float:
    """Return half the width of the interval, given the means of the blocks (BLOCKS,)."""
    contrasts = scipy.linalg.helmert(BLOCKS) @ (means - means[0])
    unit = float(abs(contrasts).max())  # so that no square below is too small or too large
    if not unit:
        return 0.0
    contrasts /= unit
    whiteners, log_densities, variances = _models()
    degrees = BLOCKS - 1
    squares = ((whiteners @ contrasts) ** 2).sum(axis=1)  # for each H
    log_weights = log_densities - degrees / 2 * np.log(squares)
    weights = np.exp(log_weights - log_weights.max())
    scales = np.sqrt(variances * squares / degrees)

    def excess(half: float) -> float:
        tails = scipy.stats.t.sf(half / scales, degrees)
        return float(np.average(tails, weights=weights)) - 0.025

    quantile = float(scipy.stats.t.isf(0.025, degrees))
    # A little wider than any of the mixture, because of rounding where one H has all the weight.
    bounds = 0.99 * quantile * scales.min(), 1.01 * quantile * scales.max()
    return unit * float(scipy.optimize.brentq(excess, *bounds))


@functools.cache
def _models() -> tuple[Floats, Floats, Floats]:
    """Return what depends on H alone, for each value in `HURST`.

    Returns:
        The matrices that make the contrasts independent, (H, BLOCKS - 1, BLOCKS - 1); the
        logarithms of their determinants, (H,); and the variances v(b) - v(WHOLE * b) of the mean,
        (H,), where the variance of the mean of one block is 1.
    """
    lags = np.arange(BLOCKS)
    contrasts = scipy.linalg.helmert(BLOCKS)
    whiteners = []
    for power in 2 * HURST:
        covariances = (abs(lags + 1) ** power + abs(lags - 1) ** power) / 2 - lags**power
        covariance = contrasts @ scipy.linalg.toeplitz(covariances) @ contrasts.T
        whiteners.append(np.linalg.inv(np.linalg.cholesky(covariance)))
    logs = np.array([np.log(np.diag(matrix)).sum() for matrix in whiteners])
    variances = BLOCKS ** (2 * HURST - 2) * (1 - WHOLE ** (2 * HURST - 2))
    return np.array(whiteners), logs, variances
