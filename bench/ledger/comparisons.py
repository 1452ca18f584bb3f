"""The metrics of paired comparisons of samplers, and of the design that is stated before them.

Name → meaning, by the unit and the values that are allowed.
"""

COUNTS = {
    "n_seeds": "paired seeds that are compared",
    "n_diverged": "runs of the two samplers that diverged; their pairs are left out",
    "n_claims": "claims that p-values are adjusted for: two for each planned pair of samplers",
}

SHARES = {
    "smallest_p": "smallest adjusted p-value that so many seeds can reach",
    "share_a_better": "of the pairs, those in which a has the lower loss; ties count half",
    "p_value": "two-sided sign-flip test",
    "p_adjusted": "the same, adjusted for all claims of the experiment (Holm)",
    "p_equivalence": "two one-sided sign-flip tests against the margin",
    "p_equivalence_adjusted": "the same, adjusted for all claims of the experiment (Holm)",
}

SIZES = {
    "planned_sd": "standard deviation of the paired differences, assumed before the runs",
    "planned_detectable": "difference found in 80 % of the cases at that sd; null if none",
    "sd_difference": "standard deviation of the paired differences",
    "detectable": "difference that this design finds in 80 % of the cases; null if none",
    "margin": "difference below which two samplers count as equal",
}
"""Of at least 0, in nats/token."""

DIFFERENCES = {
    "difference": "mean of loss(a) - loss(b) over paired seeds",
    "difference_low": "lower end of its 95 % t interval",
    "difference_high": "upper end of its 95 % t interval",
    "sign_flip_low": "lower end of its 95 % interval that belongs to the sign-flip test",
    "sign_flip_high": "upper end of its 95 % interval that belongs to the sign-flip test",
    "median_difference": "median of loss(a) - loss(b) over paired seeds",
    "median_low": "lower end of its 95 % interval from order statistics",
    "median_high": "upper end of its 95 % interval from order statistics",
    "equal_low": "lower end of the 90 % interval that belongs to the test of equality",
    "equal_high": "upper end of the 90 % interval that belongs to the test of equality",
}
"""Of any sign, in nats/token."""
