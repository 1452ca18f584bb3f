"""Several arrays of token ids read as one, without a copy of them."""

from collections.abc import Sequence
from typing import Any, NoReturn, cast

import numpy as np
import numpy.typing as npt

AnyIds = npt.NDArray[np.integer]


class Chain:
    """Token ids (N,) that lie in several arrays, one behind the other.

    Files that are mapped from disk stay there: only what is asked for is read. A chain answers as
    an array does to `len`, to slices and to arrays of places, and has `dtype`, `ndim` and `shape`.
    """

    ndim = 1

    def __init__(self, arrays: Sequence[AnyIds]) -> None:
        self.arrays = tuple(arrays)
        self._begins = np.cumsum([0, *map(len, self.arrays)])
        common = np.result_type(*self.arrays)
        self.dtype = common if common.kind in "iu" else np.dtype(np.int64)

    def __len__(self) -> int:
        return int(self._begins[-1])

    @property
    def shape(self) -> tuple[int]:
        """(N,)."""
        return (len(self),)

    def __getitem__(self, key: "slice | npt.NDArray[np.int64]") -> AnyIds:
        """Return the ids of a slice without a step, or those at the places of an array."""
        if isinstance(key, slice):
            start, stop, step = key.indices(len(self))
            if step != 1:
                raise IndexError("a chain of arrays has no slices with a step")
            return self._between(start, max(start, stop))
        places = np.asarray(key)
        if places.size and (places.min() < 0 or places.max() >= len(self)):
            raise IndexError(f"a place is outside [0, {len(self)})")
        which = np.searchsorted(self._begins, places, side="right") - 1
        ids = np.empty(places.shape, dtype=self.dtype)
        for i in np.unique(which).tolist():
            chosen = which == i
            ids[chosen] = self.arrays[i][places[chosen] - self._begins[i]]
        return ids

    def __array__(self, *_: Any, **__: Any) -> NoReturn:
        raise ValueError("token ids lie in several files: ask for a slice of them")

    def _between(self, start: int, stop: int) -> AnyIds:
        pieces = [
            array[max(0, start - begin) : stop - begin].astype(self.dtype, copy=False)
            for array, begin in zip(self.arrays, self._begins.tolist(), strict=False)
            if begin < stop and start < begin + len(array)
        ]
        if len(pieces) == 1:
            return pieces[0]
        return np.concatenate(pieces) if pieces else np.empty(0, dtype=self.dtype)


def in_files(ids: object) -> bool:
    """Return whether ids are those of files, which were checked when they were read."""
    return isinstance(ids, np.memmap | Chain)


def link(arrays: Sequence[AnyIds]) -> npt.NDArray[np.int64]:
    """Return arrays one behind the other: a chain where one is mapped from disk, else an array.

    The type is that of an array, which a chain stands for.
    """
    if len(arrays) > 1 and any(isinstance(array, np.memmap) for array in arrays):
        return cast("npt.NDArray[np.int64]", Chain(arrays))
    return cast("npt.NDArray[np.int64]", arrays[0] if len(arrays) == 1 else np.concatenate(arrays))
