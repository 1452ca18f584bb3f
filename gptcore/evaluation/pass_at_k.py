"""How often does one of k samples succeed, and how many samples does a target need?

A prompt succeeds with probability p in one sample, so in one of k samples with 1 - (1 - p)^k. Up to
the number of samples that were drawn, `pass_at_k` estimates the mean over prompts without bias.
Beyond it, everything depends on how p is distributed near 0 (Schaeffer et al. 2025,
arXiv:2502.17578), and a prompt without a success may need twice as many samples or may never
succeed. `pass_interval` therefore assumes no family of distributions: it gives the least and the
largest pass@k of all distributions of p that agree with the counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import comb, xlogy
from scipy.stats import binom, chi2

from gptcore.checks import as_array, check_number, check_whole

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

FARTHEST = 16
"""Times the samples drawn for each prompt up to which questions are answered."""
FEWEST_PROMPTS = 8
PROBABILITIES = np.concatenate(
    [[0], np.geomspace(1e-4, 0.5, 25), 1 - np.geomspace(0.45, 1e-3, 12), [1]]
)
"""The values of p that a distribution gives weights to."""
TILTS = np.concatenate([[0], np.geomspace(0.1, 1e5, 25)])
ITERATIONS = 400
DROP = float(chi2.ppf(0.95, 1)) / 2
"""How far below the largest log-likelihood a distribution still agrees with the counts."""


def pass_at_k(successes: Sequence[int] | Ints, samples: int, k: int) -> Floats:
    """Return an unbiased estimate of the probability that one of k samples succeeds: (P,).

    1 - C(n - c, k) / C(n, k) for c successes among n samples (Chen et al. 2021, arXiv:2107.03374).

    Args:
        successes: (P,), the number of successes c of each prompt, in [0, `samples`].
        samples: n, the number of samples drawn for each prompt.
        k: the number of samples asked about, in [1, `samples`].

    Raises:
        ValueError: an argument is outside its range.
    """
    counts = _check_counts(successes, samples)
    k = check_whole("k", k, at_most=samples)
    return np.asarray(1 - comb(samples - counts, k) / comb(samples, k))


@dataclass(frozen=True)
class SamplesNeeded:
    """How many samples a target share of prompts needs.

    Attributes:
        low: the least k with which the target is within the interval of pass@k; None where no k up
            to `FARTHEST` times the samples drawn has it.
        high: the least k whose whole interval is at or above the target; None likewise.
        reason: why a value is None; None where both are known.
    """

    low: int | None
    high: int | None
    reason: str | None


def pass_interval(successes: Sequence[int] | Ints, samples: int, k: int) -> tuple[float, float]:
    """Return the 95 % interval of pass@k over all prompts like these.

    Its ends are the least and the largest mean of 1 - (1 - p)^k over distributions of p whose
    log-likelihood is at most `DROP` below the largest (the nonparametric profile likelihood: Owen,
    Biometrika 75, 1988; Lindsay, Ann. Statist. 11, 1983, for mixtures).

    Args:
        successes: (P,), the number of successes of each prompt, in [0, `samples`].
        samples: n, the number of samples drawn for each prompt.
        k: the number of samples asked about, in [1, `FARTHEST` * n].

    Raises:
        ValueError: an argument is outside its range, or there are fewer than 8 prompts.
    """
    counts = _check_counts(successes, samples)
    if len(counts) < FEWEST_PROMPTS:
        raise ValueError(f"{len(counts)} prompts: give at least {FEWEST_PROMPTS}")
    k = check_whole("k", k, at_most=FARTHEST * samples)
    seen, prompts = np.unique(counts, return_counts=True)
    likelihoods = binom.pmf(seen[:, None], samples, PROBABILITIES)  # (counts, probabilities)
    fails = (1 - PROBABILITIES) ** k
    low = 1 - _largest_mean(fails, likelihoods, prompts)
    high = _largest_mean(1 - fails, likelihoods, prompts)
    return min(low, high), max(low, high)


def samples_for(target: float, successes: Sequence[int] | Ints, samples: int) -> SamplesNeeded:
    """Return the interval of the number of samples with which a share `target` of prompts succeeds.

    Args:
        target: the share, in (0, 1).
        successes: as for `pass_interval`.
        samples: as for `pass_interval`.

    Raises:
        ValueError: an argument is outside its range.
    """
    target = check_number("target", target, "(0, 1)")
    farthest = FARTHEST * check_whole("samples", samples)

    def least(end: int) -> int | None:
        """Return the least k at which that end of the interval reaches the target."""
        below, reached = 0, farthest
        if pass_interval(successes, samples, farthest)[end] < target:
            return None
        while reached - below > 1:
            middle = (below + reached) // 2
            if pass_interval(successes, samples, middle)[end] < target:
                below = middle
            else:
                reached = middle
        return reached

    low, high = least(1), least(0)
    reason = None
    if high is None:
        ends = pass_interval(successes, samples, farthest)
        reason = (
            f"with {farthest} samples, {FARTHEST} times those drawn, between {100 * ends[0]:.0f} "
            f"and {100 * ends[1]:.0f} % of prompts succeed, and the data do not say more: draw "
            "more samples of each prompt, or choose a lower target"
        )
    return SamplesNeeded(low, high, reason)


def _largest_mean(values: Floats, likelihoods: Floats, prompts: Ints) -> float:
    """Return the largest mean of `values` over the distributions that agree with the counts.

    The sum of the log-likelihood and a tilt times the mean is maximised by the EM algorithm for
    each of `TILTS` at once. The mean sought is where the log-likelihood has dropped by `DROP`.
    EM nears a distribution with all its weight on one probability too slowly, so these are tried
    one by one.

    Args:
        values: (J,), for each of PROBABILITIES, not negative.
        likelihoods: (C, J), of each count that occurs.
        prompts: (C,), how many prompts have that count.
    """
    weights = np.full((len(TILTS), len(values)), 1 / len(values))
    for _ in range(ITERATIONS):
        mixed = weights @ likelihoods.T  # (tilts, C)
        weights = weights * ((prompts / mixed) @ likelihoods + TILTS[:, None] * values)
        weights /= weights.sum(axis=1, keepdims=True)
    logs = np.log(weights @ likelihoods.T) @ prompts
    means = weights @ values
    drops = np.maximum.accumulate(logs.max() - logs)  # rises with the tilt
    largest = np.interp(DROP, drops, np.maximum.accumulate(means))
    alone = xlogy(prompts[:, None], likelihoods).sum(axis=0) >= logs.max() - DROP
    return float(min(values[alone].max(initial=largest), 1))  # rounding may exceed 1


def _check_counts(successes: Sequence[int] | Ints, samples: int) -> Ints:
    check_whole("samples", samples)
    counts = as_array("successes", successes)
    if counts.ndim != 1 or counts.dtype.kind not in "iu" or not len(counts):
        raise ValueError("successes are not a row of whole numbers: give a count for each prompt")
    if counts.min() < 0 or counts.max() > samples:
        raise ValueError(
            f"successes are {counts.min()} to {counts.max()}: give counts in [0, {samples}]"
        )
    return counts.astype(np.int64)
