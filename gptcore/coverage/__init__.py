"""Coverage: what a series of draws showed the model, counted exactly.

    >>> from gptcore.coverage import measure_coverage
    >>> from gptcore.sampling import make_sampler
    >>> sampler = make_sampler("sequential", n_tokens=1_001, block_size=10)
    >>> starts = sampler.starts(0, 99)  # one epoch is 100 draws, so one window is missing
    >>> coverage = measure_coverage(starts, n_tokens=1_001, block_size=10)
    >>> coverage.missed_targets
    10

`measure_draws` counts the first draws of any sampler. `VisitCounter` counts draws that come in
pieces; its memory grows with the draws and not with the
text. `pair_coverage`, `context_coverage`, `star_discrepancy` and `batch_overlap` are further
metrics of the same draws. `gptcore.theory` has their expectations. Nothing here loads torch.
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
from gptcore.coverage.visits import Coverage, VisitCounter, measure_coverage, measure_draws

__all__ = [
    "Coverage",
    "VisitCounter",
    "batch_overlap",
    "context_coverage",
    "coverage_curve",
    "measure_coverage",
    "measure_draws",
    "pair_coverage",
    "star_discrepancy",
    "visits_by_position",
    "visits_histogram",
    "z_scores",
]
