"""Exact expectations of what a sampler shows, before anything runs.

Legend: N tokens, windows of T inputs, M = N - T starts, K draws, targets j = 1, …, N - 1.
c_j = min(j, T, N - j, M) starts show target j: c = 1, …, h - 1 once at each end, and h = min(T, M)
for the N - 2h + 1 targets between. A target is an **edge** target if it is closer than T to an end
of the text, min(j, N - j) < T; the others are interior. q(u) = (1 - u/M)^K is the probability that
K independent uniform starts all avoid u given ones.
"""

import bisect
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from gptcore.samplers import count_blocks, count_epoch_blocks, count_starts
from gptcore.splits import check_fraction
from gptcore.tokens import check_whole

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Expectation:
    """Expected values of the metrics of `coverage.Coverage`; None where no exact theory is known.

    Attributes:
        missed_targets: targets in no window.
        missed_edge: those closer than T to an end of the text.
        missed_interior: the others.
        sd_missed_targets: standard deviation of missed_targets.
        repeated_windows: draws minus distinct starts.
        gaps: maximal runs of missed targets with shown targets on both sides.
        visits_mean: windows per target; the same in every run.
        visits_sd: root of the expected population variance, over targets, of the visits in one run.
        alignment_coverage: distinct starts / M.
    """

    missed_targets: float | None
    missed_edge: float | None
    missed_interior: float | None
    sd_missed_targets: float | None
    repeated_windows: float | None
    gaps: float | None
    visits_mean: float | None
    visits_sd: float | None
    alignment_coverage: float | None


@dataclass(frozen=True)
class Setting:
    """What a formula needs besides the number of draws; checked by `_setting`."""

    n_tokens: int
    block_size: int
    batch_size: int
    drop_last: bool

    @property
    def n_starts(self) -> int:
        """M."""
        return self.n_tokens - self.block_size

    @property
    def n_targets(self) -> int:
        """N - 1."""
        return self.n_tokens - 1

    @property
    def n_interior(self) -> int:
        """Targets at least T from both ends."""
        return max(0, self.n_tokens - 2 * self.block_size + 1)

    @property
    def n_blocks(self) -> int:
        """n_b, blocks in the grid."""
        return count_blocks(self.n_tokens, self.block_size)

    @property
    def epoch_blocks(self) -> int:
        """m, blocks drawn in one epoch of the grid."""
        return count_epoch_blocks(
            self.n_tokens, self.block_size, batch_size=self.batch_size, drop_last=self.drop_last
        )


class Missed(NamedTuple):
    """Expected number of missed targets."""

    edge: float
    interior: float


class Theory(NamedTuple):
    """The formulas of one sampler: both take a Setting and K."""

    missed: Callable[[Setting, int], Missed]
    expect: Callable[[Setting, int], Expectation]


def expect(
    name: str,
    *,
    n_tokens: int,
    block_size: int,
    draws: int,
    batch_size: int = 1,
    drop_last: bool = False,
) -> Expectation:
    """Return the exact expectations for `draws` draws of the sampler called `name`.

    Args:
        name: a key of `THEORIES`.
        n_tokens: N.
        block_size: T.
        draws: K.
        batch_size: B; it matters only with `drop_last`.
        drop_last: an epoch of the grid is cut to whole batches.

    Raises:
        ValueError: no theory for that sampler, or an argument out of range.
    """
    theory = _theory(name)
    setting = _setting(n_tokens, block_size, batch_size, drop_last)
    return theory.expect(setting, check_whole("draws", draws))


