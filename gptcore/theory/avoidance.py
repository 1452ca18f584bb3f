"""The probability q(u) that K draws avoid u given neighbours among n starts.

A target is missed when the draws avoid the c starts that show it, so that missed targets, gaps,
pairs and contexts are all sums of q. Three laws cover every sampler that treats starts alike.
"""

import math
from abc import ABC, abstractmethod

import numpy as np
import numpy.typing as npt

from gptcore.sampling.low_discrepancy import GOLDEN_STEP

Floats = npt.NDArray[np.float64]

NEGLIGIBLE = 800.0  # e^-800 is 0 as a double


class Law(ABC):
    """What K draws from n starts do.

    Attributes:
        n: starts to choose from.
        draws: K.
        any_set: q holds for any u starts, not only for u neighbours.
        spread: var(visits) / (p·(1 - p)) of a target that the share p of the starts shows, or None.
        certain: the number of distinct starts does not vary.
    """

    any_set = True
    spread: float | None
    certain: bool

    def __init__(self, n: int, draws: int) -> None:
        self.n, self.draws = n, draws

    @abstractmethod
    def logs(self, most: int) -> Floats:
        """Return log q(u) for u = 0, …, `most`; -inf where a draw cannot miss."""

    @abstractmethod
    def at(self, count: int) -> float:
        """Return q(count), for any count up to n."""

    @abstractmethod
    def log_apart(self, width: int) -> float:
        """Return log q(2w) - 2·log q(w), in full precision: tiny, as far targets hardly covary."""


class Independent(Law):
    """Each draw is uniform: q(u) = (1 - u/n)^K."""

    def __init__(self, n: int, draws: int) -> None:
        super().__init__(n, draws)
        self.spread = float(draws)
        self.certain = draws == 1 or n == 1

    def logs(self, most: int) -> Floats:
        """Return log q(u) for u = 0, …, `most`."""
        with np.errstate(divide="ignore"):
            share = np.minimum(np.arange(most + 1), self.n) / self.n
            return np.asarray(self.draws * np.log1p(-share))

    def at(self, count: int) -> float:
        """Return q(count)."""
        with np.errstate(divide="ignore"):
            return float(np.exp(self.draws * np.log1p(-count / self.n)))

    def log_apart(self, width: int) -> float:
        """Return log q(2w) - 2·log q(w)."""
        with np.errstate(divide="ignore"):
            return float(self.draws * np.log1p(-((min(width / (self.n - width), 1)) ** 2)))


class Permuted(Law):
    """Epochs of m of the n starts without replacement: q is a product of C(n-u, k) / C(n, k)."""

    def __init__(self, n: int, draws: int, epoch: int) -> None:
        super().__init__(n, draws)
        self.epoch = epoch
        self.epochs, self.rest = divmod(draws, epoch)
        taken = self.epochs * epoch * (n - epoch) + self.rest * (n - self.rest)
        self.spread = taken / max(1, n - 1)
        once = self.epochs + (self.rest > 0) == 1
        self.certain = once or (self.epochs > 0 and epoch == n)

    def logs(self, most: int) -> Floats:
        """Return log q(u) for u = 0, …, `most`."""
        rest = self._log_ratios(most, self.rest)
        return self.epochs * self._log_ratios(most, self.epoch) + rest if self.epochs else rest

    def at(self, count: int) -> float:
        """Return q(count)."""
        once = self._ratio(count, self.rest)
        return once * self._ratio(count, self.epoch) ** self.epochs if self.epochs else once

    def log_apart(self, width: int) -> float:
        """Return log q(2w) - 2·log q(w)."""
        rest = self._log_apart(width, self.rest)
        return self.epochs * self._log_apart(width, self.epoch) + rest if self.epochs else rest

    def _log_apart(self, width: int, taken: int) -> float:
        """Return Σ_i log of (1 - k/(a - w)) / (1 - k/a) for a = n - i, i < w: 1 - w·k/…."""
        left = self.n - np.arange(width, dtype=np.float64)
        if self.n - 2 * width + 1 <= taken:
            return -math.inf
        return float(np.log1p(-width * taken / ((left - width) * (left - taken))).sum())

    def _log_ratios(self, most: int, taken: int) -> Floats:
        """Return log C(n-u, k) / C(n, k) = Σ_{i<u} log(1 - k/(n - i)): a sum loses no digits."""
        left = np.maximum(self.n - np.arange(most, dtype=np.float64), 1)
        with np.errstate(divide="ignore"):
            terms = np.log1p(-np.minimum(taken / left, 1))
        return np.concatenate([[0.0], np.cumsum(terms)])

    def _ratio(self, count: int, taken: int) -> float:
        """Return C(n-u, k) / C(n, k); u and k may change places, so the sum can be short."""
        few, many = sorted((count, taken))
        if few + many > self.n or few * many > NEGLIGIBLE * self.n:
            return 0.0
        return float(np.exp(np.log1p(-many / (self.n - np.arange(few))).sum()))


class EvenlySpread(Law):
    """Points on a circle shifted by a uniform u: q(c) is the length left outside all arcs c/n.

    The gaps between K points have at most three lengths, so q(c) = Σ (gap - c/n)₊ is a short sum.
    """

    any_set = False
    spread = None

    def __init__(self, n: int, draws: int, gaps: list[tuple[int, int]]) -> None:
        super().__init__(n, draws)
        self.lengths = np.array([length for length, _ in gaps], dtype=np.float64) / 2**64
        self.numbers = np.array([number for _, number in gaps], dtype=np.float64)
        self.certain = draws == 1

    def logs(self, most: int) -> Floats:
        """Return log q(u) for u = 0, …, `most`."""
        free = np.maximum(0, self.lengths[:, None] - np.arange(most + 1) / self.n)
        with np.errstate(divide="ignore"):
            return np.asarray(np.log(self.numbers @ free))

    def at(self, count: int) -> float:
        """Return q(count)."""
        return float(self.numbers @ np.maximum(0, self.lengths - count / self.n))

    def log_apart(self, width: int) -> float:
        """Not known: disjoint arcs are not avoided alike."""
        raise ValueError(f"no joint law is known for two runs of {width} starts of even draws")


def golden_gaps(draws: int) -> list[tuple[int, int]]:
    """Return (length in 2⁻⁶⁴, number) of the gaps between K multiples of 1/φ on the circle.

    Three-gap theorem (Sós 1958): with the nearest return from the right after p steps and from the
    left after r, there are K - p, K - r and p + r - K gaps of these two distances and their sum.
    """
    if draws == 1:
        return [(2**64, 1)]
    right, p = GOLDEN_STEP, 1
    left, r = 2**64 - GOLDEN_STEP, 1
    while p + r < draws:
        if right > left:
            right, p = right - left, p + r
        else:
            left, r = left - right, p + r
    return [(right, draws - p), (left, draws - r), (right + left, p + r - draws)]


def van_der_corput_gaps(draws: int) -> list[tuple[int, int]]:
    """Return (length in 2⁻⁶⁴, number) of the gaps between the first K points: two sizes."""
    level = draws.bit_length() - 1
    extra = draws - 2**level
    return [(2**64 >> level, 2**level - extra), (2**63 >> level, 2 * extra)]
