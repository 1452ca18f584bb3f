"""Every headline against rows that contradict it: it changes, or it is not printed."""

from __future__ import annotations

import copy
import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from bench.ledger.record import Record
from bench.ledger.schema import SERIES
from reports import load, topics, words
from reports.blocks import Plotter
from tests.helpers.ledgers import (
    audited_case,
    comparison_case,
    coverage_case,
    environment,
    loader_case,
    loading_case,
    model_case,
    position_case,
    record,
    training_case,
    variance_case,
    with_form,
    write_ledger,
)
from tests.helpers.own_ledgers import (
    checks_case,
    own_loader_case,
    own_pair_case,
    own_peak_case,
)
from tests.helpers.reuse_ledgers import decision_case, published_case, run_case
from tests.helpers.timed_ledgers import START, pair_case, self_case, timed, timed_environment
from tests.reports.topics.test_peers import pair, peak

NUMBER = r"[\d.,]+"
RANDOM = "random_replacement"


class Contradiction(NamedTuple):
    """What a headline says of `rows`, and of the same rows with `planted` ones.

    `before` and `after` are parts of the headline; `after` is "" where nothing may be claimed.
    """

    function: str
    rows: list[Record]
    planted: list[Record]
    before: str
    after: str


def other(case: Record, metrics: dict[str, Any] | None = None, **params: Any) -> Record:
    """Return a copy of a case with another id, and with other params and metrics."""
    made = copy.deepcopy(case)
    told = "-".join(map(str, params.values())).replace(":", "")
    made["case"] = f"{str(case['case']).removesuffix(']')}-{told}]"
    base = made["params"].get("base")
    for name, value in params.items():
        (base if isinstance(base, dict) and name in base else made["params"])[name] = value
    made["metrics"] |= metrics or {}
    return made


def of_model(work: str = "step", **metrics: Any) -> Record:
    return timed(model_case(work, "fp32", 2.0, 2.2e11), **metrics)


def missed(sampler: str, epochs: float, n: int, **metrics: Any) -> Record:
    case = coverage_case(sampler, epochs)
    case["metrics"] |= {"missed_targets": n} | metrics
    return case


def two_by_two(epochs: float, *numbers: int) -> list[Record]:
    """Return the cells of random windows, the random grid, the free phase, shuffled blocks."""
    names = (RANDOM, "grid_replacement", "random_phase_blocks", "shuffled_blocks")
    return [missed(name, epochs, n) for name, n in zip(names, numbers, strict=True)]


def interval(case: Record, ratio: float, low: float, high: float) -> Record:
    case["metrics"] |= {"ratio": ratio, "ratio_low": low, "ratio_high": high}
    return case


def scaling_case(corpus: str, are: float) -> Record:
    return record(
        f"bench_scaling::test_scaling[{corpus}]",
        group="scaling",
        params={"corpus": corpus},
        metrics={"are_last30": are, "target_loss": 1.5, "predicted_loss": 1.51, "gain": -0.1},
    )


def compared(experiment: str, sign: int) -> Record:
    values = [0.05, 0.07, 0.06, 0.05, 0.08, 0.055, 0.06, 0.07]
    case = comparison_case("a", "b", [sign * x for x in values], p_adjusted=0.03)
    return other(case, experiment=experiment)


def memorised(epochs: float, seed: int, low: float) -> Record:
    """Return a run whose memorisation gap has an interval from `low` to `low` + 0.2."""
    ends = {
        "memorisation_gap_low": low,
        "memorisation_gap": low + 0.1,
        "memorisation_gap_high": low + 0.2,
    }
    return other(training_case(RANDOM, seed), ends, target_epochs=epochs)


def convex_cases(*rates: float) -> list[Record]:
    """Return one problem with each order of the data, and intervals of ± 0.1 about the rates."""
    orders = ("grid_replacement", "shuffled_once", "shuffled_blocks")
    return [
        record(
            f"bench_convex::test_convex[{sampler}]",
            group="convex",
            params={"objective": "softmax", "sampler": sampler},
            metrics={"rate": rate, "rate_low": rate - 0.1, "rate_high": rate + 0.1, "n_seeds": 16},
        )
        for sampler, rate in zip(orders, rates, strict=True)
    ]


