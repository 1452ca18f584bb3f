"""The section on the user's own model, from planted records."""

import copy

import pytest

from reports import load, words
from reports.blocks import Plotter
from reports.findings import find
from reports.page import render
from reports.topics import TOPICS, own_model
from tests.helpers.ledgers import comparison_case, model_case, record, write_ledger
from tests.helpers.own_ledgers import (
    OWN,
    checks_case,
    own_loader_case,
    own_pair_case,
    own_peak_case,
)

WHOLE = [
    checks_case(),
    own_pair_case(1.5),
    *own_peak_case(4, 900, 600),
    own_loader_case(),
    comparison_case("gptcore", "mine.py", [-0.1, -0.2, -0.15, -0.12])
    | {"case": "bench_convergence::test_compare[own-python-docs-gptcore-vs-mine.py]"},
]
WHOLE[-1]["params"]["experiment"] = "own-python-docs-Nall"


def run_of(folder, records):
    return load.Run.read(write_ledger(folder, copy.deepcopy(records)), "run")


def cells(section):
    return [cell for table in section.tables for row in table.rows for cell in row]


def test_your_model_is_the_first_section_and_begins_with_the_checks(tmp_path):
    assert TOPICS[0] is own_model
    run = run_of(tmp_path, [*WHOLE, model_case("step", "fp32", 2.0, 2.2e11)])
    (section,) = own_model.section(run, Plotter("r", True))
    assert section.short == "Your model"
    captions = [table.caption for table in section.tables]
    assert captions[0].startswith("What the checks found; 2 more checks found nothing")
    assert [caption.split(" ")[0] for caption in captions[1:]] == [
        "Time", "What", "Peak", "What", "Paired"
    ]  # fmt: skip
    assert "GELU, exact" in cells(section)
    assert len(section.plots) == 1
    assert ">mine.py<" in section.plots[0].svg


@pytest.mark.parametrize("begin", ["mine.py", "my_model.v2.py, its own loader,", "gptcore's own"])
def test_the_name_of_a_file_or_package_keeps_its_first_letter(begin):
    assert words.sentence(f"{begin} ended lower") == f"{begin} ended lower."
    assert words.sentence(f"the loss of {begin}").startswith("The loss of ")


def test_a_fault_is_the_first_finding_of_the_page(tmp_path):
    records = [*WHOLE[1:], checks_case("causality", "loss")]
    first = find(run_of(tmp_path, records))[0]
    assert first.headline == "The checks found 2 faults in mine.py: causality and loss"
    assert "means of causality" in first.detail


def test_a_run_without_a_model_has_no_such_section(tmp_path):
    run = run_of(tmp_path, [model_case("step", "fp32", 2.0, 2.2e11)])
    assert own_model.section(run, Plotter("r", True)) == []
    assert own_model.find(run) == []


def test_what_was_not_compared_stands_there_with_its_reason(tmp_path):
    skip = record(
        "bench_own::test_pair[step]", record="skip", status="skipped",
        reason="mine.py is not compared, because the check loss found a fault",
    )  # fmt: skip
    (section,) = own_model.section(
        run_of(tmp_path, [checks_case("loss"), skip]), Plotter("r", True)
    )
    assert "mine.py is not compared, because the check loss found a fault" in cells(section)


@pytest.mark.parametrize(
    ("ratio", "verdict", "said"),
    [
        (1.5, "slower", "takes 1.50 times as long in mine.py as in gptcore"),
        (0.5, "faster", "takes 2 times as long in gptcore as in mine.py"),
        (1.0, "same", "takes the same time in mine.py and gptcore, within the margin"),
        (1.03, "ambiguous", "are too uncertain to compare"),
    ],
)
def test_times_are_said_as_their_interval_allows(tmp_path, ratio, verdict, said):
    (finding,) = own_model.find(run_of(tmp_path, [own_pair_case(ratio, verdict)]))
    assert said in finding.headline


def test_odd_facts_and_series_leave_the_page_whole(tmp_path):
    odd = own_loader_case()
    odd["facts"] = {"audit": [None, {"kind": ["x"]}]}
    pair = own_pair_case(1.2, differences=[3, {"what": None}])
    step = record("bench_own::test_step[x]", group="own_step", params=OWN, metrics={"time_s": None})
    page, _ = render([run_of(tmp_path, [checks_case(), odd, pair, step])], "html")
    assert "Your model" in page
    assert "could not be made" not in page
