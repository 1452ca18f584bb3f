"""The miss probability q(u): the chance that K draws avoid u given neighbours among n starts.

A target is missed when the draws avoid all c starts that show it, with miss probability q(c).
Missed targets, gaps, pairs and contexts are therefore sums of miss probabilities. The laws give q
for every sampler that treats all starts alike.
"""

import math
from abc import ABC, abstractmethod

import numpy as np
import numpy.typing as npt

from gptcore.sampling.keyed import STEP

Floats = npt.NDArray[np.float64]

NEGLIGIBLE = 800.0  # e^-800 is 0 as a double


class Law(ABC):
    """The distribution of K draws from n starts.

    Attributes:
        n: starts to choose from.
        draws: K.
        any_set: whether q holds for any u starts, and not only for u neighbours.
        spread: var(visits) / (p·(1 - p)) of a target that the share p of the starts shows, or None
            where it is not known.
        certain: whether the number of distinct starts is the same for all seeds.
    """

    any_set = True
    spread: float | None
    certain: bool

    def __init__(self, n: int, draws: int) -> None:
        self.n, self.draws = n, draws

    @abstractmethod
    def logs(self, most: int) -> Floats:
        """Return log q(u) for u = 0, …, `most`; -inf where some draw must hit."""

    @abstractmethod
    def at(self, count: int) -> float:
        """Return q(count), for any count up to n."""

    @abstractmethod
    def log_apart(self, width: int) -> float:
        """Return log q(2w) - 2·log q(w), a tiny number, in full precision.

        It says how much two targets that are far apart covary.
        """


class Independent(Law):
    """Independent uniform draws: q(u) = (1 - u/n)^K."""

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
    """Epochs of m of the n starts, drawn without replacement.

    An epoch of k draws avoids u starts with probability C(n-u, k) / C(n, k). Epochs are
    independent, so q is the product of these over the epochs, the last of which may be incomplete.
    """

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
        once = ratio(self.n, count, self.rest)
        return once * ratio(self.n, count, self.epoch) ** self.epochs if self.epochs else once

    def log_apart(self, width: int) -> float:
        """Return log q(2w) - 2·log q(w)."""
        rest = self._log_apart(width, self.rest)
        return self.epochs * self._log_apart(width, self.epoch) + rest if self.epochs else rest

    def _log_apart(self, width: int, taken: int) -> float:
        """Return log C(n-2w, k)·C(n, k) / C(n-w, k)² for an epoch of k draws.

        It is Σ_{i<w} log((1 - k/(a - w)) / (1 - k/a)) with a = n - i, and each factor is
        1 - w·k / ((a - w)(a - k)), which loses no digits.
        """
        left = self.n - np.arange(width, dtype=np.float64)
        if self.n - 2 * width + 1 <= taken:
            return -math.inf
        return float(np.log1p(-width * taken / ((left - width) * (left - taken))).sum())

    def _log_ratios(self, most: int, taken: int) -> Floats:
        """Return log C(n-u, k) / C(n, k) for u = 0, …, `most`.

        It is Σ_{i<u} log(1 - k/(n - i)), a sum that loses no digits.
        """
        left = np.maximum(self.n - np.arange(most, dtype=np.float64), 1)
        with np.errstate(divide="ignore"):
            terms = np.log1p(-np.minimum(taken / left, 1))
        return np.concatenate([[0.0], np.cumsum(terms)])


class SameOrder(Permuted):
    """Epochs of m of the n starts in one order, the same in every epoch.

    So the first epoch shows all that is ever shown. A start has ⌊K/m⌋ visits if it is among the
    first m of the order, and one more if it is among the first K mod m.
    """

    def __init__(self, n: int, draws: int, epoch: int) -> None:
        super().__init__(n, min(draws, epoch), epoch)
        self.draws, self.certain = draws, True
        epochs, rest = divmod(draws, epoch)
        shown, again = epoch / n, rest / n
        square = epochs**2 * shown + (2 * epochs + 1) * again
        # The visits of u starts have the variance of one start's, times u(n - u) / (n - 1).
        self.spread = max(0.0, square - (draws / n) ** 2) * n**2 / max(1, n - 1)


class Pooled(Law):
    """The starts of several epochs in one pool, drawn without replacement.

    Each of the n starts is in the pool E times, so u starts are u·E of its n·E members. When m
    members are drawn, the next pool begins.
    """

    def __init__(self, n: int, draws: int, order: int, epochs: int) -> None:
        super().__init__(n, draws)
        self.pool, self.epochs = Permuted(n * epochs, draws, order), epochs
        self.spread = self.pool.spread
        self.certain = draws == 1 or self.at(1) == 0

    def logs(self, most: int) -> Floats:
        """Return log q(u) for u = 0, …, `most`."""
        return self.pool.logs(most * self.epochs)[:: self.epochs]

    def at(self, count: int) -> float:
        """Return q(count)."""
        return self.pool.at(count * self.epochs)

    def log_apart(self, width: int) -> float:
        """Return log q(2w) - 2·log q(w)."""
        return self.pool.log_apart(width * self.epochs)


def ratio(n: int, count: int, taken: int) -> float:
    """Return C(n-u, k) / C(n, k): the chance that k of n things, taken at once, avoid u of them."""
    few, many = sorted((count, taken))  # it is symmetric in u and k: sum over the smaller
    if not few:
        return 1.0
    if few + many > n or few * many > NEGLIGIBLE * n:
        return 0.0
    return float(np.exp(np.log1p(-many / (n - np.arange(few))).sum()))


class EvenlySpread(Law):
    """K fixed points on a circle of length 1, all shifted by one uniform number.

    The points avoid c neighbouring starts if an arc of length c/n lies in a gap between two points,
    so q(c) = Σ (gap - c/n)₊. The gaps have at most three lengths, which makes it a short sum.
    """

    any_set = False
    spread = None

    def __init__(self, n: int, draws: int, gaps: list[tuple[int, int]]) -> None:
        super().__init__(n, draws)
        self.lengths = np.array([length for length, _ in gaps], dtype=np.float64) / 2.0**64
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
        """Raise ValueError: q does not depend on the number of starts alone if they are apart."""
        raise ValueError(f"no joint law is known for two runs of {width} starts of even draws")


def golden_gaps(draws: int) -> list[tuple[int, int]]:
    """Return (length in 2⁻⁶⁴, number) of the gaps between K multiples of 1/φ on the circle.

    Three-gap theorem (Sós 1958): among the first K multiples let the p-th be the closest to 0 on
    its right, and the r-th the closest on its left. Then K - p gaps have the first distance, K - r
    the second, and p + r - K their sum.
    """
    if draws == 1:
        return [(2**64, 1)]
    # The next closest multiple is always the (p + r)-th, at the difference of the two distances.
    right, p = int(STEP), 1
    left, r = 2**64 - int(STEP), 1
    while p + r < draws:
        if right > left:
            right, p = right - left, p + r
        else:
            left, r = left - right, p + r
    return [(right, draws - p), (left, draws - r), (right + left, p + r - draws)]


def van_der_corput_gaps(draws: int) -> list[tuple[int, int]]:
    """Return (length in 2⁻⁶⁴, number) of the gaps between the first K points of the sequence.

    The first 2^l points are evenly spaced, and each further point halves one gap.
    """
    level = draws.bit_length() - 1
    extra = draws - 2**level
    return [(2**64 >> level, 2**level - extra), (2**63 >> level, 2 * extra)]