def ablation(piece: str, ratio: float, low: float, high: float) -> Record:
    return interval(pair(f"variant=without-{piece}", ratio, "slower", "ablation"), ratio, low, high)


def outcome(series: str, corpus: str, rows: list[dict[str, Any]]) -> Record:
    """Return an outcome of an experiment; what rows leave out is null."""
    full = [{name: row.get(name) for name in SERIES[series]} for row in rows]
    params = {"corpus": corpus, "question": series, "experiment": f"x-{corpus}-4"}
    name = f"bench_convergence::test_outcome[x-{corpus}-4-{series}]"
    return record(name, group="outcome", params=params, series={series: full})


def onset(corpus: str, rise: float, p: float) -> Record:
    row = {"arm": "share0.1", "n_seeds": 8, "passes": 40.0, "epochs": 12.5, "between": 2.0}
    row |= {"lowest": 5.0, "final": 5.0 + rise, "rise": rise, "p_adjusted": p, "detectable": 0.1}
    return outcome("onset", corpus, [row])


def stepped(corpus: str, size: float, p: float) -> Record:
    row = {"arm": "sequential", "n_seeds": 20, "borders": 3, "size": size, "p_adjusted": p}
    row |= {"size_low": size - 0.02, "size_high": size + 0.02, "detectable": 0.03}
    return outcome("staircase", corpus, [row])


def judged(corpus: str, p: float) -> Record:
    rows = [("additive", 0.004, None), ("bounded", 0.01, p), ("exponential", 0.012, p)]
    names = ("form", "error", "p_adjusted")
    each = [dict(zip(names, row, strict=True)) | {"n_cells": 25, "closest": 9} for row in rows]
    return outcome("repeat_forms", corpus, each)


def noisy(corpus: str, p: float) -> Record:
    rows = [("C32", 2e5, 0.03, None), ("C256", 2e6, 0.01, p)]
    names = ("arm", "n_params", "sd", "p_adjusted")
    each = [dict(zip(names, row, strict=True)) | {"n_seeds": 24, "loss": 5.0} for row in rows]
    return outcome("noise", corpus, each)


def begun(init: str, initial: float, copied: float, seed: int = 0) -> Record:
    case = training_case(RANDOM, seed)
    metrics = {"initial_test_loss": initial, "initial_copy_probability": copied}
    return other(
        case, metrics, init=init, experiment="weights-python-docs-4", arm=f"init_{init}", seed=seed
    )


def on_text(corpus: str, sign: int) -> Record:
    return other(compared(f"samplers-{corpus}-4", sign), corpus=corpus)


STEP, FORWARD = of_model(), of_model("forward")
BF16 = other(STEP, {"time_s": 1.0, "time_min_s": 0.95, "time_max_s": 1.05}, precision="bf16")
FAST = {"time_s": 0.1, "time_min_s": 0.095, "time_max_s": 0.105}
LATE = two_by_two(14.4, 35, 40, 20, 250)
SEQUENTIAL = [missed("sequential", epochs, 2850) for epochs in (1.0, 4.0)]
SCARCE = [coverage_case(RANDOM, 1.0), coverage_case(RANDOM, 100.0, text_share=0.01)]
ENDS = [START | {"gemm_fp32_flops_per_s": share * 2.2e11} for share in (0.9, 0.7)]
CHANGED_ENDS = [timed_environment(ends) for ends in ENDS]

FORM = with_form(training_case(RANDOM, 0), {"a": [9.0, 1.0], "b": [None, 0.5]}, unigram=5.0)
FORMLESS = with_form(training_case("sequential", 0), {"a": [9.0, 8.0], "b": [1.0, None]})

