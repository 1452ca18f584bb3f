"""The section on other implementations and single optimisations, from made ledgers."""

import copy

import pytest

from reports import findings, page, words
from reports.blocks import Plotter
from reports.load import load_runs
from reports.topics.peers import findings as peers_findings
from reports.topics.peers import sections as peers_sections
from tests.helpers.drawings import written
from tests.helpers.ledgers import environment, record, skip, write_ledger
from tests.helpers.timed_ledgers import BASE

BF16 = {"precision": "bf16"}
OURS = BASE | {"model": "model5", "batch_size": 1}


def pair(change, ratio, verdict, group="peers", base=OURS, margin=0.03):
    return record(
        f"bench_peers::test_{'peer' if group == 'peers' else group}[{change.replace('=', '-')}]",
        group=group,
        params={"base": base, "change": change, "trials": 1, "seconds": 20.0},
        metrics={
            "pairs": 12,
            "ratio": ratio,
            "ratio_low": 0.97 * ratio,
            "ratio_high": 1.03 * ratio,
            "margin_ratio": margin,
            "a_time_s": 1.5,
            "b_time_s": 1.5 * ratio,
        },
        facts={"verdict": verdict, "warnings": []},
    )


def peak(variant, peak_bytes):
    params = {k: v for k, v in OURS.items() if k != "seed"} | {"work": "forward_backward"}
    named = {} if variant == "gptcore" else {"variant": variant}
    return record(
        f"bench_peers::test_peak[{variant}]",
        group="peaks",
        params=params | named,
        metrics={"base_bytes": 10**9, "peak_bytes": peak_bytes},
    )


LITGPT = "bench_peers::test_peer[step-model5-vs-variant-litgpt-trials1-20s]"
WHY = "litgpt is not installed: pip install litgpt"
RECORDS = [
    pair("variant=transformers", 1.3, "slower"),
    pair("variant=nanogpt-style,precision=fp32", 3.1, "slower"),
    pair("variant=without-fused-adamw", 1.5, "slower", "ablation"),
    pair("variant=without-gelu-again", 0.9, "faster", "ablation"),
    pair("variant=without-sdpa", 1.001, "same", "ablation", margin=0.04),
    pair("variant=plain", 2.2, "slower", "ablation"),
]
MEMORY = [peak("gptcore", 600), peak("transformers", 1500), peak("without-sdpa", 900)]


@pytest.fixture
def run_of(tmp_path):
    def run_of(*records):
        made = copy.deepcopy(records)
        return load_runs([write_ledger(tmp_path / "run", [environment(), *made])])[0]

    return run_of


def section(run):
    (found,) = peers_sections.section(run, Plotter("r", True))
    return found


def plain(text):
    return text.replace(words.NBSP, " ")


def rows(table):
    return [dict(zip(table.columns, map(plain, row), strict=True)) for row in table.rows]


def headlines(run):
    return {plain(f.headline): f for f in peers_findings.find(run)}


def test_run_without_comparisons_has_no_such_section(run_of):
    assert peers_sections.section(run_of(), Plotter("r", True)) == []


def test_peer_that_takes_longer_means_that_ours_is_faster(run_of):
    second, first = rows(section(run_of(*RECORDS)).tables[0])
    assert first["Other"] == "A nanoGPT-style model in fp32"
    assert (second["Other"], second["Ratio"]) == ("transformers", "1.300")
    assert second["95 % interval"] == "1.261 to 1.339"
    assert second["Verdict"] == "gptcore is faster"
    assert (second["Time of the other"], second["Time of gptcore"]) == ("1.95 s", "1.50 s")
    assert second["Case of gptcore"] == "Training step, Model 5, cpu, fp32, B = 1, T = 256"


def on_cuda(made):
    moved = copy.deepcopy(made)
    moved["case"] = moved["case"].replace("]", "-cuda]")
    params = moved["params"].get("base", moved["params"])
    params["device"] = "cuda:0"
    return moved


def test_two_devices_stand_apart_each_with_its_own_peak(run_of):
    slow = pair("variant=without-sdpa", 1.5, "slower", "ablation")
    there = [on_cuda(peak("gptcore", 100)), on_cuda(peak("without-sdpa", 500)), on_cuda(slow)]
    _, table, _ = section(
        run_of(pair("variant=transformers", 1.3, "slower"), slow, *MEMORY, *there)
    ).tables
    here, moved = rows(table)
    assert "cpu" in here["Case of gptcore"]
    assert "cuda:0" in moved["Case of gptcore"]
    assert (here["Ratio of peak memory"], moved["Ratio of peak memory"]) == ("1.500", "5.000")


def test_devices_other_than_the_cpu_are_in_the_headline(run_of):
    (headline,) = headlines(run_of(on_cuda(RECORDS[0])))
    assert "A training step of Model 5 on cuda:0 is 1.30 times faster" in headline


