"""The time of a case in one run, from the rounds and processes in its record."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.ledger.record import Record

RESAMPLES = 500
"""Bootstrap samples of `median_variance`."""


@dataclass(frozen=True)
class Timing:
    """The time of one case in one run.

    Attributes:
        logs: ln of the median time in s of each process, in the order in which they ran.
        rounds: number of rounds.
        within: variance of the first of `logs` that its rounds show; None for one round.
        within_df: degrees of freedom of `within`.
        reference: ln of the mean time of the reference product beside the case; None if not timed.
        device: device of the case.
        memory: the same as `reference` for the reference copy; older ledgers lack it.
    """

    logs: tuple[float, ...]
    rounds: int
    within: float | None
    within_df: float
    reference: float | None
    device: str = "cpu"
    memory: float | None = None

    @property
    def references(self) -> dict[str, float]:
        """Return the references that were timed, by the names of their fields."""
        known = {"reference": self.reference, "memory": self.memory}
        return {name: value for name, value in known.items() if value is not None}

    def moved(self, new: Timing) -> float:
        """Return the larger change of the references beside the case, 0 if none was timed twice."""
        old, now = self.references, new.references
        return max((abs(now[name] - old[name]) for name in old.keys() & now), default=0.0)


def finite_exp(value: float) -> float | None:
    """Return e ** value, or None where it exceeds the range of floats."""
    return math.exp(value) if value < 709 else None


def is_timed(record: Record | None) -> bool:
    """Return whether a case succeeded and has times."""
    return bool(record and record["status"] == "ok" and _times(record))


def _times(record: Record) -> list[float]:
    """Return the rounds of a case, or its one time if the ledger has no rounds."""
    alone = record["metrics"].get("time_s")
    return record["samples"].get("time_s") or ([] if alone is None else [alone])


def timing(record: Record) -> Timing | None:
    """Return the times of a timed case; None if one of them is 0 (the clock did not advance)."""
    samples = record["samples"]
    times = _times(record)
    processes = samples.get("process_time_s") or [statistics.median(times)]
    if min(*times, *processes) <= 0:
        return None
    logs = np.log(np.asarray(times, dtype=np.float64))
    within, within_df = median_variance(logs)
    return Timing(
        logs=tuple(math.log(t) for t in processes),
        rounds=len(times),
        within=within,
        within_df=within_df,
        reference=_log_mean(samples.get("reference_s")),
        device=str(record["params"].get("device") or "cpu"),
        memory=_log_mean(samples.get("memory_reference_s")),
    )


def _log_mean(times_s: list[float] | None) -> float | None:
    mean = statistics.fmean(times_s or [0.0])
    return math.log(mean) if mean > 0 else None


def block_length(n_rounds: int) -> int:
    """Return how many consecutive rounds are resampled together: n ** (1/3), rounded up."""
    return math.ceil(round(math.cbrt(n_rounds), 9))


def median_variance(logs: np.ndarray[Any, Any]) -> tuple[float | None, float]:
    """Return the variance of the median of dependent values, and its degrees of freedom.

    The method is the moving-block bootstrap (Künsch, Ann. Statist. 17, 1989). n values in blocks of
    L are at most k = n / L independent pieces. Resampling k pieces shows only (k - 1) / k of their
    variance, so the result is multiplied by k / (k - 1).

    Args:
        logs: (n,), in the order in which they were measured.

    Returns:
        The variance (None for a single value), and k - 1.
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
