"""Coverage: what a series of draws showed the model, counted exactly.

    >>> from gptcore.coverage.visits import measure_coverage
    >>> from gptcore.sampling import make_sampler
    >>> sampler = make_sampler("sequential", n_tokens=1_001, block_size=10)
    >>> shown = measure_coverage(sampler.starts(0, 99), n_tokens=1_001, block_size=10)
    >>> shown.missed_targets
    10

`VisitCounter` counts draws as they come, in memory that grows with the draws and not with the
text. Nothing here loads torch.
"""

from gptcore.coverage.exposure import (
    batch_overlap,
    context_coverage,
    pair_coverage,
    star_discrepancy,
)
from gptcore.coverage.summaries import (
    coverage_curve,
    visits_by_position,
    visits_histogram,
    z_scores,
)
from gptcore.coverage.visits import Coverage, VisitCounter, measure_coverage

__all__ = [
    "Coverage",
    "VisitCounter",
    "batch_overlap",
    "context_coverage",
    "coverage_curve",
    "measure_coverage",
    "pair_coverage",
    "star_discrepancy",
    "visits_by_position",
    "visits_histogram",
    "z_scores",
]
