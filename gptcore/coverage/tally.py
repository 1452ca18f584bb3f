"""How often each of many whole numbers came, with memory for the distinct ones alone."""

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.int64]

PENDING = 2**20
"""New numbers are merged when there are more than this, and more than distinct ones."""


class Tally:
    """Counts of numbers that come in pieces."""

    def __init__(self) -> None:
        self._values, self._times = np.empty((2, 0), dtype=np.int64)
        self._pending: list[Counts] = []

    def add(self, values: Counts) -> None:
        """Count these numbers."""
        self._pending.append(values)
        if sum(map(len, self._pending)) > max(PENDING, len(self._values)):
            self._merge()

    def counted(self) -> tuple[Counts, Counts]:
        """Return the distinct numbers in increasing order, and how often each came."""
        self._merge()
        return self._values, self._times

    def _merge(self) -> None:
        if not self._pending:
            return
        values, times = np.unique(np.concatenate(self._pending), return_counts=True)
        self._pending.clear()
        if len(self._values):
            both = np.concatenate([self._values, values])
            order = np.argsort(both, kind="stable")  # merges two sorted arrays in linear time
            both, times = both[order], np.concatenate([self._times, times])[order]
            new = np.flatnonzero(np.diff(both, prepend=-1))
            values, times = both[new], np.add.reduceat(times, new)
        self._values, self._times = values, times