CASES = [
    Contradiction(
        "visits.find",
        [memorised(4.0, 0, 0.1), memorised(4.0, 1, 0.2)],
        [memorised(4.0, 2, -0.1)],
        "Training targets that were shown ended 0.250 nats/token below those that were not",
        "No difference in loss was resolved",
    ),
    Contradiction(
        "convex.find",
        convex_cases(-0.9, -1.6, -2.4),
        convex_cases(-0.9, -0.95, -2.4),
        "converged faster than random blocks of the grid and",
        "On a softmax bigram model, the shuffled DataLoader converged faster",
    ),
    Contradiction(
        "convex.find",
        convex_cases(-0.9, -1.6, -2.4),
        convex_cases(-1.6, -0.9, -0.95),
        "the shuffled DataLoader converged faster",
        "random blocks of the grid converged faster",
    ),
    Contradiction(
        "speed.findings.step_speed", [STEP], [BF16],
        f"Model 5 trains at {NUMBER} tokens/s:", r"tokens/s \(fp32\):",
    ),
    Contradiction(
        "speed.findings.forward_speed", [FORWARD], [other(FORWARD, {"time_s": 9.0}, batch_size=8)],
        "A forward pass of Model 5 takes 2.00 s on this CPU", r"takes 2.00 s \(B = 4\) on this CPU",
    ),
    Contradiction(
        "speed.findings.precision_ratios", [STEP, BF16],
        [other(STEP, batch_size=8), other(BF16, {"time_s": 4.0, "time_min_s": 3.9}, batch_size=8)],
        "in bf16 was 2 times faster than in fp32$", r"faster than in fp32 \(B = 4\)",
    ),
    Contradiction(
        "devices.find", [STEP, other(STEP, FAST, device="cuda:0")],
        [other(STEP, batch_size=8), other(STEP, FAST, batch_size=8, device="cuda:0")],
        "times faster on cuda:0 than on the CPU$", r"than on the CPU \(B = 4\)$",
    ),
    Contradiction(
        "speed.findings.phase_shares", [STEP],
        [other(STEP, {"forward_s": 1.9, "backward_s": 0.1}, batch_size=8)],
        "The backward phase takes .* of Model 5$", r"of a training step of Model 5 \(B = 4\)",
    ),
    Contradiction(
        "speed.findings.roofline", [STEP], [other(STEP, batch_size=64)],
        "A training step of Model 5 is", r"Model 5 \(B = 4\) is",
    ),
    Contradiction(
        "speed.checks.flops_apart", [of_model(flops_counted=1.0)],
        [other(STEP, batch_size=8)], "in 1 of 1 case$", "in 1 of 2 cases$",
    ),
    Contradiction(
        "speed.checks.exceeding", [other(STEP, {"attainable_flops_per_s": 1e9})],
        [other(STEP, {"attainable_flops_per_s": 1e9}, batch_size=64)],
        "^1 case reached more", "^2 cases reached more",
    ),
    Contradiction(
        "speed.findings.ceilings_changed", [CHANGED_ENDS[0], STEP], [CHANGED_ENDS[1]],
        r"changed by up to 10\.0+ %", "changed by up to 30.0 %",
    ),
    Contradiction(
        "generated_text.find", [FORM], [FORMLESS],
        r"2 of 2 measures of .* \(1 run\); of a text by unigram sampling, 0$",
        r"0 to 2 of 1 to 2 measures of .* \(2 runs\)",
    ),
    Contradiction(
        "memory.find", [STEP], [other(STEP, {"peak_bytes": 2**33}, precision="bf16")],
        "A training step of Model 5 peaks", r"Model 5 \(fp32\) peaks",
    ),
    Contradiction(
        "peers.findings.against_peers", [pair("variant=litgpt", 1.3, "slower")],
        [other(pair("variant=litgpt", 0.7, "faster"), batch_size=16)],
        "1.30 times faster in gptcore than in litgpt$", r"faster .* than in litgpt \(B = 1\)",
    ),
    Contradiction(
        "peers.findings.gains",
        [ablation("sdpa", 2.12, 2.09, 2.15), ablation("gelu-again", 1.2, 1.1, 1.3)],
        [ablation("fused-adamw", 2.82, 1.95, 4.06)],
        "^Largest gain of one optimisation: .* 2.12 times slower with attention written out",
        r"^No optimisation is shown to gain most of .* written out \(2.12 times\) and with AdamW "
        r"as a loop \(2.82 times\) have intervals that overlap",
    ),
    Contradiction(
        "peers.findings._largest_gain", [ablation("sdpa", 2.12, 2.09, 2.15)],
        [other(ablation("sdpa", 0.8, 0.7, 0.9), batch_size=8)],
        "attention written out$", r"attention written out \(B = 1\)$",
    ),
    Contradiction(
        "peers.findings.memory_against", [peak("gptcore", 600), peak("litgpt", 900)],
        [other(peak(v, n), batch_size=8) for v, n in (("gptcore", 600), ("litgpt", 500))],
        "needs 0.667 times the peak memory of litgpt$",
        r"needs 1.20 times the peak memory of litgpt \(B = 8\)",
    ),
    Contradiction(
        "trust.findings.self_comparison", [self_case(20, 0)],
        [other(self_case(20, 9), precision="bf16")],
        "were false alarms .upper", r"0 of 20 .* were false alarms \(fp32\)",
    ),
    Contradiction(
        "environment.find",
        [environment(facts={"machine": {"accelerators": [1]}, "run": {"devices": ["cpu"]}})],
        [other(STEP, device="cuda:0")], "An accelerator is present but was not measured", "",
    ),
    Contradiction(
        "trust.findings.changes", [pair_case("precision=bf16", 0.5, "faster")],
        [other(pair_case("precision=bf16", 1.4, "slower"), batch_size=64)],
        "2 times faster in bf16$", r"2 times faster in bf16 \(B = 4\)",
    ),
    Contradiction(
        "batches.find",
        [loading_case("memory", "gather", 0.004), loading_case("memory", "dataloader", 0.04)],
        [loading_case("memory", "workers", 0.001)],
        "was 10 times faster than torch's DataLoader without workers$",
        "than torch's DataLoader without workers, but not than torch's DataLoader with workers$",
    ),
    Contradiction(
        "sampling.findings.random_visits", [missed(RANDOM, 14.4, 35)],
        [other(missed(RANDOM, 14.4, 9000), corpus="moby-dick")],
        "missed 35 of 124,999 targets and showed others up to \\d+ times$", r"\(python-docs\)$",
    ),
    Contradiction(
        "sampling.findings.never_shown", SEQUENTIAL, [missed("sequential", 2.0, 100)],
        "never showed 2,850 targets", "left out 2,850 targets .* in one pass",
    ),
    Contradiction(
        "sampling.findings.one_epoch_of_random", [missed(RANDOM, 1.0, 46_000)],
        [other(missed(RANDOM, 1.0, 9), block_size=8)],
        "missed 36.8 % of the targets$", r"of the targets \(T = 256\)$",
    ),
    Contradiction(
        "sampling.findings.theory_agreement", [missed(RANDOM, 1.0, 9, z_missed_targets=0.5)],
        [missed(RANDOM, 2.0, 9, z_missed_targets=6.0)],
        "Theory predicted .* to within 0.50 sd", "lies 6 sd from theory",
    ),
    Contradiction(
        "sampling.findings.overlap_or_grid", two_by_two(1.0, 46_000, 45_000, 250, 125), LATE,
        r"than drawing without replacement after 1 epoch-equivalent \(36.0 % to 36.8 % against",
        r"after 1 epoch-equivalent .*, but not after 14.4 epoch-equivalents",
    ),
    Contradiction(
        "sampling.findings.overlap_or_grid", two_by_two(1.0, 46_000, 45_000, 250, 125),
        [other(missed(RANDOM, 1.0, 5))], "Drawing with replacement missed more",
        "no clear cause",
    ),
    Contradiction(
        "sampling.findings.never_shown", SEQUENTIAL[:1],
        [other(missed("sequential", 1.0, 0), corpus="moby-dick")],
        "^The unshuffled DataLoader left out", r"DataLoader \(python-docs\) left out",
    ),
    Contradiction(
        "sampling.findings.scarcity", SCARCE,
        [other(SCARCE[1], {"visits_mean": 7.0}, batch_size=64)],
        "shows each target 100 times on average$", r"100 times on average \(B = 16\)$",
    ),
    Contradiction(
        "position.find", [position_case(False, rank_unigram=60, rank_bigram=58)],
        [position_case(False, rank_unigram=60, rank_bigram=2)],
        "easier .* by the frequencies of tokens and the frequencies of pairs of tokens$"
        .replace("and the", "and by the"),
        "by the frequencies of tokens, but not by the frequencies of pairs of tokens$",
    ),
    Contradiction(
        "convergence.findings.arm_differences", [compared("one", 1)], [compared("two", -1)],
        "than a on python-docs, 8 seeds$", r"than a \(one of 2 such cases\) on python-docs",
    ),
    Contradiction(
        "convergence.variance.find", [variance_case("python-docs", 0.4)],
        [variance_case("moby-dick", 0.1)],
        "crossed runs comes to 10 % .* from the initialisation and 40 % .0 % to 97 %. from the",
        r"crossed runs \(python-docs\) comes to 10 %",
    ),
    Contradiction(
        "convergence.findings.baseline", [training_case("sequential", 0)],
        [training_case("sequential", seed, shift=2.0) for seed in (1, 2)],
        "learned more than token frequencies in 1 of 1 run", "learned less .* in 2 of 3 runs",
    ),
    Contradiction(
        "experiments.findings.overfitting", [onset("python-docs", 0.5, 0.01)],
        [onset("python-docs", 0.0, 1.0)],
        "rises for good .* with 1/10 of the text in the experiment x on python-docs$",
        "^No lasting rise .* was found",
    ),
    Contradiction(
        "experiments.findings.staircases", [stepped("python-docs", -0.1, 0.01)],
        [stepped("python-docs", 0.0, 1.0)],
        r"steps by .0.1000 nats/token with the unshuffled DataLoader in .* x on python-docs$",
        r"^No step .* was resolved in the experiment x on python-docs$",
    ),
    Contradiction(
        "experiments.findings.forms", [judged("python-docs", 0.01)], [judged("python-docs", 0.5)],
        "additive form .* better than the bounded one and the exponential one in .* python-docs$",
        "^No form .* in the experiment x on python-docs",
    ),
    Contradiction(
        "experiments.findings.seed_noise", [noisy("python-docs", 0.01)],
        [noisy("python-docs", 0.5)],
        "varies less over seeds .* on python-docs: ", "^No change of the noise .* on python-docs",
    ),
    Contradiction(
        "experiments.findings.initial_weights",
        [begun("normal", 17.0, 0.9), begun("gpt2", 9.1, 0.0)], [begun("normal", 9.0, 0.0, seed=1)],
        r"ln V is \+7.989 nats/token with standard normal .* weights on python-docs",
        r"ln V is \+3.989 nats/token with standard",
    ),
    Contradiction(
        "experiments.findings.ranking", [on_text("a", 1), on_text("c", 1)], [on_text("d", -1)],
        "^B ended below a in test loss on 2 of 2 texts$", "on 2 of 3 texts, and above on 1$",
    ),
    Contradiction(
        "scaling.findings.find", [scaling_case("python-docs", 1.0)],
        [scaling_case("moby-dick", 30.0)],
        r"of that step \(1.00 % of the loss\)$", r"of the loss\) \(python-docs\)$",
    ),
    Contradiction(
        "run.find", [record("a::b", status="failed", reason="x")],
        [record("a::c", status="failed", reason="y")], "^1 case failed", "^2 cases failed",
    ),
    Contradiction(
        "environment.find", [environment()], [other(STEP, device="cuda:0")],
        "No accelerator was found, so every case ran on the CPU", "",
    ),
    Contradiction(
        "own_model.findings.checked", [checks_case()], [other(checks_case("loss"), seed=1)],
        r"^The checks found no fault in mine\.py$", r"^The checks found 1 fault in mine\.py: loss$",
    ),
    Contradiction(
        "own_model.findings.costs", [own_pair_case(1.5)],
        [other(own_pair_case(0.5, "faster"), batch_size=8)],
        r"training step takes 1\.50 times as long in mine\.py as in gptcore$",
        r"takes 1\.50 times as long in mine\.py as in gptcore \(B = 4\)$",
    ),
    Contradiction(
        "own_model.findings.memory", own_peak_case(4, 900, 600), own_peak_case(8, 500, 600),
        r"needs 1\.50 times the peak memory of gptcore$",
        r"needs 1\.50 times the peak memory of gptcore \(B = 4\)$",
    ),
    Contradiction(
        "own_model.findings.audited", [own_loader_case()],
        [other(own_loader_case("targets_equal_inputs"), seed=1)],
        r"^The audit found no fault in 200 windows of the loader of mine\.py$",
        r"^The audit found faults in the loader of mine\.py: targets equal inputs$",
    ),
    Contradiction(
        "reuse.find",
        [decision_case(run_case("gptcore", (10.8, 6.0, 5.0)), published_case(3.5),
                       run_case("gpt2", (3.5, 3.3, 3.2)))],
        [decision_case(run_case("gptcore", (10.8, 6.0, 3.3), -0.05), published_case(3.5),
                       run_case("gpt2", (3.5, 3.4, 3.2)), context=512)],
        "tokens of python-docs, gpt2, fine-tuned ended lowest, 0.300 nats/token below gpt2, as",
        r"python-docs \(context = 256\), gpt2, fine-tuned ended lowest",
    ),
    Contradiction(
        "loaders.promised", [loader_case("sequential", 1.0, 2232)],
        [loader_case("sequential", 4.0, 2232, sampler_missed_targets=184)],
        "stands for it promises on python-docs: unshuffled with drop_last over 1 epoch$",
        "over 1 epoch, but not unshuffled with drop_last over 4 epochs$",
    ),
    Contradiction(
        "loaders.audited", [audited_case(0, 0)], [audited_case(1, 1)],
        "The live audit found no fault in what torch's DataLoader gave to 1 training run$",
        "found a fault in what torch's DataLoader gave to 1 of 2 training runs$",
    ),
]  # fmt: skip


