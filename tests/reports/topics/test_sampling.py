"""The report on the sampling laboratory: 2 x 2, scarce text, test part, loading, leakage."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bench.ledger.record import Record
from gptcore.sampling.samplers import SAMPLERS
from reports import findings, load, page, words
from reports.blocks import Finding, Plotter, Section
from reports.topics import Topic, batches, position, sampling
from reports.topics.convergence import tables as convergence_tables
from reports.topics.sampling import frames as sampling_frames
from reports.topics.sampling import tables as sampling_tables
from tests.helpers.drawings import written
from tests.helpers.ledgers import (
    COVERAGE,
    counting_case,
    coverage_case,
    loading_case,
    position_case,
    training_case,
    write_ledger,
)

CORE = tuple(sampling_frames.CORE)


def run_of(tmp_path: Path, records: list[Record]) -> load.Run:
    return load.Run.read(write_ledger(tmp_path / "run", records), "run")


def section_of(topic: Topic, run: load.Run, figures: bool = False) -> Section:
    (section,) = topic.section(run, Plotter("r", figures))
    return section


def finding_of(tmp_path: Path, records: list[Record], part: str) -> Finding:
    found = findings.find(run_of(tmp_path, records))
    (finding,) = (f for f in found if re.search(part, f.headline))
    return finding


def headlines(tmp_path: Path, records: list[Record]) -> str:
    return "\n".join(f.headline for f in findings.find(run_of(tmp_path, records)))


def four(epochs: float) -> list[Record]:
    return [coverage_case(sampler, epochs) for sampler in CORE]


def scarce(epochs: float = 1.0) -> list[Record]:
    return [
        coverage_case(sampler, epochs / share, text_share=share)
        for sampler in ("random_replacement", "shuffled_blocks")
        for share in (1.0, 0.1, 0.01)
    ]


# --- the 2 x 2 ------------------------------------------------------------------------------


@pytest.mark.parametrize("absent", CORE)
def test_two_by_two_needs_all_four_cells(absent: str, tmp_path: Path) -> None:
    cases = [case for case in four(1.0) if case["params"]["sampler"] != absent]
    assert sampling_frames.two_by_two(run_of(tmp_path, cases).cases("coverage")).empty
    assert "eplacement" not in headlines(tmp_path / "found", cases)


def test_two_by_two_takes_no_cell_from_another_setting_or_drop_last(tmp_path: Path) -> None:
    other, dropped = four(1.0), four(1.0)
    other[0]["params"]["block_size"] = 128
    dropped[0]["params"]["drop_last"] = True
    for number, cases in enumerate((other, dropped)):
        frame = run_of(tmp_path / str(number), cases).cases("coverage")
        assert sampling_frames.two_by_two(frame).empty


def test_overlap_is_blamed_with_the_numbers_of_this_run(tmp_path: Path) -> None:
    cases = four(1.0)
    for case, missed in zip(cases, (45_000, 46_000, 250, 125), strict=True):
        case["metrics"] |= {"missed_targets": missed, "repeated_windows": 2}
    finding = finding_of(tmp_path, cases, "Drawing with replacement.*36.0.% to 36.8.% against")
    for text in (
        "36.8 % of the targets with starts on a fixed grid",
        "36.0 % with free starts",
        "0.100 % on the fixed grid and 0.200 % with a free offset",
    ):
        assert text.replace(" %", f"{words.NBSP}%") in finding.detail
    assert "random windows repeated 2 of 496 starts" in finding.detail
    assert len(finding.evidence) == 4


def test_overlap_is_not_blamed_where_the_cells_do_not_show_it(tmp_path: Path) -> None:
    cases = four(1.0)
    cases[0]["metrics"]["missed_targets"] = 10
    assert "no clear cause" in headlines(tmp_path, cases)


def test_new_alignments_are_claimed_only_from_a_run_longer_than_one_epoch(tmp_path: Path) -> None:
    one = finding_of(tmp_path / "one", four(1.0), "Drawing with")
    assert "only a longer run" in one.detail
    many = finding_of(tmp_path / "many", [*four(1.0), *four(4.0)], "Drawing with")
    assert "only free starts and offsets keep adding new ones" in many.detail


def test_two_by_two_table_sets_the_grid_beside_free_starts(tmp_path: Path) -> None:
    cells = sampling_frames.two_by_two(run_of(tmp_path, [*four(1.0), *four(2.0)]).cases("coverage"))
    table = sampling_tables.two_by_two(cells)
    assert [row[0] for row in table.rows] == [
        "1 epoch, without replacement",
        "1 epoch, with replacement",
        "2 epochs, without replacement",
        "2 epochs, with replacement",
    ]
    random = next(c for c in four(1.0) if c["params"]["sampler"] == "random_replacement")
    missed = random["metrics"]["missed_targets"] / 124_999
    assert table.rows[1][5] == words.percent(missed)
    seen = [f"0.390{words.NBSP}%", f"0.780{words.NBSP}%"]
    assert [table.rows[3][4], table.rows[3][8]] == seen
    assert {len(row) for row in table.rows} == {len(table.columns)}


def test_main_figures_show_the_four_cells_and_missed_shows_every_sampler(tmp_path: Path) -> None:
    run = run_of(tmp_path, [coverage_case(sampler, 2.0) for sampler in COVERAGE])
    plots = {p.title: written(p.svg) for p in section_of(sampling, run, figures=True).plots}
    assert "unshuffled" in plots.pop("How much was still missing")
    assert len(plots) == 3
    assert all("unshuffled" not in svg and "offset" in svg for svg in plots.values())


# --- scarce text ----------------------------------------------------------------------------


def test_scarce_text_leaves_the_main_findings_as_they_are(tmp_path: Path) -> None:
    main = [coverage_case("random_replacement", 1.0)]
    alone = findings.find(run_of(tmp_path / "a", main))
    both = findings.find(run_of(tmp_path / "b", [*main, *scarce()[1:3]]))
    assert [f for f in both if "same number of training tokens" not in f.headline] == alone


def test_scarce_text_is_in_no_main_table(tmp_path: Path) -> None:
    shown = section_of(sampling, run_of(tmp_path, scarce())).tables
    (main,) = (t for t in shown if t.caption.startswith("Targets missed"))
    (small,) = (t for t in shown if t.caption.startswith("Scarce text"))
    assert len(main.rows) == 2
    assert [row[0].rpartition(", ")[2] for row in small.rows] == ["all", "1/10", "1/100"] * 2


def test_scarce_text_is_compared_only_at_an_equal_budget(tmp_path: Path) -> None:
    cases = [coverage_case("random_replacement", 4.0), *scarce()[1:3]]
    frame = sampling_frames.scarce_text(run_of(tmp_path, cases).cases("coverage"))
    assert list(frame["text_share"]) == [0.1, 0.01]
    assert (
        "whole text"
        not in finding_of(tmp_path / "b", cases, "same number of training tokens").detail
    )


def test_scarce_text_is_said_to_miss_less_only_where_it_does(tmp_path: Path) -> None:
    finding = finding_of(tmp_path / "a", scarce(), "On 1/100 of the text")
    assert "shows each target 100 times on average" in finding.headline
    assert "fewer missed targets and more repetition" in finding.detail
    cases = scarce()
    cases[2]["metrics"]["missed_targets"] = 1_000_000
    assert "fewer missed" not in finding_of(tmp_path / "b", cases, "On 1/100 of the text").detail


def test_scarce_text_without_its_whole_is_still_shown(tmp_path: Path) -> None:
    cases = scarce()[1:3]
    cases[0]["params"]["target_epochs"] = None
    text = page.render([run_of(tmp_path, cases)], "html")[0]
    assert "random windows, 1/10</th>" in text
    assert "Scarce text" in text


# --- the test part --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tail", "rank", "claim"),
    [
        (5.3, 60, "is easier"),
        (6.4, 2, "is harder"),
        (5.9, 20, "is not unusual"),
        (5.9, 1, "harder"),
    ],
)
def test_test_part_is_special_by_z_or_by_rank(
    tail: float, rank: int, claim: str, tmp_path: Path
) -> None:
    case = position_case(raw=False, tail_unigram=tail, rank_unigram=rank)
    finding = finding_of(tmp_path, [case], "The test part")
    assert claim in finding.headline
    assert f"z = {words.signed((tail - 5.8) / 0.25, 2)}, rank {rank} of 60" in finding.detail
    assert "has no p-value" in finding.detail


def test_cleaned_text_is_the_claim_and_raw_text_stands_beside_it(tmp_path: Path) -> None:
    cases = [position_case(raw=True), position_case(raw=False)]
    finding = finding_of(tmp_path, cases, "The test part")
    assert finding.evidence[0].endswith("cleaned]")
    assert "Before cleaning: z = +4.00, rank 1 of 60" in finding.detail
    assert f"21.0{words.NBSP}% of the test part was boilerplate" in finding.detail


def test_raw_text_alone_is_called_uncleaned(tmp_path: Path) -> None:
    assert "python-docs, uncleaned, is harder" in headlines(tmp_path, [position_case(raw=True)])


def test_blocks_without_spread_have_no_z(tmp_path: Path) -> None:
    assert "test part" not in headlines(tmp_path, [position_case(raw=False, sd_unigram=0.0)])


def test_profile_marks_the_test_part_of_each_version(tmp_path: Path) -> None:
    run = run_of(tmp_path, [position_case(raw=False), position_case(raw=True)])
    made = section_of(position, run, figures=True)
    (plot,) = made.plots
    assert plot.svg.count(">test part</text>") == 2
    assert "cleaned: unigram" in plot.svg
    assert "raw: unigram" in plot.svg
    assert made.tables[0].rows[1][2] == "6.800 (1)"


# --- loading --------------------------------------------------------------------------------


def test_loading_ratio_has_extremes_and_no_interval(tmp_path: Path) -> None:
    cases = [loading_case("memory", "gather", 0.004), loading_case("memory", "dataloader", 0.04)]
    finding = finding_of(tmp_path, cases, "Gathering whole batches")
    assert "was 10 times faster" in finding.headline
    assert "allow ratios from 7.50 to 13.3" in finding.detail
    assert "no confidence interval" in finding.detail


def test_loading_ways_whose_rounds_overlap_are_not_ranked(tmp_path: Path) -> None:
    cases = [loading_case("memory", "gather", 0.04), loading_case("memory", "dataloader", 0.041)]
    assert "no clear difference in time" in headlines(tmp_path, cases)


def test_loading_without_its_reference_has_a_table_and_no_ratio(tmp_path: Path) -> None:
    run = run_of(tmp_path, [loading_case("mapped", "gather", 0.005)])
    (table,) = section_of(batches, run).tables
    assert table.rows[0][-2:] == (words.MISSING, words.MISSING)
    assert "whole batches" not in headlines(tmp_path / "b", [loading_case("mapped", "gather", 0.1)])


def test_timing_of_a_count_says_how_large_the_text_was(tmp_path: Path) -> None:
    (table,) = section_of(batches, run_of(tmp_path, [counting_case()])).tables
    assert table.rows[0][:3] == ("1,000,000,000", "1,000,000", f"800{words.NBSP}ms")


# --- leakage --------------------------------------------------------------------------------


def test_leakage_is_one_line_under_the_table_of_runs(tmp_path: Path) -> None:
    cases = [training_case(name, seed) for name in ("sequential", "x") for seed in range(2)]
    for form in ("html", "md"):
        text = page.render([run_of(tmp_path / form, cases)], form)[0]
        assert len(re.findall(r"Train and test share 0 tokens, 0 targets, 37 13.grams", text)) == 1


def test_leakage_that_differs_between_runs_is_a_range_and_unmeasured_is_silent(
    tmp_path: Path,
) -> None:
    cases = [training_case("sequential", seed) for seed in range(2)]
    cases[0]["metrics"]["shared_13grams"] = 12
    frame = run_of(tmp_path / "a", cases).cases("convergence")
    assert "12 to 37 13-grams" in convergence_tables.shared_text(frame)
    for name in [*cases[0]["metrics"]]:
        if name.startswith(("shared_", "fraction_")):
            for case in cases:
                del case["metrics"][name]
    assert convergence_tables.shared_text(run_of(tmp_path / "b", cases).cases("convergence")) == ""


# --- names ----------------------------------------------------------------------------------


def test_every_sampler_has_words_of_its_own() -> None:
    labels = list(words.SAMPLER_LABELS.values())
    assert len(set(labels)) == len(labels)
    assert words.SAMPLER_LABELS.keys() == SAMPLERS.keys() >= set(CORE)


def test_share_of_the_text_is_said_as_a_part() -> None:
    shown = [words.text_share(x) for x in (1.0, 0.1, 0.01, 0.3, float("nan"))]
    assert shown == ["all", "1/10", "1/100", f"30.0{words.NBSP}%", "all"]
