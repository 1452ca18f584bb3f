"""Runs whose sizes and tokens lie on one line of the (ln N, ln D) plane, as at D = 20 N.

On such a line every division of the fall of the loss into a size term and a data term fits equally
well, so the parameters of the law are not identified. The loss along the line is. Its interval is
the posterior predictive one (Gelman et al., Bayesian Data Analysis, 3rd ed., chapters 3 and 10):
divisions and exponents are drawn from a prior, and each counts by how well it fits the runs.

The prior is wide. The share of E in the loss at the pivots, and the share of the size term in the
rest, are uniform between 0 and 1. Alpha and beta are known to a factor of 2 about 0.35, which
covers 0.076 and 0.095 (Kaplan et al. 2020, arXiv:2001.08361) as well as 0.28 to 0.37 (Hoffmann et
al. 2022, arXiv:2203.15556, and its replications). The noise of a run is known to a factor of 5
about 0.5 %: in 16 sets of five replicates (Muennighoff et al. 2023, arXiv:2305.16264) the standard
deviation of ln L is 0.03 to 2.4 %.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.special import log_ndtr, ndtr, ndtri

from gptcore.checks import check_number
from gptcore.scaling.solver import EXPONENTS, Data, Floats
from gptcore.scaling.tables import Ints

SAME_RATIO = 2.0  # runs off a line by this factor, from least to most, do not identify the law
SAME_RATIO_ONCE = 4.0  # the same, where no size has several lengths
FEW_RUNS, MANY_RUNS = 5, 12  # for one run off a line; of three runs, two always lie on one
REACH = 1.25  # the factor beyond the spread of the runs up to which a prediction is given
SHORTEST = math.log(1.05)  # runs closer together than this are one point
EXPONENT, EXPONENT_WITHIN = 0.35, 2.0
NOISE, NOISE_WITHIN = 0.005, 5.0
SHAPES = 2**12
# Steps of an even sequence in three dimensions: powers of the root of x^4 = x + 1 (Roberts 2018).
LATTICE = 1.2207440846057596 ** -np.arange(1.0, 4.0)
DRAWS = 400
NOISES = 32  # values of the noise on the grid
QUANTILES = ndtri((np.arange(64) + 0.5) / 64)


@dataclass(frozen=True)
class Line:
    """A line in the plane of x = ln(N / N0) and z = ln(D / D0), and the noise along it.

    Attributes:
        along: 0 if x leads, and z = middle + slope x; 1 if z leads, and x = middle + slope z.
        slope: of the coordinate that follows by the one that leads.
        middle: the value of the coordinate that follows where the other one is 0.
        spread: half of the distance between the outermost runs, across the line.
        noise: (R,) the standard deviation of ln L of one run, for each draw of the law.
    """

    along: int
    slope: float
    middle: float
    spread: float
    noise: Floats

    def off(self, x: float, z: float) -> float:
        """Return how far a run is from the middle of the line, as ln of a factor of N or D."""
        lead, follow = (x, z) if self.along == 0 else (z, x)
        return follow - self.middle - self.slope * lead

    @property
    def reach(self) -> float:
        """How far from the middle of the line, as ln of a factor, predictions are given."""
        return self.spread + math.log(REACH)

    def interval(self, log_loss: Floats, confidence: float, *, new_run: bool) -> Floats:
        """Return the ends of the interval of ln L from that of each draw, (R,)."""
        noise = self.noise[:, None] * QUANTILES if new_run else 0.0
        ends = (1 - confidence) / 2, (1 + confidence) / 2
        return np.asarray(np.quantile(log_loss[:, None] + noise, ends))

    def as_dict(self) -> dict[str, Any]:
        """Return the line as an object for JSON."""
        return vars(self) | {"noise": self.noise.tolist()}

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any]) -> Line:
        """Return the line that `as_dict` wrote."""
        along, slope, middle, spread = (
            check_number(name, saved[name], "[-1e300, 1e300]")
            for name in ("along", "slope", "middle", "spread")
        )
        noise = [check_number("noise", sd, "[0, 100]") for sd in saved["noise"]]
        return cls(int(along), slope, middle, spread, np.array(noise))


def find_line(data: Data) -> Line | None:
    """Return the line that all runs, or all but one, lie on, still without noise; or None.

    If size and tokens are told apart by one run alone, its noise decides. With more than 12 runs,
    one run alone is not looked for.

    Args:
        data: one point for each run.
    """
    line, count = _line_through(data), len(data.x)
    if line is None and FEW_RUNS <= count <= MANY_RUNS:
        runs = np.array([data.x, data.z, data.log_loss])
        rests = [_line_through(Data(*np.delete(runs, i, axis=1))) for i in range(count)]
        found = [rest for rest in rests if rest is not None]
        best = min(found, key=lambda rest: rest.spread, default=None)
        line = best and _reaching(best, data)
    return line or _line_through(data, once=True)


def _line_through(data: Data, *, once: bool = False) -> Line | None:
    """Return the line that all runs lie on.

    The coordinate with the wider range leads, and the other one is regressed on it; the slope is
    taken as 1 (constant tokens per parameter) or 0 if that fits nearly as well. Runs are on the
    line if their distances from it, as factors of N or D, differ by at most 2: that much more data
    lowers the loss by about 0.35 ln 2 = 24 % of its data term alone, and by an unknown part of that
    if the data term is unknown. With `once` the limit is 4 if no size has several lengths,
    since two such runs show the data term alone.
    """
    ranges = np.ptp(data.x), np.ptp(data.z)
    along = int(ranges[1] > ranges[0] * (1 + 1e-9))
    if ranges[along] < SHORTEST:
        return None
    lead, follow = (data.z, data.x) if along else (data.x, data.z)
    centred = lead - lead.mean()
    slopes = 1.0, 0.0, float(centred @ follow / (centred @ centred))
    spreads = [float(np.ptp(follow - slope * lead)) for slope in slopes]
    best = next(i for i in range(3) if spreads[i] <= 1.5 * spreads[2] + math.log(REACH))
    one_size = np.abs(np.subtract.outer(data.x, data.x)) <= SHORTEST
    lengths = np.abs(np.subtract.outer(data.z, data.z)) > math.log(REACH)
    crossed = bool((one_size & lengths).any())
    limit = math.log(SAME_RATIO_ONCE if once and not crossed else SAME_RATIO)
    if spreads[best] > limit + 1e-9:
        return None
    return _reaching(Line(along, slopes[best], 0.0, 0.0, np.empty(0)), data)


def _reaching(line: Line, data: Data) -> Line:
    """Return the line through the middle of the outermost runs across it, with their spread."""
    off = [line.off(x, z) for x, z in zip(data.x, data.z, strict=True)]
    low, high = min(off), max(off)
    return replace(line, middle=line.middle + (low + high) / 2, spread=(high - low) / 2)


def run_ends(data: Data, run: Ints) -> Data | None:
    """Return the last point of each run, or None if a run is too long to be one point.

    The losses within a factor of 1.25 of its tokens are as one, because they share its seed. Over
    more than that they show by themselves how the loss falls with the tokens.
    """
    groups = [np.flatnonzero(run == i) for i in range(int(run.max()) + 1)]
    if max(float(np.ptp(data.z[group])) for group in groups) > math.log(REACH) + 1e-9:
        return None
    ends = [group[np.argmax(data.z[group])] for group in groups]
    return Data(data.x[ends], data.z[ends], data.log_loss[ends])


def draw_laws(data: Data) -> tuple[Floats, Floats]:
    """Fit the law to runs on a line.

    Args:
        data: one point for each run, since its checkpoints share its seed.

    Returns:
        theta of the draws from the posterior, (R, 5), and the noise of each, (R,).
    """
    # A shape is the share of the size term in the fall of the loss, alpha and beta.
    uniform = (0.5 + np.outer(np.arange(SHAPES), LATTICE)) % 1
    spread = math.log(EXPONENT_WITHIN) * ndtri(uniform[:, 1:])
    shapes = np.column_stack([uniform[:, 0], EXPONENT * np.exp(spread)])
    given = _given_shapes(shapes, data)
    weight, noise = _weights(given, len(data.x))
    # Draw shape and noise by systematic sampling, then the height of both terms, then E.
    rng = np.random.default_rng(0)
    places = (np.arange(DRAWS) + rng.random()) / DRAWS
    flat = np.minimum(np.searchsorted(weight.cumsum(), places), weight.size - 1)
    shape, noise = flat // NOISES, noise[flat % NOISES]
    height = given.draw_height(shape, noise, rng.random(DRAWS))
    floor = (given.most[shape] - height) * given.slope[shape]
    floor += rng.standard_normal(DRAWS) * noise * given.floor_sd
    height /= given.scale[shape]
    share, exponents = shapes[shape, 0], np.clip(shapes[shape, 1:], *EXPONENTS)
    floor = np.maximum(floor, 0.0)
    return np.column_stack([floor, height * share, height * (1 - share), exponents]), noise


@dataclass(frozen=True)
class _Given:
    """What the runs say of E and of the height c of both terms, given each of K shapes.

    The law E + c h is linear in both, so that their posterior is normal. It is cut off where E or c
    is negative.

    Attributes:
        scale: (K,) h is divided by it, so that its largest value is 1.
        height: (K,) the mean of c, in units of the scale.
        width: (K,) its standard deviation, for noise 1.
        most: (K,) the c at which E is 0.
        squares: (K,) the sum of squared residuals of ln L.
        slope: (K,) by how much E falls for each unit of c.
        floor_sd: the standard deviation of E given c, for noise 1.
    """

    scale: Floats
    height: Floats
    width: Floats
    most: Floats
    squares: Floats
    slope: Floats
    floor_sd: float

    def draw_height(self, shape: Ints, noise: Floats, uniform: Floats) -> Floats:
        """Draw c from the normal distribution between 0 and its largest value."""
        width = self.width[shape] * noise
        low, high = -self.height[shape] / width, (self.most - self.height)[shape] / width
        # The tail beyond 0 is computed on the side where it is small, where floats are exact.
        sign = np.where(low > 0, -1.0, 1.0)
        low, high = ndtr(sign * low), ndtr(sign * high)
        drawn = sign * ndtri(low + uniform * (high - low))
        height = self.height[shape] + width * drawn
        return np.asarray(np.clip(np.nan_to_num(height), 0, self.most[shape]))


def _given_shapes(shapes: Floats, data: Data) -> _Given:
    """Solve the linear least squares of each shape; residuals are relative to the loss."""
    x, z, inverse = data.x, data.z, np.exp(-data.log_loss)
    share, alpha, beta = (shapes[:, i, None] for i in range(3))
    h = share * np.exp(-alpha * x) + (1 - share) * np.exp(-beta * z)
    scale = h.max(axis=1)
    h = h / scale[:, None] * inverse
    ones, cross = inverse @ inverse, h @ inverse
    total = inverse.sum()
    own = np.maximum((h * h).sum(1) - cross**2 / ones, 1e-12 * ones)
    height = (h.sum(1) - cross * total / ones) / own
    squares = len(x) - total**2 / ones - height**2 * own
    return _Given(
        scale,
        height,
        1 / np.sqrt(own),
        total / cross,
        np.maximum(squares, 0.0),
        cross / ones,
        float(1 / math.sqrt(ones)),
    )


def _weights(given: _Given, n: int) -> tuple[Floats, Floats]:
    """Return the posterior weight of each shape and noise, (K, S), and the values of the noise."""
    steps = np.linspace(-3, 3, NOISES)
    noise = NOISE * NOISE_WITHIN**steps
    width = given.width[:, None] * noise
    low, high = -given.height[:, None] / width, (given.most - given.height)[:, None] / width
    # ln of the mass between 0 and the largest height, on the side where the tail is small.
    low, high = np.where(low > 0, -high, low), np.where(low > 0, -low, high)
    upper = log_ndtr(high)
    mass = upper + np.log1p(-np.exp(np.minimum(log_ndtr(low) - upper, -1e-12)))
    log_weight = (
        (2 - n) * np.log(noise)
        - given.squares[:, None] / (2 * noise**2)
        + np.log(given.width / given.scale)[:, None]
        + mass
        - steps**2 / 2
    )
    weight = np.exp(log_weight - log_weight.max())
    return np.asarray(weight / weight.sum()), noise
