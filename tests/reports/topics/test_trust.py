"""The report on steadiness, memory, roofline, ceilings, pairs, operators and the environment."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from bench.ledger.record import Record
from reports import blocks, findings, load, page, words
from reports.blocks import Finding, Plotter
from reports.topics import environment as environment_topic
from reports.topics import memory, trust
from reports.topics.speed import findings as speed_findings
from reports.topics.speed import sections as speed_sections
from reports.topics.speed import tables as speed_tables
from reports.topics.trust import tables as trust_tables
from tests.helpers.drawings import written
from tests.helpers.ledgers import (
    coverage_case,
    environment,
    model_case,
    skip,
    standard_ledger,
    write_ledger,
)
from tests.helpers.timed_ledgers import (
    END,
    NOISY,
    START,
    pair_case,
    self_case,
    timed,
    timed_environment,
    timed_ledger,
    traced,
)

HOSTILE = "<script>alert(1)</script> _x $y$ \u202e" + "w" * 3000


def run_of(tmp_path: Path, records: list[Record]) -> load.Run:
    return load.Run.read(write_ledger(tmp_path / "run", records), "run")


def found_in(tmp_path: Path, records: list[Record], part: str) -> list[Finding]:
    return [f for f in findings.find(run_of(tmp_path, records)) if re.search(part, f.headline)]


def finding_of(tmp_path: Path, records: list[Record], part: str) -> Finding:
    (finding,) = found_in(tmp_path, records, part)
    return finding


def text_of(tmp_path: Path, records: list[Record], form: str = "html") -> str:
    return page.render([run_of(tmp_path, records)], form)[0].replace(words.NBSP, " ")


def plain(text: str) -> str:
    return text.replace(words.NBSP, " ")


def cells(table: blocks.Table, row: int = 0) -> dict[str, str]:
    return {n: plain(text) for n, text in zip(table.columns, table.rows[row], strict=True)}


def step(**metrics: Any) -> Record:
    return timed(model_case("step", "fp32", 5.6, 2.2e11), **metrics)


def noisy_step() -> Record:
    return timed(model_case("step", "fp32", 5.6, 2.2e11), NOISY)


# --- speed ----------------------------------------------------------------------------------


def test_speed_table_has_interval_processes_and_steadiness_in_words(tmp_path: Path) -> None:
    row = cells(speed_tables.speed(run_of(tmp_path, [noisy_step()]).cases("model")))
    assert row["95 % interval"] == "5.49 to 5.77 s (one process)"
    assert row["New processes: range of medians"] == "3: 5.54 to 5.71 s"
    assert row["Steadiness"] == "noisy"
    assert "Share of datasheet peak" not in row


@pytest.mark.parametrize("change", [{"model": "L6-H6-C384"}, {"model": "gpt2; rm"}, {"work": "x"}])
def test_a_model_that_the_command_does_not_know_has_no_command(tmp_path: Path, change: Any) -> None:
    case = step()
    case["params"] |= change
    made = speed_tables.speed(run_of(tmp_path, [case]).cases("model"))
    assert (made.note, made.command) == ("", "")


def test_too_few_rounds_show_their_range_and_say_so(tmp_path: Path) -> None:
    case = step(time_low_s=None, time_high_s=None, rounds=5, time_min_s=5.0, time_max_s=6.0)
    row = cells(speed_tables.speed(run_of(tmp_path, [case]).cases("model")))
    assert row["95 % interval"] == "5.00 to 6.00 s (range of 5 rounds)"


def test_device_time_compiling_and_datasheet_stand_beside_where_present(tmp_path: Path) -> None:
    case = step(device_time_s=5.5, compile_s=12.0, mfu_datasheet=0.31)
    row = cells(speed_tables.speed(run_of(tmp_path, [case]).cases("model")))
    assert (row["Time on the device"], row["Compile time"]) == ("5.50 s", "12.0 s")
    assert row["Share of datasheet peak"] == "31.0 %"


def test_what_was_not_measured_has_no_column_and_no_section(tmp_path: Path) -> None:
    run = run_of(tmp_path, standard_ledger())
    assert speed_tables.speed(run.cases("model")).columns == (
        "Case", "Work", "Time", "95 % interval", "Rounds", "Tokens/s", "Arithmetic rate",
        "Share of peak",
    )  # fmt: skip
    shown = [part.anchor for part in page.sections_of(run, Plotter("r", False))]
    assert shown[:3] == ["speed", "devices", "throughput"]


def test_finding_that_rests_on_a_noisy_case_says_so(tmp_path: Path) -> None:
    part = "trains at"
    detail = finding_of(tmp_path, [noisy_step()], part).detail
    assert "Caution: this case was noisy: rounds spread over 14 %" in detail
    assert "Caution" not in finding_of(tmp_path / "b", [step()], part).detail


def test_only_unsteady_cases_get_reason_and_remedy(tmp_path: Path) -> None:
    other = timed(model_case("forward", "fp32", 1.8, 2.2e11))
    table = trust_tables.unsteady(run_of(tmp_path, [noisy_step(), other]).finished)
    assert len(table.rows) == 1
    row = cells(table)
    assert row["Reason"].startswith("Rounds spread over 14 %")
    assert row["Remedy"].startswith("Close other programs")


# --- memory and roofline --------------------------------------------------------------------


def test_figure_of_memory_names_the_limit_of_each_device(tmp_path: Path) -> None:
    devices = ("cpu", "cuda:0")
    cases = [timed(model_case("step", "fp32", 1.0, 2.2e11, device=name)) for name in devices]
    cases[1]["case"] += "[cuda]"
    facts = {"memory_bytes": 16 * 2**30, "accelerator_facts": {"cuda:0": {"memory_bytes": 2**36}}}
    machine = environment()
    machine["facts"]["machine"] |= facts
    run = run_of(tmp_path, [machine, *cases])
    assert memory.limits(run, pd.Series(["cpu", "cuda:0", "tpu"]))[:2] == [2.0**34, 2.0**36]
    (section,) = memory.section(run, Plotter("r", True))
    shown = written(section.plots[0].svg)
    assert "of 16.0 GiB" in shown
    assert "of 64.0 GiB" in shown


def test_memory_table_has_base_peak_phases_and_kinds(tmp_path: Path) -> None:
    frame = run_of(tmp_path, [step(base_bytes=2**31)]).cases("model")
    row = cells(memory.memory_table(frame))
    assert (row["Held between calls"], row["Peak beyond it"]) == ("2.00 GiB", "2.10 GiB")
    assert row["Forward"] == "1.89 GiB"
    kinds = {name.removeprefix("Of both, "): row[name] for name in row if "Of both" in name}
    assert kinds == {
        "weights": "472 MiB", "optimizer state": "945 MiB", "gradients": "472 MiB",
        "activations and the rest": "1.64 GiB", "program": "631 MiB",
    }  # fmt: skip
    assert "Transfer" not in row


def test_finding_says_in_which_phase_the_peak_falls_and_how_large_it_is(tmp_path: Path) -> None:
    finding = finding_of(tmp_path, [step()], "peaks at")
    assert plain(finding.headline).startswith("A training step of Model 5 peaks at 2.10 GiB")
    held = plain(finding.headline)
    assert "beyond the 1.38 GiB of its weights and optimizer state" in held  # 12 x 124 M bytes
    assert finding.headline.endswith("in the loss phase")


def test_case_that_is_faster_than_its_bound_is_said_and_others_are_not(tmp_path: Path) -> None:
    fast = step(flops_per_s=1.5e11, attainable_flops_per_s=1.2e11)
    finding = finding_of(tmp_path, [fast], "more than the roofline allows")
    assert plain(finding.headline).endswith("by up to 25.0 %")
    run = run_of(tmp_path / "b", [step(flops_per_s=1.1e11, attainable_flops_per_s=1.2e11)])
    assert not any("roofline allows, by" in f.headline for f in speed_findings.find(run))


@pytest.mark.parametrize(
    ("attainable", "kind"), [(2.2e11, "compute-bound"), (1.1e11, "memory-bound")]
)
def test_roofline_tells_what_limits_a_step(attainable: float, kind: str, tmp_path: Path) -> None:
    case = step(attainable_flops_per_s=attainable)
    finding_of(tmp_path, [case], f"is {kind} by the roofline")
    limit = {"compute-bound": "arithmetic", "memory-bound": "memory"}[kind]
    placed = speed_sections.placed(run_of(tmp_path, [case]).cases("model"))
    assert cells(speed_tables.roofline(placed))["Limited by"] == limit


def test_flops_that_agree_are_a_line_and_flops_apart_a_warning(tmp_path: Path) -> None:
    case = step()
    case["metrics"]["flops_counted"] = 1.01 * case["metrics"]["flops"]
    placed = speed_sections.placed(run_of(tmp_path, [case]).cases("model"))
    assert "agree within 1.00 % in 1 case" in plain(speed_tables.roofline(placed).note)
    assert not found_in(tmp_path / "b", [case], "by formula and as counted")
    case["metrics"]["flops_counted"] = 1.5 * case["metrics"]["flops"]
    finding_of(
        tmp_path / "c", [case], "differ by up to 50.0.%, and by more than 2.% in 1 of 1 case"
    )


# --- ceilings -------------------------------------------------------------------------------


def test_ceilings_of_both_ends_stand_side_by_side(tmp_path: Path) -> None:
    table = speed_tables.ceilings(run_of(tmp_path, [timed_environment()]))
    row = cells(table, 1)
    assert row["Ceiling"] == "Matrix product, bf16"
    assert (row["At the start"], row["At the end"]) == ("1.20 TFLOP/s", "1.05 TFLOP/s")
    assert row["Change"] == f"{words.MINUS}12.5 %"


def test_changed_ceilings_are_a_finding_above_five_per_cent_only(tmp_path: Path) -> None:
    part, used = "rest on changed", model_case("step", "bf16", 2.8, 1e12)
    finding = finding_of(tmp_path, [timed_environment(END), used], part)
    assert "12.5" in finding.headline
    little = START | {"copy_bytes_per_s": 1.04 * START["copy_bytes_per_s"]}
    assert not found_in(tmp_path / "b", [timed_environment(little), used], part)


def test_memory_bound_case_rests_on_the_level_that_bounds_it(tmp_path: Path) -> None:
    memory = START | {"memory_64mib_bytes_per_s": 2e10, "memory_16mib_bytes_per_s": 9e10}
    slower = memory | {"memory_64mib_bytes_per_s": 1e10, "memory_16mib_bytes_per_s": 1e10}
    case = step(attainable_flops_per_s=1.1e11, bandwidth_bytes_per_s=2e10)  # weights of 472 MiB
    run = run_of(tmp_path, [timed_environment(slower, ceilings={"cpu": memory}), case])
    detail = next(f for f in findings.find(run) if "rest on changed" in f.headline).detail
    assert "within 64 MiB" in detail
    assert "within 16 MiB" not in detail


def test_ceiling_that_no_number_rests_on_is_no_finding_but_a_note(tmp_path: Path) -> None:
    run = run_of(tmp_path, [timed_environment(END), model_case("step", "fp32", 5.6, 2.2e11)])
    assert not [f for f in findings.find(run) if "rest on changed" in f.headline]
    note = speed_tables.ceilings(run).note
    begin = "Some ceilings changed on which no share of the peak rests:"
    assert note == f"{begin} cpu: matrix product, bf16."


def test_run_without_its_end_says_so(tmp_path: Path) -> None:
    without_end = timed_environment()
    del without_end["facts"]["end"]
    table = speed_tables.ceilings(run_of(tmp_path, [without_end]))
    assert "because the run did not end properly" in table.note
    run = run_of(tmp_path / "b", [timed_environment(), model_case("step", "bf16", 2.8, 1e12)])
    assert speed_tables.ceilings(run).note == ""


# --- pairs ----------------------------------------------------------------------------------


def test_self_comparison_gives_count_and_upper_limit(tmp_path: Path) -> None:
    finding = finding_of(tmp_path, [self_case(20, 1)], "an identical copy")
    assert plain(finding.headline) == (
        "1 of 20 comparisons of a case with an identical copy was a false alarm "
        "(upper 95 % limit of the rate: 21.5 %)"
    )
    assert "may be noise" not in finding.detail
    often = finding_of(tmp_path / "b", [self_case(20, 3)], "an identical copy")
    assert "may be noise" in often.detail


@pytest.mark.parametrize(
    ("ratio", "verdict", "claim"),
    [
        (0.5, "faster", "is 2 times faster in bf16"),
        (2.0, "slower", "is 2 times slower in bf16"),
        (1.001, "same", "takes the same time in bf16, within the margin"),
        (1.04, "ambiguous", "in bf16: neither a difference nor equality is shown"),
        (0.5, None, "in bf16 took 0.500 of the time"),
    ],
)
def test_pair_is_claimed_by_its_verdict(
    ratio: float, verdict: str | None, claim: str, tmp_path: Path
) -> None:
    finding = finding_of(tmp_path, [pair_case("precision=bf16", ratio, verdict)], "bf16")
    assert finding.headline == f"A training step of Model 4 {claim}"
    low, high = words.ratio(0.985 * ratio), words.ratio(1.015 * ratio)
    assert f"95 % interval {low} to {high}" in finding.detail


def both_precisions(model: str) -> list[Record]:
    cases = [
        model_case("step", "fp32", 5.6, 2e11, model=model),
        model_case("step", "bf16", 2.8, 1e12, model=model),
    ]
    return [case | {"case": f"{case['case'][:-1]}-{model}]"} for case in cases]


def test_interleaved_pair_replaces_the_ratio_of_separate_cases(tmp_path: Path) -> None:
    records = both_precisions("model4")
    assert "not interleaved" in finding_of(tmp_path, records, "bf16").detail
    pair = pair_case("precision=bf16", 0.46, "faster")
    assert "timed in turns" in finding_of(tmp_path / "b", [*records, pair], "bf16").detail
    other = pair_case("corpus=uniform-ids", 1.0, "same")
    assert "not interleaved" in finding_of(tmp_path / "c", [*records, other], "bf16").detail


def test_pair_of_another_work_or_model_hides_no_ratio(tmp_path: Path) -> None:
    pair = pair_case("precision=bf16", 0.8, "faster")
    larger = [*both_precisions("model5"), pair]
    assert len(found_in(tmp_path, larger, "bf16")) == 2
    forward = pair_case("precision=bf16", 0.8, "faster")
    forward["params"]["base"] = forward["params"]["base"] | {"work": "forward"}
    assert len(found_in(tmp_path / "b", [*both_precisions("model4"), forward], "bf16")) == 2
    assert len(found_in(tmp_path / "c", both_precisions("model4") + larger, "bf16")) == 2


def test_phases_of_every_model_are_said(tmp_path: Path) -> None:
    small = model_case("step", "fp32", 0.2, 2e11, model="model4")
    small["metrics"] |= {"loss_s": 0.156, "forward_s": 0.01, "backward_s": 0.02}
    small |= {"case": "bench_model::test_step[small]"}
    records = [model_case("step", "fp32", 5.6, 2e11), small]
    finding = finding_of(tmp_path, records, "output layer with its loss takes")
    assert finding.headline.endswith("of a training step of Model 4")
    assert found_in(tmp_path / "b", records, "backward phase takes")


def test_range_over_processes_is_quoted_where_each_has_three_rounds(tmp_path: Path) -> None:
    several = noisy_step()
    several["facts"]["process_rounds"] = [3, 4]
    row = cells(speed_tables.speed(run_of(tmp_path, [several]).cases("model")))
    assert row["95 % interval"] == "5.54 to 5.71 s (range of 3 processes)"
    finding = finding_of(tmp_path / "b", [several], "trains at")
    assert "(range over processes) of this machine's measured peak" in finding.headline
    several["facts"]["process_rounds"] = [3, 1]
    row = cells(speed_tables.speed(run_of(tmp_path / "c", [several]).cases("model")))
    assert row["95 % interval"] == "5.49 to 5.77 s (one process)"


def test_cautions_stand_beside_the_number_in_row_and_headline(tmp_path: Path) -> None:
    case = noisy_step()
    case["facts"]["warmup"] = "out of time"
    run = run_of(tmp_path, [case])
    assert cells(speed_tables.speed(run.cases("model")))["Steadiness"] == (
        "noisy; warm-up out of time"
    )
    for finding in (f for f in findings.find(run) if case["case"] in f.evidence):
        assert finding.headline.endswith(" (noisy, warm-up out of time)")
    assert "(noisy, warm-up out of time)" in findings.verdict(findings.find(run))
    pair = pair_case("precision=bf16", 0.46, "faster")
    pair["facts"]["warnings"] = ["a was still changing"]
    finding = finding_of(tmp_path / "b", [pair], "bf16")
    assert finding.headline.endswith("(timed with a warning)")
    assert "a was still changing" in finding.detail


def test_self_comparison_is_drawn_and_pairs_are_in_a_table(tmp_path: Path) -> None:
    run = run_of(tmp_path, [self_case(20, 1), pair_case("corpus=x", 1.0, "same")])
    (section,) = trust.section(run, Plotter("r", True))
    assert [plot.title for plot in section.plots] == [
        "A case against an identical copy",
        "Pairs timed in turns",
    ]
    assert "20 comparisons" in section.plots[0].alt
    (table,) = section.tables
    assert cells(table, 1)["Pair"].startswith("A training step of Model 4, on x (Model 4, cpu")
    assert cells(table, 1)["Verdict"] == "same, within the margin"


def test_pair_of_two_named_cases_shows_both(tmp_path: Path) -> None:
    case = pair_case("b::y", 0.9, "faster", params={"base": "a::x"})
    finding_of(tmp_path, [case], "The case a::x is 1.11 times faster against b::y")


# --- operators and environment --------------------------------------------------------------


def test_top_operators_are_folded_with_the_way_to_their_trace(tmp_path: Path) -> None:
    (table,) = speed_tables.operators(run_of(tmp_path, [traced(step(), "t/x.json.gz")]))
    assert table.folded.startswith("Top operators: bench_model::test_step")
    assert "t/x.json.gz" in table.note
    assert "ui.perfetto.dev" in table.note
    assert cells(table)["Operator"] == "aten::mm"
    assert plain(cells(table)["Share"]) == "40.0 %"


def test_environment_shows_every_fact_and_both_loads(tmp_path: Path) -> None:
    made = {t.folded.partition(":")[0]: t for t in environment_topic.environment(
        run_of(tmp_path, [timed_environment()])
    )}  # fmt: skip
    varying = made["State of the machine at the start and at the end of the run"]
    assert ("load", "0.120", "1.98") in varying.rows
    pinned = dict(made["Settings that were fixed for the whole run"].rows)
    assert (pinned["sdpa"], pinned["affinity"]) == ("flash, math", "0, 1")
    libraries = dict(made["How torch was built, and the libraries that it loaded"].rows)
    assert libraries["torch · mkl"] == "2024.2"
    assert libraries["pools"] == "internal api mkl, num threads 2"


def test_enormous_facts_are_condensed(tmp_path: Path) -> None:
    facts = {"flags": ["x" * 50] * 5_000, "config": "y" * 50_000} | {f"k{i}": i for i in range(900)}
    tables_made = environment_topic.environment(
        run_of(tmp_path, [timed_environment(machine=facts)])
    )
    text = "".join(cell for table in tables_made for row in table.rows for cell in row)
    assert len(text) < 6_000
    assert "842 more in the ledger" in text


def test_state_of_a_case_stands_with_its_record(tmp_path: Path) -> None:
    text = text_of(tmp_path, [noisy_step()])
    assert "<dt>load after</dt>" in text.replace("load_after", "load after")


# --- the whole page -------------------------------------------------------------------------


def test_page_of_a_measured_run_shows_all_its_parts(tmp_path: Path) -> None:
    text = text_of(tmp_path, timed_ledger())
    for part in ("Peak by phase", "Roofline of cpu", "A case against an identical copy"):
        assert part in text
    assert text.count('role="img"') == 22
    assert "Noisy and drifting cases" in text
    assert not re.search(r"\bnan\b|\bNone\b", re.sub(r"<[^>]*>", " ", text))


def test_runs_with_and_without_memory_stand_in_one_report(tmp_path: Path) -> None:
    folders = [
        write_ledger(tmp_path / "old", [environment(), model_case("step", "fp32", 5.0, 2.2e11)]),
        write_ledger(tmp_path / "new", [timed_environment(), traced(step()), self_case()]),
    ]
    text = page.render(load.load_runs(folders), "html")[0]
    ids = re.findall(r'\sid="([^"]+)"', text)
    assert len(ids) == len(set(ids))
    assert "run2-memory" in ids
    assert "run1-memory" not in ids


def odd(case: Record, **fields: Any) -> Record:
    return case | fields


ODD: dict[str, list[Record]] = {
    "pair without params": [odd(self_case(), params={}), odd(pair_case("x", 1, "same"), params={})],
    "pair without numbers": [odd(self_case(), metrics={}), odd(pair_case("x", 1, ""), metrics={})],
    "pair of odd params": [pair_case("=", 0.5, HOSTILE, params={"base": {"more": [1]}})],
    "pair that failed": [odd(self_case(), status="failed", reason="MemoryError")],
    "trials with nulls": [
        self_case(3) | {"series": {"trials": [
            {"trial": None, "ratio": None, "ratio_low": None, "ratio_high": None},
            {"trial": 2, "ratio": 1.0, "ratio_low": None, "ratio_high": 1e308},
        ]}}
    ],
    "facts that are no objects": [
        odd(step(), facts={"stability": 3, "trace": [1], "load_before": HOSTILE}),
        timed_environment(machine=[1], pinned={}, ceilings=[3], end={"ceilings": {"cpu": "x"}}),
    ],
    "stability of odd kinds": [
        odd(step(), facts={"stability": {"verdict": "noisy", "reasons": 5, "remedies": [None, {}]}})
    ],
    "verdict that is a list": [odd(step(), facts={"stability": {"verdict": ["noisy"]}})],
    "many reasons": [
        odd(step(), facts={"stability": {"verdict": "noisy", "reasons": [HOSTILE] * 2000}})
    ],
    "timing with params of odd sizes": [odd(step(), params={"batch_size": 0, "more": ["x"]})],
    "timing without params": [odd(step(), params={})],
    "timing with nulls": [odd(step(), metrics=dict.fromkeys(step()["metrics"]))],
    "memory of nothing": [step(peak_bytes=0, base_bytes=None)],
    "operators with nulls": [traced(step()) | {"series": {"top_operators": [
        {"operator": None, "calls": None, "self_time_s": None, "share": -1e308}
    ] * 500}}],
    "skipped pair": [skip("bench_pair::test_pair[x]", "no time", group="pair")],
    "coverage beside": [coverage_case("sequential", 1.0), self_case()],
}  # fmt: skip


@pytest.mark.parametrize("name", ODD)
def test_odd_ledger_gives_a_whole_page(name: str, tmp_path: Path) -> None:
    run = run_of(tmp_path, ODD[name])
    for form in ("html", "md"):
        text, _ = page.render([run], form)
        assert "What did not run, and why?" in text
        assert text.count("<script") == {"html": 2, "md": 0}[form]  # the data and the page's own
        assert "\u202e" not in text
        assert not re.search(r"\bnan\b", re.sub(r"<[^>]*>", " ", text))
        assert len(text) < 2_000_000
