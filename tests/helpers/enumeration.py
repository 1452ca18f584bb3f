"""Expectations by enumerating every outcome, to set against the formulas."""

import itertools
import math
from collections import Counter

import numpy as np
import pytest

from gptcore.coverage.visits import measure_coverage
from gptcore.sampling.windows import Pieces
from gptcore.theory.expectations import Expectation

EXACT = 1e-9  # sums of some thousand doubles: far above rounding, far below any wrong formula


def average(outcomes, n_tokens, block_size, weights=None, never=0, **options):
    """Return the Expectation over outcomes, equally likely or weighted.

    An outcome is a list of starts, or of windows that are tuples of pieces (start, length).
    """
    if "segments" not in options:
        options["n_tokens"] = n_tokens
    chances = Counter()
    for outcome, weight in zip(
        outcomes, weights or itertools.repeat(1), strict=weights is not None
    ):
        chances[tuple(sorted(outcome))] += weight  # no metric depends on the order
    rows = [measure_coverage(as_draws(o), block_size=block_size, **options) for o in chances]
    weights = np.array(list(chances.values())) / math.fsum(chances.values())

    def mean(values):
        return math.fsum(weights * np.array(list(values), dtype=float))

    missed = mean(row.missed_targets for row in rows)
    return Expectation(
        missed_targets=missed,
        missed_edge=mean(row.missed_edge for row in rows),
        missed_interior=mean(row.missed_interior for row in rows),
        sd_missed_targets=math.sqrt(mean((row.missed_targets - missed) ** 2 for row in rows)),
        missed_inputs=mean(row.missed_inputs for row in rows),
        repeated_windows=mean(row.repeated_windows for row in rows),
        gaps=mean(row.gaps for row in rows),
        visits_mean=mean(row.visits_mean for row in rows),
        visits_sd=math.sqrt(mean(row.visits_sd**2 for row in rows)),
        visits_dispersion=mean(row.visits_dispersion for row in rows),
        alignment_coverage=mean(row.alignment_coverage for row in rows),
        never_targets=never,
    )


def as_draws(outcome):
    """Return an outcome as the starts or the pieces that coverage counts."""
    if isinstance(outcome[0], (int, np.integer)):
        return outcome
    rows = [(draw, *piece) for draw, pieces in enumerate(outcome) for piece in pieces]
    return Pieces(*np.array(rows, dtype=np.int64).T)


def assert_equal(theory, truth):
    # What has no exact theory is None, and what can never be shown has its own test.
    known = {name for name, value in vars(theory).items() if value is not None} - {"never_targets"}
    # The root of a variance that cancels to 0 keeps the root of its rounding, hence 1e-6.
    assert {name: getattr(theory, name) for name in known} == pytest.approx(
        {name: getattr(truth, name) for name in known}, rel=EXACT, abs=1e-6
    )