def test_memory_of_one_device_is_compared_on_that_device_alone(run_of):
    there = [on_cuda(peak("gptcore", 100)), on_cuda(peak("transformers", 110))]
    (found,) = headlines(run_of(*MEMORY, *there)).values()
    assert "110 B" in plain(found.detail)
    assert "1.46 KiB" not in plain(found.detail)


def test_precision_of_ours_is_in_the_headline_where_it_is_not_fp32(run_of):
    made = pair("variant=transformers,precision=fp32", 1.8, "slower", base=OURS | BF16)
    (headline,) = headlines(run_of(made))
    assert "in bf16 is 1.80 times faster in gptcore than in transformers in fp32" in headline


def test_ablation_names_each_piece_and_what_it_does_to_the_peak(run_of):
    _, table, _ = section(run_of(*RECORDS, *MEMORY)).tables
    found = {row["Variant"]: row for row in rows(table)}
    assert list(found) == [
        "The plain model, with no optimisation",
        "With AdamW as a loop",
        "With attention written out",
        "With GELU's output kept",
    ]
    assert found["With GELU's output kept"]["Verdict"] == "gptcore is slower"
    assert found["With attention written out"]["Verdict"] == "same, within the margin"
    assert found["With attention written out"]["Ratio of peak memory"] == "1.500"
    assert found["With AdamW as a loop"]["Ratio of peak memory"] == words.MISSING


def test_without_peaks_the_ablation_has_no_column_for_them(run_of):
    assert "Ratio of peak memory" not in section(run_of(*RECORDS)).tables[1].columns


def test_peaks_are_set_against_ours(run_of):
    (table,) = section(run_of(*MEMORY)).tables
    found = {row["Implementation"]: row["Ratio to gptcore"] for row in rows(table)}
    assert found == {
        "gptcore": "1.000",
        "transformers": "2.500",
        "With attention written out": "1.500",
    }


def test_peer_that_did_not_run_is_named_with_its_reason(run_of):
    shown = section(run_of(skip(LITGPT, WHY)))
    (row,) = rows(shown.tables[0])
    assert "litgpt" in row["Case"]
    assert row["Reason"] == WHY
    assert not shown.missing


def test_peer_faster_than_ours_is_among_the_first_findings(run_of):
    run = run_of(pair("variant=transformers", 0.8, "faster"), *RECORDS[1:])
    headline = "A training step of Model 5 is 1.25 times slower in gptcore than in transformers"
    assert headlines(run)[headline].importance > 80
    assert headline in [plain(f.headline) for f in findings.find(run)]


def test_what_an_optimisation_gains_or_costs_is_found(run_of):
    found = headlines(run_of(*RECORDS))
    assert (
        "A training step of Model 5 is 1.30 times faster in gptcore than in transformers" in found
    )
    most = "Largest gain of one optimisation: a training step of Model 5 is 1.50 times slower "
    assert most + "with AdamW as a loop" in found
    costs = "An optimisation costs time: a training step of Model 5 is 1.11 times faster with "
    assert costs + "GELU's output kept" in found


@pytest.mark.parametrize(("verdict", "words_of_it"), [("same", "takes as long"), (None, "neither")])
def test_pair_that_shows_nothing_is_said_to(run_of, verdict, words_of_it):
    (headline,) = headlines(run_of(pair("variant=transformers", 1.01, verdict, margin=0.05)))
    assert words_of_it in headline


def test_memory_is_compared_with_the_peer_that_takes_least(run_of):
    found = headlines(run_of(*MEMORY, peak("nanogpt-style", 1000)))
    least = "A forward and backward pass of Model 5 needs 0.600 times the peak memory of a "
    assert found[f"{least}nanoGPT-style model"].importance < 80


def test_figures_hold_every_pair_and_their_texts_the_numbers(run_of):
    shown = section(run_of(*RECORDS))
    assert [p.title for p in shown.plots] == [
        "Other implementations",
        "What each optimisation gains",
    ]
    assert "transformers" in shown.plots[0].svg
    assert "With AdamW as a loop" in shown.plots[1].svg
    assert "1.500 (1.455 to 1.545)" in plain(shown.plots[1].svg)


def test_figure_of_several_works_says_which_one_ours_did(run_of):
    other = pair("variant=transformers,precision=fp32", 3.0, "slower", base=OURS | BF16)
    shown = written(section(run_of(RECORDS[0], other)).plots[0].svg)
    assert "transformers in fp32; gptcore: training step, bf16" in shown
    assert "transformers; gptcore: training step, fp32" in shown


def test_ledger_from_anywhere_still_renders(run_of):
    odd = pair("variant=<script>x", 1.2, "odd", base="no object", margin=None)
    odd["metrics"] |= {"ratio_low": None, "ratio_high": None, "pairs": None}
    bare = pair("", 1.2, None)
    del bare["params"]["base"], bare["params"]["change"]
    run = run_of(odd, bare, peak("gptcore", 0), pair("variant=plain", 2.0, None, "ablation"))
    for form in ("html", "md"):
        text = page.render([run], form)[0]
        assert "<script>x" not in text
        assert "not recorded" in text
