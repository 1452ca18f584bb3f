"""How far may the intervals of a law be trusted? What its own sizes say about that.

The intervals of a law know the noise of its runs, and not that the law itself may be wrong at the
next size. `calibrate` asks the sizes at hand. Each of the largest ones is predicted from those
below it, and the largest ratio of an error to its interval widens the interval for larger sizes.
This is split conformal prediction with normalised errors (Papadopoulos et al. 2002; Lei et al.
2018): of five exchangeable ratios the last is the largest with probability 1/5, so four back-tests
make an 80 % interval. Sizes are not exchangeable in truth, since the later ones are larger.

Runs whose learning rate decays fall at their end faster than any power law (Hu et al. 2024). Any
power law is convex in logarithms, so that a run which follows it ends on or above the straight line
through its earlier losses. `late_fall` tests whether the runs end below that line.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from gptcore.scaling.law import ScalingLaw
from gptcore.scaling.solver import Floats
from gptcore.scaling.tables import Points

BACK_TESTS = 4  # the largest of so many ratios is the 80 % quantile of the next one
FEWEST_LEVELS = 2  # of sizes, below the one of a back-test
SAME_LEVEL = 1.2  # sizes within this factor are predicted together
POOR = 3.0  # a law whose interval is widened by more does not describe its own sizes
LATE_FALL = 0.0025  # a mean fall of ln L, at the ends of the runs, that counts
SETTLED = 0.3  # share of a run's tokens after which its losses are compared with its end
FEWEST_CHECKPOINTS = 3  # of a run, to see how it ends: two make the line
SIGNIFICANT = 0.1  # one-sided; convexity makes the test err to silence

Refit = Callable[[Points], ScalingLaw]


def calibrate(
    law: ScalingLaw, points: Points, refit: Refit, whole: Points | None = None
) -> ScalingLaw:
    """Return `law` with wider intervals where back-tests or the ends of the runs ask for them.

    The back-tests of runs on one line go along it, and late falls are not looked for, since the law
    of a line comes from the ends of the runs (`gptcore.scaling.lines`).

    Args:
        law: the law fitted to `points`.
        points: the losses fitted.
        refit: fits a law to some of the points, by the same method.
        whole: all losses of the same runs; None if only their last losses were fitted, which do
            not mix the losses of two learning rates.
    """
    along = points.tokens if law.line and law.line.along else points.params
    widening, warnings = back_test(points, along, refit), [*law.warnings]
    fall = late_fall(whole) if whole and not law.line else 0.0
    if widening > POOR:
        warnings.append(
            f"the law of the smaller sizes missed the next size by up to {widening:.3g} times its "
            "80 % interval, and the intervals for larger sizes are widened by that factor: fit the "
            "larger sizes alone (--min-params), or add runs"
        )
    if fall < 0:
        warnings.append(
            f"the runs end {-100 * fall:.1f} % below their own trend on average, as runs do whose "
            "learning rate decays, and the next run will do so too: intervals are extended "
            "downwards by that much; fit the last losses alone (--final-only), of runs with one "
            "schedule"
        )
    return replace(law, widening=widening, late_fall=fall, warnings=tuple(warnings))


def back_test(points: Points, along: Floats, refit: Refit) -> float:
    """Return the factor, at least 1, by which intervals beyond the largest size are widened.

    `along` is what the levels are made of: the sizes of the points, or their tokens on a line of
    one size.

    Each of up to four sizes is predicted from all smaller ones. The ratio of a size is the 80 %
    quantile, over its runs, of the error of the last loss divided by the half width of its 80 %
    interval. The factor is the largest ratio. Sizes within a factor of 1.2 count as one.
    """
    factor, starts = 1.0, [*_levels(np.unique(along)), math.inf]
    for low, high in list(itertools.pairwise(starts))[FEWEST_LEVELS:][-BACK_TESTS:]:
        law = refit(_subset(points, along < low))
        ends = last_points(points, (along >= low) & (along < high))
        ratios = [_ratio(law, points, int(end)) for end in ends]
        known = [ratio for ratio in ratios if ratio is not None]
        factor = max(factor, float(np.quantile(known, 0.8)) if known else 1.0)
    return factor


def _levels(sizes: Floats) -> list[float]:
    """Return the smallest size of each level."""
    starts = [float(sizes[0])]
    for size in map(float, sizes):
        if size > SAME_LEVEL * starts[-1]:
            starts.append(size)
    return starts


def _ratio(law: ScalingLaw, points: Points, place: int) -> float | None:
    """Return an error of `law` over the half width of its 80 % interval on that side, or None."""
    at = law.predict(float(points.params[place]), float(points.tokens[place]), confidence=0.8)
    if at.loss is None or at.low is None or at.high is None or at.low == at.high:
        return None
    error = math.log(points.loss[place] / at.loss)
    return error / math.log((at.high if error > 0 else at.low) / at.loss)


def late_fall(points: Points) -> float:
    """Return how far ln L ends below the trend of the runs, on average, if they fall late, or 0.

    The trend of a run is the straight line of ln L by ln D through the losses of its last 70 %, at
    least the last three, without the end. A fall counts if it is at least 0.25 % and a one-sided t
    test over runs says so at 10 %. Runs of fewer than three losses say nothing.
    """
    from scipy.stats import ttest_1samp

    falls = []
    for run in range(points.n_runs):
        rows = np.flatnonzero(points.run == run)
        order = np.argsort(points.tokens[rows])
        z, y = np.log(points.tokens[rows[order]]), np.log(points.loss[rows[order]])
        count = max(FEWEST_CHECKPOINTS, int((z >= z[-1] + math.log(SETTLED)).sum()))
        if len(z) >= FEWEST_CHECKPOINTS:
            z, y = z[-count:] - z[-1], y[-count:]
            falls.append(y[-1] - np.polyfit(z[:-1], y[:-1], 1)[1])
    if len(falls) < 2 or np.mean(falls) > -LATE_FALL:
        return 0.0
    p_value = ttest_1samp(falls, 0, alternative="less").pvalue
    return float(np.mean(falls)) if p_value <= SIGNIFICANT else 0.0


def last_points(points: Points, among: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """Return the places of the last point of each run, of those points that are `among`."""
    rows = np.flatnonzero(among)
    rows = rows[np.lexsort((points.tokens[rows], points.run[rows]))]
    is_last = np.append(np.diff(points.run[rows]) > 0, True)[: len(rows)]
    return np.asarray(rows[is_last])


def _subset(points: Points, kept: npt.NDArray[np.bool_]) -> Points:
    run = np.unique(points.run[kept], return_inverse=True)[1].astype(np.int64)
    return Points(points.params[kept], points.tokens[kept], points.loss[kept], run)
