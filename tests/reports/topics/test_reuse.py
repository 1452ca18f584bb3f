"""Build or reuse: what is claimed, and what the section shows."""

import pytest

from reports import load, words
from reports.blocks import Plotter
from reports.topics import reuse
from tests.helpers.ledgers import record, write_ledger
from tests.helpers.reuse_ledgers import decision_case, published_case, run_case

SCRATCH = run_case("gptcore", (10.8, 6.0, 5.0))
TUNED = run_case("gpt2", (3.5, 3.3, 3.2))
SERIES_OF_MONEY = ("reuse_options", "reuse_curve", "reuse_choice")


def read(folder, *records):
    return load.Run.read(write_ledger(folder, list(records)), "run")


def headline(folder, *records):
    (found,) = reuse.find(read(folder, *records))
    return found.headline.replace(words.NBSP, " ")


def test_sentence_names_the_tokens_the_best_option_and_the_money_from_which_it_is_best(tmp_path):
    said = headline(tmp_path, decision_case(SCRATCH, published_case(3.5), TUNED))
    assert said == (
        "With 100,000 training tokens of python-docs, gpt2, fine-tuned ended lowest, 0.300 "
        "nats/token below gpt2, as published; its loss was the lowest from under 0.001 US dollars "
        "of training upwards"
    )


def test_less_money_names_every_option_that_had_the_lowest_loss_for_it(tmp_path):
    scratch, tuned = run_case("gptcore", (10.8, 3.45, 3.1)), run_case("gpt2", (3.5, 3.4, 3.0))
    case = decision_case(scratch, published_case(3.5), tuned)
    for step in case["series"]["reuse_choice"]:
        for name in ("money_low", "money", "money_high"):
            step[name] *= 1e6
    assert headline(tmp_path, case).endswith(
        "; its loss was the lowest from 3.1 US dollars (1.6 to 10) of training upwards, and for "
        "less money that of gpt2, as published or L1-H2-C32 from scratch"
    )


def test_lower_loss_on_the_way_of_another_option_is_told_and_no_money(tmp_path):
    rising = run_case("gptcore", (10.8, 2.9, 3.4))
    said = headline(tmp_path, decision_case(rising, published_case(3.5), TUNED))
    assert said.endswith(
        "gpt2, fine-tuned ended lowest, 0.200 nats/token below L1-H2-C32 from scratch; on the way "
        "L1-H2-C32 from scratch had a lower loss, 2.900"
    )


def test_without_a_price_no_money_is_told(tmp_path):
    case = decision_case(SCRATCH, published_case(3.5), TUNED)
    for row in [row for name in SERIES_OF_MONEY for row in case["series"][name]]:
        row |= dict.fromkeys(("money_low", "money", "money_high"))
    assert headline(tmp_path / "a", case).endswith("0.300 nats/token below gpt2, as published")
    (section,) = reuse.section(read(tmp_path / "b", case), Plotter("r", True))
    assert len(section.plots) == 1


def test_option_without_a_loss_is_left_out_of_the_sentence(tmp_path):
    case = decision_case(SCRATCH, published_case(3.5), TUNED)
    case["series"]["reuse_options"][0]["loss"] = None
    assert "gpt2, fine-tuned ended lowest" in headline(tmp_path, case)


def test_published_weights_that_training_does_not_reach_are_best_for_any_money(tmp_path):
    said = headline(tmp_path, decision_case(SCRATCH, published_case(3.5)))
    assert said.endswith("gpt2, as published ended lowest, 1.500 nats/token below L1-H2-C32 from "
                         "scratch")  # fmt: skip


def test_difference_that_the_text_does_not_show_is_not_claimed(tmp_path):
    close = run_case("gptcore", (10.8, 6.0, 3.6), -0.05)
    said = headline(tmp_path, decision_case(close, published_case(3.5)))
    assert said.endswith(
        "no difference in test loss was resolved between gpt2, as published and L1-H2-C32 from "
        "scratch; of these, gpt2, as published costs least (no cost)"
    )


def test_without_weights_nothing_is_compared_and_the_page_says_what_to_give(tmp_path):
    case = decision_case(SCRATCH)
    case["facts"]["not_run"] = "give --pretrained=DIR"
    assert headline(tmp_path, case).endswith("was not compared with published weights")
    (section,) = reuse.section(read(tmp_path / "b", case), Plotter("r", True))
    assert "give --pretrained=DIR" in section.intro


@pytest.mark.parametrize("suite", ["standard", "earlier"])
def test_suite_without_these_cases_says_so_or_has_no_section(suite, tmp_path):
    skip = record("bench_reuse::test_train[pretrained]", record="skip", status="skipped",
                  reason="suite standard compares none; --suite=study does")  # fmt: skip
    other = record("a::b", group="x")
    run = read(tmp_path, *([skip] if suite == "standard" else [other]))
    sections = reuse.section(run, Plotter("r", True))
    assert [s.missing for s in sections] == (
        ["Suite standard compares none; --suite=study does."] if suite == "standard" else []
    )


def test_section_shows_cost_against_quality_and_the_reasons(tmp_path):
    case = decision_case(SCRATCH, published_case(3.5), TUNED)
    run = read(tmp_path, case, published_case(3.5), published_case(3.3, 1024))
    (section,) = reuse.section(run, Plotter("r", True))
    assert len(section.plots) == 2
    ends, reasons, scores = section.tables
    assert [row[0] for row in ends.rows] == [
        "gpt2, fine-tuned", "gpt2, as published", "L1-H2-C32 from scratch",
    ]  # fmt: skip
    assert [row[3] for row in ends.rows] == [
        "under 0.001 US dollars", "no cost", "under 0.001 US dollars"
    ]  # fmt: skip
    assert "Energy, kWh" not in ends.columns
    assert "no counter of it could be read" in ends.note
    assert {row[0] for row in reasons.rows} == {"building", "reusing"}
    assert [row[1] for row in scores.rows] == ["256", "1,024"]
    assert "H100" in section.intro
