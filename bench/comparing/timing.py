"""Records → the time of a case with its interval, over rounds and processes."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.ledger.record import Record

RESAMPLES = 500


@dataclass(frozen=True)
class Timing:
    """The time of one case in one run.

    Attributes:
        logs: log of the median time in s, for each process; the main one first.
        rounds: how many were timed in the main process.
        within: variance of the first of `logs`, by its rounds alone; None for one round.
        within_df: its degrees of freedom.
        reference: log of the mean time of the reference product beside this case, if it was timed.
        device: on which.
    """

    logs: tuple[float, ...]
    rounds: int
    within: float | None
    within_df: float
    reference: float | None
    device: str = "cpu"

    def center(self, processes: int) -> float:
        """Return the median of the first `processes` medians, a logarithm."""
        return statistics.median(self.logs[:processes])


def finite_exp(value: float) -> float | None:
    """Return e ** value, None where no float holds it."""
    return math.exp(value) if value < 709 else None


def is_timed(record: Record | None) -> bool:
    """Whether a case ended well and has times."""
    return bool(record and record["status"] == "ok" and _times(record))


def _times(record: Record) -> list[float]:
    """Return the rounds of a case; where a ledger holds a time alone, that one."""
    alone = record["metrics"].get("time_s")
    return record["samples"].get("time_s") or ([] if alone is None else [alone])


def timing(record: Record) -> Timing | None:
    """Return the times of a timed case; None where the clock did not tick (a time of 0)."""
    samples = record["samples"]
    times = _times(record)
    processes = samples.get("process_time_s") or [statistics.median(times)]
    if min(*times, *processes) <= 0:
        return None
    reference = statistics.fmean(samples.get("reference_s") or [0.0])
    logs = np.log(np.asarray(times, dtype=np.float64))
    within, within_df = median_variance(logs)
    return Timing(
        logs=tuple(math.log(t) for t in processes),
        rounds=len(times),
        within=within,
        within_df=within_df,
        reference=math.log(reference) if reference > 0 else None,
        device=str(record["params"].get("device") or "cpu"),
    )


def block_length(n_rounds: int) -> int:
    """Return how many rounds in a row are resampled together: n ** (1/3), rounded up."""
    return math.ceil(round(math.cbrt(n_rounds), 9))


def median_variance(logs: np.ndarray[Any, Any]) -> tuple[float | None, float]:
    """Return the variance of the median of dependent values, and its degrees of freedom.

    By moving-block bootstrap (Künsch, Ann. Statist. 17, 1989). With n values in blocks of L there
    are k = n / L independent pieces at most: resampling k pieces shows only (k - 1) / k of their
    variance, which is put back.

    Args:
        logs: (n,), in the order in which they were measured.

    Returns:
        The variance, None for a single value, and k - 1.
    """
    n = len(logs)
    if n < 2:
        return None, 0.0
    length = block_length(n) if n > 3 else 1
    pieces = n / length
    generator = np.random.default_rng(0)
    starts = generator.integers(0, n - length + 1, size=(RESAMPLES, math.ceil(pieces)))
    index = (starts[:, :, None] + np.arange(length)).reshape(RESAMPLES, -1)[:, :n]
    variance = float(np.median(logs[index], axis=1).var())
    return variance * pieces / (pieces - 1), pieces - 1
