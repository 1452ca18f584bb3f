"""Build or reuse: what is claimed, and what the section shows."""

import pytest

from reports import load, words
from reports.blocks import Plotter
from reports.topics import reuse
from tests.helpers.ledgers import record, write_ledger
from tests.helpers.reuse_ledgers import decision_case, published_case, run_case

SCRATCH = run_case("gptcore", (10.8, 6.0, 5.0))
TUNED = run_case("gpt2", (3.5, 3.3, 3.2))


def read(folder, *records):
    return load.Run.read(write_ledger(folder, list(records)), "run")


def headline(folder, *records):
    (found,) = reuse.find(read(folder, *records))
    return found.headline.replace(words.NBSP, " ")


def test_sentence_names_the_tokens_the_best_option_and_the_money_from_which_it_is_best(tmp_path):
    said = headline(tmp_path, decision_case(SCRATCH, published_case(3.5), TUNED))
    assert said == (
        "With 100,000 training tokens of python-docs, gpt2, fine-tuned ended lowest, 0.300 "
        "nats/token below gpt2, as published, from under 0.001 US dollars of training on; for "
        "less money gpt2, as published was better"
    )


def test_published_weights_that_training_does_not_reach_are_best_for_any_money(tmp_path):
    said = headline(tmp_path, decision_case(SCRATCH, published_case(3.5)))
    assert said.endswith("gpt2, as published ended lowest, 1.500 nats/token below L1-H2-C32 from "
                         "scratch")  # fmt: skip


def test_difference_that_the_text_does_not_show_is_not_claimed(tmp_path):
    close = run_case("gptcore", (10.8, 6.0, 3.6), -0.05)
    said = headline(tmp_path, decision_case(close, published_case(3.5)))
    assert "no difference in test loss was resolved between gpt2, as published and" in said


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
    assert ends.rows[1][-1] == "no cost"
    assert {row[0] for row in reasons.rows} == {"building", "reusing"}
    assert [row[1] for row in scores.rows] == ["256", "1,024"]
    assert "H100" in section.intro