def headlines(folder: Path, records: list[Record], topic: str) -> list[str]:
    run = load.Run.read(write_ledger(folder, copy.deepcopy(records)), "run")
    (found,) = (each for each in topics.TOPICS if each.__name__ == f"{topics.__name__}.{topic}")
    return [finding.headline.replace(words.NBSP, " ") for finding in found.find(run)]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.function)
def test_planted_row_changes_or_removes_the_headline(case: Contradiction, tmp_path: Path) -> None:
    topic = case.function.partition(".")[0]
    first = headlines(tmp_path / "before", case.rows, topic)
    (claim,) = (line for line in first if re.search(case.before, line))
    then = headlines(tmp_path / "after", [*case.rows, *case.planted], topic)
    assert claim not in then
    if case.after:
        assert [line for line in then if re.search(case.after, line)], then
    else:
        assert not [line for line in then if re.search(case.before, line)], then


def functions_of_findings() -> Iterator[str]:
    """Yield the functions of the topics that yield findings themselves, by module and name."""
    for module in pkgutil.walk_packages(topics.__path__, f"{topics.__name__}."):
        made = importlib.import_module(module.name)
        for name, function in inspect.getmembers(made, inspect.isfunction):
            told = str(inspect.signature(function).return_annotation)
            if function.__module__ == module.name and told == "Iterator[Finding]":
                yield f"{module.name.removeprefix(topics.__name__ + '.')}.{name}"


