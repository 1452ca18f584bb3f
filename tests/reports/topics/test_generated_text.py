"""The report on generated texts and on the course of their form."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest

from bench.ledger.record import Record
from reports import load, page
from reports.blocks import Plotter, Section
from reports.topics import generated_text
from tests.helpers.ledgers import training_case, with_form, write_ledger

RANDOM = training_case("random_replacement", 0)
COURSE: dict[str, list[float | None]] = {
    "line_break_share": [-30.0, -1.0, 3.0, 0.5],
    "words_per_sentence": [None, 1.0, 1.5, 0.1],
    "known_words_share": [-9.0, -8.0, -7.0, -6.0],
}
FORM = with_form(RANDOM, COURSE, unigram=1.0, bigram=-4.0)


def section_of(tmp_path: Path, *records: Record, figures: bool = False) -> Section:
    run = load.Run.read(write_ledger(tmp_path / "run", list(records)), "run")
    (section,) = generated_text.section(run, Plotter("r", figures))
    return section


@pytest.mark.parametrize(
    ("inside", "first", "stays"),
    [
        ([False, True, False, True], 1, 3),
        ([True, True, True], 0, 0),
        ([False, True, True], 1, 1),
        ([True, False], 0, None),
        ([False, False], None, None),
        ([], None, None),
    ],
)
def test_when_a_measure_first_comes_and_stays(
    inside: list[bool], first: int | None, stays: int | None
) -> None:
    assert generated_text.reached([float(i) for i in range(len(inside))], inside) == (first, stays)


def test_table_says_when_each_measure_is_near_or_that_it_never_is(tmp_path: Path) -> None:
    (table,) = section_of(tmp_path, FORM).tables
    rows = {row[0]: row[1:] for row in table.rows}
    assert list(rows) == [name.replace("_", " ") for name in COURSE]
    assert rows["line break share"][:4] == ("\u221230.0", "+0.5", "10", "30")
    assert rows["words per sentence"][:4] == ("\u2013", "+0.1", "10", "10")
    assert rows["known words share"][:4] == ("\u22129.0", "\u22126.0", "never", "never")
    assert rows["known words share"][-2:] == ("+1.0", "\u22124.0")


def test_figure_has_a_panel_for_each_measure_and_lines_for_the_controls(tmp_path: Path) -> None:
    (plot,) = section_of(tmp_path, FORM, figures=True).plots
    for name in ("line break share", "known words share", "unigram sampling", "random windows"):
        assert name in plot.svg
    assert len(plot.data.rows) == 3 * (4 + 2 * 2)  # the model at its steps, two controls at ends


def test_only_so_many_models_are_drawn(tmp_path: Path) -> None:
    records = []
    for i in range(generated_text.MOST_LINES + 2):
        record = copy.deepcopy(FORM)
        record["params"]["arm"], record["case"] = f"sampler{i}", f"a::b[{i}]"
        records.append(record)
    (plot,) = section_of(tmp_path, *records, figures=True).plots
    assert "The first 4 of 6 models." in plot.caption
    assert "sampler4" not in plot.svg


def test_each_arm_of_an_experiment_has_its_texts_and_its_own_controls(tmp_path: Path) -> None:
    """The sampler is the same; the runs differ in their initial weights alone."""
    other = with_form(RANDOM, COURSE, unigram=7.0)
    records = [copy.deepcopy(FORM), other]
    for record, init in zip(records, ("normal", "gpt2"), strict=True):
        record["case"] = f"a::b[{init}]"
        record["params"] |= {"arm": f"init_{init}", "experiment": "weights-python-docs-4"}
    made = section_of(tmp_path, *records)
    assert {text.source for text in made.texts} == {
        "standard normal weights, seed 0, weights on python-docs",
        "weights as in GPT-2, seed 0, weights on python-docs",
    }
    assert [table.rows[0][-2] for table in made.tables] == ["+1.0", "+7.0"]


def test_texts_stand_with_their_time(tmp_path: Path) -> None:
    record = copy.deepcopy(FORM)
    rows = record["series"]["generated"]
    rows.insert(1, {"when": "step 24", "prompt": "The", "text": None})
    texts = section_of(tmp_path, record).texts
    assert [text.when for text in texts] == [
        "before training", "after 24 updates", "after training",
    ]  # fmt: skip
    assert texts[1].text == "(no text: the model diverged)"


def test_ledger_without_form_shows_its_texts_alone(tmp_path: Path) -> None:
    section = section_of(tmp_path, RANDOM, figures=True)
    assert (section.plots, section.tables, len(section.texts)) == ([], [], 2)


@pytest.mark.parametrize("value", [None, 1e308])
def test_any_number_of_a_ledger_makes_a_page(tmp_path: Path, value: float | None) -> None:
    record = copy.deepcopy(FORM)
    for row in record["series"]["form_curve"]:
        row |= {"z": value, "value": value, "usual_share": value, "share_below": value}
    run = load.Run.read(write_ledger(tmp_path / "run", [record]), "run")
    text, _ = page.render([run], "html")
    assert "could not be" not in text
    for row in record["series"]["form_curve"]:
        row["step"] = row["source"] = row["measure"] = None
    run = load.Run.read(write_ledger(tmp_path / "none", [record]), "run")
    assert "could not be" not in page.render([run], "html")[0]
