"""Further metrics of a series of starts: pairs, contexts, evenness, overlap inside a batch.

N tokens, windows of T inputs, M starts in all segments; the expectations are in `theory`.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from gptcore.checks import check_whole
from gptcore.coverage.summaries import count_shown
from gptcore.sampling.base import Sampler
from gptcore.sampling.windows import StartGrid, Starts, as_starts


def pair_coverage(starts: Starts | Sequence[int], sampler: Sampler, lag: int) -> float:
    """Return the share of token pairs (i, i + h) that some window holds, inputs and last target.

    Args:
        starts: int64 of shape (K,), draws of `sampler`.
        sampler: where the windows lie.
        lag: h, from 1 to T.

    Raises:
        ValueError: h is out of range, or a start is none of a window.
    """
    width = sampler.block_size + 1 - check_whole("lag", lag, at_most=sampler.block_size)
    return count_shown(_distinct(starts, sampler), width) / (
        sampler.n_tokens - lag * len(sampler.segments)
    )


def context_coverage(starts: Starts | Sequence[int], sampler: Sampler, context: int) -> float:
    """Return the share of targets seen at least once with >= m tokens of context.

    Args:
        starts: int64 of shape (K,), draws of `sampler`.
        sampler: where the windows lie.
        context: m, from 1 to the targets of a window.

    Raises:
        ValueError: m is out of range, or a start is none of a window.
    """
    most = sampler.targets_per_window
    width = most - check_whole("context", context, at_most=most) + 1
    return count_shown(_distinct(starts, sampler), width) / (
        sampler.n_tokens - len(sampler.segments)
    )


def star_discrepancy(
    starts: Starts | Sequence[int], sampler: Sampler, steps: Sequence[int], *, batch_size: int
) -> npt.NDArray[np.float64]:
    """Return max_k |share of draws with rank < k - k/M| after each of `steps`.

    0 is perfectly even. Random starts go down as 1/√K, low-discrepancy ones as log(K)/K.

    Args:
        starts: int64 of shape (K,), draws of `sampler` from draw 0 on.
        sampler: where the windows lie.
        steps: numbers of steps, each of at most K draws.
        batch_size: B, draws per step.

    Raises:
        ValueError: a step is out of range, or a start is none of a window.
    """
    ranks = _ranks(starts, sampler)
    batch_size = check_whole("batch_size", batch_size)
    found = []
    for step in steps:
        draws = check_whole("steps", step) * batch_size
        if draws > len(ranks):
            raise ValueError(f"step {step} needs {draws} draws of {len(ranks)}: give more starts")
        values, times = np.unique(ranks[:draws], return_counts=True)
        upto = np.cumsum(times) / draws
        before = upto - times / draws
        found.append(
            max(
                np.abs(upto - (values + 1) / sampler.n_starts).max(),
                np.abs(before - values / sampler.n_starts).max(),
            )
        )
    return np.array(found)


def batch_overlap(starts: Starts | Sequence[int], sampler: Sampler, *, batch_size: int) -> float:
    """Return the share of a batch's targets that it shows more than once, mean over batches.

    1 - distinct targets / (B·T), windows counted with T targets.

    Args:
        starts: int64 of shape (K,), K a multiple of B.
        sampler: where the windows lie.
        batch_size: B.

    Raises:
        ValueError: K is no multiple of B, or a start is none of a window.
    """
    ranks = _ranks(starts, sampler)
    batch_size = check_whole("batch_size", batch_size)
    if len(ranks) % batch_size:
        raise ValueError(
            f"{len(ranks)} starts are not whole batches of {batch_size}: leave out the rest"
        )
    batches = np.sort(as_starts(starts).reshape(-1, batch_size), axis=1)
    width = sampler.block_size
    shown = np.minimum(np.diff(batches, axis=1), width).sum(axis=1) + width
    return float(1 - shown.mean() / (batch_size * width))


def _ranks(starts: Starts | Sequence[int], sampler: Sampler) -> Starts:
    return StartGrid(sampler.segments, sampler.block_size).rank(as_starts(starts))


def _distinct(starts: Starts | Sequence[int], sampler: Sampler) -> Starts:
    _ranks(starts, sampler)  # refuses what starts no window
    return np.unique(as_starts(starts))
