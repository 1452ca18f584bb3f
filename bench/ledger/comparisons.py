"""The metrics of paired comparisons, of the design stated before them, and of crossed runs.

Name → meaning, by the unit and the values that are allowed.
"""

COUNTS = {
    "n_seeds": "paired seeds that are compared",
    "n_diverged": "runs of the two arms that diverged; their pairs are left out",
    "n_claims": "claims that p-values are adjusted for: two for each planned pair of arms",
    "n_censored": "runs of the two arms that never reach reached_loss, because they diverged",
    "n_runs": "runs of a crossed design: every level of a factor with every level of the others",
}

SHARES = {
    "smallest_p": "smallest adjusted p-value that so many seeds can reach",
    "share_a_better": "of the pairs, those in which a has the lower loss; ties count half",
    "share_a_better_low": "lower end of the exact 95 % interval of its probability",
    "share_a_better_high": "upper end of that interval (Clopper-Pearson)",
    "p_value": "two-sided sign-flip test",
    "p_adjusted": "the same, adjusted for all claims of the experiment (Holm)",
    "p_equivalence": "two one-sided sign-flip tests against the margin",
    "p_equivalence_adjusted": "the same, adjusted for all claims of the experiment (Holm)",
}

SIZES = {
    "planned_sd": "standard deviation of the paired differences, assumed before the runs",
    "planned_detectable": "difference found in 80 % of the cases at that sd; null if none",
    "planned_margin": "margin to which alike arms are shown equal in 80 % of the cases at that sd",
    "sd_difference": "standard deviation of the paired differences",
    "detectable": "difference that this design finds in 80 % of the cases; null if none",
    "detectable_margin": "margin to which it shows alike arms equal in 80 % of the cases",
    "margin": "difference below which two arms count as equal",
    "reached_loss": "test loss that every run of the two arms reaches; a time to target ends there",
    "mean_loss": "final test loss, mean over the runs of a crossed design",
    "sd_loss": "its standard deviation over these runs",
}
"""In nats/token."""

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
    "late_slope": "late fall of the test loss for e times the steps, median over the runs",
    "late_slope_low": "lower end of its 95 % interval from order statistics",
    "late_slope_high": "upper end of that interval",
    "text_low": "lower end of the 95 % interval of difference over a longer text, same models",
    "text_high": "upper end of that interval; see gptcore.intervals",
}
"""Of any sign, in nats/token."""

FACTORS = {
    "tokens_ratio": "tokens of a until reached_loss over those of b, geometric mean over seeds",
    "tokens_ratio_low": "lower end of its 95 % interval by sign flips of the logarithms",
    "tokens_ratio_high": "upper end of that interval",
    "steps_factor": "times a's steps that undo the difference at late_slope; null beyond 1/2 to 2",
    "steps_factor_low": "the same of sign_flip_low",
    "steps_factor_high": "the same of sign_flip_high",
}

SPANS = {
    f"{arm}_{name}": (unit, f"{what} of {arm} until reached_loss, median over paired seeds")
    for arm in "ab"
    for name, unit, what in (
        ("steps_to_reach", "steps", "updates"),
        ("tokens_to_reach", "tokens", "training tokens"),
        ("time_to_reach_s", "s", "training time, evaluation excluded,"),
    )
}

MEASURES = (
    {name: ("nats/token", meaning) for name, meaning in SIZES.items()}
    | {name: ("ratio", meaning) for name, meaning in FACTORS.items()}
    | SPANS
)
"""Of at least 0: name → unit and meaning."""