def test_every_function_of_findings_has_a_row_that_contradicts_it() -> None:
    assert sorted({case.function for case in CASES}) == sorted(functions_of_findings())


def test_precise_pair_stands_above_a_larger_one_with_a_wide_interval(tmp_path: Path) -> None:
    wide = interval(pair_case("precision=bf16", 2.82, "slower"), 2.82, 1.95, 4.06)
    wide = other(wide, work="forward")
    precise = interval(pair_case("precision=bf16", 2.12, "slower"), 2.12, 2.09, 2.15)
    first, second = headlines(tmp_path, [wide, precise], "trust")
    assert "2.12 times" in first
    assert "2.82 times" in second


def test_verdict_that_its_own_interval_contradicts_is_not_printed(tmp_path: Path) -> None:
    case = interval(pair_case("precision=bf16", 0.8, "faster"), 0.8, 0.6, 1.1)
    (headline,) = headlines(tmp_path, [case], "trust")
    assert "neither a difference nor equality" in headline


NULLS = {"ratio_low": None, "ratio_high": None}


def test_verdict_without_an_interval_is_not_printed(tmp_path: Path) -> None:
    peer = other(pair("variant=litgpt", 1.3, "slower"), NULLS)
    (headline,) = headlines(tmp_path, [peer], "peers")
    assert headline.endswith("neither a difference nor equality is shown")
    run = load.Run.read(write_ledger(tmp_path / "table", [copy.deepcopy(peer)]), "run")
    (section,) = topics.peers.sections.section(run, Plotter("r", True))
    assert "ambiguous: neither a difference nor equality" in section.tables[0].rows[0]


