"""What the report says of real DataLoaders, of their audit, and of packing."""

import pytest

from bench.ledger.loaders import PACKING
from reports import topics, words
from reports.blocks import Plotter
from reports.load import Run
from reports.topics import loaders
from tests.helpers.ledgers import CORPUS, audited_case, loader_case, record, write_ledger


@pytest.fixture
def run_of(tmp_path):
    return lambda records: Run.read(write_ledger(tmp_path, records), "run")


def packing_case():
    rows = [("concatenate", 64, 10, 0.0, 0.0, 45, 0), ("best_fit_crop", 64, 7, 0.346, None, 0, 1)]
    return record(
        f"bench_packing::test_packing[{CORPUS}]",
        group="packing",
        params={"corpus": CORPUS, "sizes": [64]},
        metrics={"documents": 79},
        series={"packing": [dict(zip(PACKING, row, strict=True)) for row in rows]},
    )


def cells(run, caption):
    (section,) = loaders.section(run, Plotter("r", True))
    (table,) = [table for table in section.tables if caption in table.caption]
    return table.rows


def test_tables_show_what_the_records_hold(run_of):
    run = run_of([loader_case("sequential", 1.0, 2232), audited_case(0, 1), packing_case()])
    (row,) = cells(run, "a real DataLoader missed")
    assert row == ("unshuffled with drop_last over 1 epoch", "480", *["2,232"] * 3, "0", "0")
    (row,) = cells(run, "live audit")
    assert row == ("unshuffled", "1", "480", "101", "5", "0", "1")
    joined, best = cells(run, "rows of T + 1 tokens")
    assert joined[:4] == ("joined and cut", "64", "10", "0\u00a0%")
    assert best[3:5] == ("34.6\u00a0%", words.MISSING)


def test_fault_is_told_in_the_words_of_the_audit(run_of):
    (finding,) = loaders.find(run_of([audited_case(0, 1), audited_case(1, 0)]))
    assert finding.headline.startswith("The live audit found a fault in what")
    assert "Missed targets: Whole windows are missing." in finding.detail
    assert "missed 101 targets" in finding.detail
    assert "In 1 of 2 runs the missed targets are as many" in finding.detail
    assert len(finding.evidence) == 1


def test_targets_that_theory_expects_to_miss_are_no_fault(run_of):
    case = audited_case(0, 1)
    case["metrics"]["expected_missed_targets"] = case["metrics"]["missed_targets"]
    (finding,) = loaders.find(run_of([case]))
    assert finding.headline.startswith("Targets are missing in what torch's DataLoader gave to 1")
    assert finding.headline.endswith("as many as theory expects")
    assert finding.importance == 43


def test_chance_of_a_shuffled_loader_is_judged_by_its_standard_deviation(run_of):
    for missed, agrees in ((2250, True), (2300, False)):
        chance = {"sd_missed_targets": 10.0, "missed_targets": missed}
        (finding,) = loaders.find(run_of([loader_case("shuffled_blocks", 4.0, 2232, **chance)]))
        assert finding.headline.startswith("Torch's DataLoader showed") is agrees


def test_texts_are_judged_apart(run_of):
    kept, broken = loader_case("sequential", 1.0, 2232), loader_case("sequential", 1.0, 9)
    broken["case"], broken["params"]["corpus"] = "a::b[other]", "other"
    broken["metrics"]["sampler_missed_targets"] = 2232
    found = [finding.headline for finding in loaders.find(run_of([kept, broken]))]
    assert found[0].startswith("Torch's DataLoader showed what the sampler")
    assert found[1].startswith("No DataLoader of torch showed what")
    assert found[1].endswith("on other")


def test_ledger_without_real_loaders_has_no_such_section(run_of):
    run = run_of([])
    assert loaders.find(run) == loaders.section(run, Plotter("r", True)) == []


def test_facts_that_are_no_findings_leave_the_topic_standing(run_of):
    case = audited_case(0, 1)
    case["facts"] = {"audit": ["fault", {"severity": "fault"}, 3]}
    (finding,) = [f for f in topics.findings_of(run_of([case])) if f.topic == "loaders"]
    assert "found a fault" in finding.headline
