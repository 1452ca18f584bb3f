"""The report's sentences: what is claimed from which numbers, and how numbers are written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bench.ledger.record import Record
from gptcore.plain_text import visible
from reports import findings, load, words
from reports.blocks import Finding
from tests.helpers.ledgers import (
    comparison_case,
    coverage_case,
    environment,
    model_case,
    record,
    training_case,
    write_ledger,
)


def run_of(tmp_path: Path, records: list[Record]) -> load.Run:
    return load.Run.read(write_ledger(tmp_path / "run", records), "run")


def headlines(tmp_path: Path, records: list[Record]) -> str:
    return "\n".join(f.headline for f in findings.find(run_of(tmp_path, records)))


DIFFERENCES = [0.01, 0.02, 0.03, 0.01, 0.02, 0.03, 0.02, 0.02]


def pair(**metrics: Any) -> Record:
    return comparison_case("a", "b", DIFFERENCES, **metrics)


def test_equality_is_claimed_only_through_the_adjusted_equivalence_test(tmp_path: Path) -> None:
    claimed = pair(p_adjusted=0.9, p_equivalence=0.01, p_equivalence_adjusted=0.04)
    assert "end equal" in headlines(tmp_path, [claimed])
    adjusted_away = pair(p_adjusted=0.9, p_equivalence=0.01, p_equivalence_adjusted=0.06)
    assert "end equal" not in headlines(tmp_path / "b", [adjusted_away])
    without = pair(p_adjusted=0.9, margin=None, p_equivalence=None, p_equivalence_adjusted=None)
    (finding,) = findings.find(run_of(tmp_path / "c", [without]))
    assert "end equal" not in finding.headline
    assert "there is no margin to test it against" in finding.detail


def earlier(n: int, **metrics: Any) -> list[Record]:
    """Return n comparisons of a ledger that adjusts differences and equalities apart."""
    pairs = [("a", "b"), ("a", "c"), ("b", "c")][:n]
    none = {"n_claims": None, "sign_flip_low": None, "sign_flip_high": None}
    return [comparison_case(*names, DIFFERENCES, **(none | metrics)) for names in pairs]


def test_earlier_ledgers_are_adjusted_for_differences_and_equalities_together(
    tmp_path: Path,
) -> None:
    equal = {"p_value": 0.9, "p_adjusted": 0.9, "p_equivalence_adjusted": 0.04}
    (first, *_) = findings.find(run_of(tmp_path, earlier(2, p_equivalence=0.02, **equal)))
    assert "adjusted 0.08" in first.detail
    assert "end equal" not in first.headline
    said = headlines(tmp_path / "b", earlier(2, p_equivalence=0.01, **equal))
    assert "end equal" in said
    said = headlines(tmp_path / "c", earlier(2, p_value=0.02, p_adjusted=0.04))
    assert "lower in test loss" not in said


def test_equality_is_shown_with_its_own_interval_level_and_margin(tmp_path: Path) -> None:
    (first, *_) = findings.find(run_of(tmp_path, [pair(equal_low=-0.011, equal_high=0.042)]))
    assert f"90 % interval {words.MINUS}0.0110 to +0.0420" in first.detail
    assert "The margin is the gain of 10 % more steps." in first.detail


def test_null_result_says_what_would_have_been_found(tmp_path: Path) -> None:
    found = pair(p_adjusted=0.9, p_equivalence=0.2, detectable=0.0314)
    (alone,) = findings.find(run_of(tmp_path, [found]))
    assert "a difference of 0.0314 nats/token would have been found in 80 %" in alone.detail


def test_null_result_says_which_equality_would_have_been_shown(tmp_path: Path) -> None:
    null = {"p_adjusted": 0.9, "p_equivalence": 0.2, "detectable": 0.03, "detectable_margin": 0.04}
    (alone,) = findings.find(run_of(tmp_path, [pair(**null)]))
    assert "equality to within 0.0400 would have been shown if there is none" in alone.detail


def test_difference_is_told_over_the_text_in_steps_and_in_tokens(tmp_path: Path) -> None:
    given = pair(p_adjusted=0.03, late_slope=0.2, margin=0.019, n_censored=1)
    (alone,) = findings.find(run_of(tmp_path, [given]))
    told = alone.detail.replace(words.NBSP, " ")
    assert (
        f"a longer text of this kind, the 95 % interval of the difference is {words.MINUS}" in told
    )
    assert "the difference is that of 1.11 times the steps" in told  # exp(0.02 / 0.2)
    assert "The tokens until a test loss of 6.200 with a are 0.800 (0.700 to 0.900) times" in told
    assert "those with b; 1 run never reached it." in told
    assert "a lower in 0 % (20.0 % to 100 %) of the pairs" in told


def test_difference_beyond_the_late_slope_is_only_bounded(tmp_path: Path) -> None:
    (alone,) = findings.find(run_of(tmp_path, [pair(p_adjusted=0.03, late_slope=0.02)]))
    assert "the difference is that of more than 2 times the steps" in alone.detail
    flat = pair(p_adjusted=0.03, late_slope=0.02, margin=None)
    (alone,) = findings.find(run_of(tmp_path / "flat", [flat]))
    assert "late slope" not in alone.detail


def test_mean_losses_are_those_of_one_experiment(tmp_path: Path) -> None:
    trained = [training_case("a", seed) for seed in (0, 1)]
    for run in trained:
        run["params"]["experiment"] = "x-python-docs-4"
    (alone,) = findings.find(run_of(tmp_path, trained))
    assert "Mean final test loss in the experiment x on python-docs (" in alone.detail
    trained[1]["params"]["experiment"] = "y-python-docs-4"
    (mixed,) = findings.find(run_of(tmp_path / "mixed", trained))
    assert "Mean final test loss" not in mixed.detail


def test_arms_that_differ_in_passes_and_size_say_so_without_other_arms(tmp_path: Path) -> None:
    trained = [training_case(arm, 0) for arm in ("a", "b", "c")]
    for record_, epochs, size in zip(trained, (1, 4, 64), (1e4, 3e4, 9e9), strict=True):
        record_["metrics"] |= {"epochs": epochs, "train_tokens": 29_491, "n_params": size}
    (first, *_) = findings.find(run_of(tmp_path, [*trained, pair(p_adjusted=0.03)]))
    told = first.headline.replace(words.NBSP, " ")
    assert "after 1 to 4 passes over 29,491 tokens of python-docs, 10.0 k to 30.0 k weights" in told


@pytest.mark.parametrize("metrics", [{"p_adjusted": 0.01}, {"p_equivalence_adjusted": 0.01}])
def test_experiment_that_can_find_nothing_gives_no_verdict(
    tmp_path: Path, metrics: dict[str, float]
) -> None:
    case = comparison_case("a", "b", DIFFERENCES[:6], **metrics)  # 4 * 2 / 2 ** 6 = 0.125
    found = findings.find(run_of(tmp_path, [case]))
    assert "too few seeds for a verdict on a and b" in found[0].headline.lower()
    assert "6 seeds and 4 claims no difference of any size could have been" in found[0].detail
    assert findings.verdict(found).startswith("Nothing can be concluded")


def test_finding_on_another_topic_is_the_verdict_where_no_usual_one_is() -> None:
    found = [
        Finding(90, "memory", "", "a warning", "", ()),
        Finding(56, "convex", "one order is faster", "One order is faster", "", ()),
    ]
    assert findings.verdict(found) == "One order is faster."


def test_headline_says_for_what_it_holds(tmp_path: Path) -> None:
    trained = [training_case(sampler, 0) for sampler in ("a", "b")]
    case = pair(p_adjusted=0.03, n_diverged=1)
    for record_ in (*trained, case):
        record_["params"]["experiment"] = "one"
    for record_ in trained:
        record_["metrics"] |= {"epochs": 3.99, "train_tokens": 29_491, "n_params": 172_000}
    (first, *_) = findings.find(run_of(tmp_path, [*trained, case]))
    held = "after 4 passes over 29,491 tokens of python-docs, 172 k weights, 8 seeds"
    assert held in first.headline.replace("\u00a0", " ")
    assert "172\u00a0k weights" in first.headline  # a line does not break within a number
    assert "1 run diverged and left out" in first.headline
    assert held in first.clause.replace("\u00a0", " ")


def test_comparison_of_which_diverged_runs_leave_no_pair_is_said(tmp_path: Path) -> None:
    lost = {"difference": None, "n_seeds": 1, "n_diverged": 7, "p_adjusted": None}
    (first, *_) = findings.find(run_of(tmp_path, [pair(**lost)]))
    assert "1 seed (7 runs diverged and left out)" in first.headline
    assert "Too few pairs are left" in first.detail


def test_ledger_that_does_not_name_the_experiment_gives_text_and_seeds(tmp_path: Path) -> None:
    records = [training_case("a", 0), pair(p_adjusted=0.03)]
    for case in records:
        del case["params"]["experiment"]
    (first, *_) = findings.find(run_of(tmp_path, records))
    assert "lower in test loss than a on python-docs, 8 seeds" in first.headline


def test_null_is_worded_as_no_difference_resolved(tmp_path: Path) -> None:
    said = headlines(tmp_path, [pair(p_adjusted=0.9, p_equivalence=0.2)])
    assert "No difference in test loss resolved between a and b" in said


def test_difference_needs_the_adjusted_p_value(tmp_path: Path) -> None:
    assert "B ended 0.0200 nats/token lower" in headlines(tmp_path, [pair(p_adjusted=0.03)])
    adjusted_away = headlines(tmp_path / "b", [pair(p_value=0.03, p_adjusted=0.09)])
    assert "ended" not in adjusted_away


def test_real_but_small_difference_is_said_to_be_inside_the_margin(tmp_path: Path) -> None:
    case = pair(p_adjusted=0.03, p_equivalence_adjusted=0.04)
    assert "inside the margin" in headlines(tmp_path, [case])


def test_finding_gives_the_interval_with_its_difference(tmp_path: Path) -> None:
    (finding,) = findings.find(run_of(tmp_path, [pair(sign_flip_low=-0.5, sign_flip_high=0.25)]))
    assert "+0.0200" in finding.detail
    assert f"{words.MINUS}0.5000 to +0.2500" in finding.detail


def test_training_above_the_unigram_baseline_is_not_praised(tmp_path: Path) -> None:
    case = training_case("sequential", 0, shift=1.0)
    assert "less than token frequencies in 1 of 1 run" in headlines(tmp_path, [case])


def test_training_near_the_unigram_baseline_is_not_resolved(tmp_path: Path) -> None:
    case = training_case("sequential", 0)
    case["metrics"] |= {"above_unigram_low": -0.1, "above_unigram_high": 0.1}
    headline = "1 of 1 run ended below token frequencies, but it is too short to say so"
    assert headline in headlines(tmp_path, [case])


def test_number_far_from_theory_is_reported_before_agreement(tmp_path: Path) -> None:
    case = coverage_case("random_replacement", 4.0)
    case["metrics"]["z_missed_targets"] = -5.0
    assert "lies 5 sd from theory" in headlines(tmp_path, [case])


def test_targets_are_called_never_shown_only_after_more_than_one_pass(tmp_path: Path) -> None:
    one, many = coverage_case("sequential", 1.0), coverage_case("sequential", 4.0)
    assert "left out 2,850 targets (2.28\u00a0%) in one pass" in headlines(tmp_path, [one])
    assert "never showed 2,850 targets" in headlines(tmp_path / "both", [one, many])


def test_precisions_are_compared_without_an_interval_claim(tmp_path: Path) -> None:
    records = [model_case("step", "fp32", 5.6, 2e11), model_case("step", "bf16", 2.8, 1e12)]
    (ratio,) = (f for f in findings.find(run_of(tmp_path, records)) if "bf16" in f.headline)
    assert "2 times faster" in ratio.headline
    assert "not interleaved" in ratio.detail


def test_precisions_whose_rounds_overlap_are_not_ranked(tmp_path: Path) -> None:
    records = [model_case("step", "fp32", 5.6, 2e11), model_case("step", "bf16", 5.59, 1e12)]
    assert "no clear difference in time between bf16" in headlines(tmp_path, records)


def test_precisions_of_different_sizes_are_not_compared(tmp_path: Path) -> None:
    other = model_case("step", "bf16", 2.8, 1e12, batch_size=8)
    assert "bf16" not in headlines(tmp_path, [model_case("step", "fp32", 5.6, 2e11), other])


def test_time_of_the_text_is_no_speed_up_claim(tmp_path: Path) -> None:
    run = run_of(tmp_path, [model_case("forward", "fp32", 1.8, 2e11)])
    (forward,) = (f for f in findings.find(run) if "45 s" in f.headline)
    assert "is no speed-up" in forward.detail


def test_absent_accelerator_is_said_only_where_it_was_looked_for(tmp_path: Path) -> None:
    assert "No accelerator" in headlines(tmp_path, [environment()])
    assert "accelerator" not in headlines(tmp_path / "b", [environment(facts={})])


def test_failed_cases_and_changed_code_are_findings(tmp_path: Path) -> None:
    dirty = environment(facts={"run": {"dirty": True}})
    failed = record("a::b", status="failed", reason="MemoryError")
    said = headlines(tmp_path, [dirty, failed])
    assert "1 case failed" in said
    assert "code differed from its commit" in said


# --- words ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (2.2e11, "FLOP/s", "220 GFLOP/s"),
        (1.2e12, "FLOP/s", "1.20 TFLOP/s"),
        (0.0123, "s", "12.3 ms"),
        (5.6, "s", "5.60 s"),
        (1234.0, "s", "1,234 s"),
        (0.0, "s", "0.00 s"),
        (None, "s", "\u2013"),
        (float("nan"), "s", "\u2013"),
    ],
)
def test_si_prefixes_and_units(value: float | None, unit: str, text: str) -> None:
    assert words.si(value, unit) == text.replace(" ", words.NBSP)


def test_numbers_keep_three_digits_and_whole_numbers_all() -> None:
    shown = [words.number(x) for x in (1234567, 34.62, 0.02284, -1.5, 1e-9, None)]
    assert shown == ["1,234,567", "34.6", "0.0228", f"{words.MINUS}1.50", "1.00e\u221209", "\u2013"]


def test_small_p_value_is_never_zero() -> None:
    assert words.p_value(0.0) == "<0.001"


def test_arabic_text_stays_readable_and_marks_that_reorder_do_not() -> None:
    assert visible("مرحبا\u202e\n", keep="\n") == "مرحبا\\u202e\n"
