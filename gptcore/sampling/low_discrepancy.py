"""Samplers whose draws spread evenly over the text from the first draw on.

Stratified starts, multiples of the golden ratio, and van der Corput's sequence.
"""

import numpy as np

from gptcore.sampling.base import Sampler
from gptcore.sampling.keyed import STEP, Words, draw_below, permute, scale
from gptcore.sampling.windows import Starts, whole_batches


class Stratified(Sampler):
    """One uniform start in each of n = ⌈M / T⌉ strata, in a new random order each epoch.

    A stratum is a run of neighbouring starts. The first M mod n strata have one start more than the
    others.
    """

    name = "stratified"
    stream_version = 2

    def _count_epoch(self) -> int:
        self.n_strata = -(-self.n_starts // self.block_size)
        return whole_batches(self.n_strata, self.batch_size, self.drop_last)

    def starts_at(self, draws: Starts) -> Starts:
        """Return the starts of these draws."""
        assert self.draws_per_epoch is not None
        size, longer = divmod(self.n_starts, self.n_strata)
        epoch, place = np.divmod(draws, self.draws_per_epoch)
        stratum = permute(place, self.n_strata, self._keys(0, epoch))
        first = stratum * size + np.minimum(stratum, longer)  # the first start of each stratum
        drawn = draw_below(self._keys(1, epoch), stratum, size + (stratum < longer))
        return self.lattice.place(first + drawn)


class Golden(Sampler):
    """Draw i has the start ⌊M·frac(u + i/φ)⌋, φ being the golden ratio.

    The seed gives u, uniform in [0, 1). The arithmetic is in 64-bit fixed point, so it is exact for
    any i and N.
    """

    name = "golden"

    def _count_epoch(self) -> None:
        self.shift = self._rng_once().integers(2**64, dtype=np.uint64)

    def starts_at(self, draws: Starts) -> Starts:
        """Return the starts of these draws."""
        points = self.points(draws.astype(np.uint64)) + self.shift
        return self.lattice.place(scale(points, self.n_starts))

    def points(self, index: Words) -> Words:
        """Return the places of draws on the circle, in 2⁻⁶⁴, before the seed shifts them."""
        return index * STEP


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
