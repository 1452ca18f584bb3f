"""Further metrics of a series of starts: pairs, contexts, evenness, overlap inside a batch.

Legend: N tokens, windows of T inputs, M starts in all segments, K draws. The expectations of these
metrics are in `gptcore.theory`.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from gptcore.checks import as_array, check_whole
from gptcore.coverage.summaries import count_shown
from gptcore.sampling.base import Sampler
from gptcore.sampling.windows import StartGrid, Starts, as_starts
from gptcore.theory.expectations import expected_context_coverage, expected_pair_coverage


def pair_coverage(starts: Starts | Sequence[int], sampler: Sampler, lag: int) -> float:
    """Return the share of token pairs (i, i + h) that some window holds.

    A window holds T + 1 tokens, its inputs and its last target.

    Args:
        starts: int64 of shape (K,), draws of `sampler`.
        sampler: where the windows lie.
        lag: h, from 1 to T.

    Raises:
        ValueError: h is out of range, or no window begins at one of the starts.
    """
    lag = check_whole("lag", lag, at_most=sampler.block_size)
    width = sampler.block_size + 1 - lag
    return count_shown(_distinct(starts, sampler), width) / (
        sampler.n_tokens - lag * len(sampler.segments)
    )


def context_coverage(starts: Starts | Sequence[int], sampler: Sampler, context: int) -> float:
    """Return the share of targets shown at least once with m or more tokens of context.

    Args:
        starts: int64 of shape (K,), draws of `sampler`.
        sampler: where the windows lie.
        context: m, from 1 to the targets of a window.

    Raises:
        ValueError: m is out of range, or no window begins at one of the starts.
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

    0 is perfectly even. It falls as 1/√K for random starts, and as log(K)/K for low-discrepancy
    ones.

    Args:
        starts: int64 of shape (K,), draws of `sampler` from draw 0 on.
        sampler: where the windows lie.
        steps: numbers of steps, each of at most K draws.
        batch_size: B, draws per step.

    Raises:
        ValueError: a step is out of range, or no window begins at one of the starts.
    """
    ranks = _ranks(starts, sampler)
    batch_size = check_whole("batch_size", batch_size)
    discrepancies = []
    for step in np.atleast_1d(as_array("steps", steps)):
        draws = check_whole("steps", step) * batch_size
        if draws > len(ranks):
            raise ValueError(f"step {step} needs {draws} starts and got {len(ranks)}: give more")
        # The difference is largest at a rank that was drawn, or just before one.
        values, times = np.unique(ranks[:draws], return_counts=True)
        upto = np.cumsum(times) / draws
        before = upto - times / draws
        discrepancies.append(
            max(
                np.abs(upto - (values + 1) / sampler.n_starts).max(),
                np.abs(before - values / sampler.n_starts).max(),
            )
        )
    return np.array(discrepancies)


def batch_overlap(starts: Starts | Sequence[int], sampler: Sampler, *, batch_size: int) -> float:
    """Return the share of a batch's targets that repeat others of the batch, mean over batches.

    It is 1 - distinct targets / (B·T), where every window counts with T targets.

    Args:
        starts: int64 of shape (K,), K a multiple of B.
        sampler: where the windows lie.
        batch_size: B.

    Raises:
        ValueError: K is not a multiple of B, or no window begins at one of the starts.
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


def measure_exposure(
    sampler: Sampler, draws: int, *, at_most: int
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the metrics of this module for the first K draws, and pairs and contexts as expected.

    Pairs and contexts are given at five lags and context lengths, from 1 to the targets of a
    window.

    Args:
        sampler: where the windows come from.
        draws: K.
        at_most: what is observed needs all draws at once; it is None for more draws than these.
    """
    width, batch_size = sampler.targets_per_window, sampler.batch_size
    shares = sorted({1, max(1, width // 4), max(1, width // 2), max(1, 3 * width // 4), width})
    theory: dict[str, Any] = {
        "pair_coverage": {str(h): expected_pair_coverage(sampler, h, draws) for h in shares},
        "context_coverage": {str(m): expected_context_coverage(sampler, m, draws) for m in shares},
    }
    unknown = dict.fromkeys((*theory, "batch_overlap", "star_discrepancy"))
    if draws > at_most:
        return unknown, theory
    starts, steps = sampler.starts(0, draws), draws // batch_size
    seen = unknown | {
        "pair_coverage": {str(h): pair_coverage(starts, sampler, h) for h in shares},
        "context_coverage": {str(m): context_coverage(starts, sampler, m) for m in shares},
    }
    if steps:  # of whole batches
        starts = starts[: steps * batch_size]
        (discrepancy,) = star_discrepancy(starts, sampler, [steps], batch_size=batch_size)
        seen["batch_overlap"] = batch_overlap(starts, sampler, batch_size=batch_size)
        seen["star_discrepancy"] = float(discrepancy)
    return seen, theory


def _ranks(starts: Starts | Sequence[int], sampler: Sampler) -> Starts:
    return StartGrid(sampler.segments, sampler.block_size).rank(as_starts(starts))


def _distinct(starts: Starts | Sequence[int], sampler: Sampler) -> Starts:
    _ranks(starts, sampler)  # refuses starts at which no window begins
    return np.unique(as_starts(starts))
