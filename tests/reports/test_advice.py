"""What the report advises: planted records with a known best advice, and with none."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from bench.ledger.record import Record
from bench.ledger.schema import PHASE_TIMES
from reports import advice, findings, load
from reports.advice import losses
from reports.advice.item import ADVICE_KINDS, Advice
from reports.first_screen import FirstScreen, first_screen
from tests.helpers.ledgers import (
    comparison_case,
    coverage_case,
    environment,
    model_case,
    position_case,
    training_case,
    write_ledger,
)
from tests.helpers.own_ledgers import checks_case, own_pair_case
from tests.helpers.reuse_ledgers import decision_case, published_case, run_case
from tests.helpers.timed_ledgers import NOISY, pair_case, self_case, timed, timed_environment

RANDOM, SEQUENTIAL = "random_replacement", "sequential"


def run_of(tmp_path: Path, *records: Record) -> load.Run:
    return load.Run.read(write_ledger(tmp_path / "run", [environment(), *records]), "run")


def advised(tmp_path: Path, *records: Record) -> list[Advice]:
    return advice.advise(run_of(tmp_path, *records))


def screen(tmp_path: Path, *records: Record) -> FirstScreen:
    run = run_of(tmp_path, *records)
    return first_screen(run, findings.find(run))


def step(precision: str, time_s: float, **params: Any) -> Record:
    peak = {"fp32": 2.2e11, "bf16": 1.2e12}[precision]
    return timed(model_case("step", precision, time_s, peak, **params))


# --- time ---------------------------------------------------------------------------------------


def test_a_faster_precision_is_advised_with_its_factor_warning_and_price(tmp_path: Path) -> None:
    first, *_ = advised(tmp_path, step("fp32", 4.0), step("bf16", 2.0))
    assert first.headline.startswith("Train in bf16: a training step of Model 5 is 2 times faster")
    assert "(512 against 256 tokens/s)" in first.headline
    assert "not timed in turns" in first.warning
    assert "loss was not measured" in first.warning
    assert "8 significant bits" in first.price
    assert first.saves == pytest.approx(0.5)
    assert len(first.cases) == 2


def test_of_cases_that_ran_unsteadily_only_the_least_factor_is_advised(tmp_path: Path) -> None:
    slow = timed(step("fp32", 4.0), NOISY)
    slow["metrics"]["time_min_s"], fastest = 3.0, 2.0
    quick = step("bf16", 2.0)
    quick["metrics"]["time_max_s"] = fastest
    first, *_ = advised(tmp_path, slow, quick)
    assert first.headline.endswith("is at least 1.50 times faster")
    assert first.saves == pytest.approx(1 / 3)
    assert "noisy" in first.warning


def test_rounds_that_overlap_support_no_advice(tmp_path: Path) -> None:
    slow = step("bf16", 3.9)
    slow["metrics"] |= {"time_min_s": 3.7, "time_max_s": 4.3}
    told = advised(tmp_path, step("fp32", 4.0), slow)
    assert not [a for a in told if "bf16" in a.headline]


@pytest.mark.parametrize(("high", "is_advised"), [(0.6, True), (1.01, False)])
def test_a_pair_in_turns_is_advised_as_far_as_its_own_interval_bears_it_out(
    tmp_path: Path, high: float, is_advised: bool
) -> None:
    pair = pair_case("precision=bf16", 0.5, "faster", metrics={"ratio_high": high})
    told = advised(tmp_path, pair)
    assert bool(told) == is_advised
    if told:
        assert "2 times faster" in told[0].headline
        assert "Timed in turns" in told[0].evidence


def test_what_a_pair_in_turns_does_not_show_is_not_advised_from_two_cases(tmp_path: Path) -> None:
    alone = step("fp32", 4.0, model="model4"), step("bf16", 2.0, model="model4")
    (seen,) = [a for a in advised(tmp_path / "a", *alone) if "bf16" in a.headline]
    assert seen.kind == "change"
    for verdict, ratio in (("slower", 1.5), ("ambiguous", 1.0), ("faster", 1.5)):
        told = advised(tmp_path / verdict, pair_case("precision=bf16", ratio, verdict), *alone)
        assert not [a for a in told if "bf16" in a.headline], verdict


@pytest.mark.parametrize("odd", [{"rounds": 1}, {"rounds": None}, {"time_min_s": 0.0}])
def test_too_few_rounds_or_impossible_times_support_no_advice(
    tmp_path: Path, odd: dict[str, Any]
) -> None:
    slow, fast = step("fp32", 4.0), step("bf16", 2.0)
    slow["metrics"] |= odd
    assert not [a for a in advised(tmp_path, slow, fast) if "bf16" in a.headline]


def test_an_accelerator_is_named_in_the_advice_and_in_the_line_to_quote(tmp_path: Path) -> None:
    on_gpu = [step(name, time_s, device="cuda") for name, time_s in (("fp32", 0.4), ("bf16", 0.1))]
    for case in on_gpu:
        case["case"] = case["case"].replace("cpu", "cuda")
    found = screen(tmp_path, *on_gpu, step("fp32", 4.0), step("bf16", 2.0))
    told = [a.headline for a in found.advice if "bf16" in a.headline]
    assert len(told) == 2
    assert "a training step of Model 5 on cuda is 4 times faster" in told[0]
    assert "a training step of Model 5 is 2 times faster" in told[1]
    assert "tokens/s in fp32 on cuda" in found.quote


@pytest.mark.parametrize(
    ("ratio", "ends"), [(1.5, (0.4, 0.6)), (0.5, (1.2, 0.8)), (0.0, (0.0, 0.0))]
)
def test_a_ratio_outside_of_its_interval_supports_no_advice(
    tmp_path: Path, ratio: float, ends: tuple[float, float]
) -> None:
    odd = dict(zip(("ratio_low", "ratio_high"), ends, strict=True))
    assert not advised(tmp_path, pair_case("precision=bf16", ratio, "faster", metrics=odd))


def test_a_share_of_more_than_a_whole_step_is_no_advice(tmp_path: Path) -> None:
    odd = step("fp32", 1.0)
    odd["metrics"]["data_s"] = 40.0
    assert not advised(tmp_path, odd)


def test_a_step_comes_before_a_forward_pass_of_the_same_change(tmp_path: Path) -> None:
    pair = pair_case("precision=bf16", 0.3, "faster")
    pair["params"]["base"] = {**pair["params"]["base"], "work": "forward"}
    told = advised(tmp_path, pair, step("fp32", 4.0), step("bf16", 2.0))
    (found,) = [a for a in told if "bf16" in a.headline]
    assert "training step" in found.headline


def test_a_pair_of_a_forward_pass_stands_beside_a_step(tmp_path: Path) -> None:
    pair = pair_case("precision=bf16", 0.3, "faster")
    pair["params"]["base"] = {**pair["params"]["base"], "work": "forward"}
    found, *_ = advised(tmp_path, pair, step("fp32", 4.0), step("bf16", 2.0))
    first, second = found.evidence.split(" For a forward pass of Model ")
    assert first.startswith("Timed one after the other")
    assert ", timed in turns: " in second
    assert pair["case"] in found.cases


def test_an_output_layer_that_takes_most_of_a_step_is_to_be_looked_at(tmp_path: Path) -> None:
    small = step("fp32", 0.4, model="model4")
    small["metrics"] |= {"loss_s": 0.32, "backward_s": 0.04, "forward_s": 0.03}
    (found,) = [a for a in advised(tmp_path, small) if a.kind == "look"]
    assert "Model 4" in found.headline
    assert "most that can be gained" in found.warning
    assert not [a for a in advised(tmp_path / "b", step("fp32", 4.0)) if a.kind == "look"]


def test_a_slow_loader_is_to_be_looked_at_and_a_fast_one_left(tmp_path: Path) -> None:
    slow, fast = step("fp32", 1.0), step("fp32", 1.0)
    rest = sum(slow["metrics"][name] for name in PHASE_TIMES if name in slow["metrics"])
    rest -= slow["metrics"]["data_s"]
    slow["metrics"] |= {"data_s": rest * 2 / 3}
    (found,) = advised(tmp_path, slow)
    assert (
        found.headline == "Make batches ahead or faster: they take 40.0\u00a0% of a step of Model 5"
    )
    (left,) = advised(tmp_path / "b", fast)
    assert left.kind == "leave"


# --- loss ---------------------------------------------------------------------------------------


def pair_of_arms(difference: float, **metrics: Any) -> Record:
    return comparison_case(RANDOM, SEQUENTIAL, [difference, 1.1 * difference] * 4, **metrics)


def test_the_arm_that_ended_lower_is_advised_by_the_adjusted_test_alone(tmp_path: Path) -> None:
    runs = [training_case(sampler, 0) for sampler in (RANDOM, SEQUENTIAL)]
    shown = pair_of_arms(-0.3, p_adjusted=0.04, tokens_ratio=0.6, tokens_ratio_high=0.7)
    (found,) = advised(tmp_path, *runs, shown)
    assert found.headline.startswith("Take random windows instead of the unshuffled DataLoader")
    assert found.saves == pytest.approx(0.4)
    turned = pair_of_arms(0.3, p_adjusted=0.04, tokens_ratio=2.0, tokens_ratio_low=1.6)
    (other,) = advised(tmp_path / "b", *runs, turned)
    assert other.headline.startswith("Take the unshuffled DataLoader instead of random windows")
    assert other.saves == pytest.approx(0.5)
    (left,) = advised(tmp_path / "c", *runs, pair_of_arms(-0.3, p_adjusted=0.06))
    assert left.kind == "leave"
    assert "no difference in test loss was resolved" in left.headline


def test_arms_that_no_difference_was_shown_to_are_named_beside_the_better_one(
    tmp_path: Path,
) -> None:
    shown = pair_of_arms(-0.3, p_adjusted=0.01, text_low=-0.6, text_high=-0.05)
    alike = comparison_case(RANDOM, "shuffled_blocks", [-0.01, 0.01] * 4, p_adjusted=0.9)
    (found,) = [a for a in advised(tmp_path, shown, alike) if a.kind == "change"]
    told = "Between random windows and the shuffled DataLoader, no difference was shown."
    assert told in found.warning.replace(" (torch's own)", "")
    assert "a longer text of this kind" in found.evidence
    (alone,) = advised(tmp_path / "b", shown)
    assert "no difference was shown" not in alone.warning


def test_arms_that_change_places_in_another_comparison_are_said_to(tmp_path: Path) -> None:
    one, other = pair_of_arms(-0.3, p_adjusted=0.01), pair_of_arms(0.3, p_adjusted=0.01)
    other["case"] = other["case"].replace("samplers", "others")
    contested = [a.warning for a in advised(tmp_path, one, other)]
    assert len(contested) == 2
    assert all(losses.CONTESTED in warning for warning in contested)
    (alone,) = advised(tmp_path / "b", one)
    assert losses.CONTESTED not in alone.warning


@pytest.mark.parametrize("ends", [(-0.5, 0.1), (0.1, 0.5)])
def test_an_interval_that_contains_zero_or_not_its_difference_supports_no_advice(
    tmp_path: Path, ends: tuple[float, float]
) -> None:
    low, high = ends
    odd = pair_of_arms(-0.3, p_adjusted=0.01, sign_flip_low=low, sign_flip_high=high)
    assert not advised(tmp_path, odd)


def test_the_price_of_an_arm_names_more_text_and_more_parameters(tmp_path: Path) -> None:
    runs = [training_case(sampler, 0) for sampler in (RANDOM, SEQUENTIAL)]
    for case, tokens in zip(runs, (60_000, 6_000), strict=True):
        case["params"] |= {"arm": case["params"]["sampler"], "experiment": "scarce"}
        case["metrics"] |= {"train_tokens": tokens, "n_params": tokens // 3_000}
    shown = pair_of_arms(-0.3, p_adjusted=0.04)
    shown["params"]["experiment"] = "scarce"
    (found,) = [a for a in advised(tmp_path, *runs, shown) if a.kind == "change"]
    assert found.price == "10 times the parameters and 10 times the text."


def test_tokens_are_saved_only_where_their_interval_says_so(tmp_path: Path) -> None:
    unsure = pair_of_arms(-0.3, p_adjusted=0.04, tokens_ratio=0.9, tokens_ratio_high=1.2)
    (found,) = advised(tmp_path, unsure)
    assert found.saves == 0


def test_a_last_batch_that_is_dropped_without_shuffling_is_advised_against(tmp_path: Path) -> None:
    kept = [coverage_case(SEQUENTIAL, epochs) for epochs in (1.0, 4.0)]
    dropped = copy.deepcopy(kept)
    for case in dropped:
        case["params"]["drop_last"] = True
        case["case"] = case["case"].replace("-keep-", "-drop_last-")
        case["metrics"]["missed_targets"] = 9_000
    (found,) = advised(tmp_path, *kept, *dropped)
    assert "every pass leaves out the same 7.20\u00a0% of the text" in found.headline
    dropped[1]["metrics"]["missed_targets"] = kept[1]["metrics"]["missed_targets"]
    assert not advised(tmp_path / "b", *kept, *dropped)


def test_reusing_is_advised_where_scratch_lies_above_by_an_interval(tmp_path: Path) -> None:
    scratch, published = run_case("gptcore", (9.0, 6.0, 5.0)), published_case(4.0)
    (found,) = advised(tmp_path, decision_case(scratch, published))
    assert found.headline.startswith("Take gpt2, as published instead of training from scratch")
    unclear = decision_case(scratch, published)
    for row in unclear["series"]["reuse_options"]:
        row["behind_low"] = None if row["behind_low"] is None else -0.1
    assert not advised(tmp_path / "b", unclear)


# --- order and first screen ---------------------------------------------------------------------


def test_a_fault_of_the_model_comes_first_and_spoils_the_trust(tmp_path: Path) -> None:
    records = [step("fp32", 4.0), step("bf16", 2.0), own_pair_case(4.0)]
    found = screen(tmp_path, *records, checks_case("causality"))
    kinds = [ADVICE_KINDS.index(a.kind) for a in found.advice]
    assert kinds == sorted(kinds)
    assert found.advice[0].headline.startswith("Repair this first: the checks found 1 fault")
    assert found.trust.startswith("No. ")
    changes = [a for a in found.advice if a.kind == "change"]
    assert [round(a.saves, 2) for a in changes] == [0.75, 0.5]
    assert "mine.py" in changes[0].headline
    sound = screen(tmp_path / "b", *records, checks_case())
    assert sound.advice[0].kind == "change"
    assert not sound.trust.startswith("No. ")


def test_a_rule_that_fails_costs_its_own_advice_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_run: load.Run) -> Any:
        raise OverflowError

    monkeypatch.setattr(advice, "RULES", (broken, *advice.times.RULES[:1]))
    assert len(advised(tmp_path, step("fp32", 4.0), step("bf16", 2.0))) == 1


def test_the_first_table_says_where_it_stops(tmp_path: Path) -> None:
    many = [step("fp32", 4.0 + i, model=f"model{i}") for i in range(20)]
    for i, case in enumerate(many):
        case["case"] = f"bench_model::test_step[{i}]"
    table = screen(tmp_path, *many).glance
    assert table is not None
    assert table.caption.endswith("The first 12 of 20 timed cases.")
    assert len(table.rows) == 12


def test_the_answer_says_how_fast_how_near_the_peak_and_what_to_do(tmp_path: Path) -> None:
    found = screen(tmp_path, step("fp32", 4.0), step("bf16", 2.0))
    assert found.answer.startswith(
        "Model 5 (124\u00a0M parameters, B\u00a0=\u00a04, T\u00a0=\u00a0256)"
    )
    assert "256 tokens/s in fp32" in found.answer
    assert "Little is left to gain in fp32; train in bf16" in found.answer
    assert "2 threads" in found.quote
    assert found.glance is not None
    assert [row[1] for row in found.glance.rows] == ["256", "512"]
    assert found.glance.bars[4][0] == pytest.approx(0.89, abs=0.02)


def test_a_share_beyond_the_measured_peak_is_not_claimed(tmp_path: Path) -> None:
    beyond = step("fp32", 4.0)
    beyond["metrics"]["mfu"] = 1.2
    told = screen(tmp_path, beyond)
    assert "matrix product on this machine" not in told.answer
    assert "Little is left" not in told.answer


def test_a_speed_that_was_not_recorded_is_neither_answered_nor_quoted(tmp_path: Path) -> None:
    odd = step("fp32", 4.0)
    odd["metrics"]["tokens_per_s"] = None
    told = screen(tmp_path, odd)
    assert "tokens/s" not in told.answer
    assert told.quote == ""


def test_a_line_to_quote_tells_an_unsteady_case_and_is_missing_where_trust_is(
    tmp_path: Path,
) -> None:
    assert "; noisy" in screen(tmp_path / "a", timed(step("fp32", 4.0), NOISY)).quote
    assert not screen(tmp_path / "b", step("fp32", 4.0), checks_case("causality")).quote


def test_an_empty_run_says_that_nothing_can_be_concluded(tmp_path: Path) -> None:
    found = screen(tmp_path)
    assert found.answer.startswith("Nothing can be concluded")
    assert (found.advice, found.quote, found.glance) == ([], "", None)


@pytest.mark.parametrize(
    ("records", "verdict", "reason"),
    [
        ([step("fp32", 4.0)], "Yes", "Checked: how steadily 1 timed case ran."),
        ([self_case(n=20)], "Yes", "Checked: 20 comparisons of a case with its copy."),
        ([model_case("step", "fp32", 4.0, 2.2e11)], "Partly", "Nothing in this run was checked"),
        ([training_case(RANDOM, seed) for seed in (0, 1)], "Partly", "over several seeds"),
        ([timed(step("fp32", 4.0), NOISY)], "Partly", "1 of 1 timed case ran unsteadily"),
        ([position_case(raw=False)], "Partly", "easier to predict"),
        ([self_case(n=20, alarms=1)], "Partly", "1 of 20 comparisons"),
        ([pair_of_arms(-0.3, n_diverged=3)], "Partly", "left out runs that diverged"),
        ([self_case(n=12, alarms=1)], "Partly", "1 of 12 comparisons"),
        ([self_case(n=20, alarms=4)], "No", "more often than chance explains where 5 %"),
    ],
)
def test_trust_names_what_speaks_against_the_numbers(
    tmp_path: Path, records: list[Record], verdict: str, reason: str
) -> None:
    told = screen(tmp_path, *copy.deepcopy(records)).trust
    assert told.startswith(f"{verdict}. ")
    assert reason in told


def test_a_peak_that_changed_is_a_doubt_where_a_number_rests_on_it(tmp_path: Path) -> None:
    folder = write_ledger(tmp_path / "run", [timed_environment(), step("bf16", 2.0)])
    run = load.Run.read(folder, "run")
    assert "changed by \u221212.5\u00a0% during the run" in first_screen(run, []).trust
