"""What a record may hold: metrics, samples, series, params and facts, with units and types.

A new metric, sample, series or param is one line in this file; `bench/ledger/checks.py` holds a
record to it. Facts may be any JSON value, so their readers ask for types.
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass

from bench.ledger.comparisons import COUNTS, DIFFERENCES, MEASURES, SHARES
from bench.ledger.devices import DEVICE_MEASURES, DEVICES
from bench.ledger.loaders import LOADER_COUNTS, PACKING
from bench.ledger.reuse import REUSE

INF = math.inf
ENDS = ("low", "high")
LARGEST = sys.float_info.max  # that a record may hold; JSON itself knows no limit
PHASES = {
    "data": "assembling the batch",
    "transfer": "copying the batch to the device",
    "forward": "forward pass inside one real step",
    "loss": "cross-entropy inside one real step",
    "backward": "backward pass inside one real step",
    "optimizer": "clipping and update inside one real step",
}
"""Phase of a training step, in order → its meaning; only accelerators have a "transfer"."""

PHASE_TIMES = {f"{phase}_s": phase for phase in PHASES}
PHASE_PEAKS = {f"{phase}_peak_bytes": phase for phase in PHASES}
"""Name of a metric → its phase."""
MEMORY_MIB = (4, 16, 64, 512)  # sizes within which the rate of memory traffic is measured


@dataclass(frozen=True)
class Key:
    """The unit of a metric, its meaning in one line, and the values that are allowed."""

    unit: str
    meaning: str
    low: float = 0.0
    high: float = INF
    whole: bool = False


def _count(meaning: str) -> Key:
    return Key("count", meaning, whole=True)


def _seconds(meaning: str) -> Key:
    return Key("s", meaning)


def _share(meaning: str) -> Key:
    return Key("fraction", meaning, high=1.0)


# Coverage metrics stand three times: as observed, as `expected_…` and, where theory has a standard
# deviation, as `z_…`.
_COVERAGE = {
    "missed_targets": Key("targets", "targets that no window showed"),
    "missed_edge": Key("targets", "of these, within block_size of an end"),
    "missed_interior": Key("targets", "of these, the others"),
    "repeated_windows": Key("windows", "draws less distinct starts"),
    "visits_mean": Key("visits", "mean number of times a target was shown"),
    "visits_sd": Key("visits", "standard deviation over targets of that number"),
    "missed_inputs": Key("tokens", "tokens that are an input of no window"),
    "visits_dispersion": Key("ratio", "variance of the visits over their mean"),
    "gaps": Key("gaps", "runs of missed targets between visited ones"),
    "alignment_coverage": _share("distinct starts over possible starts"),
}

_POSITION = {
    "unigram": ("nats/token", "unigram cross-entropy"),
    "bigram": ("nats/token", "bigram cross-entropy"),
    "js": ("nats", "Jensen-Shannon divergence of the unigrams"),
    "unseen": ("fraction", "share of tokens that the rest does not have"),
}

METRICS: dict[str, Key] = {
    # timing (bench_model)
    "time_s": _seconds("wall time of one call, median over rounds"),
    "time_min_s": _seconds("fastest round"),
    "time_max_s": _seconds("slowest round"),
    "rounds": _count("timed calls"),
    "warmup_rounds": _count("warm-up calls of the first process; null if only the peak was read"),
    "warmup_s": _seconds("time spent on them"),
    **{
        name: _seconds(f"{PHASES[phase]}, median over rounds")
        for name, phase in PHASE_TIMES.items()
    },
    "time_low_s": _seconds("lower end of the 95 % interval of time_s; null below 6 rounds"),
    "time_high_s": _seconds("upper end of that interval"),
    "time_p95_s": _seconds("95 % quantile over rounds; null below 59 rounds"),
    "device_time_s": _seconds("time between two events on the device, median; null on a CPU"),
    "process_time_s": _seconds("median over new processes of their median time"),
    "processes": _count("new processes that the case was timed in"),
    "compile_s": _seconds("compiling before the first call, plus the extra time of the first call"),
    "reference_s": _seconds("a fixed matrix product, timed just before and after the case"),
    "memory_reference_s": _seconds("a fixed copy of 128 MiB, timed just before and after the case"),
    "tokens_per_s": Key("tokens/s", "tokens of the batch over time_s"),
    "flops": Key("FLOP", "matrix-multiplication FLOPs of one call, by formula"),
    "flops_counted": Key("FLOP", "the same, counted by torch's FlopCounterMode"),
    "flops_per_s": Key("FLOP/s", "flops over time_s"),
    "mfu": Key("fraction", "flops_per_s over this machine's measured GEMM peak, same precision"),
    "mfu_datasheet": Key("fraction", "flops_per_s over the datasheet's dense peak, if known"),
    "bytes_moved": Key("B", "least memory traffic of one call, by formula"),
    "intensity": Key("FLOP/B", "flops over bytes_moved"),
    "attainable_flops_per_s": Key("FLOP/s", "roofline: least of GEMM peak, intensity x bandwidth"),
    "bandwidth_bytes_per_s": Key("B/s", "of the memory level that may hold the weights"),
    "n_params": _count("parameters of the model, tied weights once"),
    "n_params_ours": _count("the same of gptcore at the sizes of the user's model"),
    **{
        f"checks_{status}": _count(f"checks of the user's model with the result {status}")
        for status in ("ok", "note", "fault", "skipped")
    },
    # memory, in a new process on a CPU, from the allocator on an accelerator
    "base_bytes": Key("B", "held between calls: weights, optimizer state, program", whole=True),
    "peak_bytes": Key("B", "peak of one call over base_bytes", whole=True),
    **{
        name: Key("B", f"peak over base_bytes during {phase}", whole=True)
        for name, phase in PHASE_PEAKS.items()
    },
    # interleaved pairs
    "pairs": _count("interleaved pairs timed"),
    "ratio": Key("ratio", "time of b over time of a"),
    "ratio_low": Key("ratio", "lower end of its 95 % bootstrap interval"),
    "ratio_high": Key("ratio", "upper end of that interval"),
    "margin_ratio": Key("ratio", "relative difference below which two times count as the same"),
    "trials": _count("comparisons of one thing with itself"),
    "false_alarms": _count("of these, called slower or faster"),
    "false_alarm_rate": _share("false_alarms over trials"),
    "false_alarm_high": _share(
        "upper end of the exact 95 % interval of false_alarm_rate (Clopper-Pearson)"
    ),
    "a_time_s": _seconds("time of a, median over pairs"),
    "b_time_s": _seconds("time of b, median over pairs"),
    "missed_cover": _count("of the trials, intervals that leave out 1"),
    # how the cost grows
    "exponent": Key("power", "slope of log time over log size, mean over rounds", low=-INF),
    "exponent_low": Key("power", "lower end of its 95 % t interval over rounds", low=-INF),
    "exponent_high": Key("power", "upper end of that interval", low=-INF),
    "flops_exponent": Key("power", "the same slope of the FLOPs, by formula", low=-INF),
    "last_slope": Key("power", "the same slope between the two largest sizes", low=-INF),
    "last_slope_low": Key("power", "lower end of its 95 % t interval over rounds", low=-INF),
    "last_slope_high": Key("power", "upper end of that interval", low=-INF),
    "flops_last_slope": Key("power", "that slope of the FLOPs, by formula", low=-INF),
    "bend": Key("power", "last_slope less that between the two smallest sizes", low=-INF),
    "bend_low": Key("power", "lower end of its 95 % t interval over rounds", low=-INF),
    "bend_high": Key("power", "upper end of that interval", low=-INF),
    # the machine's ceilings (environment)
    "gemm_fp32_flops_per_s": Key("FLOP/s", "best fp32 matrix product at the model's shapes"),
    "gemm_bf16_flops_per_s": Key("FLOP/s", "best bf16 matrix product at the model's shapes"),
    "gemm_medium_flops_per_s": Key("FLOP/s", "best fp32 product that may round to bf16 or TF32"),
    "copy_bytes_per_s": Key("B/s", "copy of 256 MiB into reused memory, bytes copied"),
    **{
        f"memory_{mib}mib_bytes_per_s": Key("B/s", f"best of reading and copying within {mib} MiB")
        for mib in MEMORY_MIB
    },
    "reference_speed": Key("ratio", "measured speed over the reference machine's"),
    # coverage
    "n_tokens": _count("tokens of the whole text"),
    "train_tokens": _count("tokens of the train part"),
    "test_tokens": _count("tokens of the test part"),
    "draws": _count("windows drawn"),
    "steps": _count("batches drawn (coverage) or updates made (training)"),
    "epochs": Key("epoch-equivalents", "draws * block_size / (train_tokens - 1)"),
    **_COVERAGE,
    **{f"expected_{name}": key for name, key in _COVERAGE.items()},
    "sd_missed_targets": Key("targets", "standard deviation of missed_targets, exact or simulated"),
    "z_missed_targets": Key("sd", "(observed - expected) / sd", low=-INF),
    "visits_min": _count("fewest times that a target was shown"),
    "visits_max": _count("most times that a target was shown"),
    "visits_gini": _share("Gini coefficient of the visits"),
    "longest_gap": _count("longest run of missed targets"),
    "never_targets": _count("tokens that no draw of this sampler can show as a target"),
    # what train and test share
    "shared_tokens": _count("positions of the text in both train and test part"),
    "shared_targets": _count("positions that are a target in both"),
    "shared_13grams": _count("distinct 13-grams of the test part that the train part has too"),
    "fraction_of_test_targets_trained": _share("of the test targets, those that were trained on"),
    # position of the test part
    "boilerplate_tokens": _count(
        "of the test part, tokens of Project Gutenberg's header or licence"
    ),
    "boilerplate_share_of_test": _share("of the test part, those"),
    "n_blocks": _count("positions of the test block compared"),
    **{
        f"tail_{name}": Key(unit, f"of the last block against the rest of the text: {meaning}")
        for name, (unit, meaning) in _POSITION.items()
    },
    **{
        f"rank_{name}": _count(f"rank of the last block by {name}, 1 is the highest")
        for name in _POSITION
    },
    "mean_unigram": Key("nats/token", "unigram cross-entropy, mean over all blocks"),
    "sd_unigram": Key("nats/token", "its standard deviation over the blocks"),
    # loading and counting
    "ledger_tokens": _count("tokens of the text whose visits were counted"),
    "worker_start_s": _seconds("from asking for the first batch of new worker processes to it"),
    "bytes_per_token": Key("B/token", "size of a token in memory or on disk"),
    # convergence
    "vocab_size": _count("size of the vocabulary that the model uses"),
    "initial_test_loss": Key("nats/token", "loss on the whole test part before training"),
    "final_test_loss": Key("nats/token", "loss on the whole test part after training"),
    **{f"final_test_loss_{e}": Key("nats/token", f"{e} end of its 95 % interval") for e in ENDS},
    "bits_per_byte": Key("bits/byte", "final_test_loss per byte of the test text"),
    "unigram_test_loss": Key("nats/token", "loss of add-one unigram counts of the train part"),
    "above_unigram_low": Key("nats/token", "low end of final less unigram loss, paired", low=-INF),
    "above_unigram_high": Key("nats/token", "high end of that 95 % interval", low=-INF),
    "final_train_loss": Key("nats/token", "mean training loss over the last tenth of the steps"),
    **{
        f"{when}_copy_probability": _share(
            f"mean probability of the current token as the next one, {how} training"
        )
        for when, how in (("initial", "before"), ("final", "after"))
    },
    "train_tokens_per_s": Key("tokens/s", "training speed, evaluation excluded"),
    "energy_j": Key("J", "energy counters, training and evaluations; null without or resumed"),
    "train_part_loss": Key("nats/token", "loss on the whole train part after training"),
    "memorisation_gap": Key("nats/token", "loss of unshown less shown train targets", low=-INF),
    **{
        f"memorisation_gap_{e}": Key("nats/token", f"{e} end of its 95 % interval", low=-INF)
        for e in ENDS
    },
    # paired comparison of two arms, and its design; what real DataLoaders showed
    **{name: _count(meaning) for name, meaning in (COUNTS | LOADER_COUNTS).items()},
    **{name: _share(meaning) for name, meaning in SHARES.items()},
    **{name: Key(unit, meaning) for name, (unit, meaning) in (MEASURES | DEVICE_MEASURES).items()},
    **{name: Key("nats/token", meaning, low=-INF) for name, meaning in DIFFERENCES.items()},
    # convex: stochastic gradient descent where the optimum is known
    "condition_number": Key("1", "largest over smallest curvature of the objective, at most"),
    "rate": Key("1", "slope of ln(excess loss) over ln(epochs)", low=-INF),
    **{f"rate_{e}": Key("1", f"{e} end of its 95 % interval over seeds", low=-INF) for e in ENDS},
    # scaling: the ladder's law, its prediction, and how that came out; a token is a byte here
    "law_E": Key("nats/token", "E of the fitted law"),
    **{f"law_{n}": Key("1", f"{n} of the fitted law") for n in ("A", "B", "alpha", "beta")},
    "law_points": _count("losses that a law was fitted to"),
    "predicted_loss": Key("nats/token", "loss that the law states for the target"),
    "predicted_low": Key("nats/token", "lower end of the 80 % interval stated with it"),
    "predicted_high": Key("nats/token", "upper end of that interval"),
    "target_loss": Key("nats/token", "final loss of the target, mean over its seeds"),
    "are_last30": Key("%", "absolute relative error over the last 30 % of the target's tokens"),
    "signed_final": Key("%", "predicted over final loss, less 1; above 0: too high", low=-INF),
    "are_last_size": Key("%", "absolute relative error of the largest rung's loss as a guess"),
    "are_two_sizes": Key("%", "the same of the line through the two largest rungs, in logarithms"),
    "share_of_gain": Key("fraction", "error of the law over the gain on the largest rung"),
    "interval_holds": _count("of the targets' seeds, those inside the 80 % interval"),
    "gain": Key("nats/token", "loss of the largest rung less that of the target", low=-INF),
    "seed_sd": Key("%", "standard deviation of the final loss over seeds, pooled over sizes"),
    "R_D": Key("epochs", "repetitions after which a repeated token is worth 1/e of a new one"),
    **{f"R_D_{e}": Key("epochs", f"{e} end of its 95 % interval over sizes, shares") for e in ENDS},
    # fits timed beside a grid of starts: no longer measured, so that earlier ledgers load
    **{name: _count("no longer measured") for name in ("grid_starts", "starts_at_optimum")},
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
    **{f"pass_predicted_{e}": _share(f"{e} end of pass@k of all, from a quarter") for e in ENDS},
    **{f"samples_needed_{e}": _count(f"{e} end: samples for half of the prompts") for e in ENDS},
}

SAMPLES = {
    "time_s", *PHASE_TIMES, "device_time_s", "process_time_s", "reference_s",
    "memory_reference_s", "a_time_s", "b_time_s", "difference", "are_last30",
}  # fmt: skip

SERIES: dict[str, tuple[str, ...]] = {
    "loss_curve": ("step", "tokens", "epochs", "loss"),
    "test_curve": ("step", "tokens", "epochs", "loss"),
    "copying": ("step", "tokens", "epochs", "copy_probability"),
    "onset": (
        "arm", "n_seeds", "train_tokens", "passes", "step", "epochs", "between", "lowest", "final",
        "rise", "rise_low", "rise_high", "p_adjusted", "detectable",
    ),
    "staircase": (
        "arm", "n_seeds", "borders", "size", "size_low", "size_high", "p_adjusted", "detectable",
    ),
    "repeat_forms": ("form", "n_cells", "error", "error_most_passes", "closest", "p_adjusted"),
    "repeat_cells": (
        "train_tokens", "passes", "n_seeds", "loss", "exponential", "bounded", "additive",
    ),
    "noise": ("arm", "n_params", "n_seeds", "loss", "sd", "sd_low", "sd_high", "p_adjusted"),
    "test_blocks": ("targets", "loss"),
    "difference_curve": ("step", "tokens", "epochs", "difference", "low", "high"),
    "variance": (
        "source", "levels", "variance", "sd", "sd_low", "sd_high", "share", "share_low",
        "share_high", "detectable_sd",
    ),
    **REUSE, **DEVICES,
    "generated": ("when", "prompt", "text"),
    "excess": ("epochs", "excess", "low", "high", "step_size"),
    "form_curve": (
        "source", "step", "measure", "value", "z", "share_below", "share_above", "usual_share",
    ),
    "visits_histogram": ("visits", "targets"),
    "loss_by_visits": ("visits", "targets", "loss", "low", "high"),
    "visits_by_position": (
        "bin_start", "bin_stop", "visits_mean", "visits_min", "visits_max", "missed",
    ),
    "position_profile": ("start", "stop", "unigram", "bigram", "js", "unseen"),
    "coverage_curve": ("step", "epochs", "covered", "expected"),
    "top_operators": ("operator", "calls", "self_time_s", "share"),
    "trials": ("trial", "ratio", "ratio_low", "ratio_high"),
    "law_curve": ("params", "tokens", "loss", "low", "high"),
    "repetition": ("share", "epochs", "loss", "predicted", "all_new"),
    **dict.fromkeys(("by_context", "by_samples", "by_pass"), ("x", "value", "low", "high", "law")),
    "cost_curve": ("size", "time_s", "flops"),
    "conditions": ("condition", "time_s", "ratio", "ratio_low", "ratio_high"),
    "packing": PACKING,
    "checks": ("check", "about", "status", "detail", "means"),
}  # fmt: skip

TEXT_COLUMNS = {
    "about", "arm", "check", "condition", "detail", "figure", "form", "means", "measure", "model",
    "operator", "option", "packing", "prompt", "reason", "source", "status", "text", "when",
}  # fmt: skip
"""Columns of series that hold text; all others hold numbers or null."""

TEXT, NUMBER, FLAG, NUMBERS = "text", "a number", "true or false", "a list of numbers"
PARAMS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(
        ("corpus", "device", "precision", "work", "compile", "dimension", "source", "way", "split",
         "sampler", "experiment", "arm", "name", "reader", "init", "objective", "question", "a",
         "b", "change", "variant", "differs_in", "arms", "engine", "scaling"), (TEXT,),
    ),
    **dict.fromkeys(
        ("batch_size", "block_size", "n_layer", "n_head", "n_embd", "vocab_size", "n_tokens",
         "n_bytes", "draws", "target_epochs", "text_share", "learning_rate", "trials", "seconds",
         "seeds", "n_comparisons", "prior_sd", "weight_decay", "order_seed", "target", "prompts",
         "samples", "new_tokens", "seed", "budget_flops", "test_tokens", "copied", "copies",
         "evaluations", "blocks", "symbols", "l2", "context", "stride"),
        (NUMBER,),
    ),
    **dict.fromkeys(
        ("drop_last", "raw", "compact", "score_train", "positions", "mlp"), (FLAG,)
    ),
    **dict.fromkeys(("sizes", "rungs", "at_epochs", "world_sizes"), (NUMBERS,)),
    **dict.fromkeys(("model", "base"), (TEXT, "an object of params")),
}  # fmt: skip
"""Name of a param → what it may be besides null. Any other name may have any value."""