def steps_for_coverage(
    name: str,
    *,
    n_tokens: int,
    block_size: int,
    batch_size: int,
    drop_last: bool = False,
    fractions: Iterable[float] = (0.5, 0.9, 0.99, 0.999),
) -> dict[float, int | None]:
    """Return, for each fraction, the fewest steps expected to show that share of the targets.

    None stands for never. The arguments are those of `expect`; a step is `batch_size` draws.

    Raises:
        ValueError: as `expect`, or a fraction outside (0, 1).
    """
    theory = _theory(name)
    setting = _setting(n_tokens, block_size, batch_size, drop_last)
    # By 800·M draws whatever can be shown is missed with less than the rounding of a double.
    last_step = -(-800 * setting.n_starts // setting.batch_size)

    def covered(step: int) -> float:
        missed = sum(theory.missed(setting, step * setting.batch_size))
        return (setting.n_targets - missed) / setting.n_targets

    steps: dict[float, int | None] = {}
    for fraction in fractions:
        check_fraction("coverage fraction", fraction)
        step = 1 + bisect.bisect_left(range(1, last_step + 1), fraction, key=covered)
        steps[fraction] = step if step <= last_step else None
    return steps


# --- independent uniform starts --------------------------------------------------------------


def _missed_random(setting: Setting, draws: int) -> Missed:
    """Sum q(c_j); with M < T the middle targets, which all starts show, are edge targets too."""
    n_starts = setting.n_starts
    width = min(setting.block_size, n_starts)
    sides = 2 * float(_avoid(np.arange(1, width), n_starts, draws).sum())
    middle = (setting.n_tokens - 2 * width + 1) * float(_avoid(width, n_starts, draws))
    return Missed(sides, middle) if setting.n_interior else Missed(sides + middle, 0.0)


def _expect_random(setting: Setting, draws: int) -> Expectation:
    n_starts, n_targets = setting.n_starts, setting.n_targets
    missed = _missed_random(setting, draws)
    log_unseen = draws * _log_avoid(1, n_starts)
    return Expectation(
        missed_targets=sum(missed),
        missed_edge=missed.edge,
        missed_interior=missed.interior,
        sd_missed_targets=math.sqrt(_missed_variance(setting, draws)),
        repeated_windows=draws + n_starts * float(np.expm1(log_unseen)),
        gaps=_gaps_random(setting, draws),
        visits_mean=draws * setting.block_size / n_targets,
        visits_sd=math.sqrt(_visits_variance_random(setting, draws)),
        alignment_coverage=-float(np.expm1(log_unseen)),
    )


def _gaps_random(setting: Setting, draws: int) -> float:
    """Return the expected islands (Lander and Waterman 1988, here with ends) minus one.

    Start s ends an island if it is drawn and the next w = min(T, M - 1 - s) starts are not:
    q(w) - q(w + 1). The last T terms telescope to 1 - q(T).
    """
    n_starts, width = setting.n_starts, setting.block_size
    if n_starts <= width:
        return 0.0
    nothing_near = float(_avoid(width, n_starts, draws))
    drawn = -float(np.expm1(draws * _log_avoid(1, n_starts - width)))
    gaps = nothing_near * ((n_starts - width) * drawn - 1)
    return max(0.0, gaps)  # one draw leaves no gap: 0 up to rounding


def _visits_variance_random(setting: Setting, draws: int) -> float:
    """Return the mean over j of E[v_j²], minus the squared mean: v_j is Binomial(K, c_j/M)."""
    n_starts, n_targets = setting.n_starts, setting.n_targets
    width = min(setting.block_size, n_starts)
    shares = np.arange(1, width + 1) / n_starts
    weights = np.full(width, 2.0)
    weights[-1] = setting.n_tokens - 2 * width + 1
    within = draws * shares * (1 - shares)
    between = (draws * (shares - setting.block_size / n_targets)) ** 2
    return float(weights @ (within + between)) / n_targets


def _missed_variance(setting: Setting, draws: int) -> float:
    """Return the variance of the number of missed targets.

    It is Σ_u pairs[u]·q(u) - (Σ_j q(c_j))², pairs[u] being the ordered pairs of targets that u
    starts show in all. For long texts both sums are near (N·q(T))², which is therefore taken out
    of each before subtracting: what is left of far pairs is their tiny covariance, in full.
    """
    if draws == 1:
        return 0.0  # whatever the window, T targets are shown
    n_tokens, width, n_starts = setting.n_tokens, setting.block_size, setting.n_starts
    if n_tokens < 3 * width:
        pairs = _count_pairs(setting)
        joint = _avoid(np.arange(len(pairs)), n_starts, draws)
        return max(0.0, float(pairs @ joint) - sum(_missed_random(setting, draws)) ** 2)
    pairs = _count_pairs_long(setting)
    union = np.arange(2 * width + 1, dtype=np.float64)
    log_joint = draws * _log_avoid(union, n_starts)
    log_apart = 2 * draws * _log_avoid(width, n_starts)
    ratio = ((2 * width - union) * n_starts - width**2) / (n_starts - width) ** 2
    with np.errstate(divide="ignore"):
        log_ratio = draws * np.log1p(ratio)
    excess = -np.expm1(-np.abs(log_ratio)) * np.exp(np.maximum(log_joint, log_apart))
    edge = np.arange(1, width)
    nearer = -np.expm1(-draws * np.log1p((width - edge) / (n_starts - width)))
    shift = 2 * float(_avoid(edge, n_starts, draws) @ nearer)
    interior = float(_avoid(width, n_starts, draws))
    outer = shift * (shift + 2 * (n_tokens - 1) * interior)
    return max(0.0, float(pairs @ (np.sign(log_ratio) * excess)) - outer)


def _count_pairs(setting: Setting) -> Floats:
    """Return how many ordered pairs (j, k) of targets have |S_j ∪ S_k| = u, for u = 0, …, M."""
    n_starts = setting.n_starts
    targets = np.arange(1, setting.n_tokens)
    first = np.maximum(0, targets - setting.block_size)
    last = np.minimum(targets, n_starts) - 1
    size = last - first + 1
    pairs = np.zeros(n_starts + 1, dtype=np.int64)
    for i in range(len(targets)):
        overlap = np.maximum(0, last[i] - first[i:] + 1)
        pairs += 2 * np.bincount(size[i] + size[i:] - overlap, minlength=n_starts + 1)
    return (pairs - np.bincount(size, minlength=n_starts + 1)).astype(np.float64)


def _count_pairs_long(setting: Setting) -> Floats:
    """Return what `_count_pairs` does, for u = 0, …, 2T, in O(T): N >= 3T keeps the ends apart."""
    width, interior = setting.block_size, setting.n_interior
    pairs = np.zeros(2 * width + 1)
    edge = np.arange(1, width)
    pairs[1:width] += 2 * (2 * edge - 1)  # both at one end: the larger of the two
    pairs[2 : 2 * width - 1] += 2 * (width - 1 - np.abs(np.arange(2, 2 * width - 1) - width))
    pairs[width] += interior + 4 * (width - 1)
    pairs[width + edge] += 4 * (interior + width - 1 - 2 * edge)  # an end with the interior
    pairs[width + edge] += 2 * (interior - edge)  # near each other in the interior
    pairs[2 * width] += (interior - width) * (interior - width + 1)  # far apart in it
    return pairs


def _avoid(count: int | npt.NDArray[np.int64], n_starts: int, draws: int) -> Floats:
    """Return q(count)."""
    return np.exp(draws * _log_avoid(count, n_starts))


def _log_avoid(count: int | npt.NDArray[np.int64] | Floats, n_starts: int) -> Floats:
    """Return log(1 - count/M), which is -inf where every start counts."""
    with np.errstate(divide="ignore"):
        return np.asarray(np.log1p(-np.asarray(count) / n_starts), dtype=np.float64)


# --- the fixed grid --------------------------------------------------------------------------


def _missed_sequential(setting: Setting, draws: int) -> Missed:
    shown = min(draws, setting.epoch_blocks) * setting.block_size
    missed = setting.n_targets - shown
    edge = setting.n_targets - max(shown, setting.n_tokens - setting.block_size)
    return Missed(float(edge), float(missed - edge))


def _expect_sequential(setting: Setting, draws: int) -> Expectation:
    """Everything is certain: the first min(K, m) blocks are shown, and nothing behind them."""
    missed = _missed_sequential(setting, draws)
    blocks = setting.epoch_blocks
    distinct = min(draws, blocks)
    extra = draws % blocks / blocks
    return Expectation(
        missed_targets=sum(missed),
        missed_edge=missed.edge,
        missed_interior=missed.interior,
        sd_missed_targets=0.0,
        repeated_windows=float(draws - distinct),
        gaps=0.0,
        visits_mean=draws * setting.block_size / setting.n_targets,
        visits_sd=_grid_visits_sd(setting, blocks, draws / blocks, extra * (1 - extra)),
        alignment_coverage=distinct / setting.n_starts,
    )


def _missed_shuffled(setting: Setting, draws: int) -> Missed:
    """All targets of the grid are missed with one probability; the tail behind it, always."""
    tail = setting.n_targets - setting.n_blocks * setting.block_size
    unseen = _block_unseen(setting, draws)
    edge = setting.n_targets - setting.n_interior
    return Missed(tail + (edge - tail) * unseen, setting.n_interior * unseen)


def _expect_shuffled(setting: Setting, draws: int) -> Expectation:
    """K // m epochs show m random blocks each, and the one begun K mod m, independently."""
    missed = _missed_shuffled(setting, draws)
    blocks, drawn = setting.n_blocks, setting.epoch_blocks
    epochs, rest = divmod(draws, drawn)
    unseen = _block_unseen(setting, draws)
    excess = _pair_excess(setting, draws)
    # One set of draws without replacement has a fixed number of unseen blocks.
    fixed = epochs == 0 or unseen == 0 or (epochs == 1 and rest == 0)
    variance = blocks * unseen * (1 - unseen + (blocks - 1) * unseen * excess)
    change = unseen * (1 - unseen - unseen * excess)  # a block seen, its neighbour not
    full, part = drawn / blocks, rest / blocks
    return Expectation(
        missed_targets=sum(missed),
        missed_edge=missed.edge,
        missed_interior=missed.interior,
        sd_missed_targets=0.0 if fixed else setting.block_size * math.sqrt(max(0.0, variance)),
        repeated_windows=draws - blocks * (1 - unseen),
        gaps=max(0.0, (blocks - 1) * change - unseen),  # one block leaves no gap, up to rounding
        visits_mean=draws * setting.block_size / setting.n_targets,
        visits_sd=_grid_visits_sd(
            setting, blocks, draws / blocks, epochs * full * (1 - full) + part * (1 - part)
        ),
        alignment_coverage=blocks * (1 - unseen) / setting.n_starts,
    )


def _block_unseen(setting: Setting, draws: int) -> float:
    """Return the probability that a given block of the shuffled grid is never drawn."""
    blocks, drawn = setting.n_blocks, setting.epoch_blocks
    epochs, rest = divmod(draws, drawn)
    return float(((blocks - drawn) / blocks) ** epochs * ((blocks - rest) / blocks))


def _pair_excess(setting: Setting, draws: int) -> float:
    """Return P(two blocks unseen) / P(one unseen)² - 1, or 0 where none is ever unseen."""
    blocks, drawn = setting.n_blocks, setting.epoch_blocks
    epochs, rest = divmod(draws, drawn)
    if blocks == 1 or (epochs and drawn == blocks):
        return 0.0

    def log_ratio(taken: int) -> float:
        return float(np.log1p(-taken / ((blocks - taken) * (blocks - 1))))

    with np.errstate(divide="ignore"):
        return math.expm1((epochs * log_ratio(drawn) if epochs else 0.0) + log_ratio(rest))


def _grid_visits_sd(setting: Setting, blocks: int, mean: float, variance: float) -> float:
    """Return visits_sd where `blocks` blocks have visits of that mean and variance, the rest 0."""
    share = blocks * setting.block_size / setting.n_targets
    return math.sqrt(share * variance + share * (1 - share) * mean**2)


# A theory is two functions, and one line here.
THEORIES: dict[str, Theory] = {
    "random_replacement": Theory(_missed_random, _expect_random),
    "sequential": Theory(_missed_sequential, _expect_sequential),
    "shuffled_blocks": Theory(_missed_shuffled, _expect_shuffled),
}


def _theory(name: str) -> Theory:
    if name not in THEORIES:
        raise ValueError(f"no theory for sampler {name!r}: choose one of {', '.join(THEORIES)}")
    return THEORIES[name]


def _setting(n_tokens: int, block_size: int, batch_size: int, drop_last: bool) -> Setting:
    n_tokens = count_starts(n_tokens, block_size) + int(block_size)
    batch_size = check_whole("batch_size", batch_size)
    return Setting(n_tokens, int(block_size), batch_size, drop_last)
