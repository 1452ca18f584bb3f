"""The metrics of training runs, of what is computed from them, and of scaling laws."""

from __future__ import annotations

from bench.ledger.comparisons import COUNTS, DIFFERENCES, SHARES, SIZES
from bench.ledger.keys import ENDS, INF, Key, count, share

TRAINING: dict[str, Key] = {
    # convergence
    "vocab_size": count("size of the vocabulary that the model uses"),
    "initial_test_loss": Key("nats/token", "loss on the whole test part before training"),
    "final_test_loss": Key("nats/token", "loss on the whole test part after training"),
    **{f"final_test_loss_{e}": Key("nats/token", f"{e} end of its 95 % interval") for e in ENDS},
    "bits_per_byte": Key("bits/byte", "final_test_loss per byte of the test text"),
    "unigram_test_loss": Key("nats/token", "loss of add-one unigram counts of the train part"),
    "above_unigram_low": Key("nats/token", "low end of final less unigram loss, paired", low=-INF),
    "above_unigram_high": Key("nats/token", "high end of that 95 % interval", low=-INF),
    "final_train_loss": Key("nats/token", "mean training loss over the last tenth of the steps"),
    "train_tokens_per_s": Key("tokens/s", "training speed, evaluation excluded"),
    "train_part_loss": Key("nats/token", "loss on the whole train part after training"),
    "memorisation_gap": Key("nats/token", "loss of unshown less shown train targets", low=-INF),
    **{
        f"memorisation_gap_{e}": Key("nats/token", f"{e} end of its 95 % interval", low=-INF)
        for e in ENDS
    },
    # paired comparison of two samplers, and its design
    **{name: count(meaning) for name, meaning in COUNTS.items()},
    **{name: share(meaning) for name, meaning in SHARES.items()},
    **{name: Key("nats/token", meaning) for name, meaning in SIZES.items()},
    **{name: Key("nats/token", meaning, low=-INF) for name, meaning in DIFFERENCES.items()},
    # convex: stochastic gradient descent where the optimum is known
    "condition_number": Key("1", "largest over smallest curvature of the objective, at most"),
    "rate": Key("1", "slope of ln(excess loss) over ln(epochs)", low=-INF),
    **{f"rate_{e}": Key("1", f"{e} end of its 95 % interval over seeds", low=-INF) for e in ENDS},
    # scaling: the ladder's law, its prediction, and how that came out; a token is a byte here
    "law_E": Key("nats/token", "E of the fitted law"),
    **{f"law_{n}": Key("1", f"{n} of the fitted law") for n in ("A", "B", "alpha", "beta")},
    "law_points": count("losses that a law was fitted to"),
    "predicted_loss": Key("nats/token", "loss that the law states for the target"),
    "predicted_low": Key("nats/token", "lower end of the 80 % interval stated with it"),
    "predicted_high": Key("nats/token", "upper end of that interval"),
    "target_loss": Key("nats/token", "final loss of the target, mean over its seeds"),
    "are_last30": Key("%", "absolute relative error over the last 30 % of the target's tokens"),
    "signed_final": Key("%", "predicted over final loss, less 1; above 0: too high", low=-INF),
    "are_last_size": Key("%", "absolute relative error of the largest rung's loss as a guess"),
    "are_two_sizes": Key("%", "the same of the line through the two largest rungs, in logarithms"),
    "share_of_gain": Key("fraction", "error of the law over the gain on the largest rung"),
    "interval_holds": count("of the targets' seeds, those inside the 80 % interval"),
    "gain": Key("nats/token", "loss of the largest rung less that of the target", low=-INF),
    "seed_sd": Key("%", "standard deviation of the final loss over seeds, pooled over sizes"),
    "R_D": Key("epochs", "repetitions after which a repeated token is worth 1/e of a new one"),
    **{f"R_D_{e}": Key("epochs", f"{e} end of its 95 % interval over sizes, shares") for e in ENDS},
    # fits timed beside a grid of starts: no longer measured, so that earlier ledgers load
    **{name: count("no longer measured") for name in ("grid_starts", "starts_at_optimum")},
    **{
        f"{axis}_{name}": Key(unit or of, f"{meaning} at inference, by {axis}", low=-INF)
        for axis, of in (("context", "nats/token"), ("samples", "fraction"))
        for name, unit, meaning in (
            ("beta", "1", "exponent of a power law of all but the largest"),
            ("predicted", "", "what that law predicts at the largest"),
            ("predicted_low", "", "lower end of its 95 % interval"),
            ("predicted_high", "", "upper end of that interval"),
            ("are", "%", "absolute relative error of that"),
        )
    },
    **{f"pass_predicted_{e}": share(f"{e} end of pass@k of all, from a quarter") for e in ENDS},
    **{f"samples_needed_{e}": count(f"{e} end: samples for half of the prompts") for e in ENDS},
}
"""Name of a metric → its key."""