def test_candidates_for_the_largest_gain_are_not_said_to_gain(tmp_path: Path) -> None:
    pieces = [ablation("sdpa", 1.2, 1.01, 1.4), ablation("gelu-again", 0.98, 0.9, 1.05)]
    pieces.append(other(ablation("fused-adamw", 1.5, 1.0, 2.0), NULLS))
    (headline,) = headlines(tmp_path, pieces, "peers")
    assert "takes longer" not in headline
    assert headline.endswith("have intervals that overlap or are not known")


@pytest.mark.parametrize(
    ("rows", "topic", "absent"),
    [
        ([other(STEP, {"loss_s": None, "backward_s": None})], "speed", "phase takes"),
        ([missed(RANDOM, 1.0, 9, visits_max=None)], "sampling", "showed others"),
        ([other(scaling_case("p", 1.0), {"predicted_loss": None})], "scaling", "predicted"),
    ],
)
def test_headline_does_not_rest_on_what_is_null(
    rows: list[Record], topic: str, absent: str, tmp_path: Path
) -> None:
    assert not [line for line in headlines(tmp_path, rows, topic) if absent in line]


def test_runs_on_both_sides_of_the_baseline_are_counted_in_all_runs(tmp_path: Path) -> None:
    null = {"above_unigram_low": None, "above_unigram_high": None}
    runs = [training_case("sequential", 0), training_case("sequential", 1, shift=2.0)]
    runs.append(other(training_case("sequential", 2), null))
    (headline,) = headlines(tmp_path, runs, "convergence")
    assert headline == "Training learned more than token frequencies in 1 of 3 runs, and less in 1"


def test_clause_on_a_forward_pass_names_its_conditions(tmp_path: Path) -> None:
    rows = copy.deepcopy([FORWARD, other(FORWARD, {"time_s": 9.0}, batch_size=8)])
    run = load.Run.read(write_ledger(tmp_path, rows), "run")
    clauses = [f.clause for f in topics.findings_of(run) if f.clause.startswith("a forward pass")]
    assert clauses[0].endswith(f"(B{words.NBSP}={words.NBSP}4)")
