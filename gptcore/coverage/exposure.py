"""Further metrics of a series of starts: pairs, contexts, evenness, overlap inside a batch.

Legend: N tokens, windows of T inputs, M starts in all segments, K draws. The expectations of these
metrics are in `gptcore.theory`. Draws are given as `Sampler.pieces` returns them, or as the starts
of whole windows.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from gptcore.checks import as_array, check_whole
from gptcore.coverage.summaries import count_pairs, count_union
from gptcore.sampling.base import Sampler
from gptcore.sampling.windows import Pieces, Starts, as_starts, whole_windows
from gptcore.theory.expectations import expected_context_coverage, expected_pair_coverage

Draws = Pieces | Starts | Sequence[int]


def pair_coverage(draws: Draws, sampler: Sampler, lag: int) -> float | None:
    """Return the share of token pairs (i, i + h) that some window holds.

    A window holds T + 1 tokens, its inputs and its last target. Both tokens of a pair lie in one
    segment; the share is None where no segment is so long.

    Args:
        draws: K draws of `sampler`.
        sampler: where the windows lie.
        lag: h, from 1 to T.

    Raises:
        ValueError: h is out of range, or no window begins at one of the starts.
    """
    lag = check_whole("lag", lag, at_most=sampler.block_size)
    pairs = sum(max(0, len(part) - lag) for part in sampler.segments)
    shown = count_pairs(_as_pieces(draws, sampler), lag)
    return shown / pairs if pairs else None


def context_coverage(draws: Draws, sampler: Sampler, context: int) -> float:
    """Return the share of targets shown at least once with m or more tokens of context.

    The context of a target is the tokens before it in its window that are of its segment.

    Args:
        draws: K draws of `sampler`.
        sampler: where the windows lie.
        context: m, from 1 to the targets of a window.

    Raises:
        ValueError: m is out of range, or no window begins at one of the starts.
    """
    most = sampler.targets_per_window
    lag = sampler.block_size - most + check_whole("context", context, at_most=most)
    return count_pairs(_as_pieces(draws, sampler), lag) / sampler.n_targets


def star_discrepancy(
    draws: Draws, sampler: Sampler, steps: Sequence[int], *, batch_size: int
) -> npt.NDArray[np.float64]:
    """Return max_k |share of draws with rank < k - k/M| after each of `steps`.

    0 is perfectly even. It falls as 1/√K for random starts, and as log(K)/K for low-discrepancy
    ones.

    Args:
        draws: K draws of `sampler` from draw 0 on.
        sampler: where the windows lie.
        steps: numbers of steps, each of at most K draws.
        batch_size: B, draws per step.

    Raises:
        ValueError: a step is out of range, or no window begins at one of the starts.
    """
    pieces = _as_pieces(draws, sampler)
    ranks = sampler.all_starts.rank(pieces.start[pieces.first])
    batch_size = check_whole("batch_size", batch_size)
    discrepancies = []
    for step in np.atleast_1d(as_array("steps", steps)):
        count = check_whole("steps", step) * batch_size
        if count > len(ranks):
            raise ValueError(f"step {step} needs {count} starts and got {len(ranks)}: give more")
        # The difference is largest at a rank that was drawn, or just before one.
        values, times = np.unique(ranks[:count], return_counts=True)
        upto = np.cumsum(times) / count
        before = upto - times / count
        discrepancies.append(
            max(
                np.abs(upto - (values + 1) / sampler.n_starts).max(),
                np.abs(before - values / sampler.n_starts).max(),
            )
        )
    return np.array(discrepancies)


def batch_overlap(draws: Draws, sampler: Sampler, *, batch_size: int) -> float:
    """Return the share of a batch's targets that repeat others of the batch, mean over batches.

    It is 1 - distinct targets / (B·T), where every window counts with T targets.

    Args:
        draws: K draws of `sampler`, K a multiple of B.
        sampler: where the windows lie.
        batch_size: B.

    Raises:
        ValueError: K is not a multiple of B, or no window begins at one of the starts.
    """
    pieces = _as_pieces(draws, sampler)
    batch_size, count = check_whole("batch_size", batch_size), int(pieces.draw[-1]) + 1
    if count % batch_size:
        raise ValueError(
            f"{count} starts are not whole batches of {batch_size}: leave out the rest"
        )
    # Batches side by side on one axis, so that their targets do not meet.
    begin, end = pieces.targets()
    aside = pieces.draw // batch_size * (sampler.segments[-1].stop + 1)
    return 1 - count_union(begin + aside, end + aside) / (count * sampler.block_size)


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
    pieces, steps = sampler.pieces(0, draws), draws // batch_size
    seen = unknown | {
        "pair_coverage": {str(h): pair_coverage(pieces, sampler, h) for h in shares},
        "context_coverage": {str(m): context_coverage(pieces, sampler, m) for m in shares},
    }
    if steps:  # of whole batches
        batched = sampler.pieces(0, steps * batch_size)
        (discrepancy,) = star_discrepancy(batched, sampler, [steps], batch_size=batch_size)
        seen["batch_overlap"] = batch_overlap(batched, sampler, batch_size=batch_size)
        seen["star_discrepancy"] = float(discrepancy)
    return seen, theory


def _as_pieces(draws: Draws, sampler: Sampler) -> Pieces:
    """Return draws as pieces, after checking that windows begin at their starts."""
    if isinstance(draws, Pieces):
        return draws
    starts = as_starts(draws)
    sampler.all_starts.rank(starts)
    return whole_windows(starts, sampler.block_size)
