"""Exact expectations of what a sampler shows, before anything runs.

    >>> from gptcore.theory import expect, steps_for_coverage
    >>> text = {"n_tokens": 142_515, "block_size": 256}
    >>> expected = expect("random_replacement", draws=8_016, **text)
    >>> round(expected.missed_targets, 1)  # targets that no draw shows
    34.6
    >>> steps_for_coverage("random_replacement", batch_size=16, **text)
    {0.5: 25, 0.9: 81, 0.99: 163, 0.999: 262}

`steps_for_coverage` answers the inverse question: how many batches it takes until a share of all
targets is expected to be shown. A value is None where no exact formula is known. Nothing here
loads torch.
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
