"""Samplers whose draws spread evenly over the text from the first draw on.

Stratified starts, multiples of the golden ratio, and van der Corput's sequence.
"""

import numpy as np
import numpy.typing as npt

from gptcore.sampling.base import ChunkedSampler, Sampler
from gptcore.sampling.windows import Starts, whole_batches

GOLDEN_STEP = 0x9E3779B97F4A7C15
"""2⁶⁴/φ, φ the golden ratio, rounded to an odd number."""

Words = npt.NDArray[np.uint64]


class Stratified(ChunkedSampler):
    """One uniform start in each of n = ⌈M / T⌉ strata, in a new random order each epoch.

    A stratum is a run of neighbouring starts. The first M mod n strata have one start more than the
    others.
    """

    name = "stratified"

    def _count_epoch(self) -> int:
        self.n_strata = -(-self.n_starts // self.block_size)
        return whole_batches(self.n_strata, self.batch_size, self.drop_last)

    def _make_chunk(self, number: int, rng: np.random.Generator) -> Starts:  # noqa: ARG002
        size, longer = divmod(self.n_starts, self.n_strata)
        order = rng.permutation(self.n_strata)[: self.draws_per_epoch].astype(np.int64)
        first = order * size + np.minimum(order, longer)  # the first start of each stratum
        return np.asarray(first + rng.integers(size + (order < longer), dtype=np.int64))


class Golden(Sampler):
    """Draw i has the start ⌊M·frac(u + i/φ)⌋, φ being the golden ratio.

    The seed gives u, uniform in [0, 1). The arithmetic is in 64-bit fixed point, so it is exact for
    any i and N.
    """

    name = "golden"

    def _count_epoch(self) -> None:
        self.shift = self._rng_once().integers(2**64, dtype=np.uint64)

    def _draw(self, first: int, count: int) -> Starts:
        index = np.arange(first, first + count, dtype=np.uint64)
        points = self.points(index) + self.shift
        return self.lattice.place(scale(points, self.n_starts))

    def points(self, index: Words) -> Words:
        """Return the places of draws on the circle, in 2⁻⁶⁴, before the seed shifts them."""
        return index * np.uint64(GOLDEN_STEP)


class VanDerCorput(Golden):
    """Draw i has the start ⌊M·frac(u + v_i)⌋; v_i has the bits of i in reverse, after the point."""

    name = "van_der_corput"

    def points(self, index: Words) -> Words:
        """Return the bits of each index in reverse."""
        # Reverse the 64 bits: swap neighbouring bits, pairs and halves of bytes, then the bytes.
        for width, mask in (
            (1, 0x5555555555555555), (2, 0x3333333333333333), (4, 0x0F0F0F0F0F0F0F0F),
        ):  # fmt: skip
            low = np.uint64(mask)
            index = ((index >> np.uint64(width)) & low) | ((index & low) << np.uint64(width))
        return np.asarray(index.byteswap())


def scale(points: Words, size: int) -> Starts:
    """Return ⌊points·size / 2⁶⁴⌋, the high half of a 128-bit product, from 32-bit halves."""
    low, half = np.uint64(2**32 - 1), np.uint64(32)
    size_high, size_low = np.uint64(size >> 32), np.uint64(size & (2**32 - 1))
    high, rest = points >> half, points & low
    middle = high * size_low + ((rest * size_low) >> half)
    other = rest * size_high + (middle & low)
    scaled: Starts = (high * size_high + (middle >> half) + (other >> half)).astype(np.int64)
    return scaled
