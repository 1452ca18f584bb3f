"""Do independent draws reach the whole text, and all of its parts equally often?

Two tests, with an error of LEVEL_RANGE and of LEVEL. The **range**: the longest stretch of places
that no draw shows. Of K + 1 spacings of K uniform draws, one is longer than a share g of the text
with probability at most (K + 1)(1 - g)^K (Feller 1971, I.9). The **scan**: the text is cut into m
equal regions, for m = 2, 3, 4, 6, 8, …, and again a quarter of a region further. The draws of each
region are binomial, and Pearson's statistic of all of them is nearly chi-squared. Bonferroni's
factor is the number of all tests. Legend: K draws, P places that a window may have.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import bdtr, bdtrc, chdtrc

from gptcore.audit.counts import Windows
from gptcore.audit.labels import AT_ONCE
from gptcore.audit.log import Whole

LEVEL = 3e-5  # of the scan
LEVEL_RANGE = 1e-4
LEAST = 5  # expected draws in a region
LEAST_PEARSON = 10  # expected draws in a region, so that Pearson's statistic is chi-squared
MOST_DRAWS = 2**20  # are enough to see a region of a thousandth
SCALES = sorted({round(2 ** (i / 2)) for i in range(2, 21)})  # numbers of regions, up to 1024
STEPS = 4  # a region begins at each quarter of its width


@dataclass(frozen=True)
class Region:
    """A part of the text that is drawn more often, or less, than chance explains.

    Attributes:
        first: the first place.
        last: the last place.
        draws: the draws that show a window there.
        expected: as many would be expected.
    """

    first: int
    last: int
    draws: int
    expected: float


def find_unreached(windows: Windows, draws: float, n_starts: int) -> tuple[int, int] | None:
    """Return the first and the last start of the longest stretch that chance hardly leaves out.

    Args:
        windows: the distinct windows, on a grid of stride S or with any start.
        draws: independent draws; fewer than K where several are made together.
        n_starts: starts that a window may have.
    """
    stride = max(windows.stride, 1)
    if windows.stride == 0:
        return None
    first = int(windows.start[0])
    edges = windows.start[1:] - windows.start[:-1]
    at = int(edges.argmax())
    del edges  # before other arrays of this size are made
    last = int(windows.start[-1])
    stretches = [
        (0, first),
        (int(windows.start[at]) + 1, int(windows.start[at + 1])),
        (last + 1, n_starts),
    ]
    begin, end = max(stretches, key=lambda each: each[1] - each[0])
    share = (end - begin) // stride * stride / n_starts
    if share >= 1 or math.log(draws + 1) + draws * math.log1p(-share) >= math.log(LEVEL_RANGE):
        return None
    return begin, end - 1


def find_uneven(
    start: Whole, n_places: int, *, first: int = 0, stride: int = 1, cluster: float = 1.0
) -> Region | None:
    """Return the region whose draws are least likely, if chance does not explain them.

    Args:
        start: int64 of shape (K,), the start of each draw.
        n_places: P.
        first: the start of the first place.
        stride: starts from one place to the next.
        cluster: draws that are made together, on average; their numbers count as fewer.
    """
    start = start[:MOST_DRAWS]
    draws = int(len(start) / cluster)
    most = min(draws / LEAST, n_places / 2)
    scales = [m for m in SCALES if m <= most]
    worst, region = math.inf, None
    for m in scales:
        edges = -(-np.arange(STEPS * m + 1) * n_places // (STEPS * m))
        cells = np.cumsum(np.append(0, _count(start, n_places, STEPS * m, first, stride)))
        found, share = (cells[STEPS:] - cells[:-STEPS]), (edges[STEPS:] - edges[:-STEPS]) / n_places
        at_least, at_most = np.ceil(found / cluster), np.floor(found / cluster)
        above = bdtrc(at_least - 1, draws, share)
        below = bdtr(at_most, draws, share)
        chance = np.minimum(above, below) * 2 * len(found)
        at = int(chance.argmin())
        least = float(chance[at])
        if draws >= LEAST_PEARSON * m:
            seen, expected = found[::STEPS] / cluster, draws * share[::STEPS]
            least = min(least, float(chdtrc(m - 1, ((seen - expected) ** 2 / expected).sum())))
        if least < worst:
            worst, begin, end = least, int(edges[at]), int(edges[at + STEPS]) - 1
            region = Region(begin, end, int(found[at]), len(start) * float(share[at]))
    return region if worst * 2 * len(scales) < LEVEL else None


def _count(
    start: Whole, n_places: int, parts: int, first_start: int, stride: int
) -> npt.NDArray[np.int64]:
    """Return the draws in each of so many parts of the text, a few draws at a time."""
    counts = np.zeros(parts, dtype=np.int64)
    for first in range(0, len(start), AT_ONCE):
        place = (start[first : first + AT_ONCE] - first_start) // stride
        part = place.clip(0, n_places - 1) * parts // n_places
        counts += np.bincount(part, minlength=parts)
    return counts
