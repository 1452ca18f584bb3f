"""Theory of `Golden` and `VanDerCorput`: K fixed points on a circle, shifted by a uniform number.

Legend as in `lattice`: N tokens, windows of T inputs, M = N - T starts, K draws. Draw i has the
start ⌊M·frac(u + p_i)⌋. Write the shift u as (k + v)/M with a whole k and v in [0, 1). Then v alone
decides how the M starts are drawn on a circle, and k turns the circle by a uniform whole number
before it is cut open into the text. All is known of one gap after another: neighbouring draws that
are M·l starts apart on the circle are ⌊M·l⌋ or ⌈M·l⌉ apart as whole numbers, and one of the two
moves on at a known v.
"""

import math
from collections.abc import Callable

import numpy as np

from gptcore.sampling.keyed import scale
from gptcore.sampling.low_discrepancy import Golden
from gptcore.theory.avoidance import EvenlySpread, Floats
from gptcore.theory.lattice import LatticeTheory, Visits, Whole

MOST_WORK = 2**24
"""Gaps that are looked at, at most: about two seconds. Beyond that, a value is None."""
CIRCLE = 2**64
ROUNDING = 1e-15
"""A variance of at most this times M is taken for rounding, and is 0."""


class EvenTheory(LatticeTheory):
    """Expectations of a low-discrepancy sampler; `sd_missed` only where it has one segment.

    Args:
        sampler: where the windows come from.
        gaps: function of K that returns (length in 2⁻⁶⁴, number) of the gaps between K points.
    """

    def __init__(self, sampler: Golden, gaps: Callable[[int], list[tuple[int, int]]]) -> None:
        super().__init__(sampler, lambda n, draws: EvenlySpread(n, draws, gaps(draws)))
        self.points, self.gaps = sampler.points, gaps
        self.starts = [len(part) - sampler.block_size for part in sampler.segments]

    def visits(self, draws: int) -> Visits:
        """Return the other expectations."""
        known = super().visits(draws)
        return known._replace(
            sd_missed=known.sd_missed if draws == 1 else self._sd(draws),
            variance=self._variance_of_visits(draws),
        )

    def _sd(self, draws: int) -> float | None:
        """Return the standard deviation of the missed targets.

        Let g_c be the gap at which the circle is cut. A gap g has (g - T)₊ missed targets, and the
        two ends of the text have g_c - 1. So Σ_j (g_j - T)₊ + min(g_c, T) - 1 targets are missed,
        and gap j is cut with probability g_j / M.
        """
        n, size = self.n, self.block_size
        if len(self.starts) > 1:
            return None
        if max(length for length, number in self.gaps(draws) if number) * n <= size * CIRCLE:
            variance = self._variance_of_cut(draws)  # no gap is longer than T
        elif draws <= MOST_WORK // 8:
            start, moves = self._turned(draws)
            variance = _variance_of_missed(start, moves, n, size)
        else:
            return None
        return math.sqrt(variance) if variance > ROUNDING * n else 0.0

    def _variance_of_cut(self, draws: int) -> float:
        """Return the variance of g_c, the gap at which the circle is cut."""
        n, cut = self.n, []
        for length, number in self.gaps(draws):
            short, rest = divmod(length * n, CIRCLE)
            for gap, share in (short, 1 - rest / CIRCLE), (short + 1, rest / CIRCLE):
                cut.append((number * share * gap / n, gap))
        mean = math.fsum(chance * gap for chance, gap in cut)
        return math.fsum(chance * (gap - mean) ** 2 for chance, gap in cut)

    def _turned(self, draws: int) -> tuple[Whole, Floats]:
        """Return the starts at v = 0 in increasing order, and the v at which each moves on by 1."""
        points = np.sort(self.points(np.arange(draws, dtype=np.uint64)))
        rest = points * np.uint64(self.n)  # modulo 2⁶⁴: what ⌊M·p⌋ leaves
        return scale(points, self.n), 1 - rest.astype(np.float64) / CIRCLE

    def _variance_of_visits(self, draws: int) -> float | None:
        """Return the expected population variance, over targets, of the visits in one run.

        Σ_j visits_j² = Σ_{i, i'} (T - |s_i - s_i'|)₊. Two draws that are D starts apart on the
        circle, in this direction, are as far apart in the text if it is not cut between them. The
        circle is cut where a segment of M_i starts ends, so that has probability Σ_i (M_i - D)₊/M.
        """
        n, size = self.n, self.block_size
        if draws * max(1, draws * size // n) > MOST_WORK:
            return None
        points = np.sort(self.points(np.arange(draws, dtype=np.uint64)))
        together = 0.0
        for further in range(1, draws):
            apart = np.roll(points, -further) - points  # modulo 2⁶⁴, once round the circle
            short = scale(apart, n)
            if short.min() >= size:
                break
            more = (apart * np.uint64(n)).astype(np.float64) / CIRCLE
            for gap, share in (short, 1 - more), (short + 1, more):
                uncut = sum(np.maximum(0, starts - gap) / n for starts in self.starts)
                together += float(share @ (np.maximum(0, size - gap) * uncut))
        mean = draws * size / self.n_targets
        return (draws * size + 2 * together) / self.n_targets - mean**2


def _variance_of_missed(start: Whole, moves: Floats, n: int, size: int) -> float:
    """Return the variance of Σ_j (g_j - T)₊ + min(g_c, T) - 1 over v and the place of the cut.

    Args:
        start: the starts at v = 0, in increasing order.
        moves: the v at which each of them moves on by one.
        n: M.
        size: T.
    """
    gap = np.diff(start, append=start[0] + n)
    # A gap changes when the first of its two ends moves on, and the other end undoes the change.
    first = np.sign(np.roll(moves, -1) - moves).astype(np.int64)  # 1 if it is the begin of the gap

    def sums(gaps: Whole) -> Floats:
        """Return (g - T)₊, and what a cut adds to the first two moments, for each gap."""
        cut = np.minimum(gaps, size)
        return np.stack([np.maximum(0, gaps - size), gaps * cut / n, gaps * cut * (cut / n)])

    before = sums(gap)
    change = first * (sums(gap - first) - before)  # at the begin; its negative at the end
    order = np.argsort(moves)
    steps = (change - np.roll(change, 1, axis=1))[:, order]
    total = before.sum(axis=1, keepdims=True)
    missed, cut, square = np.concatenate([total, total + np.cumsum(steps, axis=1)], axis=1)
    length = np.diff(moves[order], prepend=0.0, append=1.0)
    mean = float(length @ (missed + cut))  # and 1 less, which changes no variance
    rest = missed - mean
    return float(length @ (rest**2 + 2 * rest * cut + square))
