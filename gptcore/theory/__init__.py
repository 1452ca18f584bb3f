"""Exact expectations of what a sampler shows, before anything runs.

    >>> from gptcore.theory.expectations import expect, steps_for_coverage
    >>> expected = expect("random_replacement", n_tokens=142_515, block_size=256, draws=8_016)
    >>> round(expected.missed_targets, 1)
    34.6

`steps_for_coverage` answers the inverse question: how many batches until a share of the text has
been shown. What has no exact value is None. Nothing here loads torch.
"""

from gptcore.theory.expectations import (
    Expectation,
    draws_for_full_cover,
    expect,
    expect_of,
    expected_batch_overlap,
    expected_context_coverage,
    expected_pair_coverage,
    lower_bound_of_expected_full_cover,
    steps_for_coverage,
)

__all__ = [
    "Expectation",
    "draws_for_full_cover",
    "expect",
    "expect_of",
    "expected_batch_overlap",
    "expected_context_coverage",
    "expected_pair_coverage",
    "lower_bound_of_expected_full_cover",
    "steps_for_coverage",
]
